"""View Why: the map is the network's own sum, covering is what the server computes, and nothing mixes."""

import contextlib
import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Error, Locator, Page, Response, Route, expect

from tests.browser.acting import big, changing, draw, example, hold, model_changing, problem

pytestmark = pytest.mark.serve
EXPLAIN = "**/explain?*"
ROUNDED = 0.005  # of a cell as the table shows it
OFF = "Explanations are switched off on this server. Whoever runs it can set SIGHTLINE_EXPLAIN=on."
BUSY = "The server is explaining something else; waiting…"


def _number(text: str) -> float:
    return float(text.replace("−", "-"))


def _open(page: Page, parameters: str = "") -> None:
    page.goto(f"{page.watch.url}/#why{parameters}")


def _cells(page: Page) -> list[list[float]]:
    """The map as its table says it."""
    page.locator("#view summary").filter(has_text="The map as a table").click()
    rows = page.locator("#view tbody tr")
    return [[_number(cell) for cell in row.locator("td").all_inner_texts()] for row in rows.all()]


def _words(page: Page) -> Locator:
    return page.locator(".words")


def _bars(page: Page) -> Locator:
    return page.locator(".found .bars li")


def _method(page: Page, name: str) -> None:
    page.get_by_role("group", name="Method").get_by_text(name).click()


def _asked(page: Page, name: str) -> list[str]:
    """A parameter of all explanations that were asked for."""
    queries = [parse_qs(urlsplit(one.url).query) for one in page.watch.requests if "/explain?" in one.url]
    return [query[name][0] for query in queries if name in query]


@pytest.fixture
def answered(visit: Callable) -> Page:
    """The page with a drawn seven."""
    page = visit()
    draw(page)
    expect(big(page)).to_have_text("7")
    return page


def test_the_cells_add_up_to_the_logit(answered: Page) -> None:
    with answered.expect_response(EXPLAIN) as explained:
        _open(answered)
    answer = explained.value.json()
    cells = _cells(answered)
    assert [len(row) for row in cells] == [len(row) for row in answer["grid"]]
    count = sum(map(len, cells))
    assert sum(map(sum, cells)) == pytest.approx(answer["logits"]["label"], abs=count * ROUNDED)
    assert sum(map(sum, answer["grid"])) == pytest.approx(answer["logits"]["label"], abs=1e-3)
    said = answered.locator(".found").inner_text()
    together, own = re.search(r"All cells together: ([\d.-]+)\. .*logit of 7 = ([\d.-]+)\.", said).groups()
    assert float(together) == pytest.approx(float(own), abs=0.002)
    assert float(own) == pytest.approx(answer["logits"]["label"], abs=0.0006)


def test_against_another_label_the_cells_add_up_to_the_difference(answered: Page) -> None:
    _open(answered)
    expect(answered.locator("svg.map")).to_be_visible()
    with answered.expect_response(EXPLAIN) as explained:
        answered.get_by_label("rather than").select_option("2")
    answer = explained.value.json()
    assert (answer["label"], answer["against"]) == ("7", "2")
    logits = answer["logits"]
    difference = logits["label"] - logits["against"]
    expect(answered.locator(".found")).to_contain_text(f"= {difference:.3f}.")
    expect(answered.locator(".found")).to_contain_text(f"All cells together: {answer['sum']:.3f}.")
    assert answer["sum"] == pytest.approx(difference, abs=1e-3)
    cells = _cells(answered)
    assert sum(map(sum, cells)) == pytest.approx(difference, abs=sum(map(len, cells)) * ROUNDED)
    answered.locator("svg.map").press("ArrowRight")
    expect(_words(answered)).to_contain_text("the lead of 7 over 2")
    assert "2" not in answered.get_by_label("Why").locator("option:checked").all_inner_texts()
    answered.reload()
    assert "against=2" in answered.url


def test_label_method_and_the_other_label_come_from_the_address(answered: Page) -> None:
    _open(answered, "?method=occlusion&label=1&against=4")
    expect(answered.get_by_label("Why")).to_have_value("1")
    expect(answered.get_by_label("rather than")).to_have_value("4")
    expect(answered.get_by_label("Cover and see (occlusion)")).to_be_checked()
    expect(answered.locator(".found")).to_contain_text("the map shows what is lost")
    assert set(_asked(answered, "label")) == {"1"}
    assert set(_asked(answered, "against")) == {"4"}


def test_a_cell_is_put_into_words_by_pointer_and_keys(answered: Page) -> None:
    with answered.expect_response(EXPLAIN) as explained:
        _open(answered)
    grid = explained.value.json()["grid"]
    shown = answered.locator("svg.map")

    def said(row: int, column: int) -> str:
        value = grid[row][column]
        does, to = ("adds", "to") if value >= 0 else ("takes", "from")
        return f"Row {row + 1}, column {column + 1}: this cell {does} {abs(value):.3f} {to} the logit of 7."

    shown.focus()
    places = {"ArrowRight": (0, 1), "ArrowDown": (1, 1), "ArrowLeft": (1, 0), "ArrowUp": (0, 0)}
    for key, (row, column) in places.items():
        answered.keyboard.press(key)
        expect(_words(answered)).to_have_text(said(row, column))
    answered.keyboard.press("ArrowUp")
    expect(_words(answered)).to_have_text(said(0, 0))
    last = (len(grid) - 1, len(grid[0]) - 1)
    answered.locator("svg.map .cells rect").last.hover()
    expect(_words(answered)).to_have_text(said(*last))
    places = answered.locator("svg.map .cells rect")
    for row, column in ((0, 2), (2, 0), (1, 3)):  # no two of them are each other's mirror images
        cell = places.nth(row * len(grid[0]) + column)
        expect(cell).to_have_class("for" if grid[row][column] >= 0 else "against")
        cell.hover()
        expect(_words(answered)).to_have_text(said(row, column))
        box, frame = cell.bounding_box(), answered.locator("svg.map .frame").bounding_box()
        for edge in ("x", "y"):
            assert frame[edge] == pytest.approx(box[edge], abs=4)  # the frame's line has a width
        inside = answered.locator("svg.map image").bounding_box()
        assert box["x"] - inside["x"] == pytest.approx(inside["width"] * column / len(grid[0]), abs=1)
        assert box["y"] - inside["y"] == pytest.approx(inside["height"] * row / len(grid), abs=1)
    opacity = answered.get_by_label("Strength of the colours")
    before = answered.evaluate("getComputedStyle(document.querySelector('.cells')).opacity")
    opacity.fill("10")
    after = answered.evaluate("getComputedStyle(document.querySelector('.cells')).opacity")
    assert (float(before), float(after)) == pytest.approx((0.7, 0.1))


@pytest.mark.parametrize("box", [None, (40, 30, 240, 270)], ids=["whole", "a part"])
def test_the_map_lies_over_the_image(answered: Page, box: tuple[int, ...] | None) -> None:
    if box is not None:
        changing(EXPLAIN, lambda answer: answer.update(box=list(box)))(answered)
    with answered.expect_response(EXPLAIN) as explained:
        _open(answered)
    answer = explained.value.json()
    picture = answered.locator("svg.map image").bounding_box()
    cells = answered.evaluate(
        """() => {
            const all = [...document.querySelectorAll(".cells rect")].map((one) => one.getBoundingClientRect());
            return [Math.min(...all.map((one) => one.left)), Math.min(...all.map((one) => one.top)),
                Math.max(...all.map((one) => one.right)), Math.max(...all.map((one) => one.bottom))];
        }"""
    )
    scale = picture["width"] / answer["width"]
    places = [picture["x"], picture["y"], picture["x"], picture["y"]]
    expected = [place + scale * edge for place, edge in zip(places, answer["box"], strict=True)]
    assert cells == pytest.approx(expected, abs=1)


def test_occlusion_shows_a_coarse_map_first_and_then_a_finer_one(answered: Page) -> None:
    fine: list[Route] = []
    answered.route("**/explain?*cells=7*", lambda route: fine.append(route))
    _open(answered, "?method=occlusion")
    shapes = answered.locator("svg.map")
    expect(shapes).to_have_attribute("aria-label", re.compile("^Map of 4 by 4 cells"))
    expect(answered.locator(".cells rect")).to_have_count(16)
    with answered.expect_response("**/explain?*cells=7*") as explained:
        fine[0].continue_()
    answer = explained.value.json()
    expect(shapes).to_have_attribute("aria-label", re.compile("^Map of 7 by 7 cells"))
    expect(answered.locator(".cells rect")).to_have_count(49)
    assert _asked(answered, "cells") == ["4", "7"]
    cells = _cells(answered)
    assert [len(row) for row in cells] == [7] * 7
    assert max(map(max, cells)) > 1, "some part of a seven counts"
    shapes.press("ArrowDown")
    value, score = answer["grid"][1][0], answer["scores"][1][0]
    does = "falls" if value >= 0 else "rises"
    said = re.fullmatch(
        r"Row 2, column 1: without it the logit of 7 (\w+) by ([\d.]+); 7 goes from .* % to (.*) %\.",
        _words(answered).inner_text(),
    )
    assert (said[1], float(said[2])) == (does, pytest.approx(abs(value), abs=0.001))
    assert said[3].replace("> ", "").replace("< ", "") == f"{min(99.9, max(0.1, 100 * score)):.1f}"


@pytest.fixture
def covering(answered: Page) -> Page:
    """Cover it yourself, with its first answer."""
    with answered.expect_response(EXPLAIN) as covered:
        _open(answered, "?method=cover")
    assert covered.value.json()["cover"] == [93, 93, 93, 93]
    expect(_bars(answered).first).to_be_visible()
    return answered


def _check_bars(page: Page, response: Response) -> None:
    changes = response.json()["changes"]
    expect(_bars(page).locator(".name")).to_have_text([one["label"] for one in changes])
    shown = _bars(page).locator(".value").all_inner_texts()
    for text, one in zip(shown, changes, strict=True):
        after, before = re.fullmatch(r"[<>]? ?([\d.]+) % \(was [<>]? ?([\d.]+) %\)", text).groups()
        assert float(after) == pytest.approx(100 * one["after"], abs=0.1)
        assert float(before) == pytest.approx(100 * one["before"], abs=0.1)


def test_a_rectangle_that_is_dragged_covers_and_changes_the_answer(covering: Page) -> None:
    before = _bars(covering).all_inner_texts()
    box = covering.locator("svg.map").bounding_box()
    place = [(0.05, 0.05), (0.95, 0.5)]
    (x0, y0), (x1, y1) = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in place]
    with covering.expect_response(EXPLAIN) as covered:
        covering.mouse.move(x0, y0)
        covering.mouse.down()
        covering.mouse.move(x1, y1, steps=5)
        covering.mouse.up()
    asked = list(map(int, _asked(covering, "cover")[-1].split(",")))
    assert asked == pytest.approx([14, 14, 252, 126], abs=2)
    expect(covering.locator(".found")).to_contain_text("Covered so, the answer is ")
    expect(_bars(covering)).not_to_have_text(before)
    _check_bars(covering, covered.value)
    rect = covering.locator("rect.cover")
    assert [int(rect.get_attribute(name)) for name in ("x", "y", "width", "height")] == asked


def test_a_rectangle_is_moved_and_changed_with_the_keys(covering: Page) -> None:
    before = _bars(covering).all_inner_texts()
    shown = covering.locator("svg.map")
    shown.focus()
    step = 280 // 20
    with covering.expect_response(EXPLAIN) as covered:
        for key in ("ArrowUp", "ArrowUp", "ArrowRight", "Shift+ArrowRight", "Shift+ArrowDown"):
            covering.keyboard.press(key)
    assert _asked(covering, "cover")[-1] == f"{93 + step},{93 - 2 * step},{93 + step},{93 + step}"
    assert len(_asked(covering, "cover")) == 2, "asked once, when the keys rest"
    expect(_bars(covering)).not_to_have_text(before)
    _check_bars(covering, covered.value)
    for _ in range(30):
        covering.keyboard.press("ArrowLeft")
    expect(covering.locator("rect.cover")).to_have_attribute("x", "0")


def test_an_explanation_that_comes_late_does_not_replace_another_method(answered: Page) -> None:
    held = hold(answered, "**/explain?method=cam*")
    with answered.expect_request("**/explain?method=cam*"):
        _open(answered)
    _method(answered, "Cover it yourself")
    expect(_bars(answered).first).to_be_visible()
    with answered.expect_response("**/explain?method=cam*"):
        held[0].continue_()
    answered.wait_for_timeout(200)
    expect(answered.locator("rect.cover")).to_be_visible()
    expect(answered.locator(".cells")).to_have_count(0)


def test_an_explanation_of_the_image_before_is_dropped(answered: Page) -> None:
    held = hold(answered, EXPLAIN)
    _open(answered)
    expect(answered.locator(".found")).to_contain_text("Computing…")
    answered.get_by_role("button", name="Clear").click()
    expect(answered.locator(".found")).to_contain_text("Give it a picture first")
    (late,) = held
    with contextlib.suppress(Error):  # the page has given the request up
        late.continue_()
    answered.wait_for_timeout(1000)  # an answer that were taken would be shown by then
    expect(answered.locator(".found")).to_contain_text("Give it a picture first")
    expect(answered.locator("svg.map")).to_have_count(0)


def test_a_network_without_a_linear_head_has_no_decomposition(visit: Callable) -> None:
    page = visit(before=model_changing(lambda model: model["explain"].update(cam=False)))
    example(page)
    _open(page)
    expect(page.locator("svg.map")).to_be_visible()
    expect(page.get_by_label("Decomposition (CAM)")).to_be_disabled()
    expect(page.get_by_label("Cover and see (occlusion)")).to_be_checked()
    expect(page.locator(".controls")).to_contain_text(
        "needs a network that ends in global average pooling and one linear layer"
    )
    expect(page.locator(".cells rect")).to_have_count(49)
    assert set(_asked(page, "method")) == {"occlusion"}


def test_where_explanations_are_off_the_view_says_so(visit: Callable) -> None:
    page = visit(before=model_changing(lambda model: model.update(explain=None)))
    example(page)
    _open(page)
    expect(page.locator(".found")).to_have_text(OFF)
    expect(page.locator(".controls")).to_have_text("")
    assert _asked(page, "method") == []


def test_a_busy_server_is_asked_again(answered: Page) -> None:
    answered.route(EXPLAIN, lambda route: route.fulfill(**problem("explanation_busy", 503, 1)), times=2)
    _open(answered)
    expect(answered.locator(".found")).to_have_text(BUSY)
    expect(answered.locator("svg.map")).to_be_visible(timeout=10_000)
    assert _asked(answered, "method") == ["cam"] * 3


def test_a_failure_has_its_sentence(answered: Page) -> None:
    answered.route(EXPLAIN, lambda route: route.fulfill(**problem("explanation_failed", 500)))
    _open(answered)
    expect(answered.get_by_role("alert")).to_contain_text("The explanation failed.")


def test_where_the_answer_failed_the_view_does_not_wait_for_it(visit: Callable) -> None:
    page = visit()
    page.locator("input[type=file][multiple]").set_input_files(
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"not a picture"}
    )
    expect(page.get_by_role("alert")).to_be_visible()
    _open(page)
    expect(page.locator(".found")).to_be_visible()
    expect(page.locator(".found")).to_contain_text("This file is not a picture.")


def test_a_rectangle_moves_with_the_keys_on_a_picture_of_8_px_too(visit: Callable) -> None:
    page = visit()
    example(page)
    _open(page, "?method=cover")
    rect = page.locator("rect.cover")
    before = float(rect.get_attribute("x"))
    page.locator("svg.map.draw").press("ArrowRight")
    assert float(rect.get_attribute("x")) > before
