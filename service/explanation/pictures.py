"""Arrays → PNG files for the answers of the explaining process."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from vision.image import Pixels

# For and against: orange and blue stay apart for every common form of colour blindness (Okabe and Ito, 2008).
_FOR, _AGAINST = np.array([213, 94, 0]), np.array([0, 114, 178])
_STRONGEST = 0.75  # opacity of the cell with the largest value
_GAP_PX = 2


def png(picture: Image.Image) -> bytes:
    """The file."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=3)
    return stream.getvalue()


def data_url(picture: Image.Image) -> str:
    """The file as an address that an <img> takes."""
    return "data:image/png;base64," + base64.b64encode(png(picture)).decode()


def preview(pixels: Pixels, side_px: int) -> Image.Image:
    """(H, W, C) uint8 → a picture whose longer side has at most side_px; smaller ones keep their size."""
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((side_px, side_px), Image.Resampling.BILINEAR)
    return picture


def gray(values: npt.NDArray[np.floating], low: float, high: float) -> Image.Image:
    """(h, w) → gray, low is black and high is white."""
    span = high - low if high > low else 1.0
    return Image.fromarray(np.clip((values - low) / span * 255, 0, 255).astype(np.uint8))


def contact_sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one size in a sheet that is about as wide as high."""
    columns = int(np.ceil(np.sqrt(len(pictures))))
    rows = -(-len(pictures) // columns)
    width, height = pictures[0].width + _GAP_PX, pictures[0].height + _GAP_PX
    sheet = Image.new(pictures[0].mode, (columns * width - _GAP_PX, rows * height - _GAP_PX), 128)
    for index, picture in enumerate(pictures):
        sheet.paste(picture, (index % columns * width, index // columns * height))
    return sheet


def overlay(
    image: Pixels, grid: npt.NDArray[np.floating], box: tuple[float, float, float, float], side_px: int
) -> Image.Image:
    """The upright image with a signed map over it: orange speaks for the label, blue against it.

    Args:
        image: uint8 (H, W, 3).
        grid: (rows, columns) of cells that divide the box evenly.
        box: (left, top, right, bottom) in pixels of the image; it may reach beyond it.
        side_px: the longer side of the picture.
    """
    scale = min(1.0, side_px / max(image.shape[:2]))
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    picture = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    share = grid / max(float(np.abs(grid).max()), 1e-12)
    colours = np.where(share[:, :, None] >= 0, _FOR, _AGAINST)
    cells = np.concatenate([colours, np.abs(share)[:, :, None] * 255 * _STRONGEST], axis=2).astype(np.uint8)
    left, top, right, bottom = (round(edge * scale) for edge in box)
    layer = Image.fromarray(cells, "RGBA").resize(
        (max(1, right - left), max(1, bottom - top)), Image.Resampling.NEAREST
    )
    above = Image.new("RGBA", size)
    above.paste(layer, (left, top))
    return Image.alpha_composite(picture.convert("RGBA"), above).convert("RGB")
