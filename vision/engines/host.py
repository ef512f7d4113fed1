"""What the engines on the CPU have in common: the geometry runs in Pillow, image by image, in the caller's thread."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vision.image import Pixels
from vision.preprocessing import Preprocessing


class HostEngine(ABC):
    """An engine that takes squares.

    Args:
        preprocessing: the bundle's.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.prepare = preprocessing.apply

    @abstractmethod
    def infer(self, images: Pixels) -> npt.NDArray[np.float32]:
        """(N, H, W, C) uint8 → (N, classes) logits."""

    def infer_prepared(self, images: Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """What `prepare` gave, at least one → (N, classes) logits."""
        return self.infer(np.stack(images))

    def device_memory(self) -> dict[str, int]:
        """There is no device."""
        return {}
