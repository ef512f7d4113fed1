import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.datasets import DataError, find_images, load_images, stratified_split
from vision.preprocessing import Preprocessing

SMALL = Preprocessing.zero_one(8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two categories of 20 and 12 different images."""
    generator = np.random.default_rng(0)
    for category, count in (("10", 20), ("2", 12)):
        (tmp_path / category).mkdir()
        for index in range(count):
            Image.fromarray(generator.integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(tmp_path / category / f"{index}.png")
    return tmp_path


def test_categories_are_sorted_by_code_point_and_hidden_files_left_out(folder: Path) -> None:
    (folder / ".cache").mkdir()
    (folder / "2" / ".DS_Store").write_bytes(b"x")
    found = find_images(folder)
    assert found.categories == ("10", "2")
    assert len(found.files) == 32
    assert found.labels.tolist() == [0] * 20 + [1] * 12


def test_a_split_is_disjoint_complete_and_stratified(folder: Path) -> None:
    found = find_images(folder)
    split = stratified_split(found, 0.25, 0.25, seed=3)
    assert sorted(np.concatenate([split.train, split.val, split.test])) == list(range(32))
    for part, counts in ((split.train, [10, 6]), (split.val, [5, 3]), (split.test, [5, 3])):
        assert np.bincount(found.labels[part]).tolist() == counts


def test_a_split_depends_on_seed_and_bytes_but_not_on_file_names(folder: Path) -> None:
    def test_digests(seed: int) -> set[str]:
        found = find_images(folder)
        return {found.digests[index] for index in stratified_split(found, 0.2, 0.2, seed).test}

    before, other_seed = test_digests(0), test_digests(1)
    for number, file in enumerate(sorted(folder.rglob("*.png"), reverse=True)):
        file.rename(file.with_name(f"renamed-{number}.png"))
    assert test_digests(0) == before
    assert other_seed != before


def test_a_category_too_small_for_three_parts_is_named(folder: Path) -> None:
    for file in sorted((folder / "2").iterdir())[2:]:
        file.unlink()
    with pytest.raises(DataError, match=r"'2' has 2 images; it needs at least 3"):
        stratified_split(find_images(folder), 0.2, 0.2, seed=0)


def test_no_folder_one_category_and_an_empty_category_are_refused_by_name(folder: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        find_images(folder / "nowhere")
    (folder / "zebra").mkdir()
    with pytest.raises(DataError, match="zebra"):
        find_images(folder)
    shutil.rmtree(folder / "zebra")
    shutil.rmtree(folder / "2")
    with pytest.raises(DataError, match="at least two"):
        find_images(folder)


def test_loading_is_the_decoder_and_the_geometry_that_serve(folder: Path) -> None:
    from vision.image import DecodeLimits, decode

    found = find_images(folder)
    images = load_images(found, SMALL)
    assert images.images.shape == (32, 8, 8, 3)
    assert np.array_equal(images.images[5], SMALL.apply(decode(found.files[5].read_bytes(), DecodeLimits())))


def test_every_file_that_cannot_be_decoded_is_named_with_its_reason(folder: Path) -> None:
    (folder / "2" / "text.jpg").write_text("not a photo")
    whole = (folder / "2" / "0.png").read_bytes()
    (folder / "2" / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError) as refused:
        load_images(find_images(folder), SMALL)
    assert "text.jpg: not_an_image" in str(refused.value)
    assert "cut.png: truncated" in str(refused.value)


def test_many_images_live_in_a_file_instead_of_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_images(folder)
    in_memory = load_images(found, SMALL).images
    monkeypatch.setattr("training.datasets.IN_MEMORY_BYTES", 1000)
    on_disk = load_images(found, SMALL).images
    assert isinstance(on_disk, np.memmap)
    assert np.array_equal(on_disk, in_memory)


def test_the_fingerprint_follows_content_and_category(folder: Path) -> None:
    before = find_images(folder).fingerprint()
    (folder / "2" / "0.png").rename(folder / "2" / "z.png")
    assert find_images(folder).fingerprint() == before
    (folder / "2" / "z.png").rename(folder / "10" / "z.png")
    assert find_images(folder).fingerprint() != before
