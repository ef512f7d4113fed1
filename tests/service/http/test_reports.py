"""GET /models and what lies below it: what is served, how good it is, its golden images and its worst mistakes."""

import dataclasses
import json
import re
from collections.abc import Mapping

import numpy as np
import pytest
from PIL import Image

from service.http.report_schemas import ClientLimits, ModelInfo, ModelList, ModelReport
from service.settings import Settings
from tests.service.conftest import Served, problem
from vision.bundle.manifest import CARD_FILE, METRICS_FILE
from vision.bundle.store import Bundle, find_bundle, load_bundle, save_bundle
from vision.bundle.worst import WORST_FILE, WorstEntry, worst_files

REPORT = "/models/digits/1/report"
ENTRIES = [
    WorstEntry(label="9", predicted="8", score=0.91),
    WorstEntry(label="1", predicted="7", score=0.75),
    WorstEntry(label="0", predicted="6", score=0.5),
]
HOSTILE = ["..%2f", "%2e%2e", "..", "%2e%2e%2fdigits", "%00", "%0d%0aset-cookie:a=b", "%ff", "%F0%9F%90%88", "<script>"]


class Of:
    """The real classifier, but of another bundle."""

    def __init__(self, served: Served, bundle: Bundle) -> None:
        self.bundle = bundle
        self.engine = served.classifier.engine
        self.has_linear_head = served.classifier.has_linear_head
        self.check_ready = served.classifier.check_ready
        self.classify = served.classifier.classify


@pytest.fixture(scope="module")
def plain(models) -> dict[str, bytes]:
    """The bundle's files without a list of mistakes."""
    files = load_bundle(find_bundle(models)).files
    return {name: data for name, data in files.items() if not name.startswith("worst/")}


@pytest.fixture
def reporting(served, tmp_path):
    """The real classifier of a bundle with these files, saved and loaded again."""

    def save(files: Mapping[str, bytes], **changes: object) -> Of:
        manifest = served.classifier.bundle.manifest.model_copy(update=changes)
        return Of(served, load_bundle(save_bundle(tmp_path / "models", manifest, files)))

    return save


def model(served: Served, **options: object) -> ModelInfo:
    response = served.request("GET", "/models", **options)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json"), response.text
    (only,) = ModelList.model_validate_json(response.content, extra="forbid").models
    return only


def report(served: Served, path: str = REPORT, **options: object) -> ModelReport:
    response = served.request("GET", path, **options)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json"), response.text
    # by_name: metrics.json says `acc@1` where the report says `accuracy`.
    return ModelReport.model_validate_json(response.content, extra="forbid", by_name=True)


def pictures(encoded) -> list[bytes]:
    return [encoded(Image.new("L", (16, 16), shade), "PNG") for shade in (10, 20, 30)]


def test_what_is_served_is_what_the_bundle_says(served):
    bundle, found = served.classifier.bundle, model(served)
    manifest = bundle.manifest
    assert (found.name, found.version, found.digest) == ("digits", 1, bundle.digest)
    assert (found.architecture, found.engine) == ("simple_resnet", served.classifier.engine)
    assert (found.categories, found.metrics) == (list(manifest.categories), manifest.metrics)
    assert found.preprocessing == manifest.preprocessing.describe()


def test_the_limits_are_those_of_the_settings(served):
    changed = {
        "max_body_bytes": 5000,
        "max_images_per_request": 3,
        "max_image_bytes": 4000,
        "max_image_pixels": 70_000,
        "max_image_side_px": 700,
    }
    assert set(ClientLimits.model_fields) == set(changed)
    assert model(served, settings=changed).limits.model_dump() == changed
    defaults = Settings()
    assert model(served).limits.model_dump() == {name: getattr(defaults, name) for name in changed}


def test_the_golden_images_are_named_with_the_answer_that_proves_them(served):
    bundle = served.classifier.bundle
    rows = bundle.golden.probabilities
    assert [(one.label, one.score) for one in model(served).golden] == [
        (bundle.manifest.categories[row.argmax()], pytest.approx(row.max(), abs=1e-6)) for row in rows
    ]


def test_the_reliability_is_that_of_the_serving_engine_without_empty_bins(served):
    numbers = json.loads(served.classifier.bundle.files[METRICS_FILE])[served.classifier.engine]
    found = model(served)
    assert found.test_images == numbers["images"] == sum(one.images for one in found.reliability)
    assert found.accuracy == numbers["acc@1"]
    assert [one.model_dump() for one in found.reliability] == [one for one in numbers["reliability"] if one["images"]]


def test_without_explanations_none_are_offered(served, headless):
    assert model(served).explain.model_dump() == {"cam": True, "occlusion": True}
    assert model(headless).explain.model_dump() == {"cam": False, "occlusion": True}
    assert model(served, settings={"explain": False}).explain is None


def test_an_engine_that_cannot_tell_says_nothing_of_cam(served):
    undecided = Of(served, served.classifier.bundle)
    undecided.has_linear_head = None
    assert model(served, classifier=undecided).explain.model_dump() == {"cam": None, "occlusion": True}


def test_the_report_holds_everything_that_was_measured(served):
    bundle, found = served.classifier.bundle, report(served)
    manifest, numbers = bundle.manifest, json.loads(bundle.files[METRICS_FILE])[served.classifier.engine]
    assert (found.name, found.version, found.digest) == ("digits", 1, bundle.digest)
    assert (found.architecture, found.engine) == ("simple_resnet", served.classifier.engine)
    assert (found.temperature, found.parity) == (manifest.temperature, manifest.parity)
    assert found.provenance == manifest.provenance
    assert found.card == bundle.files[CARD_FILE].decode()
    assert (found.numbers.images, found.numbers.accuracy) == (numbers["images"], numbers["acc@1"])
    assert list(found.numbers.accuracy_interval) == numbers["acc@1_interval"]
    assert np.shape(found.numbers.confusion) == (10, 10)
    assert np.sum(found.numbers.confusion) == numbers["images"]
    assert found.numbers.categories.keys() == set(manifest.categories)
    assert len(found.numbers.reliability) == len(numbers["reliability"])


def test_the_numbers_of_an_engine_that_was_not_measured_are_the_references(served):
    unmeasured = Of(served, served.classifier.bundle)
    unmeasured.engine = "openvino-f16"
    reference = json.loads(unmeasured.bundle.files[METRICS_FILE])["torch-f32"]
    found = report(served, classifier=unmeasured)
    assert (found.engine, found.numbers.ece) == ("openvino-f16", reference["ece"])


def test_a_bundle_that_was_made_by_other_means_is_reported_as_far_as_it_goes(served, plain, reporting):
    bare = {name: data for name, data in plain.items() if name not in (METRICS_FILE, CARD_FILE)}
    foreign = reporting(bare, metrics={}, parity={})
    found = report(served, classifier=foreign)
    assert (found.numbers, found.parity, found.worst, found.card) == (None, {}, [], "")
    info = model(served, classifier=foreign)
    assert (info.test_images, info.accuracy, info.reliability, info.metrics) == (None, None, [], {})
    assert len(info.golden) == len(foreign.bundle.golden.images)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"torch-f32": {}}', b"\xff", b"[" * 100_000])
def test_numbers_that_cannot_be_read_are_left_out(served, plain, reporting, data):
    foreign = reporting({**plain, METRICS_FILE: data, CARD_FILE: b"\xffcard"})
    assert report(served, classifier=foreign).numbers is None
    assert report(served, classifier=foreign).card == "\ufffdcard"
    assert model(served, classifier=foreign).test_images is None


def test_the_matrix_of_many_categories_is_left_out(served):
    """1,000 categories would be 2 MB of zeros."""
    bundle = served.classifier.bundle
    many = tuple(f"class {index}" for index in range(101))
    golden = dataclasses.replace(bundle.golden, probabilities=np.eye(101)[: len(bundle.golden.images)])
    manifest = bundle.manifest.model_copy(update={"categories": many})
    wide = Of(served, dataclasses.replace(bundle, manifest=manifest, golden=golden, digest="0123456789ab"))
    assert report(served, classifier=wide).numbers.confusion == []
    assert report(served, classifier=wide).numbers.images == report(served).numbers.images


@pytest.mark.parametrize("number", range(8))
def test_a_golden_image_is_the_file_itself(served, number):
    bundle = served.classifier.bundle
    response = served.request("GET", f"/models/digits/1/golden/{number}")
    assert (response.status_code, response.headers["content-type"]) == (200, "image/png")
    assert response.content == bundle.golden.images[number]
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(("file_format", "media_type"), [("JPEG", "image/jpeg"), ("WEBP", "image/webp")])
def test_a_golden_images_type_is_that_of_its_bytes(served, digit, encoded, file_format, media_type):
    bundle = served.classifier.bundle
    image = encoded(digit(3), file_format)
    golden = dataclasses.replace(bundle.golden, images=(image, *bundle.golden.images[1:]))
    other = Of(served, dataclasses.replace(bundle, golden=golden))
    response = served.request("GET", "/models/digits/1/golden/0", classifier=other)
    assert (response.content, response.headers["content-type"]) == (image, media_type)


def test_every_golden_image_is_answered_as_the_list_says(served):
    for number, wanted in enumerate(model(served).golden):
        image = served.request("GET", f"/models/digits/1/golden/{number}").content
        best = served.post(image).json()["results"][0]["predictions"][0]
        assert (best["label"], best["score"]) == (wanted.label, pytest.approx(wanted.score, abs=0.02))


@pytest.mark.parametrize("number", [0, 1, 99])
def test_a_bundle_without_a_list_has_no_mistakes_to_show(served, plain, reporting, number):
    response = served.request("GET", f"/models/digits/1/worst/{number}", classifier=reporting(plain))
    assert problem(response, 404, "not_found").detail == "This bundle has 0 of these images, counted from 0."


def test_the_worst_mistakes_are_listed_and_shown(served, plain, reporting, encoded):
    shown = pictures(encoded)
    mistaken = reporting(plain | worst_files(ENTRIES, shown))
    assert report(served, classifier=mistaken).worst == ENTRIES
    for number, picture in enumerate(shown):
        response = served.request("GET", f"/models/digits/1/worst/{number}", classifier=mistaken)
        assert (response.status_code, response.headers["content-type"]) == (200, "image/png")
        assert response.content == picture
    beyond = served.request("GET", "/models/digits/1/worst/3", classifier=mistaken)
    assert "3 of these images" in problem(beyond, 404, "not_found").detail


@pytest.mark.parametrize("missing", ["worst/0.png", "worst/2.png", WORST_FILE])
def test_a_list_whose_pictures_are_not_there_is_no_list(served, plain, reporting, encoded, missing):
    files = plain | worst_files(ENTRIES, pictures(encoded))
    incomplete = reporting({name: data for name, data in files.items() if name != missing})
    assert report(served, classifier=incomplete).worst == []
    problem(served.request("GET", "/models/digits/1/worst/1", classifier=incomplete), 404, "not_found")


@pytest.mark.parametrize("kind", ["golden", "worst"])
@pytest.mark.parametrize("number", ["100", "-1", "x", "1.5", "1e1", "%D9%A1", "9" * 5000, "0x1", "nan"])
def test_a_number_out_of_range_is_refused(served, kind, number):
    response = served.request("GET", f"/models/digits/1/{kind}/{number}")
    assert problem(response, 422, "invalid_parameter").detail.startswith("path.number: ")


def test_one_golden_image_more_than_there_are_is_not_found(served):
    for number in (8, 99):
        response = served.request("GET", f"/models/digits/1/golden/{number}")
        assert problem(response, 404, "not_found").detail == "This bundle has 8 of these images, counted from 0."


@pytest.mark.parametrize("below", ["report", "golden/0", "worst/0"])
@pytest.mark.parametrize("named", ["digits/2", "digit/1", "Digits/1", "x/1", "digits/999999999", f"{'a' * 63}/1"])
def test_another_model_or_version_is_not_served(served, named, below):
    response = served.request("GET", f"/models/{named}/{below}")
    assert problem(response, 404, "not_found").detail == (
        f"There is no model {named} here; GET /models lists what is served."
    )


@pytest.mark.parametrize("below", ["report", "golden/0", "worst/0"])
@pytest.mark.parametrize("version", ["0", "-1", "x", "1.5", "1000000000", "%D9%A1", "9" * 5000])
def test_a_version_that_none_can_be_is_refused(served, version, below):
    response = served.request("GET", f"/models/digits/{version}/{below}")
    assert problem(response, 422, "invalid_parameter").detail.startswith("path.version: ")


@pytest.mark.parametrize("length", [64, 1000, 60_000])
@pytest.mark.parametrize("below", ["report", "golden/0", "worst/0"])
def test_a_name_longer_than_any_is_refused_and_not_repeated(served, below, length):
    response = served.request("GET", f"/models/{'a' * length}/1/{below}")
    assert problem(response, 422, "invalid_parameter").detail.startswith("path.name: ")
    assert len(response.content) < 1000


@pytest.mark.parametrize("below", ["report", "golden/0", "worst/0"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_finds_nothing(served, name, below):
    response = served.request("GET", f"/models/{name}/1/{below}")
    problem(response, 404, "not_found")
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    "path",
    [
        "/models/",
        "/models/digits",
        "/models/digits/1",
        "/models/digits/1/",
        "/models/digits/1/report/",
        "/models/digits/1/golden",
        "/models/digits/1/golden/",
        "/models/digits/1/golden/0/",
        "/models/digits/1/golden/0.png",
        "/models/digits/1/golden/..%2f..%2fmanifest.json",
        "/models/digits/1/manifest.json",
        "/models/digits/1/worst/index.json",
        "/models//1/report",
    ],
)
def test_nothing_else_lies_below_a_model(served, path):
    response = served.request("GET", path)
    assert response.status_code in (404, 422)
    problem(response, response.status_code, response.json()["code"])


@pytest.mark.parametrize("path", [REPORT, "/models/digits/1/golden/3", "/models/digits/1/worst/1"])
def test_what_a_client_has_is_not_sent_again(served, plain, reporting, encoded, path):
    mistaken = reporting(plain | worst_files(ENTRIES, pictures(encoded)))
    first = served.request("GET", path, classifier=mistaken)
    assert first.status_code == 200
    tag = first.headers["etag"]
    assert re.fullmatch('"[0-9a-f]{24}"', tag)
    assert first.headers["cache-control"] == "no-cache"
    for kept in (tag, f"W/{tag}", f'"another", {tag}'):
        again = served.request("GET", path, classifier=mistaken, headers={"if-none-match": kept})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["cache-control"] == "no-cache"
    for other in (f'"{"0" * 24}"', "", '""'):
        again = served.request("GET", path, classifier=mistaken, headers={"if-none-match": other})
        assert (again.status_code, again.content) == (200, first.content)


def test_another_bundle_has_another_tag(served, plain, reporting, encoded):
    mistaken = reporting(plain | worst_files(ENTRIES, pictures(encoded)))
    before = served.request("GET", REPORT, classifier=Of(served, load_bundle(served.classifier.bundle.path)))
    after = served.request("GET", REPORT, classifier=mistaken, headers={"if-none-match": before.headers["etag"]})
    assert after.status_code == 200
    assert after.headers["etag"] != before.headers["etag"]


def test_a_report_follows_the_bundle_that_is_served(served, plain, reporting, encoded):
    """Also where the API was built before the bundle was exchanged."""
    changing = Of(served, served.classifier.bundle)
    later = reporting(plain | worst_files(ENTRIES, pictures(encoded)), version=2).bundle

    async def scenario(client):
        first = await client.get(REPORT)
        changing.bundle = later
        return first, await client.get(REPORT), await client.get("/models/digits/2/report")

    first, gone, second = served.run(scenario, changing)
    assert first.json()["worst"] != second.json()["worst"]
    problem(gone, 404, "not_found")
    assert (second.json()["version"], second.json()["digest"]) == (2, later.digest)


@pytest.mark.parametrize("path", ["/models", REPORT, "/models/digits/1/golden/0", "/models/digits/1/worst/0"])
def test_only_get_and_head_are_taken(served, path):
    response = served.request("POST", path)
    problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"
