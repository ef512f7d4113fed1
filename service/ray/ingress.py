"""Between HAProxy and Ray: sends requests straight to the application, and keeps clients from talking to Ray.

Ray puts `ray_middlewares` around both of its HTTP servers: the one in each replica, to which HAProxy sends requests,
and the fallback proxy, which receives them while there is no replica.
"""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.envelope import REQUEST_ID, request_id_of

_RAY_PATHS = "/-/"  # HAProxy asks for a replica's health there
# Ray accepts these headers from any client: the first two disable its timeout and its cancellation, the third selects a
# model.
_FOR_RAY_ONLY = frozenset({"x_request_timeout_seconds", "x_request_disconnect_disabled", "serve_multiplexed_model_id"})
_application: ASGIApp | None = None


def serve_directly(application: ASGIApp) -> None:
    """Makes this process answer its requests with this application, without Ray in between.

    Ray's own path costs two tasks, a queue and several metrics per request (docs/adr/0014). What it would do is done
    elsewhere: `service.http.classify` cancels for a client that has left, `service.http.admission` refuses when the
    replica is full, and uvicorn waits for requests in flight when the replica stops.
    """
    global _application  # a replica is a process
    _application = application


class Ingress:
    """The outermost layer of a Ray HTTP server.

    Args:
        ray: Ray's own handling of a request.
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
        """Removes the headers that a client must not send to Ray, and sets a valid request id."""
        request_id = (REQUEST_ID, request_id_of(scope).encode())
        kept = [
            (name, value)
            for name, value in scope["headers"]
            if name != REQUEST_ID and _spelling(name) not in _FOR_RAY_ONLY
        ]

        async def send_one_id(message: Message) -> None:
            if message["type"] == "http.response.start":  # Ray appends the id to what the application has set
                others = [(name, value) for name, value in message["headers"] if name.lower() != REQUEST_ID]
                message["headers"] = [*others, request_id]
            await send(message)

        await self.ray({**scope, "headers": [*kept, request_id]}, receive, send_one_id)


def ray_middlewares() -> list[Middleware]:
    """Called by Ray, through RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH: what goes around its own ingress."""
    return [Middleware(Ingress)]


def _spelling(name: bytes) -> str:
    return name.decode("latin-1").lower().replace("-", "_")
