"""Every program of the load tests prints its help."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for folder in ("loadtests", "loadtests/bench", "loadtests/studies")
    for file in (ROOT / folder).glob("*.py")
    if '__name__ == "__main__"' in file.read_text()
)


def test_the_programs_are_found() -> None:
    assert {"loadtests.headless", "loadtests.bench.bench", "loadtests.studies.engine"} <= set(PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_is_printed(program: str) -> None:
    command = [sys.executable, "-m", program, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
