"""Lowers the learning rate when a phase stands still."""

from typing import TYPE_CHECKING, Any

from training.callbacks.base import Logs, Monitor

if TYPE_CHECKING:
    from training.trainer import Trainer


class ReduceLROnPlateau(Monitor):
    """Multiplies every group's learning rate by `factor` after `patience` epochs without improvement.

    Args:
        factor: above 0, below 1.
        patience: epochs, at least 1.
        min_lr: no group's rate is lowered below this.
        monitor: a key of the epoch's logs.
        mode: `min` or `max`.
        min_delta: how much better is better; 1e-4, as in Keras, so that noise is no progress.
    """

    def __init__(
        self,
        factor: float = 0.3,
        patience: int = 2,
        min_lr: float = 1e-7,
        monitor: str = "val_loss",
        mode: str = "min",
        min_delta: float = 1e-4,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if not 0 < factor < 1:
            raise ValueError(f"factor is {factor}; it must lie between 0 and 1.")
        if patience < 1:
            raise ValueError(f"patience is {patience}; it must be at least 1 epoch.")
        self.factor = factor
        self.patience = patience
        self.min_lr = min_lr
        self.waited = 0

    def on_phase_begin(self, trainer: "Trainer") -> None:
        """Starts anew: another phase has another rate."""
        self.best = None
        self.waited = 0

    def on_epoch_end(self, trainer: "Trainer", logs: Logs) -> None:
        """Counts, and lowers the rates when it has waited long enough."""
        value = self.value(logs)
        if self.improves(value):
            self.best = value
            self.waited = 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.waited = 0
            for group in trainer.optimizer.param_groups:
                group["lr"] = max(min(group["lr"], self.min_lr), group["lr"] * self.factor)

    def state_dict(self) -> dict[str, Any]:
        """The best value and how long it is ago; the rates are in the optimizer's state."""
        return super().state_dict() | {"waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes both back."""
        super().load_state_dict(state)
        self.waited = state["waited"]
