"""The work-conserving batcher: it runs what waits the moment the engine is free, and lets the batch grow while it is busy.

No timer: an image never waits for company. Promises, each with a test: a cancelled or expired item never runs; an item that
breaks the engine fails alone; a loop that died or stands still is seen by `check`. Knows no HTTP, no Ray and no images.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.errors import DeadlineExceeded, InferenceFailed, NotReady
from vision.image import Pixels

Infer = Callable[[Pixels], npt.NDArray[np.float32]]
# A batch that takes longer than this has hung: the engine is gone, not slow.
STALLED_S = 30.0


@dataclass(frozen=True)
class Answer:
    """What one item got.

    Attributes:
        logits: (classes,).
        queue_s: seconds between submission and the start of its batch.
        inference_s: seconds that its batch took.
        batch_size: how many items were in it.
    """

    logits: npt.NDArray[np.float32]
    queue_s: float
    inference_s: float
    batch_size: int


@dataclass
class _Item:
    image: Pixels
    deadline: float
    submitted: float
    future: "asyncio.Future[Answer]"


class Batcher:
    """Collects single items into batches for an engine that one thread runs.

    Args:
        infer: (N, H, W, C) → (N, classes); called from one thread, never twice at a time.
        max_batch_size: the largest N, at least 1.
        on_batch: called with the size and the seconds of every batch that ran.
    """

    def __init__(self, infer: Infer, max_batch_size: int, on_batch: Callable[[int, float], None] = lambda size, seconds: None) -> None:
        self._infer = infer
        self._max_batch_size = max_batch_size
        self._on_batch = on_batch
        self._waiting: deque[_Item] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._loop: asyncio.Task[None] | None = None
        self._batch_started: float | None = None

    def start(self) -> None:
        """Starts the loop; needs a running event loop."""
        self._loop = asyncio.create_task(self._run(), name="batcher")

    async def stop(self) -> None:
        """Ends the loop; what still waits fails with NotReady."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        while self._waiting:
            _fail(self._waiting.popleft(), NotReady("The server is stopping."))
        self._thread.shutdown(wait=False)

    def check(self) -> None:
        """Does nothing while batches move.

        Raises:
            NotReady: the loop is not running, or a batch has been running for more than STALLED_S.
        """
        if self._loop is None or self._loop.done():
            raise NotReady("The batch loop is not running.")
        if self._batch_started is not None and time.monotonic() - self._batch_started > STALLED_S:
            raise NotReady(f"A batch has been running for more than {STALLED_S:.0f} s.")

    @property
    def waiting(self) -> int:
        """How many items wait for the engine."""
        return len(self._waiting)

    async def submit(self, image: Pixels, deadline: float) -> Answer:
        """Waits for one item's answer.

        Args:
            image: uint8 (H, W, C), the same shape for every item.
            deadline: of `time.monotonic()`; past it the item is not run any more.

        Raises:
            DeadlineExceeded: it was still waiting at its deadline.
            InferenceFailed: the engine failed on it.
        """
        item = _Item(image, deadline, time.monotonic(), asyncio.get_running_loop().create_future())
        self._waiting.append(item)
        self._arrived.set()
        return await item.future

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            batch = self._take()
            if not self._waiting:
                self._arrived.clear()
            if not batch:
                continue
            try:
                await self._answer(batch)
            finally:  # where this is cancelled or breaks, nobody shall wait for ever
                for item in batch:
                    _fail(item, NotReady("The server is stopping."))

    def _take(self) -> list[_Item]:
        """The next items that somebody still waits for, at most max_batch_size."""
        batch: list[_Item] = []
        now = time.monotonic()
        while self._waiting and len(batch) < self._max_batch_size:
            item = self._waiting.popleft()
            if item.future.done():  # the client has gone
                continue
            if item.deadline <= now:
                _fail(item, DeadlineExceeded("The image was still waiting for the model at its deadline."))
                continue
            batch.append(item)
        return batch

    async def _answer(self, batch: list[_Item]) -> None:
        started = time.monotonic()
        try:
            rows = await self._in_thread(batch)
        except Exception as error:
            if len(batch) == 1:
                failure = InferenceFailed("The model failed on this image.")
                failure.__cause__ = error
                _fail(batch[0], failure)
                return
            for item in batch:  # one of them is the culprit; the others shall not pay for it
                if not item.future.done():
                    await self._answer([item])
            return
        seconds = time.monotonic() - started
        for item, row in zip(batch, rows, strict=True):
            if not item.future.done():
                item.future.set_result(Answer(row, started - item.submitted, seconds, len(batch)))
        self._on_batch(len(batch), seconds)

    async def _in_thread(self, batch: list[_Item]) -> npt.NDArray[np.float32]:
        images = np.stack([item.image for item in batch])
        self._batch_started = time.monotonic()
        try:
            rows = await asyncio.get_running_loop().run_in_executor(self._thread, self._infer, images)
        finally:
            self._batch_started = None
        if len(rows) != len(batch):
            raise RuntimeError(f"the engine gave {len(rows)} answers to {len(batch)} images")
        return rows


def _fail(item: _Item, error: Exception) -> None:
    if not item.future.done():
        item.future.set_exception(error)
