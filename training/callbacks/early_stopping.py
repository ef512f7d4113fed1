"""Ends a phase that no longer gets better, and goes back to its best epoch."""

from typing import TYPE_CHECKING, Any

import torch

from training.callbacks.base import Logs, Monitor

if TYPE_CHECKING:
    from training.trainer import Trainer


class EarlyStopping(Monitor):
    """Stops after `patience` epochs without improvement; the phase always ends with the weights of its best epoch.

    The best value is carried from phase to phase: a second phase that never beats the first one gives the first one's
    weights back. Only the waiting starts anew.

    Args:
        patience: epochs, at least 1.
        monitor: a key of the epoch's logs.
        mode: `min` or `max`.
        min_delta: how much better is better.
    """

    def __init__(self, patience: int = 5, monitor: str = "val_loss", mode: str = "min", min_delta: float = 0.0) -> None:
        super().__init__(monitor, mode, min_delta)
        if patience < 1:
            raise ValueError(f"patience is {patience}; it must be at least 1 epoch.")
        self.patience = patience
        self.waited = 0
        self.best_weights: dict[str, torch.Tensor] = {}

    def on_phase_begin(self, trainer: "Trainer") -> None:
        """Starts waiting anew."""
        self.waited = 0

    def on_epoch_end(self, trainer: "Trainer", logs: Logs) -> None:
        """Keeps the weights where they are better, counts where they are not."""
        value = self.value(logs)
        if self.improves(value):
            self.best = value
            self.waited = 0
            self.best_weights = {name: tensor.detach().clone() for name, tensor in trainer.model.state_dict().items()}
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.should_stop = True

    def on_phase_end(self, trainer: "Trainer") -> None:
        """Goes back to the best epoch."""
        if self.best_weights:
            trainer.model.load_state_dict(self.best_weights)

    def state_dict(self) -> dict[str, Any]:
        """The best value, its weights and how long it is ago."""
        return super().state_dict() | {"waited": self.waited, "best_weights": self.best_weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes all three back."""
        super().load_state_dict(state)
        self.waited = state["waited"]
        self.best_weights = state["best_weights"]
