"""`python -m loadtests.endurance`: how much memory a replica takes after many requests, and how soon a killed one is replaced.

The service runs as shipped. Memory is the replica's own (unique set size), read while nothing is asked, first after a warm-up and
then after every tenth part of the requests. Then the replica is killed, again and again, and the time until its successor has
answered a photo is taken: what Ray needs to notice it included. The last line is JSON.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from loadtests.bench import CACHE, ROOT, default_photos, free_port, wrk
from loadtests.contenders import SIGHTLINE
from loadtests.corpus import photos
from loadtests.networks import prepare
from loadtests.processes import Server, ServerFailed, post

_WARMING = 2_000  # requests; buffers for every batch size are there by then
_PARTS = 10
_CLIENTS = 16
_SLICE_S = 10
_REPLACED_S = 60.0


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.endurance", description=__doc__)
    parser.add_argument("--photos", type=Path, default=default_photos(), help="a folder of photos (default: rendered)")
    parser.add_argument("--arch", default="mobilenet_v2")
    parser.add_argument("--requests", type=int, default=100_000, help="how many, at least (default: 100,000)")
    parser.add_argument("--kills", type=int, default=5)
    parsed = parser.parse_args()
    console = Console(soft_wrap=True, markup=False, highlight=False)
    corpus = photos(parsed.photos)
    network = prepare(parsed.arch, corpus, CACHE / ("real" if parsed.photos else "rendered"), console)
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="sightline-endurance-") as folder,
        Server([SIGHTLINE.python, *SIGHTLINE.command(port, network)], os.environ | SIGHTLINE.environment(port, network), ROOT) as server,
    ):
        for index, photo in enumerate(corpus.values()):
            (Path(folder) / str(index)).write_bytes(photo)
        first = next(iter(corpus.values()))
        server.wait_until(port, SIGHTLINE.path, first, SIGHTLINE.body.content_type)
        load = [f"http://127.0.0.1:{port}{SIGHTLINE.path}", "--", folder, str(len(corpus)), SIGHTLINE.body.content_type]
        report: dict[str, Any] = {"arch": parsed.arch, "memory": _memory(server, load, parsed.requests, console)}
        report["replaced_s"] = [_replaced(server, port, first) for _ in range(parsed.kills)]
    console.print(f"Answering again after {', '.join(f'{seconds:.1f}' for seconds in report['replaced_s'])} s.")
    console.print(json.dumps(report))


def _memory(server: Server, load: list[str], requests: int, console: Console) -> list[dict[str, int]]:
    """After so many requests, so many bytes."""
    done, found = -_WARMING, []
    while done < requests:
        got = wrk(_CLIENTS, _SLICE_S, load)
        if got["failed"]:
            raise ServerFailed(f"{got['failed']} requests failed: {server.said()}")
        done += got["requests"]
        if done >= len(found) * requests / _PARTS:
            found.append({"requests": max(done, 0), "bytes": _replica(server).memory_full_info().uss})
            grown = (found[-1]["bytes"] - found[0]["bytes"]) / 1e6
            console.print(f"{found[-1]['requests']:>8} requests: {found[-1]['bytes'] / 1e6:.1f} MB, grown by {grown:.1f}")
    return found


def _replaced(server: Server, port: int, photo: bytes) -> float:
    """Seconds from the replica's end to the next answer."""
    victim = _replica(server)
    victim.kill()
    started = time.monotonic()
    victim.wait()
    while time.monotonic() - started < _REPLACED_S:
        try:
            if post(port, SIGHTLINE.path, photo, SIGHTLINE.body.content_type)[0] == 200:
                return time.monotonic() - started
        except OSError:
            pass
        time.sleep(0.05)
    raise ServerFailed(f"There was no new replica after {_REPLACED_S:.0f} s: {server.said()}")


def _replica(server: Server) -> psutil.Process:
    return next(process for process in server.processes() if "ServeReplica" in " ".join(process.cmdline()))


if __name__ == "__main__":
    main()
