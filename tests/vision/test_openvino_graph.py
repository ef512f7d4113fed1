"""Small networks, each with one oddity: what the graph's first convolution and linear head are, and what they are not.

Each is converted as training converts it.
"""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from vision.architectures.classifier import Classifier
from vision.convolution import conv2d
from vision.engines.openvino_taps import OpenVinoTaps
from vision.explanation import is_exact
from vision.preprocessing import Preprocessing

SQUARE = Preprocessing.minus_one_one(16)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, values):
        return self.function(values)


class Added(nn.Module):
    """Adds a value of its own to every cell, as a learned position does."""

    def __init__(self, *shape):
        super().__init__()
        self.value = nn.Parameter(torch.randn(1, *shape))

    def forward(self, maps):
        return maps + self.value


def mean():
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]


def tapped(bundle_of, *backbone, head=None):
    model = Classifier(nn.Sequential(*backbone), head if head is not None else nn.Linear(4, 5))
    torch.manual_seed(0)
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return OpenVinoTaps(bundle_of(model.eval(), SQUARE, 5), 1)


def first_layer_difference(taps):
    differences = []
    for image in IMAGES:
        seen, layer = taps.observe(image), taps.first
        computed = conv2d(seen.entered, layer.kernels, layer.bias, layer.stride, layer.padding)
        assert computed.shape == seen.convolved.shape
        differences.append(np.abs(computed - seen.convolved).max())
    return max(differences)


@pytest.mark.parametrize(
    ("layers", "stride", "padding"),
    [
        ([nn.Conv2d(3, 4, 3)], 1, "valid"),
        ([nn.Conv2d(3, 4, 3, padding=1, bias=False)], 1, 1),
        ([nn.Conv2d(3, 4, 5, stride=3, padding=4)], 3, 4),
        ([nn.Conv2d(3, 4, 4, padding="same")], 1, "same"),
        ([nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 4, 3, stride=2)], 2, "same"),
        ([nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")], 1, "valid"),  # the graph pads before it
        ([nn.Conv2d(3, 4, 1)], 1, "valid"),
        ([nn.MaxPool2d(2), nn.Conv2d(3, 4, 3)], 1, "valid"),
        ([nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)], 1, "valid"),
        ([nn.Conv2d(3, 4, 3), Function(lambda maps: torch.relu(maps) + maps)], 1, "valid"),  # read twice
    ],
    ids=["plain", "no bias", "wide", "same", "padded at the end", "reflected", "1x1", "pooled", "norm", "read twice"],
)
def test_a_square_convolution_is_found_and_is_the_textbooks(bundle_of, layers, stride, padding):
    taps = tapped(bundle_of, *layers, nn.ReLU(), *mean())
    assert (taps.first.stride, taps.first.padding) == (stride, padding)
    assert first_layer_difference(taps) < 1e-5


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 3, dilation=2),
        nn.Conv2d(3, 4, 3, stride=(1, 2)),
        nn.Conv2d(3, 4, (3, 5)),
        nn.Conv2d(3, 4, 3, padding=(1, 0)),
    ],
    ids=["dilated", "strides", "window", "padding"],
)
def test_a_convolution_that_differs_by_side_or_is_dilated_is_not_shown(bundle_of, layer):
    taps = tapped(bundle_of, layer, nn.ReLU(), *mean())
    assert taps.first is None
    seen = taps.observe(IMAGES[0])
    assert (seen.entered, seen.convolved, seen.activated) == (None, None, None)
    assert is_exact(taps, IMAGES), "the rest is shown all the same"


def test_a_network_without_a_convolution_shows_its_logits_only(bundle_of):
    taps = tapped(bundle_of, nn.Flatten(), head=nn.Linear(768, 5))
    assert (taps.first, taps.head) == (None, None)
    seen = taps.observe(IMAGES[0])
    assert seen.last is None
    assert list(seen.stages) == []
    assert np.array_equal(seen.logits, taps.infer(IMAGES[:1])[0])


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (nn.ReLU(), "ReLU"),
        (nn.ReLU6(), "ReLU6"),
        (nn.Hardtanh(-1, 2), "clamp"),
        (nn.Tanh(), "tanh"),
        (nn.Sigmoid(), "sigmoid"),
        (nn.SiLU(), "SiLU"),
        (nn.Hardswish(), "hard swish"),
        (nn.Hardsigmoid(), "hard sigmoid"),
        (nn.ELU(), "ELU"),
        (nn.GELU(), "GELU"),
        (nn.Mish(), "Mish"),
        (nn.MaxPool2d(2), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_the_activation_is_named_and_its_maps_are_shown(bundle_of, activation, name):
    taps = tapped(bundle_of, nn.Conv2d(3, 4, 3), activation, *mean())
    assert taps.first.activation == name
    for image in IMAGES:
        seen = taps.observe(image)
        maps = torch.from_numpy(seen.convolved)
        assert np.abs(seen.activated - (activation(maps) if name else maps).numpy()).max() < 1e-5


def test_maps_that_two_functions_read_are_shown_as_they_are(bundle_of):
    taps = tapped(bundle_of, nn.Conv2d(3, 4, 3), Function(lambda maps: torch.relu(maps) + torch.tanh(maps)), *mean())
    assert taps.first.activation == ""
    seen = taps.observe(IMAGES[0])
    assert np.array_equal(seen.activated, seen.convolved)
    assert seen.activated.min() < 0


@pytest.mark.parametrize(
    ("layers", "head"),
    [
        (mean(), nn.Linear(4, 5)),
        (mean(), nn.Linear(4, 5, bias=False)),
        (mean(), nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 5))),
        ([Function(lambda maps: maps.mean((2, 3)))], nn.Linear(4, 5)),
        ([Function(lambda maps: maps.mean((3, 2), keepdim=True)), nn.Flatten()], nn.Linear(4, 5)),
        ([nn.AvgPool2d(14), nn.Flatten()], nn.Linear(4, 5)),
    ],
    ids=["adaptive", "no bias", "dropout", "mean", "kept sides", "pool over everything"],
)
def test_a_mean_and_a_linear_layer_are_a_linear_head(bundle_of, layers, head):
    taps = tapped(bundle_of, nn.Conv2d(3, 4, 3), nn.ReLU(), *layers, head=head)
    linear = [module for module in head.modules() if isinstance(module, nn.Linear)][-1]
    assert np.array_equal(taps.head.weights, linear.weight.detach().numpy())
    assert np.array_equal(taps.head.bias, np.zeros(5) if linear.bias is None else linear.bias.detach().numpy())
    assert taps.observe(IMAGES[0]).last.shape == (4, 14, 14)
    assert is_exact(taps, IMAGES)


@pytest.mark.parametrize(
    ("layers", "head"),
    [
        (mean(), nn.Sequential(nn.Linear(4, 5), nn.Softmax(1))),
        (mean(), nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5))),
        (mean(), nn.Sequential(nn.Linear(4, 6, bias=False), nn.Linear(6, 5))),
        ([*mean(), nn.Tanh()], nn.Linear(4, 5)),
        ([*mean(), nn.LayerNorm(4)], nn.Linear(4, 5)),
        ([*mean(), Function(lambda values: 2 * values)], nn.Linear(4, 5)),
        ([nn.AdaptiveMaxPool2d(1), nn.Flatten()], nn.Linear(4, 5)),
        ([nn.AdaptiveAvgPool2d(2), nn.Flatten()], nn.Linear(16, 5)),
        ([nn.AvgPool2d(7), nn.Flatten()], nn.Linear(16, 5)),
        ([nn.Flatten()], nn.Linear(4 * 14 * 14, 5)),
        ([Function(lambda maps: maps.mean(2)), nn.Flatten()], nn.Linear(56, 5)),
        ([Function(lambda maps: maps.mean(1)), nn.Flatten()], nn.Linear(196, 5)),
        ([*mean(), Function(lambda values: values[:, [2, 0, 1, 3]])], nn.Linear(4, 5)),
    ],
    ids=[
        *("softmax", "hidden layer", "two matrices", "tanh", "norm", "scaled", "maximum", "four means", "four pools"),
        *("every cell", "rows", "channels", "channels in another order"),
    ],
)
def test_anything_else_is_no_linear_head(bundle_of, layers, head):
    taps = tapped(bundle_of, nn.Conv2d(3, 4, 3), nn.ReLU(), *layers, head=head)
    assert taps.head is None
    assert taps.observe(IMAGES[0]).last is None
    assert not is_exact(taps, IMAGES)


def test_the_last_maps_may_also_be_a_stage_and_the_first_maps(bundle_of):
    """An output of the graph that shows three things is added once, and each finds it."""
    taps = tapped(bundle_of, nn.Conv2d(3, 4, 3), nn.ReLU(), *mean())
    seen = taps.observe(IMAGES[0])
    assert np.array_equal(seen.activated, seen.last)
    assert [np.array_equal(maps, seen.last) for maps in seen.stages] == [True]


def test_stages_are_the_last_maps_of_each_size(bundle_of):
    second = [nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.Tanh(), nn.MaxPool2d(7)]
    taps = tapped(bundle_of, nn.Conv2d(3, 4, 3), nn.ReLU(), *second, nn.Flatten(), head=nn.Linear(6, 5))
    seen = taps.observe(IMAGES[0])
    assert [maps.shape for maps in seen.stages] == [(4, 14, 14), (6, 7, 7)]
    assert np.array_equal(seen.stages[0], np.maximum(seen.convolved, 0))
    assert np.abs(seen.stages[1]).max() < 1, "behind tanh"


@pytest.mark.parametrize("bias", [True, False])
def test_an_addition_that_differs_by_cell_is_no_bias(bundle_of, bias):
    taps = tapped(bundle_of, nn.Conv2d(3, 4, 3, bias=bias), Added(4, 14, 14), nn.ReLU(), *mean())
    assert first_layer_difference(taps) < 1e-5


def test_a_later_convolution_is_not_shown_as_the_first(bundle_of):
    taps = tapped(bundle_of, nn.Conv2d(3, 3, 3, groups=3), nn.ReLU(), nn.Conv2d(3, 4, 1), nn.ReLU(), *mean())
    assert taps.first is None


def test_another_head_than_the_networks_is_not_exact(bundle_of):
    taps = tapped(bundle_of, nn.Conv2d(3, 4, 3), nn.ReLU(), *mean())
    right = taps.head
    for wrong in (
        dataclasses.replace(right, weights=right.weights[:, [1, 0, 2, 3]]),
        dataclasses.replace(right, weights=right.weights[:, :3]),
        dataclasses.replace(right, bias=right.bias + 0.01),
    ):
        taps.head = wrong
        assert not is_exact(taps, IMAGES)
    taps.head = right
    assert is_exact(taps, IMAGES)
