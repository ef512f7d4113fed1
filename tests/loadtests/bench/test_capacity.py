"""The open loop tells the truth about a server that stands still, and the search finds what it is given."""

import asyncio
import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from aiohttp import web

from loadtests.bench.capacity import search
from loadtests.bench.capacity_report import plot, table
from loadtests.bench.openloop import Measured, arrivals, measure


@pytest.fixture
def serve() -> Iterator[Callable[[Callable], str]]:
    """Serves POST / by a coroutine on an event loop of its own; gives the address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runners: list[web.AppRunner] = []

    async def begin(handler: Callable) -> str:
        app = web.Application()
        app.router.add_post("/", handler)
        runners.append(web.AppRunner(app))
        await runners[-1].setup()
        site = web.TCPSite(runners[-1], "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/"

    yield lambda handler: asyncio.run_coroutine_threadsafe(begin(handler), loop).result(10)
    for runner in runners:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_arrivals_are_a_poisson_process_and_the_same_for_a_seed() -> None:
    due = arrivals(50.0, 20_000, seed=1)
    gaps = [later - earlier for earlier, later in itertools.pairwise(due)]
    assert statistics.mean(gaps) == pytest.approx(0.02, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(0.02, rel=0.03)  # of an exponential distribution both are the same
    assert arrivals(50.0, 20_000, seed=1) == due
    assert arrivals(50.0, 20_000, seed=2) != due


def test_requests_that_were_due_while_the_server_stood_still_count_their_wait(serve: Callable) -> None:
    begun = time.monotonic()

    async def stands_still(request: web.Request) -> web.Response:
        await request.read()
        waited = time.monotonic() - begun
        if 0.5 < waited < 1.5:
            await asyncio.sleep(1.5 - waited)
        return web.Response()

    begun = time.monotonic()
    found = measure(serve(stands_still), [b"x"], rate=100, count=200, seed=0)
    assert (found.failed, found.dropped, len(found.milliseconds)) == (0, 0, 200)
    assert found.percentile(99) > 800  # a client that waits for its answer would have sent one request meanwhile
    assert sum(one > 100 for one in found.milliseconds) > 60
    assert found.percentile(25) < 100


def test_refusals_and_broken_connections_are_failures(serve: Callable) -> None:
    count = 0

    async def refuses(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        if count % 10 == 0:
            request.transport.abort()
        return web.Response(status=503 if count % 5 == 0 else 200)

    found = measure(serve(refuses), [b"x"], rate=200, count=200, seed=0)
    assert sum(found.statuses.values()) == 200
    assert found.failed == 200 - len(found.milliseconds) > 30
    assert found.statuses[503] > 0


def measured(p99_ms: float) -> Measured:
    return Measured(10.0, 10.0, [p99_ms] * 1000, {200: 1000}, 0, 0.1)


def test_the_search_ends_at_the_highest_rate_that_is_borne_and_confirmed() -> None:
    rate, sure = search(
        100.0, lambda rate: rate <= 73.0, lambda rate: measured(rate), lambda found: found.percentile(99) <= 73.0
    )
    assert 70.0 < rate <= 73.0
    assert len(sure) == 3


def test_a_rate_that_is_not_confirmed_is_lowered() -> None:
    rate, _ = search(
        100.0, lambda rate: rate <= 73.0, lambda rate: measured(rate), lambda found: found.percentile(99) <= 60.0
    )
    assert 55.0 < rate <= 60.0


def test_a_server_that_bears_nothing_has_no_capacity() -> None:
    with pytest.raises(RuntimeError, match="Not even"):
        search(100.0, lambda rate: False, lambda rate: measured(1e9), lambda found: False)


def test_the_report_becomes_a_table_and_a_picture(tmp_path) -> None:
    facts = {
        "offered": 10.0,
        "answered": 9.9,
        "requests": 100,
        "failed": 0,
        "p50_ms": 5.0,
        "p99_ms": 9.0,
        "client_late_ms": 0.1,
    }
    report = {
        **{"machine": "m", "commit": "c", "command": "x", "model": "digits/1", "seed": 0, "p99_bound_ms": 250.0},
        **{"closed_loop_throughput": 20.0, "open_loop_capacity": 15.0, "confirmations": [facts] * 3},
        "sweep": [{**facts, "mean_batch_size": 1.5}, {**facts, "offered": 20.0, "mean_batch_size": None}],
    }
    assert "| 10.0 | 9.9 | 5.0 | 9.0 | 0 | 1.5 |" in table(report)
    plot(report, tmp_path / "capacity.png")
    assert (tmp_path / "capacity.png").read_bytes()[:4] == b"\x89PNG"
