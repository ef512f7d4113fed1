"""Counts and traces what a classifier does, and describes what it serves."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from service.model.batching import Batch
from service.observability.metrics import (
    BATCH_SIZE,
    CACHE,
    CONFIDENCE,
    DECODE_FAILURES,
    FORMATS,
    IMAGES,
    MAX_LABELS,
    MEMORY,
    MODEL_INFO,
    OTHER_LABEL,
    PENDING,
    PREDICTIONS,
    READY,
    REFERENCE_SHARE,
    STAGE_SECONDS,
    Metrics,
)
from service.observability.tracing import Moments, record_batch
from vision.bundle.baseline import Baseline
from vision.bundle.store import Bundle
from vision.classification import Classification
from vision.engines.engine import ServingEngine
from vision.errors import ImageError


@dataclass(frozen=True)
class Prepared:
    """An image that could be decoded, ready for the engine.

    Attributes:
        width: pixels of the upright image.
        height: pixels of the upright image.
        format: of the file, e.g. JPEG.
        input: what the engine takes.
        decode_s: seconds for decoding.
        preprocess_s: seconds for resizing and cropping.
        warning: what the file says of its colours and was ignored; empty if there is nothing.
    """

    width: int
    height: int
    format: str
    input: Any
    decode_s: float
    preprocess_s: float
    warning: str


@dataclass(frozen=True)
class BatchClock:
    """When the stages of a batch began and ended, in seconds of `time.monotonic()`.

    Attributes:
        begun: the begin of each image's decoding, and the begin of the inference; one more than there are images.
        inferred: the end of the inference.
        ended: the end of the postprocessing.
    """

    begun: list[float]
    inferred: float
    ended: float

    @property
    def inference_s(self) -> float:
        """Seconds in the engine."""
        return self.inferred - self.begun[-1]

    @property
    def postprocess_s(self) -> float:
        """Seconds from logits to probabilities."""
        return self.ended - self.inferred


class Observer:
    """The metrics and spans of one classifier.

    Args:
        metrics: where it counts; from several threads.
        bundle: what is served.
    """

    def __init__(self, metrics: Metrics, bundle: Bundle) -> None:
        self._metrics = metrics
        self._bundle = bundle
        self._named = frozenset(bundle.manifest.categories[:MAX_LABELS])

    def describe(self, engine: ServingEngine, waiting: Callable[[], float], ready: Callable[[], bool]) -> None:
        """Sets the gauges that never change, and registers those that are computed when metrics are read.

        Args:
            engine: what infers.
            waiting: number of images that wait for a worker.
            ready: whether requests can be answered.

        Raises:
            ManifestInvalid: the bundle's baseline.json is not a baseline.
        """
        model = self._bundle.id
        labels = {"model": model.name, "version": str(model.version), "digest": model.digest}
        self._metrics.set(MODEL_INFO, 1, **labels, engine=engine.description)
        self._metrics.watch(READY, lambda: float(ready()))
        self._metrics.watch(PENDING, waiting)
        self._metrics.watch(MEMORY, lambda: psutil.Process().memory_info().rss, kind="resident")
        for kind in engine.device_memory():
            self._metrics.watch(MEMORY, lambda kind=kind: engine.device_memory()[kind], kind=kind)  # type: ignore[misc]
        baseline = Baseline.read(self._bundle.files)
        shares: Counter[str] = Counter()
        for label, share in (baseline.predicted_shares if baseline else {}).items():
            shares[self._label(label)] += share  # type: ignore[assignment]  # a Counter holds floats as well
        for name, share in shares.items():
            self._metrics.set(REFERENCE_SHARE, share, label=name)

    def looked_up(self, hit: bool) -> None:
        """Counts a look into the cache; a hit answers its image."""
        self._metrics.count(CACHE, outcome="hit" if hit else "miss")
        if hit:
            self._metrics.count(IMAGES, outcome="ok")

    def answered(self, classification: Classification) -> None:
        """Counts an answer by its best label."""
        best = classification.best
        self._metrics.observe(CONFIDENCE, best.score)
        self._metrics.count(PREDICTIONS, label=self._label(best.label))

    def failed(self) -> None:
        """Counts an image that got no answer although it was not refused."""
        self._metrics.count(IMAGES, outcome="failed")

    def batch(self, batch: Batch, images: Sequence[Prepared | ImageError], clock: BatchClock) -> None:
        """Counts and traces a batch that is done.

        Args:
            batch: what was submitted.
            images: what became of each image, in order.
            clock: when the stages began and ended.
        """
        count, observe = self._metrics.count, self._metrics.observe
        for image, waited_s in zip(images, batch.waited_s, strict=True):
            observe(STAGE_SECONDS, waited_s, stage="queue")
            if isinstance(image, ImageError):
                count(DECODE_FAILURES, reason=image.code)
                count(IMAGES, outcome="refused")
                continue
            count(IMAGES, outcome="ok")
            count(FORMATS, format=image.format)
            observe(STAGE_SECONDS, image.decode_s, stage="decode")
            observe(STAGE_SECONDS, image.preprocess_s, stage="preprocess")
        if inferred := sum(isinstance(image, Prepared) for image in images):
            observe(BATCH_SIZE, inferred)
            observe(STAGE_SECONDS, clock.inference_s, stage="inference")
            observe(STAGE_SECONDS, clock.postprocess_s, stage="postprocess")
        if any(request.is_recording() for request in batch.origins):
            record_batch(batch.origins, _moments(batch, images, clock), (clock.begun[0], clock.ended))

    def _label(self, label: str) -> str:
        """The metric label: the category if it is among the first MAX_LABELS, else `other`."""
        return label if label in self._named else OTHER_LABEL


def _moments(batch: Batch, images: Sequence[Prepared | ImageError], clock: BatchClock) -> list[Moments]:
    """Each image's stages; an image that could not be decoded has only the first two."""
    found: list[Moments] = []
    together = {"inference": (clock.begun[-1], clock.inferred), "postprocess": (clock.inferred, clock.ended)}
    for index, (image, waited_s) in enumerate(zip(images, batch.waited_s, strict=True)):
        begun, ended = clock.begun[index], clock.begun[index + 1]
        queued = {"queue": (clock.begun[0] - waited_s, clock.begun[0])}
        if isinstance(image, ImageError):
            found.append(queued | {"decode": (begun, ended)})
        else:
            decoded = begun + image.decode_s
            found.append({**queued, "decode": (begun, decoded), "preprocess": (decoded, ended), **together})
    return found
