"""Requests that come when they come: arrivals of a Poisson process, whether or not the last ones have been answered.

A request's time counts from when it was due, not from when it could be sent, so a server that stands still is not spared the
requests of that time. https://github.com/mlcommons/inference_policies calls this the server scenario.
"""

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

MAX_OPEN = 2_000  # requests in flight; one more is not sent and counts as dropped
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Measured:
    """What came of one rate.

    Attributes:
        offered: requests a second, as asked for.
        seconds: from the first request's due time to the last one's answer.
        milliseconds: of each answer with 200, from when its request was due; ascending.
        statuses: how many answers by status; 0 is a connection that failed.
        dropped: requests that were due and not sent, because MAX_OPEN were open.
        late_ms: 99th percentile of how long after its due time a request was sent: the client's own fault.
    """

    offered: float
    seconds: float
    milliseconds: list[float]
    statuses: dict[int, int]
    dropped: int
    late_ms: float

    @property
    def answered(self) -> float:
        """Answers with 200 a second."""
        return len(self.milliseconds) / self.seconds

    @property
    def failed(self) -> int:
        """Requests without such an answer."""
        return self.dropped + sum(count for status, count in self.statuses.items() if status != 200)

    def percentile(self, percent: int) -> float:
        """Milliseconds within which so many percent of the answers came, 1 to 99; infinity where there are fewer than 100."""
        return (
            statistics.quantiles(self.milliseconds, n=100)[percent - 1]
            if len(self.milliseconds) >= 100
            else float("inf")
        )


def arrivals(rate: float, count: int, seed: int) -> list[float]:
    """When each of so many requests is due, in seconds after the start: intervals are exponential with mean 1/rate."""
    generator, due = random.Random(seed), 0.0
    found = []
    for _ in range(count):
        due += generator.expovariate(rate)
        found.append(due)
    return found


def measure(url: str, bodies: Sequence[bytes], rate: float, count: int, seed: int) -> Measured:
    """Posts the bodies in turn.

    Args:
        url: of the classification.
        bodies: at least one.
        rate: requests a second, above 0.
        count: how many requests.
        seed: of the arrivals.
    """
    return asyncio.run(_measure(url, bodies, rate, count, seed))


async def _measure(url: str, bodies: Sequence[bytes], rate: float, count: int, seed: int) -> Measured:
    milliseconds: list[float] = []
    lateness: list[float] = []
    statuses: Counter[int] = Counter()
    dropped = 0
    open_tasks: set[asyncio.Task[None]] = set()
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=15), timeout=timeout
    ) as session:
        started = time.monotonic()

        async def one(body: bytes, due: float) -> None:
            lateness.append(1000 * (time.monotonic() - due))
            try:
                async with session.post(url, data=body, headers={"content-type": "application/octet-stream"}) as answer:
                    await answer.read()
                    status = answer.status
            except (aiohttp.ClientError, TimeoutError):
                status = 0
            statuses[status] += 1
            if status == 200:
                milliseconds.append(1000 * (time.monotonic() - due))

        for index, offset in enumerate(arrivals(rate, count, seed)):
            due = started + offset
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            if len(open_tasks) >= MAX_OPEN:
                dropped += 1
                continue
            task = asyncio.create_task(one(bodies[index % len(bodies)], due))
            open_tasks.add(task)
            task.add_done_callback(open_tasks.discard)
        await asyncio.gather(*open_tasks)
        seconds = time.monotonic() - started
    late = statistics.quantiles(lateness, n=100)[98] if len(lateness) >= 2 else 0.0
    return Measured(rate, seconds, sorted(milliseconds), dict(statuses), dropped, late)
