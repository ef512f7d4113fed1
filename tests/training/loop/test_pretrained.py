"""Pretrained weights find their place in a backbone, or are refused with what to do."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from training.loop.pretrained import WeightsError, load_backbone, published
from vision.architectures.backbones import published_weights
from vision.architectures.registry import build_model


def backbone_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}


def test_a_backbone_is_filled_and_the_head_left_alone(tmp_path: Path) -> None:
    source, target = build_model("simple_resnet", 7), build_model("simple_resnet", 3)
    head = target.head[-1].weight.clone()
    save_file({name: tensor.contiguous() for name, tensor in source.state_dict().items()}, tmp_path / "w.safetensors")
    load_backbone(target, "simple_resnet", str(tmp_path / "w.safetensors"))
    assert all(
        torch.equal(tensor, target.backbone.state_dict()[name]) for name, tensor in source.backbone.state_dict().items()
    )
    assert torch.equal(head, target.head[-1].weight)


def test_weights_that_do_not_fit_are_refused_with_the_reason(tmp_path: Path) -> None:
    model, file = build_model("simple_resnet", 3), tmp_path / "w.safetensors"
    with pytest.raises(WeightsError, match="cannot be read"):
        load_backbone(model, "simple_resnet", str(tmp_path / "missing.safetensors"))
    file.write_bytes(b"\x80\x04pickle")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_backbone(model, "simple_resnet", str(file))
    state = {f"backbone.{name}": tensor.contiguous() for name, tensor in model.backbone.state_dict().items()}
    save_file(dict(list(state.items())[1:]), file)
    with pytest.raises(WeightsError, match="no weights for this backbone"):
        load_backbone(model, "simple_resnet", str(file))
    save_file(state | {"backbone.0.0.weight": torch.zeros(3, 1, 3, 3)}, file)
    with pytest.raises(WeightsError, match=r"0\.0\.weight has shape"):
        load_backbone(model, "simple_resnet", str(file))
    save_file(state | {"backbone.0.0.weight": torch.full((16, 1, 3, 3), torch.nan)}, file)
    with pytest.raises(WeightsError, match="not finite"):
        load_backbone(model, "simple_resnet", str(file))


def test_torchvision_names_of_the_shared_backbone_fit(shared: Path) -> None:
    file = shared / "weights" / "mobilenet_v2-64px.safetensors"
    if not file.is_file():
        pytest.skip("needs ../shared/weights/mobilenet_v2-64px.safetensors")
    model = build_model("mobilenet_v2", 5)
    before = backbone_state(model)
    load_backbone(model, "mobilenet_v2", str(file))
    assert all(
        not torch.equal(before[name], tensor)
        for name, tensor in model.backbone.state_dict().items()
        if name.endswith("running_mean")
    )


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "efficientnet_b0", "googlenet"])
def test_a_file_in_torchvisions_names_fits(name: str, tmp_path: Path) -> None:
    arguments = {"aux_logits": True, "init_weights": False} if name == "googlenet" else {}
    theirs = models.get_model(name, num_classes=9, **arguments).state_dict()
    save_file({key: tensor.contiguous() for key, tensor in theirs.items()}, tmp_path / "w.safetensors")
    model = build_model(name, 3)
    load_backbone(model, name, str(tmp_path / "w.safetensors"))
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in model.backbone.state_dict().items())


def test_published_weights_are_loaded_from_the_cache_as_tensors_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is already there is not fetched; here one is put there with torchvision's name."""
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    url = published_weights("resnet18", "IMAGENET1K_V1").url
    cached = tmp_path / "checkpoints" / url.rpartition("/")[2]
    cached.parent.mkdir()
    theirs = models.resnet18().state_dict()
    torch.save(theirs, cached)
    model = build_model("resnet18", 3)
    load_backbone(model, "resnet18", "IMAGENET1K_V1")
    assert torch.equal(model.backbone.conv1.weight, theirs["conv1.weight"])
    torch.save({"conv1.weight": Path("code")}, cached)  # an object that only an unpickler of anything would take
    with pytest.raises(WeightsError, match="Weights only load failed"):
        load_backbone(model, "resnet18", "IMAGENET1K_V1")


def test_without_a_network_the_file_to_fetch_and_its_place_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(WeightsError) as refused:
        load_backbone(build_model("mobilenet_v2", 3), "mobilenet_v2", "imagenet")
    assert "Download https://download.pytorch.org/models/mobilenet_v2-7ebf99e0.pth" in str(refused.value)
    assert str(tmp_path / "checkpoints" / "mobilenet_v2-7ebf99e0.pth") in str(refused.value)


def test_weights_that_nobody_published_are_refused_by_name() -> None:
    with pytest.raises(WeightsError, match=r"no published weights for lenet5.*--weights none"):
        published("lenet5", "imagenet")
    with pytest.raises(WeightsError, match=r"resnet18 has no weights 'IMAGENET1K_V7'; choose one of IMAGENET1K_V1"):
        published("resnet18", "IMAGENET1K_V7")
    assert published("lenet5", "none") is None
