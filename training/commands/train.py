"""The whole journey in one place: files → split → phases → temperature → metrics → bundle."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console

from training.commands.evaluate import read_config
from training.config import TrainConfig
from training.data.augmentation import augmentation
from training.data.contact_sheet import contact_sheet
from training.data.folder import DataError, ImageSet
from training.data.preparation import PreparedData, prepare_data
from training.data.report import print_report, write_report
from training.evaluation.calibration import fit_temperature
from training.evaluation.numbers import top_losses
from training.evaluation.report import WorstImage, render_report
from training.export.checked_engines import REFERENCE
from training.export.composition import Evidence, compose_bundle
from training.export.conversion import Format
from training.fitting import choosing_callbacks, default_device, fit, recording_callbacks
from training.loop.callbacks.model_checkpoint import LAST
from training.loop.checkpoint import load_checkpoint
from training.loop.run_folder import open_run
from training.loop.trainer import Trainer
from training.progress import shown
from vision.bundle.manifest import METRICS_FILE, ArchitectureEntry, Manifest
from vision.bundle.store import Bundle, load_bundle, next_version, save_bundle
from vision.engines.torch_engine import load_model
from vision.errors import SightlineError
from vision.prediction import probabilities

_TOP_LOSSES = 12


class OutputError(SightlineError):
    """`--out` cannot name a model."""

    code = "output_error"


def train_bundle(
    data: Path,
    out: Path,
    config: TrainConfig,
    console: Console,
    *,
    formats: Sequence[Format] = (),
    resume: bool = False,
    workers: int = 1,
    cluster: str | None = None,
) -> Bundle:
    """Trains on a folder of labelled images and saves models/NAME/VERSION.

    Args:
        data: one folder of images a category.
        out: models/NAME; NAME is lower-case letters, digits, `-` and `_`. The run itself lies in runs/NAME/VERSION beside models.
        config: every setting of the run.
        console: where progress is shown.
        formats: what the bundle brings beside OpenVINO's float32.
        resume: goes on with the unfinished run of this name.
        workers: how many processes train, 1 to 64; see `training.distributed`.
        cluster: HOST:PORT of the Ray cluster where they do; None: on this machine.

    Raises:
        SightlineError: data, weights, settings or `out` cannot be used; the message says what to do.
    """
    _check_name(out)
    preprocessing = config.resolved_preprocessing
    console.print(preprocessing.describe())
    prepared = prepare_data(data, config.split_rule, config.problem_files, preprocessing, shown(console, "decoding"))
    print_report(prepared.report, console)
    run = run_folder(out)
    state = open_run(run, _identity(config, prepared) | {"workers": workers}, resume)
    write_report(prepared.report, run / "data_report.json")
    if workers > 1:
        from training.distributed import fit_with_workers  # Ray takes seconds to import

        fit_with_workers(data, run, config, workers, cluster, resume=state is not None)
        state = load_checkpoint(run / LAST)
    callbacks = [*choosing_callbacks(config), *recording_callbacks(config, run, console)]
    trainer = fit(config, len(prepared.categories), prepared.part("train"), prepared.part("val"), callbacks, default_device(), resume=state)
    evidence = gather_evidence(prepared, trainer.train, trainer.val)
    temperature = fit_temperature(trainer.predict(trainer.val.images), trainer.val.labels)
    logits = trainer.predict(evidence.test.images)  # now: composing puts the network on the CPU
    manifest, files = compose_bundle(
        out,
        trainer.model,
        architecture=ArchitectureEntry(name=config.arch, arguments=config.arch_arguments),
        categories=prepared.categories,
        preprocessing=preprocessing,
        temperature=temperature,
        evidence=evidence,
        formats=formats,
        config=config.model_dump(mode="json"),
        console=console,
    )
    write_results(run, manifest, files, prepared, evidence.test, logits, trainer)
    bundle = load_bundle(save_bundle(out.parent, manifest, files))  # last, so that where there is a bundle there is its report
    console.print(f"Report: {run / 'report.html'}")
    return bundle


def export_again(path: Path, data: Path, formats: Sequence[Format], console: Console) -> Bundle:
    """Saves the next version of a bundle, with more formats.

    Args:
        path: models/NAME/VERSION.
        data: what it was trained on.
        formats: what the new version brings beside OpenVINO's float32.
        console: where progress is shown.

    Raises:
        DataError: the data is not what the bundle was trained on, so that nothing could be proved.
        SightlineError: the bundle or the data cannot be used.
    """
    bundle = load_bundle(path)
    manifest, config = bundle.manifest, read_config(bundle)
    rule, policy = config.split_rule, config.problem_files
    prepared = prepare_data(data, rule, policy, manifest.preprocessing, shown(console, "decoding"), complete=False)
    if prepared.fingerprint() != manifest.provenance.data.get("sha256"):
        raise DataError(f"{data} is not the data that {path} was trained on; its fingerprint is another. Give that folder as it was.")
    composed = compose_bundle(
        path.parent,
        load_model(bundle),
        architecture=manifest.architecture,
        categories=manifest.categories,
        preprocessing=manifest.preprocessing,
        temperature=manifest.temperature,
        evidence=gather_evidence(prepared, prepared.part("train"), prepared.part("val")),
        formats=formats,
        config=manifest.provenance.config,
        console=console,
    )
    return load_bundle(save_bundle(path.parent.parent, *composed))


def show_augmentation(data: Path, config: TrainConfig, file: Path, console: Console) -> None:
    """Writes a contact sheet of augmented training images.

    Raises:
        SightlineError: data or settings cannot be used.
    """
    preprocessing = config.resolved_preprocessing
    prepared = prepare_data(data, config.split_rule, config.problem_files, preprocessing, shown(console, "decoding"))
    names, train = config.augmentation, prepared.part("train")
    file.write_bytes(contact_sheet(train, preprocessing, augmentation(names), len(prepared.categories), config.seed))
    console.print(f"Written to {file}: each row a training image as it is, then as {names!r} makes it.")


def gather_evidence(prepared: PreparedData, train: ImageSet, val: ImageSet) -> Evidence:
    """What a bundle of this data is proved on, and what its provenance says of it."""
    test = prepared.part("test")
    facts = {
        "sha256": prepared.fingerprint(),
        "split_sha256": prepared.split_fingerprint(),
        "images": {"train": len(train), "val": len(val), "test": len(test)},
        "left_out": sorted({path for problem in prepared.problems for path in problem.left_out}),
    }
    return Evidence(train, val, test, prepared.paths("test"), facts)


def write_results(
    run: Path,
    manifest: Manifest,
    files: Mapping[str, bytes],
    prepared: PreparedData,
    test: ImageSet,
    logits: npt.NDArray[np.float32],
    trainer: Trainer,
) -> None:
    """metrics.json and report.html of a run, from the bundle that it gives and the (N, classes) logits of the test images."""
    categories, temperature = manifest.categories, manifest.temperature
    scores = probabilities(logits, temperature)
    worst = [
        WorstImage(
            path=prepared.files[prepared.split.test[index]].path,
            label=categories[test.labels[index]],
            predicted=categories[scores[index].argmax()],
            score=float(scores[index].max()),
            label_score=float(scores[index, test.labels[index]]),
            pixels=test.images[index],
        )
        for index in top_losses(logits, test.labels, temperature, _TOP_LOSSES)
    ]
    (run / METRICS_FILE).write_bytes(files[METRICS_FILE])
    page = render_report(
        title=f"{manifest.name}/{manifest.version}",
        numbers=json.loads(files[METRICS_FILE])[REFERENCE],
        history=trainer.history,
        seconds=trainer.seconds,
        worst=worst,
        data=prepared.report,
        engines={name: parity.model_dump() for name, parity in manifest.parity.items()},
        config=manifest.provenance.config,
        preprocessing=manifest.preprocessing.describe(),
    )
    (run / "report.html").write_text(page)


def run_folder(out: Path) -> Path:
    """models/NAME → runs/NAME/VERSION beside models, of the version that is saved next."""
    return out.parent.parent / "runs" / out.name / str(next_version(out.parent, out.name))


def _identity(config: TrainConfig, prepared: PreparedData) -> dict[str, Any]:
    """What must be the same for a run to be the same."""
    return {
        **config.model_dump(mode="json"),
        "preprocessing": config.resolved_preprocessing.model_dump(mode="json"),
        "data": prepared.fingerprint(),
        "split": prepared.split_fingerprint(),
        "torch": torch.__version__,
    }


def _check_name(out: Path) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", out.name):
        raise OutputError(f"--out is {out}; its last part names the model: 1 to 63 of a-z, 0-9, - and _, e.g. models/flowers.")
