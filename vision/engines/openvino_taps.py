"""Taps on the bundle's IR, by extra outputs of the graph. Imports no torch."""

from typing import Any

import numpy as np
import numpy.typing as npt

from vision.bundle.manifest import OPENVINO_FILE
from vision.bundle.store import Bundle
from vision.engines.openvino_engine import read_model
from vision.engines.openvino_graph import first_convolution, linear_head, maps_by_size
from vision.engines.openvino_library import load_openvino
from vision.engines.taps import FirstLayer, LinearHead, Observation
from vision.errors import EngineUnavailable
from vision.image import Pixels


class OpenVinoTaps:
    """The IR in float32, compiled once for one inference at a time.

    Args:
        bundle: verified.
        threads: for one inference.

    Raises:
        EngineUnavailable: the IR cannot be compiled.
    """

    description = "openvino-f32"

    def __init__(self, bundle: Bundle, threads: int) -> None:
        core = load_openvino().Core()
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        try:
            model = read_model(core, bundle, OPENVINO_FILE)
            first, head, stages = first_convolution(model), linear_head(model), maps_by_size(model)
            taps = [first.entered, first.convolved, first.activated] if first else []
            taps += [head.last] if head else []
            # An output that is there already is not added again, so each is found by what it shows.
            added = {name: index for index, name in enumerate(dict.fromkeys(map(_name, [*taps, *stages])), start=1)}
            model.add_outputs(list({_name(output): output for output in (*taps, *stages)}.values()))
            self._request = core.compile_model(model, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise EngineUnavailable(f"{bundle.path}/{OPENVINO_FILE} cannot be compiled with taps: {error}") from error
        self._first = [added[_name(tap)] for tap in taps[:3]] if first else None
        self._last = added[_name(head.last)] if head else None
        self._stages = [added[_name(stage)] for stage in stages]
        self.first: FirstLayer | None = first.layer if first else None
        self.head: LinearHead | None = head.layer if head else None

    def infer(self, images: Pixels) -> npt.NDArray[np.float32]:
        """(N, H, W, C) uint8 → (N, classes) logits."""
        self._request.infer([images], share_inputs=True)
        return self._output(0)

    def observe(self, image: Pixels) -> Observation:
        """(H, W, C) uint8 → everything that the taps show."""
        logits = self.infer(image[None])[0]
        entered, convolved, activated = (
            (self._output(index)[0] for index in self._first) if self._first else (None, None, None)
        )
        last = self._output(self._last)[0] if self._last is not None else None
        stages = [self._output(index)[0] for index in self._stages]
        return Observation(logits, entered, convolved, activated, last, stages)

    def _output(self, index: int) -> npt.NDArray[np.float32]:
        return np.array(self._request.get_output_tensor(index).data, dtype=np.float32)


def _name(output: Any) -> tuple[str, int]:
    """What identifies an output of the graph: OpenVINO's own objects do not compare."""
    return output.get_node().get_friendly_name(), output.get_index()
