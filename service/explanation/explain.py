"""What POST /explain answers: which parts of an image speak for a label, by one of three methods."""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from service.errors import InvalidParameter, MethodUnavailable
from service.explanation.pictures import overlay, preview
from service.explanation.subject import Look
from vision.explanation import class_activation, cover, neutral, occlusion

_PICTURE_PX = 640
_DIGITS = 6
NO_HEAD = (
    "CAM needs a network that ends in global average pooling and one linear layer; this one does not. "
    "Use method=occlusion, which works with every network."
)


def explain(look: Look, parameters: dict[str, Any]) -> tuple[dict[str, Any], Callable[[], Image.Image]]:
    """The answer, and a function that draws it.

    Args:
        look: the image.
        parameters: `method`, `label` and `against` (indices or None), `cells`, `cover` (a box or None).

    Raises:
        MethodUnavailable: method=cam, and the network does not end in global average pooling and one linear layer.
        InvalidParameter: the box reaches beyond the image.
    """
    subject = look.subject
    logits = look.seen.logits
    label = int(logits.argmax()) if parameters["label"] is None else parameters["label"]
    against = parameters["against"]
    named = {"label": label} | ({} if against is None else {"against": against})
    width, height = look.size
    answer = {
        "method": parameters["method"],
        "label": subject.categories[label],
        "against": None if against is None else subject.categories[against],
        "width": width,
        "height": height,
        "box": look.box,
        "logits": {name: round(float(logits[index]), _DIGITS) for name, index in named.items()},
        "predictions": subject.ranked(subject.scores(logits)),
        "agreement": subject.agreement(look),
    }
    found, draw = _METHODS[parameters["method"]](look, parameters, label, against)
    return answer | found, draw


def _cam(
    look: Look, parameters: dict[str, Any], label: int, against: int | None
) -> tuple[dict[str, Any], Callable[[], Image.Image]]:
    head, last = look.subject.taps.head, look.seen.last
    if not look.subject.exact or head is None or last is None:
        raise MethodUnavailable(NO_HEAD)
    grid = class_activation(last, head, label, against)
    return {"grid": _rounded(grid), "sum": round(float(grid.sum()), _DIGITS)}, lambda: _map(look, grid)


def _occlusion(
    look: Look, parameters: dict[str, Any], label: int, against: int | None
) -> tuple[dict[str, Any], Callable[[], Image.Image]]:
    subject = look.subject
    value = neutral(subject.preprocessing)
    cells = min(parameters["cells"], look.square.shape[0])
    covering = occlusion(subject.taps.infer, look.square, cells, value, label, against)
    shares = subject.scores(covering.logits)[:, :, label]
    found = {"grid": _rounded(covering.drops), "scores": _rounded(shares), "cover_value": list(value)}
    return found, lambda: _map(look, covering.drops)


def _cover(
    look: Look, parameters: dict[str, Any], label: int, against: int | None
) -> tuple[dict[str, Any], Callable[[], Image.Image]]:
    subject = look.subject
    left, top, across, down = parameters["cover"]
    width, height = look.size
    if left + across > width or top + down > height:
        raise InvalidParameter(
            f"cover is {left},{top},{across},{down} and reaches beyond the upright image of {width}×{height} px."
        )
    value = neutral(subject.preprocessing)
    covered = cover(look.decoded.pixels, (left, top, across, down), value)
    logits = subject.taps.infer(subject.preprocessing.apply(covered)[None])[0]
    before, after = subject.scores(look.seen.logits), subject.scores(logits)
    named = dict.fromkeys(row["label"] for scores in (before, after) for row in subject.ranked(scores))
    indices = [subject.categories.index(name) for name in named]
    changes = [
        {
            "label": subject.categories[index],
            "before": round(float(before[index]), _DIGITS),
            "after": round(float(after[index]), _DIGITS),
            "logit_change": round(float(logits[index] - look.seen.logits[index]), _DIGITS),
        }
        for index in indices
    ]
    found = {"cover": list(parameters["cover"]), "cover_value": list(value), "changes": changes}
    return found, lambda: preview(covered, _PICTURE_PX)


_METHODS = {"cam": _cam, "occlusion": _occlusion, "cover": _cover}


def _map(look: Look, grid: np.ndarray[Any, Any]) -> Image.Image:
    left, top, right, bottom = look.box
    return overlay(look.decoded.pixels, grid, (left, top, right, bottom), _PICTURE_PX)


def _rounded(values: np.ndarray[Any, Any]) -> list[list[float]]:
    return [[round(float(value), _DIGITS + 2) for value in row] for row in values]
