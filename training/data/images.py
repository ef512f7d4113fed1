"""Decoded images as arrays: in memory, or in a temporary file if they would not fit."""

import tempfile
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vision.image import DecodeLimits

# Larger arrays of decoded images go into a temporary file, which the operating system pages in.
IN_MEMORY_BYTES = 2 * 2**30
# Training data belongs to whoever trains, so only the limits that no image library exceeds apply.
TRAINING_LIMITS = DecodeLimits(max_bytes=256 * 2**20, max_pixels=89_478_485, max_side_px=65_535)


@dataclass(frozen=True)
class ImageSet:
    """Images as the network sees them, before normalisation.

    Attributes:
        images: uint8 (N, H, W, C), in memory or backed by a file.
        labels: (N,) int64.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: npt.NDArray[np.int64]) -> "ImageSet":
        """The images at these indices, copied."""
        return ImageSet(take(self.images, indices), self.labels[indices])


def allocate(shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """An array for decoded images: in memory up to IN_MEMORY_BYTES, above that in a temporary file."""
    if int(np.prod(shape)) <= IN_MEMORY_BYTES:
        return np.empty(shape, dtype=np.uint8)
    with tempfile.TemporaryFile() as file:  # numpy keeps a handle of its own; the file is removed with the array
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)


def take(images: npt.NDArray[np.uint8], indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """The images at these indices, copied into an array of their own."""
    chosen = allocate((len(indices), *images.shape[1:]))
    for start in range(0, len(indices), 256):  # in pieces, so that a large set is never in memory twice
        chosen[start : start + 256] = images[indices[start : start + 256]]
    return chosen
