"""The bare loop: the most that this machine can classify, with no server around it.

One thread per core decodes, preprocesses and infers batches in a stream of its own. The best batch size is found first.
One image at a time, with nothing else running, gives the shortest possible time of an answer.

A shared machine's speed can double within the hour, so a server is only compared with the loop right before and after
it. `Ceiling` keeps the loop ready in a process of its own. `python -m loadtests.bench.ceiling BUNDLE PHOTOS` is that
process: it reads a number of seconds per line and answers each line with JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from itertools import cycle, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vision.bundle.store import load_bundle
from vision.engines.engine import ServingEngine
from vision.engines.selection import load_engine, warm
from vision.image import DecodeLimits, decode

_LIMITS = DecodeLimits()
_BATCHES = (1, 2, 4, 8, 16)
_TRIAL_S = 1.5
_SINGLE_S = 4.0


class Ceiling:
    """The loop in a process of its own, which idles between measurements and ends with the block.

    Args:
        bundle: the model it runs.
        photos: encoded.

    Attributes:
        facts: `single_ms`, the median milliseconds of one image alone; `batch`, images per batch; `engine`.
    """

    def __init__(self, bundle: Path, photos: list[bytes]) -> None:
        self._bundle, self._photos = bundle, photos
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="sightline-ceiling-")
        for index, photo in enumerate(self._photos):
            (Path(self._folder.name) / str(index)).write_bytes(photo)
        command = [sys.executable, "-m", "loadtests.bench.ceiling", str(self._bundle), self._folder.name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.facts = self._answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()  # the process ends with its standard input
        self._folder.cleanup()

    def measure(self, seconds: float) -> dict[str, float]:
        """Runs the loop; returns `rate` in images per second and `cpu_ms` per image."""
        assert self._process.stdin is not None  # noqa: S101
        print(seconds, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the loop without a server ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def main() -> None:
    """Runs in the process of `Ceiling`."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.ceiling", description=__doc__)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    parsed = parser.parse_args()
    photos = [
        file.read_bytes() for file in sorted(parsed.photos.iterdir(), key=lambda file: (len(file.name), file.name))
    ]
    bundle, cores = load_bundle(parsed.bundle), len(os.sched_getaffinity(0))
    engine = load_engine(bundle, "auto", cores, _LIMITS, streams=cores)
    warm(engine, bundle.manifest.preprocessing.shape, max(_BATCHES))
    single_ms = _single(engine, photos)
    trials = {size: _throughput(engine, photos, size, cores, _TRIAL_S)[0] for size in _BATCHES}
    best = max(trials, key=lambda size: trials[size])
    print(json.dumps({"single_ms": single_ms, "batch": best, "engine": engine.description}), flush=True)
    for line in sys.stdin:
        rate, cpu_ms = _throughput(engine, photos, best, cores, float(line))
        print(json.dumps({"rate": rate, "cpu_ms": cpu_ms}), flush=True)


def _classify(engine: ServingEngine, batch: list[bytes]) -> None:
    engine.infer_prepared([engine.prepare(decode(photo, _LIMITS).pixels) for photo in batch])


def _single(engine: ServingEngine, photos: list[bytes]) -> float:
    times: list[float] = []
    end = time.perf_counter() + _SINGLE_S
    for photo in cycle(photos):
        started = time.perf_counter()
        if started > end:
            return 1000 * statistics.median(times)
        _classify(engine, [photo])
        times.append(time.perf_counter() - started)
    raise AssertionError("cycle ends only where there are no photos")


def _throughput(
    engine: ServingEngine, photos: list[bytes], size: int, threads: int, seconds: float
) -> tuple[float, float]:
    counts = [0] * threads
    end = time.perf_counter() + seconds

    def work(index: int) -> None:
        mine = cycle(photos[index::threads])
        while time.perf_counter() < end:
            _classify(engine, list(islice(mine, size)))
            counts[index] += size

    workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
    started, cpu = time.perf_counter(), time.process_time()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - started), 1000 * (time.process_time() - cpu) / sum(counts)


if __name__ == "__main__":
    main()
