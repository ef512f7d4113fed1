"""Lowers the learning rate when a phase stops improving."""

from training.loop.callbacks.base import Logs, Patience, TrainingState


class ReduceLROnPlateau(Patience):
    """Multiplies every group's learning rate by `factor` after `patience` epochs without improvement.

    Args:
        factor: above 0, below 1.
        patience: epochs, at least 1.
        min_lr: lower bound of every group's rate.
        monitor: a key of the epoch's logs.
        mode: `min` or `max`.
        min_delta: smallest change that counts as an improvement; 1e-4, as in Keras, so that noise does not count.
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
        super().__init__(patience, monitor, mode, min_delta)
        if not 0 < factor < 1:
            raise ValueError(f"factor is {factor}; it must lie between 0 and 1.")
        self.factor = factor
        self.min_lr = min_lr

    def on_phase_begin(self, run: TrainingState) -> None:
        """Resets the best value and the count: a new phase has a new rate."""
        super().on_phase_begin(run)
        self.best = None

    def on_epoch_end(self, run: TrainingState, logs: Logs) -> None:
        """Lowers the rates, which are part of the optimizer's state, after `patience` epochs without improvement."""
        if not self.improved(logs) and self.waited >= self.patience:
            self.waited = 0
            for group in run.optimizer.param_groups:
                group["lr"] = max(min(group["lr"], self.min_lr), group["lr"] * self.factor)
