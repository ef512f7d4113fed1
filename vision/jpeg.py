"""Decodes JPEGs by libjpeg-turbo and tells faults that cost no pixel from those that do.

libjpeg fills what is missing with gray and only warns. It keeps the last warning alone. So a harmless fault is mended
in the bytes and the file is decoded again: then the next warning shows, or none is left.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg

from vision.errors import CorruptImage, TruncatedImage

_END = b"\xff\xd9"
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_FEW_BYTES = 16
# A scan with another fault and this many zeros in a row: a file system or a download has filled a hole with them.
_HOLE = bytes(64)
# libjpeg's warnings (jerror.h) about headers, which it overrides by what the data is. None is about a pixel.
_HARMLESS = ("unknown JFIF revision", "Unknown Adobe color", "Invalid SOS parameters", "bad ICC marker")
_MOST_SEGMENTS = 10_000
_MOST_SCANS = 100  # as many as libjpeg's own program writes (cdjpeg's rdswitch.c, MAX_SCANS)
_UNUSUAL = {
    0xC3: "a lossless JPEG",
    0xC5: "a hierarchical JPEG",
    0xC6: "a hierarchical JPEG",
    0xC7: "a hierarchical JPEG",
    0xCB: "a lossless JPEG",
    0xCD: "a hierarchical JPEG",
    0xCE: "a hierarchical JPEG",
    0xCF: "a hierarchical JPEG",
    0xF7: "a JPEG-LS",
}
_EXIF = b"Exif\0\0"
_ICC = b"ICC_PROFILE\0"
# A marker within entropy-coded data: neither a stuffed zero nor a restart marker nor a fill byte.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


class Metadata(NamedTuple):
    """What a JPEG says before its pixels.

    Attributes:
        exif: the first EXIF with its heading; empty if there is none.
        icc: the colour profile; empty if there is none.
        whole: whether every part of the profile is there, each once.
    """

    exif: bytes
    icc: bytes
    whole: bool


def check_scans(data: bytes) -> None:
    """Each scan goes through all pixels, and may take 50 bytes of the file.

    Raises:
        CorruptImage: there are over 100.
    """
    if data.count(b"\xff\xda") > _MOST_SCANS and len(_scans(data)[0]) > _MOST_SCANS:
        raise CorruptImage(f"The JPEG file has over {_MOST_SCANS} scans, which are not decoded; save it again.")


def unusual_kind(data: bytes) -> str | None:
    """The kind of a JPEG that libjpeg-turbo does not decode, by its frame (ITU-T T.81, table B.1); else None."""
    for marker, body in _segments(data):
        if marker in _UNUSUAL:
            return _UNUSUAL[marker]
        if marker in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA):
            return "a JPEG of 12 bits" if body[:1] == b"\x0c" else None
    return None


def metadata(data: bytes) -> Metadata:
    """Reads the segments before the first scan. Raises nothing, whatever they hold."""
    exif, parts, announced = b"", dict[int, bytes](), set[int]()
    whole = True
    for kind, body in _segments(data):
        if kind == 0xE1 and not exif and body.startswith(_EXIF):
            exif = body
        elif kind == 0xE2 and body.startswith(_ICC) and len(body) > len(_ICC) + 2:
            number, count = body[len(_ICC) : len(_ICC) + 2]
            whole = whole and number not in parts
            parts[number] = body[len(_ICC) + 2 :]
            announced.add(count)
    whole = whole and announced <= {len(parts)} and sorted(parts) == [*range(1, len(parts) + 1)]
    return Metadata(exif, b"".join(parts[number] for number in sorted(parts)), whole)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The marker and the body of each segment up to the first scan; marker 0xe1 is APP1."""
    position = 2
    for _ in range(_MOST_SEGMENTS):
        position = data.find(b"\xff", position)
        kind = data[position + 1] if 0 <= position < len(data) - 3 else 0xDA
        if kind == 0xDA:
            return
        if kind in (0x00, 0x01, 0xFF) or 0xD0 <= kind <= 0xD8:  # filling, and markers without a body
            position += 1 if kind == 0xFF else 2
            continue
        end = position + 2 + max(2, int.from_bytes(data[position + 2 : position + 4], "big"))
        yield kind, data[position + 4 : end]
        position = end


class NotForLibjpeg(Exception):
    """libjpeg-turbo does not decode this kind of file; another decoder may."""


def decode_whole(data: bytes, space: str) -> npt.NDArray[np.uint8]:
    """The pixels of a JPEG of which none is missing.

    Args:
        data: a JPEG whose header could be read.
        space: RGB, or CMYK for a file that is stored in it.

    Returns:
        uint8 (H, W, 3), or (H, W, 4) for CMYK; as stored, not turned upright.

    Raises:
        TruncatedImage: pixels are missing; the message says how many.
        CorruptImage: the data is damaged.
        NotForLibjpeg: libjpeg-turbo gives an error, not a warning, e.g. for an unusual subsampling.
    """
    for _ in range(4):  # an end marker, bytes before it, and whatever shows after these
        try:
            return _decode(data, space, strict=True)
        except ValueError as error:
            warning = str(error)
        if "Premature end of JPEG file" in warning:
            data += _END
        elif extraneous := _EXTRANEOUS.search(warning):
            data = _without(data, int(extraneous[1]))
        elif "premature end of data segment" in warning:
            raise TruncatedImage(_missing(data, space))
        elif any(harmless in warning for harmless in _HARMLESS):
            return _decode(data, space, strict=False)
        elif "Corrupt JPEG data" in warning or "Inconsistent progression" in warning:
            raise CorruptImage(f"The JPEG file is damaged ({warning}); open it in a viewer and save it again.")
        else:
            raise NotForLibjpeg(warning)
    raise TruncatedImage("The JPEG file ends too early; send all of its bytes.")


def _decode(data: bytes, space: str, strict: bool) -> npt.NDArray[np.uint8]:
    pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(data, space, strict=strict)
    return pixels


def _without(data: bytes, count: int) -> bytes:
    """The file without the `count` bytes before its end marker.

    Raises:
        TruncatedImage: a hole was filled with zeros, which may have been decoded as pixels.
        CorruptImage: over 16 bytes are left over that are no padding, so some pixels are wrong.
    """
    scan, end = _last_scan(data)
    rest, extra = data[scan : end - count], data[end - count : end]
    filling = extra.strip(b"\0") == b"" or extra.strip(b"\xff") == b""
    if _HOLE in rest or rest.endswith(bytes(_FEW_BYTES)):
        raise TruncatedImage("A part of the JPEG file was replaced by zeros; send the original bytes.")
    if count > _FEW_BYTES and not filling:
        raise CorruptImage(
            f"The JPEG file holds {count} bytes more than its pixels need, so some of them are wrong; "
            "open it in a viewer and save it again."
        )
    return data[: end - count] + data[end:]


def _last_scan(data: bytes) -> tuple[int, int]:
    """Where the entropy-coded data of the last scan begins, and where the end marker is.

    Raises:
        CorruptImage: it has no end.
    """
    scans, end = _scans(data)
    if end is None:
        raise CorruptImage("The JPEG file has no end that can be found; open it in a viewer and save it again.")
    return scans[-1] if scans else 2, end


def _scans(data: bytes) -> tuple[list[int], int | None]:
    """Where the entropy-coded data of each scan begins, and where the end marker is, if there is one.

    What follows the end does not count: phones append videos, whose bytes may look like markers.
    """
    position, scans = 2, list[int]()
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, position)
        if found is None:
            break
        if found[0] == _END:
            return scans, found.start()
        position = found.start() + 2 + int.from_bytes(data[found.start() + 2 : found.start() + 4], "big")
        if found[0] == b"\xff\xda":
            scans.append(position)
    return scans, None


def _missing(data: bytes, space: str) -> str:
    """The message for missing data: from which row on pixels are missing.

    The file is decoded as it is, and with other bytes where data is missing. The rows that differ are missing. Of a
    colour image luma alone is compared, which takes a third of the memory.
    """
    _, end = _last_scan(data)
    planes = [
        _decode(filled, "GRAY" if space == "RGB" else space, strict=False)
        for filled in (data, data[:end] + b"\x5a" * 4096 + data[end:])
    ]
    differs = (planes[0] != planes[1]).any(axis=(1, 2))
    height, first = len(differs), int(differs.argmax())
    if not differs.any() or first == 0:
        return "Data of the JPEG file is missing, and with it details or parts of the image; send all of its bytes."
    return (
        f"The JPEG file lacks the data of {height - first} of its {height} rows ({1 - first / height:.0%}), from row "
        f"{first} on; send all of its bytes."
    )
