"""The reference engine: torch in float32 on the CPU."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load

from vision.architectures.classifier import Classifier
from vision.architectures.registry import build_model
from vision.bundle.manifest import WEIGHTS_FILE
from vision.bundle.store import Bundle
from vision.engines.host import HostEngine
from vision.engines.servable import Servable
from vision.errors import ManifestInvalid, TensorMismatch
from vision.image import Pixels


class TorchEngine(HostEngine):
    """Float32 on the CPU.

    Args:
        bundle: verified.
        threads: for one inference; torch has one such setting for the whole process.
    """

    best_batch_size = 4
    description = "torch-f32"

    def __init__(self, bundle: Bundle, threads: int) -> None:
        super().__init__(bundle.manifest.preprocessing)
        torch.set_num_threads(threads)
        self._servable = Servable(load_model(bundle), bundle.manifest.preprocessing).eval()

    def infer(self, images: Pixels) -> npt.NDArray[np.float32]:
        """(N, H, W, C) uint8 → (N, classes) logits."""
        with torch.inference_mode():
            logits: npt.NDArray[np.float32] = self._servable(torch.from_numpy(images)).numpy()
        return logits

    def warm(self, images: Pixels) -> None:
        """Runs these images once; all threads share what that prepares."""
        self.infer(images)


def load_model(bundle: Bundle) -> Classifier:
    """The bundle's network with its weights, in eval mode.

    Raises:
        ManifestInvalid: the architecture cannot be built.
        TensorMismatch: the weights' names, shapes or values do not fit it.
    """
    manifest = bundle.manifest
    try:
        model = build_model(
            manifest.architecture.name, len(manifest.categories), **_arguments(manifest.architecture.arguments)
        )
    except ValueError as error:
        raise ManifestInvalid("manifest.json", f"architecture: {error}") from error
    try:
        tensors = load(bundle.files[WEIGHTS_FILE])
    except SafetensorError as error:
        raise TensorMismatch(WEIGHTS_FILE, f"it is not a safetensors file: {error}") from error
    _check_tensors(model.state_dict(), tensors)
    model.load_state_dict(tensors)
    return model.eval()


def _arguments(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Lists as tuples again, which JSON does not have."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}


def _check_tensors(wanted: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> None:
    for name in sorted(wanted.keys() ^ given.keys()):
        raise TensorMismatch(
            WEIGHTS_FILE, f"tensor {name!r} is {'missing' if name in wanted else 'not part of the architecture'}."
        )
    for name, tensor in wanted.items():
        if given[name].shape != tensor.shape or given[name].dtype != tensor.dtype:
            found, needed = ((tuple(t.shape), str(t.dtype)) for t in (given[name], tensor))
            raise TensorMismatch(
                WEIGHTS_FILE, f"tensor {name!r} is {found}; architecture and categories need {needed}."
            )
        if tensor.is_floating_point() and not torch.isfinite(given[name]).all():
            raise TensorMismatch(WEIGHTS_FILE, f"tensor {name!r} holds values that are not finite.")
