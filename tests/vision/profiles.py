"""Colour profiles for pictures of tests, and the colours that they mean."""

import struct

import numpy as np

from tests.vision.pngs import chunk
from vision.icc import Primaries, packed_curve, profile

ADOBE_RGB = Primaries((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
# https://www.w3.org/TR/css-color-4/#color-conversion-code: linear sRGB to XYZ, with the white of D50.
_TO_XYZ = np.array(
    [
        [0.4360657, 0.3851515, 0.1430784],
        [0.2224932, 0.7168870, 0.0606169],
        [0.0139160, 0.0970764, 0.7140961],
    ]
)
_WHITE = np.array([0.9642, 1.0, 0.8249])


def gray_profile(gamma):
    """A profile of one curve."""
    return profile(b"GRAY", b"XYZ ", {b"kTRC": packed_curve(gamma)}, "gray")


def table_profile(space, means, side=9, kind=b"prtr", **tags):
    """A profile with a table of `side` values for each channel; `means` maps (N, C) to the (N, 3) sRGB, both 0 to 1."""
    channels = {b"RGB ": 3, b"CMYK": 4}[space]
    steps = np.linspace(0, 1, side)
    nodes = np.stack(np.meshgrid(*[steps] * channels, indexing="ij"), -1).reshape(-1, channels)
    lab = to_lab(means(nodes))
    # The encoding of L*a*b* in 16-bit tables (ICC.1:2001-04, table 12): 0xff00 is 100, 0x8000 is 0.
    packed = np.stack([lab[:, 0] * 652.8, (lab[:, 1] + 128) * 256, (lab[:, 2] + 128) * 256], -1)
    table = packed.round().clip(0, 65_535).astype(">u2").tobytes()
    identity = struct.pack(">9i", *(65_536 if place % 4 == 0 else 0 for place in range(9)))
    ramps = struct.pack(">2H", 0, 65_535)
    body = b"mft2\0\0\0\0" + bytes((channels, 3, side, 0)) + identity + struct.pack(">HH", 2, 2)
    body += ramps * channels + table + ramps * 3
    extra = {name.encode(): tag for name, tag in tags.items()}
    made = profile(space, b"Lab ", {b"A2B0": body, **extra}, "table", kind)
    return made[:8] + b"\2\x40\0\0" + made[12:]  # version 2: its black is no special case


def to_lab(srgb):
    """(N, 3) of 0 to 1 → L*a*b* beside the white of D50."""
    light = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = light @ _TO_XYZ.T / _WHITE
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)


_INKS = np.array([[0, 0.63, 0.87], [0.85, 0.1, 0.5], [1, 0.93, 0.1], [0.13, 0.12, 0.13]])  # on white paper


def inks(cmyk):
    """What four inks over each other look like."""
    return np.prod(1 - cmyk[:, :, None] * (1 - _INKS[None]), axis=1)


def gamma(value):
    """A PNG's chunk; 100,000 times the exponent by which it was stored."""
    return chunk(b"gAMA", struct.pack(">I", value))


def chromaticities(named):
    """A PNG's chunk of primaries and white."""
    red, green, blue, white = named
    return chunk(
        b"cHRM", struct.pack(">8I", *(round(100_000 * value) for xy in (white, red, green, blue) for value in xy))
    )


def with_chunks(png, *chunks):
    """A PNG with chunks after its header."""
    return png[:33] + b"".join(chunks) + png[33:]


def bitmap_of_version_5(picture, encode, icc=b""):
    """A bitmap that embeds a profile, or says that it is sRGB."""
    rows = encode(picture, "BMP")[54:]
    size = (picture.width, picture.height)
    parts = struct.pack("<IiiHHIIiiII", 124, *size, 1, 24, 0, len(rows), 2835, 2835, 0, 0) + bytes(16)
    parts += (b"DEBM" if icc else b"BGRs") + bytes(48) + struct.pack("<4I", 4, 124 + len(rows), len(icc), 0)
    return b"BM" + struct.pack("<IHHI", 138 + len(rows) + len(icc), 0, 0, 138) + parts + rows + icc
