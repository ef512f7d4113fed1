"""Where an image is placed in the square that a network sees: the arithmetic of `vision.preprocessing`.

Standard library only, so that `vision.device` can use it without Pillow or pydantic.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

_LONGEST = 16  # times the short side; pixels beyond that are not read


class Geometry(Protocol):
    """The fields of `vision.preprocessing.Preprocessing` that place pixels; see there."""

    @property
    def policy(self) -> Literal["crop", "pad", "squash"]: ...  # noqa: D102
    @property
    def resize_px(self) -> int: ...  # noqa: D102
    @property
    def crop_px(self) -> int: ...  # noqa: D102
    @property
    def interpolation(self) -> Literal["nearest", "bilinear", "bicubic"]: ...  # noqa: D102
    @property
    def antialias(self) -> bool: ...  # noqa: D102
    @property
    def channels(self) -> Literal[1, 3]: ...  # noqa: D102
    @property
    def fill(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Placement:
    """How one image is scaled and cropped.

    Attributes:
        box: (left, top, right, bottom) pixels of the part that is read.
        size: (width, height) pixels that this part is scaled to.
        corner: (left, top) pixels of the square on the scaled part; negative if it is padded.
    """

    box: tuple[int, int, int, int]
    size: tuple[int, int]
    corner: tuple[int, int]


def place(geometry: Geometry, width: int, height: int) -> Placement:
    """The placement of an image. Rounds as torchvision's Resize and CenterCrop do, for which weights are published.

    Args:
        geometry: the specification.
        width: pixels of the upright image, at least 1.
        height: pixels of the upright image, at least 1.
    """
    box = _box(geometry, width, height)
    width, height = box[2] - box[0], box[3] - box[1]
    size = _scaled_size(geometry, width, height)
    if geometry.policy == "pad":
        corner = (-((geometry.crop_px - size[0]) // 2), -((geometry.crop_px - size[1]) // 2))
    else:  # as CenterCrop: round() decides on an odd pixel, half to even
        corner = (round((size[0] - geometry.crop_px) / 2), round((size[1] - geometry.crop_px) / 2))
    return Placement(box, size, corner)


def seen(geometry: Geometry, width: int, height: int) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the network's square on the upright image, in its pixels.

    A square that is filled up reaches beyond the image: its left or top is negative then.
    """
    placement = place(geometry, width, height)
    left, top, right, bottom = placement.box
    across, down = (right - left) / placement.size[0], (bottom - top) / placement.size[1]
    begin_x, begin_y = left + placement.corner[0] * across, top + placement.corner[1] * down
    return begin_x, begin_y, begin_x + geometry.crop_px * across, begin_y + geometry.crop_px * down


def _box(geometry: Geometry, width: int, height: int) -> tuple[int, int, int, int]:
    """Cuts off the ends of an image longer than 16:1, which a crop would discard.

    Scaled whole, an image of 10,000×1 px would take 2.6 GB.
    """
    short, long = sorted((width, height))
    keep = _LONGEST * short + (long - _LONGEST * short) % 2  # of the same parity, so that the middle does not move
    if geometry.policy != "crop" or long <= keep:
        return 0, 0, width, height
    cut = (long - keep) // 2
    return (cut, 0, cut + keep, short) if width == long else (0, cut, short, cut + keep)


def _scaled_size(geometry: Geometry, width: int, height: int) -> tuple[int, int]:
    if geometry.policy == "squash":
        return geometry.resize_px, geometry.resize_px
    fixed = max(width, height) if geometry.policy == "pad" else min(width, height)

    def scaled(side: int) -> int:
        return geometry.resize_px if side == fixed else max(1, int(geometry.resize_px * side / fixed))

    return scaled(width), scaled(height)
