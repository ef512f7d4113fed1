"""`python -m loadtests.studies.explaining`: what explanations cost `/classify`, for decision 23.

The service runs as shipped. Its capacity is measured with 64 clients in a closed loop. Then requests arrive as a
Poisson process at half of that, in pairs of rounds with the same arrivals: one while the lane of explanations is busy
all the time, one while it is idle; which comes first alternates. The last line is JSON.
"""

import argparse
import json
import statistics
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console

from loadtests.bench.corpus import photos
from loadtests.bench.openloop import Measured, measure
from loadtests.bench.processes import ServerFailed, post
from loadtests.bench.sightline import Sightline, running
from loadtests.bench.wrk import wrk

_CLIENTS = 64
_CAPACITY_S = 10
_OCTETS = "application/octet-stream"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.studies.explaining", description=__doc__)
    parser.add_argument("--photos", type=Path, help="a folder of photos (default: rendered ones)")
    parser.add_argument("--arch", default="mobilenet_v2", help="the network (default: mobilenet_v2)")
    parser.add_argument("--pairs", type=int, default=10, help="number of pairs of rounds (default: 10)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of a round (default: 20)")
    parser.add_argument("--method", default="occlusion", choices=("cam", "occlusion"), help="default: occlusion")
    parsed = parser.parse_args()
    console = Console(soft_wrap=True, markup=False, highlight=False)
    bodies = list(photos(parsed.photos).values())
    with running(parsed.arch, parsed.photos, console) as sightline:
        found = wrk(_CLIENTS, _CAPACITY_S, sightline.load)
        capacity = found["requests"] / found["seconds"]
        rate = capacity / 2
        console.print(f"Capacity {capacity:.0f} requests/s; rounds at {rate:.0f}.")
        lane = _Lane(sightline, f"/explain?method={parsed.method}")
        lane.ask()  # starts the process
        pairs = []
        for number in range(parsed.pairs):
            rounds: dict[str, Measured] = {}
            for name in ("busy", "idle") if number % 2 else ("idle", "busy"):
                rounds[name] = _round(sightline, bodies, rate, parsed.seconds, number, lane if name == "busy" else None)
            pairs.append({name: _figures(found) for name, found in rounds.items()})
            console.print(
                f"{number + 1:>3}  p50 {pairs[-1]['idle']['p50']:.2f} → {pairs[-1]['busy']['p50']:.2f} ms, "
                f"p99 {pairs[-1]['idle']['p99']:.2f} → {pairs[-1]['busy']['p99']:.2f} ms"
            )
    report = {"arch": parsed.arch, "method": parsed.method, "capacity": capacity, "rate": rate, "pairs": pairs}
    report["explanations"] = dict(lane.statuses)
    for percentile in ("p50", "p99"):
        ratios = sorted(pair["busy"][percentile] / pair["idle"][percentile] for pair in pairs)
        report[f"{percentile}_ratio"] = {"median": statistics.median(ratios), "low": ratios[0], "high": ratios[-1]}
        console.print(
            f"{percentile} with a busy lane ÷ with an idle one: median {statistics.median(ratios):.3f} "
            f"({ratios[0]:.3f} to {ratios[-1]:.3f})"
        )
    console.print(json.dumps(report))


class _Lane:
    """Asks for explanations, one after the other."""

    def __init__(self, sightline: Sightline, path: str) -> None:
        self._sightline = sightline
        self._path = path
        self.statuses: Counter[int] = Counter()

    def ask(self) -> None:
        """Asks once."""
        status, body = post(self._sightline.port, self._path, self._sightline.photo, _OCTETS)
        if status not in (200, 503, 504):
            raise ServerFailed(f"{self._path} answered {status}: {body[:300]!r}")
        self.statuses[status] += 1

    def keep_busy(self, over: threading.Event) -> None:
        """Asks until it is over."""
        while not over.is_set():
            self.ask()


def _round(
    sightline: Sightline, bodies: list[bytes], rate: float, seconds: float, seed: int, lane: _Lane | None
) -> Measured:
    over = threading.Event()
    thread = threading.Thread(target=lane.keep_busy, args=(over,)) if lane else None
    if thread:
        thread.start()
    try:
        time.sleep(0.5)  # both kinds of rounds begin with a rest
        url = f"http://127.0.0.1:{sightline.port}/classify"
        found = measure(url, bodies, rate, round(rate * seconds), seed)
    finally:
        over.set()
        if thread:
            thread.join()
    if found.failed:
        raise ServerFailed(f"{found.failed} requests failed: {found.statuses}")
    return found


def _figures(found: Measured) -> dict[str, Any]:
    return {"p50": found.percentile(50), "p99": found.percentile(99), "late_ms": found.late_ms}


if __name__ == "__main__":
    main()
