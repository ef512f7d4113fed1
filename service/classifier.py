"""Bytes of one image → its labels: batches that a thread decodes, resizes, infers and scores. Knows no HTTP and no Ray."""

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from service.batching import Batch, Batcher
from service.cache import AnswerCache
from service.errors import NotReady
from service.metrics import BATCH_SIZE, CACHE, DECODE_FAILURES, IMAGES, STAGE_IMAGES, STAGE_SECONDS, Metrics
from service.schemas import ModelInfo
from service.settings import Settings
from vision.bundle.store import Bundle
from vision.engines import load_engine, warm
from vision.errors import GoldenMismatch, ImageError
from vision.image import decode
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
        answers = await asyncio.gather(*(self._batcher.submit(image, deadline) for image in self.bundle.golden.images))
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
        return Classification(scored.width, scored.height, predictions, scored.decode_s, scored.queue_s, scored.inference_s)

    async def _score(self, data: bytes, deadline: float) -> _Scored:
        """From the cache where it is there, else from a batch."""
        if self._cache is None:
            return await self._batcher.submit(data, deadline)
        key = self._cache.key(data)
        kept = self._cache.get(key)
        self._metrics.count(CACHE, outcome="miss" if kept is None else "hit")
        if kept is not None:
            self._metrics.count(IMAGES, outcome="ok")
            return replace(kept, decode_s=0.0, queue_s=0.0, inference_s=0.0)
        scored = await self._batcher.submit(data, deadline)
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
        decoded: list[tuple[int, int, Any, float] | ImageError] = [self._decode(image) for image in batch.images]
        prepared = [one[2] for one in decoded if not isinstance(one, ImageError)]
        started = time.monotonic()
        rows = probabilities(self._engine.infer_prepared(prepared), self.bundle.manifest.temperature) if prepared else np.empty((0, 0))
        inference_s = time.monotonic() - started
        if len(rows) != len(prepared):
            raise RuntimeError(f"the engine gave {len(rows)} answers to {len(prepared)} images")
        self._count(batch, decoded, inference_s)
        left = iter(rows)
        return [
            one if isinstance(one, ImageError) else _Scored(one[0], one[1], next(left), one[3], waited_s, inference_s)
            for one, waited_s in zip(decoded, batch.waited_s, strict=True)
        ]

    def _decode(self, image: bytes) -> tuple[int, int, Any, float] | ImageError:
        """(width, height, what the engine takes, seconds)."""
        started = time.monotonic()
        try:
            upright = decode(image, self._limits)
        except ImageError as error:
            return error
        return upright.shape[1], upright.shape[0], self._engine.prepare(upright), time.monotonic() - started

    def _count(self, batch: Batch, decoded: list[tuple[int, int, Any, float] | ImageError], inference_s: float) -> None:
        """Once a batch, because an observation costs some microseconds."""
        refused = [one.code for one in decoded if isinstance(one, ImageError)]
        decode_s = [one[3] for one in decoded if not isinstance(one, ImageError)]
        count = self._metrics.count
        for reason in refused:
            count(DECODE_FAILURES, reason=reason)
        count(IMAGES, len(refused), outcome="refused")
        count(IMAGES, len(decode_s), outcome="ok")
        if decode_s:
            self._metrics.observe(BATCH_SIZE, len(decode_s))
        for stage, seconds in (("decode", sum(decode_s)), ("queue_wait", sum(batch.waited_s)), ("inference", inference_s)):
            count(STAGE_SECONDS, seconds if decode_s else 0, stage=stage)
            count(STAGE_IMAGES, len(decode_s), stage=stage)
