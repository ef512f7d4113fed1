"""Keeps answers by the bytes of the image. Off by default."""

import hashlib
from collections import OrderedDict
from typing import Generic, TypeVar

Kept = TypeVar("Kept")


class AnswerCache(Generic[Kept]):
    """A least-recently-used cache. Use it from one thread only.

    Args:
        digest: of the bundle; part of every key, so that an answer is never given for another bundle.
        size: number of answers kept, at least 1.
    """

    def __init__(self, digest: str, size: int) -> None:
        self._start = hashlib.sha256(digest.encode())  # sha256, so that nobody can construct two images with one key
        self._size = size
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()

    def key(self, image: bytes) -> bytes:
        """The key of an encoded image, 32 bytes. Takes 0.1 ms for 100 kB and 11 ms for 16 MiB (AMD EPYC)."""
        found = self._start.copy()
        found.update(image)
        return found.digest()

    def get(self, key: bytes) -> Kept | None:
        """The answer under this key, which becomes the most recently used; None if there is none."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, key: bytes, answer: Kept) -> None:
        """Keeps an answer, and drops the least recently used one if there are too many."""
        self._kept[key] = answer
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
