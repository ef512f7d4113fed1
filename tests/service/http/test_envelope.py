import asyncio
import gc
from collections.abc import Callable

import pytest
from starlette.types import Message

from service.http.api import create_api
from service.settings import Settings

POST = {
    "type": "http",
    "method": "POST",
    "path": "/classify",
    "raw_path": b"/classify",
    "query_string": b"",
    "headers": [],
}


def test_a_client_that_leaves_while_sending_is_no_error_of_the_server(served, logged: Callable) -> None:
    async def leaves() -> None:
        messages = iter(
            [{"type": "http.request", "body": b"\xff\xd8\xff", "more_body": True}, {"type": "http.disconnect"}]
        )

        async def receive() -> Message:
            return next(messages)

        async def send(message: Message) -> None:
            raise AssertionError(f"nobody is there to get {message}")

        api = create_api(served.classifier, served.lane, Settings(), served.metrics)
        await api(dict(POST), receive, send)

    (line,) = logged(lambda: served.run(lambda client: leaves()))
    assert (line["status"], line["code"]) == (499, None)
    assert "error" not in line


def test_what_waits_is_cancelled_when_its_client_leaves(
    served, logged: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    waits, cancelled = asyncio.Event(), asyncio.Event()

    class Waiting:
        check_ready = served.classifier.check_ready
        bundle, engine = served.classifier.bundle, served.classifier.engine

        async def classify(self, data: bytes, deadline: float) -> None:
            waits.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

    async def leaves() -> None:
        messages = iter(
            [{"type": "http.request", "body": b"\xff\xd8\xff", "more_body": False}, {"type": "http.disconnect"}]
        )

        async def receive() -> Message:
            message = next(messages)
            if message["type"] == "http.disconnect":
                await waits.wait()
            return message

        async def send(message: Message) -> None:
            raise AssertionError(f"nobody is there to get {message}")

        api = create_api(Waiting(), served.lane, Settings(), served.metrics)
        await asyncio.wait_for(api(dict(POST), receive, send), timeout=5)
        await asyncio.wait_for(cancelled.wait(), timeout=5)

    (line,) = logged(lambda: served.run(lambda client: leaves()))
    gc.collect()  # asyncio reports what nobody has asked for when it is thrown away
    assert line["status"] == 499
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
