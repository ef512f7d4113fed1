"""A callback of one's own: ends training when a time budget is spent.

python examples/time_budget.py PHOTOS models/photos --minutes 30

`training/loop/callbacks/base.py` lists the moments at which a callback is called and what it may read and change.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from training.commands.train import train_bundle
from training.config import load_config
from training.loop.callbacks import Callback, Logs
from training.loop.callbacks.base import TrainingState


class TimeBudget(Callback):
    """Ends training after the first epoch that ends past the budget; each later phase then takes one epoch.

    Args:
        minutes: above 0. A resumed run counts the minutes before it was interrupted as well.
    """

    def __init__(self, minutes: float) -> None:
        if not minutes > 0:
            raise ValueError(f"minutes is {minutes}; it must be above 0.")
        self.minutes = minutes
        self.spent_s = 0.0
        self.started = time.monotonic()

    def on_epoch_begin(self, run: TrainingState) -> None:
        """Starts the clock of one epoch."""
        self.started = time.monotonic()

    def on_epoch_end(self, run: TrainingState, logs: Logs) -> None:
        """Ends the phase if the budget is spent. `EarlyStopping` has kept the best weights so far."""
        self.spent_s += time.monotonic() - self.started
        if self.spent_s >= 60 * self.minutes:
            run.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Goes into each checkpoint."""
        return {"spent_s": self.spent_s}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Comes from the checkpoint of a run that is resumed."""
        self.spent_s = state["spent_s"]


def main() -> None:
    """Trains on a folder of labelled images within a budget."""
    parser = argparse.ArgumentParser(description="train within a time budget")
    parser.add_argument("data", type=Path, help="a folder with one folder of images for each category")
    parser.add_argument("out", type=Path, help="models/NAME")
    parser.add_argument("--minutes", type=float, default=30, help="above 0 (default: %(default)s)")
    parser.add_argument("--arch", default="simple_resnet", help="architecture (default: %(default)s)")
    parsed = parser.parse_args()
    config = load_config(None, {"arch": parsed.arch})
    bundle = train_bundle(parsed.data, parsed.out, config, Console(), callbacks=[TimeBudget(parsed.minutes)])
    print(f"Saved {bundle.manifest.name}/{bundle.manifest.version}.")


if __name__ == "__main__":
    main()
