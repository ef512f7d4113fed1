"""`train`: from a folder of labelled images to a saved bundle."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from training.config import ConfigError, TrainConfig
from training.data.preparation import PreparedData, prepare_data
from training.data.report import print_report, write_report
from training.evaluation.calibration import fit_temperature
from training.evaluation.report import Judged, write_results
from training.export.composition import compose_bundle
from training.export.conversion import Format
from training.fitting import choosing_callbacks, default_device, fit, recording_callbacks
from training.loop.callbacks import Callback
from training.loop.run_folder import identity, open_run
from training.loop.trainer import Trainer
from training.progress import shown
from vision.bundle.manifest import ArchitectureEntry
from vision.bundle.store import Bundle, load_bundle, next_version, save_bundle
from vision.errors import SightlineError


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
    callbacks: Sequence[Callback] = (),
    resume: bool = False,
    workers: int = 1,
    cluster: str | None = None,
) -> Bundle:
    """Trains on a folder of labelled images and saves models/NAME/VERSION.

    Args:
        data: one folder of images for each category.
        out: models/NAME, with NAME of a-z, 0-9, `-` and `_`. The run goes to runs/NAME/VERSION beside models.
        config: every setting of the run.
        console: where progress is shown.
        formats: what the bundle holds besides OpenVINO's float32.
        callbacks: your own, of other classes than the shipped ones, see examples/time_budget.py; needs workers=1.
        resume: whether to continue the unfinished run of this name.
        workers: number of processes that train, 1 to 64.
        cluster: HOST:PORT of a Ray cluster for them; None: this machine.

    Raises:
        SightlineError: data, weights, settings or `out` cannot be used; the message says what to do.
    """
    if callbacks and workers > 1:
        raise ConfigError(f"workers is {workers}; callbacks of your own need workers=1.")
    run, preprocessing = run_folder(out), config.resolved_preprocessing
    console.print(preprocessing.describe())
    prepared = prepare_data(data, config.split_rule, config.problem_files, preprocessing, shown(console, "decoding"))
    print_report(prepared.report, console)
    dumped = config.model_dump(mode="json")
    same = identity(dumped, preprocessing, prepared.fingerprint, prepared.split_fingerprint, workers)
    state = open_run(run, same, resume)
    write_report(prepared.report, run / "data_report.json")
    if workers > 1:
        from training.distributed import fit_with_workers  # Ray takes seconds to import

        state = fit_with_workers(data, run, config, workers, cluster, resume=state is not None)
    trainer = _fit(config, prepared, run, callbacks, state, console)
    logits = trainer.predict(prepared.test.images)  # before composing, which moves the network to the CPU
    manifest, files = compose_bundle(
        out,
        trainer.model,
        architecture=ArchitectureEntry(name=config.arch, arguments=config.arch_arguments),
        categories=prepared.categories,
        preprocessing=preprocessing,
        temperature=fit_temperature(trainer.predict(prepared.val.images), prepared.val.labels),
        evidence=prepared.evidence(),
        formats=formats,
        config=dumped,
        console=console,
    )
    judged = Judged(prepared.paths("test"), prepared.test.images, prepared.test.labels, logits)
    write_results(run, manifest, files, judged, prepared.report, trainer.history, trainer.seconds)
    console.print(f"Report: {run / 'report.html'}")
    return load_bundle(save_bundle(out.parent, manifest, files))  # last, so that every bundle has a report


def _fit(
    config: TrainConfig,
    prepared: PreparedData,
    run: Path,
    callbacks: Sequence[Callback],
    state: dict[str, Any] | None,
    console: Console,
) -> Trainer:
    """Trains in this process. The checkpoint is the last callback, because it holds the state of the others."""
    hooks = [*choosing_callbacks(config), *callbacks, *recording_callbacks(config, run, console)]
    if len({type(hook).__name__ for hook in hooks}) < len(hooks):  # a checkpoint keeps their state by that name
        raise ConfigError(f"Two callbacks have the same class name: {[type(hook).__name__ for hook in hooks]}.")
    classes = len(prepared.categories)
    return fit(config, classes, prepared.train, prepared.val, hooks, default_device(), resume=state)


def run_folder(out: Path) -> Path:
    """models/NAME → runs/NAME/VERSION beside models, for the version that is saved next.

    Raises:
        OutputError: the last part of `out` cannot name a model.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", out.name):
        raise OutputError(
            f"--out is {out}; its last part names the model: 1 to 63 of a-z, 0-9, - and _, e.g. models/flowers."
        )
    return out.parent.parent / "runs" / out.name / str(next_version(out.parent, out.name))
