"""The base of callbacks: the moments of a training run, each a hook that does nothing.

    on_train_begin
      on_phase_begin                     reset what belongs to one phase here
        on_epoch_begin
          on_step_end                    after each optimizer step
        on_epoch_end(logs)               logs: train_loss, val_loss, val_acc@1, learning_rate
      on_phase_end                       also when the phase was stopped early
    on_train_end

Callbacks run in the order in which they are given. They see a run as `TrainingState`: they may read it, set
`should_stop` and change the optimizer's learning rates. `state_dict` is written to every checkpoint, so it must hold
all that a resumed run needs.
"""

import math
from collections.abc import Sized
from typing import Any, Protocol

import torch

from training.loop.finetuning import Phase
from vision.architectures.classifier import Classifier

Logs = dict[str, float]


class TrainingState(Protocol):
    """What callbacks see of a run; `training.loop.trainer.Trainer` is one.

    Attributes:
        train: the training images.
        epoch: epochs of this phase that are done.
        steps_done: steps of this epoch that are done.
        loss_sum: sum of the epoch's mean losses so far, each times its step's images.
        should_stop: set it to end the phase after this epoch.
        history: the logs of every epoch so far, each with its phase's name.
        seconds: the duration of each of those epochs.
        model: the network that is trained.
        optimizer: of this phase; each group has `lr` and, for schedules, `full_lr`.
    """

    epoch: int
    steps_done: int
    loss_sum: torch.Tensor
    should_stop: bool
    history: list[dict[str, Any]]
    seconds: list[float]
    model: Classifier
    optimizer: torch.optim.Optimizer

    @property
    def train(self) -> Sized:
        """The training images."""
        ...

    @property
    def phase(self) -> Phase:
        """The phase that runs now."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one epoch of this phase."""
        ...

    @property
    def evaluated(self) -> Classifier:
        """The network that is evaluated and kept."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        ...


class Callback:
    """The base: every hook is a no-op."""

    def on_train_begin(self, run: TrainingState) -> None:
        """Once, before the first phase, or before the phase that is resumed."""

    def on_phase_begin(self, run: TrainingState) -> None:
        """When a phase starts from its beginning; not when it is resumed."""

    def on_epoch_begin(self, run: TrainingState) -> None:
        """Before the first step of an epoch."""

    def on_step_end(self, run: TrainingState) -> None:
        """After each optimizer step."""

    def on_epoch_end(self, run: TrainingState, logs: Logs) -> None:
        """After the epoch was evaluated on the validation images."""

    def on_phase_end(self, run: TrainingState) -> None:
        """After the last epoch of a phase, also if it was stopped early."""

    def on_train_end(self, run: TrainingState) -> None:
        """Once, after the last phase."""

    def state_dict(self) -> dict[str, Any]:
        """The state that a resumed run needs: tensors, numbers, strings, booleans, None, in dicts and lists."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""


class Monitor(Callback):
    """The common part of callbacks that ask whether a logged value improved.

    Args:
        monitor: a key of the epoch's logs.
        mode: `min` if less is better, `max` if more is.
        min_delta: smallest change that counts as an improvement, at least 0.
    """

    def __init__(self, monitor: str = "val_loss", mode: str = "min", min_delta: float = 0.0) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"mode is {mode!r}; it must be 'min' or 'max'.")
        if min_delta < 0:
            raise ValueError(f"min_delta is {min_delta}; it must be at least 0.")
        self.monitor = monitor
        self.mode = mode
        self.min_delta = min_delta
        self.best: float | None = None

    def improved(self, logs: Logs) -> bool:
        """Whether this epoch's value is the best so far; keeps it if so. NaN never is.

        Raises:
            KeyError: the value was not logged; the message lists what was.
        """
        if self.monitor not in logs:
            raise KeyError(
                f"{type(self).__name__} monitors {self.monitor!r}; the epoch logged {', '.join(sorted(logs))}."
            )
        value = logs[self.monitor]
        if self.best is None:
            better = not math.isnan(value)
        else:
            better = value < self.best - self.min_delta if self.mode == "min" else value > self.best + self.min_delta
        if better:
            self.best = value
        return better

    def state_dict(self) -> dict[str, Any]:
        """The best value so far."""
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the best value."""
        self.best = state["best"]


class Patience(Monitor):
    """The common part of callbacks that act after some epochs without improvement.

    Args:
        patience: epochs, at least 1.
        monitor: a key of the epoch's logs.
        mode: `min` or `max`.
        min_delta: smallest change that counts as an improvement.
    """

    def __init__(self, patience: int, monitor: str, mode: str, min_delta: float) -> None:
        super().__init__(monitor, mode, min_delta)
        if patience < 1:
            raise ValueError(f"patience is {patience}; it must be at least 1 epoch.")
        self.patience = patience
        self.waited = 0

    def on_phase_begin(self, run: TrainingState) -> None:
        """Resets the count of epochs without improvement."""
        self.waited = 0

    def improved(self, logs: Logs) -> bool:
        """See `Monitor`; also counts the epochs without improvement in `waited`."""
        better = super().improved(logs)
        self.waited = 0 if better else self.waited + 1
        return better

    def state_dict(self) -> dict[str, Any]:
        """The best value and the epochs since then."""
        return super().state_dict() | {"waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        super().load_state_dict(state)
        self.waited = state["waited"]
