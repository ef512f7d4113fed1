"""Networks that know photos, made without a download and without training. Needs torch and torchvision only.

Speed does not depend on the weights, but answers must differ from photo to photo, and as surely as those of a network that was
trained, or int8 would be refused. So BatchNorm's statistics are taken from the photos, residual branches are damped, and the
last layer has a class for every photo.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torchvision.models.efficientnet import MBConv
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.resnet import Bottleneck

_BRANCH = 0.1  # what a residual branch is multiplied by
_SURENESS = 12.0  # logits between the median photo and the one that resembles it most; at 8 int8's probabilities differed by 0.14


@torch.inference_mode()
def teach(model: nn.Module, batches: Sequence[torch.Tensor]) -> None:
    """Makes the network answer class k to the k-th photo.

    Args:
        model: ends with a linear layer; changed in place, and in eval mode afterwards.
        batches: normalised photos, float32 (N, C, H, W) each; all together at most as many as the model has classes.
    """
    model.eval()
    for block in model.modules():
        if (damped := _branch_end(block)) is not None:
            damped.weight.fill_(_BRANCH)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean over all batches
        norm.train()
    for batch in batches:
        model(batch)
    for norm in norms:
        norm.eval()
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    seen: list[torch.Tensor] = []
    watch = last.register_forward_pre_hook(lambda _, given: seen.append(given[0].double()))
    for batch in batches:
        model(batch)
    watch.remove()
    _set_last(last, torch.cat(seen))


def _branch_end(block: nn.Module) -> nn.BatchNorm2d | None:
    """What scales the branch of a residual block."""
    found: nn.Module | None = None
    if isinstance(block, Bottleneck):
        found = block.bn3
    elif isinstance(block, InvertedResidual) and block.use_res_connect:
        found = block.conv[-1]
    elif isinstance(block, MBConv) and block.use_res_connect:
        found = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)][-1]
    return found if isinstance(found, nn.BatchNorm2d) else None


def _set_last(last: nn.Linear, features: torch.Tensor) -> None:
    """The nearest photo, as a linear layer: logit k is -sharpness · ‖z - features[k]‖², without what all share.

    Args:
        last: (features → classes); classes beyond the photos are never probable.
        features: (photos, features), float64.
    """
    nearest = torch.cdist(features, features).square().fill_diagonal_(torch.inf).amin(1)
    sharpness = _SURENESS / float(nearest.median())
    last.weight.zero_()
    last.bias.fill_(-1e4)
    last.weight[: len(features)] = 2 * sharpness * features.float()
    last.bias[: len(features)] = -sharpness * features.square().sum(1).float()
