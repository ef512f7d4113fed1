"""`make bench`: JPEG in, five labels out, for Sightline, its peers, and a bare loop on the same machine.

Every server gets the same photos and the same weights. It is started, checked for right answers, warmed, measured at 1,
16 and 64 clients, and stopped, before the next one starts; and that once per round. The loop
(`loadtests.bench.ceiling`) has no server around it. It is measured right before and right after each server's 64
clients, while that server is paused. Servers are compared by their share of the loop, because a shared machine's speed
can double within the hour, so absolute numbers cannot be compared. The last line is JSON.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from loadtests.bench.ceiling import Ceiling
from loadtests.bench.contenders import CONTENDERS, PEERS, Contender
from loadtests.bench.corpus import photos
from loadtests.bench.environments import install
from loadtests.bench.machine import CACHE, ROOT, commit, machine
from loadtests.bench.networks import Network, prepare
from loadtests.bench.processes import Server, ServerFailed, post
from loadtests.bench.results import CLIENTS, summarise, table
from loadtests.bench.wrk import wrk
from service.local.ports import free_ports

_CHECKED = 12  # photos whose answers are compared before anything is measured
_AGREEMENT = 0.9  # least share of best labels that equal the reference's
_WARM_S = 3
_ROOM = 10  # a server may take the ports after its own as well


def main() -> None:
    """Measures and prints."""
    parsed = _arguments()
    console = Console(soft_wrap=True, markup=False, highlight=False, width=None if sys.stdout.isatty() else 170)
    for tool, package in (("wrk", "wrk"), ("java", "default-jre-headless")):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing; install it, e.g. apt-get install {package}.")
    chosen = [one for one in CONTENDERS if not parsed.only or one.name in parsed.only]
    for peer in dict.fromkeys(one.peer for one in chosen if one.peer):
        install(peer, console)
    corpus = photos(parsed.photos)
    console.print(
        f"{len(corpus)} photos, {sum(map(len, corpus.values())) / len(corpus) / 1024:.0f} KiB each on average"
    )
    report: dict[str, Any] = {
        "machine": machine(),
        "commit": commit(),
        "command": " ".join(["python -m loadtests.bench.bench", *sys.argv[1:]]),
    }
    for arch in parsed.archs:
        network = prepare(arch, corpus, CACHE / ("real" if parsed.photos else "rendered"), console)
        rounds = [
            _round(chosen, network, list(corpus.values()), parsed, number, console) for number in range(parsed.rounds)
        ]
        report[arch] = summarise(rounds)
        console.print(table(arch, report[arch]))
    if parsed.json:
        parsed.json.write_text(json.dumps(report, indent=2) + "\n")
    console.print(json.dumps(report))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.bench", description=__doc__)
    parser.add_argument("--photos", type=Path, help="a folder of photos (default: rendered ones)")
    parser.add_argument(
        "--archs", type=lambda text: text.split(","), default=["mobilenet_v2", "resnet50"], help="joined with commas"
    )
    parser.add_argument("--only", type=lambda text: text.split(","), help="names of contenders, joined with commas")
    parser.add_argument("--rounds", type=int, choices=range(1, 21), default=3, metavar="1..20", help="default: 3")
    parser.add_argument(
        "--seconds",
        type=int,
        choices=range(2, 301),
        default=8,
        metavar="2..300",
        help="duration of one measurement (default: 8)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number")
    return parser.parse_args()


def _round(
    chosen: list[Contender],
    network: Network,
    corpus: list[bytes],
    parsed: argparse.Namespace,
    number: int,
    console: Console,
) -> dict[str, dict[str, Any]]:
    """Measures every contender once, in another order each time."""
    order = random.Random(number).sample(chosen, len(chosen))
    results: dict[str, dict[str, Any]] = {}
    with Ceiling(network.bundle, corpus) as ceiling:
        for contender in order:
            try:
                results[contender.name] = _measure(contender, network, corpus, parsed.seconds, ceiling)
            except ServerFailed as error:
                console.print(f"{contender.name}: {error}")
                results[contender.name] = {}
            rates = {key: f"{value:.0f}/s" for key, value in results[contender.name].items() if "rate" in key}
            console.print(f"{network.arch}, round {number + 1}, {contender.name}: {rates}")
        results["ceiling"] = ceiling.facts | ceiling.measure(parsed.seconds)
    return results


def _measure(
    contender: Contender, network: Network, corpus: list[bytes], seconds: int, ceiling: Ceiling
) -> dict[str, Any]:
    port = free_ports(1, room=_ROOM)[0]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_")}
    environment |= {"BENCH_MODEL": str(network.folder), "BENCH_BUNDLE": str(network.bundle)}
    folder = ROOT
    if contender.peer is not None:
        environment["PYTHONPATH"] = str(PEERS)
        folder = PEERS / contender.peer
    environment |= contender.environment(port, network)
    bodies = [contender.body.encode(photo) for photo in corpus]
    with (
        tempfile.TemporaryDirectory(prefix="sightline-bench-") as name,
        Server([contender.python, *contender.command(port, network)], environment, folder) as server,
    ):
        for index, body in enumerate(bodies):
            (Path(name) / str(index)).write_bytes(body)
        load = [f"http://127.0.0.1:{port}{contender.path}", "--", name, str(len(bodies)), contender.body.content_type]
        server.wait_until(port, contender.path, bodies[0], contender.body.content_type)
        result: dict[str, Any] = {"start_s": server.start_s, "idle_bytes": server.memory_bytes()}
        result["agreement"], result["difference"] = _check(contender, port, bodies, network)
        for clients in CLIENTS:
            if clients == CLIENTS[-1]:
                with server.paused():
                    around = [ceiling.measure(seconds)["rate"]]
            with server.watching_memory():
                wrk(clients, _WARM_S, load)
            server.wait_until_quiet()
            before = server.cpu_s()
            got = wrk(clients, seconds, load)
            done = got["requests"] - got["failed"]
            result |= {
                f"rate_{clients}": done / got["seconds"],
                f"p50_ms_{clients}": got["p50_ms"],
                f"p99_ms_{clients}": got["p99_ms"],
                f"cpu_ms_{clients}": 1000 * (server.cpu_s() - before) / max(done, 1),
                f"failed_{clients}": got["failed"],
            }
        with server.paused():
            around.append(ceiling.measure(seconds)["rate"])
        result["ceiling_rate"] = statistics.mean(around)
        result["peak_bytes"] = server.peak_bytes
    return result


def _check(contender: Contender, port: int, bodies: list[bytes], network: Network) -> tuple[float, float]:
    """The share of best labels that equal the reference's, and the largest difference of their scores.

    Raises:
        ServerFailed: fewer than 90 % are equal, so it does not serve the network.
    """
    expected = json.loads((network.folder / "expected.json").read_text())
    right, difference = 0, 0.0
    for index in range(0, len(bodies), max(1, len(bodies) // _CHECKED)):
        status, answer = post(port, contender.path, bodies[index], contender.body.content_type)
        if status != 200:
            raise ServerFailed(f"{contender.name} answers photo {index} with {status}: {answer[:300]!r}")
        found = contender.labels(json.loads(answer))
        label, score = expected[index]
        if len(found) != 5:
            raise ServerFailed(f"{contender.name} gave {len(found)} labels instead of 5.")
        right += found[0][0] == label
        difference = max(difference, abs(dict(found).get(label, 0.0) - score))
    count = len(range(0, len(bodies), max(1, len(bodies) // _CHECKED)))
    if right < _AGREEMENT * count:
        raise ServerFailed(f"{contender.name}: only {right} of {count} best labels are right.")
    return right / count, difference


if __name__ == "__main__":
    main()
