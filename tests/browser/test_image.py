"""View Image: the steps by their names, and every number of the probe is the preprocessing's own."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.acting import choose, until
from vision import color
from vision.image import DecodeLimits, decode
from vision.preprocessing import Preprocessing

pytestmark = pytest.mark.serve
MANIFEST = Path(__file__).resolve().parents[2] / "service" / "demo" / "digits" / "1" / "manifest.json"
STEPS = ["stored", "upright", "channels", "resized", "squared", "normalised"]
ORIENTATION = 0x0112
PLANES = {
    "rgb": ["R, 0 to 1", "G, 0 to 1", "B, 0 to 1"],
    "gray": ["gray (ITU-R 709), 0 to 1"],
    "hsv": ["H, 0 to 1", "S, 0 to 1", "V, 0 to 1"],
    "lab": ["L*, 0 to 100", "a*, -110 to 110", "b*, -110 to 110"],
}


def _colourful(width: int, height: int) -> Image.Image:
    """A picture whose every pixel is another colour."""
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    pixels = np.stack([255 * across, 255 * down, 127 + 127 * np.sin(7 * across + 3 * down)], axis=2)
    return Image.fromarray(pixels.astype(np.uint8))


class Expected:
    """What the probe must say, from the preprocessing itself."""

    def __init__(self, data: bytes) -> None:
        preprocessing = Preprocessing.model_validate(json.loads(MANIFEST.read_text())["preprocessing"])
        upright = decode(data, DecodeLimits()).pixels
        self.network = preprocessing.apply(upright)
        self.normalised = preprocessing.normalise(self.network[None])[0]
        wider = {"channels": 3, "mean": preprocessing.mean * 3, "std": preprocessing.std * 3}
        self.rgb = preprocessing.model_copy(update=wider).apply(upright)
        self.side = preprocessing.crop_px

    def check(self, page: Page, row: int, column: int) -> None:
        told = _probe(page)
        rgb = self.rgb[row, column]
        hue, saturation, value = color.rgb_to_hsv(rgb / 255.0)
        numbers = {name: _numbers(text) for name, text in told.items()}
        assert numbers["pixel"] == [row + 1, column + 1]
        assert numbers["RGB"] == rgb.tolist()
        assert numbers["HSV"] == pytest.approx([360 * hue, 100 * saturation, 100 * value], abs=0.501)
        assert numbers["L*a*b*"] == pytest.approx(list(color.rgb_to_lab(rgb / 255.0)), abs=0.0501)
        gray = float(np.ravel(color.rgb_to_gray(rgb / 255.0))[0])
        assert numbers["gray (ITU-R 709)"] == pytest.approx([255 * gray], abs=0.0501)
        read = numbers["what the network reads"]
        assert read[:1] == self.network[row, column].tolist()
        assert told["what the network reads"].endswith(" (luma, ITU-R 601)")
        assert numbers["normalised"] == pytest.approx(self.normalised[:, row, column].tolist(), abs=0.000501)


def _probe(page: Page) -> dict[str, str]:
    """The notations of the pixel that the probe is at."""
    names, texts = (page.locator(f".probing .probe {tag}").all_inner_texts() for tag in ("dt", "dd"))
    return dict(zip(names, texts, strict=True))


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", re.sub(r"\(.*\)", "", text))]


def _drawn(page: Page, canvas: str) -> np.ndarray:
    """The RGB pixels of a canvas, (H, W, 3)."""
    height, width, values = page.locator(canvas).evaluate(
        """(one) => [one.height, one.width, [...one.getContext("2d").getImageData(0, 0, one.width, one.height).data]]"""
    )
    return np.array(values).reshape(height, width, 4)[:, :, :3]


def _open(page: Page, data: bytes, name: str = "colours.png", parameters: str = "") -> None:
    choose(page, (name, data))
    page.goto(f"{page.watch.url}/#image{parameters}")
    expect(page.locator(".probing .probe")).to_be_visible()


@pytest.fixture(scope="module")
def colours(encoded: Callable) -> bytes:
    return encoded(_colourful(48, 30), "PNG")


def test_the_steps_are_shown_in_their_order(visit: Callable, colours: bytes) -> None:
    page = visit()
    _open(page, colours)
    steps = page.locator(".steps li")
    expect(steps.locator("h3")).to_have_text(STEPS)
    facts = steps.locator(".facts").all_inner_texts()
    shapes = [re.match(r"\S+ \S+,", one)[0] for one in facts]
    assert shapes == [
        "30×48×3 uint8,",
        "30×48×3 uint8,",
        "30×48×1 uint8,",
        "10×16×1 uint8,",
        "16×16×1 uint8,",
        "1×16×16 float32,",
    ]
    expected = Expected(colours)
    low, high, mean = map(float, re.search(r", (\S+) to (\S+), mean (\S+)$", facts[4]).groups())
    assert (low, high) == (expected.network.min(), expected.network.max())
    assert mean == pytest.approx(expected.network.mean(), abs=1e-3)
    until(page, "[...document.querySelectorAll('.steps img')].every((one) => one.naturalWidth > 0)")
    sizes = steps.locator("img").evaluate_all("(all) => all.map((one) => [one.naturalWidth, one.naturalHeight])")
    assert sizes == [[48, 30], [48, 30], [48, 30], [16, 10], [16, 16], [16, 16]]
    expect(page.locator("#view p").first).to_contain_text(f"PNG, {len(colours)} bytes, stored as RGB, 48×30 px")
    expect(page.locator("#view p").first).to_contain_text("upright as stored")


def test_the_probe_says_the_preprocessings_numbers(visit: Callable, colours: bytes) -> None:
    page = visit()
    _open(page, colours)
    expected = Expected(colours)
    row = column = expected.side // 2
    expected.check(page, row, column)
    assert np.array_equal(_drawn(page, ".probing canvas"), expected.rgb)
    layer = page.get_by_label("Pixel probe; arrow keys move it")
    layer.focus()
    moves = {"ArrowUp": (-1, 0), "ArrowDown": (1, 0), "ArrowLeft": (0, -1), "ArrowRight": (0, 1)}
    for key in ("ArrowUp", "ArrowUp", "ArrowLeft", "ArrowDown", *["ArrowRight"] * 9):
        page.keyboard.press(key)
        row, column = [
            max(0, min(expected.side - 1, place + step)) for place, step in zip((row, column), moves[key], strict=True)
        ]
        expected.check(page, row, column)
    box = layer.bounding_box()
    for row, column in ((0, 0), (4, 11), (7, 3), (15, 15)):
        page.mouse.move(
            box["x"] + (column + 0.5) * box["width"] / expected.side,
            box["y"] + (row + 0.5) * box["height"] / expected.side,
        )
        expected.check(page, row, column)
        marker = page.locator(".probing .frame")
        assert [int(marker.get_attribute(name)) for name in ("y", "x")] == [row, column]


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_picture_that_exif_turns_is_shown_upright(orientation: int, visit: Callable, encoded: Callable) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(_colourful(48, 30), "JPEG", quality=95, exif=exif)
    page = visit()
    _open(page, data, "turned.jpg")
    expect(page.locator("#view p").first).to_contain_text(f"turned by EXIF orientation {orientation}")
    facts = page.locator(".steps .facts").all_inner_texts()
    assert facts[0].startswith("30×48×3 ")
    assert facts[1].startswith("48×30×3 " if orientation == 6 else "30×48×3 ")
    until(page, "[...document.querySelectorAll('.steps img')].every((one) => one.naturalWidth > 0)")
    shapes = page.locator(".steps img").evaluate_all("(all) => all.map((one) => one.naturalWidth > one.naturalHeight)")
    assert shapes[:2] == [True, orientation != 6]
    expected = Expected(data)
    middle = expected.side // 2
    expected.check(page, middle, middle)
    layer = page.get_by_label("Pixel probe; arrow keys move it")
    layer.focus()
    for steps in range(1, 4):
        page.keyboard.press("ArrowDown")
        expected.check(page, middle + steps, middle)


def test_the_colour_space_is_switched(visit: Callable, colours: bytes) -> None:
    page = visit()
    _open(page, colours)
    captions = page.locator(".planes figcaption")
    expect(captions).to_have_text(PLANES["rgb"])
    for space, name in (("gray", "Gray"), ("hsv", "HSV"), ("lab", "L*a*b*"), ("rgb", "RGB")):
        page.get_by_role("group", name="Colour space").get_by_text(name, exact=True).click()
        expect(captions).to_have_text(PLANES[space])
        assert page.url.endswith(f"#image?space={space}")
        for figure in page.locator(".planes figure").all():
            figure.locator("summary").click()
            counts = figure.locator("tbody td").all_inner_texts()
            assert (len(counts), sum(map(int, counts))) == (32, 16 * 16)
    expected = Expected(colours)
    for channel, figure in enumerate(page.locator(".planes figure").all()):
        plane = expected.rgb[:, :, channel]
        counts, _ = np.histogram(plane / 255.0, bins=32, range=(0, 1))
        assert [int(text) for text in figure.locator("tbody td").all_inner_texts()] == counts.tolist()
        heights = figure.locator("rect").evaluate_all("(all) => all.map((one) => Number(one.getAttribute('height')))")
        assert heights == pytest.approx((10 * counts / counts.max()).tolist())
        drawn = _drawn(page, f".planes figure:nth-of-type({channel + 1}) > canvas")
        assert np.abs(drawn - plane[:, :, None]).max() <= 1


def test_the_colour_space_comes_from_the_address(visit: Callable, colours: bytes) -> None:
    page = visit()
    _open(page, colours, parameters="?space=hsv")
    expect(page.locator(".planes figcaption")).to_have_text(PLANES["hsv"])
    expect(page.get_by_label("HSV")).to_be_checked()


def test_a_square_that_is_no_picture_says_what_is_wrong(visit: Callable) -> None:
    page = visit()
    choose(page, ("notes.txt", b"not a picture"))
    page.goto(f"{page.watch.url}/#image")
    expect(page.locator("#view").get_by_role("alert")).to_contain_text("This file is not a picture.")


def test_another_picture_gets_its_own_numbers(visit: Callable, colours: bytes, encoded: Callable) -> None:
    page = visit()
    _open(page, colours)
    before = _probe(page)
    other = encoded(_colourful(30, 48).transpose(Image.Transpose.ROTATE_180), "PNG")
    choose(page, ("other.png", other))
    expect(page.locator(".steps .facts").first).to_contain_text("48×30×3")
    assert _probe(page) != before
    Expected(other).check(page, 8, 8)
