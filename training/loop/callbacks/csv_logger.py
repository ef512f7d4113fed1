"""Writes the numbers of every epoch as a CSV file."""

import csv
from pathlib import Path

from training.loop.callbacks.base import Callback, Logs, TrainingState


class CSVLogger(Callback):
    """Writes the whole file after each epoch, so a resumed run repeats neither a row nor the header.

    Args:
        file: its folder must exist.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def on_epoch_end(self, run: TrainingState, logs: Logs) -> None:
        """One row for each epoch so far."""
        staging = self.file.with_name(f".{self.file.name}")
        with staging.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, [*run.history[-1], "seconds"])
            writer.writeheader()
            writer.writerows(
                row | {"seconds": f"{took:.2f}"} for row, took in zip(run.history, run.seconds, strict=True)
            )
        staging.replace(self.file)
