"""`evaluate`: computes a bundle's numbers again from the images, through its engines."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from training.config import ConfigError, read_config
from training.data.folder import DataError, Part
from training.data.images import TRAINING_LIMITS, ImageSet
from training.data.preparation import PreparedData, prepare_data
from training.data.report import print_report
from training.evaluation.metrics import Logits
from training.evaluation.numbers import differences, evaluate, headline, predict
from training.export.checked_engines import RUNS_CODE, available, open_engine
from training.progress import shown
from vision.bundle.manifest import METRICS_FILE
from vision.bundle.store import Bundle, load_bundle
from vision.engines.selection import load_engine
from vision.prediction import probabilities

ALL = "all"
AUTO = "auto"


@dataclass(frozen=True)
class Subject:
    """A bundle with labelled images for it.

    Attributes:
        bundle: verified.
        images: with labels in the order of the bundle's categories.
        paths: of the images, below the data folder.
        part: which part of the bundle's own data they are; None for other data.
    """

    bundle: Bundle
    images: ImageSet
    paths: tuple[str, ...]
    part: Part | None


def evaluate_bundle(
    path: Path, data: Path, engine: str, part: Part, predictions: Path | None, console: Console
) -> dict[str, dict[str, Any]]:
    """Evaluates a bundle on one part of its own data, or on all of other data.

    Args:
        path: models/NAME/VERSION.
        data: the folder that it was trained on, or another with the same categories.
        engine: a name from `training.export.checked_engines.available`, `auto` for the service's choice, or `all`.
        part: which part of its own data.
        predictions: where to write one JSON line per image: path, label, and the probability of each category.
        console: where the numbers are shown, and whether they equal those that the bundle recorded.

    Returns:
        By engine, what `training.evaluation.numbers.evaluate` returns.

    Raises:
        SightlineError: the bundle, the data or the engine cannot be used.
    """
    if engine == ALL and predictions is not None:
        raise ConfigError(
            "--predictions writes the answers of one engine, and --engine all runs several; name one of them."
        )
    bundle = load_bundle(path)
    subject = find_subject(bundle, data, part, console)
    recorded = json.loads(bundle.files.get(METRICS_FILE, b"{}"))
    results: dict[str, dict[str, Any]] = {}
    for name, logits in _run(bundle, engine, subject.images, console):
        manifest = bundle.manifest
        results[name] = evaluate(logits, subject.images.labels, manifest.categories, manifest.temperature)
        console.print(f"{name}: {headline(bundle, results[name])}")
        if subject.part == "test" and name in recorded:
            changed = differences(recorded[name], results[name])
            console.print(
                "  the same digits as recorded"
                if not changed
                else "  differs from what was recorded: " + "; ".join(changed)
            )
        if predictions is not None:
            _write_predictions(predictions, subject, probabilities(logits, manifest.temperature))
    return results


def find_subject(bundle: Bundle, data: Path, part: Part, console: Console) -> Subject:
    """The images to evaluate on.

    Raises:
        DataError: a category that the bundle does not know, or problems in the data.
        ManifestInvalid: the bundle does not say how its data was split.
    """
    config = read_config(bundle)
    rule = config.split_rule
    prepared = prepare_data(
        data, rule, config.problem_files, bundle.manifest.preprocessing, shown(console, "decoding"), complete=False
    )
    own = prepared.fingerprint == bundle.manifest.provenance.data.get("sha256")
    if not own:
        console.print(f"{data} is not the data that {bundle.path} was trained on; all of its images are evaluated.")
        print_report(prepared.report, console)
    assert prepared.images is not None  # noqa: S101 - they were asked for
    indices = prepared.indices(part) if own else np.arange(len(prepared.files))
    images = prepared.images.subset(indices)
    return Subject(
        bundle,
        ImageSet(images.images, _labels(bundle, prepared)[indices]),
        tuple(prepared.files[index].path for index in indices),
        part if own else None,
    )


def _labels(bundle: Bundle, prepared: PreparedData) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """The labels in the bundle's order. By name, because another folder may lack a category."""
    order = {category: index for index, category in enumerate(bundle.manifest.categories)}
    unknown = sorted(set(prepared.categories) - order.keys())
    if unknown:
        raise DataError(
            f"{prepared.root} holds {', '.join(unknown)}; the bundle knows {', '.join(order)}. "
            "Rename or remove these folders."
        )
    return np.array([order[file.category] for file in prepared.files], dtype=np.int64)


def _run(bundle: Bundle, engine: str, images: ImageSet, console: Console) -> list[tuple[str, Logits]]:
    if engine == AUTO:
        chosen = load_engine(bundle, "auto", torch.get_num_threads(), TRAINING_LIMITS)
        return [(chosen.description, predict(chosen, images.images))]
    names: Sequence[str] = [engine]
    if engine == ALL:
        refused = {
            name for name, parity in bundle.manifest.parity.items() if not parity.passed
        }  # an engine that was not measured may run
        names = [name for name in available(bundle) if name != RUNS_CODE and name not in refused]
        if RUNS_CODE in available(bundle):
            console.print(
                f"{RUNS_CODE} is left out: loading a .pt2 can run code in it. Name it with --engine if you trust it."
            )
    return [(name, predict(open_engine(bundle, name), images.images)) for name in names]


def _write_predictions(file: Path, subject: Subject, scores: "np.ndarray[Any, np.dtype[np.float64]]") -> None:
    categories = subject.bundle.manifest.categories
    with file.open("w") as stream:
        for path, label, row in zip(subject.paths, subject.images.labels, scores, strict=True):
            line = {
                "path": path,
                "label": categories[label],
                "probabilities": dict(zip(categories, row.tolist(), strict=True)),
            }
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
