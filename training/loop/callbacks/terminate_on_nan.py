"""Ends a run whose loss is no number any more: nothing that it learnt can be used."""

import math

from training.loop.callbacks.base import Callback, Logs, TrainingState
from vision.errors import SightlineError

# Asking a GPU for the loss makes it wait, so not every step asks.
_EVERY_STEPS = 20


class TrainingDiverged(SightlineError):
    """The loss became NaN or infinite."""

    code = "training_diverged"


class TerminateOnNaN(Callback):
    """Raises TrainingDiverged; checkpoints and the best epoch before it stay on disk."""

    def on_step_end(self, run: TrainingState) -> None:
        """Looks at the sum of the epoch's losses now and then: one NaN in it stays."""
        if run.steps_done % _EVERY_STEPS == 0:
            self._check(run, float(run.loss_sum))

    def on_epoch_end(self, run: TrainingState, logs: Logs) -> None:
        """Looks at both losses."""
        self._check(run, logs["train_loss"] + logs["val_loss"])

    def _check(self, run: TrainingState, loss: float) -> None:
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"The loss is {loss} in phase {run.phase.name!r}, epoch {run.epoch + 1}, after {run.steps_done} steps of it; "
                "lower --learning-rate, or clip gradients with --clip-norm 1."
            )
