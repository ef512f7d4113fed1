"""wrk: a closed loop of clients, each with one request at a time."""

import json
import subprocess
from pathlib import Path
from typing import Any


def wrk(clients: int, seconds: int, load: list[str]) -> dict[str, Any]:
    """Runs wrk once.

    Args:
        clients: connections, at least 1.
        seconds: how long.
        load: the address and the arguments of post.lua: which files to post, and their content type.

    Returns:
        `requests`, `seconds`, `p50_ms`, `p99_ms` and `failed`.
    """
    script = str(Path(__file__).with_name("post.lua"))
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s", "-s", script, *load]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answer: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return answer
