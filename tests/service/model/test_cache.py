import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from service.model.cache import AnswerCache
from service.model.classifier import Classifier
from service.observability.metrics import CACHE, FORMATS, IMAGES, Metrics
from service.settings import Settings
from vision.bundle.store import find_bundle, load_bundle
from vision.classification import Timings
from vision.errors import ImageError


def test_the_longest_unused_answer_goes_first() -> None:
    cache: AnswerCache[str] = AnswerCache("digest", 2)
    cache.keep(b"1", "one")
    cache.keep(b"2", "two")
    assert cache.get(b"1") == "one"
    cache.keep(b"3", "three")
    assert [cache.get(key) for key in (b"1", b"2", b"3")] == ["one", None, "three"]


def test_a_key_is_of_the_image_and_of_the_bundle() -> None:
    one, other = AnswerCache[str]("3b5d54ecfa3b", 1), AnswerCache[str]("000000000000", 1)
    assert one.key(b"image") == one.key(b"image")
    assert len({one.key(b"image"), one.key(b"imagf"), one.key(b""), other.key(b"image")}) == 4


def counts_after(images: list[bytes], models: Path, **settings: int) -> tuple[dict[str, float], list]:
    """What a fresh classifier has counted after these images, one after another, and its answers or errors."""
    registry = CollectorRegistry()
    classifier = Classifier(load_bundle(find_bundle(models)), Settings(**settings), Metrics(registry))

    async def scenario() -> list:
        await classifier.start()
        before.append(registry.get_sample_value(FORMATS.name, {"format": "PNG"}) or 0)
        answers = []
        for image in images:
            try:
                answers.append(await classifier.classify(image, time.monotonic() + 30))
            except ImageError as error:
                answers.append(error)
        return answers

    before: list[float] = []
    try:
        answers = asyncio.run(scenario())
    finally:
        classifier.stop()
    kept = classifier._cache._kept.values() if classifier._cache else ()
    assert all(one.scores.base is None for one in kept), "a row that is a view keeps its whole batch in memory"
    value = lambda metric, **labels: registry.get_sample_value(metric.name, labels) or 0  # noqa: E731
    inferred = value(FORMATS, format="PNG") - before[0]
    return {
        "inferred": inferred,
        **{outcome: value(CACHE, outcome=outcome) for outcome in ("hit", "miss")},
        "ok": value(IMAGES, outcome="ok"),
    }, answers


@pytest.mark.parametrize(("size", "inferred", "hits", "misses"), [(0, 4, 0, 0), (1, 3, 1, 3), (8, 2, 2, 2)])
def test_identical_bytes_are_inferred_once_while_they_are_kept(
    models: Path, digit: Callable, encoded: Callable, size: int, inferred: int, hits: int, misses: int
) -> None:
    three, seven = encoded(digit(3), "PNG"), encoded(digit(7), "PNG")
    counts, answers = counts_after([three, three, seven, three], models, cache_images=size)
    assert (counts["inferred"], counts["hit"], counts["miss"]) == (inferred, hits, misses)
    assert [answer.best.label for answer in answers] == ["3", "3", "7", "3"]
    assert answers[0].top(3) == answers[1].top(3) == answers[3].top(3)


def test_a_hit_is_an_answered_image_that_took_no_time(models: Path, digit: Callable, encoded: Callable) -> None:
    without, _ = counts_after([encoded(digit(3), "PNG")] * 3, models)
    counts, answers = counts_after([encoded(digit(3), "PNG")] * 3, models, cache_images=8)
    assert counts["ok"] == without["ok"]
    assert [answer.timings for answer in answers[1:]] == [Timings()] * 2
    assert answers[0].timings.decode > 0


def test_a_refusal_is_not_kept(models: Path) -> None:
    counts, answers = counts_after([b"\xff\xd8\xff broken"] * 2, models, cache_images=8)
    assert (counts["hit"], counts["miss"]) == (0, 2)
    assert all(isinstance(answer, ImageError) for answer in answers)
