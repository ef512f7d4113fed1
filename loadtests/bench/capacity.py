"""`make capacity`: the highest rate of requests that the service sustains with its 99th percentile within a bound.

Requests arrive as a Poisson process (`loadtests.bench.openloop`). The rate is found by bisection, then confirmed three
times with enough requests for a reliable percentile; if one of the three fails, the rate is lowered by 5 %. The
*closed-loop throughput*, of 64 clients that each wait for their answer, is measured too. The client runs on the same
machine as the service. Writes JSON, a table and a picture; the last line is JSON.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from loadtests import bodies
from loadtests.bench.capacity_report import CLIENTS, facts, plot, table
from loadtests.bench.machine import RESULTS, commit, machine
from loadtests.bench.openloop import Measured, measure
from loadtests.bench.sightline import running

_CONFIRMATIONS = 3
_STEP_DOWN = 0.95
_WIDTH = 0.04  # the search ends when high and low differ by less
_SWEEP = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.3)  # of the capacity
_LATE = 0.2  # of the bound: a client that sends later than this measures itself
_SETTLED_S = 40.0  # until the metrics page shows all answers


@dataclass(frozen=True)
class Service:
    """The service under test.

    Attributes:
        classify: the address of its classification.
        metrics: the address of its metrics.
        model: what it serves.
    """

    classify: str
    metrics: str
    model: str


def main() -> None:
    """Measures, prints and writes."""
    parsed = _arguments()
    console = Console(soft_wrap=True, markup=False, highlight=False)
    photos = [body.data for body in bodies.good(parsed.photos)]
    with _service(parsed, console) as service:
        report = _report(service, photos, parsed, console)
    parsed.out.mkdir(parents=True, exist_ok=True)
    (parsed.out / "capacity.json").write_text(json.dumps(report, indent=2) + "\n")
    (parsed.out / "capacity.md").write_text(table(report))
    plot(report, parsed.out / "capacity.png")
    console.print(table(report))
    console.print(f"Written to {parsed.out}: capacity.json, capacity.md, capacity.png.")
    console.print(json.dumps(report))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.capacity", description=__doc__)
    parser.add_argument("--url", help="a running service, e.g. http://127.0.0.1:8000 (default: start one)")
    parser.add_argument("--metrics-url", help="address of its metrics; needed with --url")
    parser.add_argument("--arch", default="mobilenet_v2", help="network of the service that is started")
    parser.add_argument("--photos", type=Path, help="a folder of photos (default: rendered ones)")
    parser.add_argument(
        "--p99-ms", type=float, default=250.0, help="bound of p99 (default: 250, the latency objective)"
    )
    parser.add_argument(
        "--requests",
        type=int,
        default=10_500,
        help="requests of a confirmation (default: 10,500, which gives p99 to 0.25 %% at 99 %% confidence)",
    )
    parser.add_argument(
        "--trial-s", type=float, default=15.0, help="seconds of each search step and of each point in the plot"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the arrivals")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parsed = parser.parse_args()
    if bool(parsed.url) != bool(parsed.metrics_url):
        parser.error("--url and --metrics-url go together.")
    return parsed


@contextlib.contextmanager
def _service(parsed: argparse.Namespace, console: Console) -> Iterator[Service]:
    if parsed.url:
        yield Service(f"{parsed.url.rstrip('/')}/classify", parsed.metrics_url, _model(parsed.url.rstrip("/")))
        return
    with running(parsed.arch, parsed.photos, console) as sightline:
        address = f"http://127.0.0.1:{sightline.port}"
        yield Service(f"{address}/classify", f"http://127.0.0.1:{sightline.metrics_port}/metrics", _model(address))


def _model(address: str) -> str:
    model = httpx.get(f"{address}/models").raise_for_status().json()["models"][0]
    return f"{model['name']}/{model['version']} ({model['digest']}), {model['architecture']}, {model['engine']}"


def _report(service: Service, photos: list[bytes], parsed: argparse.Namespace, console: Console) -> dict[str, Any]:
    throughput = _closed_loop(service.classify, photos, parsed.trial_s)
    console.print(f"closed loop, {CLIENTS} clients: {throughput:.0f} requests/s")
    seeds = iter(range(parsed.seed, parsed.seed + 10_000))

    def tried(rate: float, count: int) -> Measured:
        found = measure(service.classify, photos, rate, count, next(seeds))
        verdict = "sustained" if _sustained(found, parsed.p99_ms) else "not sustained"
        console.print(
            f"{rate:.1f} requests/s offered: {found.answered:.1f} answered, p50 {found.percentile(50):.0f} ms, "
            f"p99 {found.percentile(99):.0f} ms, {found.failed} failed, "
            f"client late by {found.late_ms:.1f} ms: {verdict}"
        )
        return found

    capacity, confirmations = search(
        throughput,
        lambda rate: _sustained(tried(rate, max(200, int(rate * parsed.trial_s))), parsed.p99_ms),
        lambda rate: tried(rate, parsed.requests),
        lambda found: _sustained(found, parsed.p99_ms),
    )
    sweep = []
    for share in _SWEEP:
        before = _batches(service)
        found = tried(share * capacity, max(200, int(share * capacity * parsed.trial_s)))
        after = _batches(service)
        images, batches = after[0] - before[0], after[1] - before[1]
        sweep.append(facts(found) | {"mean_batch_size": round(images / batches, 3) if batches else None})
    return {
        "machine": machine(),
        "commit": commit(),
        "command": " ".join(["python -m loadtests.bench.capacity", *sys.argv[1:]]),
        "model": service.model,
        "seed": parsed.seed,
        "p99_bound_ms": parsed.p99_ms,
        "closed_loop_throughput": round(throughput, 1),
        "open_loop_capacity": round(capacity, 1),
        "confirmations": [facts(found) for found in confirmations],
        "sweep": sweep,
    }


def search(
    throughput: float,
    sustained: Callable[[float], bool],
    confirm: Callable[[float], Measured],
    holds: Callable[[Measured], bool],
) -> tuple[float, list[Measured]]:
    """The highest rate that is sustained and confirmed, and the measurements that confirmed it.

    Args:
        throughput: requests per second of the closed loop; the search begins between a tenth and 1.2 times that.
        sustained: tries a rate for a short time.
        confirm: tries a rate for long enough to be sure.
        holds: whether a confirmation succeeded.

    Raises:
        RuntimeError: not even a tenth of the throughput is sustained.
    """
    low, high = 0.1 * throughput, 1.2 * throughput
    while high - low > _WIDTH * high:
        middle = (low + high) / 2
        low, high = (middle, high) if sustained(middle) else (low, middle)
    rate = low
    while rate >= 0.1 * throughput:
        confirmations: list[Measured] = []
        while len(confirmations) < _CONFIRMATIONS:
            found = confirm(rate)
            if not holds(found):
                break
            confirmations.append(found)
        else:
            return rate, confirmations
        rate *= _STEP_DOWN
    raise RuntimeError(
        f"Not even {0.1 * throughput:.1f} requests/s are sustained, a tenth of the closed loop's; see the lines above."
    )


def _sustained(found: Measured, p99_ms: float) -> bool:
    if found.late_ms > _LATE * p99_ms and found.percentile(99) <= p99_ms:
        raise RuntimeError(
            f"The client sends {found.late_ms:.0f} ms late, so it measures itself; use a machine with more cores."
        )
    return found.failed == 0 and found.percentile(99) <= p99_ms


def _closed_loop(url: str, photos: list[bytes], seconds: float) -> float:
    """Answers per second of 64 clients that each wait for their answer."""

    async def run() -> float:
        done = 0
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            started = time.monotonic()

            async def client(first: int) -> None:
                nonlocal done
                index = first
                while time.monotonic() - started < seconds:
                    async with session.post(url, data=photos[index % len(photos)]) as answer:
                        answer.raise_for_status()
                        await answer.read()
                    done, index = done + 1, index + CLIENTS

            await asyncio.gather(*(client(index) for index in range(CLIENTS)))
            return done / (time.monotonic() - started)

    return asyncio.run(run())


def _batches(service: Service) -> tuple[float, float]:
    """Images and batches inferred so far, over all replicas. Waits until the metrics no longer change."""
    deadline, last = time.monotonic() + _SETTLED_S, (-1.0, -1.0)
    while True:
        totals = {"ray_sightline_batch_size_sum": 0.0, "ray_sightline_batch_size_count": 0.0}
        for family in text_string_to_metric_families(httpx.get(service.metrics).raise_for_status().text):
            for sample in family.samples:
                if sample.name in totals:
                    totals[sample.name] += sample.value
        found = (totals["ray_sightline_batch_size_sum"], totals["ray_sightline_batch_size_count"])
        if found == last or time.monotonic() > deadline:
            return found
        last = found
        time.sleep(10)


if __name__ == "__main__":
    main()
