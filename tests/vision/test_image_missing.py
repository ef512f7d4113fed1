"""A picture of which pixels are missing is refused, and one that only looks damaged is answered with all of them."""

import re
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.vision.pngs import ADAM7, SIGNATURE, chunk, header
from vision.errors import CorruptImage, ImageError, TruncatedImage
from vision.image import DecodeLimits, decode

LIMITS = DecodeLimits()
END = b"\xff\xd9"
# Noise that was made smooth: each row has data of its own, and none of the entropy-coded bytes repeats for long.
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)).resize(
    (180, 240), Image.Resampling.BICUBIC
)
KINDS = {
    "baseline": ("RGB", {}),
    "gray": ("L", {}),
    "cmyk": ("CMYK", {}),
    "optimised": ("RGB", {"optimize": True}),
    "restarts": ("RGB", {"restart_marker_rows": 2}),
    "progressive": ("RGB", {"progressive": True}),
}


@pytest.fixture(params=KINDS)
def jpeg(request, encoded):
    mode, options = KINDS[request.param]
    return encoded(PHOTO.convert(mode), "JPEG", **options)


def scan_of(jpeg):
    """Where the entropy-coded data of the last scan begins."""
    start = jpeg.rindex(b"\xff\xda")
    return start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big")


def cut(jpeg, share):
    start = scan_of(jpeg)
    return start + int((len(jpeg) - start) * share)


DAMAGES = {
    "cut, with an end marker": lambda jpeg, at: jpeg[:at] + END,
    "cut": lambda jpeg, at: jpeg[:at],
    "cut after a fill byte": lambda jpeg, at: jpeg[:at] + b"\xff",
    "the rest is zeros": lambda jpeg, at: jpeg[:at] + bytes(len(jpeg) - at),
    "the rest is zeros, with an end marker": lambda jpeg, at: jpeg[:at] + bytes(len(jpeg) - at - 2) + END,
    "a hole of zeros": lambda jpeg, at: jpeg[: at - 400] + bytes(300) + jpeg[at - 100 :],
    "a block is missing": lambda jpeg, at: jpeg[: at - 400] + jpeg[at - 100 :],
    "another file begins": lambda jpeg, at: jpeg[:at] + jpeg[:at],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("share", [0.4, 0.7, 0.95])
def test_a_jpeg_whose_data_is_missing_is_refused(jpeg, damage, share):
    with pytest.raises((TruncatedImage, CorruptImage)):
        decode(DAMAGES[damage](jpeg, cut(jpeg, share)), LIMITS)


@pytest.mark.parametrize("kind", ["baseline", "gray", "optimised"])
def test_the_refusal_says_how_many_rows_are_missing(encoded, kind):
    mode, options = KINDS[kind]
    jpeg = encoded(PHOTO.convert(mode), "JPEG", **options)
    with pytest.raises(TruncatedImage) as refusal:
        decode(jpeg[: cut(jpeg, 0.7)] + END, LIMITS)
    missing, rows, share = map(int, re.search(r"(\d+) of its (\d+) rows \((\d+)%\)", str(refusal.value)).groups())
    assert rows == 240
    assert share == round(100 * missing / rows)
    assert 240 * 0.2 < missing < 240 * 0.4


@pytest.mark.parametrize("count", [1, 5, 16])
@pytest.mark.parametrize("junk", [b"\0", b"\x11", b"\xa5"])
def test_a_few_bytes_before_the_end_marker_cost_nothing(jpeg, count, junk):
    assert np.array_equal(decode(jpeg[:-2] + junk * count + END, LIMITS).pixels, decode(jpeg, LIMITS).pixels)


@pytest.mark.parametrize("count", [64, 5000])
def test_zeros_that_fill_up_a_whole_picture_cost_nothing(jpeg, count):
    assert np.array_equal(decode(jpeg[:-2] + bytes(count) + END, LIMITS).pixels, decode(jpeg, LIMITS).pixels)


def test_a_missing_end_marker_costs_nothing(jpeg):
    assert np.array_equal(decode(jpeg[:-2], LIMITS).pixels, decode(jpeg, LIMITS).pixels)
    assert np.array_equal(decode(jpeg[:-1], LIMITS).pixels, decode(jpeg, LIMITS).pixels)


@pytest.mark.parametrize("after", [bytes(100), b"\xff\xd8\xff\xe1" + bytes(50) + END, b"motion photo" * 9])
def test_what_follows_the_end_marker_costs_nothing(jpeg, after):
    """Phones append videos and second pictures; the few bytes before the right marker are still the ones removed."""
    assert np.array_equal(decode(jpeg + after, LIMITS).pixels, decode(jpeg, LIMITS).pixels)
    damaged = jpeg[:-2] + b"\xa5" * 5 + END + after
    assert np.array_equal(decode(damaged, LIMITS).pixels, decode(jpeg, LIMITS).pixels)


def test_many_bytes_too_many_are_wrong_pixels(jpeg):
    with pytest.raises(ImageError):
        decode(jpeg[:-2] + bytes(range(1, 200)) * 3 + END, LIMITS)


def test_an_unknown_revision_of_jfif_costs_nothing(encoded):
    jpeg = encoded(PHOTO, "JPEG")
    at = jpeg.index(b"JFIF\0") + 5
    assert np.array_equal(decode(jpeg[:at] + b"\x09" + jpeg[at + 1 :], LIMITS).pixels, decode(jpeg, LIMITS).pixels)


def test_a_flat_picture_may_be_all_zeros(encoded):
    """With tables of its own, a flat picture's data is nothing but zeros."""
    jpeg = encoded(Image.new("RGB", (2000, 2000), (90, 120, 50)), "JPEG", optimize=True)
    assert bytes(64) in jpeg
    assert decode(jpeg, LIMITS).pixels.std(axis=(0, 1)).max() == 0


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_png_that_is_cut_says_how_many_rows_are_there(encoded, share):
    png = encoded(PHOTO, "PNG")
    with pytest.raises(TruncatedImage, match=r"\d+ of its 240 rows are there") as refusal:
        decode(png[: int(len(png) * share)], LIMITS)
    rows = int(re.search(r"(\d+) of its 240", str(refusal.value))[1])
    assert abs(rows - 240 * share) < 60


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "I;16"])
def test_the_rows_of_every_kind_of_png_are_counted(encoded, mode):
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 65_536, (50, 40), dtype=np.uint16))
    picture = picture if mode == "I;16" else PHOTO.crop((0, 0, 40, 50)).convert(mode)
    png = encoded(picture, "PNG")
    at = png.index(b"IDAT") + 4
    with pytest.raises(TruncatedImage, match=r"\d+ of its 50 rows") as refusal:
        decode(png[: at + (len(png) - at) // 2], LIMITS)
    assert 0 < int(re.search(r"(\d+) of its 50", str(refusal.value))[1]) < 50


def test_a_png_without_its_last_chunk_is_whole(encoded):
    png = encoded(PHOTO, "PNG")
    assert np.array_equal(decode(png[: png.index(b"IEND") - 4], LIMITS).pixels, np.array(PHOTO))


@pytest.mark.parametrize("rows", [0, 1, 99, 238, 239])
@pytest.mark.parametrize("colour", [(0, 0, 0), (250, 9, 9)])
def test_a_png_with_too_few_rows_is_truncated(encoded, rows, colour):
    """Its data ends in order, with a checksum; Pillow makes the other rows black."""
    picture = np.full((240, 30, 3), colour, np.uint8)
    raw = b"".join(b"\0" + row.tobytes() for row in picture[:rows])
    png = encoded(Image.fromarray(picture), "PNG")
    with pytest.raises(TruncatedImage, match=f"{rows} of its 240 rows" if rows else "too early"):
        decode(png[:33] + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""), LIMITS)
    whole = b"".join(b"\0" + row.tobytes() for row in picture)
    assert (decode(png[:33] + chunk(b"IDAT", zlib.compress(whole)), LIMITS).pixels == picture).all()


@pytest.mark.parametrize(("height", "kept"), [(9, 5), (9, 8), (8, 7), (1, 0)])
def test_an_interlaced_png_with_too_few_rows_is_truncated(height, kept):
    """Each pass has rows of its own; here the last ones of the last pass are missing."""
    raw = [
        b"\0" + b"\xc8" * -(-(9 - left) // across)
        for left, top, across, down in ADAM7
        for _ in range(top, height, down)
    ]
    first = header(9, height, colour=0, interlaced=1)
    whole, cut_off = (chunk(b"IDAT", zlib.compress(b"".join(rows))) for rows in (raw, raw[: kept - height]))
    assert (decode(SIGNATURE + first + whole + chunk(b"IEND", b""), LIMITS).pixels == 200).all()
    with pytest.raises(TruncatedImage):
        decode(SIGNATURE + first + cut_off + chunk(b"IEND", b""), LIMITS)


def test_a_png_with_too_little_data_is_truncated_although_its_chunks_are_whole(encoded):
    tall, low = encoded(PHOTO, "PNG"), encoded(PHOTO.crop((0, 0, 180, 100)), "PNG")
    with pytest.raises(TruncatedImage):
        decode(tall[:33] + low[33:], LIMITS)


@pytest.mark.parametrize(("file_format", "options"), [("WEBP", {"lossless": True}), ("WEBP", {}), ("BMP", {})])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.98])
def test_a_cut_file_of_another_format_is_truncated(encoded, file_format, options, share):
    data = encoded(PHOTO, file_format, **options)
    with pytest.raises(TruncatedImage):
        decode(data[: int(len(data) * share)], LIMITS)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("end", [b"", b"\0;", b";"])
def test_a_cut_gif_is_truncated_whatever_its_end(encoded, share, end):
    data = encoded(PHOTO.convert("P"), "GIF")
    with pytest.raises(TruncatedImage):
        decode(data[: int(len(data) * share)] + end, LIMITS)


def test_a_gif_whose_codes_end_too_early_is_truncated(encoded):
    """Its end code stands after three pixels, and every block is whole."""
    data = encoded(Image.new("L", (40, 40)), "GIF")
    at = data.rindex(b"\x2c\0\0\0\0") + 10
    codes = sum(code << 9 * place for place, code in enumerate((0x100, 5, 5, 5, 0x101))).to_bytes(6, "little")
    small = data[:at] + b"\x08" + bytes([len(codes)]) + codes + b"\0;"
    with pytest.raises(TruncatedImage):
        decode(small, LIMITS)
