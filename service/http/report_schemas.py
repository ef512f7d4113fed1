"""The JSON of GET /models and of a model's report."""

from pydantic import BaseModel, ConfigDict

from vision.bundle.manifest import Parity, Provenance
from vision.bundle.numbers import ReliabilityBin, TestNumbers
from vision.bundle.worst import WorstEntry


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
    """Whether the network ends in a mean and one linear layer; null if only a request can tell."""
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
    """Number of the images that it was measured on; null if the bundle does not say."""
    reliability: list[ReliabilityBin]
    """How often answers of each probability were right on those images; empty bins are left out."""
    golden: list[GoldenImage]
    """The images that prove the bundle."""
    explain: Explainable | None
    """Null if explanations are switched off."""
    limits: ClientLimits


class ModelList(_Part):
    """The answer to GET /models."""

    models: list[ModelInfo]


class ModelReport(_Part):
    """How good a model is, and how it was made."""

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
    numbers: TestNumbers | None
    """Of the serving engine, else of the reference; null if the bundle has none. No matrix beyond 100 categories."""
    parity: dict[str, Parity]
    """By engine."""
    provenance: Provenance
    worst: list[WorstEntry]
    """Images that it was most wrong about; GET /models/{name}/{version}/worst/{number} gives each."""
    card: str
    """The model card, in Markdown."""
