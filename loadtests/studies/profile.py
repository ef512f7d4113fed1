"""`python -m loadtests.studies.profile`: where the CPU time of a request goes. For decisions 12 to 14.

The service runs as shipped, under a steady load. The kernel reports the CPU time of its processes and of the replica's
threads. py-spy samples what each Python thread of the replica runs, and the thread's time is divided by those samples.
Threads without Python belong to the engine. So the stages add up to the total. Samples that match no rule are called
`other`.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from loadtests.bench.machine import ROOT
from loadtests.bench.processes import Server
from loadtests.bench.sightline import running
from loadtests.bench.wrk import wrk

# (function and file as py-spy writes them) → stage. The innermost frame that matches decides.
_RULES = (
    (r"\(vision/image\.py|/simplejpeg/", "decode"),
    (r"\(vision/preprocessing\.py", "resize"),
    (r"\(vision/engines/", "infer"),
    (
        r"\(vision/(prediction|classification)\.py|_answer \(service/http/classify\.py|\(service/http/schemas\.py"
        r"|/pydantic/|/json/",
        "answer",
    ),
    (r"read_body|_receive|find_images|/httptools|/uvicorn/protocols", "receive"),
    (
        r"\(service/(observability/metrics|model/observation|ray/bridge)\.py|/ray/util/metrics|/ray/serve/metrics",
        "metrics",
    ),
    (r"\(service/observability/request_log\.py|/logging/", "log"),
    (r"\(service/model/batching\.py|\(service/model/classifier\.py", "queue"),
    (
        r"\(service/ray/ingress\.py|\(service/http/(envelope|api|classify)\.py|/fastapi/|/starlette/|/ray/serve/",
        "routing",
    ),
    (r"/asyncio/|uvloop|/concurrent/futures/|threading\.py|/selectors", "event loop"),
)


def main() -> None:
    """Measures and prints; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.studies.profile", description=__doc__)
    parser.add_argument("--photos", type=Path, help="a folder of photos (default: rendered ones)")
    parser.add_argument("--arch", default="mobilenet_v2")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=20)
    parsed = parser.parse_args()
    console = Console(soft_wrap=True, markup=False, highlight=False)
    with (
        running(parsed.arch, parsed.photos, console) as sightline,
        tempfile.TemporaryDirectory(prefix="sightline-profile-") as folder,
    ):
        wrk(parsed.clients, 3, sightline.load)
        before, started = _cpu_by_process(sightline.server), time.monotonic()
        replica = sightline.replica.pid
        stacks = Path(folder) / "stacks"
        spy = subprocess.Popen(
            [
                *(
                    str(Path(sys.executable).with_name("py-spy")),
                    "record",
                    "--pid",
                    str(replica),
                    "--duration",
                    str(parsed.seconds),
                ),
                *("--rate", "100", "--nonblocking", "--threads", "--nolineno", "--full-filenames"),
                *("--format", "raw", "--output", str(stacks)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        threads_before = _threads(replica)
        got = wrk(parsed.clients, parsed.seconds, sightline.load)
        after, threads_after = _cpu_by_process(sightline.server), _threads(replica)
        spy.wait()
        console.print(
            f"{got['requests'] / got['seconds']:.0f} requests/s at {parsed.clients} clients, "
            f"{time.monotonic() - started:.0f} s"
        )
        samples = _stages(stacks.read_text())
    requests = got["requests"]
    account: defaultdict[str, float] = defaultdict(float)
    for pid, (name, seconds) in after.items():
        if pid != replica:
            account[_process_stage(name)] += seconds - before.get(pid, (name, 0.0))[1]
    for thread, seconds in threads_after.items():
        spent = seconds - threads_before.get(thread, 0.0)
        stages = samples.get(thread, Counter(infer=1))
        for stage, count in stages.items():
            account[stage] += spent * count / stages.total()
    costs = sorted(account.items(), key=lambda item: -item[1])
    milliseconds = {stage: 1000 * seconds / requests for stage, seconds in costs}
    table = Table("stage", "CPU ms per request", "share")
    for stage, value in milliseconds.items():
        table.add_row(stage, f"{value:.3f}", f"{value / sum(milliseconds.values()):.1%}")
    table.add_row("total", f"{sum(milliseconds.values()):.3f}", "")
    console.print(table)
    console.print(json.dumps({"requests_per_s": requests / got["seconds"], "cpu_ms": milliseconds}))


def _cpu_by_process(server: Server) -> dict[int, tuple[str, float]]:
    """Process id → (command line, CPU seconds)."""
    found = {}
    for process in server.processes():
        try:
            times = process.cpu_times()
            found[process.pid] = (" ".join(process.cmdline()) or process.name(), times.user + times.system)
        except psutil.NoSuchProcess:
            continue
    return found


def _threads(pid: int) -> dict[int, float]:
    return {thread.id: thread.user_time + thread.system_time for thread in psutil.Process(pid).threads()}


def _process_stage(command: str) -> str:
    return "HAProxy" if "haproxy" in command.lower() and "ray::" not in command else "rest of Ray"


def _stages(raw: str) -> dict[int, Counter[str]]:
    """Samples by stage of each thread that runs Python, by the kernel's number for it."""
    samples: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [frame.replace(f"{ROOT}/", "") for frame in stack.split(";")]
        if named := re.match(r"thread \((\d+)\)", frames[0]):
            samples[int(named[1])][_stage(frames)] += int(count)
    return samples


def _stage(frames: list[str]) -> str:
    for frame in reversed(frames):
        for pattern, stage in _RULES:
            if re.search(pattern, frame):
                return stage
    return "other"


if __name__ == "__main__":
    main()
