"""What POST /inspect answers: what a file is, what each preprocessing step makes of it, and its pixels in numbers."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.explanation.pictures import contact_sheet, data_url, preview
from service.explanation.subject import Look
from vision import color
from vision.image import Pixels, as_stored, inspect, stored_facts

_PREVIEW_PX = 256
_SQUARE_PX = 256  # of the square's pixels in numbers; a larger square is sampled
_BINS = 32

# name: (names of the planes, lowest and highest value of each, a function of RGB 0 to 1).
_PLANES: dict[str, tuple[tuple[str, ...], tuple[tuple[float, float], ...], Callable[[Any], Any]]] = {
    "rgb": (("R", "G", "B"), ((0, 1),) * 3, np.asarray),
    "gray": (("gray (ITU-R 709)",), ((0, 1),), lambda rgb: color.rgb_to_gray(rgb)[..., None]),
    "hsv": (("H", "S", "V"), ((0, 1),) * 3, color.rgb_to_hsv),
    "lab": (("L*", "a*", "b*"), ((0, 100), (-110, 110), (-110, 110)), color.rgb_to_lab),
}


def inspection(look: Look, parameters: dict[str, Any]) -> tuple[dict[str, Any], Callable[[], Image.Image]]:
    """The answer, and a function that draws the steps side by side.

    Args:
        look: the image.
        parameters: `space`: names of colour spaces whose planes are wanted.
    """
    upright, preprocessing = look.decoded.pixels, look.subject.preprocessing
    facts = stored_facts(look.data)
    does = preprocessing.describe_steps()
    steps = [
        _step(
            "stored",
            f"{look.decoded.format}, {facts.mode}, {len(look.data)} bytes, before any turn, shown in RGB",
            as_stored(upright, facts.orientation),
        ),
        _step("upright", _turn(facts.orientation), upright),
    ]
    for step in preprocessing.steps(upright):
        steps.append(_step(step.name, does[step.name], step.pixels))
    square = step.pixels
    normalised = preprocessing.normalise(square[None])[0]
    steps.append(_step("normalised", does["normalised"], square, normalised))
    every = -(-max(square.shape[:2]) // _SQUARE_PX)
    colours = _in_colour(look, every)
    answer = {
        "facts": {
            "format": look.decoded.format,
            "bytes": len(look.data),
            "mode": facts.mode,
            "orientation": facts.orientation,
            "width": look.size[0],
            "height": look.size[1],
            "colours": _colours(look),
        },
        "box": look.box,
        "steps": steps,
        "square": {
            "side": colours.shape[0],
            "sampled_every": every,
            "rgb": _packed(colours),
            "network": _packed(square[::every, ::every]),
            "normalised": _packed(normalised[:, ::every, ::every].astype("<f4")),
            "channels": square.shape[2],
        },
        "planes": {name: _planes(name, colours) for name in parameters["space"]},
    }
    return answer, lambda: _strip(look)


def _colours(look: Look) -> str:
    if look.subject.preprocessing.colours == "stored":
        return "as stored; this model was trained without conversion of colours"
    decoded = look.decoded
    converted = f"converted to sRGB from the profile {decoded.profile!r}" if decoded.profile else "taken as sRGB"
    return f"{converted}. {decoded.warning}" if decoded.warning else converted


def _in_colour(look: Look, every: int) -> Pixels:
    """The square in RGB, also for a network that reads gray: uint8 (S, S, 3)."""
    preprocessing = look.subject.preprocessing
    if preprocessing.channels == 1:
        wider = {"channels": 3, "mean": preprocessing.mean * 3, "std": preprocessing.std * 3}
        preprocessing = preprocessing.model_copy(update=wider)
        return preprocessing.apply(look.decoded.pixels)[::every, ::every]
    return look.square[::every, ::every]


def _planes(space: str, colours: Pixels) -> list[dict[str, Any]]:
    names, ranges, convert = _PLANES[space]
    values = convert(colours / 255.0)
    planes = []
    for index, (name, (low, high)) in enumerate(zip(names, ranges, strict=True)):
        plane = values[:, :, index]
        counts, _ = np.histogram(plane, bins=_BINS, range=(low, high))
        planes.append(
            {
                "name": name,
                "range": [low, high],
                "values": _packed(plane.astype("<f4")),
                "histogram": counts.tolist(),
            }
        )
    return planes


def _step(name: str, does: str, pixels: Pixels, values: npt.NDArray[np.floating] | None = None) -> dict[str, Any]:
    """`pixels` are shown, or `values` (C, H, W) where they are given."""
    shown = pixels if values is None else values
    facts = inspect(pixels if values is None else np.moveaxis(values, 0, -1))
    picture = preview(pixels, _PREVIEW_PX) if values is None else _normalised(values)
    return {
        "name": name,
        "does": does,
        "shape": list(shown.shape),
        "dtype": facts.dtype,
        "minimum": round(facts.minimum, 4),
        "maximum": round(facts.maximum, 4),
        "mean": round(float(shown.mean()), 4),
        "picture": data_url(picture),
    }


def _normalised(values: npt.NDArray[np.floating]) -> Image.Image:
    """(C, H, W) as a picture: the smallest value is black, the largest white."""
    low, high = float(values.min()), float(values.max())
    scaled = ((values - low) / (high - low or 1.0) * 255).astype(np.uint8)
    return preview(np.ascontiguousarray(np.moveaxis(scaled, 0, -1)), _PREVIEW_PX)


def _turn(orientation: int) -> str:
    if orientation == 1:
        return "needs no turn: the file has no EXIF orientation, or says that it is upright"
    return f"turns it as its EXIF orientation {orientation} says"


def _strip(look: Look) -> Image.Image:
    pictures = [
        preview(step.pixels, _PREVIEW_PX).convert("RGB")
        for step in look.subject.preprocessing.steps(look.decoded.pixels)
    ]
    side = (_PREVIEW_PX, _PREVIEW_PX)
    return contact_sheet([picture.resize(side, Image.Resampling.NEAREST) for picture in pictures])


def _packed(values: npt.NDArray[Any]) -> str:
    """The array's bytes in C order, little-endian, as base64."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
