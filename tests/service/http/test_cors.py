"""Web pages of other origins may ask where a setting lets them, and their preflights take no place."""

import asyncio

import pytest

from service.settings import Settings, SettingsError
from tests.service.conftest import problem

HOME = "https://app.example.org"
OTHER = "https://evil.example.org"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "content-type, x-request-id"}


def ask(served, method, path, origin, allowed, **options):
    headers = {"origin": origin, **options.pop("headers", {})}
    return served.request(method, path, settings={"cors_origins": allowed}, headers=headers, **options)


def test_by_default_no_other_origin_may_ask(served):
    for method, headers in (("OPTIONS", PREFLIGHT), ("GET", {})):
        response = ask(served, method, "/models", HOME, "", headers=headers)
        assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize("allowed", [HOME, f"http://localhost:3000,{HOME}"])
def test_a_preflight_of_an_origin_that_is_named_is_answered(served, allowed):
    response = ask(served, "OPTIONS", "/classify", HOME, allowed, headers=PREFLIGHT)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == HOME
    assert "POST" in response.headers["access-control-allow-methods"]
    assert response.headers["access-control-allow-headers"] == PREFLIGHT["access-control-request-headers"]
    assert "Origin" in response.headers["vary"]
    assert response.headers["x-request-id"]


class Waiting:
    """A classifier that holds its requests until it is told to answer."""

    def __init__(self, served):
        self.bundle, self.engine, self.has_linear_head = served.classifier.bundle, served.classifier.engine, None
        self._classify = served.classifier.classify
        self.begun, self.answer = asyncio.Event(), asyncio.Event()

    def check_ready(self): ...

    async def classify(self, data, deadline):
        self.begun.set()
        await self.answer.wait()
        return await self._classify(data, deadline)


def test_a_preflight_takes_no_place_and_is_not_counted(served, encoded, digit):
    image, waiting = encoded(digit(7), "PNG"), Waiting(served)
    names = [{"status": status} for status in ("200", "204")]
    before = [served.counted("sightline_requests_total", **name) for name in names]

    async def scenario(client):
        only = asyncio.create_task(client.post("/classify", content=image))
        await waiting.begun.wait()
        headers = {"origin": HOME, **PREFLIGHT}
        preflight, other = (
            await client.options("/classify", headers=headers),
            await client.post("/classify", content=image),
        )
        waiting.answer.set()
        return preflight, other, await only

    answers = served.run(scenario, waiting, cors_origins=HOME, max_ongoing_requests=1)
    assert [one.status_code for one in answers] == [200, 503, 200]
    after = [served.counted("sightline_requests_total", **name) for name in names]
    assert after == [before[0] + 1, before[1]]  # the image alone


@pytest.mark.parametrize("path", ["/models", "/classify"])
def test_answers_and_problems_may_be_read_by_the_origin_that_is_named(served, path):
    response = ask(served, "GET", path, HOME, HOME)
    assert response.headers["access-control-allow-origin"] == HOME
    assert response.headers["access-control-expose-headers"] == "x-request-id, retry-after"
    if path == "/classify":
        problem(response, 405, "method_not_allowed")


def test_another_origin_gets_no_permission(served):
    preflight = ask(served, "OPTIONS", "/classify", OTHER, HOME, headers=PREFLIGHT)
    assert preflight.status_code == 400
    for response in (preflight, ask(served, "GET", "/models", OTHER, HOME)):
        assert "access-control-allow-origin" not in response.headers


def test_every_origin_may_ask_if_the_setting_says_so(served):
    response = ask(served, "GET", "/models", OTHER, "*")
    assert response.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize(
    "origins", ["app.example.org", f"{HOME}/", f"{HOME}, {OTHER}", f"{HOME},*", "null", "https://"]
)
def test_what_is_no_list_of_origins_is_refused(origins):
    with pytest.raises(SettingsError, match="SIGHTLINE_CORS_ORIGINS"):
        Settings.from_environment(cors_origins=origins)
