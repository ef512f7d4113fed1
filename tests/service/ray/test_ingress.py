import asyncio
import re

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.ray import ingress
from service.ray.ingress import Ingress, serve_directly

SAFE = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def through_the_ingress(
    headers: list[tuple[bytes, bytes]],
) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
    """The headers that Ray sees, and those that the client gets from an application that sets the id twice."""
    seen: list[tuple[bytes, bytes]] = []
    answered: list[tuple[bytes, bytes]] = []

    async def ray(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend(scope["headers"])
        given = dict(scope["headers"])[b"x-request-id"]
        ids = [(b"x-request-id", given), (b"X-Request-ID", given)]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain"), *ids]})

    async def send(message: Message) -> None:
        answered.extend(message["headers"])

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(Ingress(ray)({"type": "http", "path": "/", "headers": headers}, receive, send))
    return seen, answered


@pytest.mark.parametrize(
    "name",
    [
        b"x-request-timeout-seconds",
        b"x_request_timeout_seconds",
        b"x-request-disconnect-disabled",
        b"serve_multiplexed_model_id",
        b"serve-multiplexed-model-id",
    ],
)
def test_what_only_ray_may_be_told_is_taken_away_in_any_spelling(name: bytes) -> None:
    seen, _ = through_the_ingress([(name, b"0"), (b"accept", b"*/*")])
    assert [key for key, _ in seen] == [b"accept", b"x-request-id"]


@pytest.mark.parametrize(
    ("given", "kept"), [(b"job-17.a_b", True), (b"", False), (b"a b", False), (b"\xff", False), (b"a" * 129, False)]
)
def test_ray_gets_one_safe_request_id_and_the_client_the_same_once(given: bytes, kept: bool) -> None:
    seen, answered = through_the_ingress([(b"x-request-id", given)])
    (request_id,) = [value for key, value in seen if key == b"x-request-id"]
    assert (request_id == given) == kept
    assert SAFE.fullmatch(request_id)
    assert [(key.lower(), value) for key, value in answered] == [
        (b"content-type", b"text/plain"),
        (b"x-request-id", request_id),
    ]


@pytest.mark.parametrize(
    ("path", "answers"),
    [("/classify", "application"), ("/", "application"), ("/-/healthz", "ray"), ("/-/routes", "ray")],
)
def test_in_a_replica_all_but_rays_own_paths_go_straight_to_the_application(
    monkeypatch: pytest.MonkeyPatch, path: str, answers: str
) -> None:
    answered = []

    def named(name: str):
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            answered.append(name)

        return app

    monkeypatch.setattr(ingress, "_application", None)  # put back afterwards
    serve_directly(named("application"))
    asyncio.run(Ingress(named("ray"))({"type": "http", "path": path, "headers": []}, None, None))
    assert answered == [answers]
