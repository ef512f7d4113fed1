"""Metrics of logits: accuracy, likelihood, calibration. NumPy only."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vision.prediction import probabilities

Logits = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]
# Guo et al., https://arxiv.org/abs/1706.04599, section 5.
CALIBRATION_BINS = 15
_RESAMPLES = 2000


class Bin(NamedTuple):
    """The images whose confidence lies between two bounds.

    Attributes:
        low: 0 to 1.
        high: 0 to 1.
        images: number of images.
        confidence: their mean confidence, 0 to 1; the middle of an empty bin.
        accuracy: the share that is right, 0 to 1; 0 in an empty bin.
    """

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


def accuracy(logits: Logits, labels: Labels, k: int = 1) -> float:
    """The share of images whose label is among the k highest of (N, classes) logits; 0 to 1."""
    best = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    return float((best == labels[:, None]).any(axis=1).mean())


def accuracy_interval(logits: Logits, labels: Labels) -> tuple[float, float]:
    """The 95 % bootstrap interval of acc@1, by percentiles of 2,000 resamples with a fixed seed; both 0 to 1."""
    right = logits.argmax(axis=1) == labels
    # The number of right images in a resample is binomial, so it is drawn directly.
    drawn = np.random.default_rng(0).binomial(len(right), right.mean(), _RESAMPLES) / len(right)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def negative_log_likelihood(logits: Logits, labels: Labels, temperature: float = 1.0) -> float:
    """The mean of -ln(probability of the label), in nats; 0 is perfect."""
    return float(losses(logits, labels, temperature).mean())


def losses(logits: Logits, labels: Labels, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """(N,): -ln(probability of the label) of each image, in nats."""
    chosen = probabilities(logits, temperature)[np.arange(len(labels)), labels]
    result: npt.NDArray[np.float64] = -np.log(np.maximum(chosen, np.finfo(np.float64).tiny))
    return result


def brier_score(logits: Logits, labels: Labels, temperature: float = 1.0) -> float:
    """The mean squared distance of probabilities and truth over all categories (Brier, 1950), 0 to 2; 0 is perfect."""
    truth = np.eye(logits.shape[1])[labels]
    return float(np.square(probabilities(logits, temperature) - truth).sum(axis=1).mean())


def calibration_bins(logits: Logits, labels: Labels, temperature: float = 1.0) -> list[Bin]:
    """The images by confidence, in CALIBRATION_BINS bins of equal width."""
    scores = probabilities(logits, temperature)
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    place = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    bins = []
    for index, (low, high) in enumerate(pairwise(edges)):
        inside = place == index
        count = int(inside.sum())
        mean = float(confidence[inside].mean()) if count else (low + high) / 2
        bins.append(Bin(float(low), float(high), count, mean, float(right[inside].mean()) if count else 0.0))
    return bins


def expected_calibration_error(bins: list[Bin]) -> float:
    """The mean difference of confidence and accuracy, weighted by images; 0 to 1, 0 is perfect."""
    total = sum(entry.images for entry in bins)
    return sum(entry.images * abs(entry.confidence - entry.accuracy) for entry in bins) / total
