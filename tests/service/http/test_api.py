"""The answers of the API: the real classifier on a really trained bundle, over ASGI in this process."""

import asyncio
import base64
import re

import httpx
import numpy as np
import pytest
from PIL import Image

from service.http.schemas import ClassifyResponse
from tests.service.conftest import problem
from vision.classification import STAGES

DIGITS = range(10)
TURNS = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


@pytest.fixture(scope="module")
def pngs(digit, encoded) -> list[bytes]:
    """The ten digits."""
    return [encoded(digit(number), "PNG") for number in DIGITS]


def answered(response: httpx.Response) -> ClassifyResponse:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return ClassifyResponse.model_validate_json(response.content, extra="forbid")


def labels(response: httpx.Response) -> list[str | None]:
    """Every image's best label, None where it has a problem."""
    return [result.predictions[0].label if result.predictions else None for result in answered(response).results]


def as_form(files: list[bytes]) -> list[tuple]:
    return [("image", (f"{index}.png", data, "image/png")) for index, data in enumerate(files)]


def as_json(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    "content_type", [None, "image/png", "image/jpeg", "application/x-www-form-urlencoded", "text/plain"]
)
def test_raw_bytes_are_labelled_whatever_the_method_and_the_content_type(served, pngs, method, content_type):
    headers = {} if content_type is None else {"content-type": content_type}
    response = served.request(method, "/classify", content=pngs[7], headers=headers)
    assert labels(response) == ["7"]
    answer = answered(response)
    assert (answer.model, answer.version, answer.request_id) == ("digits", 1, response.headers["x-request-id"])
    assert re.fullmatch("[0-9a-f]{12}", answer.digest)


@pytest.mark.parametrize(
    "request_of",
    [
        lambda data: {"content": data},
        lambda data: {"files": {"photo": ("a.png", data)}},
        lambda data: {"json": {"image": as_json(data)}},
        lambda data: {"json": {"images": [as_json(data)]}},
    ],
    ids=["raw", "multipart", "json image", "json images"],
)
def test_every_form_of_a_request_gets_the_same_answer(served, pngs, request_of):
    wanted = answered(served.post(pngs[4])).results[0].predictions
    result = answered(served.request("POST", "/classify", **request_of(pngs[4]))).results[0]
    assert [one.label for one in result.predictions] == [one.label for one in wanted]
    assert [one.score for one in result.predictions] == pytest.approx([one.score for one in wanted], abs=1e-6)
    assert (result.width, result.height) == (280, 280)


def test_a_raw_body_needs_no_content_length(served, pngs):
    async def pieces():
        for start in range(0, len(pngs[3]), 100):
            yield pngs[3][start : start + 100]

    assert labels(served.post(pieces())) == ["3"]


@pytest.mark.parametrize("kind", ["multipart", "json"])
def test_several_images_are_answered_in_order_and_a_bad_one_in_its_place(served, pngs, kind):
    bodies = [pngs[5], b"no image", pngs[2], b"", pngs[0][: len(pngs[0]) // 2], pngs[8]]
    options = (
        {"files": as_form(bodies)} if kind == "multipart" else {"json": {"images": [as_json(data) for data in bodies]}}
    )
    response = served.request("POST", "/classify", **options)
    assert labels(response) == ["5", None, "2", None, None, "8"]
    results = answered(response).results
    assert [result.problem.code for result in results if result.problem] == ["not_an_image", "empty", "truncated"]
    assert [result.problem.status for result in results if result.problem] == [415, 400, 422]
    assert {result.problem.request_id for result in results if result.problem} == {response.headers["x-request-id"]}
    assert [result.filename for result in results] == (
        [f"{index}.png" for index in range(6)] if kind == "multipart" else [None] * 6
    )
    assert {frozenset(result) for result in response.json()["results"]} <= {
        frozenset({*also, *keys})
        for keys in ({"width", "height", "predictions"}, {"problem"})
        for also in ((), ("filename",))
    }


def test_an_answer_stands_even_where_every_one_of_several_images_is_bad(served):
    assert labels(served.request("POST", "/classify", json={"images": ["aGk=", "aGk="]})) == [None, None]


@pytest.mark.parametrize(("query", "count"), [("", 5), ("?top_k=1", 1), ("?top_k=10", 10), ("?top_k=1000", 10)])
def test_top_k_says_how_many_labels_there_are_the_best_first(served, pngs, query, count):
    predictions = answered(served.post(pngs[1], f"/classify{query}")).results[0].predictions
    assert len(predictions) == len({one.label for one in predictions}) == count
    scores = [one.score for one in predictions]
    assert scores == sorted(scores, reverse=True)
    assert count < 10 or sum(scores) == pytest.approx(1, abs=1e-4)


def test_timings_name_every_stage_and_none_is_longer_than_the_whole(served, pngs):
    timings = answered(served.post(pngs[6])).timings_ms
    assert list(timings) == ["read", *STAGES, "total"]
    assert all(0 <= value <= timings["total"] for value in timings.values())
    assert all(timings[stage] > 0 for stage in ("decode", "preprocess", "inference", "postprocess"))


def transparent(picture: Image.Image) -> Image.Image:
    """The ink as black with alpha; the paper is black, too, but transparent."""
    ink = 255 - np.asarray(picture.convert("L"))
    return Image.fromarray(np.dstack([np.zeros_like(ink)] * 3 + [ink]))


@pytest.mark.parametrize("number", DIGITS)
def test_a_digit_is_the_same_in_every_encoding(served, digit, encoded, number):
    picture = digit(number)
    variants = [
        encoded(picture, "PNG"),
        encoded(picture, "JPEG", quality=90),
        encoded(picture, "WEBP", lossless=True),
        encoded(transparent(picture), "PNG"),
    ]
    for orientation, turn in TURNS.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        variants.append(encoded(picture.transpose(turn), "JPEG", quality=90, exif=exif))
    assert labels(served.request("POST", "/classify", files=as_form(variants))) == [str(number)] * 7


@pytest.mark.parametrize(("orientation", "size"), [(1, (280, 140)), (3, (280, 140)), (6, (140, 280)), (8, (140, 280))])
def test_width_and_height_are_of_the_upright_image(served, digit, encoded, orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = encoded(digit(0).resize((280, 140)), "JPEG", exif=exif)
    result = answered(served.post(stored)).results[0]
    assert (result.width, result.height) == size


def test_each_of_16_concurrent_requests_gets_exactly_its_single_answer(served, digit, encoded):
    images = [encoded(digit(number % 10, turn_deg=number, pen=0.07 + number / 400), "PNG") for number in range(16)]
    single = [answered(served.post(image, "/classify?top_k=10")).results[0] for image in images]

    async def all_at_once(client):
        return await asyncio.gather(*(client.post("/classify?top_k=10", content=image) for image in images))

    for alone, response in zip(single, served.run(all_at_once), strict=True):
        together = answered(response).results[0]
        assert together.predictions[0].label == alone.predictions[0].label
        wanted = {one.label: one.score for one in alone.predictions}
        assert {one.label: one.score for one in together.predictions} == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize("given", ["a", "A-b_c.9", "x" * 128])
def test_a_safe_request_id_of_the_client_is_echoed(served, pngs, given):
    response = served.post(pngs[0], headers={"x-request-id": given})
    assert response.headers.get_list("x-request-id") == [given]
    assert response.json()["request_id"] == given


@pytest.mark.parametrize(
    "given", [b"", b"a b", b"x" * 129, "é".encode(), b"\xff", b"a\n", b"a\r\nset-cookie: b=c", b"<script>", b"a:b"]
)
def test_an_unsafe_request_id_of_the_client_is_replaced(served, pngs, given):
    response = served.post(pngs[0], headers=[(b"x-request-id", given)])
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])
    assert response.json()["request_id"] == response.headers["x-request-id"]


def test_requests_without_an_id_get_different_ones(served):
    assert len({served.request("GET", "/health/live").headers["x-request-id"] for _ in range(5)}) == 5


@pytest.mark.parametrize(
    "path", ["/", "/classify", "/nothing", "/health/live", "/models", "/page/sample.png", "/openapi.json"]
)
def test_every_response_has_the_security_headers(served, path):
    headers = served.request("GET", path).headers
    wanted = {"x-content-type-options": "nosniff", "x-frame-options": "DENY", "referrer-policy": "no-referrer"}
    assert {name: headers.get(name) for name in wanted} == wanted


def test_health_is_live_and_ready_once_the_golden_samples_have_passed(served):
    for state in ("live", "ready"):
        response = served.request("GET", f"/health/{state}")
        assert (response.status_code, response.json()) == (200, {"status": state})


def test_models_says_what_is_served(served, pngs):
    response = served.request("GET", "/models")
    assert response.status_code == 200
    (model,) = response.json()["models"]
    answer = answered(served.post(pngs[0]))
    assert (model["name"], model["version"], model["digest"]) == (answer.model, answer.version, answer.digest)
    assert model["categories"] == [str(number) for number in DIGITS]
    assert model["engine"].startswith(("openvino-", "torch-"))
    assert model["architecture"]
    assert model["preprocessing"]
    assert all(isinstance(value, float) for value in model["metrics"].values())


def test_the_page_is_html_that_may_load_nothing_from_elsewhere(served):
    response = served.request("GET", "/")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    policy = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in response.headers["content-security-policy"]
    loaded = [path for path in re.findall(r'(?:src|href)="([^"#]+)"', response.text) if not path.startswith("data:")]
    assert loaded
    for path in loaded:
        assert served.request("GET", path).status_code == 200, path


@pytest.mark.parametrize("path", ["/classify?topk=1", "/classify?top_k=1&n=2", "/explain?labels=7", "/inspect?x=1"])
def test_a_parameter_that_no_path_knows_is_named(served, pngs, path):
    detail = problem(served.request("POST", path, content=pngs[0]), 422, "invalid_parameter").detail
    name = path.rpartition("?")[2].rpartition("&")[2].partition("=")[0]
    assert f"'{name}'" in detail
    assert "top_k" in detail


def test_a_text_that_is_not_base64_has_a_problem_in_its_own_place(served, pngs):
    body = {"images": [base64.b64encode(pngs[0]).decode(), "?", base64.b64encode(pngs[0]).decode().rstrip("=")]}
    results = served.request("POST", "/classify", json=body).json()["results"]
    assert [result.get("problem", {}).get("code") for result in results] == [None, "malformed_request", None]
    assert results[0]["predictions"] == results[2]["predictions"]
    assert "at 1" in results[1]["problem"]["detail"]


def test_an_ignored_colour_profile_is_told_in_the_result(served, encoded, digit):
    picture = digit(7)
    for icc, warning in (
        (b"nonsense", "The colour profile is damaged, or of an unusual kind, and was ignored."),
        (b"", None),
    ):
        answer = served.post(encoded(picture, "PNG", icc_profile=icc))
        (result,) = answer.json()["results"]
        assert result.get("warning") == warning
        assert result["predictions"][0]["label"] == "7"
