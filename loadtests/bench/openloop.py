"""An open loop: requests arrive as a Poisson process, whether or not earlier ones have been answered.

A request's time counts from when it was due, not from when it was sent, so a server that stalls is also measured by the
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

MAX_OPEN = 2_000  # requests in flight; further ones are not sent and count as dropped
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Measured:
    """The result of one rate.

    Attributes:
        offered: requests per second that were due.
        seconds: from the first request's due time to the last one's answer.
        milliseconds: of each answer with 200, from when its request was due; ascending.
        statuses: number of answers by status; 0 is a failed connection.
        dropped: requests that were due and not sent, because MAX_OPEN were open.
        late_ms: 99th percentile of the time between when a request was due and when it was sent: the client's own
            delay.
    """

    offered: float
    seconds: float
    milliseconds: list[float]
    statuses: dict[int, int]
    dropped: int
    late_ms: float

    @property
    def answered(self) -> float:
        """Answers with 200 per second."""
        return len(self.milliseconds) / self.seconds

    @property
    def failed(self) -> int:
        """Requests without such an answer."""
        return self.dropped + sum(count for status, count in self.statuses.items() if status != 200)

    def percentile(self, percent: int) -> float:
        """This percentile of the milliseconds, 1 to 99; infinite with fewer than 100 answers."""
        return (
            statistics.quantiles(self.milliseconds, n=100)[percent - 1]
            if len(self.milliseconds) >= 100
            else float("inf")
        )


def arrivals(rate: float, count: int, seed: int) -> list[float]:
    """When each request is due, in seconds after the start. Intervals are exponential with mean 1/rate."""
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
        rate: requests per second, above 0.
        count: number of requests.
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
