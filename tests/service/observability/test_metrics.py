"""The table of metrics, in a real registry of prometheus_client."""

import asyncio
import dataclasses
import json
import re
import time

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from service.model.classifier import Classifier
from service.observability.metrics import IMAGES, MAX_LABELS, METRICS, PENDING, STAGE_SECONDS, Metrics
from service.settings import Settings
from vision.bundle.manifest import BASELINE_FILE
from vision.bundle.store import find_bundle, load_bundle
from vision.errors import ManifestInvalid

COUNTERS = [metric for metric in METRICS if metric.kind == "counter"]
HISTOGRAMS = [metric for metric in METRICS if metric.kind == "histogram"]
GAUGES = [metric for metric in METRICS if metric.kind == "gauge"]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry) -> Metrics:
    return Metrics(registry)


def exposed(registry: CollectorRegistry) -> list[str]:
    """What Prometheus reads, without comments and without the times of creation."""
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if not line.startswith("#") and "_created" not in line]


@pytest.mark.parametrize("metric", COUNTERS, ids=lambda metric: metric.name)
def test_a_counter_appears_with_its_labels_and_adds_up(metrics, registry, metric):
    labels = {label: f"a {label}" for label in metric.labels}
    metrics.count(metric, **labels)
    metrics.count(metric, 2.5, **labels)
    shown = ",".join(f'{name}="{value}"' for name, value in labels.items())
    assert f"{metric.name}{f'{{{shown}}}' if labels else ''} 3.5" in exposed(registry)
    assert f"# HELP {metric.name} {metric.help}" in generate_latest(registry).decode()


@pytest.mark.parametrize("metric", HISTOGRAMS, ids=lambda metric: metric.name)
def test_a_histogram_appears_with_its_buckets(metrics, registry, metric):
    labels = {label: f"a {label}" for label in metric.labels}
    metrics.observe(metric, metric.buckets[0], **labels)
    metrics.observe(metric, metric.buckets[-1] + 1, **labels)
    value = lambda suffix, **more: registry.get_sample_value(f"{metric.name}{suffix}", labels | more)  # noqa: E731
    assert value("_count") == 2
    assert value("_sum") == pytest.approx(metric.buckets[0] + metric.buckets[-1] + 1)
    edges = [
        float(edge)
        for line in exposed(registry)
        if line.startswith(metric.name)
        for edge in re.findall(r'le="([^"]+)"', line)
    ]
    assert edges == [*metric.buckets, float("inf")]
    assert value("_bucket", le=str(float(metric.buckets[0]))) == 1


@pytest.mark.parametrize("metric", GAUGES, ids=lambda metric: metric.name)
def test_a_gauge_appears_with_its_labels_and_holds_the_last_value(metrics, registry, metric):
    labels = {label: f"a {label}" for label in metric.labels}
    metrics.set(metric, 3, **labels)
    metrics.set(metric, 0.25, **labels)
    assert registry.get_sample_value(metric.name, labels) == 0.25


def test_a_watched_gauge_is_read_when_it_is_asked_for(metrics, registry):
    waiting = [1, 2]
    metrics.watch(PENDING, lambda: len(waiting))
    waiting.append(3)
    assert registry.get_sample_value(PENDING.name) == 3


@pytest.mark.parametrize("amount", [0, 0.0, -1])
def test_an_amount_of_nothing_adds_nothing(metrics, registry, amount):
    metrics.count(IMAGES, amount, outcome="ok")
    assert not any(line.startswith(IMAGES.name) for line in exposed(registry))


@pytest.mark.parametrize("labels", [{}, {"reason": "ok"}, {"outcome": "ok", "client": "1.2.3.4"}])
def test_other_labels_than_the_tables_are_refused(metrics, labels):
    with pytest.raises(ValueError, match="label"):
        metrics.count(IMAGES, **labels)


def test_label_values_are_counted_apart(metrics, registry):
    metrics.count(IMAGES, outcome="ok")
    metrics.count(IMAGES, 2, outcome="refused")
    assert [
        registry.get_sample_value(IMAGES.name, {"outcome": outcome}) for outcome in ("ok", "refused", "failed")
    ] == [1, 2, None]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_the_convention(metric):
    assert re.fullmatch("sightline(_[a-z]+)+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert not re.search("_(ms|milliseconds|us|minutes|kb|mb|percent)(_|$)", metric.name), "base units only"
    assert "Seconds" not in metric.help or "_seconds" in metric.name
    assert metric.help.endswith(".")
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert all(edge > 0 for edge in metric.buckets)


def test_names_are_unique():
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def classified(served, images: list[bytes]) -> list:
    """Their answers, all asked at once."""

    async def many() -> list:
        deadline = time.monotonic() + 30
        return await asyncio.gather(
            *(served.classifier.classify(image, deadline) for image in images), return_exceptions=True
        )

    return served.run(lambda client: many())


def test_a_batchs_inference_is_observed_once_however_many_images_are_in_it(served, digit, encoded) -> None:
    names = [f"{STAGE_SECONDS.name}_{suffix}" for suffix in ("sum", "count")]
    before = [served.counted(name, stage="inference") for name in names]
    answers = classified(served, [encoded(digit(3), "PNG")] * 64)
    seconds, count = (served.counted(name, stage="inference") - was for name, was in zip(names, before, strict=True))
    batches = {answer.timings.inference for answer in answers}  # one clock reading a batch
    assert len(batches) < len(answers), "some images shared a batch"
    assert count == len(batches)
    assert seconds == pytest.approx(sum(batches))
    assert served.counted("sightline_batch_size_bucket", le="4.0") == served.counted("sightline_batch_size_count"), (
        "4 is best on a CPU"
    )


def test_every_stage_format_label_and_failure_is_counted(served, digit, encoded) -> None:
    def counted() -> dict[str, float]:
        per_image = ("decode", "preprocess", "queue", "postprocess")
        stages = {stage: ("sightline_stage_seconds_count", {"stage": stage}) for stage in per_image}
        others = {
            "png": ("sightline_decoded_images_total", {"format": "PNG"}),
            "jpeg": ("sightline_decoded_images_total", {"format": "JPEG"}),
            "truncated": ("sightline_decode_failures_total", {"reason": "truncated"}),
            "three": ("sightline_predictions_total", {"label": "3"}),
            "confidence": ("sightline_confidence_count", {}),
        }
        return {key: served.counted(name, **labels) for key, (name, labels) in (stages | others).items()}

    before = counted()
    picture = digit(3)
    answers = classified(served, [encoded(picture, "PNG"), encoded(picture, "JPEG"), encoded(picture, "JPEG")[:400]])
    got = {key: value - before[key] for key, value in counted().items()}
    refused = [answer for answer in answers if isinstance(answer, Exception)]
    assert [one.code for one in refused] == ["truncated"]
    assert got.pop("postprocess") in (1, 2), "once a batch"
    assert got == {
        "decode": 2,
        "preprocess": 2,
        "queue": 3,
        "png": 1,
        "jpeg": 1,
        "truncated": 1,
        "three": 2,
        "confidence": 2,
    }


def test_what_is_served_and_what_it_was_is_there_from_the_start(served) -> None:
    classifier = served.classifier
    assert (
        served.counted(
            "sightline_model_info",
            model="digits",
            version="1",
            digest=classifier.bundle.digest,
            engine=classifier.engine,
        )
        == 1
    )
    assert served.counted("sightline_ready") == 1
    assert served.counted("sightline_pending_images") == 0
    assert served.counted("sightline_memory_bytes", kind="resident") > 50e6
    shares = [
        served.counted("sightline_reference_share", label=label) for label in classifier.bundle.manifest.categories
    ]
    assert len(shares) <= MAX_LABELS
    assert sum(shares) == pytest.approx(1, abs=1e-4)


def test_requests_are_counted_by_status_and_timed_where_they_are_answered(served, digit, encoded) -> None:
    names = [("sightline_requests_total", {"status": status}) for status in ("200", "415", "422")] + [
        ("sightline_request_seconds_count", {})
    ]
    before = [served.counted(name, **labels) for name, labels in names]
    good, bad = served.post(encoded(digit(5), "PNG")), served.post(b"no image")
    assert good.status_code == 200
    after = [served.counted(name, **labels) for name, labels in names]
    assert after[0] - before[0] == after[3] - before[3] == 1
    assert sum(after[1:3]) - sum(before[1:3]) == 1, bad.status_code


@pytest.mark.parametrize(
    "change",
    [
        None,
        [],
        {"predicted_shares": {"3": 2}},
        {"predicted_shares": {"3": -0.1}},
        {"predicted_shares": ["3"]},
        {"predicted_shares": None},
        {"images": 0},
        {"label_shares": {"3": 1.5}},
        {"confidence_histogram": [2]},
    ],
)
def test_a_baseline_that_is_none_is_refused_by_name_and_field(models, change) -> None:
    bundle = load_bundle(find_bundle(models))
    whole = json.loads(bundle.files[BASELINE_FILE])
    broken = whole | change if isinstance(change, dict) else change
    broken = dataclasses.replace(bundle, files=dict(bundle.files) | {BASELINE_FILE: json.dumps(broken).encode()})
    field = next(iter(change)) if change else ""
    with pytest.raises(ManifestInvalid, match=f"{BASELINE_FILE}.*{field}"):
        Classifier(broken, Settings(), Metrics(CollectorRegistry()))
