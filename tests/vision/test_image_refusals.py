"""What decode refuses, under which code; and that hostile bytes find no third way out."""

import random
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from vision.errors import CorruptImage, EmptyImage, ImageError, NotAnImage, TruncatedImage, UnsupportedFormat
from vision.image import DecodeLimits, decode

LIMITS = DecodeLimits()
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
SMOOTH = NOISE.resize((8, 6)).resize((70, 50))
OPTIONS = {
    "JPEG": {},
    "JPEG progressive": {"progressive": True},
    "JPEG Exif": {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"},
    "PNG": {},
    "WEBP": {},
    "WEBP lossless": {"lossless": True},
    "GIF": {},
    "BMP": {},
}


@pytest.fixture(scope="module")
def file_of(encoded):
    """One of the OPTIONS' kinds of file."""
    return lambda kind, picture=NOISE: encoded(picture, kind.split()[0], **OPTIONS[kind])


def outcome(data):
    """`decoded`, or the code of the refusal."""
    try:
        pixels = decode(data, LIMITS).pixels
    except ImageError as error:
        return error.code
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.size > 0
    return "decoded"


def test_no_bytes_are_empty():
    with pytest.raises(EmptyImage, match="0 bytes") as refusal:
        decode(b"", LIMITS)
    assert refusal.value.code == "empty"


@pytest.mark.parametrize(
    "data", [b"Dear Sir", b"\n\n  text", b"\x13\x37" * 500, b"BM", b"BM, which begins like a bitmap and is a letter"]
)
def test_bytes_that_begin_like_no_image_are_not_an_image(data):
    with pytest.raises(NotAnImage, match="JPEG, PNG, WebP, GIF and BMP") as refusal:
        decode(data, LIMITS)
    assert refusal.value.code == "not_an_image"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"%PDF-1.7", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "EPS"),
        (b"8BPS\0\1", "PSD"),
        (b"\0\0\1\0\1\0", "ICO"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x1cftypavif", "AVIF"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x14ftypmif1\0\0\0\0mif1heic", "HEIF"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "Canon CR3"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "a QuickTime video"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "an MP4 video"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"\xff\x0a", "JPEG XL"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\n  <svg/>", "SVG"),
    ],
)
def test_a_known_format_that_is_not_decoded_is_refused_by_name(head, name):
    with pytest.raises(UnsupportedFormat, match=f"{name}.*JPEG, PNG, WebP, GIF and BMP") as refusal:
        decode(head + bytes(100), LIMITS)
    assert refusal.value.code == "unsupported_format"


@pytest.mark.parametrize(("file_format", "name"), [("TIFF", "TIFF"), ("ICO", "ICO"), ("AVIF", "AVIF"), ("PDF", "PDF")])
def test_a_real_file_of_an_unsupported_format_is_refused(encoded, file_format, name):
    with pytest.raises(UnsupportedFormat, match=name):
        decode(encoded(NOISE, file_format), LIMITS)


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_that_ends_too_early_is_truncated(file_of, kind, share):
    data = file_of(kind)
    with pytest.raises(TruncatedImage, match=r"ends too early|lacks the data|Data of the JPEG") as refusal:
        decode(data[: int(len(data) * share)], LIMITS)
    assert refusal.value.code == "truncated"


def test_an_animation_that_ends_after_its_first_frame_still_gives_that_frame(encoded):
    one = encoded(NOISE, "GIF")
    two = encoded(NOISE, "GIF", save_all=True, append_images=[NOISE.rotate(180)])
    assert (decode(two[: len(one) + 50], LIMITS).pixels == decode(one, LIMITS).pixels).all()


@pytest.mark.parametrize("picture", [NOISE, SMOOTH], ids=["noise", "smooth"])
def test_a_flipped_byte_in_the_pixels_of_a_png_is_corrupt(file_of, picture):
    data = file_of("PNG", picture)
    start = data.index(b"IDAT") + 4
    length = int.from_bytes(data[start - 8 : start - 4], "big")
    decoded = [
        position - start
        for position in range(start, start + length, length // 60)
        if outcome(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :]) != "corrupt"
    ]
    assert decoded == [], f"of {length} bytes"


@pytest.mark.parametrize(
    ("kind", "found", "put"),
    [
        ("JPEG", b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x09"),  # 9 bits a sample
        ("PNG", b"IHDR", b"IHDX"),
        ("WEBP", b"\x9d\x01\x2a", b"\x9d\x01\x2b"),  # the start code
        ("GIF", b"\x3c\0\x28\0\x40\x08", b"\x3c\0\x28\0\x40\x63"),  # 99 bits a code
        ("BMP", struct.pack("<HHI", 1, 24, 0), struct.pack("<HHI", 1, 24, 99)),  # compression 99
    ],
)
def test_a_complete_file_that_makes_no_sense_is_corrupt(file_of, kind, found, put):
    data = file_of(kind)
    assert data.count(found) == 1
    with pytest.raises(CorruptImage, match=rf"{kind}.*(cannot be decoded|is damaged)") as refusal:
        decode(data.replace(found, put), LIMITS)
    assert refusal.value.code == "corrupt"


def mutants(data):
    """60 damaged copies, the same ones each time."""
    chance = random.Random(len(data))
    for _ in range(60):
        copy = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            place, length = chance.randrange(len(copy)), chance.randint(1, 8)
            match chance.choice(("flip", "delete", "insert")):
                case "flip":
                    copy[place] ^= chance.randint(1, 255)
                case "delete":
                    del copy[place : place + length]
                case "insert":
                    copy[place:place] = chance.randbytes(length)
        yield bytes(copy)


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_damaged_file_gives_pixels_or_an_image_error(file_of, kind):
    outcomes = {outcome(mutant) for mutant in mutants(file_of(kind, NOISE.resize((12, 9))))}
    assert outcomes & {"corrupt", "truncated"}


_DECODE_ALL = """
import sys
from pathlib import Path
from vision.errors import ImageError
from vision.image import DecodeLimits, decode, silence_pillow
silence_pillow()
for file in sorted(Path(sys.argv[1]).iterdir()):
    try:
        decode(file.read_bytes(), DecodeLimits())
        print(file.name, "decoded")
    except ImageError as error:
        print(file.name, error.code)
"""


def test_hostile_files_raise_no_warning_in_a_plain_process(tmp_path, file_of, encoded):
    jpeg, png, bmp = (file_of(kind) for kind in ("JPEG", "PNG", "BMP"))
    multi_picture = b"\xff\xe2\x00\x0cMPF\0II*\0\x08\0"
    no_frames = b"acTL" + bytes(8)
    animation = struct.pack(">I", 8) + no_frames + struct.pack(">I", zlib.crc32(no_frames))
    huge = struct.pack("<ii", 9999, 9999)
    named = {
        "Exif cut": (encoded(NOISE, "JPEG", exif=OPTIONS["JPEG Exif"]["exif"][:18]), "decoded"),
        "Exif value outside": (
            encoded(NOISE, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x40\0\0\xff\xff\0\0\0\0"),
            "decoded",
        ),
        "multi-picture index broken": (jpeg[:2] + multi_picture + jpeg[2:], "decoded"),
        "animation of no frames": (png[:33] + animation + png[33:], "decoded"),
        "over Pillow's own limit": (bmp[:18] + huge + bmp[26:], "too_many_pixels"),
    }
    for name, (data, _) in named.items():
        (tmp_path / name).write_bytes(data)
    for kind in OPTIONS:
        for index, mutant in enumerate(mutants(file_of(kind, NOISE.resize((12, 9))))):
            (tmp_path / f"{kind}, mutant {index}").write_bytes(mutant)
    child = subprocess.run(
        [sys.executable, "-W", "always", "-c", _DECODE_ALL, tmp_path], capture_output=True, text=True, timeout=60
    )
    assert child.returncode == 0, child.stderr
    assert {f"{name} {outcome}" for name, (_, outcome) in named.items()} <= set(child.stdout.splitlines())
    assert sorted({line for line in child.stderr.splitlines() if "Warning" in line}) == []


@pytest.mark.parametrize(
    ("marker", "precision", "name"),
    [
        (0xC3, 8, "a lossless JPEG"),
        (0xC5, 8, "a hierarchical JPEG"),
        (0xF7, 8, "a JPEG-LS"),
        (0xC1, 12, "a JPEG of 12 bits"),
    ],
)
def test_a_jpeg_that_no_decoder_here_knows_is_refused_by_name(encoded, marker, precision, name):
    data = bytearray(encoded(NOISE, "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 1], data[frame + 4] = marker, precision
    with pytest.raises(UnsupportedFormat, match=f"The bytes are {name}, which is not decoded here"):
        decode(bytes(data), LIMITS)


def bitmap(bits, compression, masks=(0xFF0000, 0xFF00, 0xFF, 0)):
    rows = bytes(range(64)) * (bits // 8)
    head = struct.pack("<IiiHHIIiiII", 56, 8, 8, 1, bits, compression, len(rows), 2835, 2835, 0, 0)
    head += struct.pack("<4I", *masks)
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(rows), 0, 0, 14 + len(head)) + head + rows


def test_usual_layouts_of_bits_in_a_bitmap_are_answered():
    assert decode(bitmap(32, 3), LIMITS).pixels.shape == (8, 8, 3)
    assert decode(bitmap(16, 3, (0xF800, 0x7E0, 0x1F, 0)), LIMITS).pixels.shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (bitmap(32, 3, (0x3FF00000, 0xFFC00, 0x3FF, 0)), "bitfields layout"),
        (bitmap(16, 3, (0xF00, 0xF0, 0xF, 0xF000)), "bitfields layout"),
        (bitmap(24, 4), "compression"),
        (bitmap(64, 0), "pixel depth"),
    ],
)
def test_a_bitmap_that_no_decoder_here_knows_is_refused_by_name(data, name):
    with pytest.raises(UnsupportedFormat, match=f"The bytes are a BMP of an unusual {name}, which is not decoded here"):
        decode(data, LIMITS)
