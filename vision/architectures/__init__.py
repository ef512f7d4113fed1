"""Every network that can be trained and served, by name. A name outside this table cannot be built: nothing is imported by string."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vision.architectures.backbones import mobilenet_v2
from vision.architectures.classifier import Classifier
from vision.architectures.lenet import lenet5
from vision.architectures.resnet import simple_resnet
from vision.preprocessing import Preprocessing


@dataclass(frozen=True)
class Architecture:
    """One row of the registry.

    Attributes:
        build: (num_classes, **arguments) → an untrained network.
        preprocessing: what a fresh training run uses; its crop size and channels are the network's input.
        parameters: how many, with the default arguments, at `classes` categories.
        classes: the number of categories at which `parameters` is counted.
        summary: one line for people.
    """

    build: Callable[..., Classifier]
    preprocessing: Preprocessing
    parameters: int
    classes: int
    summary: str

    @property
    def size_bytes(self) -> int:
        """What the parameters take in float32."""
        return 4 * self.parameters


ARCHITECTURES: Mapping[str, Architecture] = {
    "lenet5": Architecture(
        build=lenet5,
        preprocessing=Preprocessing.minus_one_one(32, channels=1),
        parameters=61_706,
        classes=10,
        summary="LeNet-5 (1998), two convolutions and three dense layers",
    ),
    "simple_resnet": Architecture(
        build=simple_resnet,
        preprocessing=Preprocessing.minus_one_one(32, channels=1),
        parameters=77_754,
        classes=10,
        summary="three residual blocks behind a stem, for small gray images",
    ),
    "mobilenet_v2": Architecture(
        build=mobilenet_v2,
        preprocessing=Preprocessing.imagenet(),
        parameters=2_553_093,
        classes=5,
        summary="MobileNetV2 with a hidden layer of 256 in the head, for photos",
    ),
}


def architecture(name: str) -> Architecture:
    """The registry's row.

    Raises:
        ValueError: there is no such architecture; the message lists those that exist.
    """
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise ValueError(f"There is no architecture {name!r}; choose one of {', '.join(sorted(ARCHITECTURES))}.") from None


def build_model(name: str, num_classes: int, /, **arguments: Any) -> Classifier:
    """Builds an untrained network with `num_classes` outputs (at least 2).

    Args:
        name: a key of ARCHITECTURES.
        num_classes: how many categories the head tells apart.
        **arguments: what the architecture's own function takes, e.g. `widths` for `simple_resnet`.

    Raises:
        ValueError: an unknown name, fewer than 2 classes, or an argument that the architecture does not take.
    """
    row = architecture(name)
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; a classifier needs at least 2 categories.")
    try:
        return row.build(num_classes, **arguments)
    except (TypeError, IndexError, RuntimeError, ZeroDivisionError) as error:
        raise ValueError(f"{name} cannot be built with {arguments}: {error}") from error
