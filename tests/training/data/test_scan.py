"""What one look into every file finds, through the decoder that serves."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from training.data.folder import TRAINING_LIMITS, LabelledFile, list_images
from training.data.scan import FileRecord, examine, identical, nearly_identical
from vision.image import decode

Encoder = Callable[..., bytes]
# Nothing is kept between runs, and a slow machine is no failure.
quick = settings(database=None, deadline=None, max_examples=60)


def picture(seed: int, width: int = 96, height: int = 96) -> Image.Image:
    """Smooth patches of colour, others for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def orientation_tag(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def examined(root: Path, files: dict[str, bytes]) -> dict[str, FileRecord]:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    (root / "empty").mkdir(exist_ok=True)
    return {record.file.path: record for record in examine(list_images(root))}


def pairs(records: dict[str, FileRecord]) -> list[tuple[str, str]]:
    names = list(records)
    return [(names[one], names[other]) for one, other in nearly_identical(list(records.values()))]


def test_what_cannot_be_decoded_gets_the_decoders_code_and_nothing_else(tmp_path: Path, encoded: Encoder) -> None:
    whole = encoded(picture(0), "PNG")
    files = {"cat/text.jpg": b"a letter", "cat/cut.png": whole[: len(whole) // 2], "cat/nothing.jpg": b"", "cat/whole.png": whole}
    records = examined(tmp_path, files)
    for name, code in (("cat/text.jpg", "not_an_image: "), ("cat/cut.png", "truncated: "), ("cat/nothing.jpg", "empty: ")):
        record = records[name]
        assert record.error.startswith(code)
        assert (record.format, record.mode, record.width, record.height, record.thumbnail) == (None, None, 0, 0, None)
        assert (record.sha256, record.size_bytes) == (hashlib.sha256(files[name]).hexdigest(), len(files[name]))
    assert records["cat/whole.png"].error is None


@pytest.mark.parametrize(
    ("mode", "file_format", "stored_mode"),
    [
        ("CMYK", "JPEG", "CMYK"),
        ("L", "JPEG", "L"),
        ("RGB", "WEBP", "RGB"),
        ("RGBA", "PNG", "RGBA"),
        ("P", "PNG", "P"),
        ("1", "PNG", "1"),
        ("P", "GIF", "P"),
        ("RGB", "BMP", "RGB"),
    ],
)
def test_format_and_mode_are_those_of_the_stored_bytes_whatever_the_name(
    tmp_path: Path, encoded: Encoder, mode: str, file_format: str, stored_mode: str
) -> None:
    data = encoded(picture(0, 60, 40).convert(mode), file_format)
    (record,) = examined(tmp_path, {"cat/photo.tiff": data}).values()
    assert (record.format, record.mode, record.width, record.height, record.error) == (file_format, stored_mode, 60, 40, None)
    assert (record.sha256, record.size_bytes, record.orientation) == (hashlib.sha256(data).hexdigest(), len(data), 1)


def test_16_bit_gray_is_its_own_mode(tmp_path: Path, encoded: Encoder) -> None:
    values = np.arange(400, dtype=np.uint16).reshape(20, 20) * 100
    (record,) = examined(tmp_path, {"cat/xray.png": encoded(Image.fromarray(values), "PNG")}).values()
    assert (record.mode, record.error) == ("I;16", None)


def test_a_phone_photo_is_measured_upright(tmp_path: Path, encoded: Encoder) -> None:
    data = encoded(picture(0, 60, 40), "JPEG", exif=orientation_tag(6))
    (record,) = examined(tmp_path, {"cat/phone.jpg": data}).values()
    assert (record.orientation, record.width, record.height) == (6, 40, 60)


def test_records_come_in_the_order_of_the_files(tmp_path: Path, encoded: Encoder) -> None:
    records = examined(tmp_path, {f"{category}/{seed}.png": encoded(picture(seed), "PNG") for category in "ba" for seed in range(15)})
    assert [record.file for record in records.values()] == list(list_images(tmp_path).files)


def test_each_decoded_image_is_handed_on_once_under_its_own_index(tmp_path: Path, encoded: Encoder) -> None:
    examined(tmp_path, {f"cat/{seed:02}.png": encoded(picture(seed), "PNG") for seed in range(12)} | {"cat/05.png": b"a letter"})
    listing = list_images(tmp_path)
    seen: list[int] = []

    def use(index: int, pixels: np.ndarray) -> None:
        seen.append(index)
        assert np.array_equal(pixels, decode((tmp_path / listing.files[index].path).read_bytes(), TRAINING_LIMITS))

    examine(listing, use)
    assert sorted(seen) == [index for index in range(12) if index != 5]


def test_progress_is_told_of_every_file_and_their_number(tmp_path: Path, encoded: Encoder) -> None:
    examined(tmp_path, {f"cat/{seed}.png": encoded(picture(seed), "PNG") for seed in range(5)} | {"cat/x.png": b"a letter"})
    told = []

    def progress(items, total):
        for item in items:
            told.append((item, total))
            yield item

    examine(list_images(tmp_path), progress=progress)
    assert told == [(index, 6) for index in range(6)]


def test_identical_files_are_grouped_wherever_they_lie(tmp_path: Path, encoded: Encoder) -> None:
    one, other = encoded(picture(1), "PNG"), encoded(picture(2), "PNG")
    records = examined(tmp_path, {"a/1.png": one, "a/2.png": other, "b/1.png": one, "b/2.png": one, "b/3.png": encoded(picture(3), "PNG")})
    names = list(records)
    assert [[names[index] for index in group] for group in identical(list(records.values()))] == [["a/1.png", "b/1.png", "b/2.png"]]


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


def test_identical_files_and_mirrored_or_darker_pictures_are_not_nearly_identical(tmp_path: Path, encoded: Encoder) -> None:
    original = encoded(picture(0), "PNG")
    files = {
        "a/1.png": original,
        "a/2.png": original,
        "b/mirrored.png": encoded(picture(0).transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG"),
        "c/darker.png": encoded(ImageEnhance.Brightness(picture(0)).enhance(0.7), "PNG"),
    }
    assert pairs(examined(tmp_path, files)) == []


def test_flat_images_are_not_nearly_identical_and_broken_files_are_not_compared(tmp_path: Path, encoded: Encoder) -> None:
    files = {f"a/{gray}.png": encoded(Image.new("L", (40, 40), gray), "PNG") for gray in (120, 121, 122)}
    files |= {"b/1.jpg": b"a letter", "b/2.jpg": b"another letter"}
    assert pairs(examined(tmp_path, files)) == []


def hashed(number: int, hash_bits: int, thumbnail: np.ndarray) -> FileRecord:
    return FileRecord(LabelledFile(f"cat/{number}", "cat"), f"{number:064x}", 1, hash=hash_bits, thumbnail=thumbnail)


THUMBNAIL = np.random.default_rng(0).integers(20, 200, (16, 16, 3), dtype=np.uint8)


@quick
@given(st.integers(0, 2**64 - 1), st.sets(st.integers(0, 63), max_size=8))
def test_hashes_at_most_3_bits_apart_are_found_and_others_are_not(bits: int, flipped: set[int]) -> None:
    changed = bits ^ sum(1 << bit for bit in flipped)
    found = nearly_identical([hashed(0, bits, THUMBNAIL), hashed(1, changed, THUMBNAIL)])
    assert found == ([(0, 1)] if len(flipped) <= 3 else [])


@pytest.mark.parametrize("flipped", [(15, 16, 32), (0, 31, 63), (8, 47, 48), (20, 40, 60)])
def test_3_bits_are_found_in_whichever_quarters_of_the_hash_they_lie(flipped: tuple[int, ...]) -> None:
    changed = sum(1 << bit for bit in flipped)
    assert nearly_identical([hashed(0, 0, THUMBNAIL), hashed(1, changed, THUMBNAIL)]) == [(0, 1)]


def test_thumbnails_may_be_8_steps_apart_whichever_is_the_brighter() -> None:
    alike, too_far = THUMBNAIL + np.uint8(8), THUMBNAIL + np.uint8(9)
    for pair, expected in (((THUMBNAIL, alike), [(0, 1)]), ((alike, THUMBNAIL), [(0, 1)]), ((THUMBNAIL, too_far), [])):
        assert nearly_identical([hashed(number, 5, thumbnail) for number, thumbnail in enumerate(pair)]) == expected


def test_a_pair_is_reported_once_and_by_the_lower_index_first() -> None:
    assert nearly_identical([hashed(number, 5, THUMBNAIL) for number in range(3)]) == [(0, 1), (0, 2), (1, 2)]


def test_more_look_alikes_than_can_be_paired_are_passed_over() -> None:
    alike = [hashed(number, 5, THUMBNAIL) for number in range(501)]
    two_more = [hashed(number, 2**64 - 6, THUMBNAIL) for number in (501, 502)]
    assert nearly_identical([*alike, *two_more]) == [(501, 502)]
