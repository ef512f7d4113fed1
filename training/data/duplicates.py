"""Finds the same picture twice: equal bytes, or bytes that differ but look alike."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from PIL import Image

from vision.image import Pixels

# Two images are near-duplicates if at most this many of the 64 bits of their difference hashes differ, and their 16×16
# px thumbnails differ by at most this many of 255 steps on average. With larger bounds, different photos of similar
# flowers were taken for duplicates, among 2,934 photos of five kinds.
HASH_BITS_APART = 3
THUMBNAIL_STEPS_APART = 8.0
# The difference hash of an image with less contrast (standard deviation, 0 to 255) is noise.
_LEAST_CONTRAST = 4.0
_THUMBNAIL_PX = 16
# Bands of the hash that more images share are skipped: pairs grow with the square, and such a band tells nothing apart.
_LARGEST_BAND = 500


@dataclass(frozen=True)
class Look:
    """What near-duplicates are compared by.

    Attributes:
        hash: the difference hash, 64 bits.
        thumbnail: uint8 (16, 16, 3).
    """

    hash: int
    thumbnail: npt.NDArray[np.uint8]


def look_of(pixels: Pixels) -> Look:
    """The look of a decoded image, uint8 (H, W, 3)."""
    picture = Image.fromarray(pixels)
    gray = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.BOX))
    thumbnail = np.asarray(picture.resize((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.BOX))
    # One bit for each of 8×8 places: whether it is darker than its neighbour to the right.
    return Look(int.from_bytes(np.packbits(gray[:, :-1] < gray[:, 1:]).tobytes()), thumbnail)


def identical(digests: Sequence[str]) -> list[list[int]]:
    """Groups of indices with the same digest, two or more each."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(digests):
        groups[digest].append(index)
    return [group for group in groups.values() if len(group) > 1]


def nearly_identical(digests: Sequence[str], looks: Sequence[Look | None]) -> list[tuple[int, int]]:
    """Pairs of indices that show the same picture in other bytes: scaled, compressed again, slightly changed.

    Args:
        digests: sha256 of each file; files with equal bytes are not paired.
        looks: one for each file; None for files that cannot be decoded.
    """
    candidates: set[tuple[int, int]] = set()
    for shift in range(0, 64, 16):  # hashes at most 3 bits apart agree in at least one of four bands
        bands: dict[int, list[int]] = defaultdict(list)
        for index, look in enumerate(looks):
            if look is not None and look.thumbnail.std(axis=(0, 1)).max() >= _LEAST_CONTRAST:
                bands[look.hash >> shift & 0xFFFF].append(index)
        for members in bands.values():
            if 1 < len(members) <= _LARGEST_BAND:
                candidates.update(combinations(members, 2))
    return sorted(
        (one, other)
        for one, other in candidates
        if digests[one] != digests[other] and _look_alike(looks[one], looks[other])
    )


def _look_alike(one: Look | None, other: Look | None) -> bool:
    if one is None or other is None or (one.hash ^ other.hash).bit_count() > HASH_BITS_APART:
        return False
    return float(np.abs(one.thumbnail.astype(np.int16) - other.thumbnail).mean()) <= THUMBNAIL_STEPS_APART
