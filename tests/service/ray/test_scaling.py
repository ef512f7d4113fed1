"""Replicas come while there is more to do than they should hold, go when there is not, and nobody notices either."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil
import pytest

from service.ray.scaling import ONGOING_IMAGES, autoscaling, replicas_for_ongoing_images
from service.settings import Settings


def decided(held: dict[str, float] | None, target: int = 16) -> float:
    scaling = autoscaling(Settings(num_replicas=1, max_replicas=8, target_ongoing_images=target))
    metrics = {} if held is None else {ONGOING_IMAGES: held}
    context = SimpleNamespace(aggregated_metrics=metrics, target_num_replicas=2, config=scaling)
    return replicas_for_ongoing_images(context)[0]


def test_the_number_is_in_proportion_to_what_is_held() -> None:
    assert decided({"a": 40.0, "b": 40.0}) == 5
    assert decided({"a": 4.0, "b": 4.0}) == 0.5
    assert decided({"a": 0.0}) == 0


def test_while_nobody_reports_nothing_changes() -> None:
    assert decided(None) == 2


def test_a_fixed_number_is_not_scaled() -> None:
    assert autoscaling(Settings(num_replicas=2)) is None
    assert autoscaling(Settings(num_replicas=2, max_replicas=2)) is None


@pytest.mark.serve
@pytest.mark.slow
def test_one_becomes_three_and_one_again_without_a_failed_request(
    models: Path, launch: Callable, tmp_path: Path, digit: Callable, encoded: Callable
) -> None:
    settings = {
        "num_replicas": "1",
        "max_replicas": "3",
        "target_ongoing_images": "4",
        "upscale_delay_s": "1",
        "downscale_delay_s": "5",
    }
    service = launch(models, tmp_path, threads="1", **settings)
    statuses: Counter[int | str] = Counter()
    photo = encoded(digit(4), "PNG")
    try:
        service.wait_until_ready()
        assert replicas(service) == 1
        with clients(1, service.url, photo, statuses):
            with clients(24, service.url, photo, statuses):
                wait_for(service, 3, 90)
                time.sleep(5)  # all three answer
            wait_for(service, 1, 90)
            time.sleep(2)
    finally:
        assert service.stop() == 0, service.printed
    assert set(statuses) == {200}, statuses
    assert statuses[200] > 500


@contextmanager
def clients(count: int, url: str, photo: bytes, statuses: Counter) -> Iterator[None]:
    """So many, each of which asks again as soon as it has its answer."""
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=30) as session:
            while not over.wait(0.01):
                try:
                    statuses[session.post(f"{url}/classify", content=photo).status_code] += 1
                except httpx.HTTPError as error:
                    statuses[repr(error)] += 1

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def replicas(service) -> int:
    """How many processes classify."""
    found = 0
    for process in psutil.Process(service.process.pid).children(recursive=True):
        try:
            found += "ServeReplica" in " ".join(process.cmdline())
        except psutil.Error:
            continue
    return found


def wait_for(service, count: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while replicas(service) != count:
        assert time.monotonic() < deadline, f"{replicas(service)} replicas instead of {count}"
        time.sleep(0.5)
