"""The pictures that a model was most wrong about: written, read again, and ignored where they are not whole."""

import io
import json

import pytest
from PIL import Image

from vision.bundle.numbers import TestNumbers
from vision.bundle.worst import MAX_SIDE_PX, MAX_WORST, WORST_FILE, WorstEntry, read_worst, worst_files

ENTRIES = [WorstEntry(label="daisy", predicted="tulip", score=0.98), WorstEntry(label="Käfer", predicted="ü", score=0)]


@pytest.fixture
def pictures(encoded):
    return [encoded(Image.new("RGB", (9, 7), shade), "PNG") for shade in ("white", "black")]


@pytest.fixture
def files(pictures):
    return worst_files(ENTRIES, pictures)


def test_what_is_written_is_read_again_in_its_order(files, pictures):
    assert read_worst(files) == ENTRIES
    assert read_worst({"model.safetensors": b"", **files}) == ENTRIES
    assert files.keys() == {WORST_FILE, "worst/0.png", "worst/1.png"}
    assert [files["worst/0.png"], files["worst/1.png"]] == pictures


def test_the_shipped_bundle_shows_its_one_mistake(shipped):
    numbers = TestNumbers.read(shipped.files, "torch-f32")
    (mistake,) = read_worst(shipped.files)
    assert [(pair.label, pair.predicted, pair.images) for pair in numbers.most_confused] == [
        (mistake.label, mistake.predicted, 1)
    ]
    with Image.open(io.BytesIO(shipped.files["worst/0.png"])) as picture:
        picture.load()
        assert max(picture.size) <= MAX_SIDE_PX == 64


def test_a_model_without_mistakes_writes_nothing():
    assert worst_files([], []) == {}
    assert read_worst({}) == []


def test_as_many_as_are_allowed_are_read_and_none_of_more(files):
    most = [ENTRIES[0]] * MAX_WORST
    assert MAX_WORST == 24
    many = worst_files(most, [b"PNG"] * MAX_WORST)
    assert read_worst(many) == most
    more = [*json.loads(many[WORST_FILE]), ENTRIES[0].model_dump()]
    many |= {WORST_FILE: json.dumps(more).encode(), "worst/24.png": b"PNG"}
    assert read_worst(many) == []


@pytest.mark.parametrize("missing", ["worst/0.png", "worst/1.png", WORST_FILE])
def test_a_list_that_is_not_whole_is_none(files, missing):
    del files[missing]
    assert read_worst(files) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"{}", b"7", b"[1]", b"[{}]", b"\xff\xfe", b"\x89PNG\r\n", b"[" * 100_000],
    ids=lambda content: str(content[:20]),
)
def test_anything_else_is_none(files, content):
    assert read_worst(files | {WORST_FILE: content}) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"score": 1.1},
        {"score": -0.1},
        {"score": None},
        {"score": float("nan")},
        {"label": 3},
        {"predicted": None},
        {"path": "/home/me/1.jpg"},
    ],
    ids=str,
)
def test_one_entry_out_of_bounds_leaves_none(files, changes):
    entries = json.loads(files[WORST_FILE])
    entries[1] |= changes
    assert read_worst(files | {WORST_FILE: json.dumps(entries).encode()}) == []


def test_an_empty_list_is_none():
    assert read_worst({WORST_FILE: b"[]"}) == []
