"""What a first frame does not cover is white; metadata neither costs an answer nor turns an image."""

import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.vision.pngs import SIGNATURE, chunk, header
from vision.errors import CorruptImage, TooManyPixels
from vision.image import DecodeLimits, declared_pixels, decode, stored_facts

LIMITS = DecodeLimits()
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
XMP_UPSIDE_DOWN = b"""<?xpacket begin=''?><x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF
 xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description
 xmlns:tiff='http://ns.adobe.com/tiff/1.0/' tiff:Orientation="3"/></rdf:RDF></x:xmpmeta>"""


def packed(width, height, colour):
    return zlib.compress((b"\0" + bytes(colour) * width) * height)


def control(sequence, width, height, left, top):
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", sequence, width, height, left, top, 1, 1, 0, 0))


def boxed(width, height, box, colour):
    """White, and one box (left, top, right, bottom) of a colour."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = colour
    return pixels


def gif(canvas, corner, size, encoded, **options):
    """A GIF whose first frame is smaller than its canvas; the first colour of its palette is blue."""
    frame = Image.new("P", size, 1)
    frame.putpalette([*BLUE, *RED, *GREEN, 9, 9, 9])
    data = bytearray(encoded(frame, "GIF", optimize=False, **options))
    data[6:10] = struct.pack("<HH", *canvas)
    at = data.rindex(b"\x2c\0\0\0\0")
    data[at + 1 : at + 5] = struct.pack("<HH", *corner)
    return bytes(data)


@pytest.mark.parametrize("corner", [(0, 0), (2, 1), (5, 4)])
@pytest.mark.parametrize("options", [{}, {"transparency": 3}, {"interlace": 0}])
def test_what_a_gifs_first_frame_does_not_cover_is_white(encoded, corner, options):
    data = gif((8, 6), corner, (3, 2), encoded, **options)
    box = (*corner, corner[0] + 3, corner[1] + 2)
    assert np.array_equal(decode(data, LIMITS).pixels, boxed(8, 6, box, RED))


def test_a_gifs_transparent_pixels_are_white_within_the_frame_too(encoded):
    data = gif((8, 6), (2, 1), (3, 2), encoded, transparency=1)
    assert (decode(data, LIMITS).pixels == 255).all()


def webp(canvas, corner, size, encoded, alpha=False):
    """An animation of one frame, smaller than its canvas."""
    frame = Image.new("RGBA" if alpha else "RGB", size, (*RED, 255) if alpha else RED)
    image = encoded(frame, "WEBP", lossless=True)
    image = image[12:] if image[12:16] == b"VP8L" else image[image.index(b"VP8L") :]
    (left, top), (width, height) = corner, size
    place = b"".join(number.to_bytes(3, "little") for number in (left // 2, top // 2, width - 1, height - 1, 100))
    frame_chunk = b"ANMF" + (len(place) + 1 + len(image)).to_bytes(4, "little") + place + b"\2" + image
    extended = bytes([2 | (16 if alpha else 0), 0, 0, 0]) + b"".join(
        (side - 1).to_bytes(3, "little") for side in canvas
    )
    body = b"WEBPVP8X" + (10).to_bytes(4, "little") + extended
    body += b"ANIM" + (6).to_bytes(4, "little") + b"\x80\x40\x20\xff\0\0" + frame_chunk
    return b"RIFF" + len(body).to_bytes(4, "little") + body


@pytest.mark.parametrize("corner", [(0, 0), (2, 4), (6, 8)])
@pytest.mark.parametrize("alpha", [False, True])
def test_what_a_webps_first_frame_does_not_cover_is_white(encoded, corner, alpha):
    data = webp((14, 16), corner, (8, 8), encoded, alpha)
    box = (*corner, corner[0] + 8, corner[1] + 8)
    assert np.array_equal(decode(data, LIMITS).pixels, boxed(14, 16, box, RED))


def apng(*chunks):
    return SIGNATURE + header(8, 6) + chunk(b"acTL", struct.pack(">II", 2, 0)) + b"".join(chunks) + chunk(b"IEND", b"")


DEFAULT = chunk(b"IDAT", packed(8, 6, BLUE))


@pytest.mark.parametrize("corner", [(0, 0), (2, 1), (5, 4)])
def test_an_animated_png_with_a_hidden_default_image_shows_its_first_frame(corner):
    data = apng(
        DEFAULT,
        control(0, 3, 2, *corner),
        chunk(b"fdAT", struct.pack(">I", 1) + packed(3, 2, RED)[:5]),
        chunk(b"fdAT", struct.pack(">I", 2) + packed(3, 2, RED)[5:]),
        control(3, 8, 6, 0, 0),
        chunk(b"fdAT", struct.pack(">I", 4) + packed(8, 6, GREEN)),
    )
    box = (*corner, corner[0] + 3, corner[1] + 2)
    assert np.array_equal(decode(data, LIMITS).pixels, boxed(8, 6, box, RED))


def test_an_animated_png_whose_default_image_is_its_first_frame_shows_that():
    data = apng(
        control(0, 8, 6, 0, 0), DEFAULT, control(1, 3, 2, 0, 0), chunk(b"fdAT", b"\0\0\0\2" + packed(3, 2, RED))
    )
    assert (decode(data, LIMITS).pixels == BLUE).all()


@pytest.mark.parametrize(
    "frame",
    [
        control(0, 9, 2, 0, 0),
        control(0, 3, 2, 6, 0),
        control(0, 0, 2, 0, 0),
        control(0, 2**31, 2**31, 2**31, 2**31),
        chunk(b"fcTL", b"\0" * 7),
    ],
)
def test_a_frame_that_does_not_fit_leaves_the_default_image(frame):
    data = apng(DEFAULT, frame, chunk(b"fdAT", struct.pack(">I", 1) + packed(3, 2, RED)))
    assert (decode(data, LIMITS).pixels == BLUE).all()


def test_the_canvas_of_a_hidden_default_image_is_within_the_limits_wherever_its_header_stands():
    """The canvas is filled by us: 60,000 × 60,000 white pixels would be 10.8 GB."""
    large = header(60_000, 60_000)
    animation = control(0, 3, 2, 0, 0) + chunk(b"fdAT", struct.pack(">I", 1) + packed(3, 2, RED))
    with pytest.raises(TooManyPixels):
        decode(SIGNATURE + large + DEFAULT + animation, LIMITS)
    for first in (
        chunk(b"tEXt", struct.pack(">II", 8, 6)),
        chunk(b"tRNS", struct.pack(">II", 8, 6)),
        header(8, 6)[:-4],
    ):
        with pytest.raises((CorruptImage, TooManyPixels)):
            decode(SIGNATURE + first + large + DEFAULT + animation, LIMITS)


def with_chunks(encoded, *chunks, after=False):
    png = encoded(Image.fromarray(PICTURE), "PNG")
    at = png.index(b"IEND") - 4 if after else 33
    return png[:at] + b"".join(chunks) + png[at:]


ANCILLARY = {
    "a megabyte of text": [chunk(b"tEXt", b"Comment\0" + b"x" * 2**20)],
    "twelve megabytes of text": [chunk(b"tEXt", b"Comment\0" + b"x" * 2**20)] * 12,
    "a packed text that grows": [chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(64 * 2**20)))],
    "a text that is not packed right": [chunk(b"zTXt", b"Comment\0\0nonsense")],
    "a text with a wrong checksum": [chunk(b"tEXt", b"Comment\0x", 0)],
    "an international text without an end": [chunk(b"iTXt", b"Comment")],
    "a profile that grows": [chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(64 * 2**20)))],
    "a profile that is not packed right": [chunk(b"iCCP", b"p\0\0nonsense")],
    "a profile without a name": [chunk(b"iCCP", b"")],
    "a profile with a wrong checksum": [chunk(b"iCCP", b"p\0\0x", 1)],
    "a short gamma": [chunk(b"gAMA", b"")],
    "a short resolution": [chunk(b"pHYs", b"\0")],
    "a short time": [chunk(b"tIME", b"")],
    "an EXIF that is none": [chunk(b"eXIf", b"nonsense" * 99)],
    "an EXIF with a wrong checksum": [chunk(b"eXIf", b"MM\0*", 7)],
    "an unknown one": [chunk(b"teSt", bytes(99))],
    "a broken animation": [chunk(b"acTL", b"\0")],
}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ANCILLARY)
def test_what_is_no_pixel_of_a_png_cannot_cost_its_answer(encoded, kind, after):
    data = with_chunks(encoded, *ANCILLARY[kind], after=after)
    assert np.array_equal(decode(data, LIMITS).pixels, PICTURE)
    assert stored_facts(data).orientation == 1


def test_text_that_grows_takes_no_memory(encoded):
    data = with_chunks(encoded, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**30))))
    tracemalloc.start()
    decode(data, LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(data) + 2**20


def test_more_chunks_than_any_file_has_are_refused_soon(encoded):
    data = with_chunks(encoded, chunk(b"teSt", b"") * 1_300_000)
    started = time.perf_counter()
    with pytest.raises(CorruptImage, match="50000 chunks"):
        decode(data, LIMITS)
    assert time.perf_counter() - started < 1


def test_a_damaged_transparent_colour_is_ignored_as_browsers_do(encoded):
    data = with_chunks(encoded, chunk(b"tRNS", struct.pack(">HHH", *map(int, PICTURE[0, 0])), 5))
    assert np.array_equal(decode(data, LIMITS).pixels, PICTURE)


@pytest.mark.parametrize("after", [False, True])
def test_the_exif_of_a_png_turns_it_wherever_it_stands(encoded, after):
    exif = Image.Exif()
    exif[0x0112] = 3
    data = with_chunks(encoded, chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")), after=after)
    assert np.array_equal(decode(data, LIMITS).pixels, PICTURE[::-1, ::-1])
    assert stored_facts(data).orientation == 3


def xmp(encoded, file_format):
    picture = Image.fromarray(PICTURE)
    match file_format:
        case "PNG":
            info = PngImagePlugin.PngInfo()
            info.add_itxt("XML:com.adobe.xmp", XMP_UPSIDE_DOWN.decode())
            return encoded(picture, "PNG", pnginfo=info)
        case "WEBP":
            return encoded(picture, "WEBP", lossless=True, xmp=XMP_UPSIDE_DOWN)
        case _:
            return encoded(picture, "JPEG", xmp=XMP_UPSIDE_DOWN)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_an_orientation_in_xmp_turns_nothing(encoded, file_format):
    data = xmp(encoded, file_format)
    assert b"tiff:Orientation" in data
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] == 3
    pixels = decode(data, LIMITS).pixels.astype(int)
    assert np.abs(pixels - PICTURE).mean() < np.abs(pixels - PICTURE[::-1, ::-1]).mean() / 1.5
    assert stored_facts(data).orientation == 1


@pytest.mark.parametrize(
    "between",
    [
        b"",
        b"\0\1\2",
        b"!\xfe\3abc\0",
        b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0",
        b"!\xfe" + (b"\xff" + bytes(255)) * 3 + b"\0",
    ],
)
def test_what_stands_before_a_gifs_first_frame_changes_nothing(encoded, between):
    data = gif((8, 6), (2, 1), (3, 2), encoded, transparency=3)
    at = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    longer = data[:at] + between + data[at:]
    assert np.array_equal(decode(longer, LIMITS).pixels, decode(data, LIMITS).pixels)
    assert declared_pixels(longer) == 48


def test_a_gif_has_at_most_100_000_blocks_before_its_first_frame(encoded):
    data = gif((8, 6), (2, 1), (3, 2), encoded)
    at = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    assert decode(data[:at] + b"!\xfe\0" * 99_000 + data[at:], LIMITS).pixels.shape == (6, 8, 3)
    with pytest.raises(CorruptImage, match="100000 blocks"):
        decode(data[:at] + b"!\xfe\0" * 100_001 + data[at:], LIMITS)
