"""GET /filters and POST /convolve: `vision.convolution` over HTTP, number by number, within its bounds."""

import asyncio
import json
import re
import time

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.http.textbook import MAX_BODY_BYTES, MAX_PRODUCTS
from service.http.textbook_schemas import ConvolveRequest, ConvolveResponse, FilterList
from tests.service.conftest import problem
from vision.convolution import FILTERS, average_pool, conv2d, convolution_steps, max_pool, output_size
from vision.patterns import PATTERNS

SMALL = {"input": [[0, 1, 2], [3, 4, 5], [6, 7, 8]], "kernel": [[1]]}
FORMULA = re.compile(r"(⌊)?\((\d+) − (\d+) \+ (\d+)\) / (\d)(?(1)⌋) \+ 1 = (\d+)")
quick = settings(database=None, deadline=None, max_examples=120)


def answered(response: httpx.Response) -> ConvolveResponse:
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json"), response.text
    return ConvolveResponse.model_validate_json(response.content, extra="forbid")


def convolve(served, **body: object) -> ConvolveResponse:
    return answered(served.post(json.dumps(body), "/convolve"))


def refused(served, body: object, status: int = 422, code: str = "invalid_parameter") -> str:
    """The detail of the problem that a body has."""
    content = body if isinstance(body, bytes) else json.dumps(body)
    return problem(served.post(content, "/convolve"), status, code).detail


def planes(values: list) -> np.ndarray:
    """(H, W) or (C, H, W) lists → (C, H, W)."""
    array = np.array(values, dtype=np.float64)
    return array if array.ndim == 3 else array[None]


def test_filters_and_patterns_are_those_of_the_library(served):
    response = served.request("GET", "/filters")
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    listed = FilterList.model_validate_json(response.content, extra="forbid")
    assert [one.name for one in listed.filters] == list(FILTERS)
    assert [one.name for one in listed.patterns] == list(PATTERNS)
    for one in listed.filters:
        assert np.array_equal(one.kernel, FILTERS[one.name].kernel)
        assert one.does == FILTERS[one.name].does
    for one in listed.patterns:
        assert np.array_equal(one.pixels, PATTERNS[one.name].pixels)
        assert one.shows == PATTERNS[one.name].shows


def test_filters_are_sent_again_only_to_who_does_not_have_them(served):
    first = served.request("GET", "/filters")
    tag = first.headers["etag"]
    assert re.fullmatch('"[0-9a-f]{24}"', tag)
    assert first.headers["cache-control"] == "no-cache"
    for kept in (tag, f"W/{tag}", f'"another", {tag}'):
        again = served.request("GET", "/filters", headers={"if-none-match": kept})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["x-request-id"]
    other = served.request("GET", "/filters", headers={"if-none-match": f'"{"0" * 24}"'})
    assert (other.status_code, other.content) == (200, first.content)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_on_every_pattern_gives_the_steps_of_the_library(served, name, pattern):
    image, kernel = PATTERNS[pattern].pixels, FILTERS[name].kernel
    answer = convolve(served, input=image.tolist(), kernel=kernel.tolist())
    expected = list(convolution_steps(image, kernel))
    assert len(answer.steps) == len(expected) == 36
    for step, wanted in zip(answer.steps, expected, strict=True):
        assert (step.row, step.column, step.top, step.left) == (wanted.row, wanted.column, wanted.row, wanted.column)
        assert np.array_equal(step.region, wanted.region[None])
        assert np.allclose(step.products, wanted.products[None], atol=1e-9)
        assert step.total == pytest.approx(wanted.total, abs=1e-8)
        assert answer.output[step.row][step.column] == pytest.approx(wanted.total, abs=1e-8)
    assert np.shape(answer.output) == (6, 6)
    assert (answer.activated, answer.pooled, answer.pool_formula) == (None, None, None)
    assert answer.formula == ["(8 − 3 + 0) / 1 + 1 = 6"] * 2
    assert answer.padded == [(0, 0), (0, 0)]


def test_a_vertical_edge_is_found_where_it_is(served):
    answer = convolve(
        served,
        input=PATTERNS["vertical_edge"].pixels.tolist(),
        kernel=FILTERS["vertical_edge"].kernel.tolist(),
        bias=-20,
        relu=True,
        pool="max",
    )
    assert answer.output == [[-20, -20, 7, 7, -20, -20]] * 6
    assert answer.activated == [[0, 0, 7, 7, 0, 0]] * 6
    assert answer.pooled == [[0, 7, 0]] * 3
    assert answer.pool_formula == ["⌊6 / 2⌋ = 3"] * 2


@pytest.mark.parametrize(
    ("stride", "padding", "padded", "formula"),
    [
        (1, "valid", [(0, 0), (0, 0)], ["(7 − 3 + 0) / 1 + 1 = 5", "(8 − 4 + 0) / 1 + 1 = 5"]),
        (2, "valid", [(0, 0), (0, 0)], ["(7 − 3 + 0) / 2 + 1 = 3", "(8 − 4 + 0) / 2 + 1 = 3"]),
        (3, "valid", [(0, 0), (0, 0)], ["⌊(7 − 3 + 0) / 3⌋ + 1 = 2", "⌊(8 − 4 + 0) / 3⌋ + 1 = 2"]),
        (1, "same", [(1, 1), (1, 2)], ["(7 − 3 + 2) / 1 + 1 = 7", "(8 − 4 + 3) / 1 + 1 = 8"]),
        (2, "same", [(1, 1), (1, 1)], ["(7 − 3 + 2) / 2 + 1 = 4", "(8 − 4 + 2) / 2 + 1 = 4"]),
        (4, "same", [(0, 0), (0, 0)], ["(7 − 3 + 0) / 4 + 1 = 2", "(8 − 4 + 0) / 4 + 1 = 2"]),
        (1, 0, [(0, 0), (0, 0)], ["(7 − 3 + 0) / 1 + 1 = 5", "(8 − 4 + 0) / 1 + 1 = 5"]),
        (2, 7, [(7, 7), (7, 7)], ["(7 − 3 + 14) / 2 + 1 = 10", "(8 − 4 + 14) / 2 + 1 = 10"]),
    ],
)
def test_the_formula_says_how_the_size_follows(served, stride, padding, padded, formula):
    image = np.arange(56.0).reshape(7, 8)
    kernel = np.arange(12.0).reshape(3, 4)
    answer = convolve(served, input=image.tolist(), kernel=kernel.tolist(), stride=stride, padding=padding)
    assert (answer.padded, answer.formula) == (padded, formula)
    assert np.array_equal(answer.output, conv2d(image[None], kernel[None, None], None, stride, padding)[0])
    first = answer.steps[0]
    assert (first.top, first.left) == (-padded[0][0], -padded[1][0])


def test_channels_are_convolved_together(served):
    generator = np.random.default_rng(0)
    image, kernel = generator.normal(size=(3, 5, 6)).round(3), generator.normal(size=(3, 2, 3)).round(3)
    answer = convolve(served, input=image.tolist(), kernel=kernel.tolist(), bias=0.25, pool="average")
    expected = conv2d(image, kernel[None], np.array([0.25]))
    assert np.allclose(answer.output, expected[0], atol=1e-9)
    assert np.allclose(answer.pooled, average_pool(expected, 2)[0], atol=1e-9)
    assert np.shape(answer.steps[0].region) == np.shape(answer.steps[0].products) == (3, 2, 3)
    assert answer.steps[7].total == pytest.approx(answer.output[1][3] - 0.25, abs=1e-8)


def test_one_channel_may_be_written_with_or_without_its_own_list(served):
    flat, nested = convolve(served, **SMALL), convolve(served, input=[SMALL["input"]], kernel=[[[1]]])
    assert flat == nested == convolve(served, input=[SMALL["input"]], kernel=[[1]])


def test_steps_are_left_out_where_they_are_not_wanted(served):
    response = served.request("POST", "/convolve", json=SMALL | {"steps": False})
    assert answered(response).steps is None
    assert answered(response).output == SMALL["input"]
    assert "steps" not in response.json()


@pytest.mark.parametrize("content_type", [None, "application/json", "text/plain", "image/png", "multipart/form-data"])
def test_the_content_type_decides_nothing(served, content_type):
    headers = {} if content_type is None else {"content-type": content_type}
    assert answered(served.post(json.dumps(SMALL), "/convolve", headers=headers)).output == SMALL["input"]


def test_the_example_of_the_documentation_is_answered(served):
    for example in ConvolveRequest.model_config["json_schema_extra"]["examples"]:
        assert answered(served.request("POST", "/convolve", json=example)).output


@st.composite
def requests(draw: st.DrawFn) -> dict:
    """Bodies within the bounds of each field; together they may not fit."""
    channels = draw(st.integers(1, 3))
    number = st.one_of(st.integers(-9, 9), st.floats(-1e6, 1e6, allow_nan=False, width=32))

    def drawn(most: int) -> list:
        side = st.one_of(st.integers(1, 7), st.integers(1, most))
        height, width = draw(side), draw(side)
        seed = draw(st.lists(number, min_size=2, max_size=8, unique=True))
        return np.resize(np.array(seed, dtype=np.float64), (channels, height, width)).tolist()

    body = {
        "input": drawn(32),
        "kernel": drawn(7),
        "bias": draw(number),
        "stride": draw(st.integers(1, 4)),
        "padding": draw(st.one_of(st.just("valid"), st.just("same"), st.integers(0, 7))),
        "relu": draw(st.booleans()),
        "pool": draw(st.sampled_from([None, "max", "average"])),
        "steps": draw(st.sampled_from([True, True, True, False])),
    }
    return body if channels > 1 or draw(st.booleans()) else body | {name: body[name][0] for name in ("input", "kernel")}


def expected_refusal(body: dict) -> str | None:
    """What the detail must name, by the library's own rules."""
    image, kernel = planes(body["input"]), planes(body["kernel"])
    try:
        sizes = [
            output_size(side, px, body["stride"], body["padding"])
            for side, px in zip(image.shape[1:], kernel.shape[1:], strict=True)
        ]
    except ValueError as error:
        return str(error)
    if body["steps"] and sizes[0] * sizes[1] * kernel.size > MAX_PRODUCTS:
        return "steps would be"
    return "pool: " if body["pool"] and min(sizes) < 2 else None


def check_steps(body: dict, answer: ConvolveResponse) -> None:
    image, kernel = planes(body["input"]), planes(body["kernel"])
    expected = convolution_steps(image, kernel, body["stride"], body["padding"])
    for step, wanted in zip(answer.steps, expected, strict=True):
        assert (step.row, step.column) == (wanted.row, wanted.column)
        assert np.array_equal(step.region, wanted.region)
        assert np.array_equal(step.products, wanted.products.round(9))
        assert step.total == round(wanted.total, 9)
        assert answer.output[step.row][step.column] == pytest.approx(step.total + body["bias"], rel=1e-9, abs=1e-3)
        for channel, row, column in np.ndindex(kernel.shape):
            y, x = step.top + row, step.left + column
            inside = 0 <= y < image.shape[1] and 0 <= x < image.shape[2]
            assert step.region[channel][row][column] == (image[channel, y, x] if inside else 0)


@quick
@given(requests())
def test_every_body_within_the_bounds_gives_the_librarys_numbers_or_what_it_says(served, body):
    if wanted := expected_refusal(body):
        assert wanted in refused(served, body)
        return
    answer = convolve(served, **body)
    image, kernel = planes(body["input"]), planes(body["kernel"])
    output = conv2d(image, kernel[None], np.array([body["bias"]]), body["stride"], body["padding"])
    assert np.array_equal(answer.output, output[0].round(9))
    activated = np.maximum(output, 0) if body["relu"] else output
    assert (answer.activated is not None) == body["relu"]
    assert answer.activated is None or np.array_equal(answer.activated, activated[0].round(9))
    assert (answer.pooled is not None) == (body["pool"] is not None) == (answer.pool_formula is not None)
    if body["pool"]:
        pooled = (max_pool if body["pool"] == "max" else average_pool)(activated, 2)[0]
        assert np.array_equal(answer.pooled, pooled.round(9))
        assert answer.pool_formula == [
            f"⌊{side} / 2⌋ = {count}" for side, count in zip(output.shape[1:], pooled.shape, strict=True)
        ]
    for axis, text in enumerate(answer.formula):
        floor, *numbers = FORMULA.fullmatch(text).groups()
        side, kernel_px, added, stride, count = map(int, numbers)
        assert (side, kernel_px) == (image.shape[1 + axis], kernel.shape[1 + axis])
        assert (answer.padded[axis], stride) == ((added // 2, added - added // 2), body["stride"])
        whole, rest = divmod(side - kernel_px + added, stride)
        assert whole + 1 == count == output.shape[1 + axis]
        assert (floor is not None) == (rest != 0)
    if body["steps"]:
        check_steps(body, answer)
    else:
        assert answer.steps is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input": [[1]] * 33}, "input: "),
        ({"input": [[1] * 33]}, "input.0: "),
        ({"input": [[1], [1] * 33]}, "input.1: "),
        ({"input": [[[1]]] * 4}, "input"),
        ({"input": [[[1] * 33]]}, "input"),
        ({"input": []}, "input: "),
        ({"input": [[]]}, "input.0: "),
        ({"input": [[[]]]}, "input"),
        ({"input": [1, 2]}, "input.0: "),
        ({"input": 1}, "input: "),
        ({"input": "[[1]]"}, "input: "),
        ({"input": None}, "input: "),
        ({"input": {"0": [1]}}, "input: "),
        ({"input": [[[[1]]]]}, "input"),
        ({"input": [[1], [[1]]]}, "input"),
        ({"input": [[[1]], [1]]}, "input"),
        ({"input": [[1, 2], [3]]}, "input has rows or channels of different sizes"),
        ({"input": [[[1]], [[1], [2]]]}, "input has rows or channels of different sizes"),
        ({"input": [[[1]], [[1, 2]]]}, "input has rows or channels of different sizes"),
        ({"input": [[None]]}, "input.0.0: "),
        ({"input": [[{}]]}, "input.0.0: "),
        ({"input": [[1e7]]}, "input.0.0: "),
        ({"input": [[1, -1000000.0001]]}, "input.0.1: "),
        ({"input": [[float("nan")]]}, "input.0.0: "),
        ({"input": [[float("inf")]]}, "input.0.0: "),
        ({"input": [[float("-inf")]]}, "input.0.0: "),
        ({"input": [[10**400]]}, "input.0.0: "),
        ({"kernel": [[1] * 8] * 8}, "kernel"),
        ({"kernel": [[1] * 8]}, "kernel.0: "),
        ({"kernel": [[1]] * 8}, "kernel: "),
        ({"kernel": []}, "kernel: "),
        ({"kernel": [[]]}, "kernel.0: "),
        ({"kernel": [[1, 2], [3]]}, "kernel has rows or channels of different sizes"),
        ({"kernel": [[1e7]]}, "kernel.0.0: "),
        ({"kernel": [[1, 1, 1, 1]]}, "kernel_px is 4; with padding 'valid' it must fit into the side of 3 px"),
        ({"kernel": [[1]] * 6, "padding": 1}, "kernel_px is 6; with padding 1 it must fit into the side of 5 px"),
        ({"kernel": [[[1]], [[1]]]}, "input has 1 channels and kernel 2"),
        ({"bias": 1e7}, "bias: "),
        ({"bias": float("nan")}, "bias: "),
        ({"bias": None}, "bias: "),
        ({"bias": [1]}, "bias: "),
        ({"stride": 0}, "stride: "),
        ({"stride": 5}, "stride: "),
        ({"stride": -1}, "stride: "),
        ({"stride": 1.5}, "stride: "),
        ({"stride": None}, "stride: "),
        ({"padding": 8}, "padding: "),
        ({"padding": -1}, "padding: "),
        ({"padding": 0.5}, "padding: "),
        ({"padding": "full"}, "padding: "),
        ({"padding": None}, "padding: "),
        ({"pool": "min"}, "pool: "),
        ({"pool": 2}, "pool: "),
        ({"pool": "max", "stride": 3}, "pool: the output is 1×1"),
        ({"relu": None}, "relu: "),
        ({"relu": "maybe"}, "relu: "),
        ({"steps": 7}, "steps: "),
        ({"strides": 1}, "strides: "),
        ({"a[b": 1}, "a[b"),
        ({"x" * 3000: 1}, "x" * 80),
    ],
    ids=lambda given: json.dumps(given)[:40] if isinstance(given, dict) else "",
)
def test_what_is_out_of_its_bounds_is_named(served, change, words):
    assert refused(served, SMALL | change).startswith(words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input": [["1"]]}, "input.0.0: "),
        ({"input": [[True]]}, "input.0.0: "),
        ({"kernel": [["1"]]}, "kernel.0.0: "),
        ({"kernel": [[False]]}, "kernel.0.0: "),
        ({"bias": "1"}, "bias: "),
        ({"bias": True}, "bias: "),
        ({"stride": "2"}, "stride: "),
        ({"stride": True}, "stride: "),
        ({"padding": "1"}, "padding: "),
        ({"padding": True}, "padding: "),
        ({"relu": 1}, "relu: "),
        ({"relu": "yes"}, "relu: "),
        ({"steps": 0}, "steps: "),
        ({"steps": "no"}, "steps: "),
    ],
    ids=lambda given: json.dumps(given)[:40] if isinstance(given, dict) else "",
)
def test_a_text_is_no_number_and_a_number_is_no_truth(served, change, words):
    """As the OpenAPI document says: type number, integer or boolean."""
    assert refused(served, SMALL | change).startswith(words)


def test_a_missing_field_is_named(served):
    for name in SMALL:
        assert refused(served, {key: value for key, value in SMALL.items() if key != name}).startswith(f"{name}: ")


def test_values_at_their_bounds_are_taken(served):
    image = [[1e6] * 32] * 32
    answer = convolve(
        served, input=[image] * 3, kernel=[[[-1e6] * 7] * 7] * 3, bias=-1e6, stride=4, padding=7, steps=False
    )
    assert np.shape(answer.output) == (10, 10)
    assert min(map(min, answer.output)) == -147e12 - 1e6
    assert convolve(served, input=[[-1e6]], kernel=[[1]], padding="same", bias=1e6).output == [[0]]


def test_a_kernel_larger_than_the_input_fits_with_padding(served):
    answer = convolve(served, input=[[2]], kernel=[[3] * 7] * 7, padding="same")
    assert (answer.output, answer.padded) == ([[6]], [(3, 3), (3, 3)])
    assert len(answer.steps) == 1


def test_as_many_products_as_allowed_are_given_and_not_one_more(served):
    most = {"input": [[1] * 32] * 16, "kernel": [[1] * 4] * 4, "padding": "same"}
    assert len(convolve(served, **most).steps) * 16 == MAX_PRODUCTS
    more = most | {"padding": 2}
    assert refused(served, more).startswith(f"steps would be {17 * 33 * 16} products; at most {MAX_PRODUCTS} are given")
    assert np.shape(convolve(served, **more, steps=False).output) == (17, 33)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"x",
        b"{",
        b'{"input": [[1]], "kernel": [[1]]',
        b'{"input": [[1]], "kernel": [[1]]}}',
        b"{'input': [[1]], 'kernel': [[1]]}",
        b'{"input": [[1]], "kernel": [[1]], "padding": "\\ud800"}',
        b'{"input": [[01]], "kernel": [[1]]}',
        b'{"input": [[0x1]], "kernel": [[1]]}',
        b'{"input": [[' + b"9" * 200_000 + b']], "kernel": [[1]]}',
        b"\xff\xfe",
        b'{"\xff": 1}',
        b"\x89PNG\r\n\x1a\n",
        b"input=1",
        b"[" * 100_000,
        b'{"input": ' + b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"input": ' + b"[" * 50_000 + b"1" + b"]" * 50_000 + b"}",
    ],
    ids=lambda body: f"{body[:24]!r}, {len(body)} bytes",
)
def test_what_is_not_json_is_malformed_and_costs_no_time(served, body):
    started = time.monotonic()
    assert refused(served, body, 400, "malformed_request").startswith("The body is not JSON: ")
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"x"', b"[[1]]"])
def test_json_that_is_no_object_is_refused(served, body):
    assert refused(served, body).startswith("The body: ")


def test_lists_in_lists_within_the_parsers_depth_are_refused_by_name(served):
    assert refused(served, b'{"input": ' + b"[" * 150 + b"]" * 150 + b', "kernel": [[1]]}').startswith("input")


def test_a_body_may_be_as_long_as_the_limit_and_no_longer(served):
    body = json.dumps(SMALL).encode()
    assert answered(served.post(body.ljust(MAX_BODY_BYTES), "/convolve")).output == SMALL["input"]
    assert str(MAX_BODY_BYTES) in refused(served, body.ljust(MAX_BODY_BYTES + 1), 413, "body_too_large")


def test_a_body_that_never_ends_is_refused_while_it_streams(served):
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 65_536
            yield b" " * 65_536

    problem(served.post(endless(), "/convolve"), 413, "body_too_large")
    assert sent == MAX_BODY_BYTES + 65_536


def test_a_body_that_stalls_is_refused_in_time(served):
    async def stalling():
        yield b'{"input"'
        await asyncio.sleep(2)

    problem(served.post(stalling(), "/convolve", settings={"body_timeout_s": 0.05}), 408, "body_timeout")


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
def test_a_compressed_body_is_refused(served, encoding):
    response = served.post(json.dumps(SMALL), "/convolve", headers={"content-encoding": encoding})
    assert encoding in problem(response, 415, "unsupported_encoding").detail
    plain = served.post(json.dumps(SMALL), "/convolve", headers={"content-encoding": "identity"})
    assert answered(plain).output == SMALL["input"]


def test_only_post_is_taken(served):
    response = served.request("GET", "/convolve")
    problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "OPTIONS, POST"


def test_a_convolution_needs_no_model_and_is_counted(served, unstarted):
    before = unstarted.counted("sightline_explanation_requests_total", kind="convolve", status="200")
    response = unstarted.post(json.dumps(SMALL), "/convolve", headers={"x-request-id": "mine"})
    assert answered(response).output == SMALL["input"]
    assert response.headers["x-request-id"] == "mine"
    assert unstarted.counted("sightline_explanation_requests_total", kind="convolve", status="200") == before + 1
    refused(unstarted, b"{", 400, "malformed_request")
    assert unstarted.counted("sightline_explanation_requests_total", kind="convolve", status="400") == 1
    assert unstarted.counted("sightline_explanation_starts_total") == 0
