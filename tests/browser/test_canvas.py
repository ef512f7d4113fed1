"""The decoder gives the pixels that the browser shows on white."""

import base64
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Browser, Page

from tests.browser.pictures import Picture, pictures
from vision.image import DecodeLimits, decode, sniff_format

MOST = 3  # of 255
PICTURES = pictures()
DRAW = """async (address) => {
    const image = new Image();
    image.src = address;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const paper = canvas.getContext("2d", { colorSpace: "srgb", willReadFrequently: true });
    paper.fillStyle = "#fff";
    paper.fillRect(0, 0, canvas.width, canvas.height);
    paper.drawImage(image, 0, 0);
    return [canvas.width, canvas.height, ...paper.getImageData(0, 0, canvas.width, canvas.height).data];
}"""


@pytest.fixture(scope="module")
def blank(chromium: Browser) -> Iterator[Page]:
    page = chromium.new_page()
    yield page
    page.close()


def shown(page: Page, data: bytes) -> npt.NDArray[np.int16]:
    """(H, W, 3), upright, as the browser draws it."""
    kind = (sniff_format(data) or "").lower()
    width, height, *values = page.evaluate(DRAW, f"data:image/{kind};base64,{base64.b64encode(data).decode()}")
    return np.array(values, np.int16).reshape(height, width, 4)[:, :, :3]


def test_there_are_40_pictures_and_few_that_differ() -> None:
    assert sum(not picture.differs for picture in PICTURES.values()) >= 40
    assert sum(bool(picture.differs) for picture in PICTURES.values()) <= 4


@pytest.mark.parametrize(("name", "picture"), PICTURES.items(), ids=PICTURES)
def test_the_decoder_gives_what_the_browser_shows(blank: Page, name: str, picture: Picture) -> None:
    expected = shown(blank, picture.data)
    pixels = decode(picture.data, DecodeLimits()).pixels
    same_size = pixels.shape == expected.shape
    apart = int(np.abs(pixels - expected).max()) if same_size else 255
    print(f"\n{name}: {apart} of 255")
    if picture.differs:
        assert apart > MOST, f"{name} need not be listed: {picture.differs}"
    else:
        assert apart <= MOST
