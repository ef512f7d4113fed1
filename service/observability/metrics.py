"""The table of metrics, in a registry of prometheus_client.

Names have the prefix `sightline_` and base units; no label value comes from a client. In a replica `service.ray.bridge`
hands every value to Ray's node agent, which exposes all replicas' values on one page, with the prefix `ray_` and the
replica as a tag (docs/adr/0016). Prometheus removes the prefix again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import prometheus_client
from prometheus_client import CollectorRegistry

MAX_LABELS = 50  # categories with a series of their own; Ray's agent keeps 2,000 series per metric, over all replicas
OTHER_LABEL = "other"
# Seconds. 0.25 is the bound of the latency objective, so it must be an edge.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Metric:
    """One row of the table.

    Attributes:
        name: with the prefix `sightline_`, the unit, and `_total` for a counter.
        kind: `counter`, `histogram` or `gauge`.
        labels: all of them must be given at each observation.
        help: one sentence.
        buckets: upper edges of a histogram, above 0, ascending.
    """

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


REQUESTS = Metric(
    "sightline_requests_total", "counter", ("status",), "Requests to /classify by status; 499 is a client that left."
)
REQUEST_SECONDS = Metric(
    "sightline_request_seconds",
    "histogram",
    (),
    "Seconds from the last byte of a request to its answer, for answers with status 200.",
    _SECONDS,
)
REJECTIONS = Metric("sightline_rejections_total", "counter", ("reason",), "Requests refused as a whole, by reason.")
IMAGES = Metric("sightline_images_total", "counter", ("outcome",), "Images by outcome: ok, refused or failed.")
DECODE_FAILURES = Metric(
    "sightline_decode_failures_total", "counter", ("reason",), "Images that could not be decoded, by reason."
)
FORMATS = Metric(
    "sightline_decoded_images_total", "counter", ("format",), "Images decoded, by format: JPEG, PNG, GIF, WEBP or BMP."
)
STAGE_SECONDS = Metric(
    "sightline_stage_seconds",
    "histogram",
    ("stage",),
    "Seconds by stage: read per request; queue, decode and preprocess per image; inference and postprocess per batch.",
    _SECONDS,
)
BATCH_SIZE = Metric(
    "sightline_batch_size", "histogram", (), "Images in one inference.", (1, 2, 4, 8, 16, 32, 64, 128, 256)
)
PENDING = Metric("sightline_pending_images", "gauge", (), "Images that wait for a worker.")
CACHE = Metric(
    "sightline_cache_lookups_total", "counter", ("outcome",), "Images looked up in the cache, by outcome: hit or miss."
)
CONFIDENCE = Metric(
    "sightline_confidence",
    "histogram",
    (),
    "Calibrated probability of the best label.",
    (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0),
)
PREDICTIONS = Metric(
    "sightline_predictions_total",
    "counter",
    ("label",),
    "Images by their best label: the model's first 50 categories by name, and `other`.",
)
REFERENCE_SHARE = Metric(
    "sightline_reference_share",
    "gauge",
    ("label",),
    "Share of the test images whose best label was this when the model was made, 0 to 1.",
)
MODEL_INFO = Metric(
    "sightline_model_info", "gauge", ("model", "version", "digest", "engine"), "1 for the model that is served."
)
EXPLANATION_REQUESTS = Metric(
    "sightline_explanation_requests_total",
    "counter",
    ("kind", "status"),
    "Requests to /explain, /activations, /inspect and /convolve, by kind and status.",
)
EXPLANATION_SECONDS = Metric(
    "sightline_explanation_seconds",
    "histogram",
    ("kind",),
    "Seconds in the process that explains, by kind: explain, activations or inspect.",
    _SECONDS,
)
EXPLAINING = Metric("sightline_explaining", "gauge", (), "1 while the replica answers an explanation, else 0.")
EXPLANATION_STARTS = Metric(
    "sightline_explanation_starts_total",
    "counter",
    (),
    "Starts of the process that explains. The first request starts it, and the next one after it has died.",
)
READY = Metric("sightline_ready", "gauge", (), "1 if requests can be answered, else 0.")
MEMORY = Metric(
    "sightline_memory_bytes",
    "gauge",
    ("kind",),
    "Memory by kind: resident, explanation, gpu_allocated or gpu_reserved.",
)

METRICS = (
    REQUESTS,
    REQUEST_SECONDS,
    REJECTIONS,
    IMAGES,
    DECODE_FAILURES,
    FORMATS,
    STAGE_SECONDS,
    BATCH_SIZE,
    PENDING,
    CACHE,
    CONFIDENCE,
    PREDICTIONS,
    REFERENCE_SHARE,
    MODEL_INFO,
    EXPLANATION_REQUESTS,
    EXPLANATION_SECONDS,
    EXPLAINING,
    EXPLANATION_STARTS,
    READY,
    MEMORY,
)


class Metrics:
    """Records observations; may be called from any thread.

    Args:
        registry: of this process; tests use one of their own.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._metrics: dict[str, Any] = {metric.name: _made(metric, registry) for metric in METRICS}

    def count(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Adds to a counter. An amount of 0 or less adds nothing."""
        if amount > 0:
            self._labelled(metric, labels).inc(amount)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Adds to a histogram."""
        self._labelled(metric, labels).observe(value)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Sets a gauge."""
        self._labelled(metric, labels).set(value)

    def watch(self, metric: Metric, read: Callable[[], float], **labels: str) -> None:
        """Computes a gauge by a function each time it is read, in whatever thread reads it."""
        self._labelled(metric, labels).set_function(read)

    def _labelled(self, metric: Metric, labels: dict[str, str]) -> Any:
        return self._metrics[metric.name].labels(**labels) if metric.labels else self._metrics[metric.name]


def _made(metric: Metric, registry: CollectorRegistry) -> Any:
    if metric.kind == "histogram":
        return prometheus_client.Histogram(
            metric.name, metric.help, metric.labels, registry=registry, buckets=metric.buckets
        )
    make = prometheus_client.Counter if metric.kind == "counter" else prometheus_client.Gauge
    return make(metric.name, metric.help, metric.labels, registry=registry)
