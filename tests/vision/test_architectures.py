"""The registry says the truth about every network, and refuses what it cannot build."""

import contextlib
import copy
import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vision.architectures.backbones import published_weights
from vision.architectures.classifier import holds_parameters
from vision.architectures.registry import FEATURED, architecture, build_model
from vision.architectures.resnet import ResidualBlock
from vision.architectures.vgg import torchvision_name, vgg_block

# Seconds to build: their parameters are counted on torch's meta device instead, where nothing is filled.
LARGE = {"vgg16", "vgg19", "resnet101", "vit_b_16", "inception_v3"}
# Families with a structure of their own, beside those that are featured.
OTHERS = [
    "alexnet",
    "densenet121",
    "googlenet",
    "mnasnet0_5",
    "regnet_y_400mf",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "vgg11_bn",
]


def count(module, trainable_only=False):
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad or not trainable_only)


def skeleton(name, num_classes):
    """The network; a large one without memory for its parameters."""
    with torch.device("meta") if name in LARGE else contextlib.nullcontext():
        return build_model(name, num_classes)


def linear(name):
    return {"head": "linear"} if name == "mobilenet_v2" else {}


@pytest.fixture(scope="module", params=[name for name in FEATURED if name not in LARGE])
def row_and_model(request):
    row = architecture(request.param)
    return row, build_model(request.param, row.classes, **linear(request.param)).eval()


def test_the_registry_counts_parameters_size_and_operations(row_and_model):
    row, model = row_and_model
    assert count(model) == row.parameters
    assert row.size_mb == pytest.approx(
        sum(parameter.numel() * parameter.element_size() for parameter in model.parameters()) / 1e6
    )
    height, width, channels = row.preprocessing.shape
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, channels, height, width))
    assert counter.get_total_flops() / 2e9 == pytest.approx(row.gflops, rel=0.01)


@pytest.mark.parametrize("name", sorted(LARGE - {"inception_v3"}))
def test_the_registry_counts_the_parameters_of_large_networks_too(name):
    assert count(skeleton(name, 1000)) == architecture(name).parameters


def test_a_batch_becomes_one_row_of_finite_logits_an_image(row_and_model):
    row, model = row_and_model
    height, width, channels = row.preprocessing.shape
    with torch.inference_mode():
        images = torch.randn(2, channels, height, width)
        features, logits = model.backbone(images), model(images)
    assert features.shape[0] == features.ndim == 2
    assert logits.shape == (2, row.classes)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", [*FEATURED, *OTHERS])
def test_a_network_is_its_backbone_and_its_head_and_the_blocks_are_all_of_the_backbone(name):
    model = skeleton(name, 7)
    assert [child for child, _ in model.named_children()] == ["backbone", "head"]
    in_blocks = [parameter for block in model.blocks for parameter in block.parameters()]
    assert len(in_blocks) == len({id(parameter) for parameter in in_blocks}), "a parameter is in two blocks"
    outside = set(model.backbone.parameters()) - set(in_blocks)
    assert len(outside) == (2 if name == "vit_b_16" else 0), "all but a transformer's class token and positions"
    assert all(holds_parameters(block) for block in model.blocks)
    assert len(model.blocks) >= 2
    assert sum(parameter.numel() for layer in model.layers for parameter in layer.parameters(recurse=False)) == count(
        model.backbone
    )
    last = [module for module in model.head.modules() if isinstance(module, nn.Linear)][-1]
    assert last.out_features == 7


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_classifier_of_torchvision_is_built_by_its_name(name):
    row = architecture(name)
    model = build_model(name, 3).eval()
    height, width, channels = row.preprocessing.shape
    with torch.inference_mode():
        assert model(torch.zeros(1, channels, height, width)).shape == (1, 3)
    if name != "googlenet":  # whose published count has the auxiliary heads, which are not built
        assert count(skeleton(name, 1000)) == row.parameters


def test_lenet5_has_61706_parameters_at_10_classes_on_1x32x32():
    model = build_model("lenet5", 10)
    assert count(model) == 61_706
    assert model.backbone[:2](torch.zeros(1, 1, 32, 32)).shape == (1, 16, 5, 5)
    assert model(torch.zeros(1, 1, 32, 32)).shape == (1, 10)


def test_vgg16_has_138357544_parameters_at_1000_classes_in_five_blocks():
    model = skeleton("vgg16", 1000)
    assert count(model) == 138_357_544
    convolutions = [sum(isinstance(layer, nn.Conv2d) for layer in block) for block in model.blocks]
    assert convolutions == [2, 2, 3, 3, 3, 0, 0]
    assert vgg_block(3, 8, 2)(torch.zeros(1, 3, 10, 12)).shape == (1, 8, 5, 6)


@pytest.mark.parametrize(("name", "convolutions"), [("vgg16", (2, 2, 3, 3, 3)), ("vgg19", (2, 2, 4, 4, 4))])
def test_every_tensor_of_our_vgg_has_its_place_in_torchvisions(name, convolutions):
    from torchvision import models

    with torch.device("meta"):
        ours, theirs = build_model(name, 1000).backbone.state_dict(), models.get_model(name).state_dict()
    assert {torchvision_name(convolutions, key): tensor.shape for key, tensor in ours.items()} == {
        key: tensor.shape for key, tensor in theirs.items() if not key.startswith("classifier.6.")
    }


def test_our_vgg_gives_torchvisions_features_for_torchvisions_weights():
    from torchvision import models

    theirs = models.vgg11(num_classes=4)  # the small sibling, of the same structure
    from vision.architectures.vgg import _vgg

    ours = _vgg(4, (1, 1, 2, 2, 2), 0.5)
    state = theirs.state_dict()
    ours.backbone.load_state_dict(
        {key: state[torchvision_name((1, 1, 2, 2, 2), key)] for key in ours.backbone.state_dict()}
    )
    ours.head[0].load_state_dict({"weight": state["classifier.6.weight"], "bias": state["classifier.6.bias"]})
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(ours.eval()(image), theirs.eval()(image), atol=1e-5)


def test_cifar_cnn_trains_815530_parameters_at_10_classes():
    model = build_model("cifar_cnn", 10)
    assert count(model, trainable_only=True) == 815_530
    assert [len([layer for layer in block if isinstance(layer, nn.Conv2d)]) for block in model.blocks] == [2, 2, 2]
    assert [module.p for module in model.modules() if isinstance(module, nn.Dropout)] == [0.25, 0.25, 0.25, 0.5]
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_mobilenet_v2_trains_329221_parameters_at_5_classes_on_a_frozen_backbone():
    model = build_model("mobilenet_v2", 5)
    assert count(model.head) == 1280 * 256 + 256 + 256 * 5 + 5 == 329_221
    model.backbone.requires_grad_(False)
    assert count(model, trainable_only=True) == 329_221
    assert count(model.backbone) == 2_223_872
    assert len(model.blocks) == 19


def test_inception_keeps_the_input_transform_of_its_published_weights():
    model = skeleton("inception_v3", 3)
    assert model.backbone.transform_input
    assert model.backbone.AuxLogits is None
    assert architecture("inception_v3").preprocessing.shape == (299, 299, 3)


def test_preprocessing_is_that_of_the_published_weights():
    assert architecture("efficientnet_b0").preprocessing.interpolation == "bicubic"
    assert architecture("efficientnet_v2_s").preprocessing.shape == (384, 384, 3)
    assert published_weights("resnet50", "IMAGENET1K_V1").preprocessing.resize_px == 256
    assert published_weights("resnet50").preprocessing.resize_px == 232
    assert published_weights("vgg16", "IMAGENET1K_FEATURES").preprocessing.std == pytest.approx((1 / 255,) * 3)
    assert published_weights("vgg16", "IMAGENET1K_FEATURES").accuracy is None
    assert published_weights("resnet18").accuracy == pytest.approx(0.69758)
    with pytest.raises(ValueError, match="resnet18 has no weights 'V9'; choose one of IMAGENET1K_V1"):
        published_weights("resnet18", "V9")


@pytest.mark.parametrize(("in_channels", "out_channels", "stride"), [(8, 8, 2), (8, 16, 1), (8, 16, 2)])
def test_a_block_that_changes_the_shape_projects_its_shortcut(in_channels, out_channels, stride):
    block = ResidualBlock(in_channels, out_channels, stride)
    convolution = next(module for module in block.shortcut.modules() if isinstance(module, nn.Conv2d))
    assert convolution.kernel_size == (1, 1)
    assert count(block.shortcut) == in_channels * out_channels + 2 * out_channels
    assert block(torch.randn(2, in_channels, 6, 10)).shape == (2, out_channels, 6 // stride, 10 // stride)


def test_a_block_that_keeps_the_shape_adds_its_input_unchanged():
    block = ResidualBlock(8, 8, 1).eval()
    assert count(block.shortcut) == 0
    nn.init.zeros_(block.residual[-1].weight)  # the residual is 0 now, so that only the shortcut is left
    features = torch.randn(2, 8, 6, 10)
    assert torch.equal(block(features), features.relu())


def narrow_block_gradients() -> None:
    """Asserts that a narrow strided block's gradients, laid out as the trainer lays them out, are those in float64."""
    torch.manual_seed(0)
    single = ResidualBlock(4, 8, 2).to(memory_format=torch.channels_last)
    double = copy.deepcopy(single).double()
    features = torch.randn(32, 4, 32, 32).to(memory_format=torch.channels_last)
    for block, given in ((single, features), (double, features.double())):
        block(given).square().sum().backward()
    for (name, parameter), exact in zip(single.named_parameters(), double.parameters(), strict=True):
        torch.testing.assert_close(
            parameter.grad.double(), exact.grad, rtol=1e-3, atol=1e-3 * float(exact.grad.abs().max()), msg=name
        )


def test_the_gradients_of_a_narrow_block_are_right_without_avx_512():
    # oneDNN chooses its kernels when it is loaded, so this machine plays an older one in a process of its own.
    script = f"import {__name__} as here; here.narrow_block_gradients()"
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    finished = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120
    )
    assert finished.returncode == 0, finished.stderr[-2000:]


def test_simple_resnet_takes_channels_widths_and_depth():
    model = build_model("simple_resnet", 3, in_channels=3, widths=(8, 24), blocks_per_stage=2, dropout=0.5).eval()
    assert len(model.blocks) == 1 + 2 * 2
    assert model.backbone(torch.zeros(1, 3, 32, 32)).shape == (1, 24)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    assert [module.p for module in model.head.modules() if isinstance(module, nn.Dropout)] == [0.5]


@pytest.mark.parametrize(
    "look_up", [architecture, lambda name: build_model(name, 10)], ids=["architecture", "build_model"]
)
@pytest.mark.parametrize("name", ["alexnet9", "", "os.system", "LeNet5", "fcn_resnet50"])
def test_an_unknown_name_is_refused_with_those_that_exist(look_up, name):
    with pytest.raises(ValueError, match=f"no architecture '{name}'; choose one of cifar_cnn, .*lenet5, mobilenet_v2"):
        look_up(name)


@pytest.mark.parametrize("num_classes", [1, 0, -3])
@pytest.mark.parametrize("name", ["lenet5", "mobilenet_v2", "vgg16"])
def test_fewer_than_2_classes_are_refused(name, num_classes):
    with pytest.raises(ValueError, match=f"num_classes is {num_classes}; .*at least 2"):
        build_model(name, num_classes)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("lenet5", {"widths": (1, 2)}),
        ("mobilenet_v2", {"depth": 3}),
        ("mobilenet_v2", {"head": "deep"}),
        ("simple_resnet", {"width": 8}),
        ("simple_resnet", {"widths": 8}),
    ],
)
def test_an_argument_that_does_not_fit_is_refused_by_name(name, arguments):
    with pytest.raises(ValueError, match=rf"{name} cannot be built with .*{next(iter(arguments))}"):
        build_model(name, 10, **arguments)
