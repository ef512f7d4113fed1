"""Which files a data folder holds, and arrays that do not have to fit into memory."""

from pathlib import Path

import pytest

from training.data.folder import PARTS, DataError, LabelledFile, list_images


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
    listing = list_images(
        touch(tmp_path, *(f"{part}/{category}/a.png" for part in PARTS for category in ("cat", "dog")))
    )
    assert listing.categories == ("cat", "dog")
    assert [(file.path, file.category, file.part) for file in listing.files] == [
        (f"{part}/{category}/a.png", category, part) for part in ("test", "train", "val") for category in ("cat", "dog")
    ]


def test_a_category_that_only_one_part_has_is_listed(tmp_path: Path) -> None:
    assert list_images(touch(tmp_path, "train/cat/a.png", "val/cat/b.png", "test/dog/c.png")).categories == (
        "cat",
        "dog",
    )


def test_train_and_val_without_test_are_refused_with_a_reason(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/a.png", "train/dog/a.png", "val/cat/b.png", "val/dog/b.png")
    with pytest.raises(DataError, match=r"no test/; add it"):
        list_images(tmp_path)


def test_train_may_be_the_name_of_a_category(tmp_path: Path) -> None:
    listing = list_images(touch(tmp_path, "train/a.png", "bus/a.png"))
    assert listing.categories == ("bus", "train")
    assert [file.part for file in listing.files] == [None, None]


def test_no_folder_and_fewer_than_two_categories_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is not a folder"):
        list_images(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"a\.png is not a folder"):
        list_images(touch(tmp_path, "cat/a.png") / "cat" / "a.png")
    with pytest.raises(DataError, match=r"holds 1 category folders; training needs at least two"):
        list_images(tmp_path)
