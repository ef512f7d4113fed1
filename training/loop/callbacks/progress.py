"""Shows progress: a bar on a terminal, and one line for each epoch."""

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from training.loop.callbacks.base import Callback, Logs, TrainingState


class Progress(Callback):
    """One bar for each phase, which advances by steps, and one line for each epoch.

    Args:
        console: where it is shown.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar: Bar | None = None

    def on_epoch_begin(self, run: TrainingState) -> None:
        """Opens the phase's bar if the console is a terminal."""
        if self.bar is None and self.console.is_terminal:
            columns = (
                TextColumn("{task.description:>10}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total} steps"),
                TimeRemainingColumn(),
            )
            self.bar = Bar(*columns, console=self.console, transient=True)
            done = run.epoch * run.steps_per_epoch + run.steps_done
            self.bar.add_task(run.phase.name, total=run.phase.epochs * run.steps_per_epoch, completed=done)
            self.bar.start()

    def on_step_end(self, run: TrainingState) -> None:
        """Advances the bar."""
        if self.bar is not None:
            self.bar.advance(self.bar.task_ids[0])

    def on_epoch_end(self, run: TrainingState, logs: Logs) -> None:
        """Prints the epoch's numbers."""
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in logs.items())
        seconds = run.seconds[-1]
        speed = f"{seconds:.1f} s  {len(run.train) / seconds:.0f} images/s"
        self.console.print(f"{run.phase.name:>10} {run.epoch:3}/{run.phase.epochs}  {numbers}  {speed}")

    def on_phase_end(self, run: TrainingState) -> None:
        """Closes the bar."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
