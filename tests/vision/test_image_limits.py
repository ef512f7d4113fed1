"""What an image may cost: bytes, pixels and sides, refused from the header, before any memory is spent."""

import random
import re
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from vision.errors import CorruptImage, ImageError, TooManyBytes, TooManyPixels
from vision.image import FORMATS, DecodeLimits, declared_pixels, decode

LIMITS = DecodeLimits()
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))


def test_the_byte_limit_itself_passes_and_one_more_does_not(encoded):
    data = encoded(NOISE, "PNG").ljust(8192, b"\0")
    limits = DecodeLimits(max_bytes=8192)
    assert decode(data, limits).pixels.shape == (40, 60, 3)
    with pytest.raises(TooManyBytes, match=r"8193 bytes.*8192") as refusal:
        decode(data + b"\0", limits)
    assert refusal.value.code == "too_many_bytes"


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_pixel_limits_themselves_pass_and_one_less_does_not(encoded, file_format):
    data = encoded(NOISE, file_format)
    assert decode(data, DecodeLimits(max_pixels=2400, max_side_px=60)).pixels.size == 2400 * 3
    for limits, message in ((DecodeLimits(max_pixels=2399), "2399 pixels"), (DecodeLimits(max_side_px=59), "59 px")):
        with pytest.raises(TooManyPixels, match=message) as refusal:
            decode(data, limits)
        assert refusal.value.code == "too_many_pixels"


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("max_bytes", 1024, 268_435_456), ("max_pixels", 1, 89_478_485), ("max_side_px", 1, 65_535)],
)
def test_limits_have_bounds_and_none_switches_them_off(name, low, high):
    for accepted in (low, high):
        assert getattr(DecodeLimits(**{name: accepted}), name) == accepted
    for refused in (low - 1, high + 1, 0, -1, 10**12, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=rf"{name} is {refused}; .*{low} and {high}"):
            DecodeLimits(**{name: refused})


def _png(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n\0\0\0\r"
        + header
        + struct.pack(">I", zlib.crc32(header))
        + b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xaeB`\x82"
    )


def _jpeg(width, height):
    frame = struct.pack(">HHBHHB", 0xFFC0, 11, 8, height, width, 1) + b"\1\x11\0"
    return b"\xff\xd8" + frame + struct.pack(">HHB", 0xFFDA, 8, 1) + b"\1\0\0\x3f\0" + b"\0\xff\xd9"


def _gif(width, height):
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2\x44\1\0"
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0\0\0\0\xff\xff\xff" + frame + b";"


def _gif_frame(width, height):
    return _gif(1, 1).replace(struct.pack("<HHHHB", 0, 0, 1, 1, 0), struct.pack("<HHHHB", 0, 0, width, height, 0))


def _bmp(width, height):
    return (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    )


def _riff(name, body):
    return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBP" + name + struct.pack("<I", len(body)) + body


def _webp_extended(width, height):
    return _riff(b"VP8X", b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"))


def _webp_lossless(width, height):
    return _riff(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + b"\0")


def _webp_lossy(width, height):
    return _riff(b"VP8 ", b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height))


BOMBS = [_png, _jpeg, _gif, _gif_frame, _bmp, _webp_extended, _webp_lossless, _webp_lossy]


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize(
    ("width", "height", "message"), [(5001, 5000, "25000000 pixels"), (10_001, 1, "10000 px"), (1, 10_001, "10000 px")]
)
def test_a_header_that_declares_too_much_is_refused_without_its_pixels(bomb, width, height, message):
    with pytest.raises(TooManyPixels, match=message):
        decode(bomb(width, height), DecodeLimits(max_pixels=25_000_000, max_side_px=10_000))


@pytest.mark.parametrize(("width", "height"), [(8160, 6120), (8064, 6048), (16_382, 3_900), (3_900, 16_382)])
@pytest.mark.parametrize("bomb", BOMBS)
def test_the_sizes_of_phones_are_within_the_default_limits(bomb, width, height):
    """Hardly anything but the size is right in most of these files, so they are refused for something else."""
    code = ""
    try:
        decode(bomb(width, height), LIMITS)
    except ImageError as refusal:
        code = refusal.code
    assert code != "too_many_pixels"


@pytest.mark.parametrize("bomb", BOMBS)
def test_the_pixels_that_a_header_declares_are_told_without_decoding(bomb):
    assert declared_pixels(bomb(300, 200)) == 60_000
    assert declared_pixels(bomb(16_000, 4_000)) == 64_000_000


@pytest.mark.parametrize("data", [b"", b"text", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM" + bytes(20)])
def test_what_declares_nothing_has_no_pixels(data):
    assert declared_pixels(data) == 0


@pytest.mark.parametrize("file_format", FORMATS)
def test_valid_images_declare_what_they_have(encoded, file_format):
    assert declared_pixels(encoded(NOISE, file_format)) == 2400


# The address space may grow by 20 MiB: what is not even mapped cannot become resident.
_REFUSE_WITHIN_20_MIB = """
import resource, sys
from pathlib import Path
from vision.errors import ImageError
from vision.image import DecodeLimits, decode
folder = Path(sys.argv[1])
for file in sorted(folder.glob("*.valid")):
    decode(file.read_bytes(), DecodeLimits())
mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + 20 * 2**20,) * 2)
for file in sorted(folder.glob("*.bomb")):
    try:
        decode(file.read_bytes(), DecodeLimits())
    except ImageError as error:
        print(file.stem, error.code)
"""


def test_refusing_the_largest_headers_takes_no_memory(tmp_path, encoded):
    for file_format in FORMATS:
        (tmp_path / f"{file_format}.valid").write_bytes(encoded(NOISE, file_format))
    for bomb in BOMBS:
        side = 16_383 if "webp" in bomb.__name__ else 65_000
        (tmp_path / f"{bomb.__name__}.bomb").write_bytes(bomb(side, side))
    child = subprocess.run(
        [sys.executable, "-c", _REFUSE_WITHIN_20_MIB, tmp_path], capture_output=True, text=True, timeout=60
    )
    assert child.stdout.splitlines() == [
        f"{name} too_many_pixels" for name in sorted(bomb.__name__ for bomb in BOMBS)
    ], child.stderr


@pytest.mark.parametrize(("more", "refused"), [(94, False), (95, True), (5000, True)])
def test_a_jpeg_has_at_most_100_scans(encoded, more, refused):
    """Each goes through all pixels: a few bytes of the file cost as much time as a whole image."""
    data = encoded(Image.new("L", (64, 64), 77), "JPEG", progressive=True)
    scans = [found.start() for found in re.finditer(b"\xff\xda", data)]
    assert len(scans) == 6
    with pytest.raises(CorruptImage) as refusal:  # those that are repeated are in a wrong order, which libjpeg sees
        decode(data[: scans[2]] + data[scans[1] : scans[2]] * more + data[scans[2] :], LIMITS)
    assert ("has over 100 scans" in str(refusal.value)) == refused


def test_a_video_that_a_phone_appends_has_no_scans(encoded):
    """Its bytes look random, so one in 65,536 pairs looks like the marker of a scan."""
    data = encoded(NOISE, "JPEG", quality=90)
    video = b"\0\0\0\x18ftypmp42" + b"\xff\xda" * 5000 + random.Random(0).randbytes(5_000_000)
    assert np.array_equal(decode(data + video, LIMITS).pixels, decode(data, LIMITS).pixels)
