"""Every failure becomes a problem document (RFC 9457)."""

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from service.errors import PROBLEMS, RequestError
from service.http.schemas import Problem
from service.observability.metrics import REJECTIONS, Metrics
from vision.errors import SightlineError

_CODES = {404: "not_found", 405: "method_not_allowed"}


def problem(code: str, detail: str, request_id: str) -> Problem:
    """The document for one failure.

    Args:
        code: a key of `service.errors.PROBLEMS`.
        detail: what was found this time, and what would be accepted.
        request_id: of the request.
    """
    kind = PROBLEMS[code]
    return Problem(
        type=f"urn:sightline:problem:{code}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        code=code,
        remedy=kind.remedy,
        request_id=request_id,
    )


def last_answer(request: Request) -> JSONResponse:
    """The answer to an error that nothing else handles."""
    return _answer(request, "internal_error", "An unexpected error; the server's log has it under this request_id.")


def handle_errors(api: FastAPI, metrics: Metrics) -> None:
    """Answers our own errors, FastAPI's and Starlette's with problem documents, and counts refused requests."""

    @api.exception_handler(SightlineError)
    async def refused(request: Request, error: SightlineError) -> JSONResponse:
        if isinstance(error, RequestError):
            metrics.count(REJECTIONS, reason=error.code)
        return _answer(request, error.code, str(error))

    @api.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        code = _CODES.get(error.status_code, "malformed_request" if error.status_code < 500 else "internal_error")
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        if code == "method_not_allowed":  # Starlette lists the methods of the first route at this path only
            headers["allow"] = _methods(api, request.scope) or headers.get("allow", "")
            if request.method == "OPTIONS":
                return Response(status_code=204, headers=headers)
        return _answer(request, code, PROBLEMS[code].title + ".", headers)

    @api.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return _answer(request, "invalid_parameter", f"{'.'.join(map(str, first['loc']))}: {first['msg']}.")


def _answer(request: Request, code: str, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    kind = PROBLEMS[code]
    request.state.code = code
    headers = dict(headers or {})
    if kind.retry_after_s is not None:
        headers["retry-after"] = str(kind.retry_after_s)
    content: dict[str, Any] = problem(code, detail, request.state.request_id).model_dump()
    return JSONResponse(content, kind.status, headers, media_type="application/problem+json")


def _methods(api: FastAPI, scope: Scope) -> str:
    """What the routes at a path take, with HEAD wherever GET is, and OPTIONS."""
    routes = [route for route in api.routes if route.matches(scope)[0] != Match.NONE]
    methods = {method for route in routes for method in getattr(route, "methods", None) or ()}
    return ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))
