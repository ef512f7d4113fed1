"""Which parts of a network learn, in which phase, how fast.

Two phases, because a head that knows nothing would tear good features apart (Kumar et al., https://arxiv.org/abs/2202.10054):
first the head learns on the frozen backbone, then the blocks nearest to the head learn too, 10 to 100 times slower. A
network without pretrained weights has one phase, in which everything learns.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from vision.architectures.classifier import Classifier
from vision.errors import SightlineError

BatchNorm = Literal["frozen", "affine", "full"]
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# How a file may spell the backbone's names: as this project does, or as torchvision's networks do.
_BACKBONE_PREFIXES = ("backbone.", "features.")


class WeightsError(SightlineError):
    """The pretrained weights do not fit the backbone."""

    code = "weights_error"


@dataclass(frozen=True)
class Phase:
    """One stretch of training with the same parts learning.

    Attributes:
        name: `frozen`, `fine-tuned` or `scratch`.
        epochs: at most this many, at least 1.
        head_lr: learning rate of the head.
        backbone_lr: learning rate of the unfrozen blocks; not used where none is.
        unfrozen_blocks: how many of the backbone's blocks learn, counted from the head; 0 freezes all.
        batch_norm: in unfrozen blocks, `frozen` keeps statistics and affine parameters, `affine` keeps the statistics,
            `full` trains both. In frozen blocks everything is kept, whatever this says.
    """

    name: str
    epochs: int
    head_lr: float
    backbone_lr: float
    unfrozen_blocks: int
    batch_norm: BatchNorm


def set_trainable(model: Classifier, phase: Phase) -> None:
    """Sets `requires_grad` of every parameter as the phase says."""
    for block, learns in _blocks(model, phase):
        block.requires_grad_(learns)
        if learns and phase.batch_norm == "frozen":
            for norm in _norms(block):
                norm.requires_grad_(False)
    model.head.requires_grad_(True)


def set_train_mode(model: Classifier, phase: Phase) -> None:
    """Puts the learning parts in train mode and everything else in eval mode.

    `requires_grad=False` alone does not freeze a BatchNorm: in train mode it normalises by the batch and moves its running
    statistics. So frozen blocks stay in eval mode, dropout in them included. Call it before every epoch: `model.train()`
    undoes it.
    """
    model.train()
    for block, learns in _blocks(model, phase):
        block.train(learns)
        if learns and phase.batch_norm != "full":
            for norm in _norms(block):
                norm.eval()


def parameter_groups(model: Classifier, phase: Phase, weight_decay: float) -> list[dict[str, Any]]:
    """The optimizer's groups: head and backbone, each with and without weight decay (none on biases and norms).

    `full_lr` keeps the rate that a schedule takes its share of.
    """
    groups = []
    for module, rate in ((model.head, phase.head_lr), (model.backbone, phase.backbone_lr)):
        learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
        for parameters, decay in (([p for p in learning if p.ndim > 1], weight_decay), ([p for p in learning if p.ndim <= 1], 0.0)):
            if parameters:
                groups.append({"params": parameters, "lr": rate, "full_lr": rate, "weight_decay": decay})
    return groups


def load_backbone(model: Classifier, file: Path) -> None:
    """Fills the backbone from a safetensors file; the head stays as it is.

    Args:
        model: built by `build_model`.
        file: a state dict of this project's network (`backbone.…`) or of torchvision's (`features.…`); its head is ignored.

    Raises:
        WeightsError: no such file, no safetensors file, or names or shapes that do not fit.
    """
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{file} cannot be read as safetensors: {error}") from error
    wanted = model.backbone.state_dict()
    for prefix in _BACKBONE_PREFIXES:
        given = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        if given.keys() == wanted.keys():
            break
    else:
        raise WeightsError(f"{file} holds no weights for this backbone: no tensor set named like {next(iter(wanted))!r} fits it.")
    for name, tensor in wanted.items():
        if given[name].shape != tensor.shape:
            raise WeightsError(f"{file}: {name} has shape {tuple(given[name].shape)}; the backbone needs {tuple(tensor.shape)}.")
        if not torch.isfinite(given[name]).all():
            raise WeightsError(f"{file}: {name} holds values that are not finite.")
    model.backbone.load_state_dict(given)


def _blocks(model: Classifier, phase: Phase) -> Iterator[tuple[nn.Module, bool]]:
    """Every block of the backbone with whether it learns in this phase."""
    first = len(model.backbone) - phase.unfrozen_blocks
    for index, block in enumerate(model.backbone):
        yield block, index >= first


def _norms(block: nn.Module) -> Iterator[nn.Module]:
    return (module for module in block.modules() if isinstance(module, _NORMS))
