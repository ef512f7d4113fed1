"""Logits → calibrated, ranked labels. NumPy only."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Prediction(NamedTuple):
    """One ranked answer: a category's name and its calibrated probability, 0 to 1."""

    label: str
    score: float


def probabilities(logits: npt.NDArray[np.floating], temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Softmax of logits ÷ temperature over the last axis, in float64.

    Args:
        logits: (…, classes).
        temperature: > 0, as fitted on the validation images; above 1 it softens, below 1 it sharpens.
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    exponents = np.exp(scaled)
    result: npt.NDArray[np.float64] = exponents / exponents.sum(axis=-1, keepdims=True)
    return result


def top_k(scores: npt.NDArray[np.floating], categories: Sequence[str], k: int) -> list[Prediction]:
    """The k most probable categories, the best first; ties keep the order of the categories.

    Args:
        scores: (classes,) probabilities.
        categories: names in the order of the model's outputs.
        k: at least 1; more than there are categories gives all of them.
    """
    order = np.argsort(-scores, kind="stable")[:k]
    return [Prediction(categories[index], float(scores[index])) for index in order]
