"""The table of metrics, in a real registry of prometheus_client."""

import asyncio
import re
import time

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from service.metrics import IMAGES, METRICS, STAGE_SECONDS, PrometheusMetrics

COUNTERS = [metric for metric in METRICS if metric.kind == "counter"]
HISTOGRAMS = [metric for metric in METRICS if metric.kind == "histogram"]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry) -> PrometheusMetrics:
    return PrometheusMetrics(registry)


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
    assert f"{metric.name}{{{shown}}} 3.5" in exposed(registry)
    assert f"# HELP {metric.name} {metric.help}" in generate_latest(registry).decode()


@pytest.mark.parametrize("metric", HISTOGRAMS, ids=lambda metric: metric.name)
def test_a_histogram_appears_with_its_buckets(metrics, registry, metric):
    metrics.observe(metric, metric.buckets[0])
    metrics.observe(metric, metric.buckets[-1] + 1)
    lines = exposed(registry)
    assert f"{metric.name}_count 2.0" in lines
    assert f"{metric.name}_sum {float(metric.buckets[0] + metric.buckets[-1] + 1)}" in lines
    edges = [float(edge) for line in lines for edge in re.findall(r'le="([^"]+)"', line)]
    assert edges == [*metric.buckets, float("inf")]
    assert f'{metric.name}_bucket{{le="{float(metric.buckets[0])}"}} 1.0' in lines


@pytest.mark.parametrize("amount", [0, 0.0, -1])
def test_an_amount_of_nothing_adds_nothing(metrics, registry, amount):
    metrics.count(STAGE_SECONDS, amount, stage="decode")
    assert not any(line.startswith(STAGE_SECONDS.name) for line in exposed(registry))


@pytest.mark.parametrize("labels", [{}, {"reason": "ok"}, {"outcome": "ok", "client": "1.2.3.4"}])
def test_other_labels_than_the_tables_are_refused(metrics, labels):
    with pytest.raises(ValueError, match="label"):
        metrics.count(IMAGES, **labels)


def test_label_values_are_counted_apart(metrics, registry):
    metrics.count(IMAGES, outcome="ok")
    metrics.count(IMAGES, 2, outcome="refused")
    assert [registry.get_sample_value(IMAGES.name, {"outcome": outcome}) for outcome in ("ok", "refused", "failed")] == [1, 2, None]


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


def test_a_batchs_inference_counts_once_however_many_images_are_in_it(served, digit, encoded) -> None:
    image, names = encoded(digit(3), "PNG"), ("sightline_stage_seconds_total", "sightline_stage_images_total")

    async def many() -> list:
        return await asyncio.gather(*(served.classifier.classify(image, 1, time.monotonic() + 30) for _ in range(64)))

    before = [served.counted(name, stage="inference") for name in names]
    answers = served.run(lambda client: many())
    seconds, images = (served.counted(name, stage="inference") - was for name, was in zip(names, before, strict=True))
    batches = {answer.inference_s for answer in answers}  # one clock reading a batch
    assert len(batches) < len(answers), "some images shared a batch"
    assert served.counted("sightline_batch_size_bucket", le="4.0") == served.counted("sightline_batch_size_count"), "4 is best on a CPU"
    assert images == len(answers)
    assert seconds == pytest.approx(sum(batches))
