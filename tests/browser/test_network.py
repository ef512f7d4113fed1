"""View Network: every number of the visualizer is vision.convolution's, and so are the served model's filters."""

import base64
import math
import re
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_UP, Decimal
from itertools import product

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, Response, expect

from tests.browser.acting import changing, choose, example, until
from vision.convolution import FILTERS, Step, average_pool, conv2d, convolution_steps, max_pool
from vision.patterns import PATTERNS

pytestmark = pytest.mark.serve
WORDS = (
    "Convolution Filter Visualizer",
    "Input (8×8)",
    "Filter (3×3)",
    "Output (6×6)",
    "Current Operation",
    "Select options and click Animate to see convolution in action",
    "Filter Purpose",
)
IDLE = WORDS[5]
PROOF = 1e-5


def _short(value: float) -> str:
    """A number as the page writes it into a cell."""
    value = float(value)
    if value.is_integer():
        return str(int(value)).replace("-", "−")
    digits = "1" if abs(value) >= 100 else "0.1" if abs(value) >= 10 else "0.01"
    return str(Decimal(value).quantize(Decimal(digits), ROUND_HALF_UP)).replace("-", "−")


def _cells(values: np.ndarray) -> list[str]:
    return [_short(value) for value in values.round(9).flat]


def _table(page: Page, caption: str) -> Locator:
    return page.locator(".visualizer table").filter(has=page.locator("caption", has_text=re.compile(f"^{caption} ")))


def _numbers(page: Page, caption: str) -> Locator:
    return _table(page, caption).locator("td")


def _marked(page: Page, caption: str, mark: str) -> list[tuple[int, int]]:
    """The (row, column) of the cells with a mark."""
    rows = _table(page, caption).locator("tbody tr").all()
    marks = [row.locator("td").evaluate_all("(all) => all.map((one) => one.className)") for row in rows]
    return [(y, x) for y, row in enumerate(marks) for x, names in enumerate(row) if mark in names.split()]


def _operation(page: Page) -> Locator:
    return page.locator(".operation")


def _said(step: Step, kernel: np.ndarray) -> str:
    """The text of a step."""
    terms = [f"({_short(weight)}·{_short(pixel)})" for weight, pixel in zip(kernel.flat, step.region.flat, strict=True)]
    return f"{' + '.join(terms)} = {_short(round(step.total, 9))} → row {step.row + 1}, column {step.column + 1}"


def _list(page: Page, label: str) -> Locator:
    return page.get_by_role("combobox", name=label, exact=True)


def _pick(page: Page, label: str, value: str) -> None:
    _list(page, label).select_option(value)


def _choose(page: Page, legend: str, option: str) -> None:
    page.get_by_role("group", name=legend).get_by_text(option, exact=True).click()


@pytest.fixture
def course(visit: Callable) -> Iterator[Page]:
    """The visualizer without an image."""
    page = visit("#network")
    expect(_numbers(page, "Output")).to_have_count(36)
    return page


def test_the_words_of_the_course_are_there(course: Page) -> None:
    shown = course.locator(".visualizer").inner_text()
    assert [words for words in WORDS if words not in shown] == []
    assert course.locator(".visualizer table").count() == 3, "real tables"
    assert [_numbers(course, name).count() for name in ("Input", "Filter", "Output")] == [64, 9, 36]


_ALL_STEPS = """() => {
    const slider = document.querySelector(".stepper input[aria-label=Step]");
    return Array.from({ length: Number(slider.max) }, (_, index) => {
        slider.value = String(index + 1);
        slider.dispatchEvent(new Event("input"));
        return document.querySelector(".operation").textContent;
    });
}"""


@pytest.mark.parametrize("name", list(FILTERS))
def test_every_cell_and_every_step_is_vision_convolutions(name: str, course: Page) -> None:
    kernel = FILTERS[name].kernel
    _pick(course, "Filter", name)
    for pattern in PATTERNS:
        pixels = PATTERNS[pattern].pixels
        _pick(course, "Input", pattern)
        steps = list(convolution_steps(pixels, kernel))
        expect(_numbers(course, "Input")).to_have_text(_cells(pixels))
        expect(_numbers(course, "Output")).to_have_text([_short(round(step.total, 9)) for step in steps])
        assert course.evaluate(_ALL_STEPS) == [_said(step, kernel) for step in steps], (name, pattern)
    inputs = _numbers(course, "Filter").locator("input")
    shown = [float(box.input_value()) for box in inputs.all()]
    assert np.abs(np.array(shown) - kernel.ravel()).max() < 1e-4
    expect(course.locator(".visualizer")).to_contain_text(FILTERS[name].does)


def test_animate_begins_with_the_first_position(course: Page) -> None:
    expect(_operation(course)).to_have_text(IDLE)
    course.get_by_role("button", name="Animate").click()
    expect(_operation(course)).to_contain_text("→ row 1, column 1")


def test_a_step_on_begins_with_the_first_position(course: Page) -> None:
    course.get_by_role("button", name="Step on").click()
    expect(_operation(course)).to_contain_text("→ row 1, column 1")


def test_animate_plays_pauses_and_ends_with_the_last_step(course: Page) -> None:
    counter, speed = course.locator(".stepper output"), course.get_by_label("Speed")
    speed.fill("3")
    course.get_by_role("button", name="Animate").click()
    expect(course.get_by_role("button", name="Pause")).to_be_visible()
    expect(_operation(course)).to_have_attribute("aria-live", "off")
    until(course, "parseInt(document.querySelector('.stepper output').textContent) >= 5")
    course.get_by_role("button", name="Pause").click()
    paused = counter.inner_text()
    expect(_operation(course)).to_have_attribute("aria-live", "polite")
    expect(course.get_by_role("button", name="Animate")).to_be_visible()
    course.wait_for_timeout(400)  # three steps at this speed
    assert counter.inner_text() == paused
    course.get_by_label("Step", exact=True).fill("34")
    course.get_by_role("button", name="Animate").click()
    expect(counter).to_have_text("36 of 36")
    expect(course.get_by_role("button", name="Animate")).to_be_visible()
    speed.fill("-1")  # one step in two seconds
    course.get_by_role("button", name="Animate").click()
    expect(counter).to_have_text("1 of 36")


@pytest.mark.parametrize(("speed", "per_second"), [("1", 2.0), ("2", 4.0), ("3", 8.0)])
def test_the_speed_is_what_the_slider_says(speed: str, per_second: float, course: Page) -> None:
    course.evaluate("""() => {
        window.stepped = [];
        new MutationObserver(() => window.stepped.push(performance.now()))
            .observe(document.querySelector(".stepper output"), { childList: true });
    }""")
    course.get_by_label("Speed").fill(speed)
    course.get_by_role("button", name="Animate").click()
    until(course, "window.stepped.length >= 5")
    moments = course.evaluate("window.stepped.slice(0, 5)")
    assert (moments[4] - moments[0]) / 4 == pytest.approx(1000 / per_second, rel=0.15)


def test_the_keys_step_jump_and_play(course: Page) -> None:
    counter = course.locator(".stepper output")
    course.get_by_role("button", name="Step on").focus()
    for key, place in (
        ("End", 36),
        ("ArrowRight", 36),
        ("ArrowLeft", 35),
        ("Home", 1),
        ("ArrowLeft", 1),
        ("ArrowRight", 2),
    ):
        course.keyboard.press(key)
        expect(counter).to_have_text(f"{place} of 36")
    course.keyboard.press("Space")
    expect(course.get_by_role("button", name="Pause")).to_be_visible()
    course.keyboard.press("Space")
    expect(course.get_by_role("button", name="Animate")).to_be_visible()
    course.get_by_label("Step", exact=True).focus()
    course.keyboard.press("Home")
    course.keyboard.press("ArrowRight")
    expect(counter).to_have_text("2 of 36")
    expect(course.get_by_label("Step", exact=True)).to_have_attribute("aria-valuetext", "2 of 36")


def test_an_edited_kernel_is_computed(course: Page) -> None:
    _pick(course, "Input", "noise")
    _pick(course, "Filter", "vertical_edge")
    expect(_numbers(course, "Input")).to_have_text(_cells(PATTERNS["noise"].pixels))
    kernel = FILTERS["vertical_edge"].kernel.copy()
    for row, column, value in ((0, 0, 2.5), (0, 2, -3), (2, 1, 0.125)):
        kernel[row, column] = value
        box = course.get_by_label(f"Filter (3×3): row {row + 1}, column {column + 1}")
        box.fill(str(value))
        box.press("Enter")
        expected = conv2d(PATTERNS["noise"].pixels[None], kernel[None, None])[0]
        expect(_numbers(course, "Output")).to_have_text(_cells(expected))
    expect(_list(course, "Filter")).to_have_value("hand")
    expect(course.locator(".visualizer")).to_contain_text("Your own filter")
    steps = list(convolution_steps(PATTERNS["noise"].pixels, kernel))
    assert course.evaluate(_ALL_STEPS) == [_said(step, kernel) for step in steps]


def test_an_edited_number_keeps_the_focus(course: Page) -> None:
    box = course.get_by_label("Filter (3×3): row 1, column 1")
    box.focus()
    with course.expect_response("**/convolve"):
        box.fill("5")
        course.keyboard.press("Tab")
    expect(_list(course, "Filter")).to_have_value("hand")
    expect(course.get_by_label("Filter (3×3): row 1, column 2")).to_be_focused()


def test_an_input_drawn_by_hand_is_computed(course: Page) -> None:
    _pick(course, "Input", "hand")
    box = course.get_by_label("Input (8×8): row 1, column 5")
    box.fill("7")
    box.press("Enter")
    pixels = PATTERNS["vertical_edge"].pixels.copy()
    pixels[0, 4] = 7
    expected = conv2d(pixels[None], FILTERS["vertical_edge"].kernel[None, None])[0]
    expect(_numbers(course, "Output")).to_have_text(_cells(expected))


@pytest.mark.parametrize(
    ("stride", "padding", "size", "formula"),
    [
        ("1", "valid", 6, "(8 − 3 + 0) / 1 + 1 = 6"),
        ("2", "valid", 3, "⌊(8 − 3 + 0) / 2⌋ + 1 = 3"),
        ("1", "same", 8, "(8 − 3 + 2) / 1 + 1 = 8"),
        ("2", "same", 4, "(8 − 3 + 1) / 2 + 1 = 4"),
    ],
)
def test_stride_and_padding_are_computed_and_written_as_a_formula(
    stride: str, padding: str, size: int, formula: str, course: Page
) -> None:
    _pick(course, "Input", "noise")
    _choose(course, "Stride", stride)
    _choose(course, "Padding", padding)
    expected = conv2d(
        PATTERNS["noise"].pixels[None], FILTERS["vertical_edge"].kernel[None, None], None, int(stride), padding
    )[0]
    assert expected.shape == (size, size)
    expect(_table(course, "Output").locator("caption")).to_have_text(f"Output ({size}×{size})")
    expect(_numbers(course, "Output")).to_have_text(_cells(expected))
    expect(course.locator(".visualizer .formula").first).to_contain_text(f"each side: {formula}")
    assert math.floor((8 - 3 + int(re.search(r"\+ (\d)\)", formula)[1])) / int(stride)) + 1 == size


@pytest.mark.parametrize(("relu", "pool"), list(product((False, True), (None, "max", "average"))))
def test_relu_and_pooling_follow(relu: bool, pool: str | None, course: Page) -> None:
    _pick(course, "Input", "noise")
    _pick(course, "Filter", "sobel_x")
    if relu:
        _choose(course, "Then", "ReLU")
    if pool:
        _choose(course, "Pooling 2×2", pool)
    values = conv2d(PATTERNS["noise"].pixels[None], FILTERS["sobel_x"].kernel[None, None])
    expect(_numbers(course, "Output")).to_have_text(_cells(values))
    if relu:
        values = np.maximum(values, 0)
        expect(_numbers(course, "After ReLU")).to_have_text(_cells(values))
    if pool:
        pooled = (max_pool if pool == "max" else average_pool)(values, 2)
        expect(_numbers(course, f"After {pool} pooling")).to_have_text(_cells(pooled))
        expect(course.locator(".visualizer .formula").last).to_have_text("⌊6 / 2⌋ = 3")
    expect(course.locator(".visualizer .tables table")).to_have_count(3 + relu + bool(pool))


@pytest.mark.parametrize("step", [0, 14, 35])
def test_everything_is_restored_from_the_address(step: int, visit: Callable) -> None:
    page = visit(f"#network?filter=sobel_x&pattern=diagonal&step={step}")
    kernel = FILTERS["sobel_x"].kernel
    expect(page.locator(".stepper output")).to_have_text(f"{step + 1} of 36")
    expect(_list(page, "Filter")).to_have_value("sobel_x")
    expect(_list(page, "Input")).to_have_value("diagonal")
    expected = list(convolution_steps(PATTERNS["diagonal"].pixels, kernel))[step]
    expect(_operation(page)).to_have_text(_said(expected, kernel))


@pytest.mark.parametrize(
    "nonsense",
    ["step=-5", "step=abc", "step=99", "stride=9", "padding=3x", "pool=none&relu=7", "filter=x&pattern=image"],
)
def test_nonsense_in_the_address_is_left_out(nonsense: str, visit: Callable) -> None:
    page = visit(f"#network?{nonsense}")
    expect(_numbers(page, "Output")).to_have_count(36)
    expect(page.locator(".stepper output")).to_have_text(re.compile(r"^(1|36) of 36$"))
    expect(page.get_by_role("alert")).to_have_count(0)


def test_the_address_remembers_what_was_chosen(course: Page) -> None:
    _pick(course, "Input", "cross")
    _pick(course, "Filter", "emboss")
    _choose(course, "Stride", "2")
    _choose(course, "Pooling 2×2", "max")
    _choose(course, "Then", "ReLU")
    expect(course.locator(".visualizer .tables table")).to_have_count(5)
    course.get_by_label("Step", exact=True).fill("4")
    said = _operation(course).inner_text()
    course.reload()
    expect(_operation(course)).to_have_text(said)
    expect(course.locator(".visualizer .tables table")).to_have_count(6)  # with the products
    expect(_list(course, "Filter")).to_have_value("emboss")


@pytest.mark.parametrize(("row", "column", "fed"), [(0, 0, 1), (0, 3, 3), (3, 4, 9), (7, 7, 1)])
def test_an_input_cell_marks_the_outputs_that_it_feeds(row: int, column: int, fed: int, course: Page) -> None:
    cell = _table(course, "Input").locator("tr").nth(row).locator("td").nth(column)
    marked = _table(course, "Output").locator("td.fed")
    cell.hover()
    expect(marked).to_have_count(fed)
    places = course.evaluate(
        """() => [...document.querySelectorAll(".visualizer td.fed")].map((cell) =>
            [cell.parentElement.rowIndex, cell.cellIndex])"""
    )
    assert places == [
        [y, x] for y in range(6) for x in range(6) if y <= row < y + 3 and x <= column < x + 3
    ]  # where the window covers the cell
    course.mouse.move(0, 0)
    course.get_by_label("Step", exact=True).fill("2")
    expect(marked).to_have_count(0)
    cell.focus()
    expect(marked).to_have_count(fed)


def test_an_output_cell_shows_its_window_and_is_reached_with_the_keys(course: Page) -> None:
    output = _table(course, "Output")
    output.locator("tr").nth(2).locator("td").nth(3).hover()
    expect(_operation(course)).to_contain_text("→ row 3, column 4")
    assert _marked(course, "Input", "within") == [(y, x) for y in (2, 3, 4) for x in (3, 4, 5)]
    assert _marked(course, "Output", "now") == [(2, 3)]
    course.mouse.move(0, 0)
    output.locator("td").first.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        course.keyboard.press(key)
    expect(_operation(course)).to_contain_text("→ row 2, column 3")
    assert _marked(course, "Output", "now") == [(1, 2)]


def test_no_number_is_computed_by_the_page(visit: Callable) -> None:
    def fake(answer: dict) -> None:
        answer["output"][0][0] = 1234
        answer["steps"][0]["products"][0][0][0] = 77

    page = visit("#network", before=changing("**/convolve", fake))
    expect(_numbers(page, "Output").first).to_have_text("1234")
    page.get_by_label("Step", exact=True).fill("2")
    page.get_by_label("Step", exact=True).fill("1")
    expect(_operation(page)).to_contain_text("= 1234 → row 1, column 1")
    expect(page.locator(".products td").first).to_have_text("77")
    asked = [request for request in page.watch.requests if request.url.endswith("/convolve")]
    assert asked[0].post_data_json["input"] == [PATTERNS["vertical_edge"].pixels.tolist()]


def test_a_number_that_cannot_be_used_is_told_and_can_be_corrected(course: Page) -> None:
    box = course.get_by_label("Filter (3×3): row 1, column 1")
    box.fill("1e9")
    box.press("Enter")
    expect(course.get_by_role("alert")).to_be_visible()
    _pick(course, "Filter", "identity")
    expect(_numbers(course, "Output")).to_have_count(36)


@pytest.fixture
def layer(visit: Callable) -> Iterator[Page]:
    """The view with the answer to an example."""
    page = visit()
    example(page)
    page.goto(f"{page.watch.url}/#network")
    expect(page.locator(".layers .filters button").first).to_be_visible(timeout=30_000)
    return page


def test_the_first_layer_is_shown_with_its_proof(layer: Page) -> None:
    expect(layer.locator(".layers .filters button")).to_have_count(16)
    said = layer.locator(".layers .facts").inner_text()
    assert float(re.search(r"largest difference ([\d.e+-]+)", said)[1]) < PROOF
    assert "vision.convolution" in said
    assert all(layer.locator(".layers .filters img").evaluate_all("(all) => all.map((one) => one.naturalWidth > 0)"))
    shown = layer.locator(".layers .filters img").evaluate_all("(all) => all.map((one) => one.src)")
    assert len(set(shown)) > 12, "each filter shows its own map"


@pytest.mark.parametrize("number", [0, 5, 15])
def test_a_filter_of_the_model_goes_on_in_the_visualizer(number: int, layer: Page) -> None:
    with layer.expect_response(lambda response: f"filter={number}" in response.url) as answered:
        layer.locator(".layers .filters button").nth(number).click()
    patch = answered.value.json()["patch"]
    expect(_list(layer, "Filter")).to_have_value("model")
    expect(_numbers(layer, "Input")).to_have_text([_short(value) for value in np.ravel(patch["input"])])
    expect(_list(layer, "Filter").locator("option:checked")).to_have_text(f"the model's filter {number + 1}")
    steps = layer.evaluate("document.querySelector('.stepper input').max")
    assert int(steps) == np.size(patch["convolved"])
    proof = layer.locator(".visualizer .facts")
    expect(proof).to_contain_text("served engine")
    textbook = conv2d(np.array(patch["input"]), np.array(patch["kernel"])[None], np.array([patch["bias"]]))
    for place, step in (("Home", 0), ("End", int(steps) - 1)):
        layer.get_by_role("button", name="Step on").press(place)
        numbers = re.fullmatch(
            r"vision\.convolution (\S+) · served engine (\S+) · difference (\S+)", proof.inner_text()
        ).groups()
        ours, served, difference = map(float, numbers)
        assert ours == pytest.approx(textbook.flat[step], abs=1e-6)
        assert served == pytest.approx(np.ravel(patch["convolved"])[step], abs=1e-6)
        assert difference < PROOF
    expect(layer.locator(".visualizer")).to_contain_text(f"Filter {number + 1} of the first layer.")


def test_a_filter_of_the_model_is_shown_at_its_strongest_place_at_once(layer: Page) -> None:
    for tile in layer.locator(".layers .filters button").all()[:4]:
        with layer.expect_response("**/activations?filter=*") as answered, layer.expect_response("**/convolve"):
            tile.click()
        patch = answered.value.json()["patch"]
        expect(layer.locator(".visualizer .facts")).to_contain_text("difference")
        expect(_operation(layer)).to_contain_text(f"→ row {patch['row'] + 1}, column {patch['column'] + 1}")


def test_after_a_filter_of_the_model_another_choice_shows_what_it_says(layer: Page) -> None:
    layer.locator(".layers .filters button").first.click()
    expect(_list(layer, "Filter")).to_have_value("model")
    _pick(layer, "Filter", "sobel_x")
    expect(layer.locator(".visualizer")).to_contain_text(FILTERS["sobel_x"].does)
    pattern = _list(layer, "Input").input_value()
    assert pattern in PATTERNS, "the input that is shown is the one that is named"
    expect(_numbers(layer, "Input")).to_have_text(_cells(PATTERNS[pattern].pixels))
    layer.locator(".layers .filters button").first.click()
    expect(_list(layer, "Filter")).to_have_value("model")
    _pick(layer, "Input", "box")
    expect(_numbers(layer, "Input")).to_have_text(_cells(PATTERNS["box"].pixels))
    chosen = _list(layer, "Filter").input_value()
    expect(layer.locator(".visualizer")).to_contain_text(FILTERS[chosen].does)


def test_after_a_filter_of_the_model_a_part_of_the_image_can_be_taken(layer: Page) -> None:
    layer.locator(".layers .filters button").first.click()
    expect(_list(layer, "Filter")).to_have_value("model")
    _list(layer, "Input").select_option("vertical_edge")
    layer.locator(".layers .filters button").first.click()
    expect(_list(layer, "Filter")).to_have_value("model")
    _list(layer, "Input").evaluate("(one) => { one.value = 'image'; one.dispatchEvent(new Event('change')); }")
    expect(layer.locator(".patch svg")).to_be_visible()
    expect(_numbers(layer, "Output")).to_have_count(36)
    expect(_list(layer, "Filter")).not_to_have_value("model")
    expect(layer.get_by_role("alert")).to_have_count(0)


def _gray(answer: Response) -> np.ndarray:
    """The gray square of POST /inspect, 0 to 255."""
    document = answer.json()
    values = np.frombuffer(base64.b64decode(document["planes"]["gray"][0]["values"]), "<f4").astype(np.float64)
    return np.floor(255 * values.reshape(document["square"]["side"], -1) + 0.5)


def test_a_part_of_the_visitors_image_is_an_input(layer: Page) -> None:
    with layer.expect_response("**/inspect?*") as answered:
        _pick(layer, "Input", "image")
    gray = _gray(answered.value)
    frame = layer.get_by_label("Frame of 8 by 8 pixels on your image; arrow keys move it")
    expect(frame).to_be_visible()
    top = left = (len(gray) - 8) // 2
    expect(_numbers(layer, "Input")).to_have_text(_cells(gray[top : top + 8, left : left + 8]))
    frame.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        layer.keyboard.press(key)
    pixels = gray[top + 2 : top + 10, left + 1 : left + 9]
    expect(_numbers(layer, "Input")).to_have_text(_cells(pixels))
    kernel = FILTERS["vertical_edge"].kernel
    expect(_numbers(layer, "Output")).to_have_text(_cells(conv2d(pixels[None], kernel[None, None])[0]))
    expect(frame).to_be_focused()
    box = frame.bounding_box()
    layer.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    layer.mouse.down()
    layer.mouse.move(box["x"], box["y"], steps=5)
    layer.mouse.up()
    expect(_numbers(layer, "Input")).to_have_text(_cells(gray[:8, :8]))


def test_without_an_image_the_view_says_where_to_get_one(course: Page) -> None:
    expect(course.locator(".layers")).to_contain_text("Give it a picture first")
    _pick(course, "Input", "image")
    expect(course.locator(".patch")).to_contain_text("Give it a picture first")


def test_the_way_through_the_network_ends_in_the_answer(layer: Page) -> None:
    layer.locator(".journey summary").click()
    outputs = layer.locator(".journey .bars li")
    expect(outputs).to_have_count(5)
    stages = layer.locator(".journey h3").all_inner_texts()
    assert re.fullmatch(r"\d+ maps of \d+×\d+", stages[0])
    assert re.fullmatch(r"Logits ÷ temperature 0\.836 → probabilities", stages[-1])
    best = outputs.locator(".name").first.inner_text()
    said = outputs.locator(".value").first.inner_text()
    logit, score = re.fullmatch(r"(\S+) → ([\d.]+) %", said.replace("> ", "").replace("−", "-")).groups()
    width = float(outputs.locator(".fill").first.get_attribute("width"))
    assert width == pytest.approx(float(score), abs=0.1)
    assert float(logit) > 1
    layer.goto(f"{layer.watch.url}/#classify")
    expect(layer.locator(".answer .big strong")).to_have_text(best)


def test_a_new_image_gets_its_own_first_layer(layer: Page, digit: Callable, encoded: Callable) -> None:
    before = layer.locator(".layers .filters button span").all_inner_texts()
    choose(layer, ("three.png", encoded(digit(3), "PNG")))
    expect(layer.locator(".layers .filters button span").first).not_to_have_text(before[0])
