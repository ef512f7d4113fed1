"""Reads, hashes and decodes every file once, through the decoder that serves. Nothing is moved, changed or deleted."""

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from training.data.duplicates import Look, look_of
from training.data.folder import LabelledFile, Listing
from training.data.images import TRAINING_LIMITS
from vision.errors import ImageError
from vision.image import Colours, Pixels, decode, stored_facts

Tracker = Callable[[Iterable[int], int], Iterable[int]]
"""Wraps an iterable of known length, to show progress."""


@dataclass(frozen=True)
class Picture:
    """What a file that can be decoded holds.

    Attributes:
        format: JPEG, PNG, WEBP, GIF or BMP.
        mode: Pillow's name of the stored pixels, e.g. RGB, L, CMYK, P.
        orientation: the EXIF tag, 1 to 8; 1 is upright.
        width: pixels of the upright image.
        height: pixels of the upright image.
        look: to find near-duplicates by.
    """

    format: str
    mode: str
    orientation: int
    width: int
    height: int
    look: Look


@dataclass(frozen=True)
class FileRecord:
    """What was found in one file.

    Attributes:
        file: its path and category.
        sha256: of its bytes.
        size_bytes: its size.
        error: `code: message` of the refusal; None if the file can be decoded.
        picture: None if the file cannot be decoded.
    """

    file: LabelledFile
    sha256: str
    size_bytes: int
    error: str | None = None
    picture: Picture | None = None


def untracked(items: Iterable[int], _: int) -> Iterable[int]:
    """A Tracker that shows nothing."""
    return items


def examine(
    listing: Listing,
    use: Callable[[int, Pixels], None] | None = None,
    progress: Tracker = untracked,
    colours: Colours = "srgb",
) -> list[FileRecord]:
    """Reads and decodes every file once.

    Args:
        listing: the files.
        use: called with each index and its decoded RGB pixels, from several threads; skipped for files that cannot be
            decoded.
        progress: shows how many files are done.
        colours: as in `vision.image.decode`.

    Returns:
        One record for each file, in order.
    """
    records: dict[int, FileRecord] = {}

    def look(index: int) -> int:
        records[index], pixels = _look_into(listing.root, listing.files[index], colours)
        if use is not None and pixels is not None:
            use(index, pixels)
        return index

    with ThreadPoolExecutor() as pool:
        for _ in progress(pool.map(look, range(len(listing.files))), len(listing.files)):
            pass
    return [records[index] for index in range(len(listing.files))]


def _look_into(root: Path, file: LabelledFile, colours: Colours) -> tuple[FileRecord, Pixels | None]:
    """One file's record, and its pixels if it can be decoded."""
    try:
        data = (root / file.path).read_bytes()
    except OSError as error:
        return FileRecord(file, "", 0, error=f"unreadable: {error.strerror}"), None
    record = FileRecord(file, hashlib.sha256(data).hexdigest(), len(data))
    try:
        decoded = decode(data, TRAINING_LIMITS, colours)
    except ImageError as error:
        return replace(record, error=f"{error.code}: {error}"), None
    facts = stored_facts(data)
    pixels = decoded.pixels
    height, width = pixels.shape[:2]
    picture = Picture(decoded.format, facts.mode, facts.orientation, width, height, look_of(pixels))
    return replace(record, picture=picture), pixels
