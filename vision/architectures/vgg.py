"""VGG: blocks of 3×3 convolutions. Simonyan and Zisserman, https://arxiv.org/abs/1409.1556, configurations D and E.

The same networks as torchvision's `vgg16` and `vgg19`, laid out by blocks; `torchvision_name` translates the names of
their published weights.
"""

from torch import nn

from vision.architectures.classifier import Classifier

_WIDTHS = (64, 128, 256, 512, 512)
_DENSE = 4096


def vgg_block(in_channels: int, out_channels: int, convolutions: int) -> nn.Sequential:
    """Convolutions of 3×3, each with ReLU, then max pooling: (N, in_channels, H, W) → (N, out_channels, H/2, W/2)."""
    layers: list[nn.Module] = []
    for index in range(convolutions):
        layers += [nn.Conv2d(in_channels if index == 0 else out_channels, out_channels, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2))


def vgg16(num_classes: int, dropout: float = 0.5) -> Classifier:
    """(N, 3, 224, 224) → (N, num_classes); 138,357,544 parameters at 1,000 classes."""
    return _vgg(num_classes, (2, 2, 3, 3, 3), dropout)


def vgg19(num_classes: int, dropout: float = 0.5) -> Classifier:
    """(N, 3, 224, 224) → (N, num_classes); 143,667,240 parameters at 1,000 classes."""
    return _vgg(num_classes, (2, 2, 4, 4, 4), dropout)


def torchvision_name(convolutions: tuple[int, ...], name: str) -> str:
    """The name of a tensor in torchvision: `2.4.weight` → `features.14.weight`, `8.0.bias` → `classifier.3.bias`."""
    block, layer, kind = name.split(".")
    if int(block) < len(convolutions):
        before = sum(
            2 * count + 1 for count in convolutions[: int(block)]
        )  # each convolution has a ReLU, each block a pooling
        return f"features.{before + int(layer)}.{kind}"
    # After pooling and flatten; a ReLU and a dropout follow each linear layer.
    return f"classifier.{3 * (int(block) - len(convolutions) - 2)}.{kind}"


def _vgg(num_classes: int, convolutions: tuple[int, ...], dropout: float) -> Classifier:
    channels = (3, *_WIDTHS)
    blocks = [vgg_block(channels[stage], channels[stage + 1], count) for stage, count in enumerate(convolutions)]
    dense = [nn.Sequential(nn.Linear(width, _DENSE), nn.ReLU(), nn.Dropout(dropout)) for width in (512 * 7 * 7, _DENSE)]
    backbone = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(7), nn.Flatten(), *dense)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
            nn.init.zeros_(module.bias)
    return Classifier(backbone, nn.Sequential(nn.Linear(_DENSE, num_classes)))
