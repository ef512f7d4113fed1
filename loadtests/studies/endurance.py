"""`python -m loadtests.studies.endurance`: a replica's memory over many requests, and its recovery after a kill.

For decision 6.

The service runs as shipped. Memory is the replica's unique set size, read while the service idles: after a warm-up, and
after each tenth of the requests. Then the replica is killed several times, and the time until its successor answers a
photo is measured: in total, and from the start of the successor's process. The last line is JSON.
"""

import argparse
import contextlib
import http.client
import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from loadtests.bench.contenders import SIGHTLINE
from loadtests.bench.processes import ServerFailed, post
from loadtests.bench.sightline import Sightline, running
from loadtests.bench.wrk import wrk

_WARMING = 2_000  # requests, after which buffers for every batch size exist
_PARTS = 10
_CLIENTS = 16
_SLICE_S = 10
_REPLACED_S = 60.0


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.studies.endurance", description=__doc__)
    parser.add_argument("--photos", type=Path, help="a folder of photos (default: rendered ones)")
    parser.add_argument("--arch", default="mobilenet_v2")
    parser.add_argument("--requests", type=int, default=100_000, help="how many, at least (default: 100,000)")
    parser.add_argument("--kills", type=int, default=5)
    parsed = parser.parse_args()
    console = Console(soft_wrap=True, markup=False, highlight=False)
    with running(parsed.arch, parsed.photos, console) as sightline:
        report: dict[str, Any] = {"arch": parsed.arch, "memory": _memory(sightline, parsed.requests, console)}
        report["replaced"] = [_replaced(sightline) for _ in range(parsed.kills)]
    for one in report["replaced"]:
        console.print(
            f"Answering again after {one['seconds']:.1f} s, {one['of_its_process_s']:.1f} s after its process began."
        )
    console.print(json.dumps(report))


def _memory(sightline: Sightline, requests: int, console: Console) -> list[dict[str, int]]:
    """Bytes of memory by number of requests."""
    done = -_WARMING
    found: list[dict[str, int]] = []
    while done < requests:
        got = wrk(_CLIENTS, _SLICE_S, sightline.load)
        if got["failed"]:
            raise ServerFailed(f"{got['failed']} requests failed: {sightline.server.said()}")
        done += got["requests"]
        if done >= len(found) * requests / _PARTS:
            found.append({"requests": max(done, 0), "bytes": sightline.replica.memory_full_info().uss})
            grown = (found[-1]["bytes"] - found[0]["bytes"]) / 1e6
            console.print(
                f"{found[-1]['requests']:>8} requests: {found[-1]['bytes'] / 1e6:.1f} MB, grown by {grown:.1f}"
            )
    return found


def _replaced(sightline: Sightline) -> dict[str, float]:
    """Seconds from the replica's end to the next answer, and from the start of the process that gave it."""
    victim = sightline.replica
    victim.kill()
    started = time.time()
    victim.wait()
    while time.time() - started < _REPLACED_S:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if post(sightline.port, SIGHTLINE.path, sightline.photo, SIGHTLINE.body.content_type)[0] == 200:
                now = time.time()
                return {"seconds": now - started, "of_its_process_s": now - sightline.replica.create_time()}
        time.sleep(0.05)
    raise ServerFailed(f"There was no new replica after {_REPLACED_S:.0f} s: {sightline.server.said()}")


if __name__ == "__main__":
    main()
