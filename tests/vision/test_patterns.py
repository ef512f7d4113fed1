"""The small images on which a filter is followed by hand: each is what its name says, and the same each time."""

import subprocess
import sys

import numpy as np
import pytest

from vision.patterns import BRIGHT, PATTERNS, SIDE_PX

CODE = "from vision.patterns import PATTERNS; print(PATTERNS['noise'].pixels.astype(int).tolist())"


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_is_8_by_8_with_values_that_one_digit_can_write(name):
    pixels, shows = PATTERNS[name]
    assert pixels.shape == (SIDE_PX, SIDE_PX) == (8, 8)
    assert pixels.dtype == np.float64
    assert np.isfinite(pixels).all()
    assert pixels.min() >= 0
    assert pixels.max() <= BRIGHT == 9
    assert (pixels == pixels.astype(int)).all()
    assert pixels.min() < pixels.max(), "an even area would show nothing"
    assert shows.strip() == shows != ""


def test_no_two_patterns_are_the_same():
    assert len({pixels.tobytes() for pixels, _ in PATTERNS.values()}) == len(PATTERNS)
    assert len({shows for _, shows in PATTERNS.values()}) == len(PATTERNS)


def test_the_edges_lie_in_the_middle_and_are_each_other_turned():
    vertical, horizontal = PATTERNS["vertical_edge"].pixels, PATTERNS["horizontal_edge"].pixels
    assert np.array_equal(vertical, horizontal.T)
    assert vertical.tolist() == [[0, 0, 0, 0, 9, 9, 9, 9]] * 8


@pytest.mark.parametrize("name", ["diagonal", "box", "cross"])
def test_what_is_drawn_lies_in_the_middle(name):
    pixels = PATTERNS[name].pixels
    assert np.array_equal(pixels, pixels.T)
    assert np.array_equal(pixels, pixels[::-1, ::-1])
    assert int((pixels > 0).sum()) == {"diagonal": 8, "box": 16, "cross": 28}[name]


def test_the_gradient_grows_by_one_per_column():
    pixels = PATTERNS["gradient"].pixels
    assert (np.diff(pixels, axis=1) == 1).all()
    assert not np.diff(pixels, axis=0).any()


def test_the_noise_uses_the_whole_range_and_is_the_same_in_every_process():
    pixels = PATTERNS["noise"].pixels
    assert (pixels.min(), pixels.max()) == (0, 9)
    assert len(np.unique(pixels)) >= 8
    child = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == str(pixels.astype(int).tolist())
