"""The work-conserving batcher, with a plain function as its engine."""

import asyncio
import threading
import time

import numpy as np
import pytest

from service import batching
from service.batching import Batcher
from service.errors import DeadlineExceeded, InferenceFailed, NotReady

POISON = 255


def image(number: int) -> np.ndarray:
    """An image that carries its number as every pixel's value."""
    return np.full((2, 2, 1), number, dtype=np.uint8)


def echo(images: np.ndarray) -> np.ndarray:
    """Row i is [number of image i]."""
    return images[:, 0, 0, :].astype(np.float32)


class Engine:
    """Echoes, remembers every batch, and stands still while its door is shut."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Event()
        self.door = threading.Event()
        self.door.set()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.batches.append([int(number) for number in images[:, 0, 0, 0]])
        self.entered.set()
        assert self.door.wait(10), "the test never opened the door"
        if POISON in images:
            raise ValueError("poison")
        return echo(images)

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
    """What each item gets: the number in its row, or the class of its error."""
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    return [type(answer) if isinstance(answer, BaseException) else int(answer.logits[0]) for answer in answers]


def run(scenario, infer, max_batch_size: int = 4, **options: object):
    """Runs scenario(batcher) on a started batcher, for at most 20 s, and stops it."""

    async def whole():
        batcher = Batcher(infer, max_batch_size, **options)
        batcher.start()
        try:
            async with asyncio.timeout(20):
                return await scenario(batcher)
        finally:
            await batcher.stop()

    return asyncio.run(whole())


def test_an_idle_engine_gets_an_item_at_once_without_a_timer():
    async def scenario(batcher):
        seconds = []
        for number in range(30):
            started = time.monotonic()
            await submitted(batcher, number)
            seconds.append(time.monotonic() - started)
        return seconds

    assert min(run(scenario, echo)) < 0.002


def test_one_item_is_answered_in_about_the_engines_time():
    def slow(images):
        time.sleep(0.05)
        return echo(images)

    async def scenario(batcher):
        started = time.monotonic()
        answer = await submitted(batcher, 7)
        return answer, time.monotonic() - started

    answer, seconds = run(scenario, slow)
    assert 0.05 <= answer.inference_s <= seconds < 0.5
    assert (answer.batch_size, int(answer.logits[0])) == (1, 7)
    assert answer.queue_s < 0.5


def test_the_batch_grows_up_to_its_limit_while_the_engine_is_busy():
    engine, seen = Engine(), []

    async def scenario(batcher):
        tasks = await engine.hold(batcher, *range(1, 11))
        engine.door.set()
        return await asyncio.gather(*tasks)

    answers = run(scenario, engine, on_batch=lambda size, seconds: seen.append((size, seconds)))
    assert engine.sizes == [1, 4, 4, 2]
    assert [answer.batch_size for answer in answers] == [1, 4, 4, 4, 4, 4, 4, 4, 4, 2, 2]
    assert [size for size, _ in seen] == engine.sizes
    assert all(seconds >= 0 for _, seconds in seen)


@pytest.mark.parametrize("max_batch_size", [1, 3, 16])
def test_no_batch_is_larger_than_the_limit_and_each_item_gets_its_own_row(max_batch_size):
    engine = Engine()

    async def scenario(batcher):
        return await numbers([submitted(batcher, number) for number in range(100)])

    assert run(scenario, engine, max_batch_size) == list(range(100))
    assert max(engine.sizes) == max_batch_size


def test_a_cancelled_item_never_runs():
    engine = Engine()

    async def scenario(batcher):
        tasks = await engine.hold(batcher, 1, 2)
        tasks[1].cancel()
        engine.door.set()
        return await numbers(tasks)

    assert run(scenario, engine) == [0, asyncio.CancelledError, 2]
    assert engine.batches == [[0], [2]]


def test_an_expired_item_never_runs_and_gets_deadline_exceeded():
    engine = Engine()

    async def scenario(batcher):
        tasks = [*await engine.hold(batcher, 1), submitted(batcher, 2, within_s=0.01)]
        await asyncio.sleep(0.05)
        engine.door.set()
        return await numbers(tasks)

    assert run(scenario, engine) == [0, 1, DeadlineExceeded]
    assert engine.batches == [[0], [1]]


def test_a_poison_item_fails_alone_and_its_mates_are_answered():
    engine = Engine()

    async def scenario(batcher):
        tasks = await engine.hold(batcher, 1, POISON, 3, 4)
        engine.door.set()
        outcomes = await numbers(tasks)
        batcher.check()
        return outcomes, tasks[2].exception()

    outcomes, error = run(scenario, engine)
    assert outcomes == [0, 1, InferenceFailed, 3, 4]
    assert engine.batches[1] == [1, POISON, 3, 4]
    assert isinstance(error.__cause__, ValueError)


def test_an_item_of_another_shape_breaks_no_mate():
    engine = Engine()

    async def scenario(batcher):
        odd = asyncio.create_task(batcher.submit(np.full((3, 3, 1), 2, dtype=np.uint8), time.monotonic() + 20))
        return await numbers([submitted(batcher, 1), odd, submitted(batcher, 3)])

    assert run(scenario, engine) == [1, 2, 3]
    assert engine.sizes == [1, 1, 1]


@pytest.mark.parametrize("rows", [0, 1, 3, 5])
def test_an_engine_that_returns_too_few_or_too_many_rows_gives_nobody_a_neighbours_row(rows):
    def wrong(images):
        return np.full((rows, 1), 99, dtype=np.float32) if len(images) == 4 else echo(images)

    async def scenario(batcher):
        return await numbers([submitted(batcher, number) for number in range(4)])

    assert run(scenario, wrong) == [0, 1, 2, 3]


def test_an_engine_that_returns_no_row_at_all_fails_the_item():
    async def scenario(batcher):
        return await numbers([submitted(batcher, 1)])

    assert run(scenario, lambda images: np.zeros((0, 1), dtype=np.float32)) == [InferenceFailed]


def test_after_200_cancelled_submissions_the_next_ones_are_answered():
    engine = Engine()

    async def scenario(batcher):
        first, *gone = await engine.hold(batcher, *[1] * 200)
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
        engine.door.set()
        return await numbers([first, *(submitted(batcher, number) for number in range(2, 6))])

    assert run(scenario, engine) == [0, 2, 3, 4, 5]
    assert not any(1 in batch for batch in engine.batches)


def test_check_raises_before_the_start():
    with pytest.raises(NotReady, match="not running"):
        Batcher(echo, 1).check()


def test_check_passes_while_batches_move_and_raises_when_the_loop_has_died():
    def broken(size, seconds):
        raise ZeroDivisionError("a bug in a callback")

    async def scenario(batcher):
        batcher.check()
        await submitted(batcher, 1)
        await asyncio.sleep(0)
        with pytest.raises(NotReady, match="not running"):
            batcher.check()

    run(scenario, echo, on_batch=broken)


def test_check_raises_while_a_batch_stalls_and_only_then(monkeypatch):
    engine = Engine()

    async def scenario(batcher):
        tasks = await engine.hold(batcher)
        batcher.check()
        monkeypatch.setattr(batching, "STALLED_S", 0.01)
        await asyncio.sleep(0.05)
        with pytest.raises(NotReady, match="running for more than"):
            batcher.check()
        engine.door.set()
        await numbers(tasks)
        batcher.check()

    run(scenario, engine)


@pytest.mark.parametrize("which", ["waiting", "running"])
def test_stop_fails_what_is_unanswered_with_not_ready(which):
    engine = Engine()

    async def scenario(batcher):
        running, *waiting = await engine.hold(batcher, 1, 2)
        await batcher.stop()
        engine.door.set()
        tasks = waiting if which == "waiting" else [running]
        done, _ = await asyncio.wait(tasks, timeout=1)
        with pytest.raises(NotReady, match="not running"):
            batcher.check()
        return [type(task.exception()) for task in done]

    assert set(run(scenario, engine)) == {NotReady}
    assert engine.batches == [[0]]
