"""One started classifier for all tests of the service, and the API in front of it."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image
from prometheus_client import CollectorRegistry
from rich.console import Console

from service.errors import PROBLEMS
from service.explanation.lane import Lane
from service.http.api import create_api
from service.http.backends import ClassifierLike
from service.http.schemas import Problem
from service.local.processes import RUN_VARIABLE
from service.model.classifier import Classifier
from service.observability.metrics import Metrics
from service.observability.request_log import REQUESTS, start_request_log
from service.settings import Settings
from vision.bundle.manifest import ArchitectureEntry
from vision.bundle.store import find_bundle, load_bundle, save_bundle
from vision.preprocessing import Preprocessing

MAX_IMAGE_BYTES = 300_000
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8))
PROBLEM_KEYS = ["type", "title", "status", "detail", "code", "remedy", "request_id"]


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


def problem(response: httpx.Response, status: int, code: str) -> Problem:
    """The problem in a response, after everything that holds for every one of them."""
    assert (response.status_code, response.json().get("code")) == (status, code), response.text
    assert response.headers.get_list("content-type") == ["application/problem+json"]
    assert list(response.json()) == PROBLEM_KEYS
    document = Problem.model_validate_json(response.content, strict=True)
    kind = PROBLEMS[code]
    assert (document.type, document.title, document.remedy) == (
        f"urn:sightline:problem:{code}",
        kind.title,
        kind.remedy,
    )
    assert document.status == status
    assert document.detail
    assert response.headers.get_list("x-request-id") == [document.request_id]
    assert response.headers.get_list("retry-after") == (["1"] if status == 503 else [])
    return document


def bad_images(png: bytes, encoded: Callable[..., bytes]) -> dict[str, tuple[int, bytes]]:
    """For every code of an ImageError, its status and an image that has it."""
    return {
        "empty": (400, b""),
        "not_an_image": (415, b"hello, world"),
        "unsupported_format": (415, b"%PDF-1.7"),
        "too_many_bytes": (413, encoded(NOISE, "PNG")),
        "too_many_pixels": (413, encoded(Image.new("L", (20_001, 1)), "PNG")),
        "truncated": (422, png[: len(png) // 2]),
        "corrupt": (422, png[:100] + bytes(100) + png[200:]),
    }


def save_untrained(folder: Path, arch: str, preprocessing: Preprocessing, **arguments: object) -> Path:
    """A models folder with ARCH/1, a network with random weights and the categories `day` and `night`."""
    import torch

    from training.data.images import ImageSet
    from training.data.preparation import Evidence
    from training.export.composition import compose_bundle
    from vision.architectures.registry import build_model

    torch.manual_seed(0)
    files = [folder / f"{index}.png" for index in range(2)]
    pictures = NOISE.crop((0, 0, 60, 40)), NOISE.crop((90, 80, 130, 140))
    for file, picture in zip(files, pictures, strict=True):
        picture.save(file)
    images = ImageSet(np.stack([preprocessing.apply(np.asarray(one)) for one in pictures]), np.arange(2))
    composed = compose_bundle(
        folder / "models" / arch,
        build_model(arch, 2, **arguments),
        architecture=ArchitectureEntry(name=arch, arguments=arguments),
        categories=["day", "night"],
        preprocessing=preprocessing,
        temperature=1.0,
        evidence=Evidence(images, images, images, files, {}),
        formats=[],
        config={},
        console=Console(quiet=True),
    )
    save_bundle(folder / "models", *composed)
    return folder / "models"


@contextmanager
def serving(models: Path) -> Iterator[Served]:
    """A started classifier of these models."""
    served = Served(models)
    try:
        served.start()
        yield served
    finally:
        served.stop()


@pytest.fixture(scope="session")
def served(models: Path) -> Iterator[Served]:
    """A started classifier and the API in front of it."""
    with serving(models) as served:
        yield served


@pytest.fixture(scope="session")
def headless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serves a network that does not end in global average pooling and one linear layer: lenet5, gray, 32 px."""
    preprocessing = Preprocessing.minus_one_one(32, channels=1)
    with serving(save_untrained(tmp_path_factory.mktemp("headless"), "lenet5", preprocessing)) as served:
        yield served


@pytest.fixture(scope="session")
def colourful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serves resnet18: RGB, the middle 300 px of 320, and a first layer of 7×7 kernels with a stride of 2."""
    preprocessing = Preprocessing.imagenet(320, 300)
    with serving(save_untrained(tmp_path_factory.mktemp("colourful"), "resnet18", preprocessing)) as served:
        yield served


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
