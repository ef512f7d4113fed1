"""Bytes of one image → its labels: decode and resize in threads, infer in batches, rank. Knows no HTTP and no Ray."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from service.batching import Answer, Batcher
from service.errors import NotReady
from service.metrics import BATCH_SIZE, DECODE_FAILURES, IMAGES, STAGE_IMAGES, STAGE_SECONDS, Metrics
from service.schemas import ModelInfo
from service.settings import Settings
from vision.bundle.store import Bundle
from vision.engines import Engine, load_engine, warm
from vision.errors import GoldenMismatch, ImageError
from vision.image import Pixels, decode
from vision.prediction import Prediction, probabilities, top_k


@dataclass(frozen=True)
class Classification:
    """The answer for one image.

    Attributes:
        width: pixels of the upright image.
        height: pixels of the upright image.
        predictions: ranked, the best first.
        decode_s: seconds for decoding and resizing, waiting for a thread included.
        queue_s: seconds that it waited for the engine.
        inference_s: seconds that its batch took.
    """

    width: int
    height: int
    predictions: list[Prediction]
    decode_s: float
    queue_s: float
    inference_s: float


class Classifier:
    """One bundle behind one engine.

    Args:
        bundle: verified.
        settings: threads, batch size and limits.
        metrics: where every stage is counted.

    Raises:
        BundleError, EngineUnavailable: the bundle must not or cannot be served.
    """

    def __init__(self, bundle: Bundle, settings: Settings, metrics: Metrics) -> None:
        self.bundle = bundle
        self._limits = settings.decode_limits
        self._metrics = metrics
        self._engine: Engine = load_engine(bundle, settings.engine, settings.threads(settings.engine_threads), self._limits)
        self._max_batch_size = settings.max_batch_size
        self._batcher = Batcher(self._engine.infer, settings.max_batch_size, self._count_batch)
        self._decoders = ThreadPoolExecutor(settings.threads(settings.decode_threads), thread_name_prefix="decode")
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
        golden = self.bundle.golden
        answers = await asyncio.gather(*(self._logits(image, deadline) for image in golden.images))
        logits = np.stack([answer.logits for *_, answer in answers])
        difference = self.bundle.golden_difference(probabilities(logits, self.bundle.manifest.temperature), self._engine.description)
        if difference is not None:
            raise GoldenMismatch(str(self.bundle.path), f"served through {self._engine.description}: {difference}.")
        self._proved = True

    async def stop(self) -> None:
        """Ends the batches and the threads."""
        self._proved = False
        await self._batcher.stop()
        self._decoders.shutdown(wait=False)

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
            (height, width), decode_s, answer = await self._logits(data, deadline)
        except ImageError as error:
            self._metrics.count(DECODE_FAILURES, reason=error.code)
            self._metrics.count(IMAGES, outcome="refused")
            raise
        except Exception:
            self._metrics.count(IMAGES, outcome="failed")
            raise
        manifest = self.bundle.manifest
        predictions = top_k(probabilities(answer.logits, manifest.temperature), manifest.categories, k)
        self._count_stages(1, decode=decode_s, queue_wait=answer.queue_s)
        self._metrics.count(IMAGES, outcome="ok")
        return Classification(width, height, predictions, decode_s, answer.queue_s, answer.inference_s)

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

    async def _logits(self, data: bytes, deadline: float) -> tuple[tuple[int, int], float, Answer]:
        """(height, width) of the upright image, seconds of decoding, and the engine's answer."""
        started = time.monotonic()
        size, pixels = await asyncio.get_running_loop().run_in_executor(self._decoders, self._decode, data)
        return size, time.monotonic() - started, await self._batcher.submit(pixels, deadline)

    def _decode(self, data: bytes) -> tuple[tuple[int, int], Pixels]:
        image = decode(data, self._limits)
        return (image.shape[0], image.shape[1]), self.bundle.manifest.preprocessing.apply(image)

    def _count_batch(self, size: int, seconds: float) -> None:
        self._metrics.observe(BATCH_SIZE, size)
        self._count_stages(size, inference=seconds)

    def _count_stages(self, images: int, **seconds: float) -> None:
        for stage, value in seconds.items():
            self._metrics.count(STAGE_SECONDS, value, stage=stage)
            self._metrics.count(STAGE_IMAGES, images, stage=stage)
