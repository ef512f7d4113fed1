"""The number of clients over time: plans as data, and the shape that locust runs."""

from dataclasses import dataclass
from typing import Any

from locust import LoadTestShape


@dataclass(frozen=True)
class Step:
    """A number of clients, until some seconds after the start."""

    until_s: float
    clients: int


def steady(clients: int, seconds: float) -> list[Step]:
    """The same number all the time."""
    return [Step(seconds, clients)]


def steps(clients: int, seconds: float) -> list[Step]:
    """1, 2, 4, … clients for equal times. Throughput rises up to saturation; after that only latency rises."""
    counts = [1]
    while counts[-1] * 2 <= clients:
        counts.append(counts[-1] * 2)
    if counts[-1] < clients:
        counts.append(clients)
    return [Step(seconds * (index + 1) / len(counts), count) for index, count in enumerate(counts)]


def spike(clients: int, seconds: float) -> list[Step]:
    """A tenth of the clients, all of them for the middle fifth, a tenth again. Shows whether the service recovers."""
    calm = max(1, clients // 10)
    return [Step(0.4 * seconds, calm), Step(0.6 * seconds, clients), Step(seconds, calm)]


SHAPES = {"steady": steady, "steps": steps, "spike": spike}


class PlannedShape(LoadTestShape):
    """The shape that `--shape` names, for `--clients` and `--seconds`."""

    def tick(self) -> tuple[int, float] | None:
        """Called by locust once a second: the number of clients and how many may start per second; None at the end."""
        runner: Any = self.runner
        options = runner.environment.parsed_options  # each time: the page may change them between two runs
        now = self.get_run_time()  # type: ignore[no-untyped-call]
        steps = SHAPES[options.shape](options.clients, options.seconds)
        current = next((step.clients for step in steps if now < step.until_s), None)
        return None if current is None else (current, float(max(current, 1)))
