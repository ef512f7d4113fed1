"""docker-compose.yml, brought up for real with whatever engine `docker info` reaches; skipped where it reaches none.

Images that only a registry has are replaced through the file's own variables by Debian's packages; Grafana's cannot be.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from service.local.ports import free_ports
from vision.bundle.store import load_bundle

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
STARTED = ("edge", "service", "prometheus")
PROJECT = "sightline-test"
PACKAGES = {"edge": "haproxy wget", "prometheus": "prometheus wget"}


def test_every_variable_is_explained_and_has_the_default_that_is_said() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    used = dict(re.findall(r"\$\{(\w+)(?::-([^}]*))?[^}]*\}", text))
    explained = dict(re.findall(r"^#(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    ours = {name for name in explained if name.startswith("SIGHTLINE_") or name == "COMPOSE_PROFILES"}
    assert used.keys() - ours == explained.keys() - ours
    optional = {"TLS_CERTIFICATE", "BUILD_CA"}  # empty, whatever stands in for the file
    assert {name: used[name] for name in used.keys() - optional} == {
        name: explained[name] for name in used.keys() - optional
    }
    assert not any(explained[name] for name in optional)


def test_every_service_is_locked_down() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["init"], name
        assert service["pids_limit"] > 0, name
        assert service["mem_limit"], name
        assert service["logging"]["options"]["max-size"], name
        assert "privileged" not in service, name
        assert not any("docker.sock" in volume for volume in service.get("volumes", [])), name


def test_only_the_edge_is_open_to_the_outside() -> None:
    published = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert published.keys() == {"edge", "prometheus", "grafana", "alertmanager", "load"}
    assert all(port.startswith("127.0.0.1:") for name, ports in published.items() if name != "edge" for port in ports)
    assert COMPOSE["networks"]["service"] == {"internal": True}
    for name in ("service", "service-gpu"):
        assert COMPOSE["services"][name]["networks"] == ["service"]


class Stack:
    """The compose file's services with ports and images of this test."""

    def __init__(self, models: Path) -> None:
        self.edge_port, self.prometheus_port = free_ports(2)
        self.environment = os.environ | {
            "COMPOSE_PROJECT_NAME": PROJECT,
            "PUBLISH": f"127.0.0.1:{self.edge_port}",
            "PROMETHEUS_PUBLISH": str(self.prometheus_port),
            "SERVICE_IMAGE": f"{PROJECT}-service",
            "LOAD_IMAGE": f"{PROJECT}-load",
            "TORCH": "none",
            "MODELS": str(models),
            **{f"{name.upper()}_IMAGE": f"{PROJECT}-{name}" for name in PACKAGES},
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.edge_port}"

    def compose(self, *arguments: str, timeout: float = 300, **environment: str) -> str:
        return self.docker("compose", "--progress", "plain", *arguments, timeout=timeout, **environment)

    def docker(self, *arguments: str, timeout: float = 300, **environment: str) -> str:
        finished = subprocess.run(
            ["docker", *arguments],
            cwd=ROOT,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert finished.returncode == 0, (finished.stdout + finished.stderr)[-5000:]
        return finished.stdout

    def up(self, **environment: str) -> None:
        self.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "180", *STARTED, **environment)

    def container(self, service: str) -> str:
        return self.compose("ps", "--all", "--quiet", service).strip()

    def inside(self, service: str, *command: str) -> str:
        return self.docker("exec", self.container(service), *command)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Up, with the demo."""
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        if shutil.which("docker") is None or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip(f"{' '.join(command)} fails: there is no Docker engine here, or no compose")
    no_models = tmp_path_factory.mktemp("no-models")
    no_models.chmod(0o755)  # for the container's user
    found = Stack(no_models)
    base = f"BASE_IMAGE={os.environ.get('BASE_IMAGE', 'debian:bookworm-slim')}"
    for name, packages in PACKAGES.items():
        arguments = (
            "--file",
            str(ROOT / "tests/deploy/debian.Dockerfile"),
            "--build-arg",
            base,
            "--build-arg",
            f"PACKAGES={packages}",
        )
        found.docker(
            "build",
            "--network",
            "host",
            "--tag",
            f"{PROJECT}-{name}",
            *arguments,
            str(ROOT / "tests/deploy"),
            timeout=600,
        )
    try:
        found.compose("build", "service", timeout=1800)
        found.up()
        yield found
    finally:
        found.compose("down", "--volumes", "--remove-orphans", "--timeout", "20")


@pytest.mark.slow
def test_without_a_model_the_demo_answers_through_the_edge(stack: Stack, digit: Callable, encoded: Callable) -> None:
    answer = httpx.post(f"{stack.url}/classify", content=encoded(digit(7), "PNG"), timeout=20)
    assert answer.status_code == 200
    assert answer.json()["model"] == "digits"
    assert answer.json()["results"][0]["predictions"][0]["label"] == "7"
    assert "<html" in httpx.get(stack.url).text


@pytest.mark.slow
def test_an_explanation_is_given_in_a_locked_down_container(stack: Stack, digit: Callable, encoded: Callable) -> None:
    """Its process gets a scheduling policy and a session of its own there, too."""
    answer = httpx.post(f"{stack.url}/explain", content=encoded(digit(7), "PNG"), timeout=20)
    assert (answer.status_code, answer.json()["label"]) == (200, "7")
    assert sum(map(sum, answer.json()["grid"])) == pytest.approx(answer.json()["logits"]["label"], abs=1e-4)


def test_prometheus_reads_the_service(stack: Stack) -> None:
    def asked(query: str) -> list[dict[str, Any]]:
        answer = httpx.get(
            f"http://127.0.0.1:{stack.prometheus_port}/api/v1/query", params={"query": query}, timeout=10
        )
        return answer.json()["data"]["result"]

    deadline = time.monotonic() + 90
    while not asked("sightline_model_info"):
        assert time.monotonic() < deadline, asked("up")
        time.sleep(2)
    assert [series["value"][1] for series in asked('up{job="sightline"}')] == ["1"]
    assert asked("sightline_model_info")[0]["metric"]["model"] == "digits"


@pytest.mark.slow
def test_every_container_is_locked_down_in_fact(stack: Stack) -> None:
    for name in STARTED:
        facts = json.loads(stack.docker("inspect", stack.container(name)))[0]
        assert facts["Config"]["User"].split(":")[0] not in ("", "0", "root"), name
        assert facts["HostConfig"]["ReadonlyRootfs"], name
        assert facts["HostConfig"]["Memory"] > 0, name
        assert facts["HostConfig"]["PidsLimit"] > 0, name
        status = dict(
            line.split(":\t", 1) for line in stack.inside(name, "cat", "/proc/1/status").splitlines() if ":\t" in line
        )
        assert (int(status["CapEff"], 16), status["NoNewPrivs"]) == (0, "1"), name
        refused = stack.inside(name, "sh", "-c", "touch /etc/x 2>&1 || true")
        assert "Read-only" in refused, name
    assert json.loads(stack.docker("inspect", stack.container("service")))[0]["State"]["Health"]["Status"] == "healthy"


@pytest.mark.slow
def test_nothing_but_the_published_ports_can_be_reached(stack: Stack) -> None:
    assert json.loads(stack.docker("inspect", stack.container("service")))[0]["HostConfig"]["PortBindings"] in (
        {},
        None,
    )
    address = stack.docker(
        "inspect",
        "--format",
        f'{{{{(index .NetworkSettings.Networks "{PROJECT}_service").IPAddress}}}}',
        stack.container("service"),
    ).strip()
    ports = sorted({int(line.split()[1].split(":")[1], 16) for line in _listening(stack)})
    assert {8000, 8002} <= set(ports)
    assert len(ports) > 5  # Ray's are among them
    connects = f"timeout 1 bash -c '</dev/tcp/{address}/'$port 2>/dev/null && echo $port"
    probe = f"for port in {' '.join(map(str, ports))}; do ({connects}) & done; wait; true"

    def reached(network: str) -> set[int]:
        found = stack.docker("run", "--rm", "--network", f"{PROJECT}_{network}", f"{PROJECT}-edge", "bash", "-c", probe)
        return {int(port) for port in found.split()}

    assert reached("service") == set(ports)  # the probe sees what there is
    assert reached("outside") == reached("monitoring") == set()
    leave = "import socket; socket.create_connection(('1.1.1.1', 443), timeout=2)"
    assert "Error" in stack.inside("service", "sh", "-c", f'python -c "{leave}" 2>&1 || true')


def _listening(stack: Stack) -> list[str]:
    """Rows of the service's listening sockets that are bound to more than loopback."""
    rows = stack.inside("service", "cat", "/proc/net/tcp").splitlines()[1:]
    return [
        row for row in rows if row.split()[3] == "0A" and not row.split()[1].partition(":")[0].endswith("7F")
    ]  # 127.0.0.11 is the names'


@pytest.mark.slow
def test_every_profile_is_understood(stack: Stack) -> None:
    found = stack.compose(
        "--profile", "gpu", "--profile", "load", "--profile", "alerts", "config", "--services"
    ).split()
    assert sorted(found) == sorted(COMPOSE["services"])


@pytest.mark.slow
def test_the_load_test_reaches_the_service_through_the_edge(stack: Stack) -> None:
    stack.compose("build", "load", timeout=600)
    options = ("--headless", "--only-summary", "--shape", "steady", "--clients", "4", "--seconds", "6")
    said = stack.compose("run", "--rm", "--no-deps", "load", "--host", "http://edge:8080", *options)
    assert "Every objective was met." in said


@pytest.mark.slow
def test_a_mounted_model_is_served_and_cannot_be_changed(stack: Stack, models: Path, readable: Path) -> None:
    shutil.copytree(models / "digits" / "1", readable / "digits" / "1")
    stack.up(MODELS=str(readable))
    served = httpx.get(f"{stack.url}/models", timeout=10).raise_for_status().json()["models"]
    assert [model["digest"] for model in served] == [load_bundle(models / "digits" / "1").digest]
    assert "No model in" not in stack.compose("logs", "--no-log-prefix", "service")
    assert "Read-only" in stack.inside("service", "sh", "-c", "touch /models/x 2>&1 || true")


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that the container's user may read; pytest's own are its user's alone."""
    with tempfile.TemporaryDirectory(prefix="sightline-models-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.slow
def test_stopped_under_load_nothing_in_flight_is_lost(stack: Stack, digit: Callable, encoded: Callable) -> None:
    asked: list[tuple[float, int | str]] = []  # when, and what came of it
    photo, over = encoded(digit(3), "PNG"), threading.Event()

    def client() -> None:
        with httpx.Client(timeout=30) as session:
            while not over.is_set():
                begun = time.monotonic()
                try:
                    asked.append((begun, session.post(f"{stack.url}/classify", content=photo).status_code))
                except httpx.TransportError as error:  # the door is shut, or shutting
                    asked.append((begun, type(error).__name__))

    clients = [threading.Thread(target=client) for _ in range(8)]
    for one in clients:
        one.start()
    time.sleep(3)
    started = time.monotonic()
    stack.compose("stop")
    seconds = time.monotonic() - started
    over.set()
    for one in clients:
        one.join()
    before = Counter(what for begun, what in asked if begun < started)
    after = Counter(what for begun, what in asked if begun >= started)
    exits = {
        name: json.loads(stack.docker("inspect", stack.container(name)))[0]["State"]["ExitCode"] for name in STARTED
    }
    assert before[200] > 50
    assert set(before) == {200}, before
    assert not any(what in after for what in (500, 502, 503, 504)), after
    assert exits == dict.fromkeys(STARTED, 0)
    assert seconds < 60
