"""Why a network answers as it does: class activation maps, and what changes when a part of the image is covered.

All values are logits, as they leave the network. NumPy only; what a network shows of itself comes from
`vision.engines.taps`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vision.engines.taps import LinearHead, Taps
from vision.image import Pixels
from vision.preprocessing import Preprocessing

Grid = npt.NDArray[np.float64]
# float32: the mean of some 100 values and a sum over some 1,000 channels, in an order that the engine chooses.
_EXACT = 1e-4
_BATCH = 8  # images in one inference; a larger batch only takes more memory


class Covering(NamedTuple):
    """What covering each cell of a grid does.

    Attributes:
        drops: (rows, columns); logits that the target loses while the cell is covered.
        logits: (rows, columns, classes) while the cell is covered.
    """

    drops: Grid
    logits: npt.NDArray[np.float32]


def class_activation(last: npt.NDArray[np.floating], head: LinearHead, label: int, against: int | None = None) -> Grid:
    """What each cell of the last maps adds to a logit; the cells sum to it (Zhou et al., arXiv:1512.04150).

    The bias is spread evenly over the cells.

    Args:
        last: (channels, h, w), whose mean goes into the head.
        head: the linear layer behind it.
        label: index of a category.
        against: of another category. The cells then sum to logit[label] - logit[against].

    Returns:
        (h, w).
    """
    weights, bias = head.weights[label].astype(np.float64), float(head.bias[label])
    if against is not None:
        weights, bias = weights - head.weights[against], bias - float(head.bias[against])
    cells: Grid = (np.tensordot(weights, last.astype(np.float64), axes=1) + bias) / (last.shape[1] * last.shape[2])
    return cells


def is_exact(taps: Taps, images: Sequence[Pixels]) -> bool:
    """Whether the head's weights and the mean of the last maps give the logits of these (H, W, C) images."""
    if taps.head is None or len(images) == 0:
        return False
    for image in images:
        seen = taps.observe(image)
        if seen.last is None or seen.last.shape[0] != taps.head.weights.shape[1]:
            return False
        computed = taps.head.weights @ seen.last.mean(axis=(1, 2)) + taps.head.bias
        apart = np.abs(computed - seen.logits).max()
        if not apart <= _EXACT * max(1.0, float(np.abs(seen.logits).max())):  # a value that is not finite fails, too
            return False
    return True


def occlusion(
    infer: Callable[[Pixels], npt.NDArray[np.float32]],
    square: Pixels,
    cells: int,
    value: Sequence[int],
    label: int,
    against: int | None = None,
) -> Covering:
    """Covers each cell of a grid in turn and watches the logits (Zeiler and Fergus, arXiv:1311.2901).

    Args:
        infer: (N, H, W, C) uint8 → (N, classes) logits.
        square: uint8 (S, S, C), as the network sees it.
        cells: along a side, 1 to S.
        value: with which a cell is covered, one for each channel, 0 to 255.
        label: index of the category whose logit is watched.
        against: of another category; logit[label] - logit[against] is watched then.
    """
    boxes = list(_boxes(square.shape[0], cells))
    rows = [infer(square[None])]
    for start in range(0, len(boxes), _BATCH):
        batch = np.repeat(square[None], min(_BATCH, len(boxes) - start), axis=0)
        for image, (top, bottom, left, right) in zip(batch, boxes[start:], strict=False):
            image[top:bottom, left:right] = value
        rows.append(infer(batch))
    logits = np.concatenate(rows)
    watched = logits[:, label].astype(np.float64)
    if against is not None:
        watched = watched - logits[:, against]
    drops = (watched[0] - watched[1:]).reshape(cells, cells)
    return Covering(drops, logits[1:].reshape(cells, cells, -1))


def cover(image: Pixels, box: tuple[int, int, int, int], value: Sequence[int]) -> Pixels:
    """A copy of an (H, W, 3) image in which box (left, top, width, height) has one colour."""
    left, top, width, height = box
    covered = image.copy()
    covered[top : top + height, left : left + width] = value if len(value) == image.shape[2] else value[0]
    return covered


def neutral(preprocessing: Preprocessing) -> tuple[int, ...]:
    """The value with which to cover, one for each channel, 0 to 255: what says least to the network.

    It is the paper around the image where the preprocessing fills up, else what the normalisation turns into 0.
    """
    if preprocessing.policy == "pad":
        return (preprocessing.fill,) * preprocessing.channels
    return tuple(int(np.clip(round(mean / preprocessing.scale), 0, 255)) for mean in preprocessing.mean)


def _boxes(side: int, cells: int) -> Iterator[tuple[int, int, int, int]]:
    """(top, bottom, left, right) of each cell, row by row; they cover the square without gaps."""
    edges = [round(index * side / cells) for index in range(cells + 1)]
    for row in range(cells):
        for column in range(cells):
            yield edges[row], edges[row + 1], edges[column], edges[column + 1]
