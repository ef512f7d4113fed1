"""The work-conserving batcher, with a plain function as its work."""

import asyncio
import threading
import time

import pytest

from service.errors import DeadlineExceeded, InferenceFailed, NotReady
from service.model import batching
from service.model.batching import Batch, Batcher

POISON = 255


def image(number: int) -> bytes:
    """An image that carries its number."""
    return bytes([number])


def echo(batch: Batch) -> list:
    """The number of each image."""
    return [image[0] for image in batch.images]


class Work:
    """Echoes, remembers every batch, and stands still while its door is shut."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Event()
        self.door = threading.Event()
        self.door.set()

    def __call__(self, batch: Batch) -> list:
        self.batches.append(echo(batch))
        self.entered.set()
        assert self.door.wait(10), "the test never opened the door"
        if image(POISON) in batch.images:
            raise ValueError("poison")
        return echo(batch)

    async def hold(self, batcher: Batcher, *numbers: int) -> list["asyncio.Task"]:
        """Shuts the door, lets item 0 stand behind it, and submits the others: they wait."""
        self.door.clear()
        self.entered.clear()
        first = submitted(batcher, 0)
        await asyncio.get_running_loop().run_in_executor(None, self.entered.wait, 10)
        rest = [submitted(batcher, number) for number in numbers]
        await asyncio.sleep(0)
        assert batcher.waiting == len(numbers)
        return [first, *rest]

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


def submitted(batcher: Batcher, number: int, within_s: float = 20) -> "asyncio.Task":
    return asyncio.create_task(batcher.submit(image(number), time.monotonic() + within_s))


async def numbers(tasks: list) -> list:
    """What each item gets: its number, or the class of its error."""
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    return [type(answer) if isinstance(answer, BaseException) else answer for answer in answers]


def run(scenario, work, max_batch_size: int = 4, workers: int = 1):
    """Runs scenario(batcher) on a started batcher, for at most 20 s, and stops it."""

    async def whole():
        batcher = Batcher(work, workers, max_batch_size)
        batcher.start()
        try:
            async with asyncio.timeout(20):
                return await scenario(batcher)
        finally:
            batcher.stop()

    return asyncio.run(whole())


def test_an_idle_worker_gets_an_image_at_once_without_a_timer():
    async def scenario(batcher):
        seconds = []
        for number in range(30):
            started = time.monotonic()
            await submitted(batcher, number)
            seconds.append(time.monotonic() - started)
        return seconds

    assert min(run(scenario, echo)) < 0.002


def test_the_batch_grows_up_to_its_limit_while_the_worker_is_busy():
    work = Work()

    async def scenario(batcher):
        tasks = await work.hold(batcher, *range(1, 11))
        work.door.set()
        return await numbers(tasks)

    assert run(scenario, work) == list(range(11))
    assert work.sizes == [1, 4, 4, 2]


def test_what_waits_is_shared_equally_among_idle_workers_in_powers_of_two():
    work = Work()

    async def scenario(batcher):
        tasks = [submitted(batcher, 0), submitted(batcher, 1)]
        work.door.clear()
        while len(work.batches) < 2:
            await asyncio.sleep(0.001)
        tasks += [submitted(batcher, number) for number in range(2, 13)]
        await asyncio.sleep(0)
        batcher._idle = 2  # as if both had come back at the same time
        batcher._dispatch(asyncio.get_running_loop())
        assert batcher.waiting == 3
        work.door.set()
        return await numbers(tasks)

    assert run(scenario, work, max_batch_size=16, workers=2) == list(range(13))
    assert [batch for batch in work.batches if len(batch) > 3] == [[2, 3, 4, 5], [6, 7, 8, 9]]


def test_two_workers_run_at_a_time():
    both = threading.Barrier(2, timeout=10)

    def meet(batch):
        both.wait()
        return echo(batch)

    async def scenario(batcher):
        return await numbers([submitted(batcher, 1), submitted(batcher, 2)])

    assert run(scenario, meet, workers=2) == [1, 2]


def test_a_worker_is_told_how_long_each_image_waited():
    waits = []

    def note(batch):
        waits.append(batch.waited_s)
        time.sleep(0.05)
        return echo(batch)

    async def scenario(batcher):
        return await numbers([submitted(batcher, number) for number in range(3)])

    run(scenario, note)
    assert waits[0][0] < 0.04
    assert all(0.05 <= waited < 5 for waited in waits[1])
    assert len(waits[1]) == 2


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("max_batch_size", [1, 3, 16])
def test_no_batch_is_larger_than_the_limit_and_each_image_gets_its_own_result(max_batch_size, workers):
    work = Work()

    async def scenario(batcher):
        return await numbers([submitted(batcher, number) for number in range(100)])

    assert run(scenario, work, max_batch_size, workers) == list(range(100))
    largest = {1: 1, 3: 2, 16: 16}[max_batch_size]  # the power of two within the limit
    assert max(work.sizes) <= largest
    assert workers > 1 or max(work.sizes) == largest


def test_no_batch_holds_more_bytes_than_its_limit_but_for_one_that_is_larger_alone(monkeypatch):
    monkeypatch.setattr(batching, "MAX_BATCH_BYTES", 10)
    work, sizes = Work(), (1, 8, 2, 30, 4, 4, 4)

    async def scenario(batcher):
        tasks = await work.hold(batcher)
        tasks += [asyncio.create_task(batcher.submit(bytes([size]) * size, time.monotonic() + 20)) for size in sizes]
        await asyncio.sleep(0)
        work.door.set()
        return await numbers(tasks)

    assert run(scenario, work, max_batch_size=16) == [0, *sizes]
    assert work.batches == [[0], [1, 8], [2], [30], [4, 4], [4]]


def test_a_cancelled_image_never_runs():
    work = Work()

    async def scenario(batcher):
        tasks = await work.hold(batcher, 1, 2)
        tasks[1].cancel()
        work.door.set()
        return await numbers(tasks)

    assert run(scenario, work) == [0, asyncio.CancelledError, 2]
    assert work.batches == [[0], [2]]


def test_an_expired_image_never_runs_and_gets_deadline_exceeded():
    work = Work()

    async def scenario(batcher):
        tasks = [*await work.hold(batcher, 1), submitted(batcher, 2, within_s=0.01)]
        await asyncio.sleep(0.05)
        work.door.set()
        return await numbers(tasks)

    assert run(scenario, work) == [0, 1, DeadlineExceeded]
    assert work.batches == [[0], [1]]


def test_an_image_that_the_work_refuses_gets_its_own_error_and_harms_no_mate():
    def refuse(batch):
        return [KeyError("no") if image[0] == 2 else image[0] for image in batch.images]

    async def scenario(batcher):
        return await numbers([submitted(batcher, number) for number in range(5)])

    assert run(scenario, refuse) == [0, 1, KeyError, 3, 4]


def test_a_poison_image_fails_alone_and_its_mates_are_answered():
    work = Work()

    async def scenario(batcher):
        tasks = await work.hold(batcher, 1, POISON, 3, 4)
        work.door.set()
        outcomes = await numbers(tasks)
        batcher.check()
        return outcomes, tasks[2].exception()

    outcomes, error = run(scenario, work)
    assert outcomes == [0, 1, InferenceFailed, 3, 4]
    assert work.batches[1] == [1, POISON, 3, 4]
    assert isinstance(error.__cause__, ValueError)


@pytest.mark.parametrize("results", [0, 1, 3, 5])
def test_work_that_gives_too_few_or_too_many_results_gives_nobody_a_neighbours(results):
    def wrong(batch):
        return [99] * results if len(batch.images) == 4 else echo(batch)

    async def scenario(batcher):
        return await numbers([submitted(batcher, number) for number in range(5)])

    assert run(scenario, wrong) == [0, 1, 2, 3, 4]


def test_work_that_gives_no_result_at_all_fails_the_image():
    async def scenario(batcher):
        return await numbers([submitted(batcher, 1)])

    assert run(scenario, lambda batch: []) == [InferenceFailed]


def test_after_200_cancelled_submissions_the_next_ones_are_answered():
    work = Work()

    async def scenario(batcher):
        first, *gone = await work.hold(batcher, *[1] * 200)
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
        work.door.set()
        return await numbers([first, *(submitted(batcher, number) for number in range(2, 6))])

    assert run(scenario, work) == [0, 2, 3, 4, 5]
    assert not any(1 in batch for batch in work.batches)


def test_check_raises_before_the_start_and_so_does_submit():
    batcher = Batcher(echo, 1, 1)
    with pytest.raises(NotReady, match="not running"):
        batcher.check()
    with pytest.raises(NotReady, match="not running"):
        asyncio.run(batcher.submit(image(1), time.monotonic() + 1))


def test_check_raises_while_a_batch_stalls_and_only_then(monkeypatch):
    work = Work()

    async def scenario(batcher):
        tasks = await work.hold(batcher)
        batcher.check()
        monkeypatch.setattr(batching, "STALLED_S", 0.01)
        await asyncio.sleep(0.05)
        with pytest.raises(NotReady, match="running for more than"):
            batcher.check()
        work.door.set()
        await numbers(tasks)
        batcher.check()

    run(scenario, work)


def test_stop_fails_what_waits_with_not_ready_and_answers_what_runs():
    work = Work()

    async def scenario(batcher):
        tasks = await work.hold(batcher, 1, 2)
        batcher.stop()
        with pytest.raises(NotReady, match="not running"):
            batcher.check()
        work.door.set()
        return await numbers(tasks)

    assert run(scenario, work) == [0, NotReady, NotReady]
    assert work.batches == [[0]]
