"""Every refusal of the API is a problem document, and is counted and logged."""

import asyncio
import time

import httpx
import pytest

from loadtests.bodies import Body, broken
from service.errors import InferenceFailed
from tests.service.conftest import bad_images, problem
from vision.errors import ImageError


class Wrapped:
    """The real classifier with something in front of `classify`."""

    def __init__(self, classifier) -> None:
        self._classifier = classifier
        self.check_ready = classifier.check_ready
        self.bundle, self.engine = classifier.bundle, classifier.engine

    async def classify(self, data, deadline):
        await self.before(data)
        return await self._classifier.classify(data, deadline)


class Held(Wrapped):
    """Waits until the test opens the door."""

    def __init__(self, classifier) -> None:
        super().__init__(classifier)
        self.entered, self.door = asyncio.Event(), asyncio.Event()

    async def before(self, data: bytes) -> None:
        self.entered.set()
        await self.door.wait()


class Failing(Wrapped):
    """Raises an error for one image."""

    def __init__(self, classifier, poison: bytes, error: Exception) -> None:
        super().__init__(classifier)
        self._poison, self._error = poison, error

    async def before(self, data: bytes) -> None:
        if data == self._poison:
            raise self._error


@pytest.fixture(scope="module")
def png(digit, encoded) -> bytes:
    return encoded(digit(7), "PNG")


def label(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return response.json()["results"][0]["predictions"][0]["label"]


CODES = sorted(kind.code for kind in ImageError.__subclasses__())


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("form", ["raw", "multipart"])
def test_a_single_bad_image_is_answered_with_its_own_problem(served, png, encoded, code, form):
    status, data = bad_images(png, encoded)[code]
    if form == "raw" and code == "empty":
        problem(served.post(data), 400, "missing_image")  # nothing at all is no image either
        return
    options = {"content": data} if form == "raw" else {"files": {"image": ("a.png", data)}}
    before = {name: served.counted(f"sightline_{name}", **labels) for name, labels in counters(code).items()}
    problem(served.request("POST", "/classify", **options), status, code)
    counted = {
        name: served.counted(f"sightline_{name}", **labels) - before[name] for name, labels in counters(code).items()
    }
    assert counted == {"decode_failures_total": 1, "images_total": 1, "rejections_total": 0}


def counters(code: str) -> dict[str, dict[str, str]]:
    return {
        "decode_failures_total": {"reason": code},
        "images_total": {"outcome": "refused"},
        "rejections_total": {"reason": code},
    }


@pytest.mark.parametrize(
    ("status", "code", "options"),
    [
        (400, "malformed_request", {"json": {"image": "?"}}),
        (400, "malformed_request", {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=y"}}),
        (
            400,
            "malformed_request",
            {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=y; charset=undefined"}},
        ),
        (400, "missing_image", {"json": {"images": []}}),
        (400, "missing_image", {}),
        (413, "too_many_images", {"json": {"images": ["aGk="] * 17}}),
        (415, "unsupported_encoding", {"content": b"x", "headers": {"content-encoding": "gzip"}}),
        (422, "invalid_parameter", {"json": {"image": "aGk="}, "params": {"top_k": "0"}}),
        (422, "invalid_parameter", {"json": {"image": "aGk=", "top_k": 1001}}),
        (422, "invalid_parameter", {"content": b"x", "params": {"top_k": "１"}}),
    ],
)
def test_a_request_that_cannot_be_read_is_refused_and_counted(served, status, code, options):
    before = served.counted("sightline_rejections_total", reason=code)
    problem(served.request("POST", "/classify", **options), status, code)
    assert served.counted("sightline_rejections_total", reason=code) == before + 1


@pytest.mark.parametrize(
    "path", ["/nothing", "/classify/", "/classify/x", "/page/nothing.js", "/page/../api.py", "/page/%2e%2e/api.py"]
)
def test_an_unknown_path_is_a_problem(served, path):
    problem(served.request("GET", path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/classify", {"POST", "PUT"}),
        ("DELETE", "/classify", {"POST", "PUT"}),
        ("HEAD", "/classify", {"POST", "PUT"}),
        ("POST", "/health/live", {"GET", "HEAD"}),
        ("POST", "/models", {"GET", "HEAD"}),
        ("POST", "/", {"GET", "HEAD"}),
        ("POST", "/models/digits/1/report", {"GET", "HEAD"}),
        ("PUT", "/models/digits/1/golden/0", {"GET", "HEAD"}),
        ("GET", "/explain", {"POST"}),
        ("POST", "/openapi.json", {"GET", "HEAD"}),
        ("POST", "/page/sample.png", {"GET", "HEAD"}),
    ],
)
def test_a_method_that_a_path_does_not_take_is_a_problem_whose_allow_header_lists_what_it_takes(
    served, method, path, allowed
):
    response = served.request(method, path)
    if method == "HEAD":
        assert (response.status_code, response.content) == (405, b"")
    else:
        problem(response, 405, "method_not_allowed")
    (allow,) = response.headers.get_list("allow")
    assert sorted(allow.split(", ")) == sorted(allowed | {"OPTIONS"})


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/classify", "OPTIONS, POST, PUT"),
        ("/models", "GET, HEAD, OPTIONS"),
        ("/models/digits/1/report", "GET, HEAD, OPTIONS"),
        ("/explain", "OPTIONS, POST"),
        ("/page/main.js", "GET, HEAD, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
    ],
)
def test_options_tells_what_a_path_takes(served, path, allowed):
    response = served.request("OPTIONS", path)
    assert (response.status_code, response.content, response.headers["allow"]) == (204, b"", allowed)


def test_options_of_no_path_are_a_problem(served):
    problem(served.request("OPTIONS", "/nothing"), 404, "not_found")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/docs",
        "/openapi.json",
        "/models",
        "/health/live",
        "/health/ready",
        "/filters",
        "/page/main.js",
        "/models/digits/1/report",
        "/models/digits/1/golden/0",
        "/nothing",
    ],
)
def test_head_is_answered_as_get_is_without_a_body(served, path):
    get, head = (served.request(method, path) for method in ("GET", "HEAD"))
    assert head.status_code == get.status_code
    assert head.content == b"" != get.content
    varying = {"x-request-id", "date"}
    assert {name: value for name, value in head.headers.items() if name not in varying} == {
        name: value for name, value in get.headers.items() if name not in varying
    }


def test_a_body_over_the_limit_is_refused_while_it_streams(served):
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 512
            yield bytes(512)

    problem(served.post(endless(), settings={"max_body_bytes": 1024}), 413, "body_too_large")
    assert sent == 3 * 512


def test_a_body_that_announces_too_much_is_refused_unread(served):
    response = served.post(bytes(2000), settings={"max_body_bytes": 1024})
    assert "2000" in problem(response, 413, "body_too_large").detail


def test_a_body_that_stalls_is_refused_in_time(served, png):
    async def stalling():
        yield png[:100]
        await asyncio.sleep(20)

    started = time.monotonic()
    problem(served.post(stalling(), settings={"body_timeout_s": 0.05}), 408, "body_timeout")
    assert time.monotonic() - started < 2


def test_a_request_over_the_limit_is_told_to_come_again_while_the_held_ones_are_answered(served, png):
    held = Held(served.classifier)
    before = served.counted("sightline_rejections_total", reason="overloaded")

    async def scenario(client):
        first = asyncio.create_task(client.post("/classify", content=png))
        await held.entered.wait()
        refused = await client.post("/classify", content=png)
        health = await client.get("/health/ready")
        held.door.set()
        return refused, health, await first, await client.post("/classify", content=png)

    refused, health, first, later = served.run(scenario, held, max_ongoing_requests=1)
    problem(refused, 503, "overloaded")
    assert health.status_code == 200
    assert [label(first), label(later)] == ["7", "7"]
    assert served.counted("sightline_rejections_total", reason="overloaded") == before + 1


def test_a_body_that_comes_slowly_keeps_nobody_out(served, png):
    halfway, door = asyncio.Event(), asyncio.Event()

    async def slow():
        yield png[:100]
        halfway.set()
        await door.wait()
        yield png[100:]

    async def scenario(client):
        first = asyncio.create_task(client.post("/classify", content=slow()))
        await halfway.wait()
        beside = await client.post("/classify", content=png)
        door.set()
        return beside, await first

    assert [label(answer) for answer in served.run(scenario, max_ongoing_requests=1)] == ["7", "7"]


def test_bodies_that_are_more_than_the_replica_may_hold_are_refused(served, png):
    halfway, door = asyncio.Event(), asyncio.Event()
    much = bytes(2**20)

    async def slow():
        yield much
        halfway.set()
        await door.wait()

    async def scenario(client):
        first = asyncio.create_task(client.post("/classify", content=slow()))
        await halfway.wait()
        refused = await client.post("/classify", content=png)
        door.set()
        return refused, await first, await client.post("/classify", content=png)

    refused, first, later = served.run(scenario, max_held_bytes=2**20)
    assert "bytes" in problem(refused, 503, "overloaded").detail
    problem(first, 413, "too_many_bytes")  # so it was read whole
    assert label(later) == "7"


@pytest.mark.parametrize("count", [1, 3])
def test_a_request_past_its_deadline_is_answered_then_and_gives_its_place_back(served, png, count):
    held = Held(served.classifier)

    async def scenario(client):
        started = time.monotonic()
        late = await client.post("/classify", files=[("image", ("a.png", png))] * count)
        seconds = time.monotonic() - started
        held.door.set()
        return late, seconds, await client.post("/classify", content=png)

    late, seconds, later = served.run(scenario, held, max_ongoing_requests=1, request_timeout_s=0.2)
    problem(late, 504, "deadline_exceeded")
    assert 0.2 <= seconds < 2
    assert label(later) == "7"


def test_an_image_that_breaks_the_model_fails_alone(served, png, digit, encoded):
    poison = encoded(digit(1), "PNG")
    failing = Failing(served.classifier, poison, InferenceFailed("The model failed on this image."))
    problem(served.post(poison, classifier=failing), 500, "inference_failed")
    both = served.request(
        "POST", "/classify", classifier=failing, files=[("image", ("a", poison)), ("image", ("b", png))]
    )
    first, second = both.json()["results"]
    assert (both.status_code, first["problem"]["code"], second["predictions"][0]["label"]) == (
        200,
        "inference_failed",
        "7",
    )


def test_an_unexpected_error_is_logged_once_and_tells_the_client_nothing(served, png, logged):
    failing = Failing(served.classifier, png, ZeroDivisionError("a secret of the server"))
    responses = []
    (line,) = logged(lambda: responses.append(served.post(png, classifier=failing)))
    document = problem(responses[0], 500, "internal_error")
    assert responses[0].headers["x-content-type-options"] == "nosniff"
    for word in ("secret", "ZeroDivisionError", "Traceback", ".py"):
        assert word not in responses[0].text
    assert line["error"] == "ZeroDivisionError('a secret of the server')"
    assert (line["request_id"], line["status"], line["code"]) == (document.request_id, 500, "internal_error")


def test_before_the_golden_samples_have_passed_only_liveness_is_granted(unstarted, png):
    assert unstarted.request("GET", "/health/live").status_code == 200
    problem(unstarted.request("GET", "/health/ready"), 503, "not_ready")
    problem(unstarted.post(png), 503, "not_ready")
    unstarted.start()
    assert unstarted.request("GET", "/health/ready").status_code == 200
    assert label(unstarted.post(png)) == "7"


def test_answers_are_counted_by_outcome_and_stage(served, png):
    stages = ("read", "decode", "preprocess", "queue", "inference", "postprocess")

    def state() -> dict:
        found = {f"{stage} times": served.counted("sightline_stage_seconds_count", stage=stage) for stage in stages}
        found |= {f"{stage} s": served.counted("sightline_stage_seconds_sum", stage=stage) for stage in stages}
        batches = served.counted("sightline_batch_size_count"), served.counted("sightline_batch_size_sum")
        return found | {
            "ok": served.counted("sightline_images_total", outcome="ok"),
            "batches": batches[0],
            "batched": batches[1],
        }

    before = state()
    assert label(served.request("POST", "/classify", files=[("image", ("a.png", png))] * 3)) == "7"
    grown = {name: value - before[name] for name, value in state().items()}
    assert [grown[name] for name in ("ok", "batched", "decode times", "preprocess times", "queue times")] == [3] * 5
    assert grown["read times"] == 1, "once a request"
    assert 1 <= grown["batches"] <= 3
    assert grown["inference times"] == grown["postprocess times"] == grown["batches"]
    assert all(grown[f"{stage} s"] > 0 for stage in stages)


@pytest.mark.parametrize("body", broken(), ids=lambda body: body.name)
def test_the_load_test_expects_what_is_answered(served, body: Body) -> None:
    assert served.post(body.data).status_code in body.statuses
