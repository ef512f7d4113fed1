"""What POST /activations answers: the first layer with a patch to compute again, or the way through all sizes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.errors import InvalidParameter, MethodUnavailable
from service.explanation.pictures import contact_sheet, data_url, gray
from service.explanation.subject import Look
from vision.convolution import conv2d, padding_px
from vision.engines.taps import FirstLayer, Maps

MAX_KERNEL_PX = 7
_MOST_MAPS = 64
_MAP_PX = 72  # of a small picture's longer side
_PATCH = 6  # cells of the output along a side, as in the course's visualiser
_STRONGEST = 8
_DIGITS = 7
NO_FIRST_LAYER = (
    "This network does not begin with a square convolution of one stride and one padding, so its first layer "
    "cannot be computed again here; use layer=journey."
)

Drawn = Callable[[], Image.Image]


def activations(look: Look, parameters: dict[str, Any]) -> tuple[dict[str, Any], Drawn]:
    """The answer, and a function that draws all its maps on one sheet.

    Args:
        look: the image.
        parameters: `layer` (first or journey); `filter`, `row` and `column` (numbers or None).

    Raises:
        MethodUnavailable: the network has no such first layer.
        InvalidParameter: a filter, row or column that does not exist.
    """
    if parameters["layer"] == "journey":
        return _journey(look)
    layer, seen = look.subject.taps.first, look.seen
    if layer is None or seen.entered is None or seen.convolved is None or seen.activated is None:
        raise MethodUnavailable(NO_FIRST_LAYER)
    shown = seen.activated[:_MOST_MAPS]
    chosen = _chosen(parameters, seen.activated)
    can_step = layer.kernels.shape[2] <= MAX_KERNEL_PX
    low, high = float(shown.min()), float(shown.max())
    filters = [
        {
            "kernel": _listed(kernel) if can_step else None,
            "bias": round(float(bias), _DIGITS),
            "mean": round(float(maps.mean()), _DIGITS),
            "maximum": round(float(maps.max()), _DIGITS),
            "picture": data_url(_small(gray(maps, low, high))),
        }
        for kernel, bias, maps in zip(layer.kernels, layer.bias, shown, strict=False)
    ]
    about = {
        "filters": len(layer.kernels),
        "channels": layer.kernels.shape[1],
        "kernel_px": layer.kernels.shape[2],
        "stride": layer.stride,
        "padding": layer.padding,
        "activation": layer.activation or None,
        "input": list(seen.entered.shape),
        "output": list(seen.activated.shape),
    }
    answer = {
        "layer": about,
        "range": [round(low, _DIGITS), round(high, _DIGITS)],
        "filters": filters,
        "patch": _patch(layer, seen.entered, seen.convolved, seen.activated, chosen) if can_step else None,
        "proof": _proof(layer, seen.entered, seen.convolved, chosen),
    }
    return answer, lambda: contact_sheet([gray(maps, low, high) for maps in shown])


def _chosen(parameters: dict[str, Any], activated: Maps) -> tuple[int, int, int]:
    """The filter, row and column that were asked for; by default the strongest filter, where it is strongest."""
    filters, rows, columns = activated.shape
    given = parameters["filter"], parameters["row"], parameters["column"]
    for name, value, count in zip(("filter", "row", "column"), given, (filters, rows, columns), strict=True):
        if value is not None and value >= count:
            raise InvalidParameter(f"{name} is {value}; the first layer has {count}, counted from 0.")
    index = int(activated.mean(axis=(1, 2)).argmax()) if given[0] is None else given[0]
    row, column = (int(place) for place in np.unravel_index(activated[index].argmax(), (rows, columns)))
    return index, row if given[1] is None else given[1], column if given[2] is None else given[2]


def _patch(
    layer: FirstLayer, entered: Maps, convolved: Maps, activated: Maps, chosen: tuple[int, int, int]
) -> dict[str, Any]:
    """The part of the input under 6×6 cells around the chosen one, padding included, and the engine's answer."""
    index, row, column = chosen
    rows, columns = (min(_PATCH, side) for side in convolved.shape[1:])
    top = min(max(0, row - rows // 2), convolved.shape[1] - rows)
    left = min(max(0, column - columns // 2), convolved.shape[2] - columns)
    height, width = ((cells - 1) * layer.stride + layer.kernels.shape[2] for cells in (rows, columns))
    padded, before = _padded(layer, entered)
    begin_y, begin_x = top * layer.stride, left * layer.stride
    return {
        "filter": index,
        "row": row - top,
        "column": column - left,
        "top": begin_y - before,
        "left": begin_x - before,
        "input": _listed(padded[:, begin_y : begin_y + height, begin_x : begin_x + width]),
        "kernel": _listed(layer.kernels[index]),
        "bias": round(float(layer.bias[index]), _DIGITS + 2),
        "stride": layer.stride,
        "convolved": _listed(convolved[index, top : top + rows, left : left + columns]),
        "activated": _listed(activated[index, top : top + rows, left : left + columns]),
    }


def _proof(layer: FirstLayer, entered: Maps, convolved: Maps, chosen: tuple[int, int, int]) -> dict[str, Any]:
    """The chosen filter's whole map by `vision.convolution`, against the engine's."""
    index, row, column = chosen
    one = slice(index, index + 1)
    textbook = conv2d(
        entered.astype(np.float64),
        layer.kernels[one].astype(np.float64),
        layer.bias[one].astype(np.float64),
        layer.stride,
        layer.padding,
    )[0]
    return {
        "cells": textbook.size,
        "textbook": round(float(textbook[row, column]), _DIGITS + 2),
        "engine": round(float(convolved[index, row, column]), _DIGITS + 2),
        "largest_difference": float(f"{np.abs(textbook - convolved[index]).max():.3g}"),
    }


def _padded(layer: FirstLayer, entered: Maps) -> tuple[Maps, int]:
    """The input (C, H, W) with its padding, and how many pixels of it lie above and to the left."""
    window = layer.kernels.shape[2]
    around = [padding_px(side, window, layer.stride, layer.padding) for side in entered.shape[1:]]
    return np.pad(entered, [(0, 0), *around]), around[0][0]


def _journey(look: Look) -> tuple[dict[str, Any], Drawn]:
    """The strongest maps of each size, then the mean, the logits and the probabilities."""
    subject, seen = look.subject, look.seen
    stages = []
    pictures = []
    for maps in seen.stages:
        order = np.argsort(-np.abs(maps).mean(axis=(1, 2)), kind="stable")[:_STRONGEST]
        low, high = float(maps[order].min()), float(maps[order].max())
        drawn = [_small(gray(maps[channel], low, high)) for channel in order]
        pictures.append(drawn)
        stages.append(
            {
                "channels": maps.shape[0],
                "height": maps.shape[1],
                "width": maps.shape[2],
                "maps": [
                    {
                        "channel": int(channel),
                        "mean": round(float(maps[channel].mean()), _DIGITS),
                        "picture": data_url(one),
                    }
                    for channel, one in zip(order, drawn, strict=True)
                ],
            }
        )
    scores = subject.scores(seen.logits)
    best = np.argsort(-seen.logits, kind="stable")[:5]
    means = None
    if subject.exact and seen.last is not None:
        values = seen.last.mean(axis=(1, 2))
        means = [
            {"channel": int(channel), "value": round(float(values[channel]), _DIGITS)}
            for channel in np.argsort(-values, kind="stable")[:_STRONGEST]
        ]
    answer = {
        "stages": stages,
        "means": means,
        "temperature": subject.bundle.manifest.temperature,
        "outputs": [
            {
                "label": subject.categories[index],
                "logit": round(float(seen.logits[index]), _DIGITS),
                "score": round(float(scores[index]), 6),
            }
            for index in best
        ],
    }
    every = [picture.resize((_MAP_PX, _MAP_PX), Image.Resampling.NEAREST) for row in pictures for picture in row]
    return answer, lambda: contact_sheet(every)


def _small(picture: Image.Image) -> Image.Image:
    picture.thumbnail((_MAP_PX, _MAP_PX), Image.Resampling.BOX)
    return picture


def _listed(values: npt.NDArray[np.floating]) -> Any:
    """Nested lists of the float32 values, which JSON's numbers hold exactly."""
    return values.astype(np.float64).round(_DIGITS + 2).tolist()
