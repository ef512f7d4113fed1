import numpy as np
import pytest
import torch

from training.data.images import ImageSet
from training.loop.config import LoopConfig
from training.loop.finetuning import Phase, make_optimizer, parameter_groups, set_train_mode, set_trainable
from training.loop.trainer import Trainer
from vision.architectures.registry import build_model
from vision.preprocessing import Preprocessing

TINY = Preprocessing.minus_one_one(8, channels=1)
PLAIN = LoopConfig(batch_size=8, augmentation="none")
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
    Trainer(model, TINY, images(), images(), PLAIN).fit([FROZEN])
    after = backbone_state(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(head, model.head[-1].weight)


def test_batchnorm_in_train_mode_would_move_the_frozen_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard above can fail: this is the defect of section 6 in our notes, made on purpose."""
    monkeypatch.setattr("training.loop.trainer.set_train_mode", lambda model, phase: model.train())
    torch.manual_seed(0)
    model = build_model("simple_resnet", 3)
    before = backbone_state(model)
    Trainer(model, TINY, images(), images(), PLAIN).fit([FROZEN])
    assert any(
        not torch.equal(before[name], tensor) for name, tensor in backbone_state(model).items() if "running" in name
    )


@pytest.mark.parametrize(
    ("batch_norm", "statistics_move", "affine_learns"),
    [("frozen", False, False), ("affine", False, True), ("full", True, True)],
)
def test_unfrozen_blocks_treat_batchnorm_as_asked(batch_norm: str, statistics_move: bool, affine_learns: bool) -> None:
    torch.manual_seed(0)
    model = build_model("simple_resnet", 3)
    before = backbone_state(model)
    Trainer(model, TINY, images(), images(), PLAIN).fit([Phase("fine-tuned", 1, 1e-3, 1e-3, 1, batch_norm)])
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
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [
        (1e-3, 0.05),
        (1e-3, 0.0),
        (1e-4, 0.05),
        (1e-4, 0.0),
    ]
    assert all(parameter.ndim > 1 for group in groups if group["weight_decay"] for parameter in group["params"])
    listed = sum(parameter.numel() for group in groups for parameter in group["params"])
    assert listed == sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def test_train_mode_keeps_frozen_blocks_and_norms_in_eval_mode() -> None:
    model = build_model("simple_resnet", 3)
    set_train_mode(model, Phase("fine-tuned", 1, 1e-3, 1e-4, 1, "affine"))
    assert model.head.training
    assert [block.training for block in model.blocks] == [False, False, False, True]
    assert not any(module.training for module in model.backbone.modules() if isinstance(module, torch.nn.BatchNorm2d))


def test_the_last_layers_are_unfrozen_where_layers_are_asked_for() -> None:
    model = build_model("simple_resnet", 3)
    phase = Phase("fine-tuned", 1, 1e-3, 1e-4, 99, "full", unfrozen_layers=2)
    set_trainable(model, phase)
    learning = [name for name, parameter in model.backbone.named_parameters() if parameter.requires_grad]
    assert learning == ["3.shortcut.0.weight", "3.shortcut.1.weight", "3.shortcut.1.bias"]
    set_train_mode(model, phase)
    assert [name for name, module in model.backbone.named_modules() if module.training and name] == [
        "3.shortcut.0",
        "3.shortcut.1",
    ]


def test_all_of_a_transformer_learns_its_class_token_too() -> None:
    with torch.device("meta"):
        model = build_model("vit_b_16", 3)
    everything = Phase("fine-tuned", 1, 1e-3, 1e-4, len(model.blocks), "full", block_decay=0.5)
    set_trainable(model, everything)
    assert all(parameter.requires_grad for parameter in model.parameters())
    rates = {group["lr"] for group in parameter_groups(model, everything, 0.0)}
    assert min(rates) == pytest.approx(1e-4 * 0.5 ** len(model.blocks)), "what belongs to no block stands at the input"
    set_trainable(model, Phase("fine-tuned", 1, 1e-3, 1e-4, len(model.blocks) - 1, "full"))
    assert not model.backbone.class_token.requires_grad


def test_rates_fall_from_block_to_block_towards_the_input() -> None:
    model = build_model("simple_resnet", 3)
    phase = Phase("fine-tuned", 1, 1e-2, 1e-3, 3, "full", block_decay=0.5)
    set_trainable(model, phase)
    groups = parameter_groups(model, phase, weight_decay=0.05)
    rate_of = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    for distance, block in enumerate(reversed(model.blocks)):
        for parameter in block.parameters():
            assert rate_of.get(id(parameter)) == (None if distance == 3 else pytest.approx(1e-3 * 0.5**distance))
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(listed) == len(set(listed)) == sum(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_decay_through_the_gradient_is_l2(name: str) -> None:
    """One step from the same place: the gradient of λ·‖w‖² is 2λ·w, which is a weight decay of 2λ."""
    weights = [torch.nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2)]
    for weight, decay in zip(weights, (2 * 1e-2, 0.0), strict=True):
        optimizer = make_optimizer(name, [{"params": [weight], "lr": 0.1, "weight_decay": decay}])
        penalty = 0.0 if decay else 1e-2 * weight.square().sum()
        (weight.sum() + penalty).backward()
        optimizer.step()
    assert torch.allclose(*weights)
