"""Golden samples: real images in a bundle, with the probabilities that every engine must reproduce.

They check everything that can differ between training and serving: decoder, resize, normalisation, weights, engine,
temperature and the order of the categories. An engine that cannot reproduce them is not used; a replica that cannot
reproduce them does not become ready.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

MAX_SAMPLES = 8
# The largest allowed difference of a probability. float32 engines differ by about 1e-6; bfloat16 keeps 8 bits of
# mantissa, which moves a probability of 0.9 by up to about 0.01. A wrong mean, a swapped channel or a permuted category
# moves it by far more.
TOLERANCE = 0.02


class GoldenExpectation(BaseModel):
    """golden/expected.json: categories in order, and for each file its calibrated probabilities (torch, float32)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tolerance: Annotated[float, Field(gt=0, le=0.1)]
    categories: tuple[str, ...]
    probabilities: Annotated[
        dict[str, list[Annotated[float, Field(ge=0, le=1)]]], Field(min_length=1, max_length=MAX_SAMPLES)
    ]


@dataclass(frozen=True)
class Golden:
    """The samples, loaded.

    Attributes:
        names: file names in golden/, in order.
        images: the encoded images, as a client would send them.
        probabilities: (samples, classes), each row adding up to 1.
        tolerance: the largest allowed difference of a probability, 0 to 0.1.
    """

    names: tuple[str, ...]
    images: tuple[bytes, ...]
    probabilities: npt.NDArray[np.float64]
    tolerance: float

    def difference(self, probabilities: npt.NDArray[np.floating], tolerance: float) -> str | None:
        """How these (samples, classes) probabilities differ from the expected ones; None if within the tolerance."""
        if probabilities.shape != self.probabilities.shape:
            return f"the answer has shape {probabilities.shape}, expected {self.probabilities.shape}"
        if not np.isfinite(probabilities).all():
            return "the answer holds values that are not finite"
        apart = np.abs(probabilities - self.probabilities).max(axis=1)
        worst = int(apart.argmax())
        if apart[worst] > tolerance:
            name = f"golden/{self.names[worst]}"
            return f"{name} differs by {apart[worst]:.4f} in a probability, at most {tolerance} is allowed"
        return None
