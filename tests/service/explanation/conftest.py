"""A lane of explanations of its own for each test, and what is known of its process from outside."""

import asyncio
import fcntl
import os
import shutil
import signal
import struct
import termios
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client import CollectorRegistry

from service.explanation.lane import Lane
from service.http.api import create_api
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.service.conftest import NOISE, Served
from vision.bundle.store import Bundle, load_bundle

ROOT = Path(__file__).resolve().parents[3]


KINDS = ["explain", "activations", "inspect"]


def workers(above: int | None = None) -> set[int]:
    """The explaining processes that run below a process."""
    found = set()
    for process in psutil.Process(above).children():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and "service.explanation" in process.cmdline():
                found.add(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what another process or thread does."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def is_halted(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


def unread(pid: int) -> int:
    """Bytes that wait in the pipe of a process's standard input."""
    pipe = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK)
    try:
        return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]
    finally:
        os.close(pipe)


class Explaining:
    """A lane of its own, the API in front of it, and what both count."""

    def __init__(self, served: Served, bundle: Bundle, engine: str, **settings: object) -> None:
        self._served = served
        self._others = workers()
        self._registry = CollectorRegistry()
        metrics, chosen = Metrics(self._registry), Settings(**{"explain_timeout_s": 25, **settings})
        self.lane = Lane(bundle, engine, chosen, metrics)
        self._api = create_api(served.classifier, self.lane, chosen, metrics)

    @property
    def processes(self) -> set[int]:
        return workers() - self._others

    @property
    def process(self) -> int:
        (pid,) = self.processes
        return pid

    def run(self, scenario: Callable[[httpx.AsyncClient], Awaitable]) -> object:
        async def whole() -> object:
            transport = httpx.ASGITransport(self._api)
            async with httpx.AsyncClient(transport=transport, base_url="http://sightline") as client:
                return await scenario(client)

        return self._served.run(lambda client: whole())

    def post(self, image: bytes, path: str = "/explain") -> httpx.Response:
        return self.run(lambda client: client.post(path, content=image))

    def counted(self, name: str, **labels: str) -> float:
        return self._registry.get_sample_value(f"sightline_{name}", labels) or 0.0

    async def asked(self, pid: int) -> None:
        """Waits until a question has been written to a process that was stopped before."""
        await until(lambda: self.counted("explaining") == 1 and unread(pid) > 0)


@pytest.fixture
def start(served) -> Iterator[Callable[..., Explaining]]:
    """Makes a lane: start(bundle, engine, **settings); at the end nothing of it is left."""
    made: list[Explaining] = []

    def make(bundle: Bundle | None = None, engine: str = "openvino-f32", **settings: object) -> Explaining:
        made.append(Explaining(served, bundle or served.classifier.bundle, engine, **settings))
        return made[-1]

    yield make
    for one in made:
        for pid in one.processes:
            os.kill(pid, signal.SIGCONT)
        one.lane.stop()
        one.lane.stop()  # of a test that has found a process behind the first stop


@pytest.fixture(scope="module")
def png(digit, encoded) -> bytes:
    return encoded(digit(7), "PNG")


@pytest.fixture(scope="module")
def images(png, encoded) -> dict[str, bytes]:
    """One that fits into a pipe, and one of which a part waits until the process reads."""
    large = encoded(NOISE, "JPEG", quality=98)
    assert len(png) < 65_536 < 2 * 65_536 < len(large)
    return {"small": png, "large": large}


@pytest.fixture
def copied(models, tmp_path) -> Bundle:
    """A bundle whose folder a test may change."""
    return load_bundle(shutil.copytree(models / "digits" / "1", tmp_path / "models" / "digits" / "1"))
