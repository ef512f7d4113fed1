"""The common part of the CPU engines: the geometry runs in Pillow, one image at a time, in the caller's thread."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vision.image import Pixels
from vision.preprocessing import Preprocessing


class HostEngine(ABC):
    """An engine whose inputs are squares.

    Args:
        preprocessing: the bundle's.
    """

    has_linear_head: bool | None = None

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.prepare = preprocessing.apply

    @abstractmethod
    def infer(self, images: Pixels) -> npt.NDArray[np.float32]:
        """(N, H, W, C) uint8 → (N, classes) logits."""

    def infer_prepared(self, images: Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """At least one prepared image → (N, classes) logits."""
        return self.infer(np.stack(images))

    def device_memory(self) -> dict[str, int]:
        """Empty: there is no device."""
        return {}
