"""What a callback is: the moments of a training run, each a hook that does nothing.

    on_train_begin
      on_phase_begin                     reset what belongs to one phase here
        on_epoch_begin
          on_step_end                    after each optimizer step
        on_epoch_end(logs)               logs: train_loss, val_loss, val_acc@1, learning_rate
      on_phase_end                       also when the phase was stopped early
    on_train_end

Callbacks run in the order in which they are given. They may read everything of the trainer, set `trainer.should_stop` and
change the learning rate. `state_dict` is written to every checkpoint, so it must say all that a resumed run needs.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.trainer import Trainer

Logs = dict[str, float]


class Callback:
    """The base: every hook is a no-op."""

    def on_train_begin(self, trainer: "Trainer") -> None:
        """Once, before the first phase, or before the phase that is resumed."""

    def on_phase_begin(self, trainer: "Trainer") -> None:
        """When a phase starts from its beginning; not when it is resumed."""

    def on_epoch_begin(self, trainer: "Trainer") -> None:
        """Before the first step of an epoch."""

    def on_step_end(self, trainer: "Trainer") -> None:
        """After each optimizer step."""

    def on_epoch_end(self, trainer: "Trainer", logs: Logs) -> None:
        """After the epoch was evaluated on the validation images."""

    def on_phase_end(self, trainer: "Trainer") -> None:
        """After the last epoch of a phase, or where it was stopped."""

    def on_train_end(self, trainer: "Trainer") -> None:
        """Once, after the last phase."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: tensors, numbers, strings, booleans, None, in dicts and lists."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""


class Monitor(Callback):
    """Shared by callbacks that ask whether a logged value got better.

    Args:
        monitor: a key of the epoch's logs.
        mode: `min` where less is better, `max` where more is.
        min_delta: how much better is better, at least 0.
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

    def value(self, logs: Logs) -> float:
        """The monitored value; a missing key is an error that lists the keys there are."""
        if self.monitor not in logs:
            raise KeyError(f"{type(self).__name__} monitors {self.monitor!r}; the epoch logged {', '.join(sorted(logs))}.")
        return logs[self.monitor]

    def improves(self, value: float) -> bool:
        """Whether the value is better than the best so far by more than min_delta; NaN never is."""
        if self.best is None:
            return value == value
        return value < self.best - self.min_delta if self.mode == "min" else value > self.best + self.min_delta

    def state_dict(self) -> dict[str, Any]:
        """The best value so far."""
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the best value back."""
        self.best = state["best"]
