"""The CPU engine. Imports no torch: the bundle holds the network as OpenVINO IR, normalisation included."""

import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from vision.bundle.manifest import OPENVINO_FILE, OPENVINO_INT8_FILE, OPENVINO_PREPROCESSING
from vision.bundle.store import Bundle
from vision.engines.host import HostEngine
from vision.engines.openvino_graph import linear_head
from vision.engines.openvino_library import load_openvino
from vision.errors import EngineUnavailable, ManifestInvalid, TensorMismatch
from vision.image import Pixels
from vision.preprocessing import Preprocessing

Precision = Literal["int8", "bf16", "f32"]
_CPU_INFO = Path("/proc/cpuinfo")


def native_precisions() -> tuple[Precision, ...]:
    """The precisions in which this CPU can run a float32 network, the one with fewer bits first."""
    capabilities = load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("bf16", "f32") if "BF16" in capabilities else ("f32",)


def precisions(bundle: Bundle) -> tuple[Precision, ...]:
    """The precisions in which this CPU can run a bundle, the one with the fewest bits first."""
    quantised: tuple[Precision, ...] = ("int8",) if OPENVINO_INT8_FILE in bundle.files else ()
    return quantised + native_precisions()


def serving_precisions(bundle: Bundle) -> tuple[Precision, ...]:
    """The precisions that are worth serving in, the fastest first.

    Without AMX bfloat16 is left out: with AVX-512 alone it was slower than float32 (decision 12).
    """
    has_amx = "amx_bf16" in _CPU_INFO.read_text().split()
    return tuple(precision for precision in precisions(bundle) if precision != "bf16" or has_amx)


class OpenVinoEngine(HostEngine):
    """The bundle's IR, compiled for the CPU.

    Args:
        bundle: verified.
        precision: of the arithmetic. `int8` has an IR of its own; the others share one with float32 weights.
        threads: for all inferences together.
        streams: inferences that run at a time, each with an equal share of the threads.
    """

    best_batch_size = 4  # the activations of a larger one do not fit into a core's cache (decision 14)

    def __init__(self, bundle: Bundle, precision: Precision, threads: int, streams: int = 1) -> None:
        super().__init__(bundle.manifest.preprocessing)
        core = load_openvino().Core()
        file = OPENVINO_INT8_FILE if precision == "int8" else OPENVINO_FILE
        # The layers of an int8 network that are not quantised run in float32.
        settings = {
            "INFERENCE_PRECISION_HINT": "f32" if precision == "int8" else precision,
            "INFERENCE_NUM_THREADS": threads,
        }
        try:
            model = read_model(core, bundle, file)
            # The matrix of a quantised network is computed from integers; taps are on the float32 network anyway.
            plain = model if file == OPENVINO_FILE else read_model(core, bundle, OPENVINO_FILE)
            self.has_linear_head = linear_head(plain) is not None
            alone = core.compile_model(model, "CPU", settings | {"NUM_STREAMS": 1})
            together = core.compile_model(model, "CPU", settings | {"NUM_STREAMS": streams}) if streams > 1 else alone
        except RuntimeError as error:
            raise EngineUnavailable(f"{bundle.path}/{file} cannot be compiled: {error}") from error
        if _held_preprocessing(model) != bundle.manifest.preprocessing:
            raise ManifestInvalid("manifest.json", f"its preprocessing is not the one that {file} was made with.")
        outputs = alone.output(0).partial_shape[1]
        if outputs.is_static and outputs.get_length() != len(bundle.manifest.categories):
            raise TensorMismatch(
                file,
                f"it has {outputs.get_length()} outputs; there are {len(bundle.manifest.categories)} categories.",
            )
        self.description = f"openvino-{precision}"
        self._alone = alone.create_infer_request() if streams > 1 else None
        self._requests = [together.create_infer_request() for _ in range(streams)]
        self._free: SimpleQueue[Any] = SimpleQueue()
        for request in self._requests:
            self._free.put(request)
        self._running = 0
        self._count = threading.Lock()

    def infer(self, images: Pixels) -> npt.NDArray[np.float32]:
        """(N, H, W, C) uint8 → (N, classes) logits.

        A single image gets all threads if nothing else runs. Otherwise each inference gets its stream's threads: two
        inferences side by side, each with half the threads, finish sooner than one after the other with all threads.
        """
        with self._count:
            alone = self._alone is not None and self._running == 0 and len(images) == 1
            self._running += 1
        request = self._alone if alone else self._free.get()
        try:
            return _run(request, images)
        finally:
            with self._count:
                self._running -= 1
            if not alone:
                self._free.put(request)

    def warm(self, images: Pixels) -> None:
        """Runs these images through every stream, while nothing else runs."""
        for request in (self._alone, *self._requests):
            if request is not None:
                _run(request, images)


def read_model(core: Any, bundle: Bundle, file: str) -> Any:
    """One of the bundle's IRs as OpenVINO's model. Raises RuntimeError if it is not one."""
    weights = bundle.files[file.removesuffix("xml") + "bin"]
    return core.read_model(bundle.files[file], load_openvino().Tensor(np.frombuffer(weights, dtype=np.uint8)))


def _run(request: Any, images: Pixels) -> npt.NDArray[np.float32]:
    request.infer([images], share_inputs=True)
    return np.array(request.get_output_tensor(0).data, dtype=np.float32)


def _held_preprocessing(model: Any) -> Preprocessing | None:
    """The preprocessing that the IR was made with; None if it does not say."""
    if not model.has_rt_info([*OPENVINO_PREPROCESSING]):
        return None
    try:
        return Preprocessing.model_validate_json(model.get_rt_info([*OPENVINO_PREPROCESSING]).astype(str))
    except ValidationError:
        return None
