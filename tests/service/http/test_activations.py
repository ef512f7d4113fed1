"""POST /activations and /inspect: numbers that can be computed again, and are computed again here."""

import base64
import io
import itertools
import json

import httpx
import numpy as np
import pytest
from PIL import Image

from service.http.activations_schemas import ActivationsResponse
from service.http.inspect_schemas import InspectResponse
from tests.service.conftest import NOISE, Served, problem
from vision import color
from vision.convolution import conv2d
from vision.icc import DISPLAY_P3, SRGB_CURVE, matrix_profile
from vision.image import DecodeLimits, decode
from vision.prediction import probabilities
from vision.preprocessing import Preprocessing

STEPS = ["stored", "upright", "channels", "resized", "squared", "normalised"]
SPACES = {
    "rgb": (["R", "G", "B"], [[0, 1]] * 3, lambda rgb: rgb),
    "gray": (["gray (ITU-R 709)"], [[0, 1]], lambda rgb: color.rgb_to_gray(rgb)[..., None]),
    "hsv": (["H", "S", "V"], [[0, 1]] * 3, color.rgb_to_hsv),
    "lab": (["L*", "a*", "b*"], [[0, 100], [-110, 110], [-110, 110]], color.rgb_to_lab),
}
TURNS = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}


@pytest.fixture(scope="module")
def png(digit, encoded) -> bytes:
    return encoded(digit(7), "PNG")


def activations(served: Served, image: bytes, **parameters: object) -> ActivationsResponse:
    response = served.post(image, "/activations", params=parameters)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json"), response.text
    return ActivationsResponse.model_validate_json(response.content, extra="forbid")


def inspect(served: Served, image: bytes, *spaces: str) -> InspectResponse:
    response = served.post(image, "/inspect", params={"space": spaces})
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json"), response.text
    return InspectResponse.model_validate_json(response.content, extra="forbid")


def opened(address: str | bytes) -> Image.Image:
    """The picture in a PNG file or in a data address of one."""
    start = "data:image/png;base64,"
    if isinstance(address, str):
        assert address.startswith(start)
    data = address if isinstance(address, bytes) else base64.b64decode(address.removeprefix(start), validate=True)
    assert data.startswith(b"\x89PNG")
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def drawn(served: Served, image: bytes, path: str, **parameters: object) -> Image.Image:
    response = served.post(image, path, params=parameters, headers={"accept": "image/png"})
    assert (response.status_code, response.headers["content-type"]) == (200, "image/png"), response.text
    return opened(response.content)


def array(text: str, dtype: str, *shape: int) -> np.ndarray:
    """The array in base64; its length must be exactly that of this shape."""
    return np.frombuffer(base64.b64decode(text, validate=True), dtype).reshape(shape)


def convolved(served: Served, patch: dict, **more: object) -> dict:
    """What POST /convolve makes of a patch."""
    body = {name: patch[name] for name in ("input", "kernel", "bias", "stride")} | {"padding": "valid", **more}
    response: httpx.Response = served.request("POST", "/convolve", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def preprocessing(served: Served) -> Preprocessing:
    return served.classifier.bundle.manifest.preprocessing


def stored_images(encoded) -> dict[str, tuple[str, bytes]]:
    """By Pillow's mode of the stored pixels: format and file, 60×40 px."""
    noise = NOISE.crop((0, 0, 60, 40))
    deep = Image.fromarray(np.asarray(noise.convert("L")).astype(np.uint16) * 257)
    return {
        "RGB": ("PNG", encoded(noise, "PNG")),
        "L": ("PNG", encoded(noise.convert("L"), "PNG")),
        "1": ("PNG", encoded(noise.convert("1"), "PNG")),
        "P": ("GIF", encoded(noise.convert("P"), "GIF")),
        "LA": ("PNG", encoded(noise.convert("LA"), "PNG")),
        "RGBA": ("PNG", encoded(Image.merge("RGBA", (*noise.split(), noise.getchannel(0))), "PNG")),
        "I;16": ("PNG", encoded(deep, "PNG")),
        "CMYK": ("JPEG", encoded(noise.convert("CMYK"), "JPEG")),
    }


MODES = ["RGB", "L", "1", "P", "LA", "RGBA", "I;16", "CMYK"]


@pytest.mark.parametrize("number", range(10))
def test_the_first_layer_is_what_the_textbook_computes(served, digit, encoded, number):
    answer = activations(served, encoded(digit(number), "PNG"))
    assert answer.proof.cells == 16 * 16
    assert 0 <= answer.proof.largest_difference < 1e-5
    assert answer.proof.textbook == pytest.approx(answer.proof.engine, abs=1e-5)
    chosen = answer.patch.convolved[answer.patch.row][answer.patch.column]
    assert answer.proof.engine == pytest.approx(chosen, abs=1e-8)


def test_the_layer_is_described_with_every_filter(served, png):
    answer = activations(served, png)
    layer = answer.layer
    assert (layer.filters, layer.channels, layer.kernel_px, layer.stride, layer.padding) == (16, 1, 3, 1, 1)
    assert (layer.activation, layer.input, layer.output) == ("ReLU", [1, 16, 16], [16, 16, 16])
    assert [np.shape(one.kernel) for one in answer.filters] == [(1, 3, 3)] * 16
    assert answer.range == [
        0,
        pytest.approx(max(one.maximum for one in answer.filters), abs=1e-6),
    ]  # ReLU: the lowest of all maps is 0
    assert all(0 <= one.mean <= one.maximum for one in answer.filters)
    assert {(opened(one.picture).size, opened(one.picture).mode) for one in answer.filters} == {((16, 16), "L")}
    assert {np.asarray(opened(one.picture)).max() for one in answer.filters} >= {255}
    assert {answer.stages, answer.means, answer.temperature, answer.outputs} == {None}


@pytest.mark.parametrize("filter_", [None, 0, 15])
@pytest.mark.parametrize(("row", "column"), [(None, None), (0, 0), (15, 15), (0, 15), (8, 3), (13, None)])
def test_posting_the_patch_to_convolve_gives_the_engines_numbers(served, png, filter_, row, column):
    chosen = {"filter": filter_, "row": row, "column": column}
    patch = activations(served, png, **{name: value for name, value in chosen.items() if value is not None}).patch
    again = convolved(served, patch.model_dump(), relu=True)
    assert np.shape(patch.convolved) == (6, 6)
    assert np.abs(np.subtract(again["output"], patch.convolved)).max() < 1e-5
    assert np.abs(np.subtract(again["activated"], patch.activated)).max() < 1e-5
    assert len(again["steps"]) == 36
    assert again["steps"][6 * patch.row + patch.column]["total"] + patch.bias == pytest.approx(
        patch.convolved[patch.row][patch.column], abs=1e-5
    )
    # The chosen cell is where the patch says: the padding of one pixel puts a cell's region one pixel before it.
    assert row is None or patch.top + patch.row == row - 1
    assert column is None or patch.left + patch.column == column - 1
    assert filter_ is None or patch.filter == filter_


def test_the_patch_is_cut_from_what_the_network_reads(served, png):
    """The normalised square of /inspect, with a border of zeros."""
    square = inspect(served, png).square
    values = np.pad(array(square.normalised, "<f4", 1, 16, 16), [(0, 0), (1, 1), (1, 1)])
    for row, column in ((0, 0), (7, 7), (15, 0), (15, 15)):
        patch = activations(served, png, row=row, column=column).patch
        top, left = patch.top + 1, patch.left + 1
        assert np.allclose(patch.input, values[:, top : top + 8, left : left + 8], atol=1e-6)


def test_the_strongest_filter_is_chosen_where_it_is_strongest(served, png):
    answer = activations(served, png)
    means = [one.mean for one in answer.filters]
    assert answer.patch.filter == means.index(max(means))
    assert answer.patch.activated[answer.patch.row][answer.patch.column] == pytest.approx(
        answer.filters[answer.patch.filter].maximum, abs=1e-6
    )
    assert answer.patch.kernel == answer.filters[answer.patch.filter].kernel
    assert answer.patch.bias == pytest.approx(answer.filters[answer.patch.filter].bias, abs=1e-6)


def test_every_filters_map_is_its_convolution_of_the_square(served, png):
    answer, square = activations(served, png), inspect(served, png).square
    entered = array(square.normalised, "<f4", 1, 16, 16).astype(np.float64)
    kernels = np.array([one.kernel for one in answer.filters])
    maps = np.maximum(conv2d(entered, kernels, np.array([one.bias for one in answer.filters]), 1, 1), 0)
    assert [one.mean for one in answer.filters] == pytest.approx(list(maps.mean(axis=(1, 2))), abs=1e-5)
    assert [one.maximum for one in answer.filters] == pytest.approx(list(maps.max(axis=(1, 2))), abs=1e-5)
    shades = np.stack([np.asarray(opened(one.picture)) for one in answer.filters])
    assert np.abs(shades - maps / answer.range[1] * 255).max() < 1.01


def test_a_first_layer_with_colours_a_stride_and_large_kernels_is_computed_again(colourful, encoded):
    image = encoded(NOISE, "JPEG")
    for row, column in itertools.product((0, 70, 149), repeat=2):
        answer = activations(colourful, image, row=row, column=column, filter=5)
        layer, patch = answer.layer, answer.patch
        assert (layer.filters, layer.channels, layer.kernel_px, layer.stride, layer.padding) == (64, 3, 7, 2, 3)
        assert (layer.input, layer.output) == ([3, 300, 300], [64, 150, 150])
        assert answer.proof.cells == 150 * 150
        assert answer.proof.largest_difference < 1e-5
        assert (np.shape(patch.input), np.shape(patch.kernel)) == ((3, 17, 17), (3, 7, 7))
        assert (patch.top + 2 * patch.row, patch.left + 2 * patch.column) == (2 * row - 3, 2 * column - 3)
        again = convolved(colourful, patch.model_dump(), relu=True)
        assert np.abs(np.subtract(again["output"], patch.convolved)).max() < 1e-5
        assert np.abs(np.subtract(again["activated"], patch.activated)).max() < 1e-5
    assert {opened(one.picture).size for one in answer.filters} == {(72, 72)}
    assert drawn(colourful, image, "/activations").size == (8 * 152 - 2, 8 * 152 - 2)


def test_a_first_layer_without_padding_and_with_another_activation_is_computed_again(headless, png):
    answer = activations(headless, png, row=27, column=27)
    layer, patch = answer.layer, answer.patch
    assert (layer.filters, layer.kernel_px, layer.padding, layer.activation) == (6, 5, "valid", "tanh")
    assert (layer.input, layer.output) == ([1, 32, 32], [6, 28, 28])
    assert (patch.top + patch.row, patch.left + patch.column) == (27, 27)
    assert answer.proof.largest_difference < 1e-5
    again = convolved(headless, patch.model_dump())
    assert np.abs(np.subtract(again["output"], patch.convolved)).max() < 1e-5
    assert np.allclose(np.tanh(again["output"]), patch.activated, atol=1e-5)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("filter=16", "filter is 16; the first layer has 16"),
        ("row=16", "row is 16"),
        ("column=16", "column is 16"),
        ("filter=99999", "filter is 99999"),
        ("row=9999&column=0", "row is 9999"),
        ("filter=-1", "query.filter: "),
        ("row=-1", "query.row: "),
        ("column=-1", "query.column: "),
        ("filter=100000", "query.filter: "),
        ("row=10000", "query.row: "),
        ("column=1.5", "query.column: "),
        ("row=", "query.row: "),
        ("layer=last", "query.layer: "),
    ],
)
def test_a_place_that_does_not_exist_is_named(served, png, query, words):
    assert words in problem(served.post(png, f"/activations?{query}"), 422, "invalid_parameter").detail


def test_the_journey_goes_from_the_image_to_the_answer(served, png):
    answer = activations(served, png, layer="journey")
    assert {answer.layer, answer.range, answer.filters, answer.patch, answer.proof} == {None}
    assert [(stage.channels, stage.height, stage.width) for stage in answer.stages] == [
        (16, 16, 16),
        (32, 8, 8),
        (64, 4, 4),
    ]
    for stage in answer.stages:
        assert len({one.channel for one in stage.maps}) == 8
        assert all(one.channel < stage.channels for one in stage.maps)
        assert {opened(one.picture).size for one in stage.maps} == {(stage.width, stage.height)}
        means = [one.mean for one in stage.maps]
        assert means == sorted(means, reverse=True)  # behind a ReLU the strongest has the largest mean
    assert [one.value for one in answer.means] == sorted((one.value for one in answer.means), reverse=True)
    last = {one.channel: one.mean for one in answer.stages[-1].maps}
    assert {one.channel: one.value for one in answer.means} == pytest.approx(last, abs=1e-6)


def test_the_journey_ends_in_the_answer_that_is_served(served, png):
    answer = activations(served, png, layer="journey")
    manifest = served.classifier.bundle.manifest
    assert answer.temperature == manifest.temperature
    logits = [one.logit for one in answer.outputs]
    assert logits == sorted(logits, reverse=True)
    every = [
        served.post(png, "/explain", params={"label": name}).json()["logits"]["label"] for name in manifest.categories
    ]
    wanted = dict(zip(manifest.categories, probabilities(np.array(every), answer.temperature), strict=True))
    assert {one.label: one.score for one in answer.outputs} == pytest.approx(
        {one.label: wanted[one.label] for one in answer.outputs}, abs=1e-5
    )
    ranked = served.post(png, "/explain").json()["predictions"]
    assert [{"label": one.label, "score": one.score} for one in answer.outputs] == ranked


def test_the_journey_through_a_network_without_a_linear_head_has_no_means(headless, png):
    answer = activations(headless, png, layer="journey", filter=99)
    assert answer.means is None
    assert {one.label for one in answer.outputs} == {"day", "night"}
    assert [(stage.height, stage.width) for stage in answer.stages] == [(28, 28), (14, 14), (10, 10), (5, 5)]
    assert [len(stage.maps) for stage in answer.stages] == [6, 6, 8, 8]


def test_the_pictures_show_every_map_on_one_sheet(served, png):
    first = drawn(served, png, "/activations")
    assert (first.size, first.mode) == ((4 * 18 - 2, 4 * 18 - 2), "L")
    maps = [np.asarray(opened(one.picture)) for one in activations(served, png).filters]
    sheet = np.asarray(first)
    for index, (row, column) in enumerate(np.ndindex(4, 4)):
        assert np.array_equal(sheet[18 * row : 18 * row + 16, 18 * column : 18 * column + 16], maps[index])
    journey = drawn(served, png, "/activations", layer="journey")
    assert journey.size == (5 * 74 - 2, 5 * 74 - 2)  # 24 maps


def test_the_steps_are_in_order_and_say_what_they_do(served, png):
    answer = inspect(served, png)
    assert [step.name for step in answer.steps] == STEPS
    shapes = [[280, 280, 3], [280, 280, 3], [280, 280, 1], [16, 16, 1], [16, 16, 1], [1, 16, 16]]
    assert [step.shape for step in answer.steps] == shapes
    assert [step.dtype for step in answer.steps] == ["uint8"] * 5 + ["float32"]
    sizes = [(256, 256)] * 3 + [(16, 16)] * 3
    assert [opened(step.picture).size for step in answer.steps] == sizes
    does = preprocessing(served).describe_steps()
    del does["colours"]  # the decoder's, told among the facts
    assert {step.name: step.does for step in answer.steps[2:]} == does
    assert answer.steps[0].does == f"PNG, RGB, {len(png)} bytes, before any turn, shown in RGB"
    assert answer.facts.model_dump() == {
        "format": "PNG",
        "bytes": len(png),
        "mode": "RGB",
        "orientation": 1,
        "width": 280,
        "height": 280,
        "colours": "taken as sRGB",
    }
    assert answer.box == [0, 0, 280, 280]


@pytest.mark.parametrize(
    ("icc", "told"),
    [
        (matrix_profile(DISPLAY_P3, SRGB_CURVE, "Display P3"), "converted to sRGB from the profile 'Display P3'"),
        (b"nonsense", "taken as sRGB. The colour profile is damaged, or of an unusual kind, and was ignored."),
    ],
)
def test_what_was_done_with_a_colour_profile_is_told(served, encoded, icc, told):
    data = encoded(Image.new("RGB", (64, 64), (200, 100, 50)), "PNG", icc_profile=icc)
    assert inspect(served, data).facts.colours == told


@pytest.mark.parametrize("mode", MODES)
def test_every_step_gives_the_pixels_of_the_preprocessing(served, encoded, mode):
    file_format, image = stored_images(encoded)[mode]
    upright = decode(image, DecodeLimits()).pixels
    expected = preprocessing(served)
    answer = inspect(served, image)
    assert (answer.facts.format, answer.facts.mode, answer.facts.orientation) == (file_format, mode, 1)
    # 40 px become 10 rows, so each of the 3 rows of paper above them is worth 4 px.
    assert (answer.facts.width, answer.facts.height, answer.box) == (60, 40, [0, -12, 60, 52])
    pixels = {"stored": upright, "upright": upright} | {step.name: step.pixels for step in expected.steps(upright)}
    pixels["normalised"] = expected.normalise(expected.apply(upright)[None])[0]
    for step in answer.steps:
        values = pixels[step.name]
        assert (step.shape, step.dtype) == (list(values.shape), str(values.dtype))
        assert (step.minimum, step.maximum) == pytest.approx((values.min(), values.max()), abs=1e-4)
        assert step.mean == pytest.approx(values.mean(dtype=np.float64), abs=1e-4)
        shown = np.asarray(opened(step.picture))
        if values.dtype == np.uint8:
            assert np.array_equal(shown, values[:, :, 0] if values.shape[2] == 1 else values)


@pytest.mark.parametrize("mode", MODES)
def test_the_square_is_what_the_network_reads(served, encoded, mode):
    _, image = stored_images(encoded)[mode]
    upright, expected = decode(image, DecodeLimits()).pixels, preprocessing(served)
    square = inspect(served, image).square
    assert (square.side, square.sampled_every, square.channels) == (16, 1, 1)
    network = array(square.network, "u1", 16, 16, 1)
    assert np.array_equal(network, expected.apply(upright))
    assert np.array_equal(array(square.normalised, "<f4", 1, 16, 16), expected.normalise(network[None])[0])
    three = Preprocessing.model_validate(expected.model_dump() | {"channels": 3, "mean": (0.5,) * 3, "std": (0.5,) * 3})
    assert np.array_equal(array(square.rgb, "u1", 16, 16, 3), three.apply(upright))


def test_a_large_square_is_sampled(colourful, encoded):
    image = encoded(NOISE, "JPEG")
    upright, expected = decode(image, DecodeLimits()).pixels, preprocessing(colourful)
    answer = inspect(colourful, image, "hsv")
    square = answer.square
    assert (square.side, square.sampled_every, square.channels) == (150, 2, 3)
    whole = expected.apply(upright)
    assert whole.shape == (300, 300, 3)
    for text in (square.network, square.rgb):
        assert np.array_equal(array(text, "u1", 150, 150, 3), whole[::2, ::2])
    normalised = expected.normalise(whole[None])[0][:, ::2, ::2]
    assert np.array_equal(array(square.normalised, "<f4", 3, 150, 150), normalised)
    assert answer.steps[-1].shape == [3, 300, 300]
    assert opened(answer.steps[-1].picture).size == (256, 256)
    wanted = color.rgb_to_hsv(whole[::2, ::2] / 255)
    for index, plane in enumerate(answer.planes["hsv"]):
        assert np.allclose(array(plane.values, "<f4", 150, 150), wanted[:, :, index], atol=1e-6)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("picture", ["noise", "white", "black", "red", "blue"])
def test_the_planes_of_a_colour_space_are_those_of_the_square(served, encoded, space, picture):
    source = NOISE.crop((0, 0, 60, 40)) if picture == "noise" else Image.new("RGB", (16, 16), picture)
    answer = inspect(served, encoded(source, "PNG"), space)
    names, ranges, convert = SPACES[space]
    assert list(answer.planes) == [space]
    planes = answer.planes[space]
    assert ([plane.name for plane in planes], [plane.range for plane in planes]) == (names, ranges)
    wanted = convert(array(answer.square.rgb, "u1", 16, 16, 3) / 255)
    for index, plane in enumerate(planes):
        values = array(plane.values, "<f4", 16, 16)
        assert np.allclose(values, wanted[:, :, index], atol=1e-5)
        assert len(plane.histogram) == 32
        assert sum(plane.histogram) == values.size, "a pixel lies outside of the range"
        low, high = plane.range
        counts = np.bincount(np.clip((wanted[:, :, index] - low) / (high - low) * 32, 0, 31).astype(int).flat)
        assert np.abs(np.subtract(plane.histogram, np.pad(counts, (0, 32 - len(counts))))).sum() <= 4  # at the edges


@pytest.mark.parametrize(
    ("spaces", "given"),
    [((), []), (("lab", "rgb"), ["lab", "rgb"]), (("rgb", "rgb"), ["rgb"]), (tuple(SPACES), sorted(SPACES))],
)
def test_only_the_spaces_that_were_asked_for_are_given(served, png, spaces, given):
    assert sorted(inspect(served, png, *spaces).planes) == given


@pytest.mark.parametrize("query", ["space=cmyk", "space=", "space=RGB", "space=rgb,lab", "&".join(["space=rgb"] * 5)])
def test_a_space_that_there_is_not_is_refused(served, png, query):
    assert "query.space" in problem(served.post(png, f"/inspect?{query}"), 422, "invalid_parameter").detail


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "PNG"])
def test_a_turned_image_is_shown_as_stored_and_as_it_stands(served, digit, encoded, file_format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = digit(5).resize((60, 40))
    image = encoded(stored, file_format, exif=exif, **({"lossless": True} if file_format == "WEBP" else {}))
    answer = inspect(served, image)
    upright = stored if TURNS[orientation] is None else stored.transpose(TURNS[orientation])
    assert (answer.facts.orientation, answer.facts.width, answer.facts.height) == (orientation, *upright.size)
    assert answer.steps[0].shape == [40, 60, 3]
    assert answer.steps[1].shape == [upright.height, upright.width, 3]
    assert ("needs no turn" if orientation == 1 else f"EXIF orientation {orientation} says") in answer.steps[1].does
    for step, picture in zip(answer.steps, (stored, upright), strict=False):
        apart = np.asarray(opened(step.picture)).astype(int) - np.asarray(picture)
        assert np.abs(apart).mean() < (0.01 if file_format != "JPEG" else 4)
    whole = decode(image, DecodeLimits()).pixels
    network = array(answer.square.network, "u1", 16, 16, 1)
    assert np.array_equal(network, preprocessing(served).apply(whole))


@pytest.mark.parametrize("size", [(1, 1), (2000, 3), (1, 3000), (10_000, 1)])
@pytest.mark.parametrize("network", ["served", "headless", "colourful"])
def test_an_image_of_an_extreme_shape_is_looked_into(request, encoded, network, size):
    served: Served = request.getfixturevalue(network)
    image = encoded(Image.new("RGB", size, (90, 120, 150)), "PNG")
    answer = inspect(served, image, "lab")
    assert (answer.facts.width, answer.facts.height) == size
    assert answer.steps[0].shape == [size[1], size[0], 3]
    assert all(max(opened(step.picture).size) <= 256 for step in answer.steps)
    side, expected = answer.square.side, preprocessing(served)
    whole = expected.apply(decode(image, DecodeLimits()).pixels)
    every = answer.square.sampled_every
    assert np.array_equal(array(answer.square.network, "u1", side, side, expected.channels), whole[::every, ::every])
    assert activations(served, image).proof.largest_difference < 1e-5
    assert served.post(image, "/explain", params={"method": "occlusion", "cells": 2}).status_code == 200


def test_the_picture_of_an_inspection_shows_its_steps(served, png):
    assert (drawn(served, png, "/inspect").size, drawn(served, png, "/inspect").mode) == ((514, 514), "RGB")


@pytest.mark.parametrize("path", ["/activations", "/activations?layer=journey", "/inspect?space=hsv&space=lab"])
def test_every_number_of_an_answer_is_one_in_json(served, encoded, path):
    """NaN and Infinity are not JSON; a browser refuses the whole answer."""
    text = served.post(encoded(Image.new("RGB", (1, 1)), "PNG"), path).text
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{path} says {name}"))
