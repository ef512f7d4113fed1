"""The README is run: every block of it. Pages that follow from the code are compared with it, links are followed."""

import contextlib
import json
import os
import pty
import re
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.__main__ import COMMANDS as SERVICE_COMMANDS
from service.errors import PROBLEMS
from service.local.ports import free_ports
from service.observability.metrics import METRICS
from service.settings import Settings
from tests.conftest import write_noise
from training.__main__ import COMMANDS as TRAINING_COMMANDS
from vision.command_line import build_parser

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
GENERATE = runpy.run_path(str(ROOT / "docs" / "generate.py"))
tracked = GENERATE["tracked"]
BLOCKS = re.findall(r"^```sh (\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the working tree without models, beside the same virtual environment."""
    installed = ROOT / ".venv" / ".installed"
    newest = max((ROOT / name).stat().st_mtime for name in ("requirements.lock", "pyproject.toml"))
    if not installed.is_file() or installed.stat().st_mtime < newest:
        pytest.skip("needs `make install`: the README's commands run in its .venv")
    folder = tmp_path_factory.mktemp("checkout")
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


def test_every_block_has_a_kind_that_is_run_below() -> None:
    assert [kind for kind, _ in BLOCKS] == ["serve", "client", "train"]
    assert len(re.findall(r"^```sh", README, re.MULTILINE)) == len(BLOCKS)


def test_generated_pages_are_what_the_code_says() -> None:
    for name, page in GENERATE["PAGES"].items():
        assert (ROOT / "docs" / name).read_text() == page(), f"docs/{name} is old; run `make docs`"


def test_every_limit_that_a_client_can_meet_is_listed() -> None:
    """By the problems and the settings that exist, so that a new one cannot be forgotten."""
    page = (ROOT / "docs" / "limits.md").read_text()
    codes = {code for code, kind in PROBLEMS.items() if kind.status in (408, 413, 429, 504)}
    for code in codes | {"overloaded", "invalid_parameter", "malformed_request"}:
        assert f"`{code}`" in page, code
    # A client does not meet these: how many images one inference takes, how many pixels are decoded at a time, and how
    # many replicas there are.
    unseen = {"max_batch_size", "max_decoding_pixels", "max_replicas"}
    for name in Settings.model_fields.keys() - unseen:
        if name.startswith("max_") or name.endswith("_timeout_s"):
            assert f"`SIGHTLINE_{name.upper()}`" in page, name


def test_the_operating_guide_lists_every_metric() -> None:
    guide = (ROOT / "docs" / "guides" / "operating.md").read_text()
    for metric in METRICS:
        assert f"| `{metric.name}` | {', '.join(metric.labels) or '–'} | {metric.help} |" in guide


def test_the_readme_is_short() -> None:
    """A stranger reads it to its end."""
    assert len(README.encode()) < 6 * 1024


def test_every_file_says_what_it_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    purpose = GENERATE["purpose"]
    decoder = "The only decoder: bytes → upright sRGB uint8 (H, W, 3) and the file's format, within limits."
    assert purpose(ROOT / "vision" / "image.py") == decoder
    assert purpose(ROOT / "Makefile") == "Everything that a person or CI runs."
    silent = tmp_path / "silent.sh"
    silent.write_text("#!/bin/sh\nset -eu\n")
    monkeypatch.setitem(purpose.__globals__, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="does not say what it is for"):
        purpose(silent)


def test_links_in_the_documents_lead_somewhere() -> None:
    for document in (ROOT / name for name in tracked() if name.endswith(".md")):
        for target in re.findall(r"\]\(([^)#\s]+)", document.read_text()):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), f"{document}: {target}"


@contextlib.contextmanager
def served(checkout: Path, command: str) -> Iterator[int]:
    """Runs a command that serves, yields its port when it is ready, and checks that the port is free afterwards."""
    (port,) = free_ports(1)
    output = checkout / f"output-{port}"
    environment = os.environ | {"PORT": str(port), "SIGHTLINE_METRICS_PORT": "0"}
    with output.open("wb") as printed:
        process = subprocess.Popen(
            ["sh", "-c", f"exec env {command}"], cwd=checkout, env=environment, stdout=printed, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 240
        while "Ctrl-C stops it" not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.5)
        yield port
    finally:
        # make does not hand SIGTERM on as a success, so the service's own end is looked at: its port.
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


@pytest.mark.serve
@pytest.mark.slow
def test_the_two_commands_serve_the_demo_and_answer(checkout: Path) -> None:
    """`make serve` on a checkout without a model, then the client's command, whose answer is the one that is shown."""
    (serve,) = (text for kind, text in BLOCKS if kind == "serve")
    (client,) = (text for kind, text in BLOCKS if kind == "client")
    (shown,) = re.findall(r"^```json\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    with served(checkout, serve.strip()) as port:
        parts = shlex.split(client.replace(":8000", f":{port}"))
        printed = subprocess.run(parts, cwd=checkout, check=True, capture_output=True, text=True).stdout
    answer, promised = json.loads(printed), json.loads(shown)
    assert answer.keys() == promised.keys()
    assert answer["timings_ms"].keys() == promised["timings_ms"].keys()
    assert answer["digest"] == promised["digest"]
    predictions = answer["results"][0]["predictions"]
    assert [prediction["label"] for prediction in predictions] == ["7", "3"]
    for prediction, printed_one in zip(predictions, promised["results"][0]["predictions"], strict=True):
        assert prediction["score"] == pytest.approx(printed_one["score"], abs=0.02)  # engines differ by that at most


@pytest.mark.serve
@pytest.mark.slow
def test_ctrl_c_in_a_terminal_ends_make_serve_with_status_0(checkout: Path) -> None:
    """In a real terminal, where Ctrl-C goes to the whole foreground group, make included."""
    (port,) = free_ports(1)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(checkout)
        os.execvpe("make", ["make", "serve"], os.environ | {"PORT": str(port), "SIGHTLINE_METRICS_PORT": "0"})
    printed = b""
    deadline = time.monotonic() + 60
    while b"Ctrl-C stops it" not in printed:
        assert time.monotonic() < deadline, printed.decode()
        printed += os.read(terminal, 65536)
    os.write(terminal, b"\x03")
    with contextlib.suppress(OSError):  # the terminal closes with its last process
        while text := os.read(terminal, 65536):
            printed += text
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, printed.decode()
    assert b"Stopping" in printed


@pytest.mark.serve
@pytest.mark.slow
def test_the_training_commands_make_a_model_of_a_folder_and_serve_it(checkout: Path) -> None:
    (block,) = (text for kind, text in BLOCKS if kind == "train")
    train, serve = block.splitlines()
    write_noise(checkout / "photos", 60, (64, 48), "jpg")
    printed = subprocess.run(
        ["sh", "-ec", train], cwd=checkout, check=True, capture_output=True, text=True, timeout=300
    ).stdout
    assert "Saved models/photos/1" in printed
    with served(checkout, serve) as port:
        photo = (checkout / "photos" / "day" / "0.jpg").read_bytes()
        answer = httpx.post(f"http://127.0.0.1:{port}/classify", content=photo).json()
    assert answer["model"] == "photos"
    assert answer["results"][0]["predictions"][0]["label"] == "day"


def test_every_command_in_the_documents_parses(capsys: pytest.CaptureFixture[str]) -> None:
    """Each `sightline …` or `python -m training …`, but for those that leave something out."""
    commands = (*SERVICE_COMMANDS, *TRAINING_COMMANDS)
    pattern = re.compile(
        r"(?:`|^    )(?:sightline|(?:\.venv/bin/)?python -m training) ([^`…#\n]+?) *(?:[`#]|$)", re.MULTILINE
    )
    found = [
        (name, shlex.split(line))
        for name in tracked()
        if name.endswith(".md") and not name.startswith("docs/adr/") and name != "CHANGELOG.md"
        for line in pattern.findall((ROOT / name).read_text())
    ]
    assert len(found) >= 10
    for name, parts in found:
        assert parts[0] in {command.name for command in commands}, f"{name}: {parts}"
        if parts[1:] and "--help" not in parts:  # otherwise the command is only named
            try:
                build_parser("sightline", commands, parts).parse_args(parts)
            except SystemExit:
                pytest.fail(f"{name}: {parts}: {capsys.readouterr().err}")


def test_make_help_lists_every_target() -> None:
    printed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for target in ("help", "install", "serve", "train", "test", "check", "lock", "clean"):
        assert re.search(rf"^  make {target} +\S", printed, re.MULTILINE), target
