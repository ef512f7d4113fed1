"""The CPU engine. Imports no torch: the bundle brings the network as OpenVINO IR, normalisation inside."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import openvino as ov
from pydantic import ValidationError

from vision.bundle.manifest import OPENVINO_FILE, OPENVINO_PREPROCESSING
from vision.bundle.store import Bundle
from vision.errors import EngineUnavailable, ManifestInvalid, TensorMismatch
from vision.image import Pixels
from vision.preprocessing import Preprocessing

Precision = Literal["bf16", "f32"]


def precisions() -> tuple[Precision, ...]:
    """What this CPU computes natively, the fastest first."""
    capabilities = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("bf16", "f32") if "BF16" in capabilities else ("f32",)


class OpenVinoEngine:
    """The bundle's IR, compiled for the CPU.

    Args:
        bundle: verified.
        precision: of the arithmetic; weights are kept in float32 in the bundle.
        threads: for one inference.
    """

    def __init__(self, bundle: Bundle, precision: Precision, threads: int) -> None:
        core = ov.Core()
        xml = bundle.files[OPENVINO_FILE]
        weights = bundle.files[OPENVINO_FILE.removesuffix("xml") + "bin"]
        try:
            model = core.read_model(xml, ov.Tensor(np.frombuffer(weights, dtype=np.uint8)))
            self._compiled = core.compile_model(
                model,
                "CPU",
                {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads},
            )
        except RuntimeError as error:
            raise EngineUnavailable(f"{bundle.path}/{OPENVINO_FILE} cannot be compiled: {error}") from error
        if _held_preprocessing(model) != bundle.manifest.preprocessing:
            raise ManifestInvalid("manifest.json", f"its preprocessing is not the one that {OPENVINO_FILE} was made with.")
        outputs = self._compiled.output(0).partial_shape[1]
        if outputs.is_static and outputs.get_length() != len(bundle.manifest.categories):
            raise TensorMismatch(
                OPENVINO_FILE, f"it has {outputs.get_length()} outputs, but the manifest has {len(bundle.manifest.categories)} categories."
            )
        self._request = self._compiled.create_infer_request()
        self.description = f"openvino-cpu-{precision}"

    def infer(self, images: Pixels) -> npt.NDArray[np.float32]:
        """(N, H, W, C) uint8 → (N, classes) logits."""
        self._request.infer([images], share_inputs=True)
        return np.array(self._request.get_output_tensor(0).data, dtype=np.float32)


def _held_preprocessing(model: ov.Model) -> Preprocessing | None:
    """What the IR was made with, or None where it does not say."""
    if not model.has_rt_info([*OPENVINO_PREPROCESSING]):
        return None
    try:
        return Preprocessing.model_validate_json(model.get_rt_info([*OPENVINO_PREPROCESSING]).astype(str))
    except ValidationError:
        return None
