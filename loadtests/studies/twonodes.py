"""`python -m loadtests.studies.twonodes`: a Ray cluster of two nodes, one of which is cut off under load.

For decision 1.

Both nodes run on this machine, each in a network namespace of its own, with deploy/serve.yaml and one replica each,
behind an edge with the shipped configuration. Needs root and `ip` (Debian's iproute2). While clients send requests, the
worker's link goes down; then, with a new cluster, the head's. Prints how many requests failed, and for how long. The
last line is JSON.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml
from rich.console import Console

from loadtests.bench.corpus import photos
from loadtests.bench.machine import CACHE, ROOT
from loadtests.bench.networks import prepare
from loadtests.edge import haproxy
from service.local.processes import RUN_VARIABLE, begin_run, end_run
from service.ray.environment import ray_serve_environment

_NETWORK = "10.199.77"
_BRIDGE = "sightline-br"
_READY_S = 120.0
_CALM_S = 5.0  # without a failure, before a node is cut off
_WATCHED_S = 150.0  # Ray declares a silent node dead after some tens of seconds


@dataclass(frozen=True)
class Node:
    """One network namespace with its own address.

    Attributes:
        name: of the namespace.
        number: last part of its address.
        folder: for Ray's logs.
    """

    name: str
    number: int
    folder: Path

    @property
    def address(self) -> str:
        """The address of its only interface."""
        return f"{_NETWORK}.{self.number}"

    @property
    def link(self) -> str:
        """The host's end of its virtual cable."""
        return f"sl-{self.number}"

    def start(self, environment: dict[str, str], *arguments: str) -> None:
        """Runs `ray start --block` in it."""
        command = [_tool("ray"), "start", "--block", f"--node-ip-address={self.address}", "--num-cpus=2", *arguments]
        with (self.folder / "ray.log").open("wb") as log:
            command = ["ip", "netns", "exec", self.name, *command]
            subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


@dataclass
class Record:
    """The clients' results."""

    ok: list[float] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)

    def since(self, moment: float) -> dict[str, Any]:
        """Counts since a time, and the seconds from then to the last failure."""
        failures = [(at, what) for at, what in self.failed if at >= moment]
        return {
            "answered": sum(at >= moment for at in self.ok),
            "answered_in_the_last_10_s": sum(at >= time.monotonic() - 10 for at in self.ok),
            "failed": len(failures),
            "last_failure_after_s": round(failures[-1][0] - moment, 1) if failures else None,
            "kinds": sorted({what for _, what in failures}),
        }


def main() -> None:
    """Cuts the nodes off, and prints the results."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.studies.twonodes", description=__doc__)
    parser.add_argument("--photos", type=Path, help="a folder of photos (default: rendered ones)")
    parser.add_argument("--arch", default="mobilenet_v2")
    parser.add_argument("--clients", type=int, default=8)
    parsed = parser.parse_args()
    if os.geteuid() != 0 or shutil.which("ip") is None:
        sys.exit("This needs root and `ip`; install iproute2 and run it as root.")
    console = Console(soft_wrap=True, markup=False, highlight=False)
    corpus = photos(parsed.photos)
    models = prepare(
        parsed.arch, corpus, CACHE / ("real" if parsed.photos else "rendered"), console
    ).bundle.parent.parent
    report: dict[str, Any] = {}
    for index, victim in ((1, "worker"), (0, "head")):
        with _cluster(models, console) as nodes, _edge(nodes) as url, _clients(url, corpus, parsed.clients) as record:
            _calm(record)
            begun = time.monotonic()
            _ip("link", "set", nodes[index].link, "down")
            time.sleep(_WATCHED_S)
            report[f"{victim} cut off"] = record.since(begun)
            console.print(f"{victim} cut off: {report[f'{victim} cut off']}")
    console.print(json.dumps(report))


def serve_config(models: Path) -> dict[str, Any]:
    """The shipped Serve configuration for a models folder, with a replica on each of two nodes."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "serve.yaml").read_text())
    config["applications"][0]["args"] |= {"models_dir": str(models.absolute()), "num_replicas": 2, "max_replicas": 0}
    return config


@contextlib.contextmanager
def _cluster(models: Path, console: Console) -> Iterator[list[Node]]:
    """Runs two nodes that serve while the block runs."""
    with tempfile.TemporaryDirectory(prefix="sightline-nodes-") as name, contextlib.ExitStack() as stack:
        nodes = []
        _ip("link", "add", _BRIDGE, "type", "bridge")
        stack.callback(_ip, "link", "del", _BRIDGE)
        _ip("addr", "add", f"{_NETWORK}.254/24", "dev", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")
        for number in (1, 2):
            node = Node(f"sightline-{number}", number, Path(name) / str(number))
            node.folder.mkdir()
            nodes.append(stack.enter_context(_namespace(node)))
        head = nodes[0]
        mark = begin_run()
        stack.callback(end_run, mark)
        environment = os.environ | ray_serve_environment()
        environment |= {RUN_VARIABLE: str(mark), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(32).hex()}
        port = "6399"
        console.print("Starting Ray on both…")
        ways = (
            ("--head", f"--port={port}", "--dashboard-host=0.0.0.0", f"--temp-dir={name}/ray"),
            (f"--address={head.address}:{port}",),
        )
        for node, arguments in zip(nodes, ways, strict=True):
            node.start(environment, *arguments)
            time.sleep(8)  # a worker that starts too early gives up
        file = Path(name) / "serve.yaml"
        file.write_text(yaml.safe_dump(serve_config(models)))
        command = [
            "ip",
            "netns",
            "exec",
            head.name,
            _tool("serve"),
            "deploy",
            "--address",
            f"http://{head.address}:8265",
            str(file),
        ]
        subprocess.run(command, env=environment, check=True)
        for node in nodes:
            _wait_until_ready(node)
        console.print("Both answer.")
        yield nodes


@contextlib.contextmanager
def _namespace(node: Node) -> Iterator[Node]:
    _ip("netns", "add", node.name)
    try:
        _ip("link", "add", node.link, "type", "veth", "peer", "name", "eth0", "netns", node.name)
        _ip("link", "set", node.link, "master", _BRIDGE, "up")
        _ip("-n", node.name, "addr", "add", f"{node.address}/24", "dev", "eth0")
        for interface in ("lo", "eth0"):
            _ip("-n", node.name, "link", "set", interface, "up")
        yield node
    finally:
        _ip("link", "del", node.link)
        _ip("netns", "del", node.name)


@contextlib.contextmanager
def _edge(nodes: list[Node]) -> Iterator[str]:
    """Runs the edge in front of the nodes."""
    servers = "\n".join(f"    server node{node.number} {node.address}:8000" for node in nodes)
    shipped = "    server gpu service-gpu:8000\n    server cpu service:8000 backup"
    limits: dict[str, str | int] = {
        "EDGE_TLS": "",
        "SIGHTLINE_MAX_BODY_BYTES": 32 * 2**20,
        "EDGE_CONNECTIONS": 2048,
        "EDGE_CONNECTIONS_PER_ADDRESS": 1000,
    }
    with (
        tempfile.TemporaryDirectory(prefix="sightline-edge-") as name,
        haproxy(Path(name), [(shipped, servers)], limits) as port,
    ):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _clients(url: str, corpus: dict[str, bytes], count: int) -> Iterator[Record]:
    """Runs clients that post photos one after another, each after the answer to the last."""
    record, over, bodies = Record(), threading.Event(), list(corpus.values())

    def ask(first: int) -> None:
        index = first
        with httpx.Client(timeout=20) as session:
            while not over.wait(0.02):
                index += count
                try:
                    status = session.post(f"{url}/classify", content=bodies[index % len(bodies)]).status_code
                except httpx.HTTPError as error:
                    status = 0
                    record.failed.append((time.monotonic(), type(error).__name__))
                if status == 200:
                    record.ok.append(time.monotonic())
                    continue
                if status:
                    record.failed.append((time.monotonic(), str(status)))
                over.wait(0.5)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield record
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _calm(record: Record) -> None:
    """Waits until no request has failed for a while, at most three minutes."""
    begun = time.monotonic()
    while time.monotonic() - begun < 180:
        time.sleep(1)
        quiet_since = max(begun, record.failed[-1][0] if record.failed else begun)
        if time.monotonic() - quiet_since > _CALM_S:
            return


def _wait_until_ready(node: Node) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"http://{node.address}:8000/health/ready", timeout=2).status_code == 200:
                return
        time.sleep(1)
    raise RuntimeError(
        f"{node.name} was not ready after {_READY_S:.0f} s: {(node.folder / 'ray.log').read_text()[-2000:]}"
    )


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


if __name__ == "__main__":
    main()
