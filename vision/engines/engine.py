"""What an engine is: it runs the network, (N, H, W, C) uint8 → (N, classes) float32 logits."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vision.image import Pixels


class Engine(Protocol):
    """One compiled network.

    Attributes:
        description: engine and precision, and the device where it is not the CPU, e.g. `openvino-bf16`, `torch-cuda-f32`.
    """

    description: str

    def infer(self, images: Pixels) -> npt.NDArray[np.float32]:
        """(N, H, W, C) uint8, N at least 1 → (N, classes) logits."""
        ...


class ServingEngine(Engine, Protocol):
    """One that `load_engine` gives: `infer` may be called by several threads at a time.

    Attributes:
        best_batch_size: images in one inference beyond which it does no more images a second.
    """

    best_batch_size: int

    def prepare(self, image: Pixels) -> Any:
        """Upright RGB (H, W, 3) of any size → what `infer_prepared` takes: on a CPU the network's square, on a GPU the image."""
        ...

    def infer_prepared(self, images: Sequence[Any]) -> npt.NDArray[np.float32]:
        """At least one prepared image → (N, classes) logits."""
        ...

    def device_memory(self) -> dict[str, int]:
        """Bytes of a GPU's memory by kind, `gpu_allocated` and `gpu_reserved`; none on a CPU."""
        ...

    def warm(self, images: Pixels) -> None:
        """Runs such a batch once wherever `infer` may run one; nothing else runs meanwhile."""
        ...
