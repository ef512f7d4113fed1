"""Networks of the registry, with random weights: their first layer is found and right, and a linear head where it is.

Each is converted as training converts it. Batch normalisation gets the statistics of noise, so that folding matters.
"""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from vision.architectures.registry import build_model
from vision.convolution import conv2d
from vision.engines.openvino_taps import OpenVinoTaps
from vision.engines.torch_taps import TorchTaps
from vision.explanation import is_exact
from vision.preprocessing import Preprocessing

CATEGORIES = 7
GRAY_16, GRAY_32 = (Preprocessing.minus_one_one(side, channels=1) for side in (16, 32))
RGB_32 = Preprocessing.minus_one_one(32)
RGB_64 = Preprocessing.imagenet(64, 64)
RGB_112 = Preprocessing.imagenet(112, 112)  # Inception's last maps are then 2×2

# name in this file: (architecture, arguments, preprocessing, first layer (kernels, stride, padding, activation in
# OpenVINO), whether the network ends in global average pooling and one linear layer)
NETWORKS = {
    "simple_resnet": ("simple_resnet", {}, GRAY_16, ((16, 1, 3, 3), 1, 1, "ReLU"), True),
    "lenet5": ("lenet5", {}, GRAY_32, ((6, 1, 5, 5), 1, "valid", "tanh"), False),
    "cifar_cnn": ("cifar_cnn", {}, RGB_32, ((32, 3, 3, 3), 1, 1, "ReLU"), False),
    "mobilenet_v2": ("mobilenet_v2", {"head": "linear"}, RGB_64, ((32, 3, 3, 3), 2, 1, "ReLU6"), True),
    "mobilenet_v2 hidden": ("mobilenet_v2", {"head": "hidden"}, RGB_64, ((32, 3, 3, 3), 2, 1, "ReLU6"), False),
    "resnet18": ("resnet18", {}, RGB_64, ((64, 3, 7, 7), 2, 3, "ReLU"), True),
    "densenet121": ("densenet121", {}, RGB_64, ((64, 3, 7, 7), 2, 3, "ReLU"), True),
    "inception_v3": ("inception_v3", {}, RGB_112, ((32, 3, 3, 3), 2, "valid", "ReLU"), True),
    "squeezenet1_1": ("squeezenet1_1", {}, RGB_64, ((64, 3, 3, 3), 2, "valid", "ReLU"), True),
    "efficientnet_b0": ("efficientnet_b0", {}, RGB_64, ((32, 3, 3, 3), 2, 1, "SiLU"), True),
    "convnext_tiny": ("convnext_tiny", {}, RGB_64, ((96, 3, 4, 4), 4, "valid", ""), False),
    "vit_b_16": ("vit_b_16", {"image_size": 64}, RGB_64, ((768, 3, 16, 16), 16, "valid", ""), False),
}
# Several seconds each to convert and to compile.
LONG = {"mobilenet_v2 hidden", "densenet121", "inception_v3", "efficientnet_b0", "convnext_tiny", "vit_b_16"}
# Their maps change their order of channels, height and width on the way, or are no maps.
REARRANGED = {"convnext_tiny", "vit_b_16"}
# Of the largest value. Both round; random weights add it up over 94 layers. Measured against float64 on Inception's
# logits: OpenVINO 1.1e-4, torch 4e-5; a channel or a cell in another place would be of the order of 1.
AGREE = 1e-3
ACTIVATIONS = {
    "": lambda maps: maps,
    "ReLU": functional.relu,
    "ReLU6": functional.relu6,
    "tanh": torch.tanh,
    "SiLU": functional.silu,
}


def pictures(preprocessing, seed):
    """Noise, and a picture with an edge and even areas: uint8 (2, H, W, C)."""
    generator = np.random.default_rng(seed)
    noise, drawn = generator.integers(0, 256, (2, *preprocessing.shape), dtype=np.uint8)
    drawn[:] = np.linspace(*generator.integers(0, 256, 2), preprocessing.crop_px).astype(np.uint8)[:, None, None]
    drawn[5:12, 3:14] = generator.integers(0, 256, preprocessing.channels)
    return np.stack([noise, drawn])


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in NETWORKS],
)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def bundle(name, bundle_of):
    architecture, arguments, preprocessing, *_ = NETWORKS[name]
    torch.manual_seed(0)
    model = build_model(architecture, CATEGORIES, **arguments).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.train()
            module.momentum = None  # the mean over all batches, which is one
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.bias, 0, 0.1)
    with torch.inference_mode():
        model(torch.from_numpy(preprocessing.normalise(np.concatenate([pictures(preprocessing, i) for i in range(4)]))))
    return bundle_of(model.eval(), preprocessing, CATEGORIES, architecture, **arguments)


@pytest.fixture(scope="module")
def taps(bundle):
    return {"openvino": OpenVinoTaps(bundle, 1), "torch": TorchTaps(bundle, 1)}


@pytest.fixture(scope="module")
def squares(name):
    return pictures(NETWORKS[name][2], 9)


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_the_first_layer_is_found_and_is_the_textbooks(name, taps, squares, engine):
    shape, stride, padding, _ = NETWORKS[name][3]
    layer = taps[engine].first
    assert layer is not None
    assert (layer.kernels.shape, layer.stride, layer.padding) == (shape, stride, padding)
    for square in squares:
        seen = taps[engine].observe(square)
        computed = conv2d(
            seen.entered.astype(np.float64),
            layer.kernels.astype(np.float64),
            layer.bias.astype(np.float64),
            layer.stride,
            layer.padding,
        )
        assert computed.shape == seen.convolved.shape
        assert np.abs(computed - seen.convolved).max() < 1e-4
        assert np.abs(computed).max() > 0.5, "nothing would be compared"


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_what_enters_the_first_layer_is_the_normalised_square(name, taps, squares, engine):
    preprocessing = NETWORKS[name][2]
    for square in squares:
        expected = preprocessing.normalise(square[None])[0]
        if name == "inception_v3":  # its own first step: from ImageNet's statistics to those it was made for
            std, mean = (np.array(values)[:, None, None] for values in (preprocessing.std, preprocessing.mean))
            expected = (expected * std + mean - 0.5) / 0.5
        assert (np.abs(taps[engine].observe(square).entered - expected) / np.maximum(1, np.abs(expected))).max() < 1e-6


def test_openvino_names_the_activation_and_shows_its_maps(name, taps, squares):
    activation = NETWORKS[name][3][3]
    assert taps["openvino"].first.activation == activation
    for square in squares:
        seen = taps["openvino"].observe(square)
        expected = ACTIVATIONS[activation](torch.from_numpy(seen.convolved)).numpy()
        assert np.abs(seen.activated - expected).max() < 1e-5


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_a_linear_head_is_found_exactly_where_there_is_one(name, taps, engine):
    head = taps[engine].head
    assert (head is not None) == NETWORKS[name][4]
    assert head is None or len(head.weights) == len(head.bias) == CATEGORIES


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_a_head_is_exact_only_where_the_network_is_mean_and_linear(name, taps, squares, engine):
    assert is_exact(taps[engine], squares) == NETWORKS[name][4]


def test_openvino_and_torch_give_the_same_logits_and_last_maps(name, taps, squares):
    for square in squares:
        one, other = (taps[engine].observe(square) for engine in ("openvino", "torch"))
        assert np.abs(one.logits - other.logits).max() < AGREE * np.abs(other.logits).max()
        if NETWORKS[name][4]:
            assert one.last.shape == other.last.shape
            assert np.abs(one.last - other.last).max() < AGREE * np.abs(other.last).max()


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_the_stages_are_maps_that_shrink_from_input_to_output(name, taps, squares, engine):
    sides = [maps.shape[1:] for maps in taps[engine].observe(squares[0]).stages]
    assert all(height == width for height, width in sides)
    assert sides == sorted(set(sides), reverse=True)
    assert len(sides) >= (1 if name.startswith("vit") else 3)  # patches are cut out once


def test_openvino_and_torch_show_stages_of_the_same_shape(name, taps, squares):
    shapes = [[maps.shape for maps in taps[engine].observe(squares[0]).stages] for engine in ("openvino", "torch")]
    assert name in REARRANGED or shapes[0] == shapes[1]
