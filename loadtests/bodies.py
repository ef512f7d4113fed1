"""The bodies that load-test clients post: photos and broken files, each with the statuses that are right for it.

Needs NumPy and Pillow only.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from loadtests.rendering import render, render_all

_OK = frozenset({200})


@dataclass(frozen=True)
class Body:
    """One body of a request.

    Attributes:
        name: as it is shown in reports.
        data: the whole body.
        statuses: the statuses that are right for it.
    """

    name: str
    data: bytes
    statuses: frozenset[int] = _OK


def good(folder: Path | None) -> list[Body]:
    """Images that must be answered.

    Args:
        folder: image files, all of which are posted; None renders JPEGs, a PNG, a WebP, a gray and a rotated one.

    Raises:
        ValueError: the folder holds no file.
    """
    if folder is None:
        jpegs = [Body(name, data) for name, data in render_all().items()]
        return [*jpegs, *_other_formats()]
    found = [Body(file.name, file.read_bytes()) for file in sorted(folder.iterdir()) if file.is_file()]
    if not found:
        raise ValueError(f"{folder} holds no file.")
    return found


def _other_formats() -> Iterator[Body]:
    picture = Image.open(io.BytesIO(render(500, 375, seed=1000)))
    exif = picture.getexif()
    exif[0x0112] = 6  # orientation: rotated by 90°
    for name, options in (("PNG", {}), ("WEBP", {}), ("JPEG", {"exif": exif})):
        yield Body(f"rendered.{name.lower()}", _encoded(picture, name, **options))
    yield Body("gray.jpeg", _encoded(picture.convert("L"), "JPEG"))


def broken() -> list[Body]:
    """Broken bodies. Each must be refused with its own code."""
    photo = render(500, 375, seed=1001)
    return [
        Body("empty", b"", frozenset({400})),
        Body("text", b"this is no image", frozenset({415})),
        Body("page", b"<!doctype html><script>alert(1)</script>", frozenset({415})),
        Body("half a form", b"--x\r\ncontent-disposition: form-data", frozenset({400, 415})),
        Body("broken JSON", b'{"image": "AAAA"', frozenset({400})),
        Body("half a photo", photo[: len(photo) // 2], frozenset({422})),
        Body("only magic bytes", b"\xff\xd8\xff\xe0", frozenset({422})),
        Body(
            "zeros inside", photo[:2000] + bytes(4000) + photo[6000:], frozenset({200, 422})
        ),  # a decoder may make something of it
        Body("a bomb", _bomb(), frozenset({413})),
    ]


def _bomb() -> bytes:
    """A PNG of a few bytes that claims 2.5 gigapixels."""
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(64))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _encoded(picture: Image.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, name, **options)
    return buffer.getvalue()
