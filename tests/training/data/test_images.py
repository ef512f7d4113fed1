"""Arrays of decoded images, in memory and in files."""

import numpy as np
import pytest

from training.data.images import ImageSet, allocate, take


def test_an_array_of_the_limit_is_in_memory_and_one_above_it_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.images.IN_MEMORY_BYTES", 2 * 4 * 4 * 3)
    small, large = allocate((2, 4, 4, 3)), allocate((3, 4, 4, 3))
    assert not isinstance(small, np.memmap)
    assert isinstance(large, np.memmap)
    for images in (small, large):
        images[:] = 200
        images[1] = 7
        assert images.dtype == np.uint8
        assert images.sum() == 7 * 48 + (len(images) - 1) * 200 * 48


def test_taking_images_copies_them_whether_they_fit_into_memory_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (700, 3, 3, 1), dtype=np.uint8)
    indices = np.random.default_rng(1).permutation(700)[:600]
    in_memory = take(images, indices)
    monkeypatch.setattr("training.data.images.IN_MEMORY_BYTES", 100)
    on_disk = take(images, indices)
    assert isinstance(on_disk, np.memmap)
    assert not isinstance(in_memory, np.memmap)
    assert np.array_equal(in_memory, images[indices])
    assert np.array_equal(on_disk, images[indices])
    in_memory[:], on_disk[:] = 0, 0
    assert images.any()


def test_a_subset_keeps_each_image_with_its_label() -> None:
    whole = ImageSet(np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1), np.arange(6) * 10)
    some = whole.subset(np.array([4, 0, 4]))
    assert len(some) == 3
    assert some.images.ravel().tolist() == [4, 0, 4]
    assert some.labels.tolist() == [40, 0, 40]
