"""A trained network → a bundle with proof of its answers.

Each engine must give the reference's answers on the validation images, within its gate. The files of an engine that
does not pass are not written; if several precisions share a file, the engine is marked so that it never serves.
"""

import io
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import save

from training.data.images import TRAINING_LIMITS
from training.data.preparation import Evidence
from training.evaluation.numbers import REFERENCE_ENGINE, evaluate, predict, top_losses
from training.export.checked_engines import available
from training.export.conversion import FORMATS, Format, convert
from training.export.model_card import render_card
from vision.architectures.classifier import Classifier
from vision.bundle.baseline import Baseline
from vision.bundle.golden import MAX_SAMPLES, TOLERANCE, GoldenExpectation
from vision.bundle.manifest import (
    BASELINE_FILE,
    CARD_FILE,
    GOLDEN_FILE,
    METRICS_FILE,
    WEIGHTS_FILE,
    ArchitectureEntry,
    Manifest,
    Parity,
    Provenance,
)
from vision.bundle.store import load_bundle, next_version, save_bundle
from vision.bundle.worst import MAX_SIDE_PX, MAX_WORST, WorstEntry, worst_files
from vision.engines.servable import Servable
from vision.image import decode
from vision.prediction import probabilities
from vision.preprocessing import Preprocessing

# The numbers of the reference on the test images that the manifest repeats.
_IN_MANIFEST = ("acc@1", "acc@5", "macro_f1", "nll", "nll_before", "brier", "ece", "ece_before")


@dataclass(frozen=True)
class Gate:
    """The limits of an engine's differences from the reference on the validation images.

    Attributes:
        agreement: smallest share of images with the reference's best label.
        difference: largest difference of any probability.
    """

    agreement: float
    difference: float


# float32 differs by the order of additions; bfloat16 has 8 bits of mantissa; 8-bit integers have 256 values.
GATES = {"f32": Gate(0.999, 0.001), "bf16": Gate(0.99, 0.05), "int8": Gate(0.98, 0.10)}


def compose_bundle(
    out: Path,
    model: Classifier,
    *,
    architecture: ArchitectureEntry,
    categories: Sequence[str],
    preprocessing: Preprocessing,
    temperature: float,
    evidence: Evidence,
    formats: Sequence[Format],
    config: dict[str, Any],
    console: Console,
) -> tuple[Manifest, dict[str, bytes]]:
    """The next version of a model: the arguments of `save_bundle`.

    Args:
        out: models/NAME; the version is chosen here.
        model: trained; it is moved to the CPU and put into eval mode.
        architecture: how to build the network again.
        categories: in the order of the outputs.
        preprocessing: of its images.
        temperature: fitted on the validation images.
        evidence: the images on which it is proved.
        formats: written besides the weights and OpenVINO's float32.
        config: the training configuration, for the provenance.
        console: where each engine's parity is shown.
    """
    servable = Servable(model.to("cpu", memory_format=torch.contiguous_format), preprocessing).eval()  # type: ignore[call-overload]
    files = {WEIGHTS_FILE: save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})}
    console.print(f"Exporting: {', '.join(('safetensors', 'openvino', *formats))}")
    files |= convert(servable, formats, evidence.train.images)
    manifest = Manifest.model_construct(
        name=out.name,
        version=next_version(out.parent, out.name),
        architecture=architecture,
        categories=tuple(categories),
        preprocessing=preprocessing,
        temperature=temperature,
        metrics={},
        parity={},
        provenance=_provenance(evidence, config),
        files={},
    )
    with torch.inference_mode():
        logits = predict(_Reference(servable), evidence.test.images)
    files |= _golden_files(servable, temperature, choose_golden(evidence.test_files, logits), categories)
    parity, numbers, refused = _judge(manifest, files, evidence, console)
    files = {name: data for name, data in files.items() if not any(name.startswith(prefix) for prefix in refused)}
    reference = numbers[REFERENCE_ENGINE]
    files[METRICS_FILE] = _json(numbers)
    files |= _worst_files(evidence, logits, categories, temperature)
    baseline = Baseline.measure(probabilities(logits, temperature), evidence.train.labels, categories)
    files[BASELINE_FILE] = _json(baseline.model_dump())
    metrics = {f"test_{name}": reference[name] for name in _IN_MANIFEST}
    manifest = manifest.model_copy(update={"metrics": metrics, "parity": parity})
    files[CARD_FILE] = render_card(manifest, reference).encode()
    return manifest, files


def _command(argv: Sequence[str]) -> str:
    """The command line of this process without the folder of the program: a bundle holds no path of a machine."""
    program = Path(argv[0]).name
    start = ["python", "-m", "training"] if program == "__main__.py" else [program]
    return shlex.join([*start, *argv[1:]])


def _provenance(evidence: Evidence, config: dict[str, Any]) -> Provenance:
    return Provenance(
        created_at=datetime.now(UTC),
        command=_command(sys.argv),
        data=evidence.facts,
        config=config,
        code=_code_versions(),
    )


def choose_golden(files: Sequence[Path], logits: npt.NDArray[np.floating]) -> list[Path]:
    """The files whose best probability is closest to 0.9, one for each predicted category, up to MAX_SAMPLES.

    A probability of 1.0 would hide a slightly wrong preprocessing, and one of 0.5 changes with bfloat16's rounding.
    """
    distance = np.abs(probabilities(logits).max(axis=1) - 0.9)
    winners = logits.argmax(axis=1)
    least = [
        min(np.flatnonzero(winners == winner).tolist(), key=lambda index: distance[index])
        for winner in np.unique(winners)
    ]
    return [files[index] for index in sorted(least, key=lambda index: distance[index])[:MAX_SAMPLES]]


def measure_parity(
    engine: str, logits: npt.NDArray[np.floating], reference: npt.NDArray[np.floating], temperature: float
) -> Parity:
    """Compares an engine's (N, classes) logits with the reference's, and says whether they are within its gate."""
    gate = GATES[engine.rpartition("-")[2]]
    agreement = float((logits.argmax(axis=1) == reference.argmax(axis=1)).mean())
    apart = np.abs(probabilities(logits, temperature) - probabilities(reference, temperature))
    difference = float(apart.max()) if np.isfinite(apart).all() else 1.0
    return Parity(
        images=len(logits),
        top1_agreement=agreement,
        max_probability_difference=difference,
        passed=agreement >= gate.agreement and difference <= gate.difference,
    )


class _Reference:
    """The trained network, before there is a bundle."""

    description = REFERENCE_ENGINE

    def __init__(self, servable: Servable) -> None:
        self._servable = servable

    def infer(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        logits: npt.NDArray[np.float32] = self._servable(torch.from_numpy(images)).numpy()
        return logits


def _judge(
    manifest: Manifest, files: Mapping[str, bytes], evidence: Evidence, console: Console
) -> tuple[dict[str, Parity], dict[str, dict[str, Any]], list[str]]:
    """Runs every engine from a bundle on disk. Returns parity, numbers, and the beginnings of files not to write."""
    parity: dict[str, Parity] = {}
    numbers: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="sightline-export-") as folder:
        bundle = load_bundle(save_bundle(Path(folder), manifest, files))
        reference: npt.NDArray[np.floating] | None = None
        for name, open_it in available(bundle).items():
            engine = open_it()
            logits = predict(engine, evidence.val.images)
            reference = logits if reference is None else reference
            parity[name] = measure_parity(name, logits, reference, manifest.temperature)
            if parity[name].passed:
                test = predict(engine, evidence.test.images)
                numbers[name] = evaluate(test, evidence.test.labels, manifest.categories, manifest.temperature)
            console.print(
                f"{name}: top-1 agreement {parity[name].top1_agreement:.4f}, largest difference of a probability "
                f"{parity[name].max_probability_difference:.6f} on {parity[name].images} validation images"
                f"{'' if parity[name].passed else ': refused'}"
            )
    refused = [entry.prefix for entry in FORMATS.values() if entry.engine in parity and not parity[entry.engine].passed]
    return parity, numbers, refused


def _golden_files(
    servable: Servable, temperature: float, sources: Sequence[Path], categories: Sequence[str]
) -> dict[str, bytes]:
    images = {f"{index}{source.suffix.lower() or '.img'}": source.read_bytes() for index, source in enumerate(sources)}
    preprocessing = servable.preprocessing
    decoded = [decode(data, TRAINING_LIMITS, preprocessing.colours).pixels for data in images.values()]
    squares = np.stack([preprocessing.apply(pixels) for pixels in decoded])
    with torch.inference_mode():
        logits = servable(torch.from_numpy(squares)).numpy()
    rows = probabilities(logits, temperature).tolist()
    expected = GoldenExpectation(
        tolerance=TOLERANCE, categories=tuple(categories), probabilities=dict(zip(images, rows, strict=True))
    )
    return {f"golden/{name}": data for name, data in images.items()} | {
        GOLDEN_FILE: expected.model_dump_json(indent=2).encode()
    }


def _worst_files(
    evidence: Evidence, logits: npt.NDArray[np.floating], categories: Sequence[str], temperature: float
) -> dict[str, bytes]:
    """Small pictures of the test images that were answered wrongly, those with the largest losses first."""
    labels, scores = evidence.test.labels, probabilities(logits, temperature)
    order = top_losses(logits, labels, temperature, len(labels))
    worst = [index for index in order if scores[index].argmax() != labels[index]][:MAX_WORST]
    entries = [
        WorstEntry(
            label=categories[labels[index]],
            predicted=categories[scores[index].argmax()],
            score=round(float(scores[index].max()), 6),
        )
        for index in worst
    ]
    return worst_files(entries, [_small_png(evidence.test.images[index]) for index in worst])


def _small_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _code_versions() -> dict[str, str]:
    """Versions of this project and of the libraries that computed the weights, and the commit if there is one."""
    versions = {name: version(name) for name in ("sightline", "torch", "torchvision", "pillow", "openvino")}
    if shutil.which("git") is None:
        return versions
    here = Path(__file__).resolve().parents[2]
    commit = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return versions | ({"commit": commit.stdout.strip()} if commit.returncode == 0 else {})
