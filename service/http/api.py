"""The routes of the service, in FastAPI and without Ray. `create_api` is all of it, so tests run it in-process."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from service.errors import PROBLEMS
from service.http.classify import ClassifierLike, classify_route
from service.http.envelope import RequestEnvelope
from service.http.openapi import REQUEST_BODY, TOP_K_PARAMETER, problem_responses
from service.http.problems import handle_errors, last_answer
from service.http.schemas import ClassifyResponse, Health, ModelInfo, ModelList
from service.observability.metrics import Metrics
from service.settings import Settings

PAGE = Path(__file__).parent / "page"
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def create_api(classifier: ClassifierLike, settings: Settings, metrics: Metrics) -> FastAPI:
    """The application: POST /classify, the page, health, models, documentation.

    Args:
        classifier: answers requests as soon as it is ready.
        settings: limits and deadlines.
        metrics: where requests are counted.
    """
    api = FastAPI(
        title="Sightline",
        summary="Image classification: bytes in, ranked labels out.",
        version="1",
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
    _add_classify(api, classifier, settings, metrics)
    _add_health(api, classifier)

    @api.get("/models", summary="What is served", response_model=ModelList)
    async def models() -> ModelList:
        return ModelList(models=[_model_info(classifier)])

    @api.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        headers = {"content-security-policy": _PAGE_POLICY, "cache-control": "no-cache"}
        return FileResponse(PAGE / "index.html", headers=headers)

    api.mount("/page", StaticFiles(directory=PAGE))
    api.add_middleware(RequestEnvelope, last_answer=last_answer, metrics=metrics)
    return api


def _add_classify(api: FastAPI, classifier: ClassifierLike, settings: Settings, metrics: Metrics) -> None:
    route = classify_route(classifier, settings, metrics)
    statuses = sorted({kind.status for kind in PROBLEMS.values()} - {404, 405})
    for method, summary in (("POST", ""), ("PUT", ", as curl -T sends them")):
        api.add_api_route(
            "/classify",
            route,
            methods=[method],
            operation_id=f"classify_{method.lower()}",
            summary=f"Labels one image or several{summary}",
            response_model=ClassifyResponse,
            responses=problem_responses(*statuses),
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


def _model_info(classifier: ClassifierLike) -> ModelInfo:
    manifest = classifier.bundle.manifest
    return ModelInfo(
        name=manifest.name,
        version=manifest.version,
        digest=classifier.bundle.digest,
        architecture=manifest.architecture.name,
        engine=classifier.engine,
        categories=list(manifest.categories),
        preprocessing=manifest.preprocessing.describe(),
        metrics=manifest.metrics,
    )
