"""Between HAProxy and Ray: a replica's requests go straight to its application, and no client talks to Ray.

Ray puts `ray_middlewares` around both of its HTTP servers: the one in each replica, which HAProxy sends requests to, and the
fallback proxy, which gets them while there is no replica and passes them on as calls.
"""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.envelope import REQUEST_ID, request_id_of

_RAY_PATHS = "/-/"  # HAProxy asks for a replica's health there
# Ray obeys these from anybody: the first two switch its timeout and its cancellation off, the third picks a model.
_FOR_RAY_ONLY = frozenset({"x_request_timeout_seconds", "x_request_disconnect_disabled", "serve_multiplexed_model_id"})
_application: ASGIApp | None = None


def serve_directly(application: ASGIApp) -> None:
    """From here on this process answers its requests with this application.

    Ray's own way there costs a request two tasks, a queue and its own account in metrics (docs/adr/0014). What it would do is
    done elsewhere: cancelling for a client that left in `service.http.api`, refusing when full in `service.http.admission`, waiting for
    what is in flight at the end in uvicorn.
    """
    global _application  # a replica is a process
    _application = application


class Ingress:
    """The outermost layer of a Ray HTTP server.

    Args:
        ray: what Ray does with a request.
    """

    def __init__(self, ray: ASGIApp) -> None:
        self.ray = ray

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self.ray(scope, receive, send)
        elif _application is not None and not scope["path"].startswith(_RAY_PATHS):
            await _application(scope, receive, send)
        else:
            await self._through_ray(scope, receive, send)

    async def _through_ray(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Takes away what a client may not tell Ray, and gives Ray a request id that is safe to repeat."""
        request_id = (REQUEST_ID, request_id_of(scope).encode())
        kept = [(name, value) for name, value in scope["headers"] if name != REQUEST_ID and _spelling(name) not in _FOR_RAY_ONLY]

        async def send_one_id(message: Message) -> None:
            if message["type"] == "http.response.start":  # Ray appends the id to what the application has set
                others = [(name, value) for name, value in message["headers"] if name.lower() != REQUEST_ID]
                message["headers"] = [*others, request_id]
            await send(message)

        await self.ray({**scope, "headers": [*kept, request_id]}, receive, send_one_id)


def ray_middlewares() -> list[Middleware]:
    """What Ray puts around its own ingress; it finds this through RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH."""
    return [Middleware(Ingress)]


def _spelling(name: bytes) -> str:
    return name.decode("latin-1").lower().replace("-", "_")
