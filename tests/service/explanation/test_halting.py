"""The explaining process is halted while its replica classifies, and never for longer."""

import asyncio
import os
import signal
import time

import httpx
from prometheus_client import CollectorRegistry

from service.http.api import create_api
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.service.conftest import problem
from tests.service.explanation.conftest import is_halted, until
from vision.classification import Classification


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
