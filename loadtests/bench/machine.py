"""The machine and the checkout that a measurement ran on, and where measurements keep their files."""

import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "loadtests" / ".cache"
"""Networks of the benchmark, made once for each set of photos."""
RESULTS = ROOT / "loadtests" / "results"


def machine() -> str:
    """CPU, system and Python, in words."""
    model = next(
        (line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ""
    )
    return f"{len(os.sched_getaffinity(0))} cores of {model}, {platform.platform()}, Python {platform.python_version()}"


def commit() -> str:
    """The short hash of the checked-out commit."""
    return subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
