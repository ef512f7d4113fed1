"""`compare`: which backbone to take, before a long run; and `architectures`, the list of networks.

Each backbone computes the features of all images once, and a head is fitted on them (phase 0 of training). That takes
minutes.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from training.config import ConfigError, TrainConfig, load_config
from training.data.preparation import prepare_data
from training.evaluation.metrics import accuracy, accuracy_interval
from training.fitting import default_device, fit
from training.loop.callbacks import TerminateOnNaN
from training.loop.pretrained import IMAGENET
from training.progress import shown
from vision.architectures.classifier import Classifier
from vision.architectures.registry import FEATURED, architecture, build_model
from vision.engines.servable import Servable
from vision.preprocessing import Preprocessing

_LATENCY_RUNS = 15


class Contender(NamedTuple):
    """One backbone's result.

    Attributes:
        arch: its name.
        weights: the pretrained weights.
        accuracy: acc@1 on the validation images, 0 to 1.
        interval: its 95 % bootstrap interval.
        latency_ms: median of one image through torch in float32, on this machine.
        size_mb: 10⁶ bytes of float32 weights, head included.
        seconds: for computing the features and fitting the head.
    """

    arch: str
    weights: str
    accuracy: float
    interval: tuple[float, float]
    latency_ms: float
    size_mb: float
    seconds: float


def compare_architectures(
    data: Path, archs: Sequence[str], weights: Mapping[str, str], overrides: dict[str, Any], console: Console
) -> list[Contender]:
    """Fits a head on each backbone's features and recommends one.

    Args:
        data: one folder of images for each category.
        archs: names in the registry, two or more.
        weights: by architecture, a safetensors file or a name of torchvision's weights; the default is `imagenet`.
        overrides: other fields of the configuration, e.g. of the split.
        console: where the table goes.

    Returns:
        One row for each architecture, the most accurate first.

    Raises:
        SightlineError: data, weights or an architecture cannot be used.
    """
    unknown = sorted(weights.keys() - set(archs))
    if unknown:
        raise ConfigError(f"--weights names {', '.join(unknown)}, which --archs does not; it names {', '.join(archs)}.")
    rows = []
    for arch in archs:
        fixed = {"arch": arch, "weights": weights.get(arch, IMAGENET), "cache_features": True, "epochs_finetuned": 0}
        rows.append(_measure(data, load_config(None, overrides | fixed), console))
        console.print(f"{arch}: acc@1 {rows[-1].accuracy:.4f} in {rows[-1].seconds:.1f} s")
    rows.sort(key=lambda row: -row.accuracy)
    table = Table(
        "architecture",
        "acc@1 (95 %)",
        "ms per image",
        "MB",
        "seconds",
        title="heads on frozen features, validation images",
    )
    for row in rows:
        low, high = row.interval
        table.add_row(
            row.arch,
            f"{row.accuracy:.4f} ({low:.4f} to {high:.4f})",
            f"{row.latency_ms:.1f}",
            f"{row.size_mb:.1f}",
            f"{row.seconds:.0f}",
        )
    console.print(table)
    console.print(advice(rows))
    return rows


def advice(rows: Sequence[Contender]) -> str:
    """A recommendation: the fastest backbone among those whose accuracy does not differ significantly from the best.

    Args:
        rows: the most accurate first.
    """
    best = rows[0]
    as_good = [row for row in rows if row.accuracy >= best.interval[0]]
    fastest = min(as_good, key=lambda row: row.latency_ms)
    if fastest == best:
        others = "no faster one is as good" if len(rows) > 1 else "there is no other"
        return f"Take {best.arch}: it is the most accurate, and {others} on these images."
    return (
        f"Take {fastest.arch}: its accuracy of {fastest.accuracy:.4f} lies within the interval of the most accurate "
        f"one, {best.arch}, and it is {best.latency_ms / fastest.latency_ms:.1f} times as fast."
    )


def measure_latency_ms(model: Classifier, preprocessing: Preprocessing) -> float:
    """The median of one image through torch in float32 on the CPU, normalisation included."""
    servable = Servable(model.to("cpu", memory_format=torch.channels_last), preprocessing).eval()  # type: ignore[call-overload]
    image = torch.from_numpy(np.zeros((1, *preprocessing.shape), dtype=np.uint8))
    took = []
    with torch.inference_mode():
        for run in range(_LATENCY_RUNS + 3):
            started = time.perf_counter()
            servable(image)
            if run >= 3:  # the first runs prepare
                took.append(time.perf_counter() - started)
    return 1000 * median(took)


def list_architectures(names: Sequence[str], latency: bool, console: Console) -> None:
    """Prints the registry: the cost of each network and the accuracy of its published weights.

    Args:
        names: of architectures; empty lists the featured ones.
        latency: whether each is built and timed on this machine.
        console: where the table goes.

    Raises:
        ConfigError: there is no such architecture.
    """
    table = Table(
        "architecture", "input", "parameters", "MB", "GFLOPs", "ImageNet acc@1", *(("ms per image",) if latency else ())
    )
    for name in names or FEATURED:
        try:
            row = architecture(name)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        height, width, channels = row.preprocessing.shape
        cells = [name, f"{width}×{height}×{channels}", f"{row.parameters:,}", f"{row.size_mb:.1f}", f"{row.gflops:.3g}"]
        cells.append("" if row.accuracy is None else f"{row.accuracy:.4f}")
        if latency:
            cells.append(f"{measure_latency_ms(build_model(name, row.classes), row.preprocessing):.1f}")
        table.add_row(*cells)
    console.print(table)
    console.print(
        "Parameters with 1,000 categories for torchvision's networks, with 10 for the others; "
        "GFLOPs are 10⁹ multiply-adds per image."
    )


def _measure(data: Path, config: TrainConfig, console: Console) -> Contender:
    preprocessing = config.resolved_preprocessing
    prepared = prepare_data(
        data, config.split_rule, config.problem_files, preprocessing, shown(console, f"{config.arch}: decoding")
    )
    started = time.monotonic()
    trainer = fit(config, len(prepared.categories), prepared.train, prepared.val, [TerminateOnNaN()], default_device())
    seconds = time.monotonic() - started
    logits = trainer.predict(trainer.val.images)
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    return Contender(
        config.arch,
        config.weights,
        accuracy(logits, trainer.val.labels),
        accuracy_interval(logits, trainer.val.labels),
        measure_latency_ms(trainer.model, preprocessing),
        4 * parameters / 1e6,
        seconds,
    )
