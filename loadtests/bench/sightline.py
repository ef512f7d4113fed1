"""Runs Sightline as shipped, with a network and photos, for measurements of Sightline alone."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console

from loadtests.bench.contenders import SIGHTLINE
from loadtests.bench.corpus import photos
from loadtests.bench.machine import CACHE, ROOT
from loadtests.bench.networks import prepare
from loadtests.bench.processes import Server
from service.local.ports import free_ports


@dataclass(frozen=True)
class Sightline:
    """A running service.

    Attributes:
        server: its processes.
        port: where it answers.
        metrics_port: where its metrics are.
        photo: one of the photos, encoded.
        load: arguments of `loadtests.bench.wrk.wrk`, to post all of them in turn.
    """

    server: Server
    port: int
    metrics_port: int
    photo: bytes
    load: list[str]

    @property
    def replica(self) -> psutil.Process:
        """The process that classifies."""
        return next(process for process in self.server.processes() if "ServeReplica" in " ".join(process.cmdline()))


@contextlib.contextmanager
def running(arch: str, folder: Path | None, console: Console) -> Iterator[Sightline]:
    """Runs Sightline while the block runs.

    Args:
        arch: of the network.
        folder: of photos; None renders them.
        console: where progress is shown.

    Raises:
        ServerFailed: it does not answer.
    """
    corpus = photos(folder)
    network = prepare(arch, corpus, CACHE / ("real" if folder else "rendered"), console)
    port, metrics_port = free_ports(2)
    environment = os.environ | SIGHTLINE.environment(port, network) | {"SIGHTLINE_METRICS_PORT": str(metrics_port)}
    with (
        tempfile.TemporaryDirectory(prefix="sightline-load-") as bodies,
        Server([SIGHTLINE.python, *SIGHTLINE.command(port, network)], environment, ROOT) as server,
    ):
        for index, photo in enumerate(corpus.values()):
            (Path(bodies) / str(index)).write_bytes(photo)
        first = next(iter(corpus.values()))
        server.wait_until(port, SIGHTLINE.path, first, SIGHTLINE.body.content_type)
        load = [f"http://127.0.0.1:{port}{SIGHTLINE.path}", "--", bodies, str(len(corpus)), SIGHTLINE.body.content_type]
        yield Sightline(server, port, metrics_port, first, load)
