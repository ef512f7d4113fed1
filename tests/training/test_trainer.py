from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from training.augmentation import AUGMENTATIONS
from training.callbacks import Callback, EarlyStopping, Logs, ModelCheckpoint, Progress, ReduceLROnPlateau, WarmupCosine
from training.callbacks.model_checkpoint import BEST, LAST
from training.checkpoint import load_checkpoint, save_checkpoint
from training.datasets import ImageSet
from training.finetuning import Phase
from training.trainer import Trainer
from vision.architectures import build_model
from vision.preprocessing import Preprocessing

TINY = Preprocessing.minus_one_one(8, channels=1)
PHASES = [Phase("frozen", 3, 1e-2, 0.0, 0, "frozen"), Phase("fine-tuned", 3, 1e-3, 1e-3, 2, "affine")]


def stripes(count: int, seed: int) -> ImageSet:
    """Noise with a bright row or a bright column: something that can be learnt."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 100, (count, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(count) % 2
    for image, label, at in zip(images, labels, generator.integers(0, 8, count), strict=True):
        image[(at, slice(None)) if label else (slice(None), at)] = 255
    return ImageSet(images, labels)


def trainer(folder: Path, *extra: Callback) -> Trainer:
    torch.manual_seed(0)
    model = build_model("simple_resnet", 2, widths=(4, 8, 8))
    callbacks = [EarlyStopping(patience=5), ReduceLROnPlateau(patience=1), *extra, ModelCheckpoint(folder)]
    return Trainer(model, TINY, stripes(40, 0), stripes(16, 1), callbacks, batch_size=8, augmentation=AUGMENTATIONS["characters"], seed=7)


class StopAt(Callback):
    """Ends the process, as far as the trainer can tell, in the middle of an epoch."""

    def __init__(self, phase_index: int, epoch: int) -> None:
        self.at = (phase_index, epoch)

    def on_step_end(self, trainer: Trainer) -> None:
        if (trainer.phase_index, trainer.epoch) == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("killed_in", [(0, 1), (0, 2), (1, 0), (1, 2)], ids=["frozen", "last frozen", "boundary", "fine-tuned"])
def test_a_resumed_run_ends_bit_equal_to_the_uninterrupted_one(tmp_path: Path, killed_in: tuple[int, int]) -> None:
    whole = trainer(tmp_path / "whole")
    whole.fit(PHASES)

    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path / "cut", StopAt(*killed_in)).fit(PHASES)
    resumed = trainer(tmp_path / "cut", StopAt(9, 9))
    resumed.fit(PHASES, resume=load_checkpoint(tmp_path / "cut" / LAST))

    wanted, got = whole.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(wanted[name], got[name]) for name in wanted)
    assert resumed.history == whole.history


def test_two_runs_with_one_seed_are_equal_and_another_seed_differs(tmp_path: Path) -> None:
    runs = [trainer(tmp_path / str(index)) for index in range(3)]
    runs[2].seed = 8
    for run in runs:
        run.fit(PHASES)
    assert runs[0].history == runs[1].history
    assert runs[0].history != runs[2].history


def test_it_learns(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.augmentation = None
    run.fit([Phase("scratch", 12, 2e-2, 2e-2, 4, "full")])
    assert (run.predict(stripes(60, 2).images).argmax(1) == stripes(60, 2).labels).mean() > 0.9


def test_only_training_images_are_augmented(tmp_path: Path) -> None:
    seen: list[int] = []
    run = trainer(tmp_path)
    augmentation = AUGMENTATIONS["characters"]
    run.augmentation = lambda images: (seen.append(len(images)), augmentation(images))[1]
    run.fit(PHASES[:1])
    assert sum(seen) == 3 * len(run.train)


def test_the_best_and_the_last_epoch_are_on_disk(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.fit(PHASES)
    losses = [epoch["val_loss"] for epoch in run.history]
    assert load_checkpoint(tmp_path / BEST)["history"][-1]["val_loss"] == min(losses)
    assert load_checkpoint(tmp_path / LAST)["history"] == run.history
    assert sorted(file.name for file in tmp_path.iterdir()) == [BEST, LAST]


class Scripted(Callback):
    """Replaces an epoch's validation loss, before the callbacks after it look."""

    def __init__(self, losses: list[float]) -> None:
        self.losses = losses
        self.weights: list[torch.Tensor] = []

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        logs["val_loss"] = self.losses[len(self.weights)]
        self.weights.append(trainer.model.head[-1].weight.clone())


def scripted(losses: list[float], *callbacks: Callback) -> tuple[Trainer, Scripted]:
    script = Scripted(losses)
    model = build_model("simple_resnet", 2, widths=(4, 8, 8))
    return Trainer(model, TINY, stripes(8, 0), stripes(8, 1), [script, *callbacks], batch_size=8), script


def test_early_stopping_waits_its_patience_and_goes_back_to_the_best_epoch() -> None:
    run, script = scripted([3.0, 2.0, 2.5, 2.4, 1.0], EarlyStopping(patience=2))
    run.fit([Phase("scratch", 5, 1e-2, 1e-2, 4, "full")])
    assert len(run.history) == 4
    assert torch.equal(run.model.head[-1].weight, script.weights[1])


def test_a_second_phase_that_is_never_better_gives_the_first_ones_weights_back() -> None:
    run, script = scripted([1.0, 5.0, 4.0, 3.0], EarlyStopping(patience=2))
    run.fit([Phase("frozen", 1, 1e-2, 0.0, 0, "frozen"), Phase("fine-tuned", 3, 1e-2, 1e-2, 4, "full")])
    assert len(run.history) == 3, "waiting starts anew in the second phase"
    assert torch.equal(run.model.head[-1].weight, script.weights[0])


def test_nan_is_never_the_best() -> None:
    run, script = scripted([float("nan"), 2.0, float("nan")], EarlyStopping(patience=3))
    run.fit([Phase("scratch", 3, 1e-2, 1e-2, 4, "full")])
    assert torch.equal(run.model.head[-1].weight, script.weights[1])


def test_the_rate_is_lowered_on_a_plateau_and_starts_anew_in_the_next_phase() -> None:
    run, _ = scripted([2.0, 2.0, 2.0, 2.0, 2.0], ReduceLROnPlateau(factor=0.1, patience=2))
    run.fit([Phase("frozen", 4, 1e-2, 0.0, 0, "frozen"), Phase("fine-tuned", 1, 1e-3, 1e-3, 4, "frozen")])
    assert [round(epoch["learning_rate"], 9) for epoch in run.history] == [1e-2, 1e-2, 1e-2, 1e-3, 1e-3]


def test_the_cosine_rises_to_the_full_rate_and_falls_within_each_phase() -> None:
    rates: list[float] = []

    class Recorder(Callback):
        def on_step_end(self, trainer: Trainer) -> None:
            rates.append(trainer.optimizer.param_groups[0]["lr"])

    run, _ = scripted([1.0] * 20, Recorder(), WarmupCosine(warmup=0.2, final=0.01))
    run.fit([Phase("frozen", 10, 1e-2, 0.0, 0, "frozen"), Phase("fine-tuned", 10, 1e-3, 1e-3, 4, "frozen")])
    for phase, full in ((rates[:10], 1e-2), (rates[10:], 1e-3)):
        assert phase[0] == pytest.approx(full / 25)
        assert max(phase) == pytest.approx(full)
        assert phase.index(max(phase)) == 2
        assert phase[-1] < 0.05 * full
        assert phase[2:] == sorted(phase[2:], reverse=True)


def test_a_monitor_that_is_not_logged_is_an_error_that_lists_what_is() -> None:
    run, _ = scripted([1.0], EarlyStopping(monitor="val_los"))
    with pytest.raises(KeyError, match=r"val_los.*train_loss.*val_loss"):
        run.fit([Phase("scratch", 1, 1e-2, 1e-2, 4, "full")])


@pytest.mark.parametrize(
    "make",
    [
        lambda: EarlyStopping(patience=0),
        lambda: EarlyStopping(mode="auto"),
        lambda: ReduceLROnPlateau(factor=1.0),
        lambda: ReduceLROnPlateau(min_delta=-1),
    ],
)
def test_a_callback_refuses_what_cannot_work(make: Any) -> None:
    with pytest.raises(ValueError, match=r"must"):
        make()


def test_the_hooks_are_called_in_the_documented_order(tmp_path: Path) -> None:
    calls: list[str] = []

    class Recorder(Callback):
        pass

    for hook in ("train_begin", "phase_begin", "epoch_begin", "step_end", "epoch_end", "phase_end", "train_end"):
        setattr(Recorder, f"on_{hook}", lambda self, *_, hook=hook: calls.append(hook))
    run, _ = scripted([1.0, 1.0], Recorder())
    run.fit([Phase("scratch", 2, 1e-2, 1e-2, 4, "full")])
    epoch = ["epoch_begin", "step_end", "epoch_end"]
    assert calls == ["train_begin", "phase_begin", *epoch, *epoch, "phase_end", "train_end"]


def test_progress_writes_one_line_an_epoch_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = scripted([0.5, 0.25], Progress(Console(width=200)))
    run.fit([Phase("scratch", 2, 1e-2, 1e-2, 4, "full")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "scratch   2/2" in lines[1]
    assert "val_loss 0.25" in lines[1]


def test_a_checkpoint_keeps_tensors_integer_keys_and_none(tmp_path: Path) -> None:
    state = {"a": {0: torch.arange(3), 1: None}, "b": [1.5, True, "x", {"c": torch.ones(2, 2)}], "nan": float("nan")}
    save_checkpoint(tmp_path / "s.safetensors", state)
    back = load_checkpoint(tmp_path / "s.safetensors")
    assert torch.equal(back["a"][0], state["a"][0])
    assert back["a"][1] is None
    assert torch.equal(back["b"][3]["c"], torch.ones(2, 2))
    assert back["b"][:3] == [1.5, True, "x"]
    assert back["nan"] != back["nan"]


def test_a_failed_checkpoint_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "s.safetensors"
    save_checkpoint(file, {"epoch": 1})
    with pytest.raises(TypeError, match="cannot hold a set"):
        save_checkpoint(file, {"epoch": {2}})
    assert load_checkpoint(file) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [file]
