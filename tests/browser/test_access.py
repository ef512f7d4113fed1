"""The page for everyone: no finding of axe in any view, narrow windows, zoom, keyboard, touch, forced colours."""

import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.acting import big, choose, draw, example

pytestmark = pytest.mark.serve
VIEWS = ("classify", "why", "network", "image", "model")
PHONE = {"width": 390, "height": 844}
TARGET_PX, TOUCH_PX = 24, 44
SLOW_MS = 30_000

OPEN_DETAILS = """() => {
    for (const one of document.querySelectorAll("#about, #view details")) one.open = true;
}"""
WIDTHS = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
HEADINGS = """() => [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")]
    .filter((one) => one.checkVisibility())
    .map((one) => [Number(one.localName[1]), one.textContent])"""
# What a finger hits: an input's label where the input itself is hidden in it.
TARGETS = """() => [...document.querySelectorAll("a, button, input, select, summary, [tabindex]:not(section)")]
    .filter((one) => !one.disabled && !one.matches(".skip"))
    .map((one) => (one.matches("[type=file], [type=radio]") ? one.closest("label") : one))
    .filter((one) => one.checkVisibility())
    .map((one) => {
        const { width, height } = one.getBoundingClientRect();
        return [`${one.localName}.${one.className} ${one.ariaLabel ?? one.textContent.slice(0, 30)}`, width, height];
    })"""
# Whether what has the focus can be seen: at its middle is it, or a part of it.
SEEN = """() => {
    const has = document.activeElement;
    const shown = has.matches("[type=file], [type=radio]") ? has.closest("label") : has;
    const box = shown.getBoundingClientRect();
    const [left, top] = [Math.max(box.left, 0), Math.max(box.top, 0)];
    const [right, bottom] = [Math.min(box.right, innerWidth), Math.min(box.bottom, innerHeight)];
    const at = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
    return Boolean(at) && (shown.contains(at) || at.contains(shown));
}"""


def _answered(page: Page) -> None:
    example(page, 1)


def _failed(page: Page) -> None:
    choose(page, ("notes.txt", b"not a picture"))
    expect(page.get_by_role("alert")).to_be_visible()


STATES: dict[str, Callable[[Page], None]] = {
    "empty": lambda page: expect(page.locator(".answer")).to_contain_text("Give it a picture"),
    "answered": _answered,
    "failed": _failed,
}


def _show(page: Page, view: str, state: str) -> None:
    """Opens a view and all that can be opened in it, and waits until it is complete."""
    page.locator(f"nav a[href='#{view}']").click()
    expect(page.locator("nav a[aria-current=page]")).to_have_attribute("href", f"#{view}")
    shown = page.locator("#view")
    if view == "classify":
        expect(shown.locator(".examples .right")).to_have_count(8)
    elif view == "network":
        expect(shown.locator(".visualizer .tables table")).to_have_count(3)
    elif view == "model":
        expect(shown.locator("table.confusion")).to_be_visible()
    if (view, state) in {("classify", "failed"), ("image", "failed")}:
        expect(shown.get_by_role("alert")).to_be_visible()
    if state == "answered" and view in ("why", "network", "image"):
        wanted = {"why": "svg.map", "network": ".layers .filters button", "image": ".planes canvas"}[view]
        expect(shown.locator(wanted).first).to_be_visible(timeout=SLOW_MS)
    page.evaluate(OPEN_DETAILS)
    if state == "answered" and view == "classify":
        expect(shown.locator(".snippets pre")).to_have_count(3)
    elif state == "answered" and view == "network":
        expect(shown.locator(".journey .bars li").first).to_be_visible(timeout=SLOW_MS)
        shown.get_by_role("button", name="Step on").click()
        expect(shown.locator(".products table")).to_be_visible()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_in_any_view(scheme: str, width: int, visit: Callable) -> None:
    page = visit(width=width, color_scheme=scheme, reduced_motion="reduce")
    found = []
    for state, reach in STATES.items():
        page.locator("nav a[href='#classify']").click()
        reach(page)
        for view in VIEWS:
            _show(page, view, state)
            for one in Axe().run(page).response["violations"]:
                nodes = [(*node["target"], node["failureSummary"].splitlines()[-1].strip()) for node in one["nodes"]]
                found.append((state, view, one["id"], len(nodes), nodes[:3]))
    assert found == [], "\n".join(map(str, found))


# A window of 640 px at 200 % has 320 CSS px, one of 1280 px has 640.
@pytest.mark.parametrize(("width", "zoom"), [(320, 1), (320, 2), (640, 2)])
def test_no_view_scrolls_sideways(width: int, zoom: int, visit: Callable) -> None:
    page = visit(width=width, height=640 // zoom, device_scale_factor=zoom)
    wide = []
    for state, reach in STATES.items():
        page.locator("nav a[href='#classify']").click()
        reach(page)
        for view in VIEWS:
            _show(page, view, state)
            scrolls, shows = page.evaluate(WIDTHS)
            if scrolls > shows:
                wide.append((state, view, scrolls, shows))
    assert wide == []


def _tab_to(page: Page, selector: str, most: int = 60) -> None:
    """Presses Tab until an element has the focus; every stop on the way can be seen."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            continue  # once round
        assert page.evaluate(SEEN), page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"{selector} is not reached with {most} times Tab")


@pytest.mark.parametrize(("width", "zoom"), [(320, 1), (320, 2), (1280, 1)])
def test_the_page_is_used_with_the_keyboard_alone(
    width: int, zoom: int, visit: Callable, digit: Callable, encoded: Callable
) -> None:
    page = visit(width=width, height=640 // zoom, device_scale_factor=zoom)
    page.on("filechooser", lambda chooser: None)  # from now on no dialog of the system opens
    expect(page.locator(".examples .right")).to_have_count(8)
    _tab_to(page, "input[type=file][multiple]")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files({"name": "7.png", "mimeType": "image/png", "buffer": encoded(digit(7), "PNG")})
    expect(big(page)).to_have_text("7")
    _tab_to(page, "nav a[href='#why']")
    page.keyboard.press("Enter")
    expect(page.locator("svg.map")).to_be_visible()
    _tab_to(page, "svg.map")
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    expect(page.locator(".words")).to_have_text(re.compile("^Row 2, column 3: "))
    _tab_to(page, "nav a[href='#network']")
    page.keyboard.press("Enter")
    expect(page.locator(".layers .filters button").first).to_be_visible(timeout=SLOW_MS)
    _tab_to(page, ".stepper .primary")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause")).to_be_focused()
    page.keyboard.press("Space")
    page.keyboard.press("End")
    expect(page.locator(".stepper output")).to_have_text("36 of 36")
    _tab_to(page, ".layers .filters button")
    page.keyboard.press("Enter")
    expect(page.get_by_role("combobox", name="Filter", exact=True)).to_have_value("model")


def test_the_skip_link_leads_past_the_navigation(visit: Callable) -> None:
    page = visit()
    expect(page.locator(".examples .right")).to_have_count(8)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the view")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#view")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator(".examples button").first).to_be_focused()
    page.get_by_role("link", name="Model", exact=True).click()
    page.get_by_role("link", name="Skip to the view").press("Enter")
    expect(page.locator("#view")).to_be_focused()
    page.reload()
    expect(page.locator("#view h2")).to_have_text("Model")


@pytest.mark.parametrize("width", [1280, 390])
def test_every_target_is_large_enough_to_hit(width: int, visit: Callable) -> None:
    page = visit(width=width, height=844)
    small = []
    for state in ("empty", "answered"):
        page.locator("nav a[href='#classify']").click()
        STATES[state](page)
        for view in VIEWS:
            _show(page, view, state)
            targets = page.evaluate(TARGETS)
            assert len(targets) > len(VIEWS)
            small += [
                (view, *target) for target in targets if min(target[1:]) < TARGET_PX and (view, *target) not in small
            ]
    assert small == [], "\n".join(map(str, small))


def test_buttons_are_high_enough_for_a_thumb_on_a_phone(visit: Callable) -> None:
    page = visit(**PHONE, has_touch=True, is_mobile=True)
    _answered(page)
    low = []
    for view in VIEWS:
        _show(page, view, "answered")
        low += page.locator("button:visible, .button:visible, select:visible, nav a, summary:visible").evaluate_all(
            f"""(all) => all
                .filter((one) => one.getBoundingClientRect().height < {TOUCH_PX})
                .map((one) => ["{view}", one.ariaLabel ?? one.textContent, one.getBoundingClientRect().height])"""
        )
    assert low == []


def test_on_a_phone_the_answer_is_in_sight_after_drawing(visit: Callable) -> None:
    page = visit(**PHONE, has_touch=True, is_mobile=True)
    draw(page)
    expect(big(page)).to_have_text("7")
    label = page.locator("#strip strong")
    for top in (0, 10_000):
        page.evaluate(f"scrollTo(0, {top})")
        expect(label).to_have_text("7")
        expect(label).to_be_in_viewport(ratio=1)
        assert label.evaluate("""(one) => {
            const { x, y, width, height } = one.getBoundingClientRect();
            return document.elementFromPoint(x + width / 2, y + height / 2) === one;
        }"""), "nothing lies over it"


def test_the_paper_does_not_move_under_the_pen(visit: Callable) -> None:
    page = visit(**PHONE, has_touch=True, is_mobile=True)
    paper = page.locator("canvas.paper")
    before = paper.bounding_box()
    draw(page)
    expect(big(page)).to_have_text("7")
    assert paper.bounding_box() == before, "a second stroke would land elsewhere"


def test_headings_have_no_gaps(visit: Callable) -> None:
    page = visit()
    _answered(page)
    for view in VIEWS:
        _show(page, view, "answered")
        headings = page.evaluate(HEADINGS)
        levels = [level for level, _ in headings]
        assert levels[:2] == [1, 2]
        assert levels.count(1) == levels.count(2) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels)), headings


def test_with_forced_colours_and_without_motion_every_view_works(visit: Callable) -> None:
    page = visit(forced_colors="active", reduced_motion="reduce")
    _answered(page)
    assert page.evaluate("getComputedStyle(document.querySelector('.answer')).transitionDuration") == "0s"
    fills = page.evaluate(
        "['.track', '.fill'].map((one) => getComputedStyle(document.querySelector(`.answer ${one}`)).fill)"
    )
    assert fills[0] != fills[1]
    for view in VIEWS:
        _show(page, view, "answered")
    expect(page.locator("table.confusion")).to_be_visible()


@pytest.mark.parametrize("colours", ["none", "active"])
def test_what_is_chosen_can_be_seen_with_forced_colours_too(colours: str, visit: Callable) -> None:
    page = visit("#network", forced_colors=colours, reduced_motion="reduce")
    expect(page.locator(".visualizer .tables table")).to_have_count(3)
    option = page.get_by_role("group", name="Then").get_by_text("ReLU", exact=True)

    def look() -> bytes:
        page.mouse.move(0, 0)
        page.evaluate("document.activeElement.blur()")
        return option.screenshot()

    before = look()
    option.click()
    expect(page.locator(".visualizer .tables table")).to_have_count(4)
    assert look() != before


def test_the_steps_of_an_animation_are_not_announced_but_its_end_is(visit: Callable) -> None:
    page = visit("#network")
    operation = page.locator(".operation")
    expect(page.locator(".visualizer .tables table")).to_have_count(3)
    page.get_by_role("button", name="Animate").click()
    expect(operation).to_have_attribute("aria-live", "off")
    page.get_by_role("button", name="Pause").click()
    expect(operation).to_have_attribute("aria-live", "polite")
    page.get_by_label("Speed").fill("3")
    page.get_by_label("Step", exact=True).fill("33")
    page.get_by_role("button", name="Animate").click()
    expect(operation).to_have_attribute("aria-live", "off")
    expect(page.get_by_role("button", name="Animate")).to_be_visible()  # it has ended by itself
    expect(operation).to_have_attribute("aria-live", "polite")
    expect(operation).to_contain_text("→ row 6, column 6")


def test_a_choice_in_the_network_keeps_the_focus(visit: Callable) -> None:
    page = visit("#network")
    expect(page.locator(".visualizer .tables table")).to_have_count(3)
    for name in ("Input", "Filter"):
        box = page.get_by_role("combobox", name=name, exact=True)
        box.focus()
        with page.expect_response("**/convolve"):
            page.keyboard.press("ArrowDown")
        expect(page.locator(".operation")).to_be_visible()
        page.wait_for_timeout(100)  # until the answer is drawn
        expect(box).to_be_focused()
    page.get_by_role("group", name="Pooling 2×2").get_by_label("none").focus()
    with page.expect_response("**/convolve"):
        page.keyboard.press("ArrowRight")
    expect(page.locator(".visualizer .tables table")).to_have_count(4)
    expect(page.get_by_role("group", name="Pooling 2×2").get_by_label("max")).to_be_focused()


def test_a_choice_of_why_keeps_the_focus(visit: Callable) -> None:
    page = visit()
    _answered(page)
    page.goto(f"{page.watch.url}/#why")
    expect(page.locator("svg.map")).to_be_visible()
    for name in ("Why", "rather than"):
        box = page.get_by_role("combobox", name=name, exact=True)
        box.focus()
        with page.expect_response("**/explain?*"):
            page.keyboard.press("ArrowDown")
        expect(page.locator("svg.map")).to_be_visible()
        expect(box).to_be_focused()
    page.get_by_label("Decomposition (CAM)").focus()
    with page.expect_response("**/explain?*"):
        page.keyboard.press("ArrowRight")
    expect(page.get_by_label("Cover and see (occlusion)")).to_be_focused()
