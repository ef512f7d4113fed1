"""Ends a phase that no longer improves, and restores the weights of its best epoch."""

from typing import Any

import torch

from training.loop.callbacks.base import Logs, Patience, TrainingState


class EarlyStopping(Patience):
    """Stops after `patience` epochs without improvement; the phase always ends with the weights of its best epoch.

    The best value is carried over from phase to phase: if a second phase never beats the first one, the run ends with
    the first one's weights. The count of epochs without improvement starts at 0 in each phase.

    Args:
        patience: epochs, at least 1.
        monitor: a key of the epoch's logs.
        mode: `min` or `max`.
        min_delta: smallest change that counts as an improvement.
    """

    def __init__(self, patience: int = 5, monitor: str = "val_loss", mode: str = "min", min_delta: float = 0.0) -> None:
        super().__init__(patience, monitor, mode, min_delta)
        self.best_weights: dict[str, torch.Tensor] = {}

    def on_epoch_end(self, run: TrainingState, logs: Logs) -> None:
        """Keeps the weights of a better epoch; stops the phase after `patience` epochs without one."""
        if self.improved(logs):
            self.best_weights = {name: tensor.detach().clone() for name, tensor in run.evaluated.state_dict().items()}
        elif self.waited >= self.patience:
            run.should_stop = True

    def on_phase_end(self, run: TrainingState) -> None:
        """Restores the best epoch's weights."""
        if self.best_weights:
            run.model.load_state_dict(self.best_weights)

    def state_dict(self) -> dict[str, Any]:
        """The best value, its weights and the epochs since then."""
        return super().state_dict() | {"best_weights": self.best_weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores all three."""
        super().load_state_dict(state)
        self.best_weights = state["best_weights"]
