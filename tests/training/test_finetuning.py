from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from training.datasets import ImageSet
from training.finetuning import Phase, WeightsError, load_backbone, parameter_groups, set_train_mode, set_trainable
from training.trainer import Trainer
from vision.architectures import build_model
from vision.preprocessing import Preprocessing

TINY = Preprocessing.minus_one_one(8, channels=1)
FROZEN = Phase("frozen", 2, 1e-2, 0.0, 0, "frozen")


def images(count: int = 24) -> ImageSet:
    generator = np.random.default_rng(0)
    return ImageSet(generator.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8), np.arange(count) % 3)


def backbone_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Every tensor and buffer, running statistics and their counters too."""
    return {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}


def test_the_frozen_phase_leaves_every_backbone_tensor_and_buffer_bit_identical() -> None:
    torch.manual_seed(0)
    model = build_model("simple_resnet", 3)
    before, head = backbone_state(model), model.head[-1].weight.clone()
    Trainer(model, TINY, images(), images(), batch_size=8).fit([FROZEN])
    after = backbone_state(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(head, model.head[-1].weight)


def test_batchnorm_in_train_mode_would_move_the_frozen_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard above can fail: this is the defect of section 6 in our notes, made on purpose."""
    monkeypatch.setattr("training.trainer.set_train_mode", lambda model, phase: model.train())
    torch.manual_seed(0)
    model = build_model("simple_resnet", 3)
    before = backbone_state(model)
    Trainer(model, TINY, images(), images(), batch_size=8).fit([FROZEN])
    assert any(not torch.equal(before[name], tensor) for name, tensor in backbone_state(model).items() if "running" in name)


@pytest.mark.parametrize(
    ("batch_norm", "statistics_move", "affine_learns"), [("frozen", False, False), ("affine", False, True), ("full", True, True)]
)
def test_unfrozen_blocks_treat_batchnorm_as_asked(batch_norm: str, statistics_move: bool, affine_learns: bool) -> None:
    torch.manual_seed(0)
    model = build_model("simple_resnet", 3)
    before = backbone_state(model)
    Trainer(model, TINY, images(), images(), batch_size=8).fit([Phase("fine-tuned", 1, 1e-3, 1e-3, 1, batch_norm)])
    moved = {name for name, tensor in backbone_state(model).items() if not torch.equal(before[name], tensor)}
    assert all(name.startswith("3.") for name in moved), "only the last block is unfrozen"
    assert any("running_mean" in name for name in moved) == statistics_move
    norm_weights = {"3.residual.1.weight", "3.residual.4.weight"}
    assert bool(moved & norm_weights) == affine_learns
    assert "3.residual.0.weight" in moved


def test_groups_have_their_own_rates_and_no_decay_on_norms_and_biases() -> None:
    model = build_model("simple_resnet", 3)
    phase = Phase("fine-tuned", 1, 1e-3, 1e-4, 2, "affine")
    set_trainable(model, phase)
    groups = parameter_groups(model, phase, weight_decay=0.05)
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(1e-3, 0.05), (1e-3, 0.0), (1e-4, 0.05), (1e-4, 0.0)]
    assert all(parameter.ndim > 1 for group in groups if group["weight_decay"] for parameter in group["params"])
    listed = sum(parameter.numel() for group in groups for parameter in group["params"])
    assert listed == sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def test_train_mode_keeps_frozen_blocks_and_norms_in_eval_mode() -> None:
    model = build_model("simple_resnet", 3)
    set_train_mode(model, Phase("fine-tuned", 1, 1e-3, 1e-4, 1, "affine"))
    assert model.head.training
    assert [block.training for block in model.backbone] == [False, False, False, True]
    assert not any(module.training for module in model.backbone.modules() if isinstance(module, torch.nn.BatchNorm2d))


def test_a_backbone_is_filled_and_the_head_left_alone(tmp_path: Path) -> None:
    source, target = build_model("simple_resnet", 7), build_model("simple_resnet", 3)
    head = target.head[-1].weight.clone()
    save_file({name: tensor.contiguous() for name, tensor in source.state_dict().items()}, tmp_path / "w.safetensors")
    load_backbone(target, tmp_path / "w.safetensors")
    assert all(torch.equal(tensor, target.backbone.state_dict()[name]) for name, tensor in source.backbone.state_dict().items())
    assert torch.equal(head, target.head[-1].weight)


def test_weights_that_do_not_fit_are_refused_with_the_reason(tmp_path: Path) -> None:
    model, file = build_model("simple_resnet", 3), tmp_path / "w.safetensors"
    with pytest.raises(WeightsError, match="cannot be read"):
        load_backbone(model, tmp_path / "missing.safetensors")
    file.write_bytes(b"\x80\x04pickle")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_backbone(model, file)
    state = {f"backbone.{name}": tensor.contiguous() for name, tensor in model.backbone.state_dict().items()}
    save_file(dict(list(state.items())[1:]), file)
    with pytest.raises(WeightsError, match="no weights for this backbone"):
        load_backbone(model, file)
    save_file(state | {"backbone.0.0.weight": torch.zeros(3, 1, 3, 3)}, file)
    with pytest.raises(WeightsError, match=r"0\.0\.weight has shape"):
        load_backbone(model, file)
    save_file(state | {"backbone.0.0.weight": torch.full((16, 1, 3, 3), torch.nan)}, file)
    with pytest.raises(WeightsError, match="not finite"):
        load_backbone(model, file)


def test_torchvision_names_of_the_shared_backbone_fit(shared: Path) -> None:
    file = shared / "weights" / "mobilenet_v2-64px.safetensors"
    if not file.is_file():
        pytest.skip("needs ../shared/weights/mobilenet_v2-64px.safetensors")
    model = build_model("mobilenet_v2", 5)
    before = backbone_state(model)
    load_backbone(model, file)
    assert all(
        not torch.equal(before[name], tensor) for name, tensor in model.backbone.state_dict().items() if name.endswith("running_mean")
    )
