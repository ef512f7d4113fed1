"""Every way to run a bundle's network that is checked against the reference, including other runtimes."""

import io
import os
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from training.evaluation.numbers import REFERENCE_ENGINE
from vision.bundle.manifest import ONNX_FILE, OPENVINO_FILE, PT2_FILE
from vision.bundle.store import Bundle
from vision.engines.engine import Engine
from vision.engines.openvino_engine import OpenVinoEngine, Precision, precisions
from vision.engines.torch_engine import TorchEngine
from vision.errors import EngineUnavailable
from vision.image import Pixels

# Opened only if it is named; see TorchExportEngine.
RUNS_CODE = "torch-export-f32"


class TorchExportEngine:
    """model.pt2. Loading it can run code in the file, so load only bundles that you trust."""

    def __init__(self, bundle: Bundle) -> None:
        self._module = torch.export.load(io.BytesIO(bundle.files[PT2_FILE])).module()
        self.description = RUNS_CODE

    def infer(self, images: Pixels) -> npt.NDArray[np.float32]:
        """(N, H, W, C) uint8 → (N, classes) logits."""
        with torch.inference_mode():
            logits: npt.NDArray[np.float32] = self._module(torch.from_numpy(images)).numpy()
        return logits


class OnnxEngine:
    """model.onnx on the CPU."""

    def __init__(self, bundle: Bundle) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it would send telemetry, and write to the home folder
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        self._session = onnxruntime.InferenceSession(
            bundle.files[ONNX_FILE], options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self.description = "onnx-f32"

    def infer(self, images: Pixels) -> npt.NDArray[np.float32]:
        """(N, H, W, C) uint8 → (N, classes) logits."""
        logits: npt.NDArray[np.float32] = self._session.run(None, {self._input: images})[0]
        return logits


def available(bundle: Bundle) -> dict[str, Callable[[], Engine]]:
    """By name, a function that opens each engine that this machine can run; the reference first."""
    threads = torch.get_num_threads()
    engines: dict[str, Callable[[], Engine]] = {REFERENCE_ENGINE: lambda: TorchEngine(bundle, threads)}
    if OPENVINO_FILE in bundle.files:
        for precision in reversed(precisions(bundle)):
            engines[f"openvino-{precision}"] = _openvino(bundle, precision, threads)
    if PT2_FILE in bundle.files:
        engines[RUNS_CODE] = lambda: TorchExportEngine(bundle)
    if ONNX_FILE in bundle.files:
        engines["onnx-f32"] = lambda: OnnxEngine(bundle)
    return engines


def open_engine(bundle: Bundle, name: str) -> Engine:
    """Opens one engine of `available`.

    Raises:
        EngineUnavailable: the bundle lacks its files, or this machine cannot run it.
    """
    engines = available(bundle)
    if name not in engines:
        raise EngineUnavailable(
            f"{bundle.path} cannot be run through {name!r} here; choose one of {', '.join(engines)}, or all."
        )
    return engines[name]()


def _openvino(bundle: Bundle, precision: Precision, threads: int) -> Callable[[], Engine]:
    return lambda: OpenVinoEngine(bundle, precision, threads)
