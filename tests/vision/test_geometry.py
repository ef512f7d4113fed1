"""Where the network's square lies on the image, found out with images whose pixels say where they came from."""

import numpy as np
import pytest

from vision.geometry import seen
from vision.preprocessing import Preprocessing

SIDE = 32
GEOMETRIES = {
    "crop": {"policy": "crop", "resize_px": SIDE},
    "crop from more": {"policy": "crop", "resize_px": 41},
    "pad": {"policy": "pad", "resize_px": SIDE},
    "pad with a margin": {"policy": "pad", "resize_px": 25},
    "squash": {"policy": "squash", "resize_px": SIDE},
    "squash and cut": {"policy": "squash", "resize_px": 39},
}
# (width, height): at most 256, so that a pixel's value can be its own column or row. Two are longer than 16:1.
SIZES = [(120, 80), (80, 120), (101, 101), (32, 32), (20, 13), (13, 20), (250, 31), (31, 250), (251, 8), (8, 251)]


def preprocessing_of(name, **changes):
    return Preprocessing.zero_one(SIDE, **GEOMETRIES[name], **changes)


def steps_of(box, size):
    """How many pixels of the image one pixel of the square takes, across and down."""
    return (box[2] - box[0]) / size, (box[3] - box[1]) / size


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_pixel_of_the_square_comes_from_where_the_box_says(name, size, antialias):
    """Red is the column and green the row of the pixel; blue marks the image, where the rest is filled up."""
    width, height = size
    image = np.full((height, width, 3), 255, np.uint8)
    image[..., 0], image[..., 1] = np.arange(width), np.arange(height)[:, None]
    preprocessing = preprocessing_of(name, antialias=antialias)
    square = preprocessing.apply(image).astype(float)
    left, top, right, bottom = seen(preprocessing, width, height)
    across, down = steps_of((left, top, right, bottom), SIDE)
    columns = left + (np.arange(SIDE) + 0.5) * across - 0.5
    rows = top + (np.arange(SIDE) + 0.5) * down - 0.5
    compared = 0
    for plane, expected, step, side in ((0, columns[None, :], across, width), (1, rows[:, None], down, height)):
        expected = np.broadcast_to(expected, (SIDE, SIDE))
        # At the edge of what is read an average has fewer pixels on one side.
        margin = max(step, 1)
        inside = (expected > margin) & (expected < side - 1 - margin) & (square[..., 2] == 255)
        assert np.abs(square[..., plane] - expected)[inside].max(initial=0) <= 0.51, "but for rounding"
        compared += inside.sum()
    assert compared > 0


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize(
    "size", [(900, 600), (600, 900), (1000, 40), (40, 1000), (1601, 100), (100, 1601), (3000, 75), (75, 3001)], ids=str
)
@pytest.mark.parametrize("at", [(0.3, 0.7), (0.5, 0.5), (0.72, 0.26)], ids=str)
def test_a_marked_block_is_found_in_the_square_and_mapped_back_onto_itself(name, size, at):
    width, height = size
    preprocessing = preprocessing_of(name)
    box = seen(preprocessing, width, height)
    across, down = steps_of(box, SIDE)
    # The block lies in the part of the image that the square shows, and is at least five pixels of it wide if it can.
    view = max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)
    wide, high = (max(1, min(round(5 * step), round(side / 3))) for step, side in ((across, width), (down, height)))
    left = round(view[0] + at[0] * (view[2] - view[0]) - wide / 2)
    top = round(view[1] + at[1] * (view[3] - view[1]) - high / 2)
    image = np.zeros((height, width, 3), np.uint8)
    image[top : top + high, left : left + wide] = 255
    weights = preprocessing.apply(image)[..., 0].astype(float)
    assert weights.max() > 0
    found_x = (weights.sum(axis=0) @ (np.arange(SIDE) + 0.5)) / weights.sum()
    found_y = (weights.sum(axis=1) @ (np.arange(SIDE) + 0.5)) / weights.sum()
    # A side that is scaled to a few pixels of the square tells a place no better than to half of one.
    near_x, near_y = (0.2 if side / step >= 8 else 0.5 for step, side in ((across, width), (down, height)))
    assert abs(box[0] + found_x * across - (left + wide / 2)) < near_x * across
    assert abs(box[1] + found_y * down - (top + high / 2)) < near_y * down


@pytest.mark.parametrize("size", [(90, 60), (60, 90), (61, 90), (7, 7), (400, 20), (20, 401)], ids=str)
def test_a_crop_and_a_squash_lie_inside_the_image_and_a_padded_square_around_it(size):
    width, height = size
    for name in ("crop", "crop from more", "squash", "squash and cut"):
        left, top, right, bottom = seen(preprocessing_of(name), width, height)
        assert left >= -1e-9
        assert top >= -1e-9
        assert right <= width + 1e-9
        assert bottom <= height + 1e-9
    assert seen(preprocessing_of("squash"), width, height) == (0, 0, width, height)
    left, top, right, bottom = seen(preprocessing_of("pad with a margin"), width, height)
    assert left < 0
    assert top < 0
    assert right > width
    assert bottom > height


@pytest.mark.parametrize("name", ["pad", "pad with a margin"])
@pytest.mark.parametrize("size", [(120, 80), (80, 121), (101, 101), (250, 31), (9, 200), (3000, 40)], ids=str)
def test_the_paper_begins_where_the_box_leaves_the_image(name, size):
    width, height = size
    preprocessing = preprocessing_of(name, fill=9)
    square = preprocessing.apply(np.full((height, width, 3), 200, np.uint8))
    box = seen(preprocessing, width, height)
    across, down = steps_of(box, SIDE)
    centres_x, centres_y = box[0] + (np.arange(SIDE) + 0.5) * across, box[1] + (np.arange(SIDE) + 0.5) * down
    on_image = ((centres_x > 0) & (centres_x < width))[None, :] & ((centres_y > 0) & (centres_y < height))[:, None]
    assert np.array_equal(square[..., 0] == 200, on_image)
    assert np.array_equal(square[..., 0] == 9, ~on_image)


def test_worked_squares():
    half = Preprocessing.imagenet(256, 224)
    # 500×400: the short side becomes 256, so that one pixel of the square is 400 ÷ 256 = 1.5625 of the image.
    assert seen(half, 500, 400) == pytest.approx((75, 25, 425, 375))
    assert seen(Preprocessing.zero_one(100, policy="pad"), 200, 100) == (0, -50, 200, 150)
    assert seen(Preprocessing.zero_one(100), 300, 50) == (0, 0, 300, 50)
    # 3,200×100 is 32:1: 1,600 columns in the middle are read, of which the square is the middle.
    assert seen(Preprocessing.imagenet(50, 50), 3200, 100) == pytest.approx((1550, 0, 1650, 100))


def test_one_channel_has_the_same_square():
    for name in GEOMETRIES:
        assert seen(preprocessing_of(name, channels=1), 90, 61) == seen(preprocessing_of(name), 90, 61)
