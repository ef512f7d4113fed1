"""`make pictures`: draws the pictures of the page in docs/pictures/.

It starts a service with the demo, and the system's Chromium, and draws a digit with the mouse, as a visitor does. Each
view is taken on a desktop and on a phone, light and dark.
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from service.local.ports import free_ports

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
_SCREENS = {"": (1120, 760), "-phone": (390, 844)}
_VIEWS = ("classify", "why", "network")
_STROKE = ((0.25, 0.2), (0.75, 0.2), (0.45, 0.85))  # of a 7, in parts of the paper's side
_READY_S = 60
_COLOURS = 128


def main() -> None:
    """Draws all of them."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("No chromium was found; install it, e.g. apt install chromium.")
    (port,) = free_ports(1)
    demo = {"SIGHTLINE_MODELS_DIR": str(ROOT / "service" / "demo")}
    ports = {"SIGHTLINE_PORT": str(port), "SIGHTLINE_METRICS_PORT": "0"}
    command = [sys.executable, "-m", "service", "serve", "--die-with-parent"]
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(command, cwd=ROOT, env=os.environ | demo | ports, stdout=output, stderr=output) as service,
    ):
        try:
            _wait(f"http://127.0.0.1:{port}/health/ready")
            _draw_all(browser, f"http://127.0.0.1:{port}/")
        finally:
            service.terminate()


def _wait(url: str) -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            sys.exit(f"{url} was not ready after {_READY_S} s.")
        time.sleep(0.2)


def _draw_all(browser: str, url: str) -> None:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for screen, (width, height) in _SCREENS.items():
            for scheme in ("light", "dark"):
                context = chromium.new_context(
                    viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
                )
                page = context.new_page()
                page.goto(url)
                _draw_digit(page)
                for view in _VIEWS:
                    _show(page, view)
                    name = f"{view}{screen}{'-dark' if scheme == 'dark' else ''}.png"
                    _save(page.screenshot(), PICTURES / name)
                    print(f"docs/pictures/{name}")
                context.close()


def _draw_digit(page: Page) -> None:
    page.wait_for_selector(".examples .right")  # the examples are answered
    box = page.locator("canvas.paper").bounding_box() or {}
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in _STROKE]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
    page.mouse.up()
    page.wait_for_selector(".answer .big strong")


def _show(page: Page, view: str) -> None:
    page.locator(f"nav a[href='#{view}']").click()
    if view == "why":
        page.wait_for_selector(".map")
        page.get_by_label("rather than").select_option("3")
        page.wait_for_selector("text=logit of 7 − logit of 3")
    if view == "network":
        page.wait_for_selector(".filters button")
        page.get_by_label("Step", exact=True).fill("15")
    page.mouse.move(0, 0)


def _save(picture: bytes, file: Path) -> None:
    """With 128 colours, which no eye tells from the original, and a third of its bytes."""
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(_COLOURS).save(file, optimize=True)


if __name__ == "__main__":
    main()
