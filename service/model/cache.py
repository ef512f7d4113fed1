"""The answers to images that were seen before: identical bytes to the same bundle get the same scores. Off by default."""

import hashlib
from collections import OrderedDict
from typing import Generic, TypeVar

Kept = TypeVar("Kept")


class AnswerCache(Generic[Kept]):
    """The latest used answers. Belongs to one thread.

    Args:
        digest: of the bundle that answers; part of every key, so that no answer outlives its bundle.
        size: how many are kept, at least 1.
    """

    def __init__(self, digest: str, size: int) -> None:
        self._start = hashlib.sha256(digest.encode())  # nobody finds two images with one key
        self._size = size
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()

    def key(self, image: bytes) -> bytes:
        """32 bytes for an encoded image; takes 0.1 ms for 100 kB and 11 ms for 16 MiB (AMD EPYC)."""
        found = self._start.copy()
        found.update(image)
        return found.digest()

    def get(self, key: bytes) -> Kept | None:
        """What is kept under it, which is used again now."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, key: bytes, answer: Kept) -> None:
        """Keeps it, and lets go of what was not used for the longest time."""
        self._kept[key] = answer
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
