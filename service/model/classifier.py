"""Bytes of one image → its classification, in batches that a thread decodes, resizes, infers and scores."""

import asyncio
import time
from dataclasses import replace

import numpy as np

from service.errors import NotReady
from service.model.batching import Batch, Batcher
from service.model.cache import AnswerCache
from service.model.observation import BatchClock, Observer, Prepared
from service.model.room import PixelRoom
from service.observability.metrics import Metrics
from service.observability.tracing import current_request
from service.settings import Settings
from vision.bundle.store import Bundle
from vision.classification import Classification, Timings
from vision.engines.selection import load_engine, warm
from vision.errors import GoldenMismatch, ImageError
from vision.image import declared_pixels, decode
from vision.prediction import probabilities

_PROOF_TIMEOUT_S = 60.0


class Classifier:
    """One bundle behind one engine.

    Args:
        bundle: verified.
        settings: threads, batch size and limits.
        metrics: where every stage is counted; from several threads.

    Attributes:
        bundle: what is served.

    Raises:
        BundleError, EngineUnavailable: the bundle must not or cannot be served.
    """

    def __init__(self, bundle: Bundle, settings: Settings, metrics: Metrics) -> None:
        self.bundle = bundle
        self._limits = settings.decode_limits
        self._room = PixelRoom(settings.decoding_pixels)
        self._colours = bundle.manifest.preprocessing.colours
        workers = settings.worker_threads
        self._engine = load_engine(bundle, settings.engine, workers, self._limits, streams=workers)
        self._max_batch_size = settings.max_batch_size or self._engine.best_batch_size
        # One more than the engine has streams: while one hands over its answers, the streams have work (decision 12).
        self._batcher: Batcher[Classification] = Batcher(self._classify, workers + 1, self._max_batch_size)
        self._cache = (
            AnswerCache[Classification](bundle.digest, settings.cache_images) if settings.cache_images else None
        )
        self._proved = False
        self._observer = Observer(metrics, bundle)
        self._observer.describe(self._engine, lambda: self._batcher.waiting, self._is_ready)

    @property
    def engine(self) -> str:
        """Engine, device and precision, e.g. `openvino-bf16`."""
        return self._engine.description

    @property
    def has_linear_head(self) -> bool | None:
        """Whether the network ends in global average pooling and one linear layer; None if the engine cannot tell."""
        return self._engine.has_linear_head

    @property
    def ongoing(self) -> int:
        """Images that wait or run."""
        return self._batcher.ongoing

    async def start(self) -> None:
        """Runs every batch size once, then proves the bundle on the path that requests take.

        Raises:
            GoldenMismatch: the golden samples are not reproduced; nothing may be served.
        """
        shape = self.bundle.manifest.preprocessing.shape
        await asyncio.get_running_loop().run_in_executor(None, warm, self._engine, shape, self._max_batch_size)
        self._batcher.start()
        deadline = time.monotonic() + _PROOF_TIMEOUT_S
        images = self.bundle.golden.images
        answers = await asyncio.gather(*(self._batcher.submit(image, deadline, current_request()) for image in images))
        difference = self.bundle.golden_difference(np.stack([answer.scores for answer in answers]), self.engine)
        if difference is not None:
            raise GoldenMismatch(str(self.bundle.path), f"served through {self.engine}: {difference}.")
        self._proved = True

    def stop(self) -> None:
        """Accepts no more images."""
        self._proved = False
        self._batcher.stop()

    def check_ready(self) -> None:
        """Checks that requests can be answered.

        Raises:
            NotReady: the golden samples have not passed, or a batch hangs.
        """
        if not self._proved:
            raise NotReady("The golden samples have not passed yet.")
        self._batcher.check()

    async def classify(self, data: bytes, deadline: float) -> Classification:
        """Labels one image.

        Args:
            data: an encoded image, hostile until it is decoded.
            deadline: of `time.monotonic()`.

        Raises:
            ImageError: the image is refused.
            RequestError: overload, deadline or engine.
        """
        try:
            answer = await self._answer(data, deadline)
        except ImageError:
            raise
        except Exception:
            self._observer.failed()
            raise
        self._observer.answered(answer)
        return answer

    async def _answer(self, data: bytes, deadline: float) -> Classification:
        """From the cache if it is there, else from a batch."""
        if self._cache is None:
            return await self._batcher.submit(data, deadline, current_request())
        key = self._cache.key(data)
        kept = self._cache.get(key)
        self._observer.looked_up(hit=kept is not None)
        if kept is not None:
            return replace(kept, timings=Timings())
        answer = await self._batcher.submit(data, deadline, current_request())
        self._cache.keep(key, replace(answer, scores=answer.scores.copy()))  # the row alone, not its whole batch
        return answer

    def _classify(self, batch: Batch) -> list[Classification | Exception]:
        """In a worker: decodes each image by itself, then infers those that could be decoded together."""
        begun = [time.monotonic()]
        images: list[Prepared | ImageError] = []
        for image in batch.images:
            images.append(self._prepare(image))
            begun.append(time.monotonic())
        inputs = [image.input for image in images if isinstance(image, Prepared)]
        logits = self._engine.infer_prepared(inputs) if inputs else np.empty((0, 0), np.float32)
        inferred = time.monotonic()
        if len(logits) != len(inputs):
            raise RuntimeError(f"the engine gave {len(logits)} answers to {len(inputs)} images")
        rows = iter(probabilities(logits, self.bundle.manifest.temperature) if inputs else logits)
        clock = BatchClock(begun, inferred, time.monotonic())
        if self._proved:  # the proof of the bundle is nobody's request
            self._observer.batch(batch, images, clock)
        model, categories = self.bundle.id, self.bundle.manifest.categories
        answers: list[Classification | Exception] = []
        for one, waited_s in zip(images, batch.waited_s, strict=True):
            if isinstance(one, ImageError):
                answers.append(one)
                continue
            timings = Timings(waited_s, one.decode_s, one.preprocess_s, clock.inference_s, clock.postprocess_s)
            row = next(rows)
            answers.append(Classification(model, categories, row, one.width, one.height, timings, one.warning))
        return answers

    def _prepare(self, image: bytes) -> Prepared | ImageError:
        with self._room.hold(declared_pixels(image)):
            return self._decoded(image)

    def _decoded(self, image: bytes) -> Prepared | ImageError:
        started = time.monotonic()
        try:
            pixels, file_format, _, warning = decode(image, self._limits, self._colours)
        except ImageError as error:
            return error
        decoded = time.monotonic()
        ready = self._engine.prepare(pixels)
        height, width = pixels.shape[:2]
        decode_s, preprocess_s = decoded - started, time.monotonic() - decoded
        return Prepared(width, height, file_format, ready, decode_s, preprocess_s, warning)

    def _is_ready(self) -> bool:
        try:
            self.check_ready()
        except NotReady:
            return False
        return True
