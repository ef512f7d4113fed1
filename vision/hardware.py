"""The CPUs and GPUs that this process may use. Standard library only."""

import importlib.util
import math
import os
import re
from pathlib import Path

_GPU = re.compile(r"nvidia\d+")


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """CPUs this process may use at a time: those in its affinity mask, or its container's quota if that is lower."""
    cpus = len(os.sched_getaffinity(0))
    try:  # https://docs.kernel.org/admin-guide/cgroup-v2.html: "$MAX $PERIOD" in microseconds, or "max $PERIOD"
        quota, period = (cgroup / "cpu.max").read_text().split()
        return min(cpus, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        return cpus


def count_gpus(devices: Path = Path("/dev")) -> int:
    """NVIDIA GPUs this process may use through torch; 0 if torch is not installed."""
    return gpu_devices(devices) if has_torch() else 0


def gpu_devices(devices: Path = Path("/dev")) -> int:
    """NVIDIA GPUs that this process can see.

    It counts device files. Asking torch would cost the seconds that importing it takes. A container on a machine with
    GPUs sees the driver's /proc, but only the device files that it was given.
    """
    return sum(_GPU.fullmatch(device.name) is not None for device in devices.iterdir())


def has_torch() -> bool:
    """Whether torch is installed. An image for CPUs may leave it out."""
    return importlib.util.find_spec("torch") is not None
