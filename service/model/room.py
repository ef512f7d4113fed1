"""How many pixels a replica decodes at a time. Large photos wait for each other here, so that memory stays bounded."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from service.settings import LARGE_IMAGE_PIXELS

# glibc keeps freed memory for each thread: 4 bytes a pixel of the largest image that the thread has decoded. To give it
# back after every image would take a third of the time of a photo of 8 million pixels. Other C libraries have no such
# function.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


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
            if pixels > LARGE_IMAGE_PIXELS and _trim is not None:
                _trim(0)
            with self._freed:
                self._used -= pixels
                self._freed.notify()
