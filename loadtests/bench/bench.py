"""`make bench`: JPEG in, five labels out: Sightline, what a user would pick instead, and the ceiling of the machine.

Every server gets the same photos and the same weights, is started, checked for right answers, warmed, measured at 1, 16 and 64
clients, and stopped, one after another; and that as often as asked for. The ceiling (`loadtests.bench.ceiling`) is a loop without a
server, measured right before and right after each server's 64 clients while that server stands still; a server's share of it is
what servers are compared by, because a shared machine is now twice as fast as then. Single times are not results. The last line
is JSON.
"""

import argparse
import json
import os
import platform
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtests.bench.ceiling import Ceiling
from loadtests.bench.contenders import CONTENDERS, PEERS, Contender
from loadtests.bench.corpus import photos
from loadtests.bench.networks import Network, prepare
from loadtests.bench.processes import Server, ServerFailed, post

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(__file__).parents[1] / ".cache"
CLIENTS = (1, 16, 64)
_CHECKED = 12  # photos whose answers are compared before anything is measured
_AGREEMENT = 0.9  # of the best labels with those of the reference
_WARM_S = 3
_PORTS = range(20_000, 29_000, 10)  # below those that outgoing connections get; a server may take the next five as well


def main() -> None:
    """Measures and prints."""
    parsed = _arguments()
    console = Console(soft_wrap=True, markup=False, highlight=False, width=None if sys.stdout.isatty() else 170)
    for tool, package in (("wrk", "wrk"), ("java", "default-jre-headless")):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing; install it, e.g. apt-get install {package}.")
    chosen = [one for one in CONTENDERS if not parsed.only or one.name in parsed.only]
    for peer in dict.fromkeys(one.peer for one in chosen if one.peer):
        _install(peer, console)
    corpus = photos(parsed.photos)
    console.print(
        f"{len(corpus)} photos, {sum(map(len, corpus.values())) / len(corpus) / 1024:.0f} KiB each in the mean"
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
        report[arch] = _summary(rounds)
        console.print(_table(arch, report[arch]))
    if parsed.json:
        parsed.json.write_text(json.dumps(report, indent=2) + "\n")
    console.print(json.dumps(report))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.bench", description=__doc__)
    parser.add_argument("--photos", type=Path, default=default_photos(), help="a folder of photos (default: rendered)")
    parser.add_argument(
        "--archs", type=lambda text: text.split(","), default=["mobilenet_v2", "resnet50"], help="joined with commas"
    )
    parser.add_argument(
        "--only", type=lambda text: text.split(","), help="names of contenders, joined with commas; the ceiling always"
    )
    parser.add_argument("--rounds", type=int, choices=range(1, 21), default=3, metavar="1..20", help="default: 3")
    parser.add_argument(
        "--seconds", type=int, choices=range(2, 301), default=8, metavar="2..300", help="a measurement (default: 8)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="every number")
    return parser.parse_args()


def _round(
    chosen: list[Contender],
    network: Network,
    corpus: list[bytes],
    parsed: argparse.Namespace,
    number: int,
    console: Console,
) -> dict[str, dict[str, Any]]:
    """One measurement of everybody, in another order each time."""
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
    port = free_port()
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
    """How many best labels are those of the reference, and the largest difference of their scores.

    Raises:
        ServerFailed: fewer than 90 %: what is served is not the network.
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


def wrk(clients: int, seconds: int, load: list[str]) -> dict[str, Any]:
    """Requests, seconds, p50_ms, p99_ms and failed of so many clients, each with one request at a time; see post.lua."""
    script = str(Path(__file__).with_name("post.lua"))
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s", "-s", script, *load]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answer: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return answer


def _install(peer: str, console: Console) -> None:
    """The peer's environment, exactly as its lock says."""
    folder = PEERS / peer
    lock, python, stamp = folder / "requirements.lock", folder / ".venv" / "bin" / "python", folder / ".venv" / "lock"
    if stamp.exists() and stamp.read_text() == lock.read_text():
        return
    console.print(f"Installing {peer}…")
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run(
        [uv, "venv", "--quiet", "--allow-existing", str(folder / ".venv"), "--python", sys.executable], check=True
    )
    subprocess.run([uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(python), str(lock)], check=True)
    if any(folder.glob("*_with_engine.py")):
        own = ["--no-deps", "--no-build-isolation-package", "sightline", "--editable", str(ROOT)]
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *own], check=True)
    stamp.write_text(lock.read_text())


def _summary(rounds: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Per contender the median of each number, of its share of the ceiling, and of Sightline's share ÷ its, with the spread."""
    names = ["ceiling", *(one.name for one in CONTENDERS if one.name in rounds[0])]
    summary: dict[str, dict[str, Any]] = {}
    for name in names:
        got = [one[name] for one in rounds if one[name]]
        if not got:
            summary[name] = {}
            continue
        # What is no number, such as an engine's name, is the same in every round.
        summary[name] = {
            key: statistics.median(one[key] for one in got) if isinstance(value, int | float) else value
            for key, value in got[0].items()
        }
        if name != "ceiling":
            summary[name]["of_ceiling"] = _spread(map(_share, got))
        if name not in ("ceiling", "Sightline"):
            # Who answered nobody at 64 clients within the time has no ratio; its row says 0.
            both = [one for one in rounds if one[name].get("rate_64") and one.get("Sightline")]
            summary[name]["sightline_is"] = _spread(_share(one["Sightline"]) / _share(one[name]) for one in both)
    return summary


def _share(result: dict[str, Any]) -> float:
    """Of what the loop did around it."""
    return float(result["rate_64"] / result["ceiling_rate"])


def _spread(values: Iterable[float]) -> dict[str, float]:
    there = sorted(values)
    return {"median": statistics.median(there), "low": there[0], "high": there[-1]} if there else {}


def _table(arch: str, summary: dict[str, dict[str, Any]]) -> Table:
    columns = (
        "requests/s at 1",
        "16",
        "64",
        "p50 ms at 1",
        "p50 at 64",
        "p99 at 64",
        "CPU ms",
        "peak MB",
        "start s",
        "÷ ceiling",
        "Sightline ÷",
    )
    table = Table(arch, *columns)
    for name, row in summary.items():
        if not row:
            table.add_row(name, "failed")
        elif name == "ceiling":
            table.add_row(
                name,
                f"{1000 / row['single_ms']:.0f}",
                "",
                f"{row['rate']:.0f}",
                f"{row['single_ms']:.2f}",
                "",
                "",
                f"{row['cpu_ms']:.2f}",
            )
        else:
            ratio = row.get("sightline_is")
            table.add_row(
                name,
                *(f"{row[f'rate_{clients}']:.0f}" for clients in CLIENTS),
                f"{row['p50_ms_1']:.2f}",
                f"{row['p50_ms_64']:.0f}",
                f"{row['p99_ms_64']:.0f}",
                f"{row['cpu_ms_64']:.2f}",
                f"{row['peak_bytes'] / 1e6:.0f}",
                f"{row['start_s']:.1f}",
                _ratio(row["of_ceiling"]),
                _ratio(ratio) if ratio else "",
            )
    return table


def _ratio(spread: dict[str, float]) -> str:
    return f"{spread['median']:.2f} ({spread['low']:.2f} to {spread['high']:.2f})" if spread else ""


def default_photos() -> Path | None:
    """The folder of photos beside the project, where there is one."""
    beside = ROOT.parent / "shared" / "data" / "photos"
    return beside if beside.is_dir() else None


def free_port() -> int:
    """A port that nobody listens on, nor on the next nine."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise RuntimeError("no port is free")


def machine() -> str:
    """In words."""
    model = next(
        (line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ""
    )
    return f"{len(os.sched_getaffinity(0))} cores of {model}, {platform.platform()}, Python {platform.python_version()}"


def commit() -> str:
    """The short hash of what is checked out."""
    return subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()


if __name__ == "__main__":
    main()
