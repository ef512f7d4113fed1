"""Bytes of one image → its labels: batches that a thread decodes, resizes, infers and scores. Knows no HTTP and no Ray."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from service.errors import NotReady
from service.http.schemas import ModelInfo
from service.model.baseline import predicted_shares
from service.model.batching import Batch, Batcher
from service.model.cache import AnswerCache
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
from service.observability.tracing import Moments, current_request, record_batch
from service.settings import Settings
from vision.bundle.store import Bundle
from vision.engines import load_engine, warm
from vision.errors import GoldenMismatch, ImageError
from vision.image import decode, sniff_format
from vision.prediction import Prediction, probabilities, top_k


@dataclass(frozen=True)
class Classification:
    """The answer for one image.

    Attributes:
        width: pixels of the upright image.
        height: pixels of the upright image.
        predictions: ranked, the best first.
        decode_s: seconds for decoding and resizing it.
        queue_s: seconds that it waited for a worker.
        inference_s: seconds that its batch took in the engine.
    """

    width: int
    height: int
    predictions: list[Prediction]
    decode_s: float
    queue_s: float
    inference_s: float


@dataclass(frozen=True)
class _Scored:
    """What a worker makes of one image."""

    width: int
    height: int
    scores: npt.NDArray[np.float64]
    decode_s: float
    queue_s: float
    inference_s: float


@dataclass(frozen=True)
class _Decoded:
    """An image that could be decoded, as the engine takes it."""

    width: int
    height: int
    format: str
    prepared: Any
    decode_s: float
    preprocess_s: float


class Classifier:
    """One bundle behind one engine.

    Args:
        bundle: verified.
        settings: threads, batch size and limits.
        metrics: where every stage is counted; from several threads.

    Raises:
        BundleError, EngineUnavailable: the bundle must not or cannot be served.
    """

    def __init__(self, bundle: Bundle, settings: Settings, metrics: Metrics) -> None:
        self.bundle = bundle
        self._limits = settings.decode_limits
        self._metrics = metrics
        workers = settings.worker_threads
        self._engine = load_engine(bundle, settings.engine, workers, self._limits, streams=workers)
        self._max_batch_size = settings.max_batch_size or self._engine.best_batch_size
        # One more than the engine has streams: while one waits for its answers to be taken, the streams have work (decision 12).
        self._batcher: Batcher[_Scored] = Batcher(self._classify, workers + 1, self._max_batch_size)
        self._cache: AnswerCache[_Scored] | None = AnswerCache(bundle.digest, settings.cache_images) if settings.cache_images else None
        self._proved = False
        self._names = frozenset(bundle.manifest.categories[:MAX_LABELS])
        self._describe()

    async def start(self) -> None:
        """Warms every batch size, then proves the bundle through the same path that requests take.

        Raises:
            GoldenMismatch: the golden samples are not reproduced; nothing may be served.
        """
        await asyncio.get_running_loop().run_in_executor(
            None, warm, self._engine, self.bundle.manifest.preprocessing.shape, self._max_batch_size
        )
        self._batcher.start()
        deadline = time.monotonic() + 60
        answers = await asyncio.gather(*(self._batcher.submit(image, deadline, current_request()) for image in self.bundle.golden.images))
        scores = np.stack([answer.scores for answer in answers])
        difference = self.bundle.golden_difference(scores, self._engine.description)
        if difference is not None:
            raise GoldenMismatch(str(self.bundle.path), f"served through {self._engine.description}: {difference}.")
        self._proved = True

    def stop(self) -> None:
        """Takes no more images."""
        self._proved = False
        self._batcher.stop()

    def check_ready(self) -> None:
        """Does nothing where requests can be answered.

        Raises:
            NotReady: the golden samples have not passed, or the batches do not move.
        """
        if not self._proved:
            raise NotReady("The golden samples have not passed yet.")
        self._batcher.check()

    @property
    def held(self) -> int:
        """How many images wait or run."""
        return self._batcher.held

    async def classify(self, data: bytes, k: int, deadline: float) -> Classification:
        """Labels one image.

        Args:
            data: an encoded image, hostile until it is decoded.
            k: how many labels, at least 1.
            deadline: of `time.monotonic()`.

        Raises:
            ImageError: the image is refused.
            RequestError: overload, deadline or engine.
        """
        try:
            scored = await self._score(data, deadline)
        except ImageError:
            raise
        except Exception:
            self._metrics.count(IMAGES, outcome="failed")
            raise
        predictions = top_k(scored.scores, self.bundle.manifest.categories, k)
        best = predictions[0]
        self._metrics.observe(CONFIDENCE, best.score)
        self._metrics.count(PREDICTIONS, label=self._name(best.label))
        return Classification(scored.width, scored.height, predictions, scored.decode_s, scored.queue_s, scored.inference_s)

    async def _score(self, data: bytes, deadline: float) -> _Scored:
        """From the cache where it is there, else from a batch."""
        if self._cache is None:
            return await self._batcher.submit(data, deadline, current_request())
        key = self._cache.key(data)
        kept = self._cache.get(key)
        self._metrics.count(CACHE, outcome="miss" if kept is None else "hit")
        if kept is not None:
            self._metrics.count(IMAGES, outcome="ok")
            return replace(kept, decode_s=0.0, queue_s=0.0, inference_s=0.0)
        scored = await self._batcher.submit(data, deadline, current_request())
        self._cache.keep(key, replace(scored, scores=scored.scores.copy()))  # a row would keep its whole batch
        return scored

    def model_info(self) -> ModelInfo:
        """What is served, for people."""
        manifest = self.bundle.manifest
        return ModelInfo(
            name=manifest.name,
            version=manifest.version,
            digest=self.bundle.digest,
            architecture=manifest.architecture.name,
            engine=self._engine.description,
            categories=list(manifest.categories),
            preprocessing=manifest.preprocessing.describe(),
            metrics=manifest.metrics,
        )

    def _classify(self, batch: Batch) -> list[_Scored | Exception]:
        """In a worker: each image decoded for itself, those that could be in one inference."""
        begun = [time.monotonic()]
        outcomes: list[_Decoded | ImageError] = []
        for image in batch.images:
            outcomes.append(self._decode(image))
            begun.append(time.monotonic())
        decoded = [one for one in outcomes if isinstance(one, _Decoded)]
        started = begun[-1]
        logits = self._engine.infer_prepared([one.prepared for one in decoded]) if decoded else np.empty((0, 0), np.float32)
        inferred = time.monotonic()
        if len(logits) != len(decoded):
            raise RuntimeError(f"the engine gave {len(logits)} answers to {len(decoded)} images")
        rows = iter(probabilities(logits, self.bundle.manifest.temperature) if decoded else logits)
        ended = time.monotonic()
        inference_s, postprocess_s = inferred - started, ended - inferred
        if self._proved:  # what proves the bundle is nobody's request
            self._count(batch, outcomes, {"inference": inference_s, "postprocess": postprocess_s})
            if any(request.is_recording() for request in batch.origins):
                together = {"inference": (started, inferred), "postprocess": (inferred, ended)}
                record_batch(batch.origins, _moments(batch, outcomes, begun, together), (begun[0], ended))
        return [
            one
            if isinstance(one, ImageError)
            else _Scored(one.width, one.height, next(rows), one.decode_s + one.preprocess_s, waited_s, inference_s)
            for one, waited_s in zip(outcomes, batch.waited_s, strict=True)
        ]

    def _decode(self, image: bytes) -> _Decoded | ImageError:
        started = time.monotonic()
        try:
            upright = decode(image, self._limits)
        except ImageError as error:
            return error
        decoded = time.monotonic()
        prepared = self._engine.prepare(upright)
        height, width = upright.shape[:2]
        return _Decoded(width, height, sniff_format(image) or "", prepared, decoded - started, time.monotonic() - decoded)

    def _count(self, batch: Batch, outcomes: list[_Decoded | ImageError], batch_seconds: dict[str, float]) -> None:
        count, observe = self._metrics.count, self._metrics.observe
        for one, waited_s in zip(outcomes, batch.waited_s, strict=True):
            observe(STAGE_SECONDS, waited_s, stage="queue_wait")
            if isinstance(one, ImageError):
                count(DECODE_FAILURES, reason=one.code)
                count(IMAGES, outcome="refused")
                continue
            count(IMAGES, outcome="ok")
            count(FORMATS, format=one.format)
            observe(STAGE_SECONDS, one.decode_s, stage="decode")
            observe(STAGE_SECONDS, one.preprocess_s, stage="preprocess")
        if decoded := sum(isinstance(one, _Decoded) for one in outcomes):
            observe(BATCH_SIZE, decoded)
            for stage, seconds in batch_seconds.items():
                observe(STAGE_SECONDS, seconds, stage=stage)

    def _describe(self) -> None:
        """What does not change, and what is looked up when somebody reads it."""
        manifest = self.bundle.manifest
        labels = {"model": manifest.name, "version": str(manifest.version), "digest": self.bundle.digest}
        self._metrics.set(MODEL_INFO, 1, **labels, engine=self._engine.description)
        self._metrics.watch(READY, self._is_ready)
        self._metrics.watch(PENDING, lambda: self._batcher.waiting)
        self._metrics.watch(MEMORY, lambda: psutil.Process().memory_info().rss, kind="resident")
        for kind in self._engine.device_memory():
            self._metrics.watch(MEMORY, lambda kind=kind: self._engine.device_memory()[kind], kind=kind)  # type: ignore[misc]
        shares: Counter[str] = Counter()
        for label, share in predicted_shares(self.bundle).items():
            shares[self._name(label)] += share  # type: ignore[assignment]  # a Counter holds floats as well
        for name, share in shares.items():
            self._metrics.set(REFERENCE_SHARE, share, label=name)

    def _is_ready(self) -> float:
        try:
            self.check_ready()
        except NotReady:
            return 0.0
        return 1.0

    def _name(self, label: str) -> str:
        """The label's own series, or everybody else's."""
        return label if label in self._names else OTHER_LABEL


def _moments(batch: Batch, outcomes: list[_Decoded | ImageError], begun: list[float], together: Moments) -> list[Moments]:
    """Each image's stages; what could not be decoded has no others."""
    found: list[Moments] = []
    for index, (one, waited_s) in enumerate(zip(outcomes, batch.waited_s, strict=True)):
        waited = {"queue_wait": (begun[0] - waited_s, begun[0])}
        if isinstance(one, ImageError):
            found.append(waited | {"decode": (begun[index], begun[index + 1])})
        else:
            decoded = begun[index] + one.decode_s
            found.append({**waited, "decode": (begun[index], decoded), "preprocess": (decoded, begun[index + 1]), **together})
    return found
