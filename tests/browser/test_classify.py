"""View Classify: one image is one answer, whatever comes in between, and every failure has its sentence."""

import csv
import io
import json
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.browser.acting import (
    CLASSIFY,
    DISPATCH,
    MODELS,
    SEVEN,
    arrived,
    big,
    choose,
    dispatch,
    draw,
    encoded_files,
    example,
    hold,
    model_changing,
    problem,
    until,
)

pytestmark = pytest.mark.serve
DIM_MS, PEN_MS, SLOW_MS = 50, 250, 150
MB = 1_000_000
STRANGER = "Something between this page and the server answered (status 502)."


@pytest.fixture(scope="module")
def two(digit: Callable, encoded: Callable) -> bytes:
    return encoded(digit(2), "PNG")


@pytest.fixture(scope="module")
def seven(digit: Callable, encoded: Callable) -> bytes:
    return encoded(digit(7), "PNG")


@pytest.fixture(scope="module")
def heavy(encoded: Callable) -> bytes:
    """A picture of 1.3 MB."""
    pixels = np.random.default_rng(1).integers(0, 256, (660, 660, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(pixels), "PNG")
    assert 1.25 * MB < len(data) < 1.35 * MB
    return data


def test_a_seven_drawn_with_the_mouse_is_a_seven(visit: Callable) -> None:
    page = visit()
    draw(page)
    expect(big(page)).to_have_text("7")
    expect(page.locator(".answer .bars li")).to_have_count(5)
    expect(page.locator("canvas.paper")).to_be_visible()


@pytest.mark.parametrize("late", ["before the newer answer", "after the newer answer"])
@pytest.mark.parametrize("first", ["drawn", "chosen"])
def test_an_answer_that_comes_late_is_not_shown_beside_the_newer_image(
    first: str, late: str, visit: Callable, two: bytes, seven: bytes
) -> None:
    page = visit()
    with page.expect_response(CLASSIFY) as answered:
        choose(page, ("seven.png", seven))
    old = answered.value.json()
    page.get_by_role("button", name="Clear").click()
    held = hold(page)
    draw(page) if first == "drawn" else choose(page, ("seven.png", seven))
    arrived(page, held, 1)
    choose(page, ("two.png", two))
    older, newer = arrived(page, held, 2)
    if late == "before the newer answer":
        older.fulfill(json=old)
        page.wait_for_timeout(200)
        expect(big(page)).to_have_count(0)
        newer.continue_()
        expect(big(page)).to_have_text("2")
    else:
        newer.continue_()
        expect(big(page)).to_have_text("2")
        older.fulfill(json=old)
        page.wait_for_timeout(200)
        page.get_by_role("link", name="Model", exact=True).click()  # and back: the view is drawn again
        expect(page.locator("#view h2")).to_have_text("Model")
        page.get_by_role("link", name="Classify", exact=True).click()
        expect(big(page)).to_have_text("2")
    expect(page.locator(".facts").first).to_contain_text("two.png")
    expect(page.locator("img.picture")).to_be_visible()
    expect(page.locator("canvas.paper")).to_be_hidden()


@pytest.mark.parametrize("pen", ["just lifted", "still down"])
def test_a_drawing_that_is_not_sent_yet_gives_way_to_a_file(pen: str, visit: Callable, two: bytes) -> None:
    page = visit()
    if pen == "just lifted":  # the paste follows in the same moment
        page.evaluate("() => { window.pasting = new Promise((go) => addEventListener('pointerup', go)); }")
        page.evaluate(
            f"([steps, files, spot]) => {{ window.pasting.then(() => ({DISPATCH})([steps, files, spot])) }}",
            [["paste"], encoded_files([("two.png", two)]), "body"],
        )
        draw(page)
    else:
        draw(page, lift=False)
        dispatch(page, ["paste"], [("two.png", two)])
        page.mouse.up()
    expect(big(page)).to_have_text("2")
    page.wait_for_timeout(400)  # the pen's rest is 120 ms
    expect(big(page)).to_have_text("2")
    expect(page.locator(".facts").first).to_contain_text("two.png")
    assert sum("top_k=5" in request.url for request in page.watch.requests) == 1


def test_a_new_image_removes_the_old_label_at_once(visit: Callable, two: bytes, seven: bytes) -> None:
    page = visit()
    choose(page, ("seven.png", seven))
    expect(big(page)).to_have_text("7")
    hold(page)
    page.evaluate("""() => {
        const answer = document.querySelector(".answer");
        addEventListener("paste", () => {
            const begun = performance.now();
            const look = () => {
                if (answer.querySelector("strong")) requestAnimationFrame(look);
                else window.removedMs = performance.now() - begun;
            };
            look();
        }, true);
    }""")
    dispatch(page, ["paste"], [("two.png", two)])
    removed_ms = until(page, "window.removedMs")
    print(f"\nnew image → old label removed: {removed_ms:.1f} ms")
    assert removed_ms <= DIM_MS
    expect(page.locator(".facts").first).to_contain_text("two.png")


def test_a_further_stroke_dims_the_answer_until_the_next_one(visit: Callable) -> None:
    page = visit()
    draw(page)
    expect(big(page)).to_have_text("7")
    held = hold(page)
    draw(page, [[(0.3, 0.5), (0.7, 0.5)]])
    expect(page.locator(".answer.stale")).to_be_visible()
    arrived(page, held, 1)[0].continue_()
    expect(page.locator(".answer:not(.stale)")).to_be_visible()


def test_waiting_is_shown_after_150_ms_and_not_before(visit: Callable, two: bytes) -> None:
    page = visit()
    hold(page)
    page.evaluate("""() => {
        let begun;
        addEventListener("paste", () => (begun = performance.now()), true);
        new MutationObserver(() => {
            if (!window.shownMs && document.querySelector(".progress")) window.shownMs = performance.now() - begun;
        }).observe(document.querySelector(".answer"), { childList: true, subtree: true });
    }""")
    dispatch(page, ["paste"], [("two.png", two)])
    shown_ms = until(page, "window.shownMs")
    assert SLOW_MS - 1 <= shown_ms <= SLOW_MS + 150


def test_a_slow_upload_shows_its_megabytes_and_can_be_cancelled(visit: Callable, heavy: bytes, seven: bytes) -> None:
    page = visit()
    choose(page, ("seven.png", seven))
    expect(big(page)).to_have_text("7")
    session = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 200_000}
    session.send("Network.emulateNetworkConditions", slow)
    choose(page, ("heavy.png", heavy))
    said = page.locator(".progress span")
    expect(said).to_have_text(re.compile(r"Sending: (0\.[1-9]|1\.[0-2]) of 1\.3 MB"))
    expect(page.locator(".answer strong")).to_have_count(0)
    expect(page.locator(".progress progress")).to_have_attribute("max", str(len(heavy)))
    with page.expect_event("requestfailed"):
        page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".answer")).to_contain_text("Give it a picture")
    expect(page.locator("img.picture")).to_be_hidden()


@pytest.mark.parametrize("spot", ["footer", "h1", ".square"])
def test_a_file_may_be_dropped_anywhere(spot: str, visit: Callable, two: bytes) -> None:
    page = visit()
    shade = page.locator("#dropping")
    dispatch(page, ["dragenter"], [("two.png", two)], spot)
    expect(shade).to_be_visible()
    dispatch(page, ["dragleave"], [("two.png", two)], spot)
    expect(shade).to_be_hidden()
    prevented = dispatch(page, ["dragenter", "dragover", "drop"], [("two.png", two)], spot)
    assert prevented[1:] == [True, True], "else the browser leaves the page and opens the file"
    expect(shade).to_be_hidden()
    expect(big(page)).to_have_text("2")


def test_a_file_may_be_pasted(visit: Callable, two: bytes) -> None:
    page = visit()
    dispatch(page, ["paste"], [("two.png", two)])
    expect(big(page)).to_have_text("2")


@pytest.fixture
def sheet(visit: Callable, two: bytes, seven: bytes) -> Page:
    """A contact sheet of three files, one of which is no picture."""
    page = visit()
    choose(page, ("seven.png", seven), ("=cmd(1).png", b"no picture at all"), ("two.png", two))
    expect(page.locator(".tiles button")).to_have_count(3)
    expect(page.get_by_role("status").filter(has_text="choose a label")).to_be_visible()
    return page


def test_three_files_are_three_tiles_each_with_its_answer_or_error(sheet: Page) -> None:
    tiles = sheet.locator(".tiles button")
    expect(tiles.nth(0).locator("strong")).to_have_text(re.compile(r"^7 "))
    expect(tiles.nth(2).locator("strong")).to_have_text(re.compile(r"^2 "))
    expect(tiles.nth(1)).to_contain_text("This file is not a picture.")
    expect(tiles.nth(1).locator("img")).to_be_hidden()
    expect(sheet.locator(".tiles .wrong")).to_have_count(1)
    assert sheet.locator(".sheet h3").inner_text() == "3 files"


def test_a_contact_sheet_is_worked_through_with_the_keys(sheet: Page) -> None:
    tiles = sheet.locator(".tiles button")
    tiles.nth(0).focus()
    sheet.keyboard.press("ArrowRight")
    expect(tiles.nth(1)).to_be_focused()
    sheet.keyboard.press("3")
    expect(tiles.nth(1).locator("strong")).to_have_count(0)
    sheet.keyboard.press("ArrowRight")
    sheet.keyboard.press("2")
    expect(tiles.nth(2)).to_be_focused()
    expect(tiles.nth(2)).to_contain_text("(yours)")
    expect(tiles.nth(2)).to_have_class("chosen")
    sheet.keyboard.press("0")
    expect(tiles.nth(2).locator("strong")).to_have_text(re.compile(r"^2 .*%$"))
    sheet.keyboard.press("ArrowLeft")
    sheet.keyboard.press("ArrowLeft")
    expect(tiles.nth(0)).to_be_focused()
    sheet.keyboard.press("Enter")
    expect(big(sheet)).to_have_text("7")
    expect(sheet.locator(".facts").first).to_contain_text("seven.png")


def test_a_contact_sheet_is_sorted_and_closed(sheet: Page) -> None:
    names = sheet.locator(".tiles button span:first-of-type")
    assert names.all_inner_texts() == ["seven.png", "=cmd(1).png", "two.png"]
    order = sheet.get_by_role("button", name="Least sure first")
    order.click()
    expect(order).to_have_attribute("aria-pressed", "true")
    expect(names.first).to_have_text("=cmd(1).png")
    scores = [float(re.search(r"[\d.]+ %", text)[0][:-2]) for text in sheet.locator(".tiles strong").all_inner_texts()]
    assert scores == sorted(scores)
    order.click()
    expect(names.first).to_have_text("seven.png")
    sheet.get_by_role("button", name="Close").click()
    expect(sheet.locator(".tiles")).to_be_hidden()


def test_a_contact_sheet_is_taken_away_as_csv_and_json(sheet: Page) -> None:
    sheet.locator(".tiles button").nth(2).press("2")
    with sheet.expect_download() as download:
        sheet.get_by_role("button", name="CSV").click()
    text = Path(download.value.path()).read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["file"] for row in rows] == ["seven.png", "'=cmd(1).png", "two.png"], "no cell begins like a formula"
    assert [row["label"] for row in rows] == ["7", "", "2"]
    assert [row["problem"] for row in rows] == ["", "not_an_image", ""]
    assert rows[2]["chosen"] not in ("", "2")
    with sheet.expect_download() as download:
        sheet.get_by_role("button", name="JSON").click()
    assert download.value.suggested_filename == "labels.json"
    listed = json.loads(Path(download.value.path()).read_text())
    assert [row["file"] for row in listed] == ["seven.png", "=cmd(1).png", "two.png"]
    assert float(rows[0]["score"]) == listed[0]["score"] > 0.9


def test_more_files_than_one_request_may_hold_are_sent_in_several(visit: Callable, two: bytes) -> None:
    few = model_changing(lambda model: model["limits"].update(max_images_per_request=2))
    page = visit(before=few)
    choose(page, *((f"{index}.png", two) for index in range(5)))
    expect(page.locator(".tiles strong").filter(has_text=re.compile(r"^2 "))).to_have_count(5)
    assert sum("top_k=9" in request.url for request in page.watch.requests) == 3


def test_a_file_over_the_limit_is_refused_before_it_is_sent(visit: Callable, heavy: bytes, two: bytes) -> None:
    page = visit(before=model_changing(lambda model: model["limits"].update(max_image_bytes=MB)))
    choose(page, ("heavy.png", heavy))
    expect(page.get_by_role("alert")).to_contain_text("This file has 1.3 MB; this server takes 1.0 MB.")
    assert not any("top_k=5" in request.url for request in page.watch.requests)
    choose(page, ("heavy.png", heavy), ("two.png", two))
    expect(page.locator(".tiles .wrong")).to_have_text("This file has 1.3 MB; this server takes 1.0 MB.")
    expect(page.locator(".tiles strong")).to_have_text(re.compile("^2 "))


def test_a_file_that_is_no_picture_gets_a_sentence_and_its_document(visit: Callable, two: bytes) -> None:
    page = visit()
    choose(page, ("notes.txt", b"not a picture, a text"))
    alert = page.get_by_role("alert")
    expect(alert.locator("p")).to_have_text(
        ["This file is not a picture.", "JPEG, PNG, WebP, GIF and BMP can be read."]
    )
    expect(page.locator("img.picture")).to_be_hidden()
    alert.locator("summary").click()
    document = json.loads(alert.locator("pre").inner_text())
    assert (document["code"], len(document["request_id"])) == ("not_an_image", 32)
    choose(page, ("two.png", two))
    expect(big(page)).to_have_text("2")
    expect(alert).to_have_count(0)


def _switched(page: Page, answer: Callable[[Route], None], *patterns: str) -> dict:
    """Answers to these paths are replaced while the returned switch is on."""
    switch = {"on": True}
    for pattern in patterns:
        page.route(pattern, lambda route: answer(route) if switch["on"] else route.continue_())
    return switch


def test_an_html_page_of_a_proxy_is_named_and_the_answer_comes_when_it_is_gone(visit: Callable, two: bytes) -> None:
    page = visit()
    html = {"status": 502, "content_type": "text/html", "body": "<html><h1>Bad Gateway</h1></html>"}
    switch = _switched(page, lambda route: route.fulfill(**html), CLASSIFY, MODELS)
    choose(page, ("two.png", two))
    expect(page.get_by_role("alert")).to_contain_text(STRANGER)
    expect(page.locator("#state")).to_have_text("not ready yet, asking again…")
    switch["on"] = False
    expect(big(page)).to_have_text("2")
    expect(page.locator("#state")).to_have_text("ready")


def test_a_proxy_that_refuses_only_the_upload_is_not_asked_without_a_pause(visit: Callable, two: bytes) -> None:
    page = visit()
    html = {"status": 413, "content_type": "text/html", "body": "<html>Request Entity Too Large</html>"}
    page.route(CLASSIFY, lambda route: route.fulfill(**html))
    choose(page, ("two.png", two))
    expect(page.get_by_role("alert")).to_contain_text("(status 413)")
    page.wait_for_timeout(1500)
    asked = sum("top_k=5" in request.url for request in page.watch.requests)
    assert asked <= 2, f"the picture was sent {asked} times in 1.5 s"


def test_a_server_that_is_still_starting_is_asked_until_it_is_ready(visit: Callable, two: bytes) -> None:
    switch = {}

    def starting(page: Page) -> None:
        switch.update(page=_switched(page, lambda route: route.fulfill(**problem("not_ready", 503, 1)), MODELS))

    page = visit(before=starting, ready=False)
    expect(page.locator("#state")).to_have_text("not ready yet, asking again…")
    expect(page.locator("#model")).to_have_text("The server is starting…")
    switch["page"]["on"] = False
    expect(page.locator("#state")).to_have_text("ready")
    expect(page.locator("#model")).to_contain_text("digits: knows 0–9, 99.8 % right on 452 unseen images")
    draw(page)
    expect(big(page)).to_have_text("7")


def test_an_image_that_is_given_while_the_server_starts_is_answered_when_it_is_ready(
    visit: Callable, two: bytes
) -> None:
    switch = {}

    def starting(page: Page) -> None:
        answer = problem("not_ready", 503, 1)
        switch.update(page=_switched(page, lambda route: route.fulfill(**answer), MODELS, CLASSIFY))

    page = visit(before=starting, ready=False)
    choose(page, ("two.png", two))
    expect(page.get_by_role("alert")).to_contain_text("The page tries again by itself.")
    switch["page"]["on"] = False
    expect(page.locator("#state")).to_have_text("ready")
    expect(big(page)).to_have_text("2")


@pytest.mark.parametrize("over", [1, 40_000])
def test_the_refusal_of_a_file_just_over_the_limit_names_two_different_sizes(
    over: int, visit: Callable, two: bytes
) -> None:
    page = visit(before=model_changing(lambda model: model["limits"].update(max_image_bytes=MB)))
    choose(page, ("heavy.png", two + bytes(MB + over - len(two))))
    said = page.get_by_role("alert").locator("p").first.inner_text()
    has, takes = re.findall(r"[\d.]+ (?:MB|kB|bytes)", said)
    assert has != takes, said


def test_a_server_that_went_away_is_named_and_answers_when_it_is_back(
    visit: Callable, proxy: object, two: bytes
) -> None:
    page = visit(url=proxy.url)
    proxy.stop()
    choose(page, ("two.png", two))
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
    expect(page.locator("#state")).to_have_text("unreachable, trying again…")
    expect(page.locator(".answer strong")).to_have_count(0)
    proxy.start()
    expect(big(page)).to_have_text("2")
    expect(page.locator("#state")).to_have_text("ready")


def test_a_connection_that_breaks_is_tried_again(visit: Callable, two: bytes) -> None:
    page = visit()
    broken = []

    def break_once(route: Route) -> None:
        broken.append(route)
        route.abort() if len(broken) == 1 else route.continue_()

    page.route(CLASSIFY, break_once)
    choose(page, ("two.png", two))
    expect(big(page)).to_have_text("2")
    assert len(broken) == 2


@pytest.mark.parametrize(
    ("code", "status", "sentence"),
    [
        ("overloaded", 503, "The server has too much to do."),
        ("deadline_exceeded", 504, "The answer took too long."),
        ("inference_failed", 500, "The model failed on this picture."),
        ("a_new_code", 500, "A title."),
    ],
)
def test_a_problem_has_its_sentence_and_another_try(
    code: str, status: int, sentence: str, visit: Callable, two: bytes
) -> None:
    page = visit()
    page.route(CLASSIFY, lambda route: route.fulfill(**problem(code, status)), times=1)
    choose(page, ("two.png", two))
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    page.get_by_role("button", name="Try again").click()
    expect(big(page)).to_have_text("2")


def test_clear_removes_image_and_answer(visit: Callable, two: bytes) -> None:
    page = visit()
    for give in (lambda: draw(page), lambda: choose(page, ("two.png", two))):
        give()
        expect(big(page)).to_be_visible()
        page.get_by_role("button", name="Clear").click()
        expect(page.locator(".answer")).to_contain_text("Give it a picture")
        expect(page.locator(".answer .bars")).to_have_count(0)
        expect(page.locator("img.picture")).to_be_hidden()
        expect(page.locator(".facts").first).to_have_text("")
        blank = page.evaluate(
            """() => { const paper = document.querySelector("canvas.paper");
            return paper.getContext("2d").getImageData(0, 0, paper.width, paper.height).data.every((one) => one === 255)
            }"""
        )
        assert blank


def test_undo_takes_the_last_stroke_back(visit: Callable) -> None:
    page = visit()
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_hidden()
    draw(page)
    expect(big(page)).to_have_text("7")
    before = page.locator(".answer .value").all_inner_texts()
    with page.expect_response(CLASSIFY):
        draw(page, [[(0.2, 0.3), (0.2, 0.8), (0.8, 0.8)], [(0.8, 0.3), (0.5, 0.9)]])
    expect(page.locator(".answer .value").first).not_to_have_text(before[0])
    undo.click()
    undo.click()
    expect(page.locator(".answer .value")).to_have_text(before)
    undo.click()
    expect(page.locator(".answer")).to_contain_text("Give it a picture")
    expect(undo).to_be_hidden()


def test_every_golden_image_is_answered_as_expected_and_can_be_taken(visit: Callable, service: object) -> None:
    page = visit()
    tiles = page.locator(".examples button")
    expect(tiles).to_have_count(8)
    expect(page.locator(".examples .right")).to_have_count(8)
    for tile in tiles.all():
        expected, given = tile.locator("span").all_inner_texts()
        label = re.fullmatch(r"expected (\d)", expected)[1]
        assert re.fullmatch(rf"✓ {label} [\d.]+ %", given)
    given = tiles.nth(2).locator("span").nth(1).inner_text()
    tiles.nth(2).click()
    expect(big(page)).to_have_text(given.split()[1])
    expect(page.locator(".answer .big span")).to_have_text(given.split(maxsplit=2)[2])
    expect(page.locator(".facts").first).to_contain_text("example 3")


def test_a_golden_image_that_is_answered_otherwise_is_marked(visit: Callable) -> None:
    page = visit(before=model_changing(lambda model: model["golden"][1].update(label="0")))
    expect(page.locator(".examples .wrong")).to_have_text(re.compile("^✗ 9 "))
    expect(page.locator(".examples .right")).to_have_count(7)


def test_how_often_answers_this_sure_are_right_is_what_the_bundle_measured(
    visit: Callable, service: object, seven: bytes
) -> None:
    page = visit()
    engine = page.evaluate("fetch('models').then((one) => one.json())")["models"][0]["engine"]
    metrics = json.loads(next(Path(__file__).parents[2].glob("service/demo/digits/1/metrics.json")).read_text())
    bins = metrics.get(engine, metrics["torch-f32"])["reliability"]
    seen = set()
    for number in range(8):
        with page.expect_response(CLASSIFY) as answer:
            page.locator(".examples button").nth(number).click()
        score = answer.value.json()["results"][0]["predictions"][0]["score"]
        found = next(one for one in bins if one["low"] < score <= one["high"] and one["images"])
        right = round(found["accuracy"] * found["images"])
        span = f"{round(100 * found['low'])}–{round(100 * found['high'])} %"
        expect(page.locator(".record")).to_have_text(
            f"Answers this sure ({span}): {right} of {found['images']} right on unseen images."
        )
        seen.add(span)
    assert len(seen) > 1, "the golden images fall into several bins"


def test_an_answer_of_a_probability_that_was_never_seen_says_so(visit: Callable, two: bytes) -> None:
    page = visit(before=model_changing(lambda model: model.update(reliability=model["reliability"][:1])))
    choose(page, ("two.png", two))
    expect(page.locator(".record")).to_contain_text("nobody knows how often it is right")


def test_it_is_always_said_what_the_model_knows(visit: Callable, two: bytes) -> None:
    page = visit()
    knows = "It knows only: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9. Anything else gets the nearest of these."
    expect(page.locator(".answer")).to_contain_text(knows)
    choose(page, ("two.png", two))
    expect(page.locator(".knows")).to_have_text(knows)


_RUN = {
    "curl": lambda code, folder: ["sh", "-c", code],
    "Python": lambda code, folder: [sys.executable, "-c", code],
    "JavaScript": lambda code, folder: ["node", "--input-type=module", "--eval", code],
}


@pytest.mark.parametrize("name", ["two.png", """it's 50% of "2" $HOME ü.png"""])
@pytest.mark.parametrize("language", list(_RUN))
def test_the_request_as_code_gives_the_same_label(
    language: str, name: str, visit: Callable, two: bytes, tmp_path: Path
) -> None:
    program = {"curl": "curl", "Python": sys.executable, "JavaScript": "node"}[language]
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    page = visit()
    choose(page, (name, two))
    expect(big(page)).to_have_text("2")
    page.get_by_text("Call it: this request as code").click()
    code = page.get_by_label(f"{language}: this request").inner_text()
    (tmp_path / name).write_bytes(two)
    command = _RUN[language](code, tmp_path)
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True)
    first = re.search(r"""label['"]?: ?['"]([^'"]+)""", ran.stdout)
    assert first, ran
    assert first[1] == "2"


def test_copying_puts_the_code_into_the_clipboard_or_selects_it(visit: Callable) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    example(page)
    page.get_by_text("Call it: this request as code").click()
    page.get_by_role("button", name="Copy curl").click()
    expect(page.get_by_role("button", name="Copy curl")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.get_by_label("curl: this request").inner_text()


def test_from_pen_up_to_the_answer_is_a_quarter_of_a_second(visit: Callable) -> None:
    page = visit()
    page.evaluate("""() => {
        window.tookMs = [];
        let begun = 0;
        addEventListener("pointerup", () => (begun = performance.now()), true);
        new MutationObserver(() => {
            if (!begun || !document.querySelector(".answer:not(.stale) .big strong")) return;
            window.tookMs.push(performance.now() - begun);
            begun = 0;
        }).observe(document.querySelector(".answer"), { childList: true, subtree: true, attributes: true });
    }""")
    for index in range(5):
        page.get_by_role("button", name="Clear").click() if index else None
        draw(page, SEVEN)
        until(page, f"window.tookMs.length === {index + 1}")
    took_ms = page.evaluate("window.tookMs")
    print(f"\npen up → answer: {', '.join(f'{one:.0f}' for one in took_ms)} ms, of which the pen rests 120")
    assert statistics.median(took_ms) <= PEN_MS


def test_the_request_as_code_stays_open_for_the_next_image(visit: Callable) -> None:
    page = visit()
    example(page)
    page.get_by_text("Call it: this request as code").click()
    expect(page.get_by_label("curl: this request")).to_contain_text("example 1")
    example(page, 1)
    expect(page.get_by_label("curl: this request")).to_contain_text("example 2")
    expect(page.locator(".snippets pre")).to_have_count(3)
