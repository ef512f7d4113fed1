"""manifest.json, typed: everything that a bundle says of itself.

    models/digits/1/
      manifest.json       this; lists every other file with size and sha256
      manifest.sha256     the manifest's own sha256, as `sha256sum -c` reads it; its first 12 digits are the bundle's digest
      model.safetensors   the weights
      openvino/           the same network as OpenVINO IR: uint8 NHWC in, logits out, the normalisation inside
      golden/             a few real images and the probabilities that must come out

Versioned: a reader refuses a `format_version` that it does not know, and any field that it does not know.
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
# Where the IR says which preprocessing it holds.
OPENVINO_PREPROCESSING = ("sightline", "preprocessing")
GOLDEN_FILE = "golden/expected.json"

MAX_CATEGORIES = 100_000
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ModelName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class FileEntry(_Part):
    """One file of the bundle."""

    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=0)]


class ArchitectureEntry(_Part):
    """How to build the network: a name in the registry and the arguments of its function."""

    name: str
    arguments: dict[str, Any] = {}


class Provenance(_Part):
    """Where the bundle comes from; for people and for audits, never for decisions."""

    created_at: datetime
    """UTC."""
    command: str
    """What was run."""
    data: dict[str, Any]
    """Fingerprint and counts of the images; which image is in which part follows from the configuration's seed and shares."""
    config: dict[str, Any]
    """The whole training configuration."""
    code: dict[str, str]
    """Versions of this project and of the libraries that computed the weights; the commit, where there is one."""


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
    """What logits are divided by before the softmax; fitted on the validation images."""
    metrics: dict[str, float]
    """Measured on held-out images, e.g. `test_acc@1`, 0 to 1."""
    provenance: Provenance
    files: dict[str, FileEntry]
    """Every file of the bundle but the manifest and its checksum, by its path relative to the bundle."""

    @field_validator("categories")
    @classmethod
    def _distinct_printable(cls, categories: tuple[str, ...]) -> tuple[str, ...]:
        for category in categories:
            if not category.strip() or len(category) > 200 or not category.isprintable():
                raise ValueError(f"category {category!r} must be 1 to 200 printable characters")
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
        openvino_weights = OPENVINO_FILE.removesuffix("xml") + "bin"
        for required in (WEIGHTS_FILE, GOLDEN_FILE, *((openvino_weights,) if OPENVINO_FILE in self.files else ())):
            if required not in self.files:
                raise ValueError(f"files must list {required}")
        return self
