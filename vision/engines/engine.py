"""The interface of engines. An engine runs a network: (N, H, W, C) uint8 → (N, classes) float32 logits."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vision.image import Pixels


class Engine(Protocol):
    """One compiled network.

    Attributes:
        description: engine, device unless it is the CPU, and precision, e.g. `openvino-bf16`, `torch-cuda-f32`.
    """

    description: str

    def infer(self, images: Pixels) -> npt.NDArray[np.float32]:
        """(N, H, W, C) uint8, N at least 1 → (N, classes) logits."""
        ...


class ServingEngine(Engine, Protocol):
    """An engine that serves: `infer` may be called by several threads at a time.

    Attributes:
        best_batch_size: images in one inference above which throughput no longer grows.
        has_linear_head: whether the network ends in global average pooling and one linear layer; None if the engine
            cannot tell without running it.
    """

    best_batch_size: int
    has_linear_head: bool | None

    def prepare(self, image: Pixels) -> Any:
        """Upright RGB (H, W, 3) of any size → the input of `infer_prepared`: on a CPU a square."""
        ...

    def infer_prepared(self, images: Sequence[Any]) -> npt.NDArray[np.float32]:
        """At least one prepared image → (N, classes) logits."""
        ...

    def device_memory(self) -> dict[str, int]:
        """Bytes of a GPU's memory by kind, `gpu_allocated` and `gpu_reserved`; none on a CPU."""
        ...

    def warm(self, images: Pixels) -> None:
        """Runs these images once in every stream. Nothing else may run meanwhile."""
        ...
