"""The registry: every network that can be trained and served, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from vision.architectures import backbones, vgg
from vision.architectures.cifar_cnn import cifar_cnn
from vision.architectures.classifier import Classifier
from vision.architectures.lenet import lenet5
from vision.architectures.resnet import simple_resnet
from vision.preprocessing import Preprocessing


@dataclass(frozen=True)
class Architecture:
    """One row of the registry.

    Attributes:
        build: (num_classes, **arguments) → an untrained network.
        preprocessing: the default of a training run; its crop size and channels are the network's input.
        parameters: number of parameters with `classes` categories and, for torchvision's networks, a linear head.
        classes: number of categories for which `parameters` is counted.
        gflops: 10⁹ multiply-adds for one image, as torchvision counts them.
        accuracy: published acc@1 on ImageNet of the best weights, 0 to 1; None without published weights.
        published: torchvision's name of the network whose weights fit the backbone, or None.
        torchvision_name: maps the name of a tensor of the backbone to the name in those weights.
    """

    build: Callable[..., Classifier]
    preprocessing: Preprocessing
    parameters: int
    classes: int
    gflops: float
    accuracy: float | None = None
    published: str | None = None
    torchvision_name: Callable[[str], str] = str

    @property
    def size_mb(self) -> float:
        """10⁶ bytes that the parameters take in float32."""
        return 4 * self.parameters / 1e6


_GRAY_32_PX = Preprocessing.minus_one_one(32, channels=1)
_OURS: Mapping[str, Architecture] = {
    "lenet5": Architecture(lenet5, _GRAY_32_PX, parameters=61_706, classes=10, gflops=0.00041652),
    "simple_resnet": Architecture(simple_resnet, _GRAY_32_PX, parameters=77_754, classes=10, gflops=0.01220672),
    "cifar_cnn": Architecture(
        cifar_cnn, Preprocessing.minus_one_one(32), parameters=815_530, classes=10, gflops=0.03916032
    ),
}
# Our own structure with torchvision's weights: name → (function, convolutions of each block).
_VGG = {"vgg16": (vgg.vgg16, (2, 2, 3, 3, 3)), "vgg19": (vgg.vgg19, (2, 2, 4, 4, 4))}
# Arguments other than torchvision_classifier's defaults: a hidden layer, so that the head can learn more on a frozen
# backbone.
_ARGUMENTS: Mapping[str, dict[str, Any]] = {"mobilenet_v2": {"head": "hidden"}}

FEATURED = (
    *_OURS,
    *("vgg16", "vgg19", "resnet18", "resnet50", "resnet101", "inception_v3", "mobilenet_v2", "mobilenet_v3_large"),
    *("efficientnet_b0", "efficientnet_v2_s", "convnext_tiny", "vit_b_16"),
)
"""The networks that `architectures` lists. Every other classifier of torchvision can be built by its name, too."""


@cache
def architecture(name: str) -> Architecture:
    """The registry's row.

    Raises:
        ValueError: there is no such architecture; the message lists those that are featured.
    """
    if name in _OURS:
        return _OURS[name]
    if name not in backbones.names():
        raise ValueError(
            f"There is no architecture {name!r}; choose one of {', '.join(sorted(FEATURED))}, "
            "or a torchvision classifier."
        )
    published = backbones.published_weights(name)
    row = Architecture(
        build=partial(backbones.torchvision_classifier, name, **_ARGUMENTS.get(name, {})),
        preprocessing=published.preprocessing,
        parameters=published.parameters,
        classes=1000,
        gflops=published.gflops,
        accuracy=published.accuracy,
        published=name,
    )
    if name in _VGG:
        build, convolutions = _VGG[name]
        row = replace(row, build=build, torchvision_name=partial(vgg.torchvision_name, convolutions))
    return row


def build_model(name: str, num_classes: int, /, **arguments: Any) -> Classifier:
    """Builds an untrained network with `num_classes` outputs (at least 2).

    Args:
        name: one of FEATURED, or any other classifier of torchvision.
        num_classes: number of categories.
        **arguments: of the architecture's own function, e.g. `widths` for `simple_resnet`, `head` for torchvision's.

    Raises:
        ValueError: an unknown name, fewer than 2 classes, or an argument that the architecture does not take.
    """
    row = architecture(name)
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; a classifier needs at least 2 categories.")
    try:
        return row.build(num_classes, **arguments)
    except (TypeError, IndexError, RuntimeError, ZeroDivisionError, ValueError, AssertionError) as error:
        raise ValueError(f"{name} cannot be built with {arguments}: {error}") from error
