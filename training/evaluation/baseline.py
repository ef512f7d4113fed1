"""What answers looked like when a model was made, so that a service can notice that they have changed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vision.prediction import probabilities

HISTOGRAM_BINS = 20


def drift_baseline(
    logits: npt.NDArray[np.floating], train_labels: npt.NDArray[np.int64], categories: Sequence[str], temperature: float
) -> dict[str, Any]:
    """Shares, 0 to 1.

    Args:
        logits: (N, classes) of the test images.
        train_labels: of the training images.
        categories: in the order of the logits.
        temperature: the bundle's.

    Returns:
        `images`, `label_shares` of the training images, `predicted_shares` of the best labels of the test images, and
        `confidence_histogram`: the shares of the test images by the probability of the best label, in 20 bins from 0 to 1.
    """
    scores = probabilities(logits, temperature)
    confidence, _ = np.histogram(scores.max(axis=1), bins=HISTOGRAM_BINS, range=(0, 1))
    predicted = np.bincount(scores.argmax(axis=1), minlength=len(categories)) / len(scores)
    labels = np.bincount(train_labels, minlength=len(categories)) / len(train_labels)
    return {
        "images": len(scores),
        "label_shares": dict(zip(categories, labels.round(6).tolist(), strict=True)),
        "predicted_shares": dict(zip(categories, predicted.round(6).tolist(), strict=True)),
        "confidence_histogram": (confidence / len(scores)).round(6).tolist(),
    }
