"""Around every request: its id, the headers of its answer, its line in the log.

Plain ASGI, because Starlette's function middleware costs a task and a queue per request.
"""

import random
import re
import time
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.observability.metrics import EXPLANATION_REQUESTS, REQUESTS, Metrics
from service.observability.request_log import log_request
from service.observability.tracing import current_request

REQUEST_ID = b"x-request-id"
CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that left; it appears in the log and the metrics only
_SAFE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_EXPLANATIONS = {f"/{kind}": kind for kind in ("explain", "activations", "inspect", "convolve")}
_SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]


class RequestEnvelope:
    """The outermost layer of the application.

    Args:
        app: the application inside it.
        last_answer: the answer to an error that nothing else handles.
        metrics: where requests to /classify and explanations are counted.
    """

    def __init__(self, app: ASGIApp, last_answer: Callable[[Request], ASGIApp], metrics: Metrics) -> None:
        self.app = app
        self.last_answer = last_answer
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.monotonic()
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = request_id_of(scope)
        current_request().set_attribute("sightline.request_id", request_id)
        status = 0
        failure: Exception | None = None

        head = scope["method"] == "HEAD"

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_SECURITY_HEADERS, (REQUEST_ID, request_id.encode())]
            await send(message)

        try:
            # Wherever GET is answered, HEAD is (RFC 9110, section 9.3.2), with the same headers.
            await self.app({**scope, "method": "GET"} if head else scope, receive, send_with_headers)
        except ClientDisconnect:
            status = status or CLIENT_CLOSED_REQUEST
        except Exception as error:
            failure = error
            if not status:
                await self.last_answer(Request(scope))(scope, receive, send_with_headers)
        finally:
            if scope["method"] != "OPTIONS":  # which only asks what a path takes
                self._count(scope["path"], str(status))
            if not (status == 200 and scope["path"].startswith("/health/")):  # probes would fill the log
                log_request(
                    request_id=request_id,
                    method=scope["method"],
                    path=scope["path"][:200],
                    status=status,
                    code=state.get("code"),
                    images=state.get("images", 0),
                    duration_ms=round(1000 * (time.monotonic() - started), 2),
                    **({"error": repr(failure)[:1000]} if failure is not None else {}),
                )

    def _count(self, path: str, status: str) -> None:
        if path == "/classify":
            self.metrics.count(REQUESTS, status=status)
        elif kind := _EXPLANATIONS.get(path):
            self.metrics.count(EXPLANATION_REQUESTS, kind=kind, status=status)


def request_id_of(scope: Scope) -> str:
    """The client's request id if it is 1 to 128 of A-Z a-z 0-9 . _ -; else a new one."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID:
            given: str = value.decode("latin-1")
            return given if _SAFE_REQUEST_ID.fullmatch(given) else _fresh_id()
    return _fresh_id()


def _fresh_id() -> str:
    """128 random bits. They need not be secret, and asking the kernel would cost more than the rest of this file."""
    return f"{random.getrandbits(128):032x}"
