"""What one look into every file finds, through the decoder that serves."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.data.conftest import Encoder, orientation_tag, picture
from training.data.folder import list_images
from training.data.images import TRAINING_LIMITS
from training.data.scan import FileRecord, examine
from vision.image import decode


def examined(root: Path, files: dict[str, bytes]) -> dict[str, FileRecord]:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    (root / "empty").mkdir(exist_ok=True)
    return {record.file.path: record for record in examine(list_images(root))}


def test_what_cannot_be_decoded_gets_the_decoders_code_and_nothing_else(tmp_path: Path, encoded: Encoder) -> None:
    whole = encoded(picture(0, 96, 96), "PNG")
    files = {
        "cat/text.jpg": b"a letter",
        "cat/cut.png": whole[: len(whole) // 2],
        "cat/nothing.jpg": b"",
        "cat/whole.png": whole,
    }
    records = examined(tmp_path, files)
    for name, code in (
        ("cat/text.jpg", "not_an_image: "),
        ("cat/cut.png", "truncated: "),
        ("cat/nothing.jpg", "empty: "),
    ):
        record = records[name]
        assert record.error.startswith(code)
        assert record.picture is None
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
    found = record.picture
    assert (found.format, found.mode, found.width, found.height, found.orientation) == (
        file_format,
        stored_mode,
        60,
        40,
        1,
    )
    assert (record.sha256, record.size_bytes, record.error) == (hashlib.sha256(data).hexdigest(), len(data), None)


def test_16_bit_gray_is_its_own_mode(tmp_path: Path, encoded: Encoder) -> None:
    values = np.arange(400, dtype=np.uint16).reshape(20, 20) * 100
    (record,) = examined(tmp_path, {"cat/xray.png": encoded(Image.fromarray(values), "PNG")}).values()
    assert (record.picture.mode, record.error) == ("I;16", None)


def test_a_phone_photo_is_measured_upright(tmp_path: Path, encoded: Encoder) -> None:
    data = encoded(picture(0, 60, 40), "JPEG", exif=orientation_tag(6))
    (record,) = examined(tmp_path, {"cat/phone.jpg": data}).values()
    assert (record.picture.orientation, record.picture.width, record.picture.height) == (6, 40, 60)


def test_records_come_in_the_order_of_the_files(tmp_path: Path, encoded: Encoder) -> None:
    records = examined(
        tmp_path,
        {f"{category}/{seed}.png": encoded(picture(seed, 96, 96), "PNG") for category in "ba" for seed in range(15)},
    )
    assert [record.file for record in records.values()] == list(list_images(tmp_path).files)


def test_each_decoded_image_is_handed_on_once_under_its_own_index(tmp_path: Path, encoded: Encoder) -> None:
    examined(
        tmp_path,
        {f"cat/{seed:02}.png": encoded(picture(seed, 96, 96), "PNG") for seed in range(12)}
        | {"cat/05.png": b"a letter"},
    )
    listing = list_images(tmp_path)
    seen: list[int] = []

    def use(index: int, pixels: np.ndarray) -> None:
        seen.append(index)
        assert np.array_equal(
            pixels, decode((tmp_path / listing.files[index].path).read_bytes(), TRAINING_LIMITS).pixels
        )

    examine(listing, use)
    assert sorted(seen) == [index for index in range(12) if index != 5]


def test_progress_is_told_of_every_file_and_their_number(tmp_path: Path, encoded: Encoder) -> None:
    examined(
        tmp_path,
        {f"cat/{seed}.png": encoded(picture(seed, 96, 96), "PNG") for seed in range(5)} | {"cat/x.png": b"a letter"},
    )
    told = []

    def progress(items, total):
        for item in items:
            told.append((item, total))
            yield item

    examine(list_images(tmp_path), progress=progress)
    assert told == [(index, 6) for index in range(6)]
