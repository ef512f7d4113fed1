"""`python -m loadtests.ceiling BUNDLE PHOTOS`: the most that this machine can classify, with no server around it.

Each of as many threads as there are cores decodes, preprocesses and infers a batch, again and again, in a stream of its own; how
many images a batch should have is tried out first. One image at a time, with nothing beside it, gives the least time that an
answer can take. The last line is JSON.
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
from typing import Any

import numpy as np

from vision.bundle.store import Bundle, load_bundle
from vision.engines import Engine, load_engine, warm
from vision.image import DecodeLimits, decode

_LIMITS = DecodeLimits()
_BATCHES = (1, 2, 4, 8, 16)
_TRIAL_S = 1.5


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.ceiling", description=__doc__)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    parser.add_argument("--seconds", type=float, default=8.0)
    parsed = parser.parse_args()
    photos = [file.read_bytes() for file in sorted(parsed.photos.iterdir(), key=lambda file: (len(file.name), file.name))]
    print(json.dumps(measure(load_bundle(parsed.bundle), photos, parsed.seconds)))


def measure(bundle: Bundle, photos: list[bytes], seconds: float) -> dict[str, Any]:
    """Images a second, CPU milliseconds an image, and the median milliseconds of one image alone."""
    cores = len(os.sched_getaffinity(0))
    engine = load_engine(bundle, "auto", cores, _LIMITS, streams=cores)
    warm(engine, bundle.manifest.preprocessing.shape, max(_BATCHES))
    single_ms = _single(bundle, engine, photos, seconds / 2)
    trials = {size: _throughput(bundle, engine, photos, size, cores, _TRIAL_S)[0] for size in _BATCHES}
    best = max(trials, key=lambda size: trials[size])
    rate, cpu_ms = _throughput(bundle, engine, photos, best, cores, seconds)
    return {"rate": rate, "cpu_ms": cpu_ms, "single_ms": single_ms, "batch": best, "engine": engine.description}


def measure_apart(bundle: Path, photos: list[bytes], seconds: float) -> dict[str, Any]:
    """`measure` in a process of its own, which ends with it."""
    with tempfile.TemporaryDirectory(prefix="sightline-ceiling-") as folder:
        for index, photo in enumerate(photos):
            (Path(folder) / str(index)).write_bytes(photo)
        command = [sys.executable, "-m", "loadtests.ceiling", str(bundle), folder, "--seconds", str(seconds)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return result


def _classify(bundle: Bundle, engine: Engine, batch: list[bytes]) -> None:
    preprocessing = bundle.manifest.preprocessing
    engine.infer(np.stack([preprocessing.apply(decode(photo, _LIMITS)) for photo in batch]))


def _single(bundle: Bundle, engine: Engine, photos: list[bytes], seconds: float) -> float:
    times, end = [], time.perf_counter() + seconds
    for photo in cycle(photos):
        started = time.perf_counter()
        if started > end:
            return 1000 * statistics.median(times)
        _classify(bundle, engine, [photo])
        times.append(time.perf_counter() - started)
    raise AssertionError("cycle ends only where there are no photos")


def _throughput(bundle: Bundle, engine: Engine, photos: list[bytes], size: int, threads: int, seconds: float) -> tuple[float, float]:
    counts = [0] * threads
    end = time.perf_counter() + seconds

    def work(index: int) -> None:
        mine = cycle(photos[index::threads])
        while time.perf_counter() < end:
            _classify(bundle, engine, list(islice(mine, size)))
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
