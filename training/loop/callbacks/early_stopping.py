"""Ends a phase that no longer gets better, and goes back to its best epoch."""

from typing import TYPE_CHECKING, Any

import torch

from training.loop.callbacks.base import Logs, Patience

if TYPE_CHECKING:
    from training.loop.trainer import Trainer


class EarlyStopping(Patience):
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
        super().__init__(patience, monitor, mode, min_delta)
        self.best_weights: dict[str, torch.Tensor] = {}

    def on_epoch_end(self, trainer: "Trainer", logs: Logs) -> None:
        """Keeps the weights where they are better, stops where they have not been for too long."""
        if self.improved(logs):
            self.best_weights = {name: tensor.detach().clone() for name, tensor in trainer.evaluated.state_dict().items()}
        elif self.waited >= self.patience:
            trainer.should_stop = True

    def on_phase_end(self, trainer: "Trainer") -> None:
        """Goes back to the best epoch."""
        if self.best_weights:
            trainer.model.load_state_dict(self.best_weights)

    def state_dict(self) -> dict[str, Any]:
        """The best value, its weights and how long it is ago."""
        return super().state_dict() | {"best_weights": self.best_weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes all three back."""
        super().load_state_dict(state)
        self.best_weights = state["best_weights"]
