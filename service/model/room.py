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
        """Occupies a part of the room while the block runs.

        Args:
            pixels: of one image, at least 0. Waits until so many are free.
        """
        with self._turn, self._freed:
            self._freed.wait_for(lambda: self._used == 0 or self._used + pixels <= self._most)
            self._used += pixels
        try:
            yield
        finally:
            with self._freed:
                self._used -= pixels
                self._freed.notify()
