"""The CPU engine. Imports no torch: the bundle brings the network as OpenVINO IR, normalisation inside."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from vision.bundle.manifest import OPENVINO_FILE, OPENVINO_INT8_FILE, OPENVINO_PREPROCESSING
from vision.bundle.store import Bundle
from vision.engines.openvino_library import load_openvino
from vision.errors import EngineUnavailable, ManifestInvalid, TensorMismatch
from vision.image import Pixels
from vision.preprocessing import Preprocessing

Precision = Literal["int8", "bf16", "f32"]


def native_precisions() -> tuple[Precision, ...]:
    """What this CPU computes natively of a float32 network, the fastest first."""
    capabilities = load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("bf16", "f32") if "BF16" in capabilities else ("f32",)


def precisions(bundle: Bundle) -> tuple[Precision, ...]:
    """What this CPU can make of a bundle, the fastest first."""
    quantised: tuple[Precision, ...] = ("int8",) if OPENVINO_INT8_FILE in bundle.files else ()
    return quantised + native_precisions()


class OpenVinoEngine:
    """The bundle's IR, compiled for the CPU.

    Args:
        bundle: verified.
        precision: of the arithmetic; `int8` is an IR of its own, the others share one with float32 weights.
        threads: for one inference.
    """

    def __init__(self, bundle: Bundle, precision: Precision, threads: int) -> None:
        ov = load_openvino()
        core = ov.Core()
        file = OPENVINO_INT8_FILE if precision == "int8" else OPENVINO_FILE
        weights = bundle.files[file.removesuffix("xml") + "bin"]
        # What is not quantised in an int8 network runs in float32.
        hint = "f32" if precision == "int8" else precision
        try:
            model = core.read_model(bundle.files[file], ov.Tensor(np.frombuffer(weights, dtype=np.uint8)))
            self._compiled = core.compile_model(
                model,
                "CPU",
                {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads},
            )
        except RuntimeError as error:
            raise EngineUnavailable(f"{bundle.path}/{file} cannot be compiled: {error}") from error
        if _held_preprocessing(model) != bundle.manifest.preprocessing:
            raise ManifestInvalid("manifest.json", f"its preprocessing is not the one that {file} was made with.")
        outputs = self._compiled.output(0).partial_shape[1]
        if outputs.is_static and outputs.get_length() != len(bundle.manifest.categories):
            raise TensorMismatch(
                file, f"it has {outputs.get_length()} outputs, but the manifest has {len(bundle.manifest.categories)} categories."
            )
        self._request = self._compiled.create_infer_request()
        self.description = f"openvino-{precision}"

    def infer(self, images: Pixels) -> npt.NDArray[np.float32]:
        """(N, H, W, C) uint8 → (N, classes) logits."""
        self._request.infer([images], share_inputs=True)
        return np.array(self._request.get_output_tensor(0).data, dtype=np.float32)


def _held_preprocessing(model: Any) -> Preprocessing | None:
    """What the IR was made with, or None where it does not say."""
    if not model.has_rt_info([*OPENVINO_PREPROCESSING]):
        return None
    try:
        return Preprocessing.model_validate_json(model.get_rt_info([*OPENVINO_PREPROCESSING]).astype(str))
    except ValidationError:
        return None
