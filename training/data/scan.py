"""Looks into every file before a second is spent on training: what is damaged, unusual, twice there, or contradicts itself.

One pass reads, hashes and decodes each file, through the decoder that serves. Nothing is moved, changed or deleted.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.data.folder import TRAINING_LIMITS, LabelledFile, Listing
from vision.errors import ImageError
from vision.image import Pixels, decode, stored_facts

Tracker = Callable[[Iterable[int], int], Iterable[int]]
# Two images are near-duplicates where at most so many of the 64 bits of their difference hash differ, and the mean difference
# of their 16×16 px thumbnails is at most so many of 255 steps. Among the 2,934 photos of five kinds of flowers that this was
# tried on, looser bounds began to pair different photos of similar flowers.
HASH_BITS_APART = 3
THUMBNAIL_STEPS_APART = 8.0
# An image without contrast has no difference hash worth the name.
_LEAST_CONTRAST = 4.0
_THUMBNAIL_PX = 16
# Hash bands that more images share than this are left out of the comparison: they say nothing, and pairs grow with the square.
_LARGEST_BAND = 500


@dataclass(frozen=True)
class FileRecord:
    """What was found in one file.

    Attributes:
        file: where it lies.
        sha256: of its bytes.
        size_bytes: its size.
        format: JPEG, PNG, WEBP, GIF or BMP; None where it is none of them or cannot be decoded.
        mode: Pillow's name of the stored pixels, e.g. RGB, L, CMYK, P; None where it cannot be decoded.
        width: pixels, upright.
        height: pixels, upright.
        orientation: of the EXIF tag; 1 is upright.
        error: `code: message` of the refusal, or None.
        hash: the difference hash, 64 bits.
        thumbnail: uint8 (16, 16, 3).
    """

    file: LabelledFile
    sha256: str
    size_bytes: int
    format: str | None = None
    mode: str | None = None
    width: int = 0
    height: int = 0
    orientation: int = 1
    error: str | None = None
    hash: int = 0
    thumbnail: npt.NDArray[np.uint8] | None = None


def untracked(items: Iterable[int], _: int) -> Iterable[int]:
    """Shows nothing."""
    return items


def examine(listing: Listing, use: Callable[[int, Pixels], None] | None = None, progress: Tracker = untracked) -> list[FileRecord]:
    """Reads and decodes every file once.

    Args:
        listing: the files.
        use: called with each index and its decoded RGB pixels, from several threads; not for files that cannot be decoded.
        progress: wraps an iterable of known length, to show how far it is.

    Returns:
        One record a file, in order.
    """
    records: dict[int, FileRecord] = {}

    def look(index: int) -> int:
        records[index], pixels = _look_into(listing.root, listing.files[index])
        if use is not None and pixels is not None:
            use(index, pixels)
        return index

    with ThreadPoolExecutor() as pool:
        for _ in progress(pool.map(look, range(len(listing.files))), len(listing.files)):
            pass
    return [records[index] for index in range(len(listing.files))]


def identical(records: Sequence[FileRecord]) -> list[list[int]]:
    """Groups of indices whose files have the same bytes, two or more each."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        groups[record.sha256].append(index)
    return [group for group in groups.values() if len(group) > 1]


def nearly_identical(records: Sequence[FileRecord]) -> list[tuple[int, int]]:
    """Pairs of indices that show the same picture in other bytes: scaled, compressed again, slightly changed."""
    candidates: set[tuple[int, int]] = set()
    for shift in range(0, 64, 16):  # hashes at most 3 bits apart agree in one of four bands
        bands: dict[int, list[int]] = defaultdict(list)
        for index, record in enumerate(records):
            if record.thumbnail is not None and record.thumbnail.std(axis=(0, 1)).max() >= _LEAST_CONTRAST:
                bands[record.hash >> shift & 0xFFFF].append(index)
        for members in bands.values():
            if 1 < len(members) <= _LARGEST_BAND:
                candidates.update(combinations(members, 2))
    return sorted(pair for pair in candidates if _look_alike(records[pair[0]], records[pair[1]]))


def _look_into(root: Path, file: LabelledFile) -> tuple[FileRecord, Pixels | None]:
    """One file's record, and its pixels where it has any."""
    try:
        data = (root / file.path).read_bytes()
    except OSError as error:
        return FileRecord(file, "", 0, error=f"unreadable: {error.strerror}"), None
    record = FileRecord(file, hashlib.sha256(data).hexdigest(), len(data))
    try:
        pixels = decode(data, TRAINING_LIMITS)
    except ImageError as error:
        return replace(record, error=f"{error.code}: {error}"), None
    found = replace(
        record,
        **vars(stored_facts(data)),
        width=pixels.shape[1],
        height=pixels.shape[0],
        hash=_difference_hash(pixels),
        thumbnail=np.asarray(Image.fromarray(pixels).resize((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.BOX)),
    )
    return found, pixels


def _look_alike(one: FileRecord, other: FileRecord) -> bool:
    if one.sha256 == other.sha256 or (one.hash ^ other.hash).bit_count() > HASH_BITS_APART:
        return False
    assert one.thumbnail is not None and other.thumbnail is not None  # noqa: S101, PT018 - only such files are compared
    return float(np.abs(one.thumbnail.astype(np.int16) - other.thumbnail).mean()) <= THUMBNAIL_STEPS_APART


def _difference_hash(pixels: Pixels) -> int:
    """Whether each of 8×8 places is darker than its neighbour to the right, as 64 bits."""
    gray = np.asarray(Image.fromarray(pixels).convert("L").resize((9, 8), Image.Resampling.BOX))
    return int.from_bytes(np.packbits(gray[:, :-1] < gray[:, 1:]).tobytes())
