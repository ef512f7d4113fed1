"""metrics.json, typed: what a bundle's model reached on the test images, as far as a service shows it."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from vision.bundle.manifest import METRICS_FILE

_REFERENCE = "torch-f32"
_ENGINES: TypeAdapter[dict[str, dict[str, object]]] = TypeAdapter(dict[str, dict[str, object]])
Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, use_attribute_docstrings=True)


class ReliabilityBin(_Part):
    """The test images whose best probability lies between two bounds."""

    low: Share
    """Lower bound of the probability."""
    high: Share
    """Upper bound of the probability."""
    images: Annotated[int, Field(ge=0)]
    """Number of images."""
    confidence: Share
    """Their mean probability."""
    accuracy: Share
    """The share of them that is right."""


class CategoryNumbers(_Part):
    """One category."""

    precision: Share
    recall: Share
    f1: Share
    images: Annotated[int, Field(ge=0)]


class ConfusedPair(_Part):
    """Images of one category that were answered with another."""

    label: str
    predicted: str
    images: Annotated[int, Field(ge=1)]


class TestNumbers(_Part):
    """The numbers of one engine."""

    __test__ = False  # not a test of pytest's

    images: Annotated[int, Field(ge=1)]
    """Number of test images."""
    accuracy: Annotated[Share, Field(validation_alias="acc@1")]
    """Share of the images whose best label is right."""
    accuracy_interval: Annotated[tuple[Share, Share], Field(validation_alias="acc@1_interval")]
    """Its 95 % interval."""
    macro_f1: Share
    """Mean F1 over the categories."""
    ece: Share
    """Expected calibration error."""
    ece_before: Share
    """The same without the temperature."""
    categories: dict[str, CategoryNumbers]
    """By category."""
    confusion: list[list[Annotated[int, Field(ge=0)]]]
    """Counts: a row for each true category, a column for each answer."""
    most_confused: list[ConfusedPair]
    """The most frequent mistakes, the most frequent first."""
    reliability: list[ReliabilityBin]
    """By probability, as answered."""
    reliability_before: list[ReliabilityBin]
    """The same without the temperature."""

    @classmethod
    def read(cls, files: Mapping[str, bytes], engine: str) -> Self | None:
        """The numbers of an engine among a bundle's files, else of the reference; None if the bundle has none.

        A bundle made by other means may lack the file or write another one, which must not keep it from serving.
        """
        try:
            engines = _ENGINES.validate_json(files[METRICS_FILE])
            return cls.model_validate(engines.get(engine) or engines[_REFERENCE])
        except (KeyError, ValidationError):
            return None
