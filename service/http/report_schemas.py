"""The JSON of GET /models and of a model's report."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from vision.bundle.manifest import Parity, Provenance
from vision.bundle.numbers import ReliabilityBin, TestNumbers
from vision.bundle.worst import WorstEntry

_MODEL: dict[str, Any] = {
    "name": "digits",
    "version": 1,
    "digest": "3b5d54ecfa3b",
    "architecture": "simple_resnet",
    "engine": "openvino-bf16",
    "preprocessing": "It reduces the image to one gray channel, scales the long side …",
}


class _Part(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class GoldenImage(_Part):
    """One of the images that prove the bundle; GET /models/{name}/{version}/golden/{number} gives the file."""

    label: str
    """The answer that every engine must give."""
    score: float
    """Its probability by the reference engine."""


class Explainable(_Part):
    """What POST /explain can do with this model."""

    cam: bool | None
    """Whether the network ends in global average pooling and one linear layer; null if only a request can tell."""
    occlusion: bool
    """True: it works with every network."""


class ClientLimits(_Part):
    """What a request may hold; docs/limits.md says what is answered beyond it."""

    max_body_bytes: int
    max_images_per_request: int
    max_image_bytes: int
    max_image_pixels: int
    max_image_side_px: int


class ModelInfo(_Part):
    """A model that is served."""

    name: str
    """The model's name."""
    version: int
    """The model's version."""
    digest: str
    """The first 12 digits of the manifest's sha256."""
    architecture: str
    """The network."""
    engine: str
    """Engine, device and precision."""
    categories: list[str]
    """In the order of the network's outputs."""
    preprocessing: str
    """What happens to an image before the network sees it."""
    metrics: dict[str, float]
    """Measured on held-out images when it was trained."""
    test_images: int | None
    """Number of the test images; null if the bundle does not say."""
    accuracy: float | None
    """Share of them that the engine which serves got right; null if the bundle does not say."""
    reliability: list[ReliabilityBin]
    """How often answers of each probability were right on those images; empty bins are left out."""
    golden: list[GoldenImage]
    """The images that prove the bundle."""
    explain: Explainable | None
    """Null if explanations are switched off."""
    limits: ClientLimits


class ModelList(_Part):
    """The answer to GET /models."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "models": [
                        {
                            **_MODEL,
                            "categories": ["0", "1", "2"],
                            "metrics": {"test_acc@1": 0.9956},
                            "test_images": 452,
                            "accuracy": 0.9956,
                            "reliability": [
                                {"low": 0.93, "high": 1.0, "images": 444, "confidence": 0.99, "accuracy": 1.0}
                            ],
                            "golden": [{"label": "7", "score": 0.958}],
                            "explain": {"cam": True, "occlusion": True},
                            "limits": {
                                "max_body_bytes": 33554432,
                                "max_images_per_request": 16,
                                "max_image_bytes": 33554432,
                                "max_image_pixels": 65000000,
                                "max_image_side_px": 20000,
                            },
                        }
                    ]
                }
            ]
        }
    )

    models: list[ModelInfo]


class ModelReport(_Part):
    """How good a model is, and how it was made."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {
                    **_MODEL,
                    "temperature": 0.8363,
                    "numbers": None,
                    "parity": {
                        "openvino-bf16": {
                            "images": 117,
                            "top1_agreement": 1.0,
                            "max_probability_difference": 0.00058,
                            "passed": True,
                        }
                    },
                    "provenance": {
                        "created_at": "2026-11-27T20:56:57Z",
                        "command": "sightline train digits",
                        "data": {"images": {"train": 1228, "val": 117, "test": 452}},
                        "config": {"arch": "simple_resnet"},
                        "code": {"sightline": "0.1.0"},
                    },
                    "worst": [{"label": "9", "predicted": "8", "score": 0.71}],
                    "card": "# digits/1 …",
                }
            ]
        },
    )

    name: str
    version: int
    digest: str
    architecture: str
    engine: str
    """Engine, device and precision that serve."""
    preprocessing: str
    """What happens to an image before the network sees it."""
    temperature: float
    """Divisor of the logits before the softmax."""
    numbers: TestNumbers | None = None
    """Of the serving engine, else of the reference; null if the bundle has none. No matrix beyond 100 categories."""
    parity: dict[str, Parity]
    """By engine."""
    provenance: Provenance
    worst: list[WorstEntry]
    """Images that it was most wrong about; GET /models/{name}/{version}/worst/{number} gives each."""
    card: str
    """The model card, in Markdown."""
