"""Small images on which a filter's work can be followed number by number, 8×8 with values 0 to 9."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
SIDE_PX = 8
BRIGHT = 9.0


class Pattern(NamedTuple):
    """One image.

    Attributes:
        pixels: (8, 8), 0 (dark) to 9 (bright).
        shows: what it is, in a few words.
    """

    pixels: Array
    shows: str


def _drawn(is_bright: Callable[[Array, Array], npt.NDArray[np.bool_]], shows: str) -> Pattern:
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX].astype(np.float64)
    return Pattern(np.where(is_bright(rows, columns), BRIGHT, 0.0), shows)


def _noise() -> Array:
    return np.random.default_rng(0).integers(0, int(BRIGHT) + 1, (SIDE_PX, SIDE_PX)).astype(np.float64)


PATTERNS: Mapping[str, Pattern] = {
    "vertical_edge": _drawn(lambda row, column: column >= 4, "dark on the left, bright on the right"),
    "horizontal_edge": _drawn(lambda row, column: row >= 4, "dark above, bright below"),
    "diagonal": _drawn(lambda row, column: abs(row - column) <= 0.5, "a line from corner to corner"),
    "box": _drawn(lambda row, column: np.maximum(abs(row - 3.5), abs(column - 3.5)) <= 1.5, "a bright square"),
    "cross": _drawn(lambda row, column: np.minimum(abs(row - 3.5), abs(column - 3.5)) <= 0.5, "two crossing bars"),
    "gradient": Pattern(
        np.tile(np.arange(SIDE_PX, dtype=np.float64), (SIDE_PX, 1)), "brightness that grows by one per column"
    ),
    "noise": Pattern(_noise(), "random values, the same each time"),
}
