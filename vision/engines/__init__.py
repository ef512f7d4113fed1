"""What runs the network: (N, H, W, C) uint8 → (N, classes) float32 logits, the same through every engine.

`load_engine` picks and proves one; nobody else names an engine class. Importing this imports neither torch nor OpenVINO.
"""

import importlib.util
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from vision.bundle.manifest import OPENVINO_FILE
from vision.bundle.store import Bundle
from vision.errors import EngineUnavailable, GoldenMismatch, ImageError
from vision.image import DecodeLimits, Pixels, decode
from vision.prediction import probabilities

_GPU = re.compile(r"nvidia\d+")
EngineName = Literal["auto", "openvino", "torch"]


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


def load_engine(bundle: Bundle, name: EngineName, threads: int, limits: DecodeLimits, streams: int = 1) -> ServingEngine:
    """The fastest engine that reproduces the bundle's golden samples here.

    Args:
        bundle: verified.
        name: `auto` takes a GPU through torch where there is one, else OpenVINO where the bundle brings it, else torch.
        threads: CPU threads for all inferences together, at least 1.
        limits: for decoding the golden samples.
        streams: how many inferences run at a time, 1 to `threads`; one more waits for its turn.

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


def golden_difference(bundle: Bundle, engine: ServingEngine, limits: DecodeLimits) -> str | None:
    """What is wrong with the engine's answers to the golden samples, or None where they are right."""
    try:
        logits = engine.infer_prepared([engine.prepare(decode(image, limits)) for image in bundle.golden.images])
    except ImageError as error:
        return f"a golden image cannot be decoded: {error}"
    except RuntimeError as error:  # torch's and OpenVINO's way to say that the shapes do not fit
        return f"the network does not take an input of shape {bundle.manifest.preprocessing.shape}: {error}"
    return bundle.golden_difference(probabilities(logits, bundle.manifest.temperature), engine.description)


def warm(engine: ServingEngine, shape: tuple[int, int, int], max_batch_size: int) -> None:
    """Runs a batch of each power of two, so that no request pays for a first run. `shape` is (H, W, C)."""
    for power in range(max_batch_size.bit_length()):
        engine.warm(np.zeros((2**power, *shape), dtype=np.uint8))


def _candidates(bundle: Bundle, name: EngineName, threads: int, streams: int) -> Iterable[ServingEngine]:
    has_openvino = OPENVINO_FILE in bundle.manifest.files
    if name == "openvino" and not has_openvino:
        raise EngineUnavailable(f"{bundle.path} brings no {OPENVINO_FILE}; train it again, or use SIGHTLINE_ENGINE=torch.")
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
        if not _has_torch():
            raise EngineUnavailable(f"{bundle.path} is to be served by torch, which is not installed here; take an image that holds it.")
        from vision.engines.torch_engine import TorchEngine

        yield TorchEngine(bundle, max(1, threads // streams))


def count_gpus(devices: Path = Path("/dev")) -> int:
    """How many GPUs of NVIDIA this process may use through torch; asking torch would cost the seconds that importing it takes.

    By their device files: a container on a machine with GPUs sees the driver's /proc, but only the device files that it was given.
    """
    return sum(_GPU.fullmatch(device.name) is not None for device in devices.iterdir()) if _has_torch() else 0


def _has_torch() -> bool:
    """An image for CPUs need not hold it."""
    return importlib.util.find_spec("torch") is not None


def _cuda_works() -> bool:
    """Whether there is a GPU, and a torch that can use it."""
    if not count_gpus():
        return False
    from vision.engines.cuda_engine import works

    return works()
