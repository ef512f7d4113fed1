"""How many pixels a replica decodes at a time. Large photos wait for each other here, so that memory stays bounded."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelRoom:
    """Room for the pixels of images that several threads decode.

    Args:
        pixels: of all images together, at least 1. A larger image has the room for itself.
    """

    def __init__(self, pixels: int) -> None:
        self._most = pixels
        self._used = 0
        self._turn = threading.Lock()  # held while waiting: small images that come later do not overtake a large one
        self._freed = threading.Condition()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Waits until there is room for so many pixels, and keeps it."""
        with self._turn, self._freed:
            self._freed.wait_for(lambda: self._used == 0 or self._used + pixels <= self._most)
            self._used += pixels
        try:
            yield
        finally:
            with self._freed:
                self._used -= pixels
                self._freed.notify()
