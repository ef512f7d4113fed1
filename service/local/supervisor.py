"""`sightline serve`: the service on this machine, in the foreground, leaving nothing behind.

Two processes. The supervisor, which a person sees, starts the cluster process in a session of its own, so that Ctrl-C
reaches the supervisor only and does not end Ray and HAProxy in the middle of an answer. It prints the request log and
ends whatever is left. The cluster process holds Ray and Serve.
"""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from rich.console import Console

from service.local.environment import run_environment
from service.local.estimate import last_start_s, remember_start_s
from service.local.ports import EVERY_INTERFACE, can_listen, check_port, free_ports
from service.local.processes import RunMark, begin_run, die_with_parent, end_orphans, end_run, own_terminal_group
from service.settings import PREFIX, Settings
from vision.bundle.store import find_bundle, load_bundle
from vision.errors import SightlineError
from vision.hardware import gpu_devices, has_torch

DEMO = Path(__file__).parents[1] / "demo"
"""The models folder that is served if there is no other: one small model, which reads handwritten digits."""

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
_START_TIMEOUT_S = 120.0


class StartFailed(SightlineError):
    """The cluster process ended, or did not become ready in time."""

    code = "start_failed"


class Stopping:
    """Whether a signal has asked for the end.

    Not a threading.Event: a handler runs in the main thread, and if the signal comes while that thread holds the
    Event's lock inside `wait`, `set` waits for the lock for ever.
    """

    def __init__(self) -> None:
        self._asked = False

    def set(self) -> None:
        """Called by the signal's handler."""
        self._asked = True

    def is_set(self) -> bool:
        """Whether it was asked for."""
        return self._asked

    def wait(self, seconds: float) -> bool:
        """Sleeps, unless it was asked for already; returns whether it was asked for by then."""
        if not self._asked:
            time.sleep(seconds)
        return self._asked


def supervise(settings: Settings, console: Console, *, with_parent: bool) -> None:
    """Serves until SIGINT or SIGTERM.

    Args:
        settings: of the service.
        console: where progress and addresses are shown.
        with_parent: whether to stop when the process that started this one ends.

    Raises:
        SightlineError: the bundle, the port or the start is refused.
    """
    stopping = Stopping()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    if with_parent:
        die_with_parent()
    started = time.monotonic()
    if orphans := end_orphans():
        console.print(f"Ended {orphans} processes of a run that was killed.")
    settings = _resolved(settings, console)
    bundle = load_bundle(find_bundle(settings.models_dir, settings.model))
    check_port(
        settings.host, settings.port, "choose another: PORT=8001 make serve, or SIGHTLINE_PORT=8001 sightline serve"
    )
    mark = begin_run()
    console.print(f"Serving {bundle.id.name}/{bundle.id.version} ({bundle.digest}). {_estimate()}")
    try:
        with own_terminal_group():
            _supervise_cluster(settings, mark, stopping, console, started)
    finally:
        end_run(mark)


def _resolved(settings: Settings, console: Console) -> Settings:
    """The settings with absolute paths, the demo if there is no model, and the metrics port; says what it chose."""
    models_dir = settings.models_dir
    if settings.model is None and _holds_nothing(models_dir, given="models_dir" in settings.model_fields_set):
        console.print(f"There is no model in {models_dir}: serving the demo, which reads handwritten digits.")
        models_dir = DEMO
    if settings.engine == "auto" and gpu_devices() and not has_torch():
        console.print(
            "This machine has a GPU, but torch is not installed, so the service runs on the CPU. "
            "`make install` or pip install '.[gpu]' adds it."
        )
    return settings.model_copy(
        update={"models_dir": models_dir.absolute(), "metrics_port": _metrics_port(settings, console)}
    )


def _holds_nothing(models_dir: Path, given: bool) -> bool:
    """Whether a models folder is empty, or the default one is missing. A wrong path or layout is refused instead."""
    try:
        return all(entry.name.startswith(".") for entry in models_dir.iterdir())
    except FileNotFoundError:
        return not given
    except OSError:  # `find_bundle` says why
        return False


def _metrics_port(settings: Settings, console: Console) -> int:
    """The port of the setting; a free one if that is 0, or if nobody chose it and it is taken.

    Ray listens on every interface there.
    """
    port = settings.metrics_port
    if port and "metrics_port" in settings.model_fields_set:
        check_port(EVERY_INTERFACE, port, f"set {PREFIX}METRICS_PORT to another port, or to 0 for a free one")
        return port
    if port and can_listen(port):
        return port
    (free,) = free_ports(1)
    if port:
        console.print(f"Port {port} is taken; the metrics are on port {free}.")
    return free


def _estimate() -> str:
    seconds = last_start_s()
    return "This is the first start here." if seconds is None else f"The last start here took {seconds:.0f} s."


def _supervise_cluster(settings: Settings, mark: RunMark, stopping: Stopping, console: Console, started: float) -> None:
    log = settings.log_file or mark.folder / "requests"
    if settings.log_file is None:
        os.mkfifo(log)
        threading.Thread(target=_copy_lines, args=(log,), daemon=True).start()
    settings = settings.model_copy(update={"log_file": log.absolute()})
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | run_environment(
        mark
    )
    cluster = subprocess.Popen(
        [sys.executable, "-m", "service.local.cluster", settings.model_dump_json()],
        env=environment,
        start_new_session=True,
        stdin=subprocess.PIPE,
    )
    assert cluster.stdin is not None  # noqa: S101
    grace_s = 0.0  # until the service is ready, no request is in flight
    try:
        with console.status("Starting Ray Serve…"):
            _wait_until_ready(settings, cluster, stopping)
        if not stopping.is_set():
            grace_s = settings.request_timeout_s + 20
            seconds = time.monotonic() - started
            remember_start_s(seconds)
            _print_addresses(settings, console, seconds)
        while not stopping.wait(0.2):
            if cluster.poll() is not None:
                raise StartFailed(f"The cluster process ended with status {cluster.returncode}; its output is above.")
        console.print("Stopping…")
    finally:
        cluster.stdin.close()  # tells it to stop
        with contextlib.suppress(subprocess.TimeoutExpired):
            cluster.wait(timeout=grace_s)


def _wait_until_ready(settings: Settings, cluster: "subprocess.Popen[bytes]", stopping: Stopping) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not stopping.wait(0.1):
        if cluster.poll() is not None:
            raise StartFailed("The service did not become ready; the reason is above.")
        if _is_ready(settings):
            return
        if time.monotonic() > deadline:
            raise StartFailed(f"The service was not ready after {_START_TIMEOUT_S:.0f} s.")


def _is_ready(settings: Settings) -> bool:
    connection = http.client.HTTPConnection(_reachable(settings.host), settings.port, timeout=2)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _print_addresses(settings: Settings, console: Console, seconds: float) -> None:
    sample = Path(__file__).parents[1] / "http" / "page" / "sample.png"
    with contextlib.suppress(ValueError):
        sample = sample.relative_to(Path.cwd())
    host = _reachable(settings.host)
    address = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    console.print(f"Ready after {seconds:.1f} s.")
    console.print(f"  page     {address}/")
    console.print(f"  try      curl --data-binary @{sample} {address}/classify")
    console.print(f"  metrics  http://127.0.0.1:{settings.metrics_port}/metrics")
    console.print("Ctrl-C stops it. One line per request follows.")


def _reachable(host: str) -> str:
    """An address at which this machine reaches itself."""
    return "127.0.0.1" if host in _EVERYWHERE else host


def _copy_lines(pipe: Path) -> None:
    """Prints the request log. Opens the pipe for writing too, so that it does not end when a replica does."""
    with os.fdopen(os.open(pipe, os.O_RDWR), "r") as lines:
        for line in lines:
            sys.stdout.write(line)
            sys.stdout.flush()
