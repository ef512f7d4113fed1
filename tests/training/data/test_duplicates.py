"""The same picture twice: equal bytes are grouped, look-alikes are paired."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from training.data.duplicates import Look, identical, nearly_identical
from training.data.folder import list_images
from training.data.scan import FileRecord, examine

Encoder = Callable[..., bytes]
# Nothing is kept between runs, and a slow machine is no failure.
quick = settings(database=None, deadline=None, max_examples=60)


def picture(seed: int, width: int = 96, height: int = 96) -> Image.Image:
    """Smooth patches of colour, others for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def examined(root: Path, files: dict[str, bytes]) -> dict[str, FileRecord]:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    (root / "empty").mkdir(exist_ok=True)
    return {record.file.path: record for record in examine(list_images(root))}


def compared(records: list[FileRecord]) -> tuple[list[str], list[Look | None]]:
    return [record.sha256 for record in records], [record.picture and record.picture.look for record in records]


def pairs(records: dict[str, FileRecord]) -> list[tuple[str, str]]:
    names = list(records)
    return [(names[one], names[other]) for one, other in nearly_identical(*compared(list(records.values())))]


def test_identical_files_are_grouped_wherever_they_lie(tmp_path: Path, encoded: Encoder) -> None:
    one, other = encoded(picture(1), "PNG"), encoded(picture(2), "PNG")
    records = examined(
        tmp_path,
        {"a/1.png": one, "a/2.png": other, "b/1.png": one, "b/2.png": one, "b/3.png": encoded(picture(3), "PNG")},
    )
    names = list(records)
    groups = identical([record.sha256 for record in records.values()])
    assert [[names[index] for index in group] for group in groups] == [["a/1.png", "b/1.png", "b/2.png"]]


def test_a_copy_that_was_scaled_compressed_or_brightened_is_nearly_identical(tmp_path: Path, encoded: Encoder) -> None:
    original = picture(0)
    files = {f"other/{seed}.png": encoded(picture(seed), "PNG") for seed in range(1, 30)}
    files |= {
        "a/original.png": encoded(original, "PNG"),
        "b/brighter.png": encoded(ImageEnhance.Brightness(original).enhance(1.03), "PNG"),
        "c/compressed.jpg": encoded(original, "JPEG", quality=60),
        "d/smaller.webp": encoded(original.resize((64, 64)), "WEBP", quality=80),
    }
    four = ["a/original.png", "b/brighter.png", "c/compressed.jpg", "d/smaller.webp"]
    found = pairs(examined(tmp_path, files))
    assert found == [(one, other) for index, one in enumerate(four) for other in four[index + 1 :]]


def test_identical_files_and_mirrored_or_darker_pictures_are_not_nearly_identical(
    tmp_path: Path, encoded: Encoder
) -> None:
    original = encoded(picture(0), "PNG")
    files = {
        "a/1.png": original,
        "a/2.png": original,
        "b/mirrored.png": encoded(picture(0).transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG"),
        "c/darker.png": encoded(ImageEnhance.Brightness(picture(0)).enhance(0.7), "PNG"),
    }
    assert pairs(examined(tmp_path, files)) == []


def test_flat_images_are_not_nearly_identical_and_broken_files_are_not_compared(
    tmp_path: Path, encoded: Encoder
) -> None:
    files = {f"a/{gray}.png": encoded(Image.new("L", (40, 40), gray), "PNG") for gray in (120, 121, 122)}
    files |= {"b/1.jpg": b"a letter", "b/2.jpg": b"another letter"}
    assert pairs(examined(tmp_path, files)) == []


def pairs_of(*looks: Look) -> list[tuple[int, int]]:
    """The near-duplicates among files with these looks, all with different bytes."""
    return nearly_identical([str(number) for number in range(len(looks))], looks)


THUMBNAIL = np.random.default_rng(0).integers(20, 200, (16, 16, 3), dtype=np.uint8)


@quick
@given(st.integers(0, 2**64 - 1), st.sets(st.integers(0, 63), max_size=8))
def test_hashes_at_most_3_bits_apart_are_found_and_others_are_not(bits: int, flipped: set[int]) -> None:
    changed = bits ^ sum(1 << bit for bit in flipped)
    found = pairs_of(Look(bits, THUMBNAIL), Look(changed, THUMBNAIL))
    assert found == ([(0, 1)] if len(flipped) <= 3 else [])


@pytest.mark.parametrize("flipped", [(15, 16, 32), (0, 31, 63), (8, 47, 48), (20, 40, 60)])
def test_3_bits_are_found_in_whichever_quarters_of_the_hash_they_lie(flipped: tuple[int, ...]) -> None:
    changed = sum(1 << bit for bit in flipped)
    assert pairs_of(Look(0, THUMBNAIL), Look(changed, THUMBNAIL)) == [(0, 1)]


def test_thumbnails_may_be_8_steps_apart_whichever_is_the_brighter() -> None:
    alike, too_far = THUMBNAIL + np.uint8(8), THUMBNAIL + np.uint8(9)
    for pair, expected in (((THUMBNAIL, alike), [(0, 1)]), ((alike, THUMBNAIL), [(0, 1)]), ((THUMBNAIL, too_far), [])):
        assert pairs_of(*(Look(5, thumbnail) for thumbnail in pair)) == expected


def test_a_pair_is_reported_once_and_by_the_lower_index_first() -> None:
    assert pairs_of(*[Look(5, THUMBNAIL)] * 3) == [(0, 1), (0, 2), (1, 2)]


def test_more_look_alikes_than_can_be_paired_are_passed_over() -> None:
    assert pairs_of(*[Look(5, THUMBNAIL)] * 501, *[Look(2**64 - 6, THUMBNAIL)] * 2) == [(501, 502)]
