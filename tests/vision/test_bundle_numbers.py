"""A service shows what metrics.json says where it says it in full, and nothing where it does not."""

import copy
import json

import pytest

from vision.bundle.manifest import METRICS_FILE
from vision.bundle.numbers import TestNumbers


@pytest.fixture
def metrics(shipped):
    return json.loads(shipped.files[METRICS_FILE])


def written(metrics) -> dict[str, bytes]:
    return {METRICS_FILE: metrics if isinstance(metrics, bytes) else json.dumps(metrics).encode()}


@pytest.mark.parametrize("engine", ["torch-f32", "openvino-f32", "openvino-bf16"])
def test_the_shipped_bundles_numbers_are_read_as_they_are_written(shipped, metrics, engine):
    numbers, written_numbers = TestNumbers.read(shipped.files, engine), metrics[engine]
    for name in ("images", "macro_f1", "ece", "ece_before", "confusion"):
        assert getattr(numbers, name) == written_numbers[name]
    assert numbers.accuracy == written_numbers["acc@1"]
    assert list(numbers.accuracy_interval) == written_numbers["acc@1_interval"]
    for name in ("most_confused", "reliability", "reliability_before"):
        assert [entry.model_dump() for entry in getattr(numbers, name)] == written_numbers[name]
    assert {name: entry.model_dump() for name, entry in numbers.categories.items()} == written_numbers["categories"]
    assert list(numbers.categories) == list(shipped.manifest.categories)


def test_the_shipped_numbers_fit_each_other_and_the_manifest(shipped):
    numbers = TestNumbers.read(shipped.files, "torch-f32")
    right = sum(row[index] for index, row in enumerate(numbers.confusion))
    assert sum(map(sum, numbers.confusion)) == numbers.images == sum(c.images for c in numbers.categories.values())
    assert right / numbers.images == pytest.approx(numbers.accuracy, abs=1e-6)
    assert numbers.accuracy == shipped.manifest.metrics["test_acc@1"]
    assert numbers.accuracy_interval[0] <= numbers.accuracy <= numbers.accuracy_interval[1]
    assert sum(entry.images for entry in numbers.most_confused) <= numbers.images - right
    for bins in (numbers.reliability, numbers.reliability_before):
        assert sum(entry.images for entry in bins) == numbers.images


def test_each_engine_has_its_own_numbers_and_another_one_the_references(metrics):
    metrics["torch-f32"]["acc@1"], metrics["openvino-f32"]["acc@1"] = 0.25, 0.5
    files = written(metrics)
    assert TestNumbers.read(files, "openvino-f32").accuracy == 0.5
    assert TestNumbers.read(files, "torch-f32").accuracy == 0.25
    assert TestNumbers.read(files, "torch-cuda-f32").accuracy == 0.25


def test_a_file_without_the_engine_and_without_the_reference_has_no_numbers(metrics):
    del metrics["torch-f32"]
    assert TestNumbers.read(written(metrics), "openvino-int8") is None
    assert TestNumbers.read(written(metrics), "openvino-f32") is not None


def test_a_bundle_without_the_file_has_no_numbers(shipped):
    files = {name: data for name, data in shipped.files.items() if name != METRICS_FILE}
    assert TestNumbers.read(files, "torch-f32") is None
    assert TestNumbers.read({}, "torch-f32") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"7",
        b'"torch-f32"',
        b"{}",
        b'{"torch-f32": {}}',
        b'{"torch-f32": [1]}',
        b'{"torch-f32": null}',
        b"\xff\xfe\x00",
        b"\x89PNG\r\n",
        b"[" * 100000,
        b'{"torch-f32": {"images": 1}}',
    ],
    ids=lambda content: str(content[:20]),
)
def test_a_file_of_anything_else_has_no_numbers(content):
    assert TestNumbers.read(written(content), "torch-f32") is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["images"], 0),
        (["images"], 4.5),
        (["images"], "many"),
        (["acc@1"], 1.5),
        (["acc@1"], -0.1),
        (["acc@1"], None),
        (["acc@1"], float("nan")),
        (["acc@1"], [0.5]),
        (["acc@1_interval"], [0.5]),
        (["acc@1_interval"], [0.1, 0.2, 0.3]),
        (["macro_f1"], float("inf")),
        (["ece"], "small"),
        (["categories"], ["0", "1"]),
        (["categories", "0"], 0.5),
        (["categories", "0", "f1"], 2),
        (["categories", "0", "images"], -1),
        (["confusion"], [[-1]]),
        (["confusion"], [1, 2]),
        (["most_confused"], {"label": "0"}),
        (["most_confused"], [{"label": 0, "predicted": "1", "images": 1}]),
        (["most_confused"], [{"label": "0", "predicted": "1", "images": 0}]),
        (["reliability"], None),
        (["reliability_before"], [{}]),
    ],
    ids=str,
)
def test_a_value_of_another_type_or_out_of_bounds_leaves_no_numbers(metrics, path, value):
    place = metrics["torch-f32"]
    for name in path[:-1]:
        place = place[name]
    assert path[-1] in place
    place[path[-1]] = value
    assert TestNumbers.read(written(metrics), "torch-f32") is None


@pytest.mark.parametrize(
    "name",
    [
        "images",
        "acc@1",
        "acc@1_interval",
        "macro_f1",
        "ece",
        "ece_before",
        "categories",
        "confusion",
        "most_confused",
        "reliability",
        "reliability_before",
    ],
)
def test_a_missing_value_leaves_no_numbers(metrics, name):
    del metrics["torch-f32"][name]
    assert TestNumbers.read(written(metrics), "torch-f32") is None


def test_what_a_later_version_adds_is_ignored(metrics):
    more = copy.deepcopy(metrics)
    more["torch-f32"] |= {"acc@3": 1.0, "notes": ["new"]}
    more["torch-f32"]["categories"]["0"]["auc"] = 1.0
    assert TestNumbers.read(written(more), "torch-f32") == TestNumbers.read(written(metrics), "torch-f32")
