"""The JSON of the answers to POST /explain, /activations and /inspect. The explaining process writes it."""

from pydantic import BaseModel, ConfigDict

from service.http.schemas import LabelScore

Matrix = list[list[float]]


_ABOUT = {
    "model": "digits",
    "version": 1,
    "digest": "3b5d54ecfa3b",
    "request_id": "3f0c9a52d1f54c4a8a4e7d0f6a8f8f0e",
    "engine": "openvino-f32",
    "timings_ms": {"decode": 0.4, "compute": 0.8},
}
_PNG = "data:image/png;base64,iVBORw0KGgo…"


def _example(**answer: object) -> ConfigDict:
    return ConfigDict(use_attribute_docstrings=True, json_schema_extra={"examples": [{**_ABOUT, **answer}]})  # type: ignore[dict-item]


class _Part(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class _Answer(_Part):
    model: str
    """The model's name."""
    version: int
    """The model's version."""
    digest: str
    """The first 12 digits of the manifest's sha256."""
    request_id: str
    """The same as in the header x-request-id."""
    engine: str
    """What computed the explanation: a copy of the network in float32."""
    timings_ms: dict[str, float]
    """Milliseconds of decode and compute."""


class Agreement(_Part):
    """How far a copy of the engine that serves is from the copy that explains, on this image."""

    engine: str
    """The kind of engine that serves."""
    largest_difference: float
    """Of the probabilities of all categories."""


class Change(_Part):
    """What covering does to one label."""

    label: str
    before: float
    """Probability without the cover."""
    after: float
    """Probability with the cover."""
    logit_change: float
    """Logit with the cover minus without."""


class ExplainResponse(_Answer):
    """Which parts of an image speak for a label."""

    model_config = _example(
        method="cam",
        label="7",
        against="3",
        width=280,
        height=280,
        box=[0.0, 0.0, 280.0, 280.0],
        logits={"label": 5.494404, "against": 1.857461},
        predictions=[{"label": "7", "score": 0.986339}, {"label": "3", "score": 0.012747}],
        agreement={"engine": "openvino-bf16", "largest_difference": 0.000581},
        grid=[[0.1, 1.2], [0.4, 1.936943]],
        sum=3.636943,
    )

    method: str
    """cam, occlusion or cover."""
    label: str
    """The category that is explained."""
    against: str | None
    """The category that it is compared with."""
    width: int
    """Pixels of the upright image."""
    height: int
    """Pixels of the upright image."""
    box: list[float]
    """Left, top, right, bottom of the grid on the upright image; beyond it where the preprocessing fills up."""
    logits: dict[str, float]
    """Logit of `label` and of `against`."""
    predictions: list[LabelScore]
    """The best first."""
    agreement: Agreement | None
    """Null if the engine serves on another device than the CPU."""
    grid: Matrix | None = None
    """cam: what each cell adds to the logit, or to the difference of the two; occlusion: what is lost without it."""
    sum: float | None = None
    """cam: of the grid, which is the logit, or the difference of the two."""
    scores: Matrix | None = None
    """occlusion: probability of the label while each cell is covered."""
    cover: list[int] | None = None
    """cover: left, top, width, height of the rectangle."""
    cover_value: list[int] | None = None
    """occlusion, cover: the value with which it is covered, by channel, 0 to 255."""
    changes: list[Change] | None = None
    """cover: the labels that are best before or after."""


class LayerFacts(_Part):
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


class FilterFacts(_Part):
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


class Patch(_Part):
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


class Proof(_Part):
    """One whole map by `vision.convolution` against the engine's."""

    cells: int
    textbook: float
    """The chosen cell by `vision.convolution`."""
    engine: float
    """The chosen cell by the engine."""
    largest_difference: float
    """Over all cells of the map."""


class MapFacts(_Part):
    """One map."""

    channel: int
    mean: float
    picture: str
    """As a data address of a PNG."""


class Stage(_Part):
    """The last maps of one size."""

    channels: int
    height: int
    width: int
    maps: list[MapFacts]
    """The eight strongest."""


class ChannelMean(_Part):
    """The mean of one of the last maps."""

    channel: int
    value: float


class Output(_Part):
    """One of the network's outputs."""

    label: str
    logit: float
    score: float
    """The calibrated probability."""


class ActivationsResponse(_Answer):
    """What the network's layers make of an image."""

    model_config = _example(
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
            {"kernel": [[[0.13, -0.02, 0.3]]], "bias": -0.28, "mean": 0.27, "maximum": 1.72, "picture": _PNG},
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


class FileFacts(_Part):
    """The file."""

    format: str
    bytes: int
    mode: str
    """Pillow's name of the stored pixels, e.g. RGB, L, CMYK, P."""
    orientation: int
    """EXIF's, 1 to 8; 1 is upright."""
    width: int
    """Pixels of the upright image."""
    height: int
    """Pixels of the upright image."""


class InspectStep(_Part):
    """One step."""

    name: str
    """stored, upright, channels, resized, squared or normalised."""
    does: str
    """What it does, as a part of a sentence."""
    shape: list[int]
    """Height, width, channels; after `normalised` channels, height, width."""
    dtype: str
    minimum: float
    maximum: float
    mean: float
    picture: str
    """As a data address of a PNG of at most 256 px."""


class Square(_Part):
    """The network's square in numbers; arrays as base64 of their bytes, little-endian, in C order."""

    side: int
    """Pixels, after sampling."""
    sampled_every: int
    """1 unless the square has more than 256 px on a side."""
    channels: int
    """Of the network: 1 or 3."""
    rgb: str
    """uint8 (side, side, 3)."""
    network: str
    """uint8 (side, side, channels), as the network gets it."""
    normalised: str
    """float32 (channels, side, side)."""


class Plane(_Part):
    """One plane of a colour space."""

    name: str
    range: list[float]
    """Lowest and highest value that it can have."""
    values: str
    """float32 (side, side), as base64."""
    histogram: list[int]
    """Pixels in 32 bins of equal width over the range."""


class InspectResponse(_Answer):
    """What a file is, and what each preprocessing step makes of it."""

    model_config = _example(
        facts={"format": "PNG", "bytes": 2729, "mode": "L", "orientation": 1, "width": 280, "height": 280},
        box=[0.0, 0.0, 280.0, 280.0],
        steps=[
            {
                "name": "resized",
                "does": "scales the long side to 16 px (bilinear interpolation with antialiasing)",
                "shape": [16, 16, 1],
                "dtype": "uint8",
                "minimum": 20.0,
                "maximum": 255.0,
                "mean": 225.9,
                "picture": _PNG,
            }
        ],
        square={
            "side": 16,
            "sampled_every": 1,
            "channels": 1,
            "rgb": "////…",
            "network": "////…",
            "normalised": "AACAPw…",
        },
        planes={"gray": [{"name": "gray (ITU-R 709)", "range": [0, 1], "values": "AACAPw…", "histogram": [0, 12]}]},
    )

    facts: FileFacts
    box: list[float]
    """Left, top, right, bottom of the network's square on the upright image."""
    steps: list[InspectStep]
    square: Square
    planes: dict[str, list[Plane]]
    """By colour space, for those that were asked for."""
