"""Which parts of a network learn in which phase, and how fast.

First the head learns on a frozen backbone, then parts of the backbone learn too, 10 to 100 times slower. With a random
head, all at once would distort good features (Kumar et al., https://arxiv.org/abs/2202.10054). A network without
pretrained weights has one phase, in which everything learns.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from vision.architectures.classifier import Classifier

BatchNorm = Literal["frozen", "affine", "full"]
OptimizerName = Literal["adamw", "adam", "sgd"]
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Phase:
    """A number of epochs in which the same parts learn.

    Attributes:
        name: `features`, `frozen`, `fine-tuned` or `scratch`.
        epochs: at most this many, at least 1.
        head_lr: learning rate of the head.
        backbone_lr: learning rate of the unfrozen block next to the head.
        unfrozen_blocks: number of the backbone's blocks that learn, counted from the head; 0 freezes all.
        batch_norm: in unfrozen parts, `frozen` keeps statistics and affine parameters, `affine` keeps the statistics,
            `full` trains both. Frozen parts keep everything.
        unfrozen_layers: above 0, this many layers learn instead of blocks.
        block_decay: factor of the rate from a block to the one before it, above 0, at most 1.
        cached_features: whether the backbone runs once over the images, without augmentation, and the head is fitted on
            the features.
    """

    name: str
    epochs: int
    head_lr: float
    backbone_lr: float
    unfrozen_blocks: int
    batch_norm: BatchNorm
    unfrozen_layers: int = 0
    block_decay: float = 1.0
    cached_features: bool = False


def set_trainable(model: Classifier, phase: Phase) -> None:
    """Sets `requires_grad` of every parameter for this phase."""
    model.backbone.requires_grad_(False)
    for part in _learning(model, phase):
        part.requires_grad_(True)
        if phase.batch_norm == "frozen":
            for norm in _norms(part):
                norm.requires_grad_(False)
    model.head.requires_grad_(True)


def set_train_mode(model: Classifier, phase: Phase) -> None:
    """Puts the learning parts in train mode and everything else in eval mode.

    `requires_grad=False` alone does not freeze a BatchNorm: in train mode it normalises by the batch and updates its
    running statistics. So frozen parts stay in eval mode, including their dropout. Call this before every epoch,
    because `model.train()` undoes it.
    """
    model.train()
    model.backbone.eval()
    for part in _learning(model, phase):
        part.train()
        if phase.batch_norm != "full":
            for norm in _norms(part):
                norm.eval()


def parameter_groups(model: Classifier, phase: Phase, weight_decay: float) -> list[dict[str, Any]]:
    """The optimizer's groups: the head, then the backbone by block. Biases and norms have groups without weight decay.

    A schedule sets `lr` to a share of `full_lr`.
    """
    groups: list[dict[str, Any]] = []

    def add(parameters: list[nn.Parameter], rate: float) -> None:
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        for chosen, decay in (
            ([p for p in learning if p.ndim > 1], weight_decay),
            ([p for p in learning if p.ndim <= 1], 0.0),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": rate, "full_lr": rate, "weight_decay": decay})

    add(list(model.head.parameters()), phase.head_lr)
    if phase.block_decay == 1:
        add(list(model.backbone.parameters()), phase.backbone_lr)
        return groups
    placed: set[int] = set()
    for distance, block in enumerate(reversed(model.blocks)):
        add(list(block.parameters()), phase.backbone_lr * phase.block_decay**distance)
        placed |= {id(parameter) for parameter in block.parameters()}
    # Parameters outside the blocks are at the input, e.g. a vision transformer's class token and positions.
    add(
        [p for p in model.backbone.parameters() if id(p) not in placed],
        phase.backbone_lr * phase.block_decay ** len(model.blocks),
    )
    return groups


def make_optimizer(name: OptimizerName, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """An optimizer. `adamw` decays weights directly; `adam` and `sgd` (Nesterov, momentum 0.9) by the gradient (L2).

    Keras' `l2(λ)`, a penalty of λ·‖w‖², equals a weight decay of 2λ here.
    """
    match name:
        case "adamw":
            return torch.optim.AdamW(groups, fused=True)
        case "adam":
            return torch.optim.Adam(groups, fused=True)
        case "sgd":
            return torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True, fused=True)


def _learning(model: Classifier, phase: Phase) -> list[nn.Module]:
    """The parts of the backbone that learn: some blocks, some layers, or all of it."""
    units, count = (
        (model.layers, phase.unfrozen_layers) if phase.unfrozen_layers else (model.blocks, phase.unfrozen_blocks)
    )
    return [model.backbone] if count >= len(units) else list(units[len(units) - count :])


def _norms(part: nn.Module) -> Iterator[nn.Module]:
    return (module for module in part.modules() if isinstance(module, _NORMS))
