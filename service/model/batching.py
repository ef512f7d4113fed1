"""The work-conserving batcher: an idle worker takes waiting images at once; batches grow while all are busy.

There is no timer: an image never waits for others to arrive. Tests hold that a cancelled or expired image never runs,
that an image which breaks its batch fails alone, and that `check` sees a worker that hangs. No HTTP, no Ray; images are
only bytes.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from service.errors import DeadlineExceeded, InferenceFailed, NotReady

Result = TypeVar("Result")
# A batch that takes longer than this hangs.
STALLED_S = 30.0
# A batch takes no further image beyond this size, so that a few large images do not delay the small ones behind them.
MAX_BATCH_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Batch:
    """The images that one worker classifies together.

    Attributes:
        images: encoded, at least one.
        waited_s: seconds that each image waited for the worker.
        origins: for each image, the object that was submitted with it.
    """

    images: list[bytes]
    waited_s: list[float]
    origins: list[Any]


@dataclass
class _Item(Generic[Result]):
    image: bytes
    deadline: float
    origin: Any
    submitted: float
    future: "asyncio.Future[Result]"


class Batcher(Generic[Result]):
    """Collects single images into batches for workers. A worker is a thread that runs one batch at a time.

    Args:
        work: takes a batch and returns, for each image in order, its result or the exception to raise to its submitter.
            Called from several threads at a time.
        workers: number of threads, at least 1.
        max_batch_size: largest number of images in a batch, at least 1.
    """

    def __init__(self, work: Callable[[Batch], "list[Result | Exception]"], workers: int, max_batch_size: int) -> None:
        self._work = work
        self._max_batch_size = max_batch_size
        self._waiting: deque[_Item[Result]] = deque()
        self._idle = workers
        self._in_work = 0  # images
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="classify")
        self._running: dict[Future[list[Result | Exception]], float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begins to accept images. Must be called on the event loop that will call every other method."""
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Accepts no more images. Waiting images fail with NotReady; running batches are still answered."""
        self._loop = None
        while self._waiting:
            _fail(self._waiting.popleft(), NotReady("The server is stopping."))
        self._threads.shutdown(wait=False)

    def check(self) -> None:
        """Checks that batches are processed.

        Raises:
            NotReady: before the start, after the stop, or if a batch has run for more than STALLED_S.
        """
        if self._loop is None:
            raise NotReady("The batches are not running.")
        running = list(self._running.values())  # at once, because metrics ask from another thread
        if running and time.monotonic() - min(running) > STALLED_S:
            raise NotReady(f"A batch has been running for more than {STALLED_S:.0f} s.")

    @property
    def waiting(self) -> int:
        """Images that wait for a worker."""
        return len(self._waiting)

    @property
    def ongoing(self) -> int:
        """Images that wait or run."""
        return len(self._waiting) + self._in_work

    async def submit(self, image: bytes, deadline: float, origin: Any = None) -> Result:
        """Waits for one image's result.

        Args:
            image: encoded.
            deadline: of `time.monotonic()`; an image that still waits then is never run.
            origin: passed on to the work, e.g. the request that the image belongs to.

        Raises:
            DeadlineExceeded: it was still waiting at its deadline.
            InferenceFailed: the work failed on it.
            NotReady: the batches are not running.
            Exception: the one that the work returned for this image.
        """
        if self._loop is None:
            raise NotReady("The batches are not running.")
        item = _Item[Result](image, deadline, origin, time.monotonic(), self._loop.create_future())
        self._waiting.append(item)
        self._dispatch(self._loop)
        return await item.future

    def _dispatch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Shares the waiting images out among the idle workers."""
        while self._waiting and self._idle:
            share = min(-(-len(self._waiting) // self._idle), self._max_batch_size)
            batch = self._take(1 << share.bit_length() - 1)  # a power of two: engines are warmed for those
            if not batch:  # all of them were cancelled or have expired
                return
            self._idle -= 1
            self._in_work += len(batch)
            started = time.monotonic()
            images = Batch(
                [item.image for item in batch],
                [started - item.submitted for item in batch],
                [item.origin for item in batch],
            )
            future = self._threads.submit(self._run, images)
            self._running[future] = started
            future.add_done_callback(partial(self._hand_over, loop, batch))

    def _take(self, size: int) -> list[_Item[Result]]:
        """Pops up to `size` items, skipping cancelled and expired ones."""
        batch: list[_Item[Result]] = []
        now, left = time.monotonic(), MAX_BATCH_BYTES
        while self._waiting and len(batch) < size:
            item = self._waiting[0]
            if batch and len(item.image) > left:
                break
            self._waiting.popleft()
            if item.future.done():  # the client has left
                continue
            if item.deadline <= now:
                _fail(item, DeadlineExceeded("The image was still waiting for the model at its deadline."))
                continue
            batch.append(item)
            left -= len(item.image)
        return batch

    def _run(self, batch: Batch) -> "list[Result | Exception]":
        """In a worker: runs the whole batch; if that fails, runs each image alone to find the one that breaks it."""
        try:
            outcomes = self._work(batch)
            if len(outcomes) != len(batch.images):
                raise RuntimeError(f"{len(batch.images)} images got {len(outcomes)} results")
        except Exception as error:
            if len(batch.images) > 1:
                alone = zip(batch.images, batch.waited_s, batch.origins, strict=True)
                return [
                    outcome
                    for image, waited_s, origin in alone
                    for outcome in self._run(Batch([image], [waited_s], [origin]))
                ]
            failure = InferenceFailed("The model failed on this image.")
            failure.__cause__ = error
            return [failure]
        return outcomes

    def _hand_over(
        self, loop: asyncio.AbstractEventLoop, batch: list[_Item[Result]], done: "Future[list[Result | Exception]]"
    ) -> None:
        """In a worker: hands the results to the event loop, unless it has ended in the meantime."""
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._answer, done, batch)

    def _answer(self, done: "Future[list[Result | Exception]]", batch: list[_Item[Result]]) -> None:
        """On the event loop: resolves the futures, and gives the idle worker the next batch."""
        del self._running[done]
        self._idle += 1
        self._in_work -= len(batch)
        for item, outcome in zip(batch, done.result(), strict=True):
            if isinstance(outcome, Exception):
                _fail(item, outcome)
            elif not item.future.done():
                item.future.set_result(outcome)
        if self._loop is not None:
            self._dispatch(self._loop)


def _fail(item: _Item[Result], error: Exception) -> None:
    if not item.future.done():
        item.future.set_exception(error)
