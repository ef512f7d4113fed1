"""One started classifier for all tests of the service, and the API in front of it."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client import CollectorRegistry

from service.explanation.lane import Lane
from service.http.api import create_api
from service.http.classify import ClassifierLike
from service.local.processes import RUN_VARIABLE
from service.model.classifier import Classifier
from service.observability.metrics import Metrics
from service.observability.request_log import REQUESTS, start_request_log
from service.settings import Settings
from vision.bundle.store import find_bundle, load_bundle

MAX_IMAGE_BYTES = 300_000


class Served:
    """The real classifier on an event loop of its own, which runs while a scenario runs.

    Attributes:
        classifier: started, or not where it was asked for.
        lane: of explanations; its process starts with the first one.
        registry: has what the classifier and every API count.
    """

    def __init__(self, models: Path) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        settings = Settings(max_image_bytes=MAX_IMAGE_BYTES)
        self.classifier = Classifier(load_bundle(find_bundle(models)), settings, self.metrics)
        self.lane = Lane(self.classifier.bundle, self.classifier.engine, settings, self.metrics)
        self._runner = asyncio.Runner()

    def start(self) -> None:
        self._runner.run(self.classifier.start())

    def stop(self) -> None:
        self.lane.stop()
        self.classifier.stop()
        self._runner.close()

    def run(
        self,
        scenario: Callable[[httpx.AsyncClient], Awaitable],
        classifier: ClassifierLike | None = None,
        **settings: object,
    ) -> object:
        """Awaits scenario(client), for at most 30 s, with a client of a fresh API that has these settings."""
        api = create_api(classifier or self.classifier, self.lane, Settings(**settings), self.metrics)

        async def whole() -> object:
            async with (
                asyncio.timeout(30),
                httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://sightline") as client,
            ):
                return await scenario(client)

        return self._runner.run(whole())

    def request(
        self,
        method: str,
        path: str,
        *,
        classifier: ClassifierLike | None = None,
        settings: dict | None = None,
        **options: object,
    ) -> httpx.Response:
        """The answer to one request; options are httpx's."""
        return self.run(lambda client: client.request(method, path, **options), classifier, **settings or {})

    def post(self, content: object = None, path: str = "/classify", **options: object) -> httpx.Response:
        """The answer to one POST."""
        return self.request("POST", path, content=content, **options)

    def counted(self, name: str, **labels: str) -> float:
        """A sample's value now, 0 where it was never counted."""
        return self.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture(scope="session")
def served(models: Path) -> Iterator[Served]:
    """A started classifier and the API in front of it."""
    served = Served(models)
    served.start()
    yield served
    served.stop()


@pytest.fixture
def unstarted(models: Path) -> Iterator[Served]:
    """A classifier that has not proved its bundle yet."""
    served = Served(models)
    yield served
    served.stop()


@pytest.fixture
def writing() -> Callable[[Path | None], Iterator]:
    """A context in which the request log is written to a file; leaves logging as it was."""

    @contextmanager
    def start(file: Path | None) -> Iterator:
        before = (REQUESTS.handlers, REQUESTS.propagate, REQUESTS.level)
        writer = start_request_log(file)
        try:
            yield writer
            writer.stop()
        finally:
            REQUESTS.handlers, REQUESTS.propagate, level = before
            REQUESTS.setLevel(level)
            for handler in writer.handlers:
                handler.close()

    return start


@pytest.fixture
def logged(writing: Callable, tmp_path: Path) -> Callable[[Callable[[], object]], list[dict]]:
    """Calls a function and gives the lines that the request log got meanwhile."""

    def lines_of(action: Callable[[], object]) -> list[dict]:
        file = tmp_path / "requests.jsonl"
        with writing(file):
            action()
        return [json.loads(line) for line in file.read_text().splitlines()]

    return lines_of


def marked_processes(supervisor: int) -> list[str]:
    """What still runs of a run: everything that bears its mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.environ().get(RUN_VARIABLE, "").startswith(f"{supervisor}:")
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(" ".join(process.cmdline())[:100])
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="session")
def left_of() -> Callable[[int], list[str]]:
    """What still runs of a supervisor's run; see marked_processes."""
    return marked_processes
