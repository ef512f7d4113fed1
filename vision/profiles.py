"""From the colours of a file to sRGB, as browsers show them: which profile a file has, and its conversion.

LittleCMS converts. A profile is hostile until it is parsed: it is bounded, its conversion is kept for the next image,
and what is wrong with it costs no answer.
"""

import hashlib
import io
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from vision.icc import DISPLAY_P3, REC_2020, SRGB, SRGB_CURVE, Curve, Primaries, matrix_profile

MAX_PROFILE_BYTES = 4 * 2**20
"""Profiles of printers have up to 3 MB."""
_KEPT_CONVERSIONS = 16
_DAMAGED = "The colour profile is damaged and was ignored."

# Code points of ITU-T H.273, which a cICP chunk holds: primaries, and the curves that browsers use for them.
_PRIMARIES = {
    1: SRGB,
    4: Primaries((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),
    5: Primaries((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    7: Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    8: Primaries((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), (0.310, 0.316)),
    9: REC_2020,
    11: DISPLAY_P3._replace(white=(0.314, 0.351)),
    12: DISPLAY_P3,
    22: Primaries((0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}
_CURVES: dict[int, Curve] = {1: 2.4, 4: 2.2, 5: 2.8, 6: 2.4, 8: 1.0, 13: SRGB_CURVE, 14: 2.4, 15: 2.4}
_USUAL_GAMMA = 1 / 0.45455  # the gAMA that the PNG standard asks writers of sRGB for
_CLOSE = 0.05  # relative; libpng and browsers take a gamma this near for that of sRGB
# Chains of any number of steps, each computed for every node of a table. Whatever has one also has a plain table.
_UNBOUNDED = {b"D2B0", b"D2B1", b"D2B2", b"D2B3", b"B2D0", b"B2D1", b"B2D2", b"B2D3"}
_CLASSES = (b"scnr", b"mntr", b"prtr", b"spac")
_SPACES = {b"RGB ": "in RGB", b"GRAY": "gray", b"CMYK": "in CMYK"}


class Tagged(NamedTuple):
    """What a file says of its colours.

    Attributes:
        icc: an ICC profile; None for sRGB and for files that say nothing.
        warning: a sentence about what was ignored.
    """

    icc: bytes | None = None
    warning: str = ""


class Conversion(NamedTuple):
    """From the colours of a file to sRGB.

    Attributes:
        apply: an RGB, RGBA or CMYK image, which it may change → RGB, or RGBA; None if nothing is to be converted.
        profile: the name of the profile that it converts from; empty for None.
        warning: what the file says of its colours and was ignored, as a sentence; empty if there is nothing.
    """

    apply: Callable[[Image.Image], Image.Image] | None = None
    profile: str = ""
    warning: str = ""


def tagged_by_png(chunks: Mapping[bytes, bytes]) -> Tagged:
    """What the chunks say: cICP before iCCP before sRGB before gAMA and cHRM (https://www.w3.org/TR/png-3/#13).

    Args:
        chunks: the first of each of these kinds.
    """
    warning = ""
    if (coded := chunks.get(b"cICP")) is not None:
        primaries, curve, matrix, full = coded if len(coded) == 4 else (0, 0, 0, 0)
        if primaries in _PRIMARIES and curve in _CURVES and (matrix, full) == (0, 1):
            plain = (primaries, curve) == (1, 13)
            return Tagged(None if plain else matrix_profile(_PRIMARIES[primaries], _CURVES[curve], "cICP"))
        warning = f"The colours that its cICP chunk names ({', '.join(map(str, coded))}) are not supported."
    if (packed := chunks.get(b"iCCP")) is not None:
        return _unpacked(packed)
    if b"sRGB" in chunks or b"gAMA" not in chunks:
        return Tagged(None, warning)
    return _by_numbers(chunks, warning)


def _unpacked(packed: bytes) -> Tagged:
    name, _, body = packed.partition(b"\0")
    inflate = zlib.decompressobj()
    try:
        icc = inflate.decompress(body[1:], MAX_PROFILE_BYTES + 1)
    except zlib.error:
        return Tagged(None, _DAMAGED)
    return Tagged(icc) if name and body[:1] == b"\0" else Tagged(None, _DAMAGED)


def _by_numbers(chunks: Mapping[bytes, bytes], warning: str) -> Tagged:
    """gAMA, and cHRM where it is there."""
    (gamma,) = struct.unpack(">I", chunks[b"gAMA"]) if len(chunks[b"gAMA"]) == 4 else (0,)
    if not 10_000 <= gamma <= 1_000_000:
        return Tagged(None, warning or f"The gamma of the file is {gamma / 100_000:g} and was ignored.")
    exponent, primaries = 100_000 / gamma, SRGB
    if len(numbers := chunks.get(b"cHRM", b"")) == 32:
        white, red, green, blue = np.array(struct.unpack(">8I", numbers)).reshape(4, 2) / 100_000
        primaries = Primaries(*((float(x), float(y)) for x, y in (red, green, blue, white)))
    near = np.abs(np.array(primaries) - np.array(SRGB)).max() < 0.005
    if near and abs(exponent / _USUAL_GAMMA - 1) < _CLOSE:
        return Tagged(None, warning)  # what writers of sRGB add for old programs
    try:
        return Tagged(matrix_profile(primaries, exponent, "gAMA and cHRM"), warning)
    except ValueError as error:
        return Tagged(None, warning or f"The primaries of the file were ignored: {error}.")


def tagged_by_bmp(data: bytes) -> Tagged:
    """The profile that a header of version 5 embeds (BITMAPV5HEADER: bV5CSType, bV5ProfileData, bV5ProfileSize)."""
    if int.from_bytes(data[14:18], "little") < 124 or data[70:74] != b"DEBM":  # MBED, little-endian
        return Tagged()
    start, size = struct.unpack_from("<II", data, 126)
    return Tagged(data[14 + start : 14 + start + size])


def conversion_to_srgb(tagged: Tagged, mode: str, gray: bool) -> Conversion:
    """The conversion for the images of a file.

    Args:
        tagged: what the file says.
        mode: RGB, RGBA or CMYK.
        gray: whether the file holds one channel.
    """
    if tagged.icc is None:
        return Conversion(warning=tagged.warning)
    conversion = _conversions.get(tagged.icc, mode, gray)
    return conversion._replace(warning=conversion.warning or tagged.warning)


class _Conversions:
    """The last conversions by the sha256 of the profile, for all threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[bytes, str, bool], Conversion] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, icc: bytes, mode: str, gray: bool) -> Conversion:
        """Made once for each profile, mode and number of channels."""
        if len(icc) > MAX_PROFILE_BYTES:
            return Conversion(warning=f"The colour profile has over {MAX_PROFILE_BYTES} bytes and was ignored.")
        key = (hashlib.sha256(icc).digest(), mode, gray)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = _make(icc, mode, gray)
        with self._lock:
            self._kept[key] = made
            if len(self._kept) > _KEPT_CONVERSIONS:
                self._kept.popitem(last=False)
        return made


_conversions = _Conversions()
_SRGB = ImageCms.createProfile("sRGB")


def _make(icc: bytes, mode: str, gray: bool) -> Conversion:
    space = icc[16:20]
    if len(icc) < 132 or icc[36:40] != b"acsp" or icc[12:16] not in _CLASSES or space not in _SPACES:
        return Conversion(warning="The colour profile is damaged, or of an unusual kind, and was ignored.")
    if (space == b"CMYK") != (mode == "CMYK") or (space == b"GRAY" and not gray):
        stored = "in CMYK" if mode == "CMYK" else "gray" if gray else "in RGB"
        return Conversion(
            warning=f"The colour profile is for images {_SPACES[space]}; this one is {stored}. It was ignored."
        )
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(_bounded(icc)))
        name = "".join(filter(str.isprintable, ImageCms.getProfileDescription(source)))[:80]
        apply = _by_table(source) if space == b"GRAY" else _by_transform(source, mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return Conversion(warning=_DAMAGED)
    return Conversion(apply, name or "without a name") if apply else Conversion()


def _bounded(icc: bytes) -> bytes:
    """The profile without the tags whose work nothing bounds: their signatures are blanked."""
    count = min(int.from_bytes(icc[128:132], "big"), (len(icc) - 132) // 12)
    table = bytearray(icc[132 : 132 + 12 * count])
    for place in range(0, len(table), 12):
        if bytes(table[place : place + 4]) in _UNBOUNDED:
            table[place : place + 4] = b"none"
    return icc[:132] + bytes(table) + icc[132 + len(table) :]


def _by_transform(source: ImageCms.ImageCmsProfile, mode: str) -> Callable[[Image.Image], Image.Image] | None:
    made = ImageCms.buildTransform(source, _SRGB, mode, "RGB" if mode == "CMYK" else mode)

    def apply(image: Image.Image) -> Image.Image:
        return ImageCms.applyTransform(image, made, inPlace=mode != "CMYK") or image

    if mode == "CMYK":
        return apply
    levels = np.linspace(0, 255, 16).astype(np.uint8)  # 0, 17, 34 …
    cube = np.stack(np.meshgrid(*[levels] * 3, indexing="ij"), axis=-1).reshape(64, 64, 3)
    probe = Image.fromarray(cube).convert(mode)
    return None if _same(apply(probe.copy()), probe) else apply


def _by_table(source: ImageCms.ImageCmsProfile) -> Callable[[Image.Image], Image.Image] | None:
    """A table of 256 levels. LittleCMS's own one for gray images is off by up to 10 levels in dark ones."""
    made = ImageCms.buildTransform(source, _SRGB, "L", "RGB", flags=ImageCms.Flags.NOOPTIMIZE)
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    changed = ImageCms.applyTransform(ramp, made)
    assert changed is not None  # noqa: S101 - it is None only where the image is changed in place
    if _same(changed, ramp.convert("RGB")):
        return None
    levels = np.asarray(changed)[0].T.ravel().tolist()  # red, green, blue, 256 each

    def apply(image: Image.Image) -> Image.Image:
        return image.point([*levels, *range(256)] if image.mode == "RGBA" else levels)

    return apply


def _same(one: Image.Image, other: Image.Image) -> bool:
    """Within one level, which rounding costs."""
    return int(np.abs(np.asarray(one).astype(np.int16) - np.asarray(other)).max()) <= 1
