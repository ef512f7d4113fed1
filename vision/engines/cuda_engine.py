"""The engine for NVIDIA GPUs: geometry, normalisation and network on the device, in half precision."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from vision.bundle.store import Bundle
from vision.device.network import ReducedNetwork
from vision.device.pipeline import DevicePipeline, Placed
from vision.engines.servable import Normalisation
from vision.engines.torch_engine import load_model
from vision.geometry import Placement, place
from vision.image import Pixels

Precision = Literal["f16", "bf16", "f32"]
# float16 has three more bits of mantissa than bfloat16; if its range is too small, the golden samples refuse it.
PRECISIONS: tuple[Precision, ...] = ("f16", "bf16", "f32")
_LARGE_PIXELS = 2**21  # 6 MB, a little more than 1920×1080
_LARGEST = 256  # images in one run; a larger batch is cut into parts
_DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}


class CudaEngine:
    """Takes decoded images of any size, so that the CPU only decodes.

    Args:
        bundle: verified.
        precision: of weights and arithmetic; normalisation and logits are float32.
        device: `cuda`; `cpu` runs the same arithmetic, for tests.
    """

    best_batch_size = 64
    has_linear_head: bool | None = None

    def __init__(self, bundle: Bundle, precision: Precision, device: str = "cuda") -> None:
        self._preprocessing = preprocessing = bundle.manifest.preprocessing
        network = ReducedNetwork(Normalisation(preprocessing), load_model(bundle), _DTYPES[precision])
        if device == "cuda":
            torch.backends.cudnn.benchmark = True  # there are few shapes, and each is run before it serves
        self._pipeline = DevicePipeline(network.eval().to(device), preprocessing, device, _LARGEST)
        self.description = f"torch-{device}-{precision}"

    def infer(self, images: Pixels) -> npt.NDArray[np.float32]:
        """(N, H, W, C) uint8 → (N, classes) logits."""
        return self._pipeline.infer(list(images))

    def prepare(self, image: Pixels) -> Placed:
        """Leaves the geometry to the device, except for large images: a batch of those would take gigabytes."""
        if image.shape[0] * image.shape[1] <= _LARGE_PIXELS:
            return Placed(image, place(self._preprocessing, image.shape[1], image.shape[0]))
        square = self._preprocessing.apply(image)
        side = self._preprocessing.crop_px
        if self._preprocessing.channels == 1:
            square = np.repeat(square, 3, axis=2)  # which keeps the luma
        return Placed(square, Placement(box=(0, 0, side, side), size=(side, side), corner=(0, 0)))

    def infer_prepared(self, images: Sequence[Placed]) -> npt.NDArray[np.float32]:
        """At least one → (N, classes) logits."""
        return self._pipeline.classify(images)

    def device_memory(self) -> dict[str, int]:
        """Bytes that torch holds on the device."""
        return {"gpu_allocated": torch.cuda.memory_allocated(), "gpu_reserved": torch.cuda.memory_reserved()}

    def warm(self, images: Pixels) -> None:
        """Prepares every stream for a batch of this size, unless it would be split."""
        if len(images) <= _LARGEST:
            self._pipeline.warm(len(images))


def works() -> bool:
    """Whether this torch was built for CUDA and finds a GPU that this process may use."""
    return torch.cuda.is_available()
