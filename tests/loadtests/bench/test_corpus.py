"""The photos of the benchmark: which files of a folder are taken."""

from pathlib import Path

import pytest
from PIL import Image

from loadtests.bench.corpus import photos


def test_files_that_cannot_be_decoded_and_gray_ones_are_left_out(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "b.jpg")
    Image.new("RGB", (8, 8), "blue").save(tmp_path / "a.png")
    Image.new("L", (8, 8)).save(tmp_path / "gray.jpg")
    (tmp_path / "text.jpg").write_text("no image")
    found = photos(tmp_path)
    assert list(found) == ["a.png", "b.jpg"]
    assert found["b.jpg"] == (tmp_path / "b.jpg").read_bytes()


def test_a_folder_without_a_usable_photo_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(ValueError, match="holds no colour image that can be decoded"):
        photos(tmp_path)


def test_without_a_folder_they_are_rendered_and_the_same_each_time() -> None:
    first = photos(None)
    assert len(first) >= 16
    assert first == photos(None)
