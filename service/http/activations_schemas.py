"""The JSON of the answer to POST /activations."""

from service.http.explanation_answer import PNG_ADDRESS, Answer, Matrix, Part, example


class LayerFacts(Part):
    """The first convolution."""

    filters: int
    channels: int
    kernel_px: int
    """Side of a kernel."""
    stride: int
    padding: int | str
    """As POST /convolve takes it."""
    activation: str | None
    """The function that follows."""
    input: list[int]
    """Channels, height, width."""
    output: list[int]
    """Filters, height, width."""


class FilterFacts(Part):
    """One filter and its map."""

    kernel: list[Matrix] | None
    """By channel; null if it is larger than 7×7."""
    bias: float
    mean: float
    """Of the map."""
    maximum: float
    """Of the map."""
    picture: str
    """The map as a data address of a PNG: black is the lowest value of all maps, white the highest."""


class Patch(Part):
    """A part of the input under a few cells of one map, ready for POST /convolve with padding=valid."""

    filter: int
    row: int
    """The chosen cell, within the patch."""
    column: int
    """The chosen cell, within the patch."""
    top: int
    """Row of the layer's input where the patch begins; negative in the padding."""
    left: int
    """Column of the layer's input where the patch begins; negative in the padding."""
    input: list[Matrix]
    """Normalised values, by channel."""
    kernel: list[Matrix]
    """By channel."""
    bias: float
    stride: int
    convolved: Matrix
    """What the engine gives, with the bias."""
    activated: Matrix
    """What the engine gives after the activation."""


class Proof(Part):
    """One whole map by `vision.convolution` against the engine's."""

    cells: int
    textbook: float
    """The chosen cell by `vision.convolution`."""
    engine: float
    """The chosen cell by the engine."""
    largest_difference: float
    """Over all cells of the map."""


class MapFacts(Part):
    """One map."""

    channel: int
    mean: float
    picture: str
    """As a data address of a PNG."""


class Stage(Part):
    """The last maps of one size."""

    channels: int
    height: int
    width: int
    maps: list[MapFacts]
    """The eight strongest."""


class ChannelMean(Part):
    """The mean of one of the last maps."""

    channel: int
    value: float


class Output(Part):
    """One of the network's outputs."""

    label: str
    logit: float
    score: float
    """The calibrated probability."""


class ActivationsResponse(Answer):
    """What the network's layers make of an image."""

    model_config = example(
        layer={
            "filters": 16,
            "channels": 1,
            "kernel_px": 3,
            "stride": 1,
            "padding": 1,
            "activation": "ReLU",
            "input": [1, 16, 16],
            "output": [16, 16, 16],
        },
        range=[0.0, 3.2219367],
        filters=[
            {"kernel": [[[0.13, -0.02, 0.3]]], "bias": -0.28, "mean": 0.27, "maximum": 1.72, "picture": PNG_ADDRESS},
        ],
        proof={"cells": 256, "textbook": 2.177461, "engine": 2.177461, "largest_difference": 2.05e-07},
    )

    layer: LayerFacts | None = None
    """first: the convolution."""
    range: list[float] | None = None
    """first: lowest and highest value of the maps that are shown."""
    filters: list[FilterFacts] | None = None
    """first: at most 64 of them."""
    patch: Patch | None = None
    """first: null if the kernel is larger than 7×7."""
    proof: Proof | None = None
    """first: the layer computed again."""
    stages: list[Stage] | None = None
    """journey: from input to output."""
    means: list[ChannelMean] | None = None
    """journey: the strongest means, for networks that end in global average pooling and one linear layer."""
    temperature: float | None = None
    """journey: the divisor of the logits before the softmax."""
    outputs: list[Output] | None = None
    """journey: the best first."""
