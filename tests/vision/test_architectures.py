"""The registry says the truth about every network, and refuses what it cannot build."""

import pytest
import torch
from torch import nn

from vision.architectures import ARCHITECTURES, architecture, build_model
from vision.architectures.resnet import ResidualBlock


def count(module, trainable_only=False):
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad or not trainable_only)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def row_and_model(request):
    row = ARCHITECTURES[request.param]
    return row, build_model(request.param, row.classes).eval()


def test_the_registry_counts_the_parameters(row_and_model):
    row, model = row_and_model
    assert count(model) == row.parameters
    assert row.size_bytes == sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def test_a_batch_becomes_one_row_of_finite_logits_an_image(row_and_model):
    row, model = row_and_model
    height, width, channels = row.preprocessing.shape
    with torch.inference_mode():
        images = torch.randn(3, channels, height, width)
        features, logits = model.backbone(images), model(images)
    assert features.ndim == 4
    assert features.shape[0] == 3
    assert logits.shape == (3, row.classes)
    assert torch.isfinite(logits).all()


def test_a_network_is_its_backbone_and_its_head(row_and_model):
    row, model = row_and_model
    assert [name for name, _ in model.named_children()] == ["backbone", "head"]
    assert isinstance(model.backbone, nn.Sequential)
    assert count(model.backbone) + count(model.head) == row.parameters


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_head_has_as_many_outputs_as_there_are_classes(name):
    last = [module for module in build_model(name, 7).head.modules() if isinstance(module, nn.Linear)][-1]
    assert last.out_features == 7


def test_lenet5_has_61706_parameters_at_10_classes_on_1x32x32():
    model = build_model("lenet5", 10)
    assert count(model) == 61_706
    assert model.backbone(torch.zeros(1, 1, 32, 32)).shape == (1, 16, 5, 5)
    assert model(torch.zeros(1, 1, 32, 32)).shape == (1, 10)


def test_mobilenet_v2_trains_329221_parameters_at_5_classes_on_a_frozen_backbone():
    model = build_model("mobilenet_v2", 5)
    assert count(model.head) == 1280 * 256 + 256 + 256 * 5 + 5 == 329_221
    model.backbone.requires_grad_(False)
    assert count(model, trainable_only=True) == 329_221
    assert count(model.backbone) == 2_223_872
    assert len(model.backbone) == 19


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


def test_simple_resnet_takes_channels_widths_and_depth():
    model = build_model("simple_resnet", 3, in_channels=3, widths=(8, 24), blocks_per_stage=2, dropout=0.5).eval()
    assert len(model.backbone) == 1 + 2 * 2
    assert model.backbone(torch.zeros(1, 3, 32, 32)).shape == (1, 24, 16, 16)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    assert [module.p for module in model.head.modules() if isinstance(module, nn.Dropout)] == [0.5]


@pytest.mark.parametrize("look_up", [architecture, lambda name: build_model(name, 10)], ids=["architecture", "build_model"])
@pytest.mark.parametrize("name", ["alexnet", "", "os.system", "LeNet5"])
def test_an_unknown_name_is_refused_with_those_that_exist(look_up, name):
    with pytest.raises(ValueError, match=f"no architecture '{name}'; choose one of lenet5, mobilenet_v2, simple_resnet"):
        look_up(name)


@pytest.mark.parametrize("num_classes", [1, 0, -3])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_fewer_than_2_classes_are_refused(name, num_classes):
    with pytest.raises(ValueError, match=f"num_classes is {num_classes}; .*at least 2"):
        build_model(name, num_classes)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("lenet5", {"widths": (1, 2)}), ("mobilenet_v2", {"depth": 3}), ("simple_resnet", {"width": 8}), ("simple_resnet", {"widths": 8})],
)
def test_an_argument_that_does_not_fit_is_refused_by_name(name, arguments):
    with pytest.raises(ValueError, match=rf"{name} cannot be built with .*{next(iter(arguments))}"):
        build_model(name, 10, **arguments)
