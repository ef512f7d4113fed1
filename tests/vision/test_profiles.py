"""Colours become those of sRGB by what the file says of them; what is wrong with a profile costs no answer."""

import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.vision.pngs import chunk
from tests.vision.profiles import (
    ADOBE_RGB,
    bitmap_of_version_5,
    chromaticities,
    gamma,
    gray_profile,
    inks,
    table_profile,
    with_chunks,
)
from tests.vision.test_image import orientation_tag
from vision import image, profiles
from vision.icc import DISPLAY_P3, REC_2020, SRGB, SRGB_CURVE, Primaries, matrix_profile
from vision.image import DecodeLimits, decode
from vision.jpeg import NotForLibjpeg
from vision.profiles import MAX_PROFILE_BYTES

LIMITS = DecodeLimits()
LEVELS = np.linspace(0, 255, 8).astype(np.uint8)
CUBE = np.stack(np.meshgrid(*[LEVELS] * 3, indexing="ij"), axis=-1).reshape(16, 32, 3)
RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
P3 = matrix_profile(DISPLAY_P3, SRGB_CURVE, "Display P3")
IGNORED = "The colour profile is damaged and was ignored."
# https://www.w3.org/TR/css-color-4/#color-conversion-code: linear Display P3 to linear sRGB.
P3_TO_SRGB = np.array([[1.2249401, -0.2249402, 0], [-0.0420569, 1.0420571, 0], [-0.0196376, -0.0786361, 1.0982735]])
ADOBE_TO_SRGB = np.array([[1.3982832, -0.3983044, 0], [0, 1, 0], [0, -0.0429383, 1.0429306]])


def light(levels, gamma=None):
    values = levels / 255
    if gamma is not None:
        return values**gamma
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def stored(values):
    """Light of sRGB → 0 to 255."""
    values = values.clip(0, 1)
    return 255 * np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)


def far(decoded, expected):
    return np.abs(decoded.pixels.astype(float) - expected).max()


@pytest.fixture
def png(encoded):
    def encode(pixels=CUBE, mode="RGB", **options):
        return encoded(Image.fromarray(pixels).convert(mode), "PNG", **options)

    return encode


@pytest.fixture
def jpeg(encoded):
    def encode(pixels=CUBE, **options):
        return encoded(Image.fromarray(pixels), "JPEG", quality=100, subsampling=0, **options)

    return encode


def from_p3(levels):
    return stored(light(levels) @ P3_TO_SRGB.T)


def from_adobe(levels):
    return stored(light(levels, 2.19921875) @ ADOBE_TO_SRGB.T)


def from_linear(levels):
    return stored(light(levels, 1.0))


P3_CUBE = from_p3(CUBE)
TAGGED = {
    "display p3": (P3, from_p3),
    "adobe rgb": (matrix_profile(ADOBE_RGB, 2.19921875, "Adobe RGB"), from_adobe),
    "gamma 1.0": (matrix_profile(SRGB, 1.0, "linear"), from_linear),
    "a table": (table_profile(b"RGB ", lambda rgb: rgb[:, [1, 0, 2]], 33), lambda levels: levels[:, :, [1, 0, 2]]),
}


@pytest.mark.parametrize("name", TAGGED)
@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "RGBA", "P"])
def test_colours_become_those_of_srgb(encoded, png, name, file_format):
    icc, convert = TAGGED[name]
    expected = convert(CUBE)
    if file_format == "WEBP":
        data = encoded(Image.fromarray(CUBE), "WEBP", lossless=True, icc_profile=icc)
    elif file_format == "P":
        palette = Image.fromarray(CUBE[:8]).quantize(256, dither=Image.Dither.NONE)
        data, expected = encoded(palette, "PNG", icc_profile=icc), expected[:8]
    else:
        data = png(mode="RGB" if file_format == "PNG" else file_format, icc_profile=icc)
    decoded = decode(data, LIMITS)
    assert far(decoded, expected) <= 2
    assert decoded.profile
    assert decoded.warning == ""


@pytest.mark.parametrize("name", TAGGED)
@pytest.mark.parametrize("by", ["libjpeg", "pillow"])
def test_a_jpegs_colours_become_those_of_srgb(jpeg, monkeypatch, name, by):
    icc, convert = TAGGED[name]
    data, plain = jpeg(icc_profile=icc, exif=orientation_tag(3)), decode(jpeg(), LIMITS).pixels
    if by == "pillow":
        monkeypatch.setattr(image, "decode_whole", lambda data, space: (_ for _ in ()).throw(NotForLibjpeg("a test")))
    decoded = decode(data, LIMITS)
    assert far(decoded, convert(plain)[::-1, ::-1]) <= 2
    assert decoded.profile in ("Display P3", "Adobe RGB", "linear", "table")


@pytest.mark.parametrize("exponent", [1.0, 1.8, 2.2])
@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "1"])
def test_a_gray_profile_is_for_gray_images(png, exponent, mode):
    pixels = RAMP.astype(np.uint16) * 257 if mode == "I;16" else RAMP
    data = png(pixels, "I;16" if mode == "I;16" else mode, icc_profile=gray_profile(exponent))
    expected = (RAMP > 127) * 255 if mode == "1" else stored(light(RAMP, exponent))
    shown = decode(data, LIMITS)
    if mode == "1":  # dithered; black and white stay
        assert set(np.unique(shown.pixels)) == {0, 255}
    else:
        assert far(shown, expected[:, :, None]) <= 1


def test_a_gray_jpeg_takes_a_gray_and_an_rgb_profile(jpeg):
    plain = decode(jpeg(RAMP), LIMITS).pixels
    for icc in (gray_profile(1.0), matrix_profile(SRGB, 1.0, "linear")):
        assert far(decode(jpeg(RAMP, icc_profile=icc), LIMITS), from_linear(plain)) <= 1


def test_inks_look_as_their_profile_says(encoded):
    levels = np.array([0, 85, 170, 255], np.uint8)
    cmyk = np.stack(np.meshgrid(*[levels] * 4, indexing="ij"), -1).reshape(16, 16, 4).repeat(8, 0).repeat(8, 1)
    stored_inks = Image.frombytes("CMYK", (128, 128), cmyk.tobytes())
    data = encoded(stored_inks, "JPEG", quality=100, subsampling=0, icc_profile=table_profile(b"CMYK", inks))
    seen = np.array(Image.open(io.BytesIO(data)))  # what compression has left
    expected = 255 * inks(seen.reshape(-1, 4) / 255).reshape(128, 128, 3)
    shown = decode(data, LIMITS)
    assert far(shown, expected) <= 4
    assert shown.profile == "table"
    plain = decode(encoded(stored_inks, "JPEG", quality=100, subsampling=0), LIMITS)
    assert far(plain, expected) > 60


def test_transparency_is_kept(encoded):
    """Colours are converted before what lies below shows through."""
    half = np.dstack([CUBE, np.full(CUBE.shape[:2], 128, np.uint8)])
    shown = decode(encoded(Image.fromarray(half), "PNG", icc_profile=P3), LIMITS)
    assert far(shown, P3_CUBE * 128 / 255 + 127) <= 2


CODED = {
    "display p3": ((12, 13, 0, 1), P3_CUBE),
    "linear": ((1, 8, 0, 1), from_linear(CUBE)),
    "srgb": ((1, 13, 0, 1), CUBE),
    "video": ((1, 1, 0, 1), stored(light(CUBE, 2.4))),
}


@pytest.mark.parametrize("name", CODED)
def test_a_png_may_name_its_colours_by_code_points(png, name):
    code, expected = CODED[name]
    decoded = decode(with_chunks(png(), chunk(b"cICP", bytes(code)), gamma(30_000)), LIMITS)
    assert far(decoded, expected) <= 1
    assert decoded.warning == ""


@pytest.mark.parametrize("code", [(9, 16, 0, 1), (9, 18, 0, 1), (1, 13, 1, 1), (1, 13, 0, 0), (99, 13, 0, 1), (1, 13)])
def test_code_points_that_are_not_supported_are_named(png, code):
    plain = decode(with_chunks(png(), chunk(b"cICP", bytes(code))), LIMITS)
    assert far(plain, CUBE) == 0
    assert ", ".join(map(str, code)) in plain.warning
    other = decode(with_chunks(png(icc_profile=P3), chunk(b"cICP", bytes(code))), LIMITS)
    assert far(other, P3_CUBE) <= 1


@pytest.mark.parametrize("value", [30_000, 55_556, 100_000])
def test_a_png_may_name_a_gamma(png, value):
    assert far(decode(with_chunks(png(), gamma(value)), LIMITS), stored(light(CUBE, 100_000 / value))) <= 1


def test_a_png_may_name_its_chromaticities(png):
    data = with_chunks(png(), gamma(45_471), chromaticities(ADOBE_RGB))
    assert far(decode(data, LIMITS), from_adobe(CUBE)) <= 1


@pytest.mark.parametrize(
    "chunks",
    [
        [gamma(45_455)],
        [gamma(45_455), chromaticities(SRGB)],
        [gamma(44_500)],
        [gamma(47_000)],
        [chromaticities(ADOBE_RGB)],
        [gamma(100_000), chunk(b"sRGB", b"\0")],
    ],
)
def test_what_means_srgb_changes_nothing(png, chunks):
    decoded = decode(with_chunks(png(), *chunks), LIMITS)
    assert far(decoded, CUBE) == 0
    assert (decoded.profile, decoded.warning) == ("", "")


@pytest.mark.parametrize(
    "chunks",
    [
        [gamma(0)],
        [gamma(1)],
        [gamma(2**32 - 1)],
        [chunk(b"gAMA", b"\0\1")],
        [gamma(100_000), chromaticities(Primaries((0.3, 0.3), (0.3, 0.3), (0.3, 0.3)))],
        [gamma(100_000), chromaticities(Primaries((0.64, 0), (0.3, 0.6), (0.15, 0.06)))],
        [gamma(100_000), chunk(b"cHRM", b"\xff" * 32)],
        [gamma(100_000), chunk(b"cHRM", bytes(32))],
    ],
)
def test_numbers_that_mean_nothing_are_ignored_with_a_warning(png, chunks):
    decoded = decode(with_chunks(png(), *chunks), LIMITS)
    assert far(decoded, CUBE) == 0
    assert "ignored" in decoded.warning


def test_chunks_after_the_pixels_mean_nothing(png):
    data = png()
    end = data.index(b"IEND") - 4
    decoded = decode(data[:end] + gamma(100_000) + data[end:], LIMITS)
    assert far(decoded, CUBE) == 0


@pytest.mark.parametrize("curve", [SRGB_CURVE, (2.3995, 1 / 1.0549, 0.0549 / 1.0549, 1 / 12.9, 0.0404)])
def test_srgbs_own_profiles_cost_nothing(jpeg, monkeypatch, curve):
    """Cameras and programs write variants; what is within one level of sRGB is left as it is."""
    icc = matrix_profile(SRGB, curve, "sRGB variant")
    data = jpeg(icc_profile=icc)
    decode(data, LIMITS)  # the profile is looked at once
    monkeypatch.setattr(profiles.ImageCms, "applyTransform", None)
    decoded = decode(data, LIMITS)
    assert np.array_equal(decoded.pixels, decode(jpeg(), LIMITS).pixels)
    assert (decoded.profile, decoded.warning) == ("", "")


def test_a_profile_is_parsed_once(png, monkeypatch):
    data = png(icc_profile=matrix_profile(REC_2020, 2.4, "once"))
    first = decode(data, LIMITS).pixels
    monkeypatch.setattr(profiles.ImageCms, "buildTransform", None)
    assert np.array_equal(decode(data, LIMITS).pixels, first)


def test_the_conversions_that_are_kept_are_few(png):
    for name in range(40):
        decode(png(icc_profile=matrix_profile(DISPLAY_P3, SRGB_CURVE, f"profile {name}")), LIMITS)
    assert len(profiles._conversions._kept) == profiles._KEPT_CONVERSIONS


DAMAGED = {
    "nothing": b"\0",
    "cut off": P3[:200],
    "a text": b"a profile" * 30,
    "no table": P3[:128] + b"\xff\xff\xff\xff" + P3[132:],
    "wrong offsets": P3[:172] + b"\xff" * 8 + P3[180:],
    "another class": P3[:12] + b"link" + P3[16:],
    "lab": P3[:16] + b"Lab " + P3[20:],
    "no signature": P3[:36] + b"abcd" + P3[40:],
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_a_damaged_profile_is_ignored_with_a_warning(encoded, name, file_format):
    options = {"PNG": {}, "JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}[file_format]
    picture = Image.fromarray(CUBE)
    decoded = decode(encoded(picture, file_format, icc_profile=DAMAGED[name], **options), LIMITS)
    assert np.array_equal(decoded.pixels, decode(encoded(picture, file_format, **options), LIMITS).pixels)
    assert "profile is damaged" in decoded.warning
    assert decoded.profile == ""


def test_a_profile_for_other_channels_is_ignored_with_a_warning(png, jpeg, encoded):
    assert "is for images gray; this one is in RGB" in decode(png(icc_profile=gray_profile(1.0)), LIMITS).warning
    assert "is for images in CMYK" in decode(jpeg(icc_profile=table_profile(b"CMYK", inks, 3)), LIMITS).warning
    cmyk = encoded(Image.fromarray(CUBE).convert("CMYK"), "JPEG", icc_profile=P3)
    assert "is for images in RGB; this one is in CMYK" in decode(cmyk, LIMITS).warning


def test_a_profile_in_many_parts_is_put_together_in_their_order(jpeg):
    large = P3 + bytes(200_000)
    data = jpeg(icc_profile=large)
    assert data.count(b"ICC_PROFILE\0") == 4
    assert decode(data, LIMITS).profile == "Display P3"
    places = [data.index(b"ICC_PROFILE\0" + bytes((number, 4))) for number in (1, 2, 3, 4)]
    swapped = bytearray(data)
    swapped[places[0] + 12], swapped[places[1] + 12] = 2, 1
    assert "profile is damaged" in decode(bytes(swapped), LIMITS).warning  # its parts are in the wrong order now
    for number in (2, 9):  # twice the same, or one that is not among four
        lacking = bytearray(data)
        lacking[places[0] + 12] = number
        assert decode(bytes(lacking), LIMITS).warning == "A part of the colour profile is missing; it was ignored."


def test_an_exif_thumbnail_hides_no_profile(jpeg, encoded):
    """A thumbnail has scans and a profile of its own."""
    thumbnail = encoded(Image.fromarray(CUBE), "JPEG", icc_profile=matrix_profile(SRGB, 1.0, "linear"))
    body = b"Exif\0\0" + b"II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail
    data = jpeg(icc_profile=P3)
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    assert decode(data, LIMITS).profile == "Display P3"


def test_a_profile_that_unpacks_to_gigabytes_costs_little(png):
    bomb = zlib.compress(bytes(200_000_000), 9)
    data = with_chunks(png(), chunk(b"iCCP", b"bomb\0\0" + bomb))
    tracemalloc.start()
    decoded = decode(data, LIMITS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(MAX_PROFILE_BYTES) in decoded.warning
    assert peak < 3 * MAX_PROFILE_BYTES


def test_a_chain_of_many_steps_is_not_computed(png):
    """Such a tag may hold 100,000 matrices, each computed for every node of a table."""
    step = b"matf\0\0\0\0" + struct.pack(">HH", 3, 3) + struct.pack(">12f", 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0)
    count = 40_000
    places = b"".join(struct.pack(">II", 16 + 8 * count + len(step) * place, len(step)) for place in range(count))
    chain = b"mpet\0\0\0\0" + struct.pack(">HHI", 3, 3, count) + places + step * count
    icc = table_profile(b"RGB ", lambda rgb: rgb[:, [1, 0, 2]], 8, D2B0=chain)
    icc = icc[:8] + b"\4\x40\0\0" + icc[12:]
    begun = time.perf_counter()
    decoded = decode(png(icc_profile=icc), LIMITS)
    assert time.perf_counter() - begun < 2
    assert decoded.profile == "table"


@pytest.mark.parametrize("seed", range(20))
def test_no_profile_costs_an_answer(png, seed):
    generator = np.random.default_rng(seed)
    sources = [P3, gray_profile(1.8), TAGGED["a table"][0], table_profile(b"CMYK", inks, 3)]
    for _ in range(20):
        icc = bytearray(sources[generator.integers(len(sources))])
        for place in generator.integers(0, len(icc), generator.integers(1, 40)):
            icc[place] = generator.integers(256)
        assert decode(png(CUBE[:2], icc_profile=bytes(icc)), LIMITS).pixels.shape == (2, 32, 3)


def test_models_from_before_get_colours_as_they_are_stored(png, jpeg):
    for data in (png(icc_profile=P3), with_chunks(png(), gamma(100_000)), jpeg(icc_profile=P3)):
        decoded = decode(data, LIMITS, "stored")
        assert far(decoded, CUBE) <= 12  # of the JPEG
        assert (decoded.profile, decoded.warning) == ("", "")


def test_a_bitmap_may_embed_a_profile(encoded):
    for icc in (P3, b""):
        decoded = decode(bitmap_of_version_5(Image.fromarray(CUBE), encoded, icc), LIMITS)
        assert far(decoded, P3_CUBE if icc else CUBE) <= 1
        assert decoded.profile == ("Display P3" if icc else "")
