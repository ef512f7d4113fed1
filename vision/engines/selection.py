"""Selects the engine for a bundle and proves it. No other module names an engine class.

Importing this imports neither torch nor OpenVINO.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np

from vision.bundle.manifest import OPENVINO_FILE
from vision.bundle.store import Bundle
from vision.engines.engine import Engine, ServingEngine
from vision.engines.taps import Taps
from vision.errors import EngineUnavailable, GoldenMismatch, ImageError
from vision.hardware import count_gpus, has_torch
from vision.image import DecodeLimits, decode
from vision.prediction import probabilities

EngineName = Literal["auto", "openvino", "torch"]


def load_engine(
    bundle: Bundle, name: EngineName, threads: int, limits: DecodeLimits, streams: int = 1
) -> ServingEngine:
    """The fastest engine that reproduces the bundle's golden samples here.

    Args:
        bundle: verified.
        name: `auto` takes torch if there is a GPU, else OpenVINO if the bundle holds its format, else torch.
        threads: CPU threads for all inferences together, at least 1.
        limits: for decoding the golden samples.
        streams: inferences that run at a time, 1 to `threads`; more wait.

    Raises:
        EngineUnavailable: the engine asked for cannot run this bundle.
        GoldenMismatch: no precision of the engine reproduces the golden samples.
    """
    failures = []
    for engine in _candidates(bundle, name, threads, streams):
        difference = golden_difference(bundle, engine, limits)
        if difference is None:
            return engine
        failures.append(f"{engine.description}: {difference}")
    raise GoldenMismatch(str(bundle.path), "no engine reproduces the golden samples: " + "; ".join(failures) + ".")


def load_taps(bundle: Bundle, engine: str, threads: int) -> Taps:
    """Taps on the kind of engine that serves.

    Args:
        bundle: verified.
        engine: the description of the serving engine. Beside torch, on any device, torch is tapped on the CPU.
        threads: CPU threads for one inference, at least 1.

    Raises:
        EngineUnavailable, BundleError: the network cannot be compiled.
    """
    if engine.startswith("openvino"):
        from vision.engines.openvino_taps import OpenVinoTaps

        return OpenVinoTaps(bundle, threads)
    from vision.engines.torch_taps import TorchTaps

    return TorchTaps(bundle, threads)


def load_twin(bundle: Bundle, engine: str, threads: int) -> Engine | None:
    """A second copy of an engine that serves on the CPU, for one inference at a time; None for one on another device.

    Args:
        bundle: verified.
        engine: the description of the serving engine.
        threads: CPU threads for one inference, at least 1.
    """
    kind, _, precision = engine.partition("-")
    if kind == "openvino":
        from vision.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(bundle, precision, threads)  # type: ignore[arg-type]  # it is one of its own names
    if engine == "torch-f32":
        from vision.engines.torch_engine import TorchEngine

        return TorchEngine(bundle, threads)
    return None


def golden_difference(bundle: Bundle, engine: ServingEngine, limits: DecodeLimits) -> str | None:
    """How the engine's answers to the golden samples differ from the expected ones; None if they are right."""
    colours = bundle.manifest.preprocessing.colours
    try:
        decoded = [decode(image, limits, colours).pixels for image in bundle.golden.images]
        logits = engine.infer_prepared([engine.prepare(pixels) for pixels in decoded])
    except ImageError as error:
        return f"a golden image cannot be decoded: {error}"
    except RuntimeError as error:  # torch and OpenVINO raise it if the shapes do not fit
        return f"the network does not take an input of shape {bundle.manifest.preprocessing.shape}: {error}"
    return bundle.golden_difference(probabilities(logits, bundle.manifest.temperature), engine.description)


def warm(engine: ServingEngine, shape: tuple[int, int, int], max_batch_size: int) -> None:
    """Runs a batch of each power of two, so that no request pays for a first run. `shape` is (H, W, C)."""
    for power in range(max_batch_size.bit_length()):
        engine.warm(np.zeros((2**power, *shape), dtype=np.uint8))


def _candidates(bundle: Bundle, name: EngineName, threads: int, streams: int) -> Iterable[ServingEngine]:
    has_openvino = OPENVINO_FILE in bundle.manifest.files
    if name == "openvino" and not has_openvino:
        raise EngineUnavailable(
            f"{bundle.path} does not contain {OPENVINO_FILE}. Train it again, or set SIGHTLINE_ENGINE=torch."
        )
    if name != "openvino" and _cuda_works():
        from vision.engines.cuda_engine import PRECISIONS, CudaEngine

        for reduced in PRECISIONS:
            yield CudaEngine(bundle, reduced)
    elif name == "openvino" or (name == "auto" and has_openvino):
        from vision.engines.openvino_engine import OpenVinoEngine, serving_precisions

        for precision in serving_precisions(bundle):
            measured = bundle.manifest.parity.get(f"openvino-{precision}")
            if measured is None or measured.passed:
                yield OpenVinoEngine(bundle, precision, threads, streams)
    else:
        if not has_torch():
            raise EngineUnavailable(
                f"{bundle.path} can only be served with torch, and torch is not installed here. "
                "Install it with pip install '.[gpu]', or use a container image that contains it."
            )
        from vision.engines.torch_engine import TorchEngine

        yield TorchEngine(bundle, max(1, threads // streams))


def _cuda_works() -> bool:
    """Whether there is a GPU and torch can use it."""
    if not count_gpus():
        return False
    from vision.engines.cuda_engine import works

    return works()
