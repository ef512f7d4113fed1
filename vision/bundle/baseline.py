"""baseline.json: statistics of a model's answers when it was made, so that a service can detect drift."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vision.bundle.manifest import BASELINE_FILE
from vision.errors import ManifestInvalid

HISTOGRAM_BINS = 20
Share = Annotated[float, Field(ge=0, le=1)]


class Baseline(BaseModel):
    """Shares of images, 0 to 1."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    images: Annotated[int, Field(ge=1)]
    """Number of test images."""
    label_shares: dict[str, Share]
    """Share of each category among the training images."""
    predicted_shares: dict[str, Share]
    """Share of each category among the best labels of the test images."""
    confidence_histogram: list[Share]
    """Share of the test images by the probability of the best label, in 20 bins of equal width from 0 to 1."""

    @classmethod
    def measure(
        cls, scores: npt.NDArray[np.floating], train_labels: npt.NDArray[np.int64], categories: Sequence[str]
    ) -> Self:
        """The baseline of a model.

        Args:
            scores: (N, classes) calibrated probabilities of the test images.
            train_labels: of the training images.
            categories: in the order of the scores.
        """
        confidence, _ = np.histogram(scores.max(axis=1), bins=HISTOGRAM_BINS, range=(0, 1))
        predicted = np.bincount(scores.argmax(axis=1), minlength=len(categories)) / len(scores)
        labels = np.bincount(train_labels, minlength=len(categories)) / len(train_labels)
        return cls(
            images=len(scores),
            label_shares=dict(zip(categories, labels.round(6).tolist(), strict=True)),
            predicted_shares=dict(zip(categories, predicted.round(6).tolist(), strict=True)),
            confidence_histogram=(confidence / len(scores)).round(6).tolist(),
        )

    @classmethod
    def read(cls, files: Mapping[str, bytes]) -> Self | None:
        """The baseline among a bundle's files; None if the bundle has none.

        Raises:
            ManifestInvalid: baseline.json is not a baseline.
        """
        if BASELINE_FILE not in files:
            return None
        try:
            return cls.model_validate_json(files[BASELINE_FILE])
        except ValidationError as error:
            first = error.errors()[0]
            raise ManifestInvalid(BASELINE_FILE, f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
