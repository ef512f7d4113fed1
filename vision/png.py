"""Makes of a PNG one that holds only the chunks that decide about its pixels (https://www.w3.org/TR/png-3/).

So a large or damaged text or profile costs neither memory nor the answer.
"""

import contextlib
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from vision.errors import CorruptImage, TruncatedImage

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Beside the critical ones: transparency, EXIF for its orientation, and the frames of an animation.
_KEPT = (b"tRNS", b"eXIf", b"fcTL", b"fdAT")
_COLOURS = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM")
_MOST_CHUNKS = 50_000
_MOST_EXIF_BYTES = 65_536
_STEP_BYTES = 2**20
# Passes of an interlaced image: first column, first row, and the distances to the next ones.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


class Picture(NamedTuple):
    """What a PNG shows first.

    Attributes:
        data: a PNG without animation.
        corner: column and row of its upper left pixel on the canvas.
        canvas: width and height.
    """

    data: bytes
    corner: tuple[int, int]
    canvas: tuple[int, int]


class _Frame(NamedTuple):
    size: bytes
    corner: tuple[int, int]


def first_picture(data: bytes) -> Picture:
    """The default image, or the first frame of an animation that the default image is not part of.

    Args:
        data: begins with the signature.

    Raises:
        TruncatedImage: the data of pixels is cut off.
        CorruptImage: the header does not come first, a critical chunk is damaged, or there are over 50,000 chunks.
    """
    if data[12:16] != b"IHDR":  # callers check the size that stands in it
        raise CorruptImage("The PNG file is damaged: its header is not first; open it in a viewer and save it again.")
    header, canvas = b"", (0, 0)
    before: list[bytes] = []
    default: list[bytes] = []
    animated: list[bytes] = []
    frame: _Frame | None = None  # the first of an animation without the default image
    frames = 0
    for kind, body, whole in _chunks(data):
        if not whole:
            raise TruncatedImage(_cut(header, [*default, body] if kind == b"IDAT" else default))
        if kind == b"IHDR":
            header = header or body
            canvas = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
        elif kind == b"IDAT":
            default.append(body)
        elif kind == b"fcTL":
            frames += 1
            if default and frames == 1:
                frame = _Frame(body[4:12], (int.from_bytes(body[12:16], "big"), int.from_bytes(body[16:20], "big")))
        elif kind == b"fdAT":
            if frames == 1 and frame is not None:
                animated.append(body[4:])
        else:
            before.append(_chunk(kind, body))
    if len(header) != 13 or not default:
        raise CorruptImage("The PNG file lacks its header or its pixels; open it in a viewer and save it again.")
    pixels, corner = default, (0, 0)
    if frame is not None and animated and _fits(frame, canvas):
        header, pixels, corner = frame.size + header[8:], animated, frame.corner
    parts = [SIGNATURE, _chunk(b"IHDR", header), *before, _chunk(b"IDAT", b"".join(pixels)), _chunk(b"IEND", b"")]
    return Picture(b"".join(parts), corner, canvas)


def colour_chunks(data: bytes) -> dict[bytes, bytes]:
    """The body of the first intact chunk of each kind that says what the colours mean, before the pixels."""
    found: dict[bytes, bytes] = {}
    for kind, body, _ in _chunks(data, _COLOURS):
        if kind == b"IDAT":
            break
        if kind in _COLOURS:
            found.setdefault(kind, body)
    return found


def _fits(frame: _Frame, canvas: tuple[int, int]) -> bool:
    size = int.from_bytes(frame.size[:4], "big"), int.from_bytes(frame.size[4:], "big")
    return all(
        side > 0 and corner + side <= whole for side, corner, whole in zip(size, frame.corner, canvas, strict=True)
    )


def _chunks(data: bytes, kept: tuple[bytes, ...] = _KEPT) -> Iterator[tuple[bytes, bytes, bool]]:
    """The kind and the body of each critical chunk and of those kept, in order, and whether it is all there.

    Only the last one may be cut off. A damaged ancillary chunk is left out, as libpng does.
    """
    position = len(SIGNATURE)
    view = memoryview(data)
    for _ in range(_MOST_CHUNKS):
        kind = data[position + 4 : position + 8]
        if kind == b"IEND" or len(kind) < 4:
            return
        length = int.from_bytes(data[position : position + 4], "big")
        end = position + 8 + length
        critical = not kind[0] & 0x20
        if critical or kind in kept:
            whole = end + 4 <= len(data)
            right = whole and zlib.crc32(view[position + 4 : end]) == int.from_bytes(data[end : end + 4], "big")
            if critical and whole and not right:
                name = kind.decode("latin-1")
                raise CorruptImage(
                    f"The PNG file is damaged in its chunk {name!r}; open it in a viewer and save it again."
                )
            if (right and (kind != b"eXIf" or length <= _MOST_EXIF_BYTES)) or critical:
                yield kind, data[position + 8 : end], whole
        position = end + 4
    raise CorruptImage(f"The PNG file has more than {_MOST_CHUNKS} chunks; save it again.")


def check_rows(data: bytes) -> None:
    """Unpacks the pixels of a PNG and counts them.

    Raises:
        TruncatedImage: there are fewer than its header declares.
    """
    chunks = list(_chunks(data))
    header = next(body for kind, body, _ in chunks if kind == b"IHDR")
    pixels = [body for kind, body, _ in chunks if kind == b"IDAT"]
    if _unpacked(pixels, _raw_bytes(header)) < _raw_bytes(header):
        raise TruncatedImage(_cut(header, pixels))


def _cut(header: bytes, pixels: list[bytes]) -> str:
    """The message for a file that ends within its pixels: how many of its rows are there."""
    whole, interlaced = _raw_bytes(header), header[12:13] != b"\0"
    if interlaced or not whole:
        return "The PNG file ends too early, within its pixels; send all of its bytes."
    height = int.from_bytes(header[4:8], "big")
    rows = _unpacked(pixels, whole) * height // whole
    return f"The PNG file ends too early: {rows} of its {height} rows are there; send all of its bytes."


def _raw_bytes(header: bytes) -> int:
    """Bytes of all rows before they are packed, each with its filter type; 0 if the header makes no sense."""
    if len(header) != 13:
        return 0
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 0)
    total = 0
    for left, top, across, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total if bits else 0


def _unpacked(pixels: list[bytes], most: int) -> int:
    """How many bytes the packed pixels unpack to, counted up to `most`, at most 1 MiB at a time."""
    count, inflate = 0, zlib.decompressobj()
    with contextlib.suppress(zlib.error):
        for packed in pixels:
            while packed and count < most and not inflate.eof:
                count += len(inflate.decompress(packed, _STEP_BYTES))
                packed = inflate.unconsumed_tail
    return min(count, most)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return b"".join((len(body).to_bytes(4, "big"), kind, body, zlib.crc32(body, zlib.crc32(kind)).to_bytes(4, "big")))
