"""Ends a run whose loss is no longer finite."""

import math

from training.loop.callbacks.base import Callback, Logs, TrainingState
from vision.errors import SightlineError

# Reading the loss from a GPU makes it wait, so it is not read in every step.
_EVERY_STEPS = 20


class TrainingDiverged(SightlineError):
    """The loss became NaN or infinite."""

    code = "training_diverged"


class TerminateOnNaN(Callback):
    """Raises TrainingDiverged. The checkpoints before it stay on disk."""

    def on_step_end(self, run: TrainingState) -> None:
        """Checks the sum of the epoch's losses every 20 steps; a NaN stays in it."""
        if run.steps_done % _EVERY_STEPS == 0:
            self._check(run, float(run.loss_sum))

    def on_epoch_end(self, run: TrainingState, logs: Logs) -> None:
        """Checks both losses."""
        self._check(run, logs["train_loss"] + logs["val_loss"])

    def _check(self, run: TrainingState, loss: float) -> None:
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"The loss is {loss} in phase {run.phase.name!r}, epoch {run.epoch + 1}, step {run.steps_done}; "
                "lower --learning-rate, or clip gradients with --clip-norm 1."
            )
