"""Exposes a run's numbers to Prometheus, through node_exporter's textfile collector."""

from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from training.loop.callbacks.base import Callback, Logs, TrainingState


class PrometheusTextfile(Callback):
    """Writes FILE after each epoch, atomically: `sightline_training_NAME` with the latest value of each number.

    Args:
        file: ends in .prom, in a folder that the textfile collector reads.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def on_epoch_end(self, run: TrainingState, logs: Logs) -> None:
        """Writes the numbers, with the phase as a label. `val_acc@1` becomes `val_acc_at_1`."""
        registry = CollectorRegistry()
        numbers = logs | {"epoch": run.epoch, "epoch_seconds": run.seconds[-1]}
        for name, value in numbers.items():
            metric = f"sightline_training_{name.replace('@', '_at_')}"
            Gauge(metric, f"{name} of the last epoch.", ["phase"], registry=registry).labels(run.phase.name).set(value)
        write_to_textfile(str(self.file), registry)
