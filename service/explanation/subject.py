"""What is explained: one bundle with its taps, and one decoded image of it. Lives in the explaining process."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from vision.bundle.store import Bundle
from vision.engines.engine import Engine
from vision.engines.taps import Observation, Taps
from vision.explanation import is_exact
from vision.geometry import seen
from vision.image import DecodedImage, DecodeLimits, Pixels, decode
from vision.prediction import probabilities, top_k

_SHOWN_LABELS = 5


class Subject:
    """The network.

    Args:
        bundle: verified.
        taps: on the same bundle.
        twin: a copy of the engine that serves, for comparison; None if it serves on another device.
        limits: for decoding.

    Attributes:
        exact: whether the last maps and the linear head give the logits, proved on the golden images.
    """

    def __init__(self, bundle: Bundle, taps: Taps, twin: Engine | None, limits: DecodeLimits) -> None:
        self.bundle = bundle
        self.taps = taps
        self.twin = twin
        self.limits = limits
        self.preprocessing = bundle.manifest.preprocessing
        self.categories = bundle.manifest.categories
        golden = [self.preprocessing.apply(self._decode(image).pixels) for image in bundle.golden.images]
        self.exact = is_exact(taps, golden)

    def scores(self, logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """(…, classes) logits → calibrated probabilities."""
        return probabilities(logits, self.bundle.manifest.temperature)

    def ranked(self, scores: npt.NDArray[np.floating]) -> list[dict[str, Any]]:
        """The best labels of (classes,) probabilities as JSON."""
        best = top_k(scores, self.categories, _SHOWN_LABELS)
        return [{"label": label, "score": round(score, 6)} for label, score in best]

    def agreement(self, look: "Look") -> dict[str, Any] | None:
        """How far the serving engine's probabilities are from those of the taps; None without a twin."""
        if self.twin is None:
            return None
        apart = np.abs(self.scores(self.twin.infer(look.square[None])[0]) - self.scores(look.seen.logits)).max()
        return {"engine": self.twin.description, "largest_difference": round(float(apart), 6)}

    def look_at(self, data: bytes) -> "Look":
        """Decodes an image.

        Raises:
            ImageError: it is refused.
        """
        return Look(self, data, self._decode(data))

    def _decode(self, data: bytes) -> DecodedImage:
        return decode(data, self.limits, self.preprocessing.colours)


@dataclass(frozen=True)
class Look:
    """One image before the network.

    Attributes:
        subject: the network.
        data: the file.
        decoded: the upright image and the format.
    """

    subject: Subject
    data: bytes
    decoded: DecodedImage

    @cached_property
    def square(self) -> Pixels:
        """uint8 (S, S, C), as the network gets it."""
        return self.subject.preprocessing.apply(self.decoded.pixels)

    @cached_property
    def seen(self) -> Observation:
        """What the taps show."""
        return self.subject.taps.observe(self.square)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the upright image."""
        return self.decoded.pixels.shape[1], self.decoded.pixels.shape[0]

    @property
    def box(self) -> Sequence[float]:
        """The network's square on the upright image; see `vision.geometry.seen`."""
        return [round(edge, 3) for edge in seen(self.subject.preprocessing, *self.size)]
