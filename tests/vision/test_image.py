"""What decode accepts becomes the same upright RGB, whatever the format, the colour mode and the orientation."""

import dataclasses
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tests.vision.pngs import SIGNATURE, chunk, header
from vision import image
from vision.image import FORMATS, DecodeLimits, StoredFacts, decode, inspect, sniff_format, stored_facts
from vision.jpeg import NotForLibjpeg

LIMITS = DecodeLimits()
# 48 × 32, smooth enough for JPEG, and another picture under each of the eight orientations.
UPRIGHT = np.stack(np.broadcast_arrays(np.arange(48) * 5, np.arange(32)[:, None] * 7, 200), axis=-1).astype(np.uint8)
PICTURE = Image.fromarray(UPRIGHT)

# Where the file's first row and first column lie in the upright image (Exif 3.0, Orientation, tag 274).
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def as_stored(upright, orientation):
    """The rows that a camera writes with this orientation."""
    first_row, first_column = SIDES[orientation]
    stored = upright if first_row in ("top", "bottom") else upright.swapaxes(0, 1)
    stored = stored[::-1] if first_row in ("bottom", "right") else stored
    return np.ascontiguousarray(stored[:, ::-1] if first_column in ("bottom", "right") else stored)


def orientation_tag(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def png(width, depth, colour_type, row, *chunks):
    """A PNG of one row, with chunks (name, body) that Pillow does not write."""
    extra = b"".join(chunk(name, body) for name, body in chunks)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + row))
    return SIGNATURE + header(width, 1, depth, colour_type) + extra + pixels + chunk(b"IEND", b"")


def far_from(pixels, expected):
    assert pixels.dtype == np.uint8
    assert pixels.shape == expected.shape
    return np.abs(pixels.astype(int) - expected).max()


@pytest.mark.parametrize(
    ("file_format", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95}, 8),
        ("JPEG", {"quality": 95, "progressive": True}, 8),
        ("PNG", {}, 0),
        ("WEBP", {"quality": 95}, 12),
        ("WEBP", {"lossless": True}, 0),
        ("GIF", {}, 24),
        ("BMP", {}, 0),
    ],
)
def test_each_format_is_told_by_its_content_and_decoded(encoded, file_format, options, tolerance):
    data = encoded(PICTURE, file_format, **options)
    assert sniff_format(data) == file_format == decode(data, LIMITS).format
    assert file_format in FORMATS
    assert far_from(decode(data, LIMITS).pixels, UPRIGHT) <= tolerance


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(encoded, file_format):
    first, second = Image.new("RGB", (9, 7), (250, 5, 5)), Image.new("RGB", (9, 7), (5, 5, 250))
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(first, file_format, save_all=True, append_images=[second], duration=50, **options)
    assert (decode(data, LIMITS).pixels == np.asarray(first)).all()


@pytest.mark.parametrize("orientation", SIDES)
@pytest.mark.parametrize(
    ("file_format", "options", "tolerance"),
    [("JPEG", {"quality": 95}, 8), ("PNG", {}, 0), ("WEBP", {"lossless": True}, 0)],
)
def test_every_orientation_gives_the_upright_image(encoded, file_format, options, tolerance, orientation):
    stored = Image.fromarray(as_stored(UPRIGHT, orientation))
    data = encoded(stored, file_format, exif=orientation_tag(orientation), **options)
    assert far_from(decode(data, LIMITS).pixels, UPRIGHT) <= tolerance


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [
        pytest.param(b"Exif\0\0" + bytes(range(60, 120)), id="garbage"),
        pytest.param(b"Exif\0\0", id="empty"),
        pytest.param(orientation_tag(0), id="0"),
        pytest.param(orientation_tag(9), id="9"),
        pytest.param(orientation_tag(65_535), id="65535"),
        pytest.param(b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x026\0\0\0\0\0\0\0", id="string"),
        pytest.param(b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\0\0\6\0\0\0\0\0\0", id="no value"),
    ],
)
def test_a_malformed_orientation_is_ignored(encoded, file_format, exif):
    pixels = decode(encoded(PICTURE, file_format, exif=exif, quality=95), LIMITS).pixels
    assert far_from(pixels, UPRIGHT) <= 12


def with_palette(*colours):
    picture = Image.new("P", (len(colours), 1))
    picture.putpalette([value for colour in colours for value in colour])
    picture.putdata(range(len(colours)))
    return picture


def row(mode, *values):
    picture = Image.new(mode, (len(values), 1))
    for x, value in enumerate(values):
        picture.putpixel((x, 0), value)
    return picture


@pytest.mark.parametrize(
    ("picture", "file_format", "options", "expected"),
    [
        pytest.param(
            row("RGBA", (9, 8, 7, 255), (9, 8, 7, 0), (0, 0, 0, 51)),
            "PNG",
            {},
            [(9, 8, 7), (255,) * 3, (204,) * 3],
            id="RGBA",
        ),
        pytest.param(
            row("RGBA", (9, 8, 7, 255), (9, 8, 7, 0)),
            "WEBP",
            {"lossless": True},
            [(9, 8, 7), (255,) * 3],
            id="RGBA WebP",
        ),
        pytest.param(row("LA", (60, 255), (60, 0), (0, 51)), "PNG", {}, [(60,) * 3, (255,) * 3, (204,) * 3], id="LA"),
        pytest.param(with_palette((250, 0, 0), (0, 250, 0)), "PNG", {}, [(250, 0, 0), (0, 250, 0)], id="P"),
        pytest.param(
            with_palette((250, 0, 0), (0, 250, 0)),
            "PNG",
            {"transparency": 0},
            [(255,) * 3, (0, 250, 0)],
            id="P, one index",
        ),
        pytest.param(
            with_palette((0,) * 3, (9,) * 3),
            "PNG",
            {"transparency": b"\x33\xff"},
            [(204,) * 3, (9,) * 3],
            id="P, alpha",
        ),
        pytest.param(
            with_palette((250, 0, 0), (0, 250, 0)), "GIF", {"transparency": 1}, [(250, 0, 0), (255,) * 3], id="P GIF"
        ),
        pytest.param(row("1", 0, 1), "PNG", {}, [(0,) * 3, (255,) * 3], id="1"),
        pytest.param(row("1", 0, 1), "BMP", {}, [(0,) * 3, (255,) * 3], id="1 BMP"),
        pytest.param(row("L", 0, 77, 255), "PNG", {}, [(0,) * 3, (77,) * 3, (255,) * 3], id="L"),
        pytest.param(row("L", 0, 77, 255), "BMP", {}, [(0,) * 3, (77,) * 3, (255,) * 3], id="L BMP"),
    ],
)
def test_every_colour_mode_becomes_rgb_over_white(encoded, picture, file_format, options, expected):
    assert decode(encoded(picture, file_format, **options), LIMITS).pixels.tolist() == [
        [list(pixel) for pixel in expected]
    ]


@pytest.mark.parametrize(
    ("depth", "colour_type", "samples", "transparent", "expected"),
    [
        pytest.param(1, 0, b"\x40", b"\0\0", [255, 255], id="gray 1"),
        pytest.param(2, 0, b"\x10", b"\0\1", [0, 255], id="gray 2"),
        pytest.param(4, 0, b"\x2f", b"\0\2", [255, 255], id="gray 4"),
        pytest.param(8, 0, b"\x20\x21", b"\0\x20", [255, 0x21], id="gray 8"),
        pytest.param(16, 0, b"\x20\x00\x20\x21", b"\x20\0", [255, 0x20], id="gray 16"),
        pytest.param(8, 2, b"\1\1\1\2\2\2", b"\0\1\0\1\0\1", [255, 2], id="RGB 8"),
        pytest.param(
            16, 2, b"\x20\0\x20\0\x20\0" + b"\x21\0\x21\0\x21\0", b"\x20\0\x20\0\x20\0", [255, 0x21], id="RGB 16"
        ),
    ],
)
def test_the_transparent_colour_of_a_png_becomes_white_at_every_depth(
    depth, colour_type, samples, transparent, expected
):
    pixels = decode(png(2, depth, colour_type, samples, (b"tRNS", transparent)), LIMITS).pixels
    assert pixels[0].tolist() == [[value] * 3 for value in expected]


def test_16_bit_gray_is_scaled_and_rounded_not_clipped(encoded):
    values = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    pixels = decode(encoded(Image.fromarray(values), "PNG"), LIMITS).pixels
    assert (pixels == np.rint(values / 65_535 * 255)[:, :, None]).all()
    assert [pixels.reshape(-1, 3)[value].tolist() for value in (0, 32_768, 65_535)] == [[0] * 3, [128] * 3, [255] * 3]


@pytest.mark.parametrize(
    ("cmyk", "rgb"), [((0, 255, 255, 0), (255, 0, 0)), ((255, 0, 0, 0), (0, 255, 255)), ((0, 0, 0, 255), (0, 0, 0))]
)
def test_a_cmyk_jpeg_keeps_its_colour(encoded, cmyk, rgb):
    pixels = decode(encoded(Image.new("CMYK", (16, 16), cmyk), "JPEG"), LIMITS).pixels
    assert far_from(pixels, np.full((16, 16, 3), rgb)) <= 12


def test_each_of_8_threads_gets_its_own_image(encoded):
    formats = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "PNG", "JPEG", "WEBP"]
    colours = [(30 * index, 255 - 30 * index, 10 * index) for index in range(8)]
    files = [encoded(Image.new("RGB", (200 + index, 150), colours[index]), formats[index]) for index in range(8)]
    together = threading.Barrier(8)

    def work(index):
        together.wait(timeout=10)
        return [decode(files[index], LIMITS).pixels for _ in range(4)]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(work, range(8)))
    for index, images in enumerate(answers):
        for pixels in images:
            assert far_from(pixels, np.full((150, 200 + index, 3), colours[index])) <= 6


@pytest.mark.parametrize(
    ("shape", "dtype", "mode", "channels", "values"),
    [
        ((480, 640, 3), np.uint8, "RGB", 3, 921_600),
        ((2, 5), np.float32, "L", 1, 10),
        ((2, 5, 1), np.uint16, "L", 1, 10),
        ((2, 5, 2), np.int64, "LA", 2, 20),
        ((2, 5, 4), np.uint8, "RGBA", 4, 40),
    ],
)
def test_inspect_reports_what_an_array_holds(shape, dtype, mode, channels, values):
    image = np.zeros(shape, dtype)
    image.flat[-1] = 7
    facts = dataclasses.asdict(inspect(image))
    assert facts == {
        "shape": shape,
        "dtype": np.dtype(dtype).name,
        "minimum": 0.0,
        "maximum": 7.0,
        "mode": mode,
        "channels": channels,
        "values": values,
    }


@pytest.mark.parametrize("shape", [(), (3,), (0, 5), (5, 0, 3), (5, 5, 0), (5, 5, 5), (1, 5, 5, 3)])
def test_inspect_refuses_what_is_no_image(shape):
    with pytest.raises(ValueError, match="An image is"):
        inspect(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("mode", "file_format", "options", "orientation"),
    [
        ("CMYK", "JPEG", {}, 1),
        ("L", "JPEG", {"exif": orientation_tag(6)}, 6),
        ("RGBA", "PNG", {"exif": orientation_tag(3)}, 3),
        ("P", "GIF", {}, 1),
        ("RGB", "WEBP", {"exif": orientation_tag(8)}, 8),
        ("1", "BMP", {}, 1),
    ],
)
def test_stored_facts_are_those_that_decoding_makes_equal(encoded, mode, file_format, options, orientation):
    data = encoded(PICTURE.convert(mode), file_format, **options)
    assert stored_facts(data) == StoredFacts(mode, orientation)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0" + bytes(range(60, 120)), b"Exif\0\0", orientation_tag(0), orientation_tag(9)]
)
def test_a_malformed_orientation_is_stored_as_upright(encoded, exif):
    assert stored_facts(encoded(PICTURE, "JPEG", exif=exif)).orientation == 1


def not_by_libjpeg(data, space):
    raise NotForLibjpeg("a test")


def test_plain_jpegs_do_not_pass_through_pillow(encoded, monkeypatch):
    monkeypatch.setattr(image.Image, "open", None)
    for mode in ("L", "RGB", "CMYK"):
        assert decode(encoded(PICTURE.convert(mode), "JPEG", exif=orientation_tag(1)), LIMITS).pixels.size


SUBSAMPLINGS = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (16, 16), (17, 33), (333, 250)], ids=str)
def test_a_gray_jpeg_has_pillows_pixels(encoded, monkeypatch, size):
    picture = Image.fromarray(np.random.default_rng(sum(size)).integers(0, 256, (size[1], size[0]), dtype=np.uint8))
    data = encoded(picture, "JPEG")
    around = decode(data, LIMITS).pixels
    monkeypatch.setattr(image, "decode_whole", not_by_libjpeg)
    assert np.array_equal(decode(data, LIMITS).pixels, around)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (16, 16), (17, 33), (333, 250)], ids=str)
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"quality": 20}, {"exif": orientation_tag(6)}, {"exif": orientation_tag(1)}]
)
def test_a_jpeg_has_pillows_pixels(encoded, monkeypatch, size, subsampling, options):
    picture = Image.fromarray(np.random.default_rng(sum(size)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    data = encoded(picture, "JPEG", subsampling=SUBSAMPLINGS[subsampling], **options)
    around = decode(data, LIMITS).pixels
    monkeypatch.setattr(image, "decode_whole", not_by_libjpeg)
    assert np.array_equal(decode(data, LIMITS).pixels, around)


def test_real_photos_have_pillows_pixels(shared, monkeypatch):
    files = [
        *sorted((shared / "data" / "photos").iterdir())[::4],
        *sorted((shared / "data" / "flowers").rglob("*.jpg"))[::100],
    ]
    photos = [file.read_bytes() for file in files if file.suffix.lower() in (".jpg", ".jpeg")]
    around = [decode(data, LIMITS).pixels for data in photos]
    monkeypatch.setattr(image, "decode_whole", not_by_libjpeg)
    for data, pixels in zip(photos, around, strict=True):
        assert np.array_equal(decode(data, LIMITS).pixels, pixels)
