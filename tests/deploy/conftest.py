"""What the tests of the deployment need of the machine; where it is missing they say so and are skipped."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def promtool() -> Callable[..., str]:
    """Runs promtool; gives what it printed, and fails where it does."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is missing; install Debian's package prometheus")

    def run(*arguments: str | Path, given: str | None = None) -> str:
        finished = subprocess.run(
            [found, *map(str, arguments)], input=given, capture_output=True, text=True, timeout=60
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    return run
