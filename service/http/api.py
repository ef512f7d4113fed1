"""The HTTP face of a classifier: FastAPI, no Ray. `create_api` is all of it, so tests run it in-process."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from service.errors import PROBLEMS, BodyTimeout, DeadlineExceeded, ProblemKind, RequestError, problem_kind
from service.http.admission import Gate, Submission, find_images, read_body
from service.http.envelope import RequestEnvelope
from service.http.schemas import MAX_TOP_K, ClassifyRequest, ClassifyResponse, Health, ModelInfo, ModelList, Problem
from service.model.classifier import Classification
from service.observability.metrics import REJECTIONS, REQUEST_SECONDS, STAGE_SECONDS, Metrics
from service.observability.tracing import current_request, record_stages
from service.settings import Settings
from vision.errors import ImageError, SightlineError

PAGE = Path(__file__).parent / "page"
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


class ClassifierLike(Protocol):
    """What the API needs of a classifier; `service.model.classifier.Classifier` is one."""

    async def classify(self, data: bytes, k: int, deadline: float) -> Classification:
        """One encoded image, k labels, a deadline of `time.monotonic()`."""
        ...

    def check_ready(self) -> None:
        """Raises NotReady where requests cannot be answered."""
        ...

    def model_info(self) -> ModelInfo:
        """What is served."""
        ...


def create_api(classifier: ClassifierLike, settings: Settings, metrics: Metrics) -> FastAPI:
    """The application: POST /classify, the page, health, models, documentation.

    Args:
        classifier: started.
        settings: limits and deadlines.
        metrics: where refusals are counted.
    """
    api = FastAPI(
        title="Sightline",
        summary="Image classification: bytes in, ranked labels out.",
        version="1",
        redirect_slashes=False,
        telemetry={"operation_spans": False, "metrics": False, "logs": False, "auto_configure": False},  # see service.observability.tracing
        responses={status: _problem_response(status) for status in (404, 405)},
    )
    gate = Gate(settings.max_queued_requests, settings.max_held_bytes)
    model = classifier.model_info()
    _handle_errors(api, metrics)

    async def classify(request: Request) -> Response:
        started = time.monotonic()
        with gate.receiving() as hold:
            classifier.check_ready()
            submission = await _receive(request, settings, hold)
            read_s = time.monotonic() - started
            metrics.observe(STAGE_SECONDS, read_s, stage="read")
            record_stages(current_request(), {"read": (started, started + read_s)})
            request.state.images = len(submission.images)
            with gate.admit():
                outcomes = await _classify_all(classifier, submission, request.receive, settings.request_timeout_s)
        if submission.single and isinstance(outcomes[0], SightlineError):
            raise outcomes[0]
        answer = _answer(model, request.state.request_id, submission, outcomes)
        done = [outcome for outcome in outcomes if isinstance(outcome, Classification)]
        slowest = {stage: max((getattr(one, f"{stage}_s") for one in done), default=0.0) for stage in ("decode", "queue", "inference")}
        seconds = {"read": read_s, **slowest, "total": time.monotonic() - started}
        answer["timings_ms"] = {stage: round(1000 * value, 3) for stage, value in seconds.items()}
        metrics.observe(REQUEST_SECONDS, seconds["total"] - read_s)
        return Response(to_json(answer), media_type="application/json")

    statuses = sorted({kind.status for kind in PROBLEMS.values()} - {404, 405})
    for method in ("POST", "PUT"):
        api.add_api_route(
            "/classify",
            classify,
            methods=[method],
            operation_id=f"classify_{method.lower()}",
            summary="Labels one image or several" + (", as curl -T sends them" if method == "PUT" else ""),
            response_model=ClassifyResponse,
            responses={status: _problem_response(status) for status in statuses},
            openapi_extra={"requestBody": _REQUEST_BODY, "parameters": [_TOP_K_PARAMETER]},
        )

    @api.get("/health/live", summary="The process answers", response_model=Health)
    async def live() -> Health:
        return Health(status="live")

    @api.get(
        "/health/ready",
        summary="The golden samples have passed through the real batch path, and batches move",
        response_model=Health,
        responses={503: _problem_response(503)},
    )
    async def ready() -> Health:
        classifier.check_ready()
        return Health(status="ready")

    @api.get("/models", summary="What is served", response_model=ModelList)
    async def models() -> ModelList:
        return ModelList(models=[model])

    @api.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"content-security-policy": _PAGE_POLICY, "cache-control": "no-cache"})

    api.mount("/page", StaticFiles(directory=PAGE))
    api.add_middleware(RequestEnvelope, last_answer=_last_answer, metrics=metrics)
    return api


async def _receive(request: Request, settings: Settings, hold: Callable[[int], None]) -> Submission:
    """Reads the body in time and finds the images in it."""
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            body = await read_body(request.stream(), request.headers, settings.max_body_bytes, hold)
    except TimeoutError:
        raise BodyTimeout(f"The body did not arrive within {settings.body_timeout_s:g} s.") from None
    return await find_images(body, request.headers, request.query_params.get("top_k"), settings.max_images_per_request)


async def _classify_all(
    classifier: ClassifierLike, submission: Submission, receive: Receive, timeout_s: float
) -> list[Classification | SightlineError]:
    """Every image's answer or error, in order, within the deadline and while the client is there; one that fails harms no other."""
    deadline = time.monotonic() + timeout_s

    async def one(image: bytes) -> Classification | SightlineError:
        try:
            return await classifier.classify(image, submission.top_k, deadline)
        except (ImageError, RequestError) as error:
            return error

    async def everything() -> list[Classification | SightlineError]:
        return await asyncio.gather(*(one(image) for image in submission.images))

    # A task, because asyncio reports a cancelled gather that nobody awaits: a traceback for each client that leaves.
    answers = asyncio.ensure_future(everything())
    departure = asyncio.ensure_future(_departure(receive))
    try:
        await asyncio.wait((answers, departure), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if answers.done():
            return answers.result()
        if departure.done():
            raise ClientDisconnect
        raise DeadlineExceeded(f"There was no answer within {timeout_s:g} s.")
    finally:
        answers.cancel()
        departure.cancel()


async def _departure(receive: Receive) -> None:
    """Returns when the client has gone; the body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _answer(model: ModelInfo, request_id: str, submission: Submission, outcomes: list[Classification | SightlineError]) -> dict[str, Any]:
    """What `ClassifyResponse` describes, as plain data: validating our own answer would cost more than writing it."""
    results = []
    for filename, outcome in zip(submission.filenames, outcomes, strict=True):
        result: dict[str, Any] = {} if filename is None else {"filename": filename}
        if isinstance(outcome, Classification):
            predictions = [{"label": label, "score": round(score, 6)} for label, score in outcome.predictions]
            result |= {"width": outcome.width, "height": outcome.height, "predictions": predictions}
        else:
            result["problem"] = _problem(outcome.code, problem_kind(outcome), str(outcome), request_id).model_dump()
        results.append(result)
    return {"model": model.name, "version": model.version, "digest": model.digest, "request_id": request_id, "results": results}


def _problem(code: str, kind: ProblemKind, detail: str, request_id: str) -> Problem:
    return Problem(
        type=f"urn:sightline:problem:{code}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        code=code,
        remedy=kind.remedy,
        request_id=request_id,
    )


def _problem_answer(request: Request, code: str, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    kind = PROBLEMS[code]
    request.state.code = code
    headers = dict(headers or {})
    if kind.retry_after_s is not None:
        headers["retry-after"] = str(kind.retry_after_s)
    problem = _problem(code, kind, detail, request.state.request_id)
    return JSONResponse(problem.model_dump(), kind.status, headers, media_type="application/problem+json")


def _last_answer(request: Request) -> JSONResponse:
    return _problem_answer(request, "internal_error", "An unexpected error; the server's log has it under this request_id.")


def _handle_errors(api: FastAPI, metrics: Metrics) -> None:
    """Every failure becomes a problem document: ours, FastAPI's own, and what nobody expected."""

    @api.exception_handler(SightlineError)
    async def refused(request: Request, error: SightlineError) -> JSONResponse:
        if isinstance(error, RequestError):
            metrics.count(REJECTIONS, reason=error.code)
        return _problem_answer(request, error.code, str(error))

    @api.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "method_not_allowed"}.get(
            error.status_code, "malformed_request" if error.status_code < 500 else "internal_error"
        )
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        if code == "method_not_allowed":  # Starlette lists the methods of the first route at this path only
            routes = [route for route in api.routes if getattr(route, "path", None) == request.url.path]
            methods = {method for route in routes for method in getattr(route, "methods", None) or ()}
            headers["allow"] = ", ".join(sorted(methods)) or headers.get("allow", "")
        return _problem_answer(request, code, PROBLEMS[code].title + ".", headers)

    @api.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return _problem_answer(request, "invalid_parameter", f"{'.'.join(map(str, first['loc']))}: {first['msg']}.")


def _problem_response(status: int) -> dict[str, Any]:
    """OpenAPI: the problems that this status can mean, each with an example."""
    examples = {
        code: {"value": _problem(code, kind, kind.title + ".", "3f0c9a52d1f54c4a8a4e7d0f6a8f8f0e").model_dump()}
        for code, kind in PROBLEMS.items()
        if kind.status == status
    }
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": " · ".join(PROBLEMS[code].title for code in examples),
        "content": {"application/problem+json": {"schema": schema, "examples": examples}},
    }


_BINARY = {"schema": {"type": "string", "format": "binary"}}
_REQUEST_BODY = {
    "required": True,
    "description": "What the bytes are decides: an image's own bytes are an image whatever the Content-Type says.",
    "content": {
        **{f"image/{kind}": _BINARY for kind in ("jpeg", "png", "webp", "gif", "bmp")},
        "application/octet-stream": _BINARY,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "image": {"type": "array", "items": {"type": "string", "format": "binary"}},
                    "top_k": {"type": "integer", "minimum": 1, "maximum": MAX_TOP_K},
                },
                "required": ["image"],
            }
        },
        "application/json": {"schema": ClassifyRequest.model_json_schema()},
    },
}
_TOP_K_PARAMETER = {
    "name": "top_k",
    "in": "query",
    "description": "How many labels an image gets.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_TOP_K, "default": 5},
}
