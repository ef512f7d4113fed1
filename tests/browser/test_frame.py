"""The frame: nothing from elsewhere, links that work below a proxy's path too, and few bytes."""

import statistics
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.acting import SEVEN, arrived, big, draw, example, hold, until
from tests.browser.proxy import PREFIX, Proxy

pytestmark = pytest.mark.serve
VIEWS = {"classify": "Classify", "why": "Why", "network": "Network", "image": "Image", "model": "Model"}
PAGE_BYTES, FIRST_BYTES, PAINT_MS = 100_000, 40_000, 300


def _settled(page: Page, view: str) -> None:
    """Waits until a view shows what it has to show about an image."""
    first = {
        "classify": ".examples .right",
        "why": ".found .map",
        "network": ".layers .filters button",
        "image": ".steps li",
        "model": "table.confusion",
    }
    expect(page.locator(first[view]).first).to_be_visible()
    expect(page.locator("#view h2")).to_have_text(VIEWS[view])


def test_the_page_and_all_its_views_keep_to_their_policy_and_ask_nobody_else(visit: Callable) -> None:
    page = visit()
    example(page)
    for view in VIEWS:
        page.get_by_role("link", name=VIEWS[view], exact=True).click()
        _settled(page, view)
    hosts = {urlsplit(request.url).netloc for request in page.watch.requests} - {""}
    assert hosts == {urlsplit(page.watch.url).netloc}
    assert page.watch.faults == []


def test_the_documentation_of_the_api_is_drawn_without_the_internet(visit: Callable) -> None:
    page = visit("docs", ready=False)
    for path in ("/classify", "/explain", "/convolve", "/models"):
        expect(page.locator(".opblock-summary-path", has_text=path).first).to_be_visible()
    page.locator(".opblock", has_text="/classify").first.locator(".opblock-summary-control").click()
    expect(page.locator(".opblock-body").first).to_be_visible()
    assert page.title() == "Sightline API"


def test_back_and_forward_go_through_the_views(visit: Callable) -> None:
    page = visit()
    for view in ("why", "network", "model"):
        page.get_by_role("link", name=VIEWS[view], exact=True).click()
        expect(page.locator("#view h2")).to_have_text(VIEWS[view])
        expect(page).to_have_title(f"{VIEWS[view]} · Sightline")
        expect(page.locator("nav a[aria-current=page]")).to_have_text(VIEWS[view])
    for view in ("network", "why"):
        page.go_back()
        expect(page.locator("#view h2")).to_have_text(VIEWS[view])
    page.go_forward()
    expect(page.locator("#view h2")).to_have_text("Network")
    page.go_back()
    page.go_back()
    expect(page.locator("#view h2")).to_have_text("Classify")


@pytest.mark.parametrize("name", ["nothing", "toString", "constructor", "__proto__"])
def test_an_unknown_view_is_the_first_one(visit: Callable, name: str) -> None:
    page = visit(f"#{name}?filter=sobel_x")
    expect(page.locator("#view h2")).to_have_text("Classify")


def test_two_views_in_quick_succession_show_the_later_one(visit: Callable) -> None:
    page = visit()
    held = hold(page, "**/page/why.js")
    page.get_by_role("link", name="Why", exact=True).click()
    arrived(page, held, 1)
    page.get_by_role("link", name="Model", exact=True).click()
    _settled(page, "model")
    with page.expect_response("**/page/why.js"):
        held[0].continue_()
    page.wait_for_timeout(200)
    _settled(page, "model")
    assert page.locator("#view h2").count() == 1


@pytest.fixture(scope="module")
def below(tmp_path_factory: pytest.TempPathFactory, launch: Callable, service: object) -> Iterator[Proxy]:
    """A second service, which is told that a proxy publishes it below /vision, and this proxy."""
    folder = tmp_path_factory.mktemp("below")
    started = launch(service.models, folder, root_path=PREFIX).wait_until_ready()
    proxy = Proxy(started.port)
    yield proxy
    proxy.stop()
    assert started.stop() == 0, started.printed


def test_everything_works_below_the_path_of_a_proxy(below: Proxy, visit: Callable) -> None:
    page = visit(url=below.url)
    draw(page)
    expect(big(page)).to_have_text("7")
    for view in VIEWS:
        page.get_by_role("link", name=VIEWS[view], exact=True).click()
        _settled(page, view)
    page.get_by_role("link", name="Classify", exact=True).click()
    page.get_by_text("Call it: this request as code").click()
    expect(page.get_by_label("curl: this request")).to_contain_text(f"{below.url}/classify?top_k=5")
    paths = {urlsplit(request.url).path for request in page.watch.requests if request.url.startswith("http")}
    assert {path for path in paths if not path.startswith(f"{PREFIX}/")} == set()


def test_the_documentation_works_below_the_path_of_a_proxy(below: Proxy, visit: Callable) -> None:
    page = visit("docs", url=below.url, ready=False)
    operation = page.locator(".opblock", has_text="/filters").first
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    with page.expect_response(f"{below.url}/filters") as answered:
        operation.get_by_role("button", name="Execute").click()
    assert answered.value.status == 200


def _bytes(page: Page) -> dict[str, int]:
    """What the page's own files took, by path: decoded, as they lie on the disk."""
    return page.evaluate("""() => Object.fromEntries(
        [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
            .filter((one) => one.name.includes("/page/") || one.entryType === "navigation")
            .map((one) => [new URL(one.name).pathname, one.decodedBodySize]))""")


def test_the_page_is_small(visit: Callable) -> None:
    page = visit()
    draw(page)
    expect(big(page)).to_have_text("7")
    first = _bytes(page)
    assert "/page/main.js" in first
    for view in VIEWS:
        page.get_by_role("link", name=VIEWS[view], exact=True).click()
        _settled(page, view)
    views = _bytes(page)
    print(f"\nfirst view {sum(first.values())} bytes in {len(first)} files, all {sum(views.values())} in {len(views)}")
    assert min(views.values()) > 0
    assert sum(first.values()) <= FIRST_BYTES, sorted(first.items(), key=lambda one: -one[1])
    assert sum(views.values()) <= PAGE_BYTES, sorted(views.items(), key=lambda one: -one[1])


def test_something_is_painted_soon(chromium: Browser, service: object) -> None:
    took_ms = []
    for _ in range(5):
        context = chromium.new_context()  # nothing is cached
        page = context.new_page()
        page.goto(service.url)
        took_ms.append(until(page, "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"))
        context.close()
    print(f"\nfirst contentful paint: {', '.join(f'{one:.0f}' for one in took_ms)} ms")
    assert statistics.median(took_ms) <= PAINT_MS


def test_without_javascript_the_page_says_how_to_ask(chromium: Browser, service: object) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(service.url)
    expect(page.locator("noscript p")).to_contain_text("curl --data-binary @photo.jpg")
    context.close()


def test_the_picture_of_a_drawing_is_what_was_drawn(visit: Callable) -> None:
    """The strip on phones shows the drawing that was sent."""
    page = visit(width=390, height=844)
    draw(page, SEVEN)
    expect(big(page)).to_have_text("7")
    expect(page.locator("#strip strong")).to_have_text("7")
    assert page.locator("#strip img").evaluate("(one) => one.decode().then(() => one.naturalWidth)") == 280
    assert page.locator("#strip img").get_attribute("src").startswith("blob:")
