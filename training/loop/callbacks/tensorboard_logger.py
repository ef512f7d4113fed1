"""Writes a run's numbers for TensorBoard."""

from pathlib import Path
from typing import Any

from training.loop.callbacks.base import Callback, Logs, TrainingState


class TensorBoardLogger(Callback):
    """One scalar for each logged value, by epoch over all phases. A resumed run hides later values of the killed one.

    Args:
        folder: the argument of `tensorboard --logdir`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None

    def on_train_begin(self, run: TrainingState) -> None:
        """Opens an event file."""
        from torch.utils.tensorboard.writer import SummaryWriter  # takes a second to import

        self._writer = SummaryWriter(str(self.folder), purge_step=len(run.history) + 1)

    def on_epoch_end(self, run: TrainingState, logs: Logs) -> None:
        """Writes the epoch's numbers."""
        for name, value in logs.items():
            self._writer.add_scalar(name, value, len(run.history))
        self._writer.flush()

    def on_train_end(self, run: TrainingState) -> None:
        """Closes the event file."""
        self._writer.close()
