"""A configuration and images → a trained network."""

from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from training.config import ConfigError, TrainConfig
from training.data.images import ImageSet
from training.loop.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    ModelCheckpoint,
    Progress,
    PrometheusTextfile,
    ReduceLROnPlateau,
    TensorBoardLogger,
    TerminateOnNaN,
    WarmupCosine,
)
from training.loop.pretrained import load_backbone
from training.loop.trainer import Trainer
from training.loop.workers import ALONE, Workers
from vision.architectures.classifier import Classifier
from vision.architectures.registry import build_model


def fit(
    config: TrainConfig,
    num_classes: int,
    train: ImageSet,
    val: ImageSet,
    callbacks: list[Callback],
    device: str = "cpu",
    *,
    resume: dict[str, Any] | None = None,
    workers: Workers = ALONE,
) -> Trainer:
    """Builds the network, loads pretrained weights if there are any, and trains it through its phases.

    Raises:
        ConfigError: the network cannot take such images, or the device cannot compute in that precision.
        WeightsError: the weights cannot be loaded, or do not fit.
    """
    check_precision(config, device)
    torch.manual_seed(config.seed)  # of the initial weights
    model = build_model(config.arch, num_classes, **config.arch_arguments)
    _check_input(model, config)
    if resume is None:
        load_backbone(model, config.arch, config.weights)
    trainer = Trainer(model, config.resolved_preprocessing, train, val, config, callbacks, device, workers)
    trainer.fit(config.phases(model), resume)
    return trainer


def check_precision(config: TrainConfig, device: str) -> None:
    """Checks that the device can compute in the configured precision.

    Raises:
        ConfigError: it cannot.
    """
    if config.precision == "float16" and device == "cpu":
        raise ConfigError("precision is float16; it needs a GPU. Use bfloat16 or float32 on this machine.")


def default_device() -> str:
    """`cuda` if there is a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def choosing_callbacks(config: TrainConfig) -> list[Callback]:
    """The callbacks that decide the learning rate, when a phase ends, and with which weights."""
    plateau = ReduceLROnPlateau(config.plateau_factor, config.plateau_patience, **_monitor(config))
    return [
        TerminateOnNaN(),
        EarlyStopping(config.stop_patience, **_monitor(config)),
        plateau if config.schedule == "plateau" else WarmupCosine(),
    ]


def recording_callbacks(config: TrainConfig, run: Path, console: Console) -> list[Callback]:
    """The callbacks that show and record a run. The checkpoint is last, because it holds the state of all others."""
    return [
        Progress(console),
        CSVLogger(run / "history.csv"),
        TensorBoardLogger(run / "tensorboard"),
        PrometheusTextfile(run / "training.prom"),
        ModelCheckpoint(run, config.checkpoint_steps, **_monitor(config)),
    ]


def _check_input(model: Classifier, config: TrainConfig) -> None:
    height, width, channels = config.resolved_preprocessing.shape
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, channels, height, width))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"{config.arch} cannot take images of {width}×{height} px with {channels} channels: {error} "
            "Give it another preprocessing."
        ) from error


def _monitor(config: TrainConfig) -> dict[str, Any]:
    return {"monitor": config.monitor, "mode": "min" if config.monitor == "val_loss" else "max"}
