"""Writes an ICC profile for colours that a file names by numbers instead (https://www.color.org/specification/)."""

import struct
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Chromaticity = tuple[float, float]
"""CIE x and y, 0 to 1."""

D65: Chromaticity = (0.3127, 0.3290)
_D50_XYZ = np.array([0.9642, 1.0, 0.8249])  # of the connection space, ICC.1:2022, section 6.3.4.3
# http://www.brucelindbloom.com/index.html?Eqn_ChromAdapt.html
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


class Primaries(NamedTuple):
    """The colours of pure red, green and blue, and of white."""

    red: Chromaticity
    green: Chromaticity
    blue: Chromaticity
    white: Chromaticity = D65


SRGB = Primaries((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
REC_2020 = Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))

Curve = float | tuple[float, float, float, float, float]
"""From stored values to light, both 0 to 1: a gamma, or g, a, b, c, d of (a·x + b)^g from d on and c·x below."""
SRGB_CURVE: Curve = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # IEC 61966-2-1


def matrix_profile(primaries: Primaries, curve: Curve, name: str) -> bytes:
    """A profile of RGB with one curve for the three channels.

    Args:
        primaries: no two of them alike, and no y is 0.
        curve: a gamma of 0.01 to 255, or five parameters.
        name: ASCII.

    Raises:
        ValueError: the primaries span no triangle.
    """
    columns = _adapted(primaries)
    tags = {key: _xyz(columns[:, place]) for place, key in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return profile(b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), packed_curve(curve)), name)


def profile(space: bytes, connection: bytes, tags: Mapping[bytes, bytes], name: str, kind: bytes = b"mntr") -> bytes:
    """The header, the table of tags, and the tags.

    Args:
        space: of the pixels, 4 bytes, e.g. `RGB `.
        connection: `XYZ ` or `Lab `.
        tags: by signature, beside the name, the copyright and the white point.
        name: ASCII.
        kind: the class of the device, 4 bytes.
    """
    text = name.encode("ascii") + b"\0"
    described = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(12 + 67)
    tags = {b"desc": described, b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(_D50_XYZ), **tags}
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for signature, value in tags.items():
        table += struct.pack(">4sII", signature, start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(">I4x4s4s4s4s", start + len(body), b"\4\x40\0\0", kind, space, connection)
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(_D50_XYZ)[8:]
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def packed_curve(curve: Curve) -> bytes:
    """A curve as a tag of type `para`, ICC.1:2022, section 10.18."""
    kind, values = (3, curve) if isinstance(curve, tuple) else (0, (curve,))
    return struct.pack(f">4s4xHH{len(values)}i", b"para", kind, 0, *(round(65_536 * value) for value in values))


def _xyz(values: npt.NDArray[np.float64]) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *(round(65_536 * value) for value in values))


def _adapted(primaries: Primaries) -> npt.NDArray[np.float64]:
    """XYZ of red, green and blue as columns, as they look beside the white of the connection space."""
    plain, white = np.stack([_light(xy) for xy in primaries[:3]], axis=1), _light(primaries.white)
    try:
        scaled = plain * np.linalg.solve(plain, white)
    except np.linalg.LinAlgError as error:
        raise ValueError("the primaries span no triangle") from error
    adapted: npt.NDArray[np.float64] = (
        np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50_XYZ) / (_BRADFORD @ white)) @ _BRADFORD @ scaled
    )
    if not np.abs(adapted).max() < 2**14:  # the numbers of a profile end at 2^15
        raise ValueError("the primaries span no triangle")
    return adapted


def _light(xy: Chromaticity) -> npt.NDArray[np.float64]:
    """XYZ with Y = 1."""
    x, y = xy
    if y <= 0:
        raise ValueError("the primaries span no triangle")
    return np.array([x / y, 1.0, (1 - x - y) / y])
