"""Makes of a GIF one that begins with its first frame (https://www.w3.org/Graphics/GIF/spec-gif89a.txt).

Pillow reads what stands before it byte by byte in Python: 16 MB of comments took seconds.
"""

import re
from typing import NamedTuple

from vision.errors import CorruptImage, TruncatedImage

_BLOCK = re.compile(rb"[!,;]")  # an extension, a frame, the end; what lies between blocks is skipped, as Pillow does
_MOST_BLOCKS = 100_000
_MOST_SKIPPED = 4096  # bytes between two blocks
_CONTROL = 0xF9  # the extension that names the transparent colour


class FirstFrame(NamedTuple):
    """What a GIF shows first.

    Attributes:
        data: the GIF without comments and other extensions before its first frame.
        width: of the canvas, in pixels, or of a frame that reaches beyond it.
        height: as width.
    """

    data: bytes
    width: int
    height: int


def first_frame(data: bytes) -> FirstFrame:
    """The first frame.

    Raises:
        TruncatedImage: the file ends before it.
        CorruptImage: there is none, or over 100,000 blocks stand before it.
    """
    width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    table = 3 * 2 ** ((data[10] & 7) + 1) if len(data) > 10 and data[10] & 0x80 else 0
    begin = position = 13 + table
    control = b""
    for _ in range(_MOST_BLOCKS):
        found = _BLOCK.search(data, position, position + _MOST_SKIPPED)
        if found is None and position + _MOST_SKIPPED < len(data):
            raise CorruptImage("The GIF file is damaged before its first frame; open it in a viewer and save it again.")
        if found is None:
            raise TruncatedImage("The GIF file ends too early, before its first frame; send all of its bytes.")
        if found[0] == b";":
            raise CorruptImage("The GIF file holds no frame; open it in a viewer and save it again.")
        position = found.start()
        if found[0] == b",":
            left, top, across, down = (
                int.from_bytes(data[at : at + 2], "little") for at in range(position + 1, position + 9, 2)
            )
            whole = b"".join((data[:begin], control, memoryview(data)[position:]))
            return FirstFrame(whole, max(width, left + across), max(height, top + down))
        end = _after_extension(data, position)
        if data[position + 1 : position + 2] == bytes((_CONTROL,)):
            control = data[position:end]
        position = end
    raise CorruptImage(f"The GIF file has more than {_MOST_BLOCKS} blocks before its first frame; save it again.")


def _after_extension(data: bytes, position: int) -> int:
    position += 2
    while position < len(data) and data[position]:
        position += 1 + data[position]
    return position + 1
