"""`python -m service run`: the service on this machine, in the foreground, leaving nothing behind.

Two processes. The supervisor, which a person sees, starts the cluster process in a session of its own (so that Ctrl-C reaches
the supervisor only, not Ray and HAProxy in the middle of an answer), prints the request log, and sweeps up at the end. The
cluster process holds Ray and Serve.
"""

import contextlib
import http.client
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from rich.console import Console

from service.local.processes import RUN_VARIABLE, RunMark, begin_run, die_with_parent, end_orphans, end_run, own_terminal_group
from service.settings import PREFIX, Settings
from vision.bundle.store import find_bundle, load_bundle
from vision.errors import SightlineError

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
_START_TIMEOUT_S = 120.0
_PORTS = range(20_000, 30_000)


class PortTaken(SightlineError):
    """Somebody listens on the port already."""

    code = "port_taken"


class StartFailed(SightlineError):
    """The cluster process ended, or did not become ready in time."""

    code = "start_failed"


def supervise(settings: Settings, console: Console, *, with_parent: bool) -> None:
    """Serves until SIGINT or SIGTERM.

    Args:
        settings: of the service.
        console: where progress and the ready lines are shown.
        with_parent: whether to stop when the process that started this one ends.

    Raises:
        SightlineError: the bundle, the port or the start is refused.
    """
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    if with_parent:
        die_with_parent()
    started = time.monotonic()
    if orphans := end_orphans():
        console.print(f"Ended {orphans} processes of a run that was killed.")
    bundle = load_bundle(find_bundle(settings.models_dir, settings.model))
    _check_port(settings.host, settings.port)
    if settings.metrics_port:
        _check_port("127.0.0.1", settings.metrics_port, "metrics_port")
    mark = begin_run()
    console.print(f"Serving {bundle.manifest.name}/{bundle.manifest.version} ({bundle.digest}); this takes 10 to 25 s.")
    try:
        with own_terminal_group():
            _supervise_cluster(settings, mark, stopping, console, started)
    finally:
        end_run(mark)


def _supervise_cluster(settings: Settings, mark: RunMark, stopping: threading.Event, console: Console, started: float) -> None:
    log = settings.log_file or mark.folder / "requests"
    if settings.log_file is None:
        os.mkfifo(log)
        threading.Thread(target=_copy_lines, args=(log,), daemon=True).start()
    metrics_port = settings.metrics_port or free_ports(1)[0]
    settings = settings.model_copy(
        update={"log_file": log.absolute(), "models_dir": settings.models_dir.absolute(), "metrics_port": metrics_port}
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | _ray_environment(mark)
    cluster = subprocess.Popen(
        [sys.executable, "-m", "service.local.cluster", settings.model_dump_json()],
        env=environment,
        start_new_session=True,
        stdin=subprocess.PIPE,
    )
    assert cluster.stdin is not None  # noqa: S101
    grace_s = 0.0  # until it is ready nothing is in flight
    try:
        with console.status("Starting Ray Serve…"):
            _wait_until_ready(settings, cluster, stopping)
        if not stopping.is_set():
            grace_s = settings.request_timeout_s + 20
            _print_addresses(settings, console, time.monotonic() - started)
        while not stopping.wait(0.2):
            if cluster.poll() is not None:
                raise StartFailed(f"The cluster process ended with status {cluster.returncode}; its output is above.")
        console.print("Stopping…")
    finally:
        cluster.stdin.close()  # tells it to stop
        with contextlib.suppress(subprocess.TimeoutExpired):
            cluster.wait(timeout=grace_s)


def _wait_until_ready(settings: Settings, cluster: "subprocess.Popen[bytes]", stopping: threading.Event) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not stopping.wait(0.1):
        if cluster.poll() is not None:
            raise StartFailed("The service did not become ready; the reason is above.")
        if _is_ready(settings):
            return
        if time.monotonic() > deadline:
            raise StartFailed(f"The service was not ready after {_START_TIMEOUT_S:.0f} s.")


def _is_ready(settings: Settings) -> bool:
    host = "127.0.0.1" if settings.host in _EVERYWHERE else settings.host
    connection = http.client.HTTPConnection(host, settings.port, timeout=2)
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
    console.print(f"Ready after {seconds:.1f} s.")
    console.print(f"  page     {_url(settings, '/')}")
    console.print(f"  try      curl --data-binary @{sample} {_url(settings, '/classify')}")
    console.print(f"  metrics  http://127.0.0.1:{settings.metrics_port}/metrics")
    console.print("Ctrl-C stops it. One line a request follows.")


def _url(settings: Settings, path: str) -> str:
    host = "127.0.0.1" if settings.host in _EVERYWHERE else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}{path}"


def _check_port(host: str, port: int, setting: str = "port") -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            other = "PORT=8001 make serve, or SIGHTLINE_PORT=8001" if setting == "port" else f"{PREFIX}{setting.upper()}=0 for a free one"
            raise PortTaken(
                f"Port {port} on {host} cannot be listened on ({error.strerror}). Stop what uses it, or take another: {other}."
            ) from error


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, on any interface.

    From below the range that the system takes outgoing connections' ports from: one of those may be gone again in the
    seconds until HAProxy binds it. And from below 30000, where Ray's replicas begin to listen.
    """
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        if len(found) == count:
            break
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            found.append(port)
    return found


def ray_serve_environment() -> dict[str, str]:
    """How Ray Serve is to work, wherever it runs: Ray reads these when it is imported, in every process of a cluster."""
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "service.ray.ingress:ray_middlewares",
        "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "2",
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",  # a datagram a request, parsed in Python
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def _ray_environment(mark: RunMark) -> dict[str, str]:
    """The same for one machine, with what belongs to this run."""
    stats, haproxy_metrics, fallback_http, fallback_grpc = free_ports(4)
    return ray_serve_environment() | {
        RUN_VARIABLE: str(mark),
        # Whoever reaches Ray's ports needs this: a secret of the run's own, which only its processes know.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # HAProxy's files and ports belong to the run, so that two services can run side by side.
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{mark.folder}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{mark.folder}/admin.sock",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{mark.folder}/metrics.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(mark.folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{mark.folder}/server-state",
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(haproxy_metrics),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback_http),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_grpc),
        # There is one machine and it stops as a whole: a drained replica need not wait for other nodes to notice.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0.2",
        # What follows halves what Ray's processes cost, idle and under load (docs/adr/0014).
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",  # more only spin on the cores that the engine needs
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "2000",
        "RAY_task_events_report_interval_ms": "0",  # nobody lists Ray's tasks
        "RAY_event_stats": "0",
        "RAY_gcs_pull_resource_loads_period_milliseconds": "5000",
    }


def _copy_lines(pipe: Path) -> None:
    """The request log, to standard output. Opened for writing too, so that it never ends with a writer."""
    with os.fdopen(os.open(pipe, os.O_RDWR), "r") as lines:
        for line in lines:
            sys.stdout.write(line)
            sys.stdout.flush()
