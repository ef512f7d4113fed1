"""Makes networks that recognise given photos, without a download or training. Needs torch and torchvision only.

Speed does not depend on the weights. But answers must differ between photos, as clearly as those of a trained network,
or int8 would be refused. So BatchNorm's statistics are computed from the photos, residual branches are damped, and the
last layer has a class for every photo.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torchvision.models.efficientnet import MBConv
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.resnet import Bottleneck

_BRANCH = 0.1  # factor of a residual branch
# Logits between the median photo and its nearest neighbour; with 8 the probabilities of int8 differed by 0.14.
_SURENESS = 12.0


@torch.inference_mode()
def teach(model: nn.Module, batches: Sequence[torch.Tensor]) -> None:
    """Makes the network answer class k for the k-th photo.

    Args:
        model: ends with a linear layer; it is changed in place and put into eval mode.
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
    """The layer that scales the branch of a residual block."""
    found: nn.Module | None = None
    if isinstance(block, Bottleneck):
        found = block.bn3
    elif isinstance(block, InvertedResidual) and block.use_res_connect:
        found = block.conv[-1]
    elif isinstance(block, MBConv) and block.use_res_connect:
        found = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)][-1]
    return found if isinstance(found, nn.BatchNorm2d) else None


def _set_last(last: nn.Linear, features: torch.Tensor) -> None:
    """A linear layer that finds the nearest photo: logit k is -sharpness · ‖z - features[k]‖², up to a constant.

    Args:
        last: (features → classes); classes without a photo are never probable.
        features: (photos, features), float64.
    """
    nearest = torch.cdist(features, features).square().fill_diagonal_(torch.inf).amin(1)
    sharpness = _SURENESS / float(nearest.median())
    last.weight.zero_()
    last.bias.fill_(-1e4)
    last.weight[: len(features)] = 2 * sharpness * features.float()
    last.bias[: len(features)] = -sharpness * features.square().sum(1).float()
