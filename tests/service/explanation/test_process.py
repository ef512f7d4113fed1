"""The explaining process: what it loads, when it runs, and when it ends."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from service.explanation import frames
from service.settings import Settings
from tests.service.explanation.conftest import KINDS, ROOT, is_halted, workers
from vision.bundle.store import Bundle, load_bundle

WORKER = "service.explanation.worker"


IMPORTED = f"import sys, {WORKER}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"


PARENT = """
import asyncio, sys, time
import psutil
from pathlib import Path
from prometheus_client import CollectorRegistry
from service.explanation.lane import Lane
from service.observability.metrics import Metrics
from service.settings import Settings
from vision.bundle.store import load_bundle

lane = Lane(load_bundle(Path(sys.argv[1])), "openvino-f32", Settings(), Metrics(CollectorRegistry()))
question = {"kind": "inspect", "parameters": {"space": []}, "picture": False, "about": {}}

async def answered():
    await lane.ask(question, Path(sys.argv[2]).read_bytes())
    print("answered", flush=True)
    time.sleep(60)

async def halted():
    asking = asyncio.ensure_future(lane.ask(question, Path(sys.argv[2]).read_bytes()))
    with lane.halted():
        while not any(child.status() == psutil.STATUS_STOPPED for child in psutil.Process().children()):
            await asyncio.sleep(0.01)
        print("halted", flush=True)
        time.sleep(60)

asyncio.run(globals()[sys.argv[3]]())
"""


@pytest.fixture
def worker() -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts an explaining process alone."""
    started: list[subprocess.Popen[bytes]] = []

    def launch() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "service.explanation"]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        started.append(subprocess.Popen(command, cwd=ROOT, **pipes))
        return started[-1]

    yield launch
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


def beginning(bundle: Bundle) -> dict:
    """The first message to an explaining process."""
    limits = vars(Settings().decode_limits)
    return {
        "bundle": str(bundle.path),
        "digest": bundle.digest,
        "engine": "openvino-f32",
        "threads": 1,
        "limits": limits,
    }


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="needs Linux's policies")
def test_the_process_takes_only_time_that_nobody_wants(start, png):
    one = start()
    one.post(png)
    assert os.sched_getscheduler(one.process) == os.SCHED_IDLE
    assert os.sched_getscheduler(0) != os.SCHED_IDLE


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="needs Linux's policies")
def test_every_thread_of_the_process_takes_only_time_that_nobody_wants(start, png):
    one = start()
    for kind in KINDS:
        one.post(png, f"/{kind}")
    threads = [int(task.name) for task in Path(f"/proc/{one.process}/task").iterdir()]
    assert len(threads) > 1
    assert {thread: os.sched_getscheduler(thread) for thread in threads} == dict.fromkeys(threads, os.SCHED_IDLE)


def test_beside_openvino_the_process_loads_neither_torch_nor_ray(start, png):
    one = start()
    for path in ("/explain", "/explain?method=occlusion", "/activations", "/activations?layer=journey", "/inspect"):
        assert one.post(png, path).status_code == 200
    loaded = {Path(line.split()[-1]).name for line in Path(f"/proc/{one.process}/maps").read_text().splitlines()}
    assert any("openvino" in name for name in loaded)
    assert not [name for name in loaded if name.startswith(("libtorch", "_raylet", "libc10"))]


def test_the_process_imports_no_web_framework_and_no_cluster():
    done = subprocess.run([sys.executable, "-c", IMPORTED], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert {"numpy", "PIL", "service", "vision"} <= imported
    assert not imported & {"torch", "torchvision", "ray", "fastapi", "starlette", "uvicorn", "training"}


def test_beside_torch_the_process_explains_with_torch_and_gives_the_same_numbers(start, png):
    grids = []
    for engine in ("openvino-f32", "torch-f32"):
        one = start(engine=engine)
        answer = one.post(png).json()
        assert answer["engine"] == answer["agreement"]["engine"] == engine
        assert answer["agreement"]["largest_difference"] < 1e-5
        maps = Path(f"/proc/{one.process}/maps").read_text()
        assert ("libtorch" in maps) == (engine == "torch-f32")
        grids.append(answer["grid"])
    assert np.allclose(*grids, atol=1e-4)


def test_beside_an_engine_on_another_device_there_is_nothing_to_compare_with(start, png):
    answer = start(engine="torch-cuda-bf16").post(png).json()
    assert (answer["engine"], answer["agreement"], answer["label"]) == ("torch-f32", None, "7")


def test_the_process_ends_by_itself_when_its_input_is_closed(worker, models):
    process = worker()
    frames.write(process.stdin, beginning(load_bundle(models / "digits" / "1")))
    assert frames.read(process.stdout) == ({"code": None, "body_bytes": 0}, b"")
    process.stdin.close()
    assert process.wait(timeout=10) == 0
    assert process.stdout.read() == process.stderr.read() == b""


@pytest.mark.parametrize("begun", [b"", b"\0\0", b"\0\0\0\x40{"], ids=["nothing", "a length", "a message"])
def test_the_process_ends_when_its_input_ends_before_it_has_begun(worker, begun):
    process = worker()
    process.stdin.write(begun)
    process.stdin.close()
    process.wait(timeout=10)
    assert process.stdout.read() == b""


@pytest.mark.parametrize("state", ["answered", "halted"])
def test_the_process_ends_when_the_process_above_it_is_killed(models, png, tmp_path, state):
    image = tmp_path / "image.png"
    image.write_bytes(png)
    command = [sys.executable, "-c", PARENT, models / "digits" / "1", image, state]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as above:
        try:
            assert above.stdout.readline() == f"{state}\n".encode()
            (pid,) = workers(above.pid)
            explaining = psutil.Process(pid)
            assert is_halted(pid) == (state == "halted")
        finally:
            above.kill()
    assert psutil.wait_procs([explaining], timeout=10)[1] == []


def test_what_a_library_prints_does_not_get_between_the_answers(worker, models):
    """Standard output of the process is where its errors go; the answers have a pipe of their own."""
    process = worker()
    frames.write(process.stdin, beginning(load_bundle(models / "digits" / "1")))
    frames.read(process.stdout)
    assert Path(f"/proc/{process.pid}/fd/1").readlink() == Path(f"/proc/{process.pid}/fd/2").readlink()
