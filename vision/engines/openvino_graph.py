"""Finds the parts of an OpenVINO graph that explanations need: first convolution, linear head, maps by size.

Works on the node types of the IR that `training.export.conversion` writes: NCHW inside, a batch of any size. What it
finds of the head is a guess by shape until `vision.explanation.is_exact` has compared it with real answers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from vision.engines.taps import FirstLayer, LinearHead, as_padding

# OpenVINO's name → the one that papers use.
_ACTIVATIONS = {
    "Relu": "ReLU",
    "Clamp": "clamp",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Swish": "SiLU",
    "HSwish": "hard swish",
    "HSigmoid": "hard sigmoid",
    "Elu": "ELU",
    "Gelu": "GELU",
    "Mish": "Mish",
    "SoftPlus": "softplus",
}
_CONVOLUTIONS = frozenset({"Convolution", "GroupConvolution"})
_KEEPS_MAPS = frozenset(
    {*_ACTIVATIONS, "Add", "Multiply", "Subtract", "Divide", "PRelu", "MaxPool", "AvgPool", "Concat", "Slice", "Pad"}
)
# Between the mean and the matrix: they change the shape only.
_SHAPES = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Gather", "Convert"})


@dataclass(frozen=True)
class First:
    """The first convolution in the graph.

    Attributes:
        layer: its numbers.
        entered: the output that it reads.
        convolved: the output after its bias.
        activated: the output after its activation.
    """

    layer: FirstLayer
    entered: Any
    convolved: Any
    activated: Any


@dataclass(frozen=True)
class Head:
    """The end of the graph.

    Attributes:
        layer: its numbers.
        last: the output whose mean it takes.
    """

    layer: LinearHead
    last: Any


def first_convolution(model: Any) -> First | None:
    """The first convolution; None if there is none, or if it is dilated, or padded or strided differently by side."""
    node = next((node for node in model.get_ordered_ops() if node.get_type_name() in _CONVOLUTIONS), None)
    if node is None or node.get_type_name() != "Convolution" or (kernels := _constant(node, 1)) is None:
        return None
    about = node.get_attributes()
    strides, dilations = set(about["strides"]), set(about["dilations"])
    sides = [dimension.get_length() for dimension in list(node.input(0).get_partial_shape())[2:]]
    if len(strides) != 1 or dilations != {1} or kernels.shape[2] != kernels.shape[3]:
        return None
    padding = as_padding(
        tuple(about["pads_begin"]), tuple(about["pads_end"]), (sides[0], sides[1]), kernels.shape[2], min(strides)
    )
    if padding is None:
        return None
    convolved, bias = node, np.zeros(len(kernels), np.float32)
    follower = _only_follower(node)
    if follower is not None and follower.get_type_name() == "Add" and _is_bias(added := _constant(follower, 1)):
        convolved, bias = follower, np.broadcast_to(added, (1, len(kernels), 1, 1)).reshape(-1)
        follower = _only_follower(convolved)
    named = follower is not None and follower.get_type_name() in _ACTIVATIONS
    layer = FirstLayer(kernels, bias, min(strides), padding, _activation(follower) if named else "")
    return First(
        layer, node.input(0).get_source_output(), convolved.output(0), (follower if named else convolved).output(0)
    )


def linear_head(model: Any) -> Head | None:
    """Mean over the maps → one matrix → bias; None if the graph ends in anything else."""
    node = _source(model.output(0).get_node())
    bias = None
    if node.get_type_name() == "Add":
        bias = _constant(node, 1)
        node = _source(node)
    if node.get_type_name() != "MatMul" or (weights := _constant(node, 1)) is None or weights.ndim != 2:
        return None
    if not node.get_attributes().get("transpose_b"):
        weights = weights.T
    node = _source(node)
    while node.get_type_name() in _SHAPES:
        node = _source(node)
    if not _is_mean_of_maps(node):
        return None
    offsets = np.zeros(len(weights), np.float32) if bias is None else bias.reshape(-1)
    if offsets.shape != (len(weights),):
        return None
    return Head(LinearHead(weights, offsets), node.input(0).get_source_output())


def maps_by_size(model: Any) -> list[Any]:
    """The last maps of each height and width from the first convolution on, in the order of the graph.

    What follows a transposition, a reshape or a matrix is not in the order channels, height, width, and is left out
    until it meets maps again.
    """
    maps: set[str] = set()
    last: dict[tuple[int, int], Any] = {}
    for node in model.get_ordered_ops():
        follows = any(_source(node, index).get_friendly_name() in maps for index in range(node.get_input_size()))
        if node.get_type_name() not in _CONVOLUTIONS and not (follows and node.get_type_name() in _KEEPS_MAPS):
            continue
        shape = node.output(0).get_partial_shape()
        if shape.rank.is_dynamic or len(shape) != 4 or any(side.is_dynamic for side in list(shape)[1:]):
            continue
        maps.add(node.get_friendly_name())
        size = (shape[2].get_length(), shape[3].get_length())
        if size != (1, 1):
            last[size] = node.output(0)
    return list(last.values())


def _is_bias(added: Any) -> bool:
    """Whether this is one number for each channel, or one for all."""
    return added is not None and (added.size == 1 or (added.ndim == 4 and added.size == added.shape[1]))


def _activation(node: Any) -> str:
    about = node.get_attributes()
    if node.get_type_name() == "Clamp" and (about.get("min"), about.get("max")) == (0, 6):
        return "ReLU6"
    return _ACTIVATIONS[node.get_type_name()]


def _is_mean_of_maps(node: Any) -> bool:
    shape = node.input(0).get_partial_shape() if node.get_input_size() else None
    if shape is None or shape.rank.is_dynamic or len(shape) != 4:
        return False
    if node.get_type_name() == "ReduceMean":
        axes = _constant(node, 1)
        return axes is not None and sorted(int(axis) % 4 for axis in axes.reshape(-1)) == [2, 3]
    if node.get_type_name() == "AvgPool":
        sides = [side.get_length() for side in list(shape)[2:] if side.is_static]
        return list(node.get_attributes()["kernel"]) == sides
    return False


def _constant(node: Any, index: int) -> Any:
    """The array of a constant input; None if it is computed."""
    source = node.input(index).get_source_output().get_node()
    return np.array(source.data) if source.get_type_name() == "Constant" else None


def _source(node: Any, index: int = 0) -> Any:
    return node.input(index).get_source_output().get_node()


def _only_follower(node: Any) -> Any:
    """The one node that reads this node; None if there are several."""
    targets = list(node.output(0).get_target_inputs())
    return targets[0].get_node() if len(targets) == 1 else None
