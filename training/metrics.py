"""How good logits are. NumPy only; the reference that reports and tests share."""

import numpy as np
import numpy.typing as npt

from vision.prediction import probabilities


def accuracy(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], k: int = 1) -> float:
    """The share of images whose label is among the k highest of (N, classes) logits; 0 to 1."""
    best = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    return float((best == labels[:, None]).any(axis=1).mean())


def negative_log_likelihood(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], temperature: float = 1.0) -> float:
    """The mean of -ln(probability of the label), in nats; 0 is perfect."""
    chosen = probabilities(logits, temperature)[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean())
