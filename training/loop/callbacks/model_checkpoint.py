"""Writes the run to disk after each epoch, and within long ones, so that a killed one can go on."""

import shutil
from pathlib import Path

from training.loop.callbacks.base import Logs, Monitor, TrainingState
from training.loop.checkpoint import save_checkpoint
from training.loop.run_folder import BEST, LAST


class ModelCheckpoint(Monitor):
    """Keeps FOLDER/last.safetensors after each epoch, or more often, and FOLDER/best.safetensors after each better one.

    Put it last, so that it writes the state of the other callbacks after they have acted in this epoch.

    Args:
        folder: created if it is missing.
        every_steps: also write every this many steps within an epoch; 0 only after epochs.
        monitor: a key of the epoch's logs.
        mode: `min` or `max`.
    """

    def __init__(self, folder: Path, every_steps: int = 0, monitor: str = "val_loss", mode: str = "min") -> None:
        super().__init__(monitor, mode)
        self.folder = folder
        self.every_steps = every_steps

    def on_step_end(self, run: TrainingState) -> None:
        """Writes `last` within an epoch. The end of an epoch is written by `on_epoch_end`."""
        if self.every_steps and run.steps_done % self.every_steps == 0 and run.steps_done < run.steps_per_epoch:
            save_checkpoint(self.folder / LAST, run.state_dict())

    def on_epoch_end(self, run: TrainingState, logs: Logs) -> None:
        """Writes `last`, and copies it to `best` if this epoch is the best."""
        better = self.improved(logs)
        save_checkpoint(self.folder / LAST, run.state_dict())
        if better:
            staging = self.folder / f".{BEST}"
            shutil.copyfile(self.folder / LAST, staging)
            staging.replace(self.folder / BEST)
