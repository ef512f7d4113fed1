"""Runs a real Prometheus with the shipped configuration, which scrapes one service on this machine."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from service.local.ports import free_ports

_SHIPPED = Path(__file__).resolve().parents[1] / "deploy" / "prometheus"
_INTERVAL = "2s"  # instead of 15 s, because tests take minutes, not days
_READY_S = 30.0


@contextlib.contextmanager
def prometheus(metrics_port: int, folder: Path) -> Iterator[str]:
    """Runs Prometheus while the block runs; yields its address when it is ready.

    Args:
        metrics_port: of the service.
        folder: for its files.

    Raises:
        FileNotFoundError: Prometheus is not installed.
        RuntimeError: it did not become ready; the message has the end of its log.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise FileNotFoundError("prometheus is missing; install Debian's package prometheus.")
    port = free_ports(1)[0]
    shipped: dict[str, Any] = yaml.safe_load((_SHIPPED / "prometheus.yml").read_text())
    shipped["global"] = {"scrape_interval": _INTERVAL, "evaluation_interval": _INTERVAL}
    shipped["rule_files"] = [str(_SHIPPED / "rules" / "*.yml")]
    shipped["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{metrics_port}"]
    del shipped["alerting"], shipped["scrape_configs"][0]["dns_sd_configs"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(shipped))
    options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *options, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
        )
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{port}", folder / "prometheus.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/-/ready", timeout=_READY_S).status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"Prometheus did not become ready within {_READY_S} s:\n{log.read_text()[-2000:]}")
