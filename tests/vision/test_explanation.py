"""Explanations of the demo's digits: they add up to the logits, and captum computes the same."""

import dataclasses

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam, Occlusion

from vision.engines.openvino_taps import OpenVinoTaps
from vision.engines.torch_engine import load_model
from vision.engines.torch_taps import TorchTaps
from vision.explanation import _boxes, class_activation, cover, is_exact, neutral, occlusion
from vision.image import DecodeLimits, decode
from vision.preprocessing import IMAGENET_MEAN, Preprocessing

PAIRS = [(0, None), (3, None), (9, None), (3, 8), (8, 3), (1, 7), (4, 4)]


@pytest.fixture(scope="module")
def squares(shipped, digit):
    """The golden images and digits that no model has seen, as the network gets them."""
    images = [decode(data, DecodeLimits()).pixels for data in shipped.golden.images]
    images += [np.asarray(digit(value, turn_deg=5.0)) for value in range(10)]
    return np.stack([shipped.manifest.preprocessing.apply(image) for image in images])


@pytest.fixture(params=[OpenVinoTaps, TorchTaps], ids=["openvino", "torch"])
def taps(request, shipped):
    """Loaded for each test: some change its head."""
    return request.param(shipped, 1)


@pytest.fixture(scope="module")
def network(shipped):
    return load_model(shipped)


def normalised(bundle, squares):
    return torch.from_numpy(bundle.manifest.preprocessing.normalise(squares))


@pytest.mark.parametrize(("label", "against"), PAIRS)
def test_the_cells_sum_to_the_logit_or_to_the_difference_of_two(taps, squares, label, against):
    for square in squares:
        seen = taps.observe(square)
        cells = class_activation(seen.last, taps.head, label, against)
        assert cells.shape == seen.last.shape[1:] == (4, 4)
        expected = seen.logits[label] - (0 if against is None else seen.logits[against])
        assert abs(cells.sum() - expected) < 1e-4
        assert label == against or np.ptp(cells) > 0.1, "the cells differ"


def test_two_labels_against_each_other_are_the_difference_of_their_maps(taps, squares):
    last = taps.observe(squares[0]).last
    difference = class_activation(last, taps.head, 3) - class_activation(last, taps.head, 8)
    assert np.abs(class_activation(last, taps.head, 3, 8) - difference).max() < 1e-9
    assert np.abs(class_activation(last, taps.head, 8, 3) + difference).max() < 1e-9


def test_each_cell_is_what_the_weights_make_of_it(taps, squares):
    seen = taps.observe(squares[0])
    cells = class_activation(seen.last, taps.head, 5)
    for row, column in np.ndindex(4, 4):
        here = float(taps.head.weights[5] @ seen.last[:, row, column] + taps.head.bias[5])
        assert cells[row, column] == pytest.approx(here / 16, abs=1e-5)


@pytest.mark.parametrize("label", range(10))
def test_class_activation_is_captums_grad_cam_and_the_bias(shipped, taps, network, squares, label):
    """captum's maps lack the bias, which ours spread over the cells."""
    method = LayerGradCam(network, network.backbone[-3])
    theirs = method.attribute(normalised(shipped, squares), target=label, relu_attributions=False)
    theirs = theirs[:, 0].detach().numpy() + taps.head.bias[label] / 16
    for square, expected in zip(squares, theirs, strict=True):
        ours = class_activation(taps.observe(square).last, taps.head, label)
        assert np.abs(ours - expected).max() < 1e-4


@pytest.mark.parametrize("cells", [1, 2, 4, 8, 16])
def test_occlusion_is_captums(shipped, taps, network, squares, cells):
    preprocessing = shipped.manifest.preprocessing
    side = preprocessing.crop_px // cells
    value = neutral(preprocessing)
    paper = normalised(shipped, np.full((1, 1, 1, 1), value, np.uint8))
    for index, label in ((0, 0), (8, 3)):
        theirs = Occlusion(network).attribute(
            normalised(shipped, squares[index : index + 1]),
            sliding_window_shapes=(1, side, side),
            strides=(1, side, side),
            baselines=paper,
            target=label,
        )[0, 0]
        expected = theirs[::side, ::side].detach().numpy()
        ours = occlusion(taps.infer, squares[index], cells, value, label).drops
        assert ours.shape == expected.shape == (cells, cells)
        assert np.abs(ours - expected).max() < 1e-4
        assert np.abs(ours).max() > 0.1


@pytest.mark.parametrize(("label", "against"), [(3, None), (3, 8)])
@pytest.mark.parametrize("cells", [1, 3, 5, 7, 16])
def test_every_cell_is_covered_in_turn_also_where_the_side_is_not_divisible(taps, squares, cells, label, against):
    """Pixel by pixel, in a grid that is drawn another way: a pixel belongs to the cell in which its middle lies."""
    square, value = squares[9], (200,)
    kept = square.copy()
    covering = occlusion(taps.infer, square, cells, value, label, against)
    assert np.array_equal(square, kept)
    assert covering.drops.shape == (cells, cells)
    assert covering.logits.shape == (cells, cells, 10)

    def watched(logits):
        return float(logits[label]) - (0 if against is None else float(logits[against]))

    before = watched(taps.infer(square[None])[0])
    cell_of = [int((pixel + 0.5) * cells / 16) for pixel in range(16)]
    for row, column in np.ndindex(cells, cells):
        covered = square.copy()
        for y, x in np.ndindex(16, 16):
            if (cell_of[y], cell_of[x]) == (row, column):
                covered[y, x] = 200
        logits = taps.infer(covered[None])[0]
        assert np.abs(covering.logits[row, column] - logits).max() < 1e-4
        assert abs(covering.drops[row, column] - (before - watched(logits))) < 1e-4


def test_covering_paper_with_paper_changes_nothing(shipped, taps):
    empty = np.full(shipped.manifest.preprocessing.shape, 255, np.uint8)
    covering = occlusion(taps.infer, empty, 4, neutral(shipped.manifest.preprocessing), 0)
    assert np.abs(covering.drops).max() < 1e-5


def test_the_shipped_head_is_exact(shipped, taps, squares):
    assert is_exact(taps, squares)
    assert is_exact(taps, [np.zeros((16, 16, 1), np.uint8)])


@pytest.mark.parametrize(
    "tamper",
    [
        lambda head: None,
        lambda head: dataclasses.replace(head, weights=np.roll(head.weights, 1, axis=0)),
        lambda head: dataclasses.replace(head, weights=np.roll(head.weights, 1, axis=1)),
        lambda head: dataclasses.replace(head, weights=head.weights * np.float32(1.001)),
        lambda head: dataclasses.replace(head, bias=head.bias + np.float32(0.01)),
        lambda head: dataclasses.replace(head, bias=np.zeros_like(head.bias)),
        lambda head: dataclasses.replace(head, weights=head.weights[:, :32]),
        lambda head: dataclasses.replace(head, weights=np.hstack([head.weights, head.weights])),
    ],
    ids=["none", "labels", "channels", "scaled", "bias", "no bias", "fewer channels", "more channels"],
)
def test_a_wrong_head_is_not_exact(taps, squares, tamper):
    taps.head = tamper(taps.head)
    assert not is_exact(taps, squares)


def test_one_wrong_weight_is_found_if_an_image_uses_its_channel(taps, squares):
    channel = int(taps.observe(squares[0]).last.mean(axis=(1, 2)).argmax())
    weights = taps.head.weights.copy()
    weights[4, channel] += 0.01
    taps.head = dataclasses.replace(taps.head, weights=weights)
    assert not is_exact(taps, squares[:1])


def test_a_head_with_a_value_that_is_not_a_number_is_not_exact(taps, squares):
    bias = taps.head.bias.copy()
    bias[0] = np.nan
    taps.head = dataclasses.replace(taps.head, bias=bias)
    assert not is_exact(taps, squares)


@pytest.mark.parametrize(
    ("preprocessing", "value"),
    [
        (Preprocessing.zero_one(8), (0, 0, 0)),
        (Preprocessing.minus_one_one(8), (128, 128, 128)),
        (Preprocessing.minus_one_one(8, channels=1), (128,)),
        (Preprocessing.imagenet(8, 8), (124, 116, 104)),
        (Preprocessing.imagenet(8, 8, policy="pad", fill=9), (9, 9, 9)),
        (Preprocessing.minus_one_one(8, channels=1, policy="pad", fill=255), (255,)),
        (Preprocessing.zero_one(8, scale=1.0, mean=(1.0, 0.0, -1.0)), (1, 0, 0)),
        (Preprocessing.zero_one(8, mean=(1.0, 0.5, -0.5)), (255, 128, 0)),
        (Preprocessing.zero_one(8, scale=1 / 300, mean=(1.0, 1.0, 0.1)), (255, 255, 30)),
    ],
    ids=str,
)
def test_neutral_is_the_paper_or_what_the_normalisation_turns_nearest_to_0(preprocessing, value):
    chosen = neutral(preprocessing)
    assert chosen == value
    assert all(type(number) is int for number in chosen)
    if preprocessing.policy != "pad":
        every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(preprocessing.channels, axis=3)
        nearest = np.abs(preprocessing.normalise(every)).reshape(preprocessing.channels, 256)
        for plane, number in zip(nearest, chosen, strict=True):
            assert plane[number] <= plane.min() + 1e-6


def test_imagenets_neutral_value_is_its_mean_colour():
    assert np.abs(np.array(neutral(Preprocessing.imagenet())) / 255 - IMAGENET_MEAN).max() <= 0.5 / 255


@pytest.mark.parametrize(
    "box", [(0, 0, 40, 30), (3, 5, 7, 2), (39, 29, 1, 1), (0, 0, 1, 1), (10, 0, 5, 30), (0, 12, 40, 3)], ids=str
)
@pytest.mark.parametrize("value", [(1, 2, 3), (255, 0, 7), (9,)], ids=str)
def test_cover_changes_every_pixel_of_the_box_and_no_other(box, value):
    image = np.random.default_rng(0).integers(100, 200, (30, 40, 3), dtype=np.uint8)
    kept = image.copy()
    covered = cover(image, box, value)
    assert np.array_equal(image, kept)
    assert not np.shares_memory(image, covered)
    assert (covered.shape, covered.dtype) == (image.shape, np.uint8)
    left, top, width, height = box
    colour = value if len(value) == 3 else value * 3
    for y, x in np.ndindex(30, 40):
        inside = left <= x < left + width and top <= y < top + height
        assert covered[y, x].tolist() == (list(colour) if inside else kept[y, x].tolist())


@pytest.mark.parametrize("side", [1, 2, 7, 16, 31, 64])
def test_the_boxes_cover_every_pixel_once_row_by_row(side):
    for cells in range(1, side + 1):
        times = np.zeros((side, side), int)
        boxes = list(_boxes(side, cells))
        assert len(boxes) == cells * cells
        for top, bottom, left, right in boxes:
            assert 1 <= bottom - top <= -(-side // cells)
            assert 1 <= right - left <= -(-side // cells)
            times[top:bottom, left:right] += 1
        assert (times == 1).all()
        assert boxes == sorted(boxes)


@pytest.mark.parametrize(("side", "cells"), [(224, 7), (224, 10), (299, 8), (299, 32)])
def test_the_boxes_cover_the_squares_of_real_networks(side, cells):
    times = np.zeros((side, side), int)
    for top, bottom, left, right in _boxes(side, cells):
        times[top:bottom, left:right] += 1
        assert {bottom - top, right - left} <= {side // cells, -(-side // cells)}
    assert (times == 1).all()
