"""The picture that lets a person see what augmentation does to training images."""

import io

import numpy as np
import pytest
from PIL import Image

from training.data.augmentation import augmentation
from training.data.contact_sheet import COLUMNS, ROWS, contact_sheet
from training.data.images import ImageSet
from vision.preprocessing import Preprocessing

SIDE_PX, GAP_PX = 16, 2
RGB = Preprocessing.imagenet(SIDE_PX, SIDE_PX)
GRAY = Preprocessing.minus_one_one(SIDE_PX, channels=1)


def images(count: int, channels: int = 3) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (count, SIDE_PX, SIDE_PX, channels), dtype=np.uint8)
    return ImageSet(pixels, np.arange(count) % 2)


def sheet(train: ImageSet, preprocessing: Preprocessing, names: str, seed: int = 0) -> Image.Image:
    data = contact_sheet(train, preprocessing, augmentation(names), 2, seed)
    picture = Image.open(io.BytesIO(data))
    assert picture.format == "PNG"
    return picture


def cell(picture: Image.Image, row: int, column: int) -> np.ndarray:
    left, top = column * (SIDE_PX + GAP_PX), row * (SIDE_PX + GAP_PX)
    return (
        np.asarray(picture.crop((left, top, left + SIDE_PX, top + SIDE_PX))).astype(int).reshape(SIDE_PX, SIDE_PX, -1)
    )


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (5, 5), (8, 8), (50, 8)])
def test_a_row_for_each_of_up_to_8_images_and_8_columns(count: int, rows: int) -> None:
    picture = sheet(images(count), RGB, "photos")
    assert picture.size == (COLUMNS * (SIDE_PX + GAP_PX), rows * (SIDE_PX + GAP_PX))
    assert picture.mode == "RGB"
    assert (ROWS, COLUMNS) == (8, 8)


@pytest.mark.parametrize(("preprocessing", "channels"), [(RGB, 3), (GRAY, 1)], ids=["RGB", "gray"])
@pytest.mark.parametrize("names", ["photos", "trivialaugment+characters+erasing", "flip+cutmix", "none"])
def test_the_first_column_is_the_images_as_they_are_from_the_first_to_the_last(
    preprocessing: Preprocessing, channels: int, names: str
) -> None:
    train = images(50, channels)
    picture = sheet(train, preprocessing, names)
    for row, index in enumerate((0, 7, 14, 21, 28, 35, 42, 49)):
        assert np.abs(cell(picture, row, 0) - train.images[index]).max() <= 1


@pytest.mark.parametrize(("preprocessing", "channels"), [(RGB, 3), (GRAY, 1)], ids=["RGB", "gray"])
def test_the_other_columns_are_each_augmented_in_their_own_way(preprocessing: Preprocessing, channels: int) -> None:
    picture = sheet(images(8, channels), preprocessing, "photos")
    for row in range(8):
        cells = [cell(picture, row, column) for column in range(COLUMNS)]
        apart = [np.abs(one - other).mean() for index, one in enumerate(cells) for other in cells[index + 1 :]]
        assert min(apart) > 5


def test_what_changes_pixels_before_they_are_normalised_is_shown_too() -> None:
    picture = sheet(images(8), RGB, "trivialaugment")
    for row in range(8):
        original, *others = (cell(picture, row, column) for column in range(COLUMNS))
        assert max(np.abs(other - original).mean() for other in others) > 5


def test_without_augmentation_every_column_is_the_same() -> None:
    picture = sheet(images(3), RGB, "none")
    assert all(
        np.array_equal(cell(picture, row, column), cell(picture, row, 0))
        for row in range(3)
        for column in range(COLUMNS)
    )


def test_one_channel_gives_a_gray_picture_with_white_gaps() -> None:
    picture = sheet(images(4, 1), GRAY, "photos")
    assert picture.mode == "L"
    pixels = np.asarray(picture)
    gaps = [index for index in range(pixels.shape[0]) if index % (SIDE_PX + GAP_PX) >= SIDE_PX]
    assert (pixels[gaps] == 255).all()


def test_one_seed_gives_the_same_bytes_and_another_gives_others() -> None:
    train, photos = images(4), augmentation("photos+trivialaugment+erasing+mixup")
    first, again, other = (contact_sheet(train, RGB, photos, 2, seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_the_training_images_are_left_as_they_are() -> None:
    train = images(4)
    before = train.images.copy()
    contact_sheet(train, RGB, augmentation("photos+randaugment+erasing"), 2, 0)
    assert np.array_equal(train.images, before)
