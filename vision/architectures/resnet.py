"""The residual block with identity or projection shortcut, and a simple network of such blocks.

He et al., Deep residual learning for image recognition, https://arxiv.org/abs/1512.03385.
"""

import torch
from torch import nn

from vision.architectures.classifier import Classifier, global_average, linear_head


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut: the identity if the shape stays the same, else a 1×1 projection.

    (N, in_channels, H, W) → (N, out_channels, H/stride, W/stride).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.stride = stride
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            projection = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(out_channels))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Adds the residual to the shortcut, then ReLU."""
        # The stride is applied here and not by the projection: on AVX2 the weight gradient of a strided 1×1 convolution
        # over fewer than 8 channels_last channels writes past its buffer,
        # https://github.com/uxlfoundation/oneDNN/issues/6035.
        kept = features[:, :, :: self.stride, :: self.stride]
        return torch.relu(self.residual(features) + self.shortcut(kept))


def simple_resnet(
    num_classes: int,
    in_channels: int = 1,
    widths: tuple[int, ...] = (16, 32, 64),
    blocks_per_stage: int = 1,
    dropout: float = 0.2,
) -> Classifier:
    """A stem, a stage of residual blocks for each width (all but the first halve the side), pooling, a linear layer.

    (N, in_channels, S, S) → (N, num_classes). 77,754 parameters at 10 classes with the defaults.
    """
    stem = nn.Sequential(
        nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
    )
    blocks: list[nn.Module] = [stem]
    channels = widths[0]
    for stage, width in enumerate(widths):
        for index in range(blocks_per_stage):
            blocks.append(ResidualBlock(channels, width, stride=2 if stage > 0 and index == 0 else 1))
            channels = width
    return Classifier(nn.Sequential(*blocks, *global_average()), linear_head(channels, num_classes, dropout))
