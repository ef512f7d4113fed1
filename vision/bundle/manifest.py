"""manifest.json, typed: what a bundle says about itself.

    models/digits/1/
      manifest.json       this; lists every other file with size and sha256
      manifest.sha256     its sha256, as `sha256sum -c` reads it; the first 12 digits are the bundle's digest
      model.safetensors   the weights
      openvino/           the same network as OpenVINO IR: uint8 NHWC in, logits out, the normalisation inside
      openvino-int8/      the same in 8-bit integers, if requested and within its gate
      model.pt2 model.onnx  the same for other runtimes, if requested
      golden/             a few real images and the probabilities that must be reproduced
      worst/              up to 24 small pictures of test images that were answered wrongly
      metrics.json        every number of the test images, for each engine
      baseline.json       statistics of the answers to the test images, to detect drift
      MODEL_CARD.md       for people

A reader refuses a `format_version` or a field that it does not know.
"""

import re
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vision.preprocessing import Preprocessing

MANIFEST_FILE = "manifest.json"
CHECKSUM_FILE = "manifest.sha256"
WEIGHTS_FILE = "model.safetensors"
OPENVINO_FILE = "openvino/model.xml"
OPENVINO_INT8_FILE = "openvino-int8/model.xml"
PT2_FILE = "model.pt2"
ONNX_FILE = "model.onnx"
METRICS_FILE = "metrics.json"
BASELINE_FILE = "baseline.json"
CARD_FILE = "MODEL_CARD.md"
# The key under which the IR names the preprocessing that it holds.
OPENVINO_PREPROCESSING = ("sightline", "preprocessing")
GOLDEN_FILE = "golden/expected.json"

MAX_CATEGORIES = 100_000
MAX_CATEGORY_LENGTH = 200
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ModelName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


def is_category(name: str) -> bool:
    """Whether this can be the name of a category."""
    return bool(name.strip()) and len(name) <= MAX_CATEGORY_LENGTH and name.isprintable()


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class FileEntry(_Part):
    """One file of the bundle."""

    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=0)]


class ArchitectureEntry(_Part):
    """The network: a name in the registry and the arguments of its function."""

    name: str
    arguments: dict[str, Any] = {}


class Parity(_Part):
    """How one engine's answers differ from the reference's (torch in float32) on the validation images."""

    images: Annotated[int, Field(ge=1)]
    top1_agreement: Annotated[float, Field(ge=0, le=1)]
    """Share of the images whose best label is the same."""
    max_probability_difference: Annotated[float, Field(ge=0, le=1)]
    """The largest difference over all images and categories."""
    passed: bool
    """Whether that is within the engine's gate. An engine that did not pass never serves."""


class Provenance(_Part):
    """Where the bundle comes from. Serving ignores it; `evaluate` and `export` read `config` and the data's hash."""

    created_at: datetime
    """UTC."""
    command: str
    """The command that made the bundle."""
    data: dict[str, Any]
    """Fingerprint and counts of the images. The configuration's seed and shares decide which image is in which part."""
    config: dict[str, Any]
    """The whole training configuration."""
    code: dict[str, str]
    """Versions of this project and of the libraries that computed the weights; and the commit, if there is one."""


class Manifest(_Part):
    """The contract between training and serving."""

    format: Literal["sightline-bundle"] = "sightline-bundle"
    format_version: Literal[1] = 1
    name: ModelName
    """Lower-case letters, digits, `-` and `_`; the name of the folder above."""
    version: Annotated[int, Field(ge=1)]
    """The name of the bundle's own folder; versions are never overwritten."""
    architecture: ArchitectureEntry
    categories: Annotated[tuple[str, ...], Field(min_length=2, max_length=MAX_CATEGORIES)]
    """In the order of the network's outputs."""
    preprocessing: Preprocessing
    temperature: Annotated[float, Field(ge=0.01, le=100)]
    """Divisor of the logits before the softmax, fitted on the validation images."""
    metrics: dict[str, float]
    """Measured on held-out images, e.g. `test_acc@1`, 0 to 1."""
    parity: dict[str, Parity] = {}
    """By engine, e.g. `openvino-bf16`. Engines that are not named were not measured when the bundle was made."""
    provenance: Provenance
    files: dict[str, FileEntry]
    """Every file of the bundle but the manifest and its checksum, by its path relative to the bundle."""

    @field_validator("categories")
    @classmethod
    def _distinct_printable(cls, categories: tuple[str, ...]) -> tuple[str, ...]:
        for category in categories:
            if not is_category(category):
                raise ValueError(f"category {category!r} must be 1 to {MAX_CATEGORY_LENGTH} printable characters")
        if len(set(categories)) != len(categories):
            raise ValueError("two categories have the same name")
        return categories

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for name in files:
            parts = PurePosixPath(name).parts
            if not re.fullmatch(r"[A-Za-z0-9_.\-/]+", name) or name != "/".join(parts) or {"..", ".", "/"} & set(parts):
                raise ValueError(f"file {name!r} must be a plain relative path")
            if name in (MANIFEST_FILE, CHECKSUM_FILE):
                raise ValueError(f"file {name!r} cannot list itself")
        return files

    @model_validator(mode="after")
    def _complete(self) -> Self:
        weights = [xml.removesuffix("xml") + "bin" for xml in (OPENVINO_FILE, OPENVINO_INT8_FILE) if xml in self.files]
        for required in (WEIGHTS_FILE, GOLDEN_FILE, *weights):
            if required not in self.files:
                raise ValueError(f"files must list {required}")
        return self
