"""The README is run: every block of it. Pages that follow from the code are compared with it, links are followed."""

import contextlib
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
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.local.ports import free_ports

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```sh (\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def tracked() -> list[str]:
    """What a clone would hold, with what is not committed yet."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return sorted(name for name in listed.stdout.splitlines() if (ROOT / name).is_file())


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
    assert [kind for kind, _ in BLOCKS] == ["serve", "client", "train", "figures"]
    assert len(re.findall(r"^```sh", README, re.MULTILINE)) == len(BLOCKS)


def test_generated_pages_are_what_the_code_says() -> None:
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    for name, page in generate["PAGES"].items():
        assert (ROOT / "docs" / name).read_text() == page(), f"docs/{name} is old; run `make docs`"


def test_every_file_says_what_it_is_for() -> None:
    purpose = runpy.run_path(str(ROOT / "docs" / "generate.py"))["purpose"]
    assert (
        purpose(ROOT / "vision" / "image.py") == "The only decoder: bytes → upright RGB uint8 (H, W, 3), within limits."
    )
    assert purpose(ROOT / "Makefile") == "Everything that a person or CI runs."
    silent = ROOT / "docs" / "silent.sh"
    try:
        silent.write_text("#!/bin/sh\nset -eu\n")
        with pytest.raises(ValueError, match="does not say what it is for"):
            purpose(silent)
    finally:
        silent.unlink()


def test_links_in_the_documents_lead_somewhere() -> None:
    for document in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#\s]+)", document.read_text()):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), f"{document}: {target}"


@pytest.mark.serve
@pytest.mark.slow
def test_the_two_commands_serve_the_demo_and_answer(checkout: Path) -> None:
    """`make serve` on a checkout without a model, then every client command."""
    (serve,) = (text for kind, text in BLOCKS if kind == "serve")
    (clients,) = (text for kind, text in BLOCKS if kind == "client")
    (port,) = free_ports(1)
    assert serve.strip() == "make serve"
    output = checkout / "output"
    with output.open("wb") as printed:
        process = subprocess.Popen(
            ["make", "serve"],
            cwd=checkout,
            env=os.environ | {"PORT": str(port)},
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 240
        while "Ctrl-C stops it" not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.5)
        commands = [line for line in clients.splitlines() if line.strip()]
        assert len(commands) >= 3
        for command in commands:
            parts = shlex.split(command.replace(":8000", f":{port}"))
            answer = subprocess.run(parts, cwd=checkout, check=True, capture_output=True, text=True).stdout
            assert '"label":"7"' in answer, command
    finally:
        # make does not hand SIGTERM on as a success, so the service's own end is looked at: its port.
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


@pytest.mark.serve
@pytest.mark.slow
def test_ctrl_c_in_a_terminal_ends_make_serve_with_status_0(checkout: Path, models: Path) -> None:
    """In a real terminal, where Ctrl-C goes to the whole foreground group, make included."""
    if not (checkout / "models").is_dir():
        shutil.copytree(models, checkout / "models")
    (port,) = free_ports(1)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(checkout)
        os.execvpe("make", ["make", "serve"], os.environ | {"PORT": str(port), "SIGHTLINE_MODEL": "digits"})
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


@pytest.mark.slow
def test_the_training_command_makes_a_model_of_a_folder(checkout: Path) -> None:
    (train,) = (text for kind, text in BLOCKS if kind == "train")
    generator = np.random.default_rng(0)
    for category, shade in (("day", 200), ("night", 40)):
        folder = checkout / "photos" / category
        folder.mkdir(parents=True)
        for index in range(60):
            pixels = generator.normal(shade, 20, (48, 64, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.jpg")
    printed = subprocess.run(
        ["sh", "-ec", train], cwd=checkout, check=True, capture_output=True, text=True, timeout=300
    ).stdout
    assert "Saved models/photos/1" in printed
    assert (checkout / "models" / "photos" / "1" / "manifest.json").is_file()


def test_the_figures_commands_exist() -> None:
    """The demo's own test runs it and holds its figures; here the commands must at least parse."""
    from training.__main__ import COMMANDS
    from vision.command_line import build_parser

    (figures,) = (text for kind, text in BLOCKS if kind == "figures")
    for command in figures.splitlines():
        parts = shlex.split(command, comments=True)
        assert parts[:3] == [".venv/bin/python", "-m", "training"]
        build_parser("training", COMMANDS, parts[3:]).parse_args(parts[3:])


def test_make_help_lists_every_target() -> None:
    printed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for target in ("help", "install", "serve", "train", "test", "check", "lock", "clean"):
        assert re.search(rf"^  make {target} +\S", printed, re.MULTILINE), target
