"""The answer for one image: which model gave it, the probabilities, and the time of each stage. NumPy only."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vision.prediction import Prediction, top_k


class ModelId(NamedTuple):
    """Exactly one model.

    Attributes:
        name: lower-case letters, digits, `-` and `_`.
        version: at least 1.
        digest: first 12 hexadecimal digits of the manifest's sha256.
    """

    name: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds that one image spent in each stage, in the order of the stages.

    Attributes:
        queue: waiting for a worker.
        decode: decoding.
        preprocess: resizing and cropping.
        inference: its batch in the engine.
        postprocess: its batch's logits becoming probabilities.
    """

    queue: float = 0.0
    decode: float = 0.0
    preprocess: float = 0.0
    inference: float = 0.0
    postprocess: float = 0.0


STAGES = tuple(field.name for field in fields(Timings))
"""The stages of an image; the same names in answers, metrics and traces."""


@dataclass(frozen=True)
class Classification:
    """What one model says of one image.

    Attributes:
        model: the model that gave this answer.
        categories: names in the order of the scores.
        scores: (classes,) calibrated probabilities, 0 to 1.
        width: pixels of the upright image.
        height: pixels of the upright image.
        timings: seconds by stage; all 0 for an answer from the cache.
        warning: what the file says of its colours and was ignored, as a sentence; empty if there is nothing.
    """

    model: ModelId
    categories: Sequence[str]
    scores: npt.NDArray[np.float64]
    width: int
    height: int
    timings: Timings
    warning: str = ""

    @property
    def best(self) -> Prediction:
        """The most probable category; the first of several with the same probability."""
        index = int(self.scores.argmax())
        return Prediction(self.categories[index], float(self.scores[index]))

    def top(self, k: int) -> list[Prediction]:
        """The k most probable categories, the best first; see `vision.prediction.top_k`."""
        return top_k(self.scores, self.categories, k)
