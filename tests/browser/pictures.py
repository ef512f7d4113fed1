"""Small pictures of the kinds that people send, for a comparison with what the browser shows."""

import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from tests.conftest import encode
from tests.vision.pngs import SIGNATURE, chunk, header
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
from tests.vision.test_image_frames import apng, control, gif, packed, webp
from vision.icc import DISPLAY_P3, REC_2020, SRGB, SRGB_CURVE, matrix_profile

LEVELS = np.linspace(0, 255, 8).astype(np.uint8)
CUBE = Image.fromarray(np.stack(np.meshgrid(*[LEVELS] * 3, indexing="ij"), axis=-1).reshape(16, 32, 3))
RAMP = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
# Smooth, and of several blocks in both directions, none of them whole.
SMOOTH = Image.fromarray(
    np.stack(np.broadcast_arrays(np.arange(75) * 3, np.arange(53)[:, None] * 4, 90), axis=-1).astype(np.uint8)
)
P3 = matrix_profile(DISPLAY_P3, SRGB_CURVE, "Display P3")
ADOBE = matrix_profile(ADOBE_RGB, 2.19921875, "Adobe RGB")
LINEAR = matrix_profile(SRGB, 1.0, "linear")
CMYK = Image.frombytes(
    "CMYK",
    (64, 64),
    np.stack(np.meshgrid(*[np.array([0, 85, 170, 255], np.uint8)] * 4, indexing="ij"), -1)
    .reshape(16, 16, 4)
    .repeat(4, 0)
    .repeat(4, 1)
    .tobytes(),
)


class Picture(NamedTuple):
    """One picture.

    Attributes:
        data: the file.
        differs: why the browser rightly shows something else; empty if it must not.
    """

    data: bytes
    differs: str = ""


def jpeg(picture: Image.Image = CUBE, **options: object) -> bytes:
    return encode(picture, "JPEG", **{"quality": 95, "subsampling": 0, **options})


def png(picture: Image.Image = CUBE, mode: str = "RGB", *chunks: bytes, **options: object) -> bytes:
    return with_chunks(encode(picture.convert(mode), "PNG", **options), *chunks)


def veiled(picture: Image.Image = CUBE) -> Image.Image:
    """With transparency from none to full."""
    alpha = np.tile(np.linspace(0, 255, picture.width).astype(np.uint8), (picture.height, 1))
    return Image.merge("RGBA", (*picture.split(), Image.fromarray(alpha)))


def see_through() -> bytes:
    palette = CUBE.quantize(32, dither=Image.Dither.NONE)
    return encode(palette, "PNG", transparency=bytes(range(0, 256, 8)))


def deep(samples: int) -> bytes:
    """16 bits a sample, 1 or 3 samples a pixel."""
    values = np.linspace(0, 65_535, 16 * 16 * samples).astype(">u2").reshape(16, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    kind = {1: 0, 3: 2}[samples]
    return SIGNATURE + header(16, 16, 16, kind) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def hidden_default() -> bytes:
    return apng(
        chunk(b"IDAT", packed(8, 6, (0, 0, 255))),
        control(0, 3, 2, 2, 1),
        chunk(b"fdAT", struct.pack(">I", 1) + packed(3, 2, (255, 0, 0))),
        control(2, 8, 6, 0, 0),
        chunk(b"fdAT", struct.pack(">I", 3) + packed(8, 6, (0, 255, 0))),
    )


def animated(file_format: str) -> bytes:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime")]
    return encode(frames[0], file_format, save_all=True, append_images=frames[1:], duration=60_000)


def pictures() -> dict[str, Picture]:
    """By a name that says what is special."""
    made: dict[str, Callable[[], bytes]] = {
        "jpeg": jpeg,
        "jpeg 4:2:0": lambda: jpeg(SMOOTH, subsampling=2),
        "jpeg 4:2:2": lambda: jpeg(SMOOTH, subsampling=1),
        "jpeg progressive": lambda: jpeg(SMOOTH, progressive=True),
        "jpeg gray": lambda: jpeg(RAMP),
        "jpeg cmyk": lambda: jpeg(CMYK),
        "jpeg display p3": lambda: jpeg(icc_profile=P3),
        "jpeg adobe rgb": lambda: jpeg(icc_profile=ADOBE),
        "jpeg linear": lambda: jpeg(icc_profile=LINEAR),
        "jpeg rec 2020": lambda: jpeg(icc_profile=matrix_profile(REC_2020, 2.4, "Rec. 2020")),
        "jpeg srgb": lambda: jpeg(icc_profile=matrix_profile(SRGB, SRGB_CURVE, "sRGB")),
        "jpeg profile in four parts": lambda: jpeg(icc_profile=P3 + bytes(200_000)),
        "jpeg damaged profile": lambda: jpeg(icc_profile=P3[:300]),
        "jpeg gray profile": lambda: jpeg(RAMP, icc_profile=gray_profile(1.8)),
        "jpeg gray with an rgb profile": lambda: jpeg(RAMP, icc_profile=LINEAR),
        "jpeg in colour with a gray profile": lambda: jpeg(icc_profile=gray_profile(1.0)),
        "png": png,
        "png gray": lambda: png(RAMP, "L"),
        "png 1 bit": lambda: png(RAMP, "1"),
        "png palette": lambda: encode(CUBE.quantize(13), "PNG"),
        "png palette with transparency": see_through,
        "png palette display p3": lambda: encode(CUBE.quantize(200), "PNG", icc_profile=P3),
        "png 16 bits": lambda: deep(3),
        "png gray 16 bits": lambda: deep(1),
        "png transparency": lambda: encode(veiled(), "PNG"),
        "png transparency display p3": lambda: encode(veiled(), "PNG", icc_profile=P3),
        "png transparent colour": lambda: encode(CUBE, "PNG", transparency=(255, 0, 0)),
        "png display p3": lambda: png(icc_profile=P3),
        "png gray profile": lambda: png(RAMP, "L", icc_profile=gray_profile(1.0)),
        "png gamma 1.0": lambda: png(CUBE, "RGB", gamma(100_000)),
        "png gamma 1.8": lambda: png(CUBE, "RGB", gamma(55_556)),
        "png gamma of srgb": lambda: png(CUBE, "RGB", gamma(45_455)),
        "png srgb before gamma": lambda: png(CUBE, "RGB", chunk(b"sRGB", b"\0"), gamma(100_000)),
        "png cicp display p3": lambda: png(CUBE, "RGB", chunk(b"cICP", bytes((12, 13, 0, 1)))),
        "png cicp linear": lambda: png(CUBE, "RGB", chunk(b"cICP", bytes((1, 8, 0, 1)))),
        "png cicp rec 2020": lambda: png(CUBE, "RGB", chunk(b"cICP", bytes((9, 14, 0, 1)))),
        "png turned": lambda: encode(SMOOTH, "PNG", exif=orientation_tag(6)),
        "png animation": lambda: animated("PNG"),
        "png animation without its default image": hidden_default,
        "gif": lambda: encode(CUBE.quantize(64), "GIF"),
        "gif transparent": lambda: encode(CUBE.quantize(64), "GIF", transparency=5),
        "gif animation": lambda: animated("GIF"),
        "gif small first frame": lambda: gif((8, 6), (2, 1), (3, 2), encode),
        "webp lossless": lambda: encode(CUBE, "WEBP", lossless=True),
        "webp lossy": lambda: encode(SMOOTH, "WEBP", quality=90),
        "webp transparency": lambda: encode(veiled(), "WEBP", lossless=True, exact=True),
        "webp display p3": lambda: encode(CUBE, "WEBP", lossless=True, icc_profile=P3),
        "webp animation": lambda: animated("WEBP"),
        "webp small first frame": lambda: webp((14, 16), (2, 4), (8, 8), encode, alpha=True),
        "bmp": lambda: encode(CUBE, "BMP"),
        "bmp palette": lambda: encode(CUBE.quantize(64), "BMP"),
        "bmp of version 5": lambda: bitmap_of_version_5(CUBE, encode),
        "bmp display p3": lambda: bitmap_of_version_5(CUBE, encode, P3),
    }
    made |= {
        f"jpeg orientation {turn}": lambda turn=turn: jpeg(SMOOTH, exif=orientation_tag(turn)) for turn in range(1, 9)
    }
    differing = {
        "jpeg cmyk with a profile": (
            jpeg(CMYK, icc_profile=table_profile(b"CMYK", inks)),
            "Chromium folds black into the other inks before it looks them up; we match the profile, see test_profiles",
        ),
        "png gamma and primaries of srgb": (
            png(CUBE, "RGB", gamma(45_455), chromaticities(SRGB)),
            "the PNG standard asks writers of sRGB for these numbers; Chromium takes them as a pure gamma of 2.2",
        ),
        "webp turned": (
            encode(SMOOTH, "WEBP", lossless=True, exif=orientation_tag(8)),
            "Chromium turns JPEGs and PNGs as their EXIF says, but not WebPs; we treat all formats alike",
        ),
        "png cicp pq": (
            png(CUBE, "RGB", chunk(b"cICP", bytes((9, 16, 0, 1)))),
            "brighter than white: how it is shown depends on the screen, so it is left as it is, with a warning",
        ),
    }
    return {name: Picture(make()) for name, make in made.items()} | {
        name: Picture(*given) for name, given in differing.items()
    }
