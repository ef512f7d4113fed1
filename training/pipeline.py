"""The whole journey in one place: files → split → phases → temperature → metrics → bundle."""

import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from training.augmentation import AUGMENTATIONS
from training.calibration import fit_temperature
from training.callbacks import Callback, EarlyStopping, ModelCheckpoint, Progress, ReduceLROnPlateau, WarmupCosine
from training.config import TrainConfig
from training.datasets import ImageSet, find_images, load_images, stratified_split
from training.export import choose_golden, export_bundle
from training.finetuning import load_backbone
from training.metrics import accuracy, negative_log_likelihood
from training.trainer import Trainer
from vision.architectures import build_model
from vision.bundle.manifest import ArchitectureEntry
from vision.bundle.store import Bundle
from vision.errors import SightlineError

# How long a person is left without a word where there is no bar.
_SILENCE_S = 2.0


class OutputError(SightlineError):
    """`--out` cannot name a model."""

    code = "output_error"


def train_bundle(data: Path, out: Path, config: TrainConfig, console: Console) -> Bundle:
    """Trains on a folder of labelled images and saves models/NAME/VERSION.

    Args:
        data: one folder of images a category.
        out: models/NAME; NAME is lower-case letters, digits, `-` and `_`.
        config: every setting of the run.
        console: where progress is shown.

    Raises:
        SightlineError: data, weights, settings or `out` cannot be used; the message says what to do.
    """
    _check_name(out)
    found = find_images(data)
    split = stratified_split(found, config.val_share, config.test_share, config.seed)
    preprocessing = config.resolved_preprocessing
    console.print(f"{len(found.files)} images of {len(found.categories)} categories. {preprocessing.describe()}")
    images = load_images(found, preprocessing, shown(console, "decoding"))
    train, val, test = (images.subset(part) for part in (split.train, split.val, split.test))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory(prefix="sightline-training-") as run:
        callbacks = [*choosing_callbacks(config), Progress(console), ModelCheckpoint(Path(run), **_monitor(config))]
        trainer = fit(config, len(found.categories), train, val, callbacks, device)
    temperature = fit_temperature(trainer.predict(val.images), val.labels)
    logits = trainer.predict(test.images)
    metrics = {
        "test_acc@1": accuracy(logits, test.labels),
        "test_nll_before_temperature": negative_log_likelihood(logits, test.labels),
        "test_nll": negative_log_likelihood(logits, test.labels, temperature),
    }
    counts = {"train": len(train), "val": len(val), "test": len(test)}
    return export_bundle(
        out,
        trainer.model,
        architecture=ArchitectureEntry(name=config.arch, arguments=config.arch_arguments),
        categories=found.categories,
        preprocessing=preprocessing,
        temperature=temperature,
        metrics=metrics,
        golden_files=choose_golden([found.files[index] for index in split.test], logits),
        data={"sha256": found.fingerprint(), "images": counts},
        config=config.model_dump(mode="json"),
    )


def fit(config: TrainConfig, num_classes: int, train: ImageSet, val: ImageSet, callbacks: list[Callback], device: str = "cpu") -> Trainer:
    """Builds the network, fills its backbone where there are weights, and trains it through its phases."""
    torch.manual_seed(config.seed)  # of the initial weights
    model = build_model(config.arch, num_classes, **config.arch_arguments)
    if config.weights != "none":
        load_backbone(model, Path(config.weights))
    trainer = Trainer(
        model,
        config.resolved_preprocessing,
        train,
        val,
        callbacks,
        batch_size=config.batch_size,
        augmentation=AUGMENTATIONS[config.augmentation],
        weight_decay=config.weight_decay,
        label_smoothing=config.label_smoothing,
        seed=config.seed,
        device=device,
    )
    trainer.fit(config.phases(model))
    return trainer


def choosing_callbacks(config: TrainConfig) -> list[Callback]:
    """The callbacks that decide when a phase ends, with which weights, and how fast it learns."""
    plateau = ReduceLROnPlateau(config.plateau_factor, config.plateau_patience, **_monitor(config))
    return [EarlyStopping(config.stop_patience, **_monitor(config)), plateau if config.schedule == "plateau" else WarmupCosine()]


def _monitor(config: TrainConfig) -> dict[str, Any]:
    return {"monitor": config.monitor, "mode": "min" if config.monitor == "val_loss" else "max"}


def _check_name(out: Path) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", out.name):
        raise OutputError(f"--out is {out}; its last part names the model: 1 to 63 of a-z, 0-9, - and _, e.g. models/flowers.")


def shown(console: Console, what: str) -> Callable[[Iterable[int], int], Iterable[int]]:
    """A bar on a terminal; elsewhere a line for every tenth, where it takes long enough that somebody waits."""
    if console.is_terminal:
        return lambda items, total: track(items, description=what, total=total, console=console, transient=True)

    def lines(items: Iterable[int], total: int) -> Iterator[int]:
        said = time.monotonic()
        for number, item in enumerate(items, start=1):
            yield item
            if number * 10 // total > (number - 1) * 10 // total and time.monotonic() - said > _SILENCE_S:
                said = time.monotonic()
                console.print(f"{what}: {number} of {total}")

    return lines
