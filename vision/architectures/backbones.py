"""torchvision's classifiers, each with its last layer replaced by a head of this project. Downloads nothing.

torchvision is imported inside the functions: the import takes 2 s, and only these networks need it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from torch import nn

from vision.architectures.classifier import Classifier, hidden_layer_head, holds_parameters, linear_head
from vision.preprocessing import Preprocessing

# The attribute in which torchvision's networks keep their last layers.
_CLASSIFICATION = ("classifier", "fc", "heads", "head")
# They predict from the middle too, while training, and rearrange normalised input as their published weights want it;
# torchvision does the latter only where it loads those weights itself, so that a network built again would lose it.
_INCEPTION = {"aux_logits": False, "transform_input": True, "init_weights": True}
_BUILT_WITH: dict[str, dict[str, Any]] = {"inception_v3": _INCEPTION, "googlenet": _INCEPTION}


@dataclass(frozen=True)
class PublishedWeights:
    """What torchvision publishes about one set of weights.

    Attributes:
        name: e.g. `IMAGENET1K_V2`.
        url: where they can be downloaded.
        preprocessing: the one with which their accuracy was measured.
        parameters: of the network with 1,000 categories.
        size_mb: of the file, in 10⁶ bytes.
        gflops: 10⁹ multiply-adds for one image.
        accuracy: acc@1 on ImageNet's validation images, 0 to 1; None where none was published.
    """

    name: str
    url: str
    preprocessing: Preprocessing
    parameters: int
    size_mb: float
    gflops: float
    accuracy: float | None


@cache
def names() -> tuple[str, ...]:
    """Every classifier that torchvision builds, sorted."""
    from torchvision import models

    return tuple(models.list_models(module=models))


@cache
def published_weights(name: str, weights: str = "DEFAULT") -> PublishedWeights:
    """Looks a set of weights up.

    Args:
        name: one of `names()`.
        weights: a member of torchvision's enumeration for it; `DEFAULT` is the best.

    Raises:
        ValueError: no such weights; the message lists those there are.
    """
    from torchvision import models

    known = models.get_model_weights(name)
    if weights not in known.__members__:
        raise ValueError(f"{name} has no weights {weights!r}; choose one of {', '.join(known.__members__)}.")
    found = known[weights]
    transforms = found.transforms()
    accuracy = found.meta["_metrics"].get("ImageNet-1K", {}).get("acc@1")
    return PublishedWeights(
        name=found.name,
        url=found.url,
        preprocessing=Preprocessing.imagenet(
            max(transforms.resize_size[0], transforms.crop_size[0]),
            transforms.crop_size[0],
            interpolation=transforms.interpolation.value,
            mean=tuple(transforms.mean),
            std=tuple(transforms.std),
        ),
        parameters=found.meta["num_params"],
        size_mb=found.meta["_file_size"],
        gflops=found.meta["_ops"],
        accuracy=None if accuracy is None or math.isnan(accuracy) else accuracy / 100,
    )


def torchvision_classifier(
    name: str,
    num_classes: int,
    head: Literal["linear", "hidden"] = "linear",
    dropout: float | None = None,
    **arguments: Any,
) -> Classifier:
    """Builds one of `names()` with random weights.

    Args:
        name: torchvision's name of the network.
        num_classes: at least 2.
        head: `linear`, or `hidden` for one hidden layer of 256.
        dropout: of the head, 0 to below 1; None takes 0.2 for `linear` and 0.5 for `hidden`.
        **arguments: what torchvision's own function takes, e.g. `image_size` of a vision transformer.

    Raises:
        ValueError: `head` is neither.
    """
    from torchvision import models

    heads = {"linear": linear_head, "hidden": hidden_layer_head}
    if head not in heads:
        raise ValueError(f"head is {head!r}; choose one of {', '.join(heads)}.")
    network = models.get_model(name, weights=None, **(_BUILT_WITH.get(name, {}) | arguments))
    features = _cut_classification(network)
    ours = heads[head](features, num_classes, **({} if dropout is None else {"dropout": dropout}))
    return Classifier(network, ours, list(_blocks(network)))


def _cut_classification(network: nn.Module) -> int:
    """Removes the last linear layer and the dropout before it; returns the number of features that are left."""
    attribute = next(name for name in _CLASSIFICATION if hasattr(network, name))
    layers: nn.Module = getattr(network, attribute)
    if isinstance(layers, nn.Linear):
        setattr(network, attribute, nn.Identity())
        if isinstance(getattr(network, "dropout", None), nn.Dropout):
            network.dropout = nn.Identity()
        return layers.in_features
    parts = list(layers.children())
    last = parts.pop()
    if not isinstance(
        last, nn.Linear
    ):  # SqueezeNet ends in a convolution and pools its answers; the features are before that
        setattr(network, attribute, nn.AdaptiveAvgPool2d(1))
        return next(part.in_channels for part in parts if isinstance(part, nn.Conv2d))
    while parts and isinstance(parts[-1], nn.Dropout):
        parts.pop()
    setattr(network, attribute, nn.Sequential(*parts))
    return last.in_features


def _blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The network's parts from input to output, containers of several parts opened."""
    from torchvision.models.vision_transformer import Encoder

    for child in network.children():
        if isinstance(child, Encoder) or (type(child) in (nn.Sequential, nn.ModuleList) and _is_container(child)):
            yield from _blocks(child)
        elif holds_parameters(child):
            yield child


def _is_container(sequence: nn.Module) -> bool:
    """Whether it is a container of several parts. A convolution with its norm counts as one part."""
    learning = [child for child in sequence.children() if holds_parameters(child)]
    return (
        any(any(True for _ in child.children()) for child in learning)
        or sum(_has_matrix(child) for child in learning) > 1
    )


def _has_matrix(module: nn.Module) -> bool:
    return any(parameter.ndim > 1 for parameter in module.parameters())
