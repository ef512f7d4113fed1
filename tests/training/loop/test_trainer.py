from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from training.data.augmentation import Augmentation
from training.data.images import ImageSet
from training.loop.callbacks import (
    Callback,
    EarlyStopping,
    Logs,
    ModelCheckpoint,
    Progress,
    ReduceLROnPlateau,
    TerminateOnNaN,
    TrainingDiverged,
    WarmupCosine,
)
from training.loop.checkpoint import load_checkpoint, save_checkpoint
from training.loop.config import LoopConfig
from training.loop.finetuning import Phase
from training.loop.run_folder import BEST, LAST
from training.loop.sampling import class_weights, epoch_steps
from training.loop.trainer import Trainer
from vision.architectures.registry import build_model
from vision.preprocessing import Preprocessing

TINY = Preprocessing.minus_one_one(8, channels=1)
PLAIN = LoopConfig(batch_size=8, augmentation="none")
PHASES = [Phase("frozen", 3, 1e-2, 0.0, 0, "frozen"), Phase("fine-tuned", 3, 1e-3, 1e-3, 2, "affine")]


def stripes(count: int, seed: int) -> ImageSet:
    """Noise with a bright row or a bright column: something that can be learnt."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 100, (count, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(count) % 2
    for image, label, at in zip(images, labels, generator.integers(0, 8, count), strict=True):
        image[(at, slice(None)) if label else (slice(None), at)] = 255
    return ImageSet(images, labels)


def trainer(folder: Path, *extra: Callback, every_steps: int = 0, **settings: Any) -> Trainer:
    torch.manual_seed(0)
    model = build_model("simple_resnet", 2, widths=(4, 8, 8))
    callbacks = [EarlyStopping(patience=5), ReduceLROnPlateau(patience=1), *extra, ModelCheckpoint(folder, every_steps)]
    config = LoopConfig(**{"batch_size": 8, "augmentation": "characters", "seed": 7} | settings)
    return Trainer(model, TINY, stripes(40, 0), stripes(16, 1), config, callbacks)


class StopAt(Callback):
    """Ends the process, as far as the trainer can tell, in the middle of an epoch."""

    def __init__(self, phase_index: int, epoch: int) -> None:
        self.at = (phase_index, epoch)

    def on_step_end(self, trainer: Trainer) -> None:
        if (trainer.phase_index, trainer.epoch) == self.at and trainer.steps_done >= 4:
            raise KeyboardInterrupt


def weights_of(run: Trainer) -> dict[str, torch.Tensor]:
    return run.model.state_dict()


@pytest.mark.parametrize(
    "killed_in", [(0, 1), (0, 2), (1, 0), (1, 2)], ids=["frozen", "last frozen", "boundary", "fine-tuned"]
)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"every_steps": 3, "ema_decay": 0.9, "clip_norm": 1.0, "accumulate": 2},
        {"every_steps": 1, "optimizer": "sgd", "balance": "sampler", "augmentation": "trivialaugment+erasing+mixup"},
        {"optimizer": "adam", "balance": "loss", "precision": "bfloat16", "label_smoothing": 0.1},
    ],
    ids=["plain", "ema", "sgd", "adam"],
)
def test_a_resumed_run_ends_bit_equal_to_the_uninterrupted_one(
    tmp_path: Path, killed_in: tuple[int, int], settings: dict
) -> None:
    whole = trainer(tmp_path / "whole", **settings)
    whole.fit(PHASES)

    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path / "cut", StopAt(*killed_in), **settings).fit(PHASES)
    resumed = trainer(tmp_path / "cut", StopAt(9, 9), **settings)
    resumed.fit(PHASES, resume=load_checkpoint(tmp_path / "cut" / LAST))

    wanted, got = weights_of(whole), weights_of(resumed)
    assert all(torch.equal(wanted[name], got[name]) for name in wanted)
    assert resumed.history == whole.history


def test_a_checkpoint_within_an_epoch_saves_the_steps_before_it(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, StopAt(0, 0), every_steps=3).fit(PHASES)
    state = load_checkpoint(tmp_path / LAST)
    assert (state["epoch"], state["steps_done"]) == (0, 3)
    steps: list[int] = []

    class Counter(Callback):
        def on_step_end(self, trainer: Trainer) -> None:
            steps.append(trainer.steps_done)

    state["callbacks"]["Counter"] = {}
    trainer(tmp_path, Counter(), every_steps=3).fit(PHASES[:1], resume=state)
    assert steps[:3] == [4, 5, 1]


def test_pieces_of_a_step_add_up_to_the_step(tmp_path: Path) -> None:
    """Without BatchNorm in train mode and without anything drawn, cutting a step into pieces changes rounding only."""
    whole, pieces = (
        trainer(tmp_path, augmentation="none", accumulate=count, weight_decay=0.0, optimizer="sgd") for count in (1, 3)
    )
    for run in (whole, pieces):
        run.model.head[0].p = 0.0
        run.fit([Phase("frozen", 2, 1e-2, 0.0, 0, "frozen")])
    assert torch.allclose(whole.model.head[-1].weight, pieces.model.head[-1].weight, atol=1e-6)


def test_the_moving_average_is_what_is_kept(tmp_path: Path) -> None:
    raw: list[torch.Tensor] = []

    class Recorder(Callback):
        def on_step_end(self, trainer: Trainer) -> None:
            raw.append(trainer.model.head[-1].weight.detach().clone())

    run = trainer(tmp_path, Recorder(), ema_decay=0.5)
    run.callbacks = [Recorder()]
    run.fit([Phase("frozen", 1, 1e-2, 0.0, 0, "frozen")])
    averaged = raw[0]
    for number, weight in enumerate(raw[1:], start=1):
        averaged = averaged.lerp(weight, 1 - min(0.5, (1 + number) / (10 + number)))
    assert torch.allclose(run.model.head[-1].weight, averaged, atol=1e-6)
    assert not torch.allclose(run.model.head[-1].weight, raw[-1], atol=1e-6)


def test_gradients_are_clipped_to_the_norm(tmp_path: Path) -> None:
    norms: list[float] = []

    class Recorder(Callback):
        def on_step_end(self, trainer: Trainer) -> None:
            gradients = [parameter.grad for parameter in trainer.model.parameters() if parameter.grad is not None]
            norms.append(float(torch.stack([gradient.norm() for gradient in gradients]).norm()))

    trainer(tmp_path, Recorder(), clip_norm=0.01).fit(PHASES[1:])
    assert norms
    assert max(norms) <= 0.01 + 1e-6


def test_a_class_weight_makes_a_rare_class_count_as_much() -> None:
    labels = np.array([0] * 30 + [1] * 10)
    assert class_weights(labels, 2).tolist() == pytest.approx([2 / 3, 2.0])
    assert class_weights(labels, 2)[labels].mean() == pytest.approx(1.0)


@pytest.mark.parametrize(("balance", "share"), [("none", 0.1), ("loss", 0.1), ("sampler", 0.5)])
def test_the_sampler_draws_each_class_as_often(balance: str, share: float) -> None:
    labels = np.array([0] * 900 + [1] * 100)
    steps = epoch_steps(labels, 32, balance, [0, 0, 0])
    drawn = np.concatenate(steps)
    assert len(drawn) == 1000
    assert labels[drawn].mean() == pytest.approx(share, abs=0.06)
    if balance != "sampler":
        assert sorted(drawn) == list(range(1000))


@given(images=st.integers(1, 200), batch=st.integers(1, 40))
def test_steps_are_of_equal_size_up_to_one(images: int, batch: int) -> None:
    sizes = [len(step) for step in epoch_steps(np.zeros(images, np.int64), batch, "none", [0, 0, 0])]
    assert sum(sizes) == images
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1


def test_a_loss_that_is_no_number_ends_the_run_and_leaves_the_checkpoint(tmp_path: Path) -> None:
    run = trainer(tmp_path, TerminateOnNaN())

    class Poison(Callback):
        def on_epoch_begin(self, trainer: Trainer) -> None:
            if trainer.epoch == 1:
                with torch.no_grad():
                    trainer.model.head[-1].weight.fill_(torch.nan)

    run.callbacks.insert(0, Poison())
    with pytest.raises(TrainingDiverged, match=r"nan in phase 'frozen', epoch .*--learning-rate"):
        run.fit(PHASES)
    assert load_checkpoint(tmp_path / LAST)["epoch"] == 1


def test_two_runs_with_one_seed_are_equal_and_another_seed_differs(tmp_path: Path) -> None:
    runs = [trainer(tmp_path / str(index), seed=seed) for index, seed in enumerate((7, 7, 8))]
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
    seen: list[np.ndarray] = []

    class Recording(Augmentation):
        def on_pixels(self, images: torch.Tensor) -> torch.Tensor:
            seen.extend(image.tobytes() for image in images.numpy())
            return super().on_pixels(images)

    run = trainer(tmp_path)
    run.augmentation = Recording()
    run.fit(PHASES[:1])
    run.predict(stripes(20, 3).images)
    assert len(seen) == 3 * len(run.train)
    assert set(seen) == {image.tobytes() for image in run.train.images}


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
    return Trainer(model, TINY, stripes(8, 0), stripes(8, 1), PLAIN, [script, *callbacks]), script


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
