"""What a visitor does on the page, and what it is told then."""

import base64
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from playwright.sync_api import Locator, Page, Route

SEVEN = [[(0.25, 0.14), (0.76, 0.14), (0.42, 0.88)]]
CLASSIFY = "**/classify?top_k=5"
MODELS = "**/models"

DISPATCH = """([steps, files, spot]) => {
    const data = new DataTransfer();
    for (const [name, type, text] of files)
        data.items.add(new File([Uint8Array.from(atob(text), (one) => one.charCodeAt(0))], name, { type }));
    const target = document.querySelector(spot);
    return steps.map((step) => {
        const event = step === "paste"
            ? new ClipboardEvent(step, { clipboardData: data, bubbles: true, cancelable: true })
            : new DragEvent(step, { dataTransfer: data, bubbles: true, cancelable: true });
        target.dispatchEvent(event);
        return event.defaultPrevented;
    });
}"""


def big(page: Page) -> Locator:
    """The label of the answer."""
    return page.locator(".answer .big strong")


def draw(page: Page, strokes: Sequence = SEVEN, lift: bool = True) -> None:
    """Draws strokes in the unit square on the paper, with the mouse."""
    box = page.locator("canvas.paper").bounding_box()
    for points in strokes:
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=6)
        if lift:
            page.mouse.up()


def choose(page: Page, *files: tuple[str, bytes]) -> None:
    """Chooses files, as (name, bytes), in the file dialog."""
    page.locator("input[type=file][multiple]").set_input_files(
        [{"name": name, "mimeType": "image/png", "buffer": data} for name, data in files]
    )


def dispatch(page: Page, steps: Sequence[str], files: Sequence[tuple[str, bytes]], spot: str = "body") -> list[bool]:
    """Drags, drops or pastes files at a spot; returns for each event whether the browser was kept from acting."""
    return page.evaluate(DISPATCH, [list(steps), encoded_files(files), spot])


def encoded_files(files: Sequence[tuple[str, bytes]]) -> list[tuple[str, str, str]]:
    """Files as DISPATCH takes them."""
    return [(name, "image/png", base64.b64encode(data).decode()) for name, data in files]


def example(page: Page, number: int = 0) -> None:
    """Takes one of the golden images and waits for its answer."""
    page.locator(".examples button").nth(number).click()
    big(page).wait_for()


def hold(page: Page, pattern: str = CLASSIFY) -> list[Route]:
    """Holds every request to a path; the test lets go of them."""
    held: list[Route] = []
    page.route(pattern, lambda route: held.append(route))
    return held


def problem(code: str, status: int, retry_after_s: int | None = None) -> dict:
    """A problem document as the service sends it, for route.fulfill."""
    document = {
        "type": f"urn:sightline:problem:{code}",
        "title": "A title",
        "status": status,
        "detail": "A detail.",
        "code": code,
        "remedy": "A remedy.",
        "request_id": "0123456789abcdef",
    }
    headers = {"content-type": "application/problem+json"}
    if retry_after_s is not None:
        headers["retry-after"] = str(retry_after_s)
    return {"status": status, "headers": headers, "body": json.dumps(document)}


def changing(pattern: str, change: Callable[[dict], None]) -> Callable[[Page], None]:
    """For visit(before=…): the JSON of a path is changed on its way to the page."""

    def handle(route: Route) -> None:
        answer = route.fetch()
        document = answer.json()
        change(document)
        route.fulfill(response=answer, json=document)

    return lambda page: page.route(pattern, handle)


def model_changing(change: Callable[[dict], None]) -> Callable[[Page], None]:
    """For visit(before=…): what GET /models says of the served model is changed on its way to the page."""
    return changing(MODELS, lambda document: change(document["models"][0]))


def until(page: Page, script: str, within_s: float = 15.0) -> Any:
    """The first true value of a script. `page.wait_for_function` would need eval, which the page's policy forbids."""
    deadline = time.monotonic() + within_s
    while not (value := page.evaluate(script)):
        assert time.monotonic() < deadline, script
        page.wait_for_timeout(20)
    return value


def arrived(page: Page, held: list[Route], count: int) -> list[Route]:
    """Waits until `hold` has caught this number of requests, and returns them."""
    deadline = time.monotonic() + 10
    while len(held) < count:
        assert time.monotonic() < deadline, f"{len(held)} of {count} requests have come"
        page.wait_for_timeout(20)
    return held
