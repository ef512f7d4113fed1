"""POST /explain: what it says is what the network computed, and what cannot be explained is refused."""

import asyncio
import base64
import io
import json
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from PIL import Image

from service.http.explain_schemas import ExplainResponse
from tests.service.conftest import Served, bad_images, problem, serving
from vision.bundle.manifest import GOLDEN_FILE
from vision.bundle.store import find_bundle, load_bundle, save_bundle
from vision.errors import ImageError
from vision.prediction import probabilities

CODES = sorted(kind.code for kind in ImageError.__subclasses__())
KINDS = ["explain", "activations", "inspect"]
METHODS = {"cam": {}, "occlusion": {}, "cover": {"cover": "60,40,100,120"}}
PAIRS = [("7", None), ("0", None), ("7", "1"), ("1", "7"), ("3", "8")]
# Everything that means something in a query, in HTML or in JSON, and letters of other scripts.
SPECIAL = ("a&b=c", "50% off", "a+b", "x y", "#1", "a/b?c", '"quoted"', "<b>ü</b>", "猫", "café")


@pytest.fixture(scope="module")
def png(digit, encoded) -> bytes:
    return encoded(digit(7), "PNG")


@pytest.fixture(scope="module")
def renamed(models, tmp_path_factory) -> Iterator[Served]:
    """Serves the digits' network with other names of the categories."""
    bundle = load_bundle(find_bundle(models))
    expected = json.loads(bundle.files[GOLDEN_FILE]) | {"categories": SPECIAL}
    files = {**bundle.files, GOLDEN_FILE: json.dumps(expected).encode()}
    folder = tmp_path_factory.mktemp("renamed")
    save_bundle(folder, bundle.manifest.model_copy(update={"categories": SPECIAL}), files)
    with serving(folder) as served:
        yield served


def explained(response: httpx.Response) -> ExplainResponse:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return ExplainResponse.model_validate_json(response.content, extra="forbid")


def explain(served: Served, image: bytes, **parameters: object) -> ExplainResponse:
    return explained(served.post(image, "/explain", params=parameters))


def scores(served: Served, image: bytes) -> dict[str, float]:
    """What POST /classify says of every category."""
    answer = served.post(image, "/classify", params={"top_k": 10}).json()
    return {one["label"]: one["score"] for one in answer["results"][0]["predictions"]}


def as_json(data: bytes) -> str:
    return base64.b64encode(data).decode()


def opened(response: httpx.Response) -> Image.Image:
    assert (response.status_code, response.headers["content-type"]) == (200, "image/png"), response.text
    picture = Image.open(io.BytesIO(response.content))
    picture.load()
    return picture


@pytest.mark.parametrize("method", METHODS)
def test_every_method_says_what_was_explained_and_by_which_model(served, png, method):
    response = served.post(png, "/explain", params={"method": method, **METHODS[method]})
    answer, classified = explained(response), served.post(png).json()
    assert (answer.model, answer.version, answer.digest) == ("digits", 1, classified["digest"])
    assert response.headers.get_list("x-request-id") == [answer.request_id]
    assert (answer.method, answer.label, answer.against) == (method, "7", None)
    assert (answer.width, answer.height, answer.box) == (280, 280, [0, 0, 280, 280])
    assert answer.engine.endswith("-f32")
    assert list(answer.timings_ms) == ["decode", "compute"]
    assert all(value > 0 for value in answer.timings_ms.values())
    expected = classified["results"][0]["predictions"]
    assert [one.label for one in answer.predictions[:2]] == [one["label"] for one in expected[:2]]
    assert [one.score for one in answer.predictions] == sorted((one.score for one in answer.predictions), reverse=True)
    own = {
        "cam": {"grid", "sum"},
        "occlusion": {"grid", "scores", "cover_value"},
        "cover": {"cover", "cover_value", "changes"},
    }
    given = {name for name in set().union(*own.values()) if getattr(answer, name) is not None}
    assert given == own[method]


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("method", METHODS)
def test_the_copy_that_explains_agrees_with_the_engine_that_serves(served, digit, encoded, method, number):
    agreement = explain(served, encoded(digit(number), "PNG"), method=method, **METHODS[method]).agreement
    assert agreement.engine == served.classifier.engine
    assert 0 <= agreement.largest_difference < 0.01


def test_the_logits_give_the_scores_that_are_served(served, png):
    answers = [explain(served, png, label=name) for name in "0123456789"]
    logits = np.array([answer.logits["label"] for answer in answers])
    assert [answer.label for answer in answers] == list("0123456789")
    own = probabilities(logits, served.classifier.bundle.manifest.temperature)
    ranked = {one.label: one.score for one in answers[0].predictions}
    assert {name: own[int(name)] for name in ranked} == pytest.approx(ranked, abs=1e-5)
    apart = max(abs(own[int(name)] - score) for name, score in scores(served, png).items())
    assert answers[0].agreement.largest_difference == pytest.approx(apart, abs=2e-6)
    assert apart < 1e-5 or not served.classifier.engine.endswith("-f32")


@pytest.mark.parametrize(("label", "against"), PAIRS)
def test_the_cells_of_cam_sum_to_the_logit_or_to_the_difference_of_two(served, png, label, against):
    answer = explain(served, png, label=label, **({"against": against} if against else {}))
    assert (answer.label, answer.against) == (label, against)
    assert list(answer.logits) == (["label", "against"] if against else ["label"])
    grid = np.array(answer.grid)
    assert grid.shape == (4, 4)
    wanted = answer.logits["label"] - answer.logits.get("against", 0)
    assert grid.sum() == pytest.approx(wanted, abs=1e-4)
    assert answer.sum == pytest.approx(wanted, abs=1e-4)


def test_what_speaks_for_one_label_speaks_against_the_other(served, png):
    grids = [explain(served, png, label=label, against=against).grid for label, against in (("7", "1"), ("1", "7"))]
    assert np.abs(grids[0]).max() > 0.1
    assert np.allclose(grids[0], np.negative(grids[1]), atol=1e-6)


@pytest.mark.parametrize(("cells", "given"), [(7, {}), (2, {"cells": 2}), (5, {"cells": 5}), (14, {"cells": 14})])
def test_occlusion_covers_every_cell_once(served, png, cells, given):
    answer = explain(served, png, method="occlusion", **given)
    lost, shares = np.array(answer.grid), np.array(answer.scores)
    assert lost.shape == shares.shape == (cells, cells)
    assert np.isfinite(lost).all()
    assert (shares >= 0).all()
    assert (shares <= 1).all()
    assert lost.max() > 0.1
    assert shares.min() < answer.predictions[0].score
    assert answer.cover_value == [255]  # the paper with which the preprocessing fills up


@pytest.mark.parametrize("place", [None, 1])
def test_a_cell_of_occlusion_is_what_covering_its_pixels_changes(served, digit, encoded, place):
    """On an image that is as large as the network's square, so that each cell is 4×4 of its pixels."""
    image = encoded(digit(7, side_px=16), "PNG")
    ranked = [one.label for one in explain(served, image).predictions]
    asked = {"label": ranked[0]} | ({} if place is None else {"against": ranked[place]})
    answer = explain(served, image, method="occlusion", cells=4, **asked)
    for row, column in np.ndindex(4, 4):
        covered = explain(served, image, method="cover", cover=f"{4 * column},{4 * row},4,4", **asked)
        changed = {change.label: change for change in covered.changes}
        gained = changed[ranked[0]].logit_change - (0 if place is None else changed[ranked[place]].logit_change)
        assert answer.grid[row][column] == pytest.approx(-gained, abs=1e-4), (row, column)
        assert answer.scores[row][column] == pytest.approx(changed[ranked[0]].after, abs=1e-5), (row, column)


def test_covering_everything_changes_the_answer(served, png):
    answer = explain(served, png, method="cover", cover="0,0,280,280")
    assert (answer.cover, answer.cover_value) == ([0, 0, 280, 280], [255])
    changed = {change.label: change for change in answer.changes}
    assert changed["7"].before > 0.9
    assert changed["7"].after < 0.1
    assert changed["7"].logit_change < -1
    assert max(answer.changes, key=lambda change: change.after).label != "7"
    before = {one.label: one.score for one in answer.predictions}
    assert {name: changed[name].before for name in before} == pytest.approx(before, abs=1e-6)


def test_covering_blank_paper_changes_nothing(served, png):
    answer = explain(served, png, method="cover", cover="0,0,9,9")
    assert [change.label for change in answer.changes] == [one.label for one in answer.predictions]
    assert all((change.before, change.logit_change) == (change.after, 0) for change in answer.changes)


def test_a_covered_image_gets_the_answer_of_the_image_painted_by_hand(served, digit, encoded):
    picture = digit(7)
    answer = explain(served, encoded(picture, "PNG"), method="cover", cover="60,40,100,120")
    picture.paste((255, 255, 255), (60, 40, 160, 160))
    painted = scores(served, encoded(picture, "PNG"))
    allowed = 1e-5 + explain(served, encoded(picture, "PNG")).agreement.largest_difference
    for change in answer.changes:
        assert change.after == pytest.approx(painted[change.label], abs=allowed)


@pytest.mark.parametrize("cover", ["0,0,1,1", "279,279,1,1", "0,0,280,1", " 10, 20 ,64,64", "00,0,01,1"])
def test_a_cover_may_reach_to_the_edges(served, png, cover):
    assert explain(served, png, method="cover", cover=cover).cover == [int(part) for part in cover.split(",")]


def test_a_cover_is_measured_on_the_upright_image(served, digit, encoded):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = encoded(digit(7).resize((280, 140)), "JPEG", exif=exif)
    answer = explain(served, stored, method="cover", cover="0,0,140,280")
    assert (answer.width, answer.height) == (140, 280)
    response = served.post(stored, "/explain", params={"method": "cover", "cover": "0,0,280,140"})
    assert "140×280" in problem(response, 422, "invalid_parameter").detail


@pytest.mark.parametrize("label", SPECIAL)
def test_a_label_is_found_whatever_characters_it_has(renamed, png, label):
    answer = explain(renamed, png, label=label, against=SPECIAL[SPECIAL.index(label) - 1])
    assert (answer.label, answer.against) == (label, SPECIAL[SPECIAL.index(label) - 1])
    assert {one.label for one in answer.predictions} < set(SPECIAL)


def test_an_unknown_label_is_told_the_names_that_there_are(renamed, png):
    response = renamed.post(png, "/explain", params={"label": "A&B=C"})
    assert problem(response, 422, "invalid_parameter").detail == (
        f"label is 'A&B=C'; the categories are {', '.join(SPECIAL)}."
    )


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("label=ten", "label is 'ten'; the categories are 0, 1, 2"),
        ("label=", "label is ''"),
        ("label=07", "label is '07'"),
        ("label=7%00", r"label is '7\x00'"),
        (f"label={'x' * 3000}", f"label is '{'x' * 80}';"),
        ("against=ten&method=occlusion", "against is 'ten'"),
        ("cells=1", "query.cells: "),
        ("cells=15", "query.cells: "),
        ("cells=-7&method=occlusion", "query.cells: "),
        ("cells=7.5", "query.cells: "),
        ("cells=", "query.cells: "),
        ("cells=nan", "query.cells: "),
        ("method=CAM", "query.method: "),
        ("method=", "query.method: "),
        ("method=cover", "cover is ''"),
        ("method=cover&cover=", "cover is ''"),
        ("method=cover&cover=1,2,3", "cover is '1,2,3'; it must be left,top,width,height"),
        ("method=cover&cover=1,2,3,4,5", "cover is '1,2,3,4,5'"),
        ("method=cover&cover=1,2,3,4,", "cover is '1,2,3,4,'"),
        ("method=cover&cover=,,,", "cover is ',,,'"),
        ("method=cover&cover=a,b,c,d", "cover is 'a,b,c,d'"),
        ("method=cover&cover=-1,0,1,1", "cover is '-1,0,1,1'"),
        ("method=cover&cover=%2B1,0,1,1", "cover is '+1,0,1,1'"),
        ("method=cover&cover=1.5,0,1,1", "cover is '1.5,0,1,1'"),
        ("method=cover&cover=1_0,0,1,1", "cover is '1_0,0,1,1'"),
        ("method=cover&cover=%D9%A1,0,1,1", "cover is '١,0,1,1'"),
        ("method=cover&cover=%C2%B2,0,1,1", "cover is '²,0,1,1'"),
        ("method=cover&cover=0,0,0,9", "cover is '0,0,0,9'"),
        ("method=cover&cover=0,0,9,0", "cover is '0,0,9,0'"),
        ("method=cover&cover=0;0;9;9", "cover is '0;0;9;9'"),
        ("method=cover&cover=281,0,1,1", "cover is 281,0,1,1 and reaches beyond the upright image of 280×280 px"),
        ("method=cover&cover=280,0,1,1", "beyond"),
        ("method=cover&cover=0,280,1,1", "beyond"),
        ("method=cover&cover=0,0,281,1", "beyond"),
        ("method=cover&cover=1,0,280,280", "beyond"),
        ("method=cover&cover=0,1,280,280", "beyond"),
        ("method=cover&cover=0,0,9999999999999999999999,1", "beyond"),
        (f"method=cover&cover={'1' * 41}", "query.cover: "),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(served, png, query, words):
    assert words in problem(served.post(png, f"/explain?{query}"), 422, "invalid_parameter").detail


@pytest.mark.parametrize("query", ["", "?label=3", "?against=1", "?label=3&against=1"])
def test_a_network_without_a_linear_head_has_no_cam_but_everything_else(headless, png, query):
    named = query.replace("3", "day").replace("1", "night")
    detail = problem(headless.post(png, f"/explain{named}"), 422, "method_unavailable").detail
    assert "Use method=occlusion" in detail
    covered = {method: explain(headless, png, method=method, **METHODS[method]) for method in ("occlusion", "cover")}
    assert np.shape(covered["occlusion"].grid) == (7, 7)
    assert covered["occlusion"].cover_value == [128]  # what the normalisation turns into 0
    assert {change.label for change in covered["cover"].changes} == {"day", "night"}


def test_a_network_of_colours_is_covered_with_the_mean_colour(colourful, digit, encoded):
    image = encoded(digit(7, side_px=400).resize((400, 200)), "PNG")
    answer = explain(colourful, image, method="occlusion", cells=2, label="day")
    assert (answer.width, answer.height) == (400, 200)
    # The middle square of 300 px after the short side was scaled from 200 to 320 px.
    assert answer.box == pytest.approx([106.25, 6.25, 293.75, 193.75], abs=0.5)
    assert answer.cover_value == [124, 116, 104]
    assert np.shape(answer.grid) == (2, 2)
    cam = explain(colourful, image, label="day", against="night")
    assert np.shape(cam.grid) == (10, 10)
    assert np.sum(cam.grid) == pytest.approx(cam.logits["label"] - cam.logits["against"], abs=1e-4)


@pytest.mark.parametrize(
    "request_of",
    [
        lambda data: {"content": data},
        lambda data: {"content": data, "headers": {"content-type": "text/plain"}},
        lambda data: {"files": {"photo": ("a.png", data)}},
        lambda data: {"json": {"image": as_json(data)}},
        lambda data: {"json": {"images": [as_json(data)]}},
    ],
    ids=["raw", "raw text", "multipart", "json image", "json images"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_every_form_of_a_request_gets_the_same_answer(served, png, kind, request_of):
    responses = [served.request("POST", f"/{kind}", **form) for form in ({"content": png}, request_of(png))]
    answers = [response.json() for response in responses]
    assert [response.status_code for response in responses] == [200, 200], answers[1]
    changing = {"request_id": "", "timings_ms": {}}
    assert answers[0] | changing == answers[1] | changing


@pytest.mark.parametrize(
    "options",
    [
        {"files": [("image", ("a.png", b"\x89PNG\r\n\x1a\n"))] * 2},
        {"json": {"images": ["aGk=", "aGk="]}},
        {"json": {"images": ["aGk="] * 17}},
    ],
    ids=["form", "json", "more than /classify takes"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_several_images_are_too_many(served, kind, options):
    detail = problem(served.request("POST", f"/{kind}", **options), 413, "too_many_images").detail
    assert "1" in detail


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("form", ["raw", "multipart", "json"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_image_has_the_same_problem_as_when_it_is_classified(served, png, encoded, kind, form, code):
    status, data = bad_images(png, encoded)[code]
    options = {
        "raw": {"content": data},
        "multipart": {"files": {"image": ("a.png", data)}},
        "json": {"json": {"image": as_json(data)}},
    }[form]
    expected, found = (served.request("POST", path, **options) for path in ("/classify", f"/{kind}"))
    if (form, code) == ("raw", "empty"):
        code = "missing_image"  # nothing at all is no image either
    classified = problem(expected, status, code)
    assert problem(found, status, code) == classified.model_copy(update={"request_id": found.headers["x-request-id"]})


@pytest.mark.parametrize(
    ("status", "code", "options"),
    [
        (400, "malformed_request", {"json": {"image": "?"}}),
        (400, "malformed_request", {"content": b'{"image": '}),
        (400, "malformed_request", {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=y"}}),
        (400, "missing_image", {"json": {"images": []}}),
        (400, "missing_image", {}),
        (413, "body_too_large", {"content": bytes(2000), "settings": {"max_body_bytes": 1024}}),
        (415, "unsupported_encoding", {"content": b"x", "headers": {"content-encoding": "gzip"}}),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_cannot_be_read_is_refused_and_counted(served, kind, status, code, options):
    before = served.counted("sightline_rejections_total", reason=code)
    asked = served.counted("sightline_explanation_requests_total", kind=kind, status=str(status))
    problem(served.request("POST", f"/{kind}", **options), status, code)
    assert served.counted("sightline_rejections_total", reason=code) == before + 1
    assert served.counted("sightline_explanation_requests_total", kind=kind, status=str(status)) == asked + 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_stalls_is_refused_in_time(served, png, kind):
    async def stalling():
        yield png[:100]
        await asyncio.sleep(20)

    problem(served.post(stalling(), f"/{kind}", settings={"body_timeout_s": 0.05}), 408, "body_timeout")


@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_of_a_body_count_while_it_comes(served, png, kind):
    halfway, door = asyncio.Event(), asyncio.Event()

    async def slow():
        yield bytes(2**20)
        halfway.set()
        await door.wait()

    async def scenario(client):
        first = asyncio.create_task(client.post("/classify", content=slow()))
        await halfway.wait()
        refused = await client.post(f"/{kind}", content=png)
        door.set()
        await first
        return refused, await client.post(f"/{kind}", content=png)

    refused, later = served.run(scenario, max_held_bytes=2**20)
    assert "bytes" in problem(refused, 503, "overloaded").detail
    assert later.status_code == 200


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/json, image/png", "application/json"),
        ("image/png, application/json;q=0.1", "application/json"),
        ("text/html", "application/json"),
        ("image/png", "image/png"),
        ("IMAGE/PNG", "image/png"),
        ("image/png, */*;q=0.8", "image/png"),
        ("text/html, image/png;q=0.9", "image/png"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_the_accept_header_chooses_between_json_and_a_picture(served, png, kind, accept, media_type):
    headers = {} if accept is None else {"accept": accept}
    response = served.post(png, f"/{kind}", headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (200, media_type)
    assert response.content.startswith(b"\x89PNG" if media_type == "image/png" else b"{")
    assert len(response.headers.get_list("x-request-id")) == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("size", "drawn"), [((280, 280), (280, 280)), ((1280, 640), (640, 320)), ((320, 2560), (80, 640))]
)
def test_the_picture_is_the_upright_image_with_something_over_it(served, digit, encoded, method, size, drawn):
    image = encoded(digit(7).resize(size), "PNG")
    middle = ",".join(str(side) for side in (size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2))
    parameters = {"method": method} | ({"cover": middle} if method == "cover" else {})
    picture = opened(served.post(image, "/explain", params=parameters, headers={"accept": "image/png"}))
    assert (picture.size, picture.mode) == (drawn, "RGB")
    plain = Image.open(io.BytesIO(image)).resize(drawn)
    apart = np.abs(np.asarray(picture).astype(int) - np.asarray(plain))
    assert apart.max() > 50
    assert len(encoded(picture, "PNG")) > 200


def test_the_picture_of_a_cover_shows_the_rectangle(served, digit, encoded):
    black = encoded(Image.new("RGB", (200, 100)), "PNG")
    parameters = {"method": "cover", "cover": "10,20,30,40"}
    picture = np.asarray(opened(served.post(black, "/explain", params=parameters, headers={"accept": "image/png"})))
    wanted = np.zeros((100, 200, 3), np.uint8)
    wanted[20:60, 10:40] = 255
    assert np.array_equal(picture, wanted)


def test_the_picture_of_cam_is_orange_for_and_blue_against(served, png):
    def picture(label: str, against: str) -> np.ndarray:
        parameters = {"label": label, "against": against}
        response = served.post(png, "/explain", params=parameters, headers={"accept": "image/png"})
        return np.asarray(opened(response)).astype(int)

    grid = np.array(explain(served, png, label="7", against="1").grid)
    row, column = np.unravel_index(np.abs(grid).argmax(), grid.shape)
    place = (35 + 70 * row, 35 + 70 * column)  # the middle of the strongest cell, of 70 px
    for shown, sign in ((picture("7", "1"), 1), (picture("1", "7"), -1)):
        red, _, blue = shown[place]
        assert (red > blue) == (sign * grid[row, column] > 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_problem_is_json_also_for_who_wants_a_picture(served, kind):
    problem(served.post(b"hello", f"/{kind}", headers={"accept": "image/png"}), 415, "not_an_image")


@pytest.mark.parametrize("kind", KINDS)
def test_a_safe_request_id_of_the_client_is_echoed(served, png, kind):
    response = served.post(png, f"/{kind}", headers={"x-request-id": "A-b_c.9"})
    assert response.headers.get_list("x-request-id") == ["A-b_c.9"]
    assert response.json()["request_id"] == "A-b_c.9"


@pytest.mark.parametrize("kind", KINDS)
def test_where_explanations_are_off_they_are_refused_and_nothing_else_is(served, png, kind):
    before = served.counted("sightline_rejections_total", reason="explanations_off")
    asked = served.counted("sightline_explanation_requests_total", kind=kind, status="403")
    problem(served.post(png, f"/{kind}", settings={"explain": False}), 403, "explanations_off")
    assert served.counted("sightline_rejections_total", reason="explanations_off") == before + 1
    assert served.counted("sightline_explanation_requests_total", kind=kind, status="403") == asked + 1
    others = [("POST", "/classify", {"content": png}), ("GET", "/filters", {}), ("GET", "/models", {})]
    others.append(("POST", "/convolve", {"json": {"input": [[1, 2]], "kernel": [[1]]}}))
    for method, path, options in others:
        assert served.request(method, path, settings={"explain": False}, **options).status_code == 200, path


@pytest.mark.parametrize("query", ["label=ten", "method=cover", "method=cover&cover=1"])
def test_where_explanations_are_off_no_parameter_is_looked_at(served, png, query):
    problem(served.post(png, f"/explain?{query}", settings={"explain": False}), 403, "explanations_off")


@pytest.mark.parametrize("kind", KINDS)
def test_before_the_golden_samples_have_passed_nothing_is_explained(unstarted, png, kind):
    problem(unstarted.post(png, f"/{kind}"), 503, "not_ready")
    assert unstarted.counted("sightline_explanation_starts_total") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_only_post_is_taken(served, kind):
    for method in ("GET", "PUT"):
        response = served.request(method, f"/{kind}")
        problem(response, 405, "method_not_allowed")
        assert response.headers.get_list("allow") == ["OPTIONS, POST"]


def test_an_explanation_takes_nothing_of_the_engine_that_serves(served, png):
    """It has a copy of its own, so that /classify loses no time to it and no statistics of its answers change."""

    class Hanging:
        check_ready = served.classifier.check_ready
        bundle, engine = served.classifier.bundle, served.classifier.engine
        has_linear_head = served.classifier.has_linear_head

        async def classify(self, data: bytes, deadline: float) -> None:
            await asyncio.Event().wait()

    before = served.counted("sightline_images_total", outcome="ok")
    for kind in KINDS:
        assert served.post(png, f"/{kind}", classifier=Hanging()).status_code == 200
        assert served.post(png, f"/{kind}").status_code == 200
    assert served.counted("sightline_images_total", outcome="ok") == before


def test_the_log_has_one_line_of_an_explanation_and_says_that_it_held_an_image(served, png, logged):
    (line,) = logged(lambda: served.post(png, "/explain", headers={"x-request-id": "here"}))
    assert (line["request_id"], line["path"], line["status"], line["images"]) == ("here", "/explain", 200, 1)


def test_a_label_is_not_compared_with_itself(served, digit, encoded):
    detail = problem(
        served.post(encoded(digit(7), "PNG"), "/explain?label=7&against=7"), 422, "invalid_parameter"
    ).detail
    assert "'7'" in detail
