"""One table of metrics, two back ends: Ray's inside a replica, prometheus_client everywhere else.

Units are base units, no label value comes from a client. Ray's agent reconstructs a histogram's sum from bucket midpoints,
so exact means come from the seconds counters.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import prometheus_client

_HAND_OVER_INTERVAL_S = 1.0


@dataclass(frozen=True)
class Metric:
    """One row of the table.

    Attributes:
        name: with the prefix `sightline_`, the unit, and `_total` where it counts.
        kind: `counter` or `histogram`.
        labels: every one must be given at each observation.
        help: one sentence.
        buckets: upper edges of a histogram, above 0, ascending.
    """

    name: str
    kind: Literal["counter", "histogram"]
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


IMAGES = Metric("sightline_images_total", "counter", ("outcome",), "Images answered, by outcome: ok, refused or failed.")
DECODE_FAILURES = Metric("sightline_decode_failures_total", "counter", ("reason",), "Images that could not be decoded, by reason.")
REJECTIONS = Metric("sightline_rejections_total", "counter", ("reason",), "Requests refused before their images were looked at, by reason.")
STAGE_SECONDS = Metric(
    "sightline_stage_seconds_total",
    "counter",
    ("stage",),
    "Seconds spent, by stage: read, decode, queue_wait, inference; a batch's inference counts once, not once an image.",
)
STAGE_IMAGES = Metric("sightline_stage_images_total", "counter", ("stage",), "Images that passed a stage.")
CACHE = Metric("sightline_cache_lookups_total", "counter", ("outcome",), "Images looked up in the cache, by outcome: hit or miss.")
BATCH_SIZE = Metric("sightline_batch_size", "histogram", (), "Images in one inference.", (1, 2, 4, 8, 16, 32, 64, 128, 256))

METRICS = (IMAGES, DECODE_FAILURES, REJECTIONS, STAGE_SECONDS, STAGE_IMAGES, CACHE, BATCH_SIZE)


class Metrics(Protocol):
    """Where observations go."""

    def count(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Adds to a counter; an amount of 0 or less adds nothing."""

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Adds to a histogram."""


class PrometheusMetrics:
    """The table in a registry of prometheus_client."""

    def __init__(self, registry: prometheus_client.CollectorRegistry) -> None:
        self._metrics: Mapping[str, Any] = {
            metric.name: prometheus_client.Counter(metric.name, metric.help, metric.labels, registry=registry)
            if metric.kind == "counter"
            else prometheus_client.Histogram(metric.name, metric.help, metric.labels, registry=registry, buckets=metric.buckets)
            for metric in METRICS
        }

    def count(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Adds to a counter."""
        if amount > 0:
            self._labelled(metric, labels).inc(amount)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Adds to a histogram."""
        self._labelled(metric, labels).observe(value)

    def _labelled(self, metric: Metric, labels: Mapping[str, str]) -> Any:
        return self._metrics[metric.name].labels(**labels) if metric.labels else self._metrics[metric.name]


class RayMetrics:
    """The table in Ray: its node agent exposes it with the prefix `ray_` and the replica as a tag. Only inside a replica.

    Counts are added up here and given to Ray once a second, because Ray takes 30 to 50 µs for each; Ray's agent gets them every
    2 s anyway. Ends with `stop`.
    """

    def __init__(self) -> None:
        from ray.serve import metrics as ray_metrics

        self._metrics: Mapping[str, Any] = {
            metric.name: ray_metrics.Counter(metric.name, description=metric.help, tag_keys=metric.labels)  # type: ignore[arg-type]  # Ray says tuple[str] and means tuple[str, ...]
            if metric.kind == "counter"
            else ray_metrics.Histogram(metric.name, description=metric.help, boundaries=list(metric.buckets), tag_keys=metric.labels)  # type: ignore[arg-type]  # Ray says tuple[str] and means tuple[str, ...]
            for metric in METRICS
        }
        self._counted: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        threading.Thread(target=self._hand_over_regularly, name="metrics", daemon=True).start()

    def count(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Adds to a counter; Ray refuses an amount of 0."""
        if amount > 0:
            with self._lock:
                self._counted[metric.name, tuple(labels.items())] += amount  # type: ignore[assignment]  # a Counter holds floats as well

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Adds to a histogram."""
        self._metrics[metric.name].observe(value, labels)

    def stop(self) -> None:
        """Gives Ray what it has not got yet."""
        self._stopped.set()
        self._hand_over()

    def _hand_over_regularly(self) -> None:
        while not self._stopped.wait(_HAND_OVER_INTERVAL_S):
            self._hand_over()

    def _hand_over(self) -> None:
        with self._lock:
            counted, self._counted = self._counted, Counter()
        for (name, labels), amount in counted.items():
            self._metrics[name].inc(amount, dict(labels))
