"""`python -m loadtests.studies.batchers BUNDLE`: our batcher beside Ray's `@serve.batch`. For decision 3.

In one replica, without HTTP, clients submit one image at a time on one event loop. Both batchers give their batches to
the same number of threads, which decode and infer them. Ray's is measured without a wait and with its default wait of
10 ms. The contenders alternate, so that other load on the machine affects all of them. The last line is JSON.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import ray
from ray import serve
from rich.console import Console
from rich.table import Table

from loadtests.bench.corpus import photos
from service.model.batching import Batch, Batcher
from vision.bundle.store import Bundle, load_bundle
from vision.engines.engine import ServingEngine
from vision.engines.selection import load_engine, warm
from vision.hardware import available_cpus
from vision.image import DecodeLimits, decode
from vision.prediction import probabilities

Classify = Callable[[bytes], Awaitable[Any]]
_CLIENTS = (1, 16, 64)
_WAITS_S = (0.0, 0.01)  # the latter is the default of @serve.batch
_LIMITS = DecodeLimits()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.studies.batchers", description=__doc__)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--photos", type=Path, help="a folder of photos (default: rendered ones)")
    parser.add_argument("--slices", type=int, choices=range(1, 101), default=8, metavar="1..100")
    parser.add_argument("--seconds", type=float, default=3.0, help="duration of one measurement")
    parsed = parser.parse_args()
    images = list(photos(parsed.photos).values())
    ray.init(address="local", include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    try:
        handle = serve.run(_Replica.bind(), route_prefix=None)  # type: ignore[attr-defined]  # it is a Deployment
        results = handle.measure.remote(parsed.bundle.absolute(), images, parsed.slices, parsed.seconds).result()
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()
    table = Table("clients", "batcher", "requests/s", "ours ÷ it", "p50 ms", "p99 ms")
    for row in results:
        ratio = "{median:.2f} ({low:.2f} to {high:.2f})".format(**row["ours_is"])
        table.add_row(
            str(row["clients"]),
            row["batcher"],
            f"{row['rate']:.0f}",
            ratio,
            f"{row['p50_ms']:.1f}",
            f"{row['p99_ms']:.1f}",
        )
    console = Console(soft_wrap=True, markup=False, highlight=False)
    console.print(table)
    console.print(json.dumps(results))


@serve.deployment(health_check_timeout_s=600)
class _Replica:
    """A replica, because `@serve.batch` works only in one."""

    async def measure(self, path: Path, images: list[bytes], slices: int, seconds: float) -> list[dict[str, Any]]:
        """One row for each number of clients and batcher."""
        return await _measure(load_bundle(path), images, slices, seconds)


async def _measure(bundle: Bundle, images: list[bytes], slices: int, seconds: float) -> list[dict[str, Any]]:
    threads = available_cpus()
    engine = load_engine(bundle, "auto", threads, _LIMITS, streams=threads)
    size = engine.best_batch_size
    warm(engine, bundle.manifest.preprocessing.shape, size)
    work = partial(_work, bundle, engine)
    ours: Batcher[Any] = Batcher(work, threads + 1, size)
    ours.start()
    pool = ThreadPoolExecutor(threads + 1)
    contenders: dict[str, Classify] = {"ours": lambda image: ours.submit(image, time.monotonic() + 60)}
    for wait_s in _WAITS_S:
        contenders[f"@serve.batch, {1000 * wait_s:.0f} ms"] = _rays(work, pool, threads + 1, size, wait_s)
    rows = []
    for clients in _CLIENTS:
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for number in range(slices):
            order = list(contenders)
            for name in order if number % 2 else order[::-1]:
                took = await _slice(contenders[name], images, clients, seconds)
                rates[name].append(len(took) / seconds)
                times[name] += took
        for name in contenders:
            ratios = sorted(one / other for one, other in zip(rates["ours"], rates[name], strict=True))
            p = statistics.quantiles(times[name], n=100)
            spread = {"median": statistics.median(ratios), "low": ratios[0], "high": ratios[-1]}
            found = {
                "rate": statistics.median(rates[name]),
                "ours_is": spread,
                "p50_ms": 1000 * p[49],
                "p99_ms": 1000 * p[98],
            }
            rows.append({"clients": clients, "batcher": name} | found)
    ours.stop()
    pool.shutdown()
    return rows


def _work(bundle: Bundle, engine: ServingEngine, batch: Batch) -> list[Any]:
    prepared = [engine.prepare(decode(image, _LIMITS).pixels) for image in batch.images]
    return list(probabilities(engine.infer_prepared(prepared), bundle.manifest.temperature))


def _rays(
    work: Callable[[Batch], list[Any]], pool: ThreadPoolExecutor, workers: int, size: int, wait_s: float
) -> Classify:
    @serve.batch(max_batch_size=size, batch_wait_timeout_s=wait_s, max_concurrent_batches=workers)
    async def classify(images: list[bytes]) -> list[Any]:
        return await asyncio.get_running_loop().run_in_executor(
            pool, work, Batch(images, [0.0] * len(images), [None] * len(images))
        )

    return classify


async def _slice(classify: Classify, images: list[bytes], clients: int, seconds: float) -> list[float]:
    """Seconds that each answer took."""
    end, took, photo = time.perf_counter() + seconds, [], cycle(images)

    async def client() -> None:
        while (started := time.perf_counter()) < end:
            await classify(next(photo))
            took.append(time.perf_counter() - started)

    await asyncio.gather(*(client() for _ in range(clients)))
    return took


if __name__ == "__main__":
    main()
