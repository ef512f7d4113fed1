"""What a run writes for people and monitoring while it goes on."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.data.images import ImageSet
from training.loop.callbacks import Callback, CSVLogger, ModelCheckpoint, PrometheusTextfile, TensorBoardLogger
from training.loop.checkpoint import load_checkpoint
from training.loop.config import LoopConfig
from training.loop.finetuning import Phase
from training.loop.run_folder import LAST
from training.loop.trainer import Trainer
from vision.architectures.registry import build_model
from vision.preprocessing import Preprocessing

PHASES = [Phase("frozen", 2, 1e-2, 0.0, 0, "frozen"), Phase("fine-tuned", 2, 1e-3, 1e-3, 2, "affine")]


class StopIn(Callback):
    def __init__(self, phase_index: int, epoch: int) -> None:
        self.at = (phase_index, epoch)

    def on_step_end(self, trainer: Trainer) -> None:
        if (trainer.phase_index, trainer.epoch) == self.at:
            raise KeyboardInterrupt


def run(folder: Path, *callbacks: Callback, resume: dict[str, Any] | None = None) -> Trainer:
    torch.manual_seed(0)
    images = ImageSet(np.random.default_rng(0).integers(0, 256, (24, 8, 8, 1), dtype=np.uint8), np.arange(24) % 2)
    model = build_model("simple_resnet", 2, widths=(4, 8))
    config = LoopConfig(batch_size=8, augmentation="none")
    trainer = Trainer(
        model, Preprocessing.minus_one_one(8, channels=1), images, images, config, [*callbacks, ModelCheckpoint(folder)]
    )
    trainer.fit(PHASES, resume)
    return trainer


@pytest.fixture
def resumed(tmp_path: Path) -> Trainer:
    """A run that was killed in its third epoch and went on, with all loggers."""

    def loggers(at: tuple[int, int]) -> list[Callback]:
        files = (
            CSVLogger(tmp_path / "history.csv"),
            TensorBoardLogger(tmp_path / "tb"),
            PrometheusTextfile(tmp_path / "training.prom"),
        )
        return [*files, StopIn(*at)]

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, *loggers((1, 0)))
    return run(tmp_path, *loggers((9, 9)), resume=load_checkpoint(tmp_path / LAST))


def test_the_table_has_one_row_an_epoch_and_one_header_after_a_resumption(resumed: Trainer, tmp_path: Path) -> None:
    with (tmp_path / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["phase"], row["epoch"]) for row in rows] == [
        ("frozen", "1"),
        ("frozen", "2"),
        ("fine-tuned", "1"),
        ("fine-tuned", "2"),
    ]
    assert [float(row["val_loss"]) for row in rows] == [epoch["val_loss"] for epoch in resumed.history]
    assert all(float(row["seconds"]) >= 0 for row in rows)


def test_tensorboard_shows_each_epoch_once(resumed: Trainer, tmp_path: Path) -> None:
    events = EventAccumulator(str(tmp_path / "tb"))
    events.Reload()
    scalars = events.Scalars("val_loss")
    assert [scalar.step for scalar in scalars] == [1, 2, 3, 4]
    assert [scalar.value for scalar in scalars] == pytest.approx([epoch["val_loss"] for epoch in resumed.history])


def test_prometheus_gets_the_latest_numbers_with_their_phase(resumed: Trainer, tmp_path: Path) -> None:
    families = {
        family.name: family for family in text_string_to_metric_families((tmp_path / "training.prom").read_text())
    }
    (accuracy,) = families["sightline_training_val_acc_at_1"].samples
    assert accuracy.labels == {"phase": "fine-tuned"}
    assert accuracy.value == resumed.history[-1]["val_acc@1"]
    assert families["sightline_training_epoch"].samples[0].value == 2
    assert {
        "sightline_training_train_loss",
        "sightline_training_learning_rate",
        "sightline_training_epoch_seconds",
    } <= families.keys()
