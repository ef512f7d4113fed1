"""Which files a data folder holds, and arrays that do not have to fit into memory."""

from pathlib import Path

import numpy as np
import pytest

from training.data.folder import PARTS, DataError, ImageSet, LabelledFile, allocate, list_images, take


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    return root


def test_categories_are_sorted_by_code_point(tmp_path: Path) -> None:
    listing = list_images(touch(tmp_path, "2/a.png", "10/a.png", "Zebra/a.png", "ant/a.png", "Ärger/a.png"))
    assert listing.categories == ("10", "2", "Zebra", "ant", "Ärger")


def test_files_are_sorted_by_path_and_labelled_by_their_topmost_folder(tmp_path: Path) -> None:
    listing = list_images(touch(tmp_path, "dog/b.png", "dog/2024/may/a.PNG", "cat/z.jpg", "cat/without_a_suffix"))
    assert listing.root == tmp_path
    assert listing.files == (
        LabelledFile("cat/without_a_suffix", "cat"),
        LabelledFile("cat/z.jpg", "cat"),
        LabelledFile("dog/2024/may/a.PNG", "dog"),
        LabelledFile("dog/b.png", "dog"),
    )


def test_hidden_files_hidden_folders_and_files_beside_the_categories_are_left_out(tmp_path: Path) -> None:
    listing = list_images(touch(tmp_path, "cat/a.png", "cat/.DS_Store", "dog/a.png", ".cache/a.png", "labels.csv"))
    assert listing.categories == ("cat", "dog")
    assert [file.path for file in listing.files] == ["cat/a.png", "dog/a.png"]


def test_a_category_without_a_file_is_listed(tmp_path: Path) -> None:
    (tmp_path / "zebra").mkdir()
    assert list_images(touch(tmp_path, "cat/a.png", "dog/a.png")).categories == ("cat", "dog", "zebra")


def test_folders_train_val_and_test_say_the_part(tmp_path: Path) -> None:
    listing = list_images(touch(tmp_path, *(f"{part}/{category}/a.png" for part in PARTS for category in ("cat", "dog"))))
    assert listing.categories == ("cat", "dog")
    assert [(file.path, file.category, file.part) for file in listing.files] == [
        (f"{part}/{category}/a.png", category, part) for part in ("test", "train", "val") for category in ("cat", "dog")
    ]


def test_a_category_that_only_one_part_has_is_listed(tmp_path: Path) -> None:
    assert list_images(touch(tmp_path, "train/cat/a.png", "val/cat/b.png", "test/dog/c.png")).categories == ("cat", "dog")


def test_train_and_val_without_test_are_refused_with_a_reason(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/a.png", "train/dog/a.png", "val/cat/b.png", "val/dog/b.png")
    with pytest.raises(DataError, match=r"no test/; add it"):
        list_images(tmp_path)


def test_train_may_be_the_name_of_a_category(tmp_path: Path) -> None:
    listing = list_images(touch(tmp_path, "train/a.png", "bus/a.png"))
    assert listing.categories == ("bus", "train")
    assert [file.part for file in listing.files] == [None, None]


def test_no_folder_and_fewer_than_two_categories_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is no folder"):
        list_images(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"a\.png is no folder"):
        list_images(touch(tmp_path, "cat/a.png") / "cat" / "a.png")
    with pytest.raises(DataError, match=r"holds 1 category folders; training needs at least two"):
        list_images(tmp_path)


def test_an_array_of_the_limit_is_in_memory_and_one_above_it_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.folder.IN_MEMORY_BYTES", 2 * 4 * 4 * 3)
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
    monkeypatch.setattr("training.data.folder.IN_MEMORY_BYTES", 100)
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
