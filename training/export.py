"""A trained network → a bundle, with the proof of what it answers."""

import shlex
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save

from training.datasets import TRAINING_LIMITS
from vision.architectures.classifier import Classifier
from vision.bundle.golden import MAX_SAMPLES, TOLERANCE, GoldenExpectation
from vision.bundle.manifest import GOLDEN_FILE, OPENVINO_FILE, OPENVINO_PREPROCESSING, WEIGHTS_FILE, ArchitectureEntry, Manifest, Provenance
from vision.bundle.store import Bundle, load_bundle, next_version, save_bundle
from vision.engines.servable import Servable
from vision.image import decode
from vision.prediction import probabilities
from vision.preprocessing import Preprocessing


def export_bundle(
    out: Path,
    model: Classifier,
    *,
    architecture: ArchitectureEntry,
    categories: Sequence[str],
    preprocessing: Preprocessing,
    temperature: float,
    metrics: Mapping[str, float],
    golden_files: Sequence[Path],
    data: dict[str, Any],
    config: dict[str, Any],
) -> Bundle:
    """Saves the next version of a model, and loads it again as a server would.

    Args:
        out: models/NAME; the version is chosen here.
        model: trained; put on the CPU and into eval mode.
        architecture: how to build it again.
        categories: in the order of the outputs.
        preprocessing: what its images went through.
        temperature: fitted on the validation images.
        metrics: measured on the test images.
        golden_files: 1 to 8 held-out images, kept byte for byte.
        data: fingerprint, counts and split, for the provenance.
        config: the training configuration, for the provenance.
    """
    servable = Servable(model.to("cpu", memory_format=torch.contiguous_format), preprocessing).eval()  # type: ignore[call-overload]
    files = {WEIGHTS_FILE: save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})}
    files |= _openvino_files(servable)
    files |= _golden_files(servable, temperature, golden_files, categories)
    manifest = Manifest.model_construct(
        name=out.name,
        version=next_version(out.parent, out.name),
        architecture=architecture,
        categories=tuple(categories),
        preprocessing=preprocessing,
        temperature=temperature,
        metrics=dict(metrics),
        provenance=Provenance(
            created_at=datetime.now(UTC),
            command=shlex.join(["python", "-m", "training", *sys.argv[1:]]),
            data=data,
            config=config,
            code=_code_versions(),
        ),
        files={},
    )
    return load_bundle(save_bundle(out.parent, manifest, files))


def choose_golden(files: Sequence[Path], logits: npt.NDArray[np.floating]) -> list[Path]:
    """The files whose answer is certain by about 0.9, one a predicted category, up to MAX_SAMPLES.

    A saturated probability stays 1.0 under a slightly wrong preprocessing; one of 0.5 moves already by bfloat16's rounding.
    """
    distance = np.abs(probabilities(logits).max(axis=1) - 0.9)
    winners = logits.argmax(axis=1)
    least = [min(np.flatnonzero(winners == winner).tolist(), key=lambda index: distance[index]) for winner in np.unique(winners)]
    return [files[index] for index in sorted(least, key=lambda index: distance[index])[:MAX_SAMPLES]]


def _golden_files(servable: Servable, temperature: float, sources: Sequence[Path], categories: Sequence[str]) -> dict[str, bytes]:
    images = {f"{index}{source.suffix.lower() or '.img'}": source.read_bytes() for index, source in enumerate(sources)}
    preprocessing = [servable.preprocessing.apply(decode(data, TRAINING_LIMITS)) for data in images.values()]
    with torch.inference_mode():
        logits = servable(torch.from_numpy(np.stack(preprocessing))).numpy()
    rows = probabilities(logits, temperature).tolist()
    expected = GoldenExpectation(tolerance=TOLERANCE, categories=tuple(categories), probabilities=dict(zip(images, rows, strict=True)))
    return {f"golden/{name}": data for name, data in images.items()} | {GOLDEN_FILE: expected.model_dump_json(indent=2).encode()}


def _openvino_files(servable: Servable) -> dict[str, bytes]:
    """The network as OpenVINO IR with a batch of any size: uint8 (N, H, W, C) → float32 (N, classes)."""
    import openvino as ov

    shape = servable.preprocessing.shape
    batch = torch.export.Dim("batch", min=1, max=4096)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # torch.export and OpenVINO's converter warn about their own internals.
        # Two images, because torch.export takes a batch of one for a constant.
        program = torch.export.export(servable, (torch.zeros((2, *shape), dtype=torch.uint8),), dynamic_shapes=({0: batch},))
        model = ov.convert_model(program)
    model.reshape({model.input(0).get_any_name(): ov.PartialShape([-1, *shape])})
    # The numbers of the normalisation are in the graph; this binds them to those of the manifest.
    model.set_rt_info(servable.preprocessing.model_dump_json(), [*OPENVINO_PREPROCESSING])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / Path(OPENVINO_FILE).name
        ov.save_model(model, file, compress_to_fp16=False)
        return {OPENVINO_FILE: file.read_bytes(), OPENVINO_FILE.removesuffix("xml") + "bin": file.with_suffix(".bin").read_bytes()}


def _code_versions() -> dict[str, str]:
    """This project's version and commit, and those of what computed the weights."""
    versions = {name: version(name) for name in ("sightline", "torch", "torchvision", "pillow", "openvino")}
    here = Path(__file__).resolve().parent.parent
    commit = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return versions | ({"commit": commit.stdout.strip()} if commit.returncode == 0 else {})
