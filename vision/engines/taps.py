"""Taps: a float32 copy of a bundle's network that also shows what happens inside it, for explanations.

A copy of its own, so that the engine that serves stays as it is. Importing this imports neither torch nor OpenVINO.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vision.convolution import Padding, padding_px
from vision.image import Pixels

Maps = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FirstLayer:
    """The network's first convolution, with all that is needed to compute it again.

    Attributes:
        kernels: (F, C, kh, kw). If the engine folds a batch normalisation into them, they are the folded ones.
        bias: (F,); zeros if there is none.
        stride: in both directions.
        padding: as `vision.convolution` takes it.
        activation: the function that follows, e.g. ReLU; an empty text if the maps are used as they are.
    """

    kernels: Maps
    bias: Maps
    stride: int
    padding: Padding
    activation: str


@dataclass(frozen=True)
class LinearHead:
    """The part behind the mean of the last maps: logits = weights · mean + bias.

    Attributes:
        weights: (classes, channels).
        bias: (classes,).
    """

    weights: Maps
    bias: Maps


@dataclass(frozen=True)
class Observation:
    """What one image did inside the network.

    Attributes:
        logits: (classes,).
        entered: (C, H, W) that the first convolution reads; None without a first layer.
        convolved: (F, h, w), the first convolution with its bias; None without a first layer.
        activated: (F, h, w) after the activation; None without a first layer.
        last: (channels, h, w) whose mean goes into the head; None without a linear head.
        stages: the last maps (channels, h, w) of each size from input to output, without those of 1×1.
    """

    logits: npt.NDArray[np.float32]
    entered: Maps | None
    convolved: Maps | None
    activated: Maps | None
    last: Maps | None
    stages: Sequence[Maps]


class Taps(Protocol):
    """One compiled copy. Use it from one thread.

    Attributes:
        description: engine and precision, e.g. `openvino-f32`.
        first: the first convolution; None if the network does not begin with one that can be shown.
        head: None unless the network ends in global average pooling and one linear layer.
    """

    description: str
    first: FirstLayer | None
    head: LinearHead | None

    def infer(self, images: Pixels) -> npt.NDArray[np.float32]:
        """(N, H, W, C) uint8 → (N, classes) logits."""
        ...

    def observe(self, image: Pixels) -> Observation:
        """(H, W, C) uint8 → everything that the taps show."""
        ...


def as_padding(
    before: tuple[int, int], after: tuple[int, int], sides: tuple[int, int], window: int, stride: int
) -> Padding | None:
    """The padding of a convolution as `vision.convolution` takes it; None if it has no such form.

    Args:
        before: rows above and columns left.
        after: rows below and columns right.
        sides: height and width of the input.
        window: pixels of the kernel's side.
        stride: in both directions.
    """
    if before == after and before[0] == before[1]:
        return before[0] or "valid"
    same = tuple(zip(*(padding_px(side, window, stride, "same") for side in sides), strict=True))
    return "same" if (before, after) == same else None
