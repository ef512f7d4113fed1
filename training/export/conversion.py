"""A network in torch → the files of each format: OpenVINO IR, torch.export's program, ONNX."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from vision.bundle.manifest import ONNX_FILE, OPENVINO_FILE, OPENVINO_INT8_FILE, OPENVINO_PREPROCESSING, PT2_FILE
from vision.engines.openvino_library import load_openvino
from vision.engines.servable import Servable
from vision.image import Pixels

Format = Literal["int8", "pt2", "onnx"]
# Number of training images that calibrate int8: NNCF's default, https://docs.openvino.ai, "Basic quantization flow".
_CALIBRATION_IMAGES = 300
# The default of torch 2.15; OpenVINO, TensorRT and onnxruntime read it.
_OPSET = 20


@dataclass(frozen=True)
class FormatEntry:
    """One format: the engine that proves it, and the beginning of its files' names."""

    engine: str
    prefix: str


FORMATS: dict[Literal["openvino", Format], FormatEntry] = {
    "openvino": FormatEntry("openvino-f32", "openvino/"),
    "int8": FormatEntry("openvino-int8", "openvino-int8/"),
    "pt2": FormatEntry("torch-export-f32", PT2_FILE),
    "onnx": FormatEntry("onnx-f32", ONNX_FILE),
}


def convert(servable: Servable, formats: Sequence[Format], train_images: Pixels) -> dict[str, bytes]:
    """The files of OpenVINO's float32 and of each requested format. All take uint8 (N, H, W, C) and return logits.

    Args:
        servable: on the CPU, in eval mode.
        formats: besides OpenVINO's.
        train_images: uint8 (N, H, W, C); some of them calibrate int8.
    """
    shape = servable.preprocessing.shape
    batch = torch.export.Dim("batch", min=1, max=4096)
    ov = load_openvino()
    with _quietly(), torch.inference_mode():
        # Two images, because torch.export would treat a batch of one as a constant.
        program = torch.export.export(
            servable, (torch.zeros((2, *shape), dtype=torch.uint8),), dynamic_shapes=({0: batch},)
        )
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # paths of this machine
        # Done once, because both converters would do it.
        functional = program.run_decompositions({}) if "onnx" in formats else program
        model = ov.convert_model(functional)
    model.reshape({model.input(0).get_any_name(): ov.PartialShape([-1, *shape])})
    # The graph holds the numbers of the normalisation; this lets the service compare them with the manifest's.
    model.set_rt_info(servable.preprocessing.model_dump_json(), [*OPENVINO_PREPROCESSING])
    files = _ir(model, OPENVINO_FILE)
    if "int8" in formats:
        attends = any(isinstance(module, nn.MultiheadAttention) for module in servable.modules())
        files |= _ir(_quantised(model, train_images, attends), OPENVINO_INT8_FILE)
    if "pt2" in formats:
        buffer = io.BytesIO()
        with _quietly():
            torch.export.save(program, buffer)
        files[PT2_FILE] = buffer.getvalue()
    if "onnx" in formats:
        files[ONNX_FILE] = _onnx(functional)
    return files


def _ir(model: Any, name: str) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory(prefix="sightline-") as folder:
        file = Path(folder) / Path(name).name
        load_openvino().save_model(model, file, compress_to_fp16=False)
        return {name: file.read_bytes(), name.removesuffix("xml") + "bin": file.with_suffix(".bin").read_bytes()}


def _quantised(model: Any, train_images: Pixels, attends: bool) -> Any:
    """8-bit weights and activations, calibrated on training images spread over the whole set.

    NNCF's scheme for transformers helps networks with PyTorch's own attention: on ViT-B/16 it reduced the error of the
    logits from 0.35 to 0.15. On Swin, which has another attention, it increased the error.
    """
    logging.getLogger("torch.utils.cpp_extension").setLevel(
        logging.ERROR
    )  # NNCF makes torch look for CUDA and warn that there is none
    with _quietly():
        import nncf  # takes seconds to import

        nncf.disable_logging()
        chosen = np.linspace(0, len(train_images) - 1, min(_CALIBRATION_IMAGES, len(train_images))).astype(int)
        images = [np.ascontiguousarray(train_images[index : index + 1]) for index in chosen]
        scheme = nncf.ModelType.TRANSFORMER if attends else None
        return nncf.quantize(
            model,
            nncf.Dataset(images),
            subset_size=len(images),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=scheme,
        )


def _onnx(program: torch.export.ExportedProgram) -> bytes:
    from onnx_ir.passes.common import (
        ClearMetadataAndDocStringPass,
    )  # comes with onnxscript, which torch's exporter needs

    with _quietly(), torch.inference_mode():
        exported = torch.onnx.export(
            program,
            (),
            dynamo=True,
            opset_version=_OPSET,
            external_data=False,
            verbose=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: "batch"},),
        )
        assert exported is not None  # noqa: S101 - it is only None where a file is written
        ClearMetadataAndDocStringPass()(exported.model)  # paths of this machine
    data: bytes = exported.model_proto.SerializeToString()
    return data


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Suppresses the converters' warnings about their own internals and their progress lines."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
