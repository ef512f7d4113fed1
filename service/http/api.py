"""The routes of the service, in FastAPI and without Ray. `create_api` is all of it, so tests run it in-process."""

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from service.errors import PROBLEMS
from service.http.admission import Gate
from service.http.backends import ClassifierLike, LaneLike
from service.http.classify import classify_route
from service.http.envelope import RequestEnvelope
from service.http.explain import add_explanations
from service.http.openapi import EXPLANATIONS, REQUEST_BODY, TOP_K_PARAMETER, problem_responses
from service.http.pages import add_pages
from service.http.problems import handle_errors, last_answer
from service.http.reports import add_reports
from service.http.schemas import ClassifyResponse, Health
from service.http.textbook import add_textbook
from service.observability.metrics import Metrics
from service.settings import Settings


def create_api(classifier: ClassifierLike, lane: LaneLike, settings: Settings, metrics: Metrics) -> FastAPI:
    """The application: POST /classify, explanations, the page, health, models, documentation.

    Args:
        classifier: answers requests as soon as it is ready.
        lane: answers explanations.
        settings: limits and deadlines.
        metrics: where requests are counted.
    """
    api = FastAPI(
        title="Sightline",
        summary="Image classification: bytes in, ranked labels out.",
        version="1",
        servers=[{"url": settings.root_path}] if settings.root_path else None,
        docs_url=None,  # ours: service.http.pages
        redoc_url=None,
        redirect_slashes=False,
        telemetry={
            "operation_spans": False,
            "metrics": False,
            "logs": False,
            "auto_configure": False,
        },  # ours: observability
        responses=problem_responses(404, 405),
    )
    handle_errors(api, metrics)
    gate = Gate(settings.max_ongoing_requests, settings.max_held_bytes)
    _add_classify(api, classifier, lane, gate, settings, metrics)
    _add_health(api, classifier)

    add_reports(api, classifier, settings)
    add_textbook(api, gate, settings)
    add_explanations(api, classifier, lane, gate, settings)
    add_pages(api)
    if settings.cors_origins:
        api.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins.split(","),
            allow_methods=["GET", "HEAD", "POST", "PUT"],
            allow_headers=["*"],  # there are no cookies, so no header speaks for a visitor
            expose_headers=["x-request-id", "retry-after"],
        )
    api.add_middleware(RequestEnvelope, last_answer=last_answer, metrics=metrics)
    return api


def _add_classify(
    api: FastAPI, classifier: ClassifierLike, lane: LaneLike, gate: Gate, settings: Settings, metrics: Metrics
) -> None:
    route = classify_route(classifier, lane, gate, settings, metrics)
    statuses = sorted({kind.status for code, kind in PROBLEMS.items() if code not in EXPLANATIONS} - {404, 405})
    for method, summary in (("POST", ""), ("PUT", ", as curl -T sends them")):
        api.add_api_route(
            "/classify",
            route,
            methods=[method],
            operation_id=f"classify_{method.lower()}",
            summary=f"Labels one image or several{summary}",
            response_model=ClassifyResponse,
            responses=problem_responses(*statuses, without=EXPLANATIONS),
            openapi_extra={"requestBody": REQUEST_BODY, "parameters": [TOP_K_PARAMETER]},
        )


def _add_health(api: FastAPI, classifier: ClassifierLike) -> None:
    @api.get("/health/live", summary="The process answers", response_model=Health)
    async def live() -> Health:
        return Health(status="live")

    @api.get(
        "/health/ready",
        summary="The golden samples have passed through the real batch path, and no batch hangs",
        response_model=Health,
        responses=problem_responses(503),
    )
    async def ready() -> Health:
        classifier.check_ready()
        return Health(status="ready")
