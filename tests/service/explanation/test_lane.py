"""The lane of explanations: one process, started when it is needed, that yields to everything and outlives nobody."""

import asyncio
import fcntl
import gc
import io
import os
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from prometheus_client import CollectorRegistry

from service.explanation import frames
from service.explanation.lane import Lane
from service.http.api import create_api
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.service.conftest import NOISE, Served, problem
from vision.bundle.store import Bundle, load_bundle, save_bundle
from vision.classification import Classification

ROOT = Path(__file__).resolve().parents[3]
WORKER = "service.explanation.worker"
KINDS = ["explain", "activations", "inspect"]
IMPORTED = f"import sys, {WORKER}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
PARENT = """
import asyncio, sys, time
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
        await asyncio.sleep(0.5)
        print("halted", flush=True)
        time.sleep(60)

asyncio.run(globals()[sys.argv[3]]())
"""


def workers(above: int | None = None) -> set[int]:
    """The explaining processes that run below a process."""
    found = set()
    for process in psutil.Process(above).children():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and "service.explanation" in process.cmdline():
                found.add(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what another process or thread does."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def is_halted(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


def unread(pid: int) -> int:
    """Bytes that wait in the pipe of a process's standard input."""
    pipe = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK)
    try:
        return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]
    finally:
        os.close(pipe)


class Explaining:
    """A lane of its own, the API in front of it, and what both count."""

    def __init__(self, served: Served, bundle: Bundle, engine: str, **settings: object) -> None:
        self._served = served
        self._others = workers()
        self._registry = CollectorRegistry()
        metrics, chosen = Metrics(self._registry), Settings(**{"explain_timeout_s": 25, **settings})
        self.lane = Lane(bundle, engine, chosen, metrics)
        self._api = create_api(served.classifier, self.lane, chosen, metrics)

    @property
    def processes(self) -> set[int]:
        return workers() - self._others

    @property
    def process(self) -> int:
        (pid,) = self.processes
        return pid

    def run(self, scenario: Callable[[httpx.AsyncClient], Awaitable]) -> object:
        async def whole() -> object:
            transport = httpx.ASGITransport(self._api)
            async with httpx.AsyncClient(transport=transport, base_url="http://sightline") as client:
                return await scenario(client)

        return self._served.run(lambda client: whole())

    def post(self, image: bytes, path: str = "/explain") -> httpx.Response:
        return self.run(lambda client: client.post(path, content=image))

    def counted(self, name: str, **labels: str) -> float:
        return self._registry.get_sample_value(f"sightline_{name}", labels) or 0.0

    async def asked(self, pid: int) -> None:
        """Waits until a question has been written to a process that was stopped before."""
        await until(lambda: self.counted("explaining") == 1 and unread(pid) > 0)


@pytest.fixture
def start(served) -> Iterator[Callable[..., Explaining]]:
    """Makes a lane: start(bundle, engine, **settings); at the end nothing of it is left."""
    made: list[Explaining] = []

    def make(bundle: Bundle | None = None, engine: str = "openvino-f32", **settings: object) -> Explaining:
        made.append(Explaining(served, bundle or served.classifier.bundle, engine, **settings))
        return made[-1]

    yield make
    for one in made:
        for pid in one.processes:
            os.kill(pid, signal.SIGCONT)
        one.lane.stop()
        one.lane.stop()  # of a test that has found a process behind the first stop


@pytest.fixture(scope="module")
def png(digit, encoded) -> bytes:
    return encoded(digit(7), "PNG")


@pytest.fixture(scope="module")
def images(png, encoded) -> dict[str, bytes]:
    """One that fits into a pipe, and one of which a part waits until the process reads."""
    large = encoded(NOISE, "JPEG", quality=98)
    assert len(png) < 65_536 < 2 * 65_536 < len(large)
    return {"small": png, "large": large}


@pytest.fixture
def copied(models, tmp_path) -> Bundle:
    """A bundle whose folder a test may change."""
    return load_bundle(shutil.copytree(models / "digits" / "1", tmp_path / "models" / "digits" / "1"))


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


def test_its_process_starts_with_the_first_question_and_answers_the_next_ones_too(start, png):
    one = start()
    assert one.processes == set()
    assert one.counted("explanation_starts_total") == 0
    assert one.post(png).status_code == 200
    pid = one.process
    for path in ("/explain", "/activations", "/inspect"):
        assert one.post(png, path).status_code == 200
        assert one.processes == {pid}
    assert one.counted("explanation_starts_total") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_question_may_be_the_first(start, png, kind):
    one = start()
    assert one.post(png, f"/{kind}").status_code == 200
    assert len(one.processes) == 1


def test_what_needs_no_process_starts_none(start, png):
    one = start()
    for path in ("/classify", "/explain?label=x", "/explain?method=cover&cover=0", "/activations?row=-1"):
        one.post(png, path)
    for kind in KINDS:
        one.post(b"", f"/{kind}")
        one.post(b"{", f"/{kind}")
    one.run(lambda client: client.get("/models"))
    one.run(lambda client: client.post("/convolve", json={"input": [[1]], "kernel": [[1]]}))
    assert (one.processes, one.counted("explanation_starts_total")) == (set(), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_one_question_is_answered_at_a_time_and_others_are_told_to_come_again(start, png, kind):
    one = start()
    one.post(png)
    pid = one.process

    async def scenario(client: httpx.AsyncClient) -> list[httpx.Response]:
        os.kill(pid, signal.SIGSTOP)
        first = asyncio.create_task(client.post("/explain", content=png))
        await one.asked(pid)
        refused = await client.post(f"/{kind}", content=png)
        assert one.counted("explaining") == 1
        beside = await client.post("/classify", content=png)
        os.kill(pid, signal.SIGCONT)
        return [refused, beside, await first, await client.post(f"/{kind}", content=png)]

    refused, *answered = one.run(scenario)
    assert "one at a time" in problem(refused, 503, "explanation_busy").detail
    assert refused.headers["retry-after"] == "1"
    assert [response.status_code for response in answered] == [200, 200, 200]
    assert one.counted("explaining") == 0
    assert one.counted("rejections_total", reason="explanation_busy") == 1
    assert one.counted("explanation_requests_total", kind=kind, status="503") == 1
    assert one.process == pid


def test_a_question_to_a_busy_lane_is_refused_unread(start, png):
    one = start()
    one.post(png)
    pid, sent = one.process, 0

    async def body():
        nonlocal sent
        sent += 1
        yield png

    async def scenario(client: httpx.AsyncClient) -> httpx.Response:
        os.kill(pid, signal.SIGSTOP)
        first = asyncio.create_task(client.post("/explain", content=png))
        await one.asked(pid)
        refused = await client.post("/explain", content=body())
        os.kill(pid, signal.SIGCONT)
        await first
        return refused

    problem(one.run(scenario), 503, "explanation_busy")
    assert sent == 0


def test_of_many_at_once_one_is_answered_and_the_others_are_told_to_come_again(start, png):
    one = start()

    async def scenario(client: httpx.AsyncClient) -> list[httpx.Response]:
        return await asyncio.gather(*(client.post("/activations", content=png) for _ in range(20)))

    responses = one.run(scenario)
    answered = [response for response in responses if response.status_code == 200]
    for response in responses:
        if response not in answered:
            problem(response, 503, "explanation_busy")
    assert len(answered) == 1
    assert one.counted("explanation_starts_total") == 1
    assert one.post(png).status_code == 200


@pytest.mark.parametrize("size", ["small", "large"])
def test_a_process_that_is_killed_fails_its_question_and_the_next_one_starts_another(start, images, size):
    one = start()
    one.post(images["small"])
    pid = one.process

    async def scenario(client: httpx.AsyncClient) -> httpx.Response:
        os.kill(pid, signal.SIGSTOP)
        asking = asyncio.create_task(client.post("/explain", content=images[size]))
        await one.asked(pid)
        os.kill(pid, signal.SIGKILL)
        return await asking

    assert "next request starts another" in problem(one.run(scenario), 500, "explanation_failed").detail
    assert (one.processes, one.counted("explaining")) == (set(), 0)
    assert one.post(images[size]).status_code == 200
    assert one.process != pid
    assert one.counted("explanation_starts_total") == 2
    assert one.counted("explanation_requests_total", kind="explain", status="500") == 1


def test_a_process_that_was_killed_while_it_waited_costs_nobody_an_answer(start, png):
    one = start()
    one.post(png)
    pid = one.process
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # until it is dead; the lane has to notice that itself
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert one.post(png).status_code == 200
        gc.collect()
    assert one.process != pid
    assert one.counted("explanation_starts_total") == 2
    assert [str(warning.message) for warning in seen] == [], "the pipes of the process that had died are still open"


@pytest.mark.parametrize("size", ["small", "large"])
def test_a_question_beyond_its_deadline_ends_the_process(start, images, size):
    """The start of the process counts too: it is stopped before it has read its first message."""
    one = start(explain_timeout_s=0.5)

    async def scenario(client: httpx.AsyncClient) -> tuple[httpx.Response, float, set[int]]:
        asking = asyncio.create_task(client.post("/explain", content=images[size]))
        await until(lambda: len(one.processes) == 1)
        os.kill(one.process, signal.SIGSTOP)
        started = time.monotonic()
        late = await asking
        seconds, left = time.monotonic() - started, one.processes
        await until(lambda: one.counted("explaining") == 0)
        return late, seconds, left

    late, seconds, left = one.run(scenario)
    assert "0.5 s" in problem(late, 504, "deadline_exceeded").detail
    assert seconds < 2
    assert left == one.processes == set()
    assert one.counted("explanation_seconds_count", kind="explain") == 0
    assert one.counted("explanation_requests_total", kind="explain", status="504") == 1


def test_after_a_deadline_the_next_question_starts_another_process(start, png):
    one = start(explain_timeout_s=0.5)
    pids = []

    async def scenario(client: httpx.AsyncClient) -> None:
        for _ in range(2):
            asking = asyncio.create_task(client.post("/explain", content=png))
            await until(lambda: len(one.processes) == 1)
            pids.append(one.process)
            os.kill(pids[-1], signal.SIGSTOP)
            problem(await asking, 504, "deadline_exceeded")
            await until(lambda: one.counted("explaining") == 0)

    one.run(scenario)
    assert pids[0] != pids[1]
    assert one.counted("explanation_starts_total") == 2


def test_a_client_that_leaves_keeps_the_lane_until_the_process_is_done(start, png):
    one = start()
    one.post(png)
    pid = one.process

    async def scenario(client: httpx.AsyncClient) -> tuple[httpx.Response, httpx.Response]:
        os.kill(pid, signal.SIGSTOP)
        leaving = asyncio.create_task(client.post("/explain", content=png))
        await one.asked(pid)
        leaving.cancel()
        await asyncio.wait([leaving])
        refused = await client.post("/inspect", content=png)
        os.kill(pid, signal.SIGCONT)
        await until(lambda: one.counted("explaining") == 0)
        return refused, await client.post("/inspect", content=png)

    refused, answered = one.run(scenario)
    problem(refused, 503, "explanation_busy")
    assert answered.json()["facts"]["width"] == 280  # the answer to its own question, not to the one before
    assert one.process == pid


@pytest.mark.parametrize("path", ["/explain", "/inspect", "/activations"])
@pytest.mark.parametrize("image", [b"hello", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff" + bytes(1000)])
def test_a_bad_image_is_refused_by_the_process_which_goes_on(start, png, path, image):
    one = start()
    one.post(png)
    pid = one.process
    assert one.post(image, path).status_code in (415, 422)
    assert one.post(png, path).status_code == 200
    assert (one.process, one.counted("explanation_starts_total")) == (pid, 1)


def test_while_requests_are_classified_the_process_is_halted(start, png):
    one = start()
    one.post(png)
    pid = one.process
    ends = [asyncio.Event(), asyncio.Event()]

    async def classify(end: asyncio.Event) -> None:
        with one.lane.halted():
            await end.wait()

    async def scenario(client: httpx.AsyncClient) -> httpx.Response:
        os.kill(pid, signal.SIGSTOP)  # so that the answer does not come before the first request does
        asking = asyncio.create_task(client.post("/explain", content=png))
        await one.asked(pid)
        first, second = (asyncio.create_task(classify(end)) for end in ends)
        await asyncio.sleep(0)
        ends[0].set()
        await first
        await asyncio.sleep(0.3)
        assert is_halted(pid)
        assert not asking.done()
        ends[1].set()
        await second
        return await asking

    assert one.run(scenario).status_code == 200
    assert one.process == pid
    assert one.post(png).status_code == 200


def test_classifying_halts_what_explains(start, served, png):
    """The whole way: the process is halted while the classifier has the image, and then gives its answer."""
    one = start()
    one.post(png)
    pid, seen = one.process, []

    class Watching:
        bundle, engine, has_linear_head = served.classifier.bundle, served.classifier.engine, None

        def check_ready(self) -> None: ...

        async def classify(self, data: bytes, deadline: float) -> Classification:
            await until(lambda: is_halted(pid))
            seen.append(one.counted("explaining"))
            return await served.classifier.classify(data, deadline)

    async def scenario(client: httpx.AsyncClient) -> list[httpx.Response]:
        api = create_api(Watching(), one.lane, Settings(), Metrics(CollectorRegistry()))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://sightline") as other:
            asking = asyncio.create_task(client.post("/explain?method=occlusion&cells=14", content=png))
            await until(lambda: one.counted("explaining") == 1)
            return [await other.post("/classify", content=png), await asking]

    assert [response.status_code for response in one.run(scenario)] == [200, 200]
    assert seen == [1]


def test_a_process_that_explains_nothing_is_not_halted(start, png):
    one = start()
    one.post(png)
    with one.lane.halted():
        time.sleep(0.1)
        assert not is_halted(one.process)


def test_a_process_that_starts_while_a_request_is_classified_is_halted_until_it_ends(start, png):
    one = start()

    async def scenario(client: httpx.AsyncClient) -> httpx.Response:
        with one.lane.halted():
            asking = asyncio.create_task(client.post("/explain", content=png))
            await until(lambda: len(one.processes) == 1 and is_halted(one.process))
            await asyncio.sleep(0.3)
            assert not asking.done()
        return await asking

    assert one.run(scenario).status_code == 200


def test_a_halted_process_is_ended_at_the_deadline_and_the_next_question_starts_another(start, png):
    one = start(explain_timeout_s=0.5)

    async def scenario(client: httpx.AsyncClient) -> httpx.Response:
        with one.lane.halted():
            late = await client.post("/explain", content=png)
            await until(lambda: one.counted("explaining") == 0)
            assert one.processes == set()
        return late

    problem(one.run(scenario), 504, "deadline_exceeded")
    one.post(png)
    assert one.counted("explanation_starts_total") == 2


def test_stopping_leaves_no_process(start, png):
    one = start()
    one.post(png)
    pid = one.process
    one.lane.stop()
    assert one.processes == set()
    assert not psutil.pid_exists(pid)
    one.lane.stop()  # again, as at the end of a replica that was stopped before


def test_stopping_a_lane_that_nobody_has_asked_does_nothing(start):
    one = start()
    one.lane.stop()
    assert one.processes == set()


def test_stopping_while_a_question_is_answered_fails_it_and_leaves_no_process(start, png):
    one = start()
    one.post(png)
    pid = one.process

    async def scenario(client: httpx.AsyncClient) -> httpx.Response:
        os.kill(pid, signal.SIGSTOP)
        asking = asyncio.create_task(client.post("/explain", content=png))
        await one.asked(pid)
        one.lane.stop()
        return await asking

    problem(one.run(scenario), 500, "explanation_failed")
    assert one.processes == set()


def test_stopping_while_the_process_starts_leaves_none(start, png):
    """As soon as the question is in the lane, when its thread may not have started the process yet."""
    one = start()

    async def scenario(client: httpx.AsyncClient) -> None:
        asking = asyncio.create_task(client.post("/explain", content=png))
        while one.counted("explaining") == 0:
            await asyncio.sleep(0)
        one.lane.stop()
        await asking

    one.run(scenario)
    assert one.processes == set()


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


def test_a_changed_bundle_is_not_explained(start, copied, png):
    one = start(copied)
    shutil.rmtree(copied.path)
    changed = copied.manifest.model_copy(update={"temperature": 2.5})
    other = load_bundle(save_bundle(copied.path.parents[1], changed, copied.files))
    assert other.digest != copied.digest
    detail = problem(one.post(png), 500, "explanation_failed").detail
    assert copied.digest in detail
    assert other.digest in detail
    assert (one.processes, one.counted("explaining")) == (set(), 0)


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_damaged_bundle_is_not_explained_until_it_is_whole_again(start, copied, png, damage):
    one = start(copied)
    whole = (copied.path / "model.safetensors").read_bytes()
    if damage == "missing":
        (copied.path / "model.safetensors").unlink()
    else:
        (copied.path / "model.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "model.safetensors" in problem(one.post(png), 500, "explanation_failed").detail
    assert one.processes == set()
    (copied.path / "model.safetensors").write_bytes(whole)
    assert one.post(png).status_code == 200
    assert one.counted("explanation_starts_total") == 2


def test_a_process_that_runs_does_not_look_at_the_bundle_again(start, copied, png):
    one = start(copied)
    assert one.post(png).status_code == 200
    shutil.rmtree(copied.path)
    assert one.post(png).status_code == 200


def test_what_the_bundle_holds_stays_out_of_a_problems_detail(start, copied, png):
    """A client learns nothing of the server's folders."""
    one = start(copied)
    shutil.rmtree(copied.path)
    assert str(copied.path.parent) not in problem(one.post(png), 500, "explanation_failed").detail


def test_requests_are_counted_by_kind_and_status_and_answers_by_their_seconds(start, png):
    one = start()
    for kind in KINDS:
        assert one.post(png, f"/{kind}").status_code == 200
        assert one.post(b"hello", f"/{kind}").status_code == 415
    assert one.post(png, "/explain").status_code == 200
    assert one.post(png, "/explain?label=x").status_code == 422
    assert one.post(b"{", "/convolve").status_code == 400
    one.run(lambda client: client.get("/filters"))
    one.post(png, "/classify")

    def counted(kind: str, status: int) -> float:
        return one.counted("explanation_requests_total", kind=kind, status=str(status))

    assert [counted(kind, 200) for kind in (*KINDS, "convolve")] == [2, 1, 1, 0]
    assert [counted(kind, 415) for kind in KINDS] == [1, 1, 1]
    assert (counted("explain", 422), counted("convolve", 400)) == (1, 1)
    assert [one.counted("explanation_seconds_count", kind=kind) for kind in KINDS] == [2, 1, 1]
    assert all(0 < one.counted("explanation_seconds_sum", kind=kind) < 30 for kind in KINDS)
    assert one.counted("requests_total", status="200") == 1, "only /classify is counted there"


def test_the_memory_of_the_process_is_shown_while_there_is_one(start, png):
    one = start()
    assert one.counted("memory_bytes", kind="explanation") == 0
    one.post(png)
    resident = psutil.Process(one.process).memory_info().rss
    assert one.counted("memory_bytes", kind="explanation") == pytest.approx(resident, rel=0.2)
    assert resident > 20 * 2**20
    one.lane.stop()
    assert one.counted("memory_bytes", kind="explanation") == 0


def test_the_memory_of_a_process_that_died_is_none(start, png):
    one = start()
    one.post(png)
    pid = one.process
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert one.counted("memory_bytes", kind="explanation") == 0
    one.lane.stop()


def test_a_message_arrives_as_it_was_sent():
    stream = io.BytesIO()
    sent = [({"kind": "explain", "text": "猫\n\0"}, bytes(range(256)) * 1000), ({"code": None}, b"")]
    for header, body in sent:
        frames.write(stream, header, body)
    stream.seek(0)
    for header, body in sent:
        assert frames.read(stream) == (header | {"body_bytes": len(body)}, body)
    with pytest.raises(EOFError):
        frames.read(stream)


@pytest.mark.parametrize("cut", [1, 4, 5, 20])
def test_a_message_that_is_cut_off_means_that_the_other_end_has_died(cut):
    stream = io.BytesIO()
    frames.write(stream, {"code": None}, b"body")
    with pytest.raises(EOFError, match="the pipe was closed"):
        frames.read(io.BytesIO(stream.getvalue()[:-cut]))
