"""The work-conserving batcher: an idle worker takes what waits at once, and batches grow while all workers are busy.

No timer: an image never waits for company. Promises, each with a test: a cancelled or expired image never runs; an image that
breaks its batch fails alone; a worker that stands still is seen by `check`. Knows no HTTP, no Ray, and images only as bytes.
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
# A batch that takes longer than this has hung: the engine is gone, not slow.
STALLED_S = 30.0
# A batch takes no further image beyond this, so that a few large ones do not delay the small ones behind them.
MAX_BATCH_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Batch:
    """What one worker gets.

    Attributes:
        images: encoded, at least one.
        waited_s: seconds between the submission of each and now.
        origins: what was submitted with each.
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
    """Collects single images into batches for workers, each of which is a thread that runs one batch at a time.

    Args:
        work: a batch → for each of its images, in order, its result, or the exception that is raised to its submitter.
            Called from several threads at a time.
        workers: how many, at least 1.
        max_batch_size: the most images in a batch, at least 1.
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
        """Takes images from now on; needs a running event loop, to which everything but the work belongs."""
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Takes no more images; what waits fails with NotReady, what runs is answered."""
        self._loop = None
        while self._waiting:
            _fail(self._waiting.popleft(), NotReady("The server is stopping."))
        self._threads.shutdown(wait=False)

    def check(self) -> None:
        """Does nothing while batches move.

        Raises:
            NotReady: before the start, after the stop, or where a batch has been running for more than STALLED_S.
        """
        if self._loop is None:
            raise NotReady("The batches are not running.")
        running = list(self._running.values())  # at once, because metrics ask from another thread
        if running and time.monotonic() - min(running) > STALLED_S:
            raise NotReady(f"A batch has been running for more than {STALLED_S:.0f} s.")

    @property
    def waiting(self) -> int:
        """How many images wait for a worker."""
        return len(self._waiting)

    @property
    def held(self) -> int:
        """How many images wait or run."""
        return len(self._waiting) + self._in_work

    async def submit(self, image: bytes, deadline: float, origin: Any = None) -> Result:
        """Waits for one image's result.

        Args:
            image: encoded.
            deadline: of `time.monotonic()`; past it the image is not run any more.
            origin: whatever the work wants to know of where the image comes from.

        Raises:
            DeadlineExceeded: it was still waiting at its deadline.
            InferenceFailed: the work failed on it.
            NotReady: the batches are not running.
            Exception: what the work gave for it.
        """
        if self._loop is None:
            raise NotReady("The batches are not running.")
        item = _Item[Result](image, deadline, origin, time.monotonic(), self._loop.create_future())
        self._waiting.append(item)
        self._dispatch(self._loop)
        return await item.future

    def _dispatch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Gives what waits to idle workers, in equal parts."""
        while self._waiting and self._idle:
            share = min(-(-len(self._waiting) // self._idle), self._max_batch_size)
            batch = self._take(1 << share.bit_length() - 1)  # a power of two: engines are warmed for those
            if not batch:  # nobody waits for any of them any more
                return
            self._idle -= 1
            self._in_work += len(batch)
            started = time.monotonic()
            images = Batch([item.image for item in batch], [started - item.submitted for item in batch], [item.origin for item in batch])
            future = self._threads.submit(self._run, images)
            self._running[future] = started
            future.add_done_callback(partial(self._hand_over, loop, batch))

    def _take(self, size: int) -> list[_Item[Result]]:
        """The next images that somebody still waits for, at most so many."""
        batch: list[_Item[Result]] = []
        now, left = time.monotonic(), MAX_BATCH_BYTES
        while self._waiting and len(batch) < size:
            item = self._waiting[0]
            if batch and len(item.image) > left:
                break
            self._waiting.popleft()
            if item.future.done():  # the client has gone
                continue
            if item.deadline <= now:
                _fail(item, DeadlineExceeded("The image was still waiting for the model at its deadline."))
                continue
            batch.append(item)
            left -= len(item.image)
        return batch

    def _run(self, batch: Batch) -> "list[Result | Exception]":
        """In a worker: the whole batch, or where that fails each image alone, because one of them is the culprit."""
        try:
            outcomes = self._work(batch)
            if len(outcomes) != len(batch.images):
                raise RuntimeError(f"{len(batch.images)} images got {len(outcomes)} results")
        except Exception as error:
            if len(batch.images) > 1:
                alone = zip(batch.images, batch.waited_s, batch.origins, strict=True)
                return [outcome for image, waited_s, origin in alone for outcome in self._run(Batch([image], [waited_s], [origin]))]
            failure = InferenceFailed("The model failed on this image.")
            failure.__cause__ = error
            return [failure]
        return outcomes

    def _hand_over(self, loop: asyncio.AbstractEventLoop, batch: list[_Item[Result]], done: "Future[list[Result | Exception]]") -> None:
        """In a worker: lets the event loop answer, where it has not ended in the meantime."""
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._answer, done, batch)

    def _answer(self, done: "Future[list[Result | Exception]]", batch: list[_Item[Result]]) -> None:
        """On the event loop: everyone gets what is theirs, and the worker gets what has come in the meantime."""
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
