"""The page in a real browser: the system's Chromium, driven through Playwright, against one real service."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.browser.proxy import Proxy

DEMO = Path(__file__).resolve().parents[2] / "service" / "demo"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Chromium writes these by itself where a test lets a request fail on purpose.
EXPECTED = ("Failed to load resource:",)
TELL_VIOLATIONS = """addEventListener("securitypolicyviolation", (event) =>
    console.error(`violation of ${event.violatedDirective}: ${event.blockedURI} in ${event.sourceFile}`)
)"""

TIMEOUT_MS = 15_000
expect.set_options(timeout=TIMEOUT_MS)


# Not for the session: while Playwright is started, its event loop runs in the main thread, and no other can.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's Chromium."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, launch: Callable) -> Iterator:
    """One service of the shipped digits for all tests of the page."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(DEMO, folder / "models")
    started = launch(folder / "models", folder).wait_until_ready()
    started.models = folder / "models"
    yield started
    assert started.stop() == 0, started.printed


@pytest.fixture
def proxy(service: object) -> Iterator[Proxy]:
    """A reverse proxy in front of the service, which publishes it below /vision."""
    started = Proxy(service.port)
    yield started
    started.stop()


class Watch:
    """What a page did that it must not."""

    def __init__(self, page: Page, url: str) -> None:
        self.url = url
        self.faults: list[str] = []
        self.requests: list[Request] = []
        page.add_init_script(TELL_VIOLATIONS)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error.stack or error}"))
        page.on("console", self._console)
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(EXPECTED):
            self.faults.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        self.requests.append(request)
        asked, own = urlsplit(request.url), urlsplit(self.url)
        if asked.scheme not in ("data", "blob") and asked.netloc != own.netloc:
            self.faults.append(f"request to another host: {request.url}")


@pytest.fixture
def visit(chromium: Browser, service: object) -> Iterator[Callable[..., Page]]:
    """Opens the page in a context of its own: visit(address, url=…, width=…, before=…).

    `before` gets the page before it is loaded, `ready` is whether to wait for the server; further options are those of
    a context. At the end no page may have had an error, a violation of its policy, or a request to another host.
    """
    watches, contexts = [], []

    def open_page(
        address: str = "",
        url: str = service.url,
        width: int = 1280,
        height: int = 900,
        before: Callable[[Page], object] | None = None,
        ready: bool = True,
        **options: object,
    ) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(TIMEOUT_MS)
        contexts.append(context)
        page = context.new_page()
        watches.append(Watch(page, url))
        page.watch = watches[-1]
        if before:
            before(page)
        page.goto(f"{url}/{address}")
        if ready:
            expect(page.locator("#state")).to_have_text("ready")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [fault for watch in watches for fault in watch.faults] == []
