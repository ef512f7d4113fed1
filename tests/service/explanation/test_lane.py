"""The lane of explanations: one question at a time, by a process that starts when it is needed."""

import asyncio
import gc
import os
import shutil
import signal
import time
import warnings

import httpx
import psutil
import pytest

from tests.service.conftest import problem
from tests.service.explanation.conftest import KINDS, until
from vision.bundle.store import load_bundle, save_bundle


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
