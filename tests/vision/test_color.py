"""Equal to scikit-image; the tolerances say by how much the two may differ."""

import numpy as np
import pytest
from skimage import color as reference

from vision.color import gray_to_rgb, hsv_to_rgb, lab_to_rgb, rgb_to_gray, rgb_to_hsv, rgb_to_lab

# Every corner and edge of the cube, grays, and colours in between.
STEPS = np.linspace(0, 1, 18)
CUBE = np.stack(np.meshgrid(STEPS, STEPS, STEPS), axis=-1).reshape(-1, 18, 3)


@pytest.mark.parametrize(
    ("ours", "theirs", "tolerance"),
    [
        (rgb_to_gray, reference.rgb2gray, 1e-12),
        (rgb_to_hsv, reference.rgb2hsv, 1e-12),
        (rgb_to_lab, reference.rgb2lab, 1e-3),
    ],
    ids=["gray", "hsv", "lab"],
)
def test_it_is_scikit_images(ours, theirs, tolerance):
    """LAB within 0.001: scikit-image rounds the constants of the cube root's straight line to four digits."""
    assert np.abs(ours(CUBE) - theirs(CUBE)).max() <= tolerance


@pytest.mark.parametrize(
    ("ours", "theirs", "colours", "tolerance"),
    [(hsv_to_rgb, reference.hsv2rgb, rgb_to_hsv(CUBE), 1e-12), (lab_to_rgb, reference.lab2rgb, rgb_to_lab(CUBE), 1e-4)],
    ids=["hsv", "lab"],
)
def test_the_way_back_is_scikit_images_and_gives_the_colour_again(ours, theirs, colours, tolerance):
    assert np.abs(ours(colours) - theirs(colours)).max() <= tolerance
    assert np.abs(ours(colours) - CUBE).max() <= 1e-6


def test_known_colours_by_hand():
    assert rgb_to_hsv([0.0, 1.0, 0.0]).tolist() == pytest.approx([1 / 3, 1.0, 1.0])
    assert rgb_to_hsv([0.5, 0.5, 0.5]).tolist() == [0.0, 0.0, 0.5]
    assert rgb_to_lab([1.0, 1.0, 1.0]).tolist() == pytest.approx([100.0, 0.0, 0.0], abs=0.01)
    assert rgb_to_lab([1.0, 0.0, 0.0]).tolist() == pytest.approx([53.24, 80.09, 67.20], abs=0.02)
    assert rgb_to_gray([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]).tolist() == pytest.approx([1.0, 0.0])


def test_gray_gets_three_equal_channels():
    gray = np.array([[0.0, 0.25], [0.5, 1.0]])
    rgb = gray_to_rgb(gray)
    assert rgb.shape == (2, 2, 3)
    assert all(np.array_equal(rgb[..., channel], gray) for channel in range(3))
    assert np.allclose(rgb_to_gray(rgb), gray)


@pytest.mark.parametrize("convert", [rgb_to_gray, rgb_to_hsv, hsv_to_rgb, rgb_to_lab, lab_to_rgb])
def test_something_else_than_three_channels_is_refused(convert):
    with pytest.raises(ValueError, match=r"three values.*\(4, 4\)"):
        convert(np.zeros((4, 4)))
