"""Temperature scaling (Guo et al., https://arxiv.org/abs/1706.04599): one number that calibrates probabilities.

It never changes a ranking, so accuracy stays the same. It is fitted on the validation images, stored in the bundle and
applied by the service.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from training.evaluation.metrics import negative_log_likelihood

# Temperatures beyond these mean that the fit failed.
BOUNDS = (0.2, 5.0)
# A few validation images without an error would pull the temperature to 0. So its logarithm has a normal prior around 0
# with this deviation, which matters if there are few images and not if there are many.
_PRIOR_DEVIATION = 0.5


def fit_temperature(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> float:
    """The most probable temperature in BOUNDS for (N, classes) logits and their (N,) labels; N at least 1."""

    def cost(log_temperature: float) -> float:
        evidence = len(labels) * negative_log_likelihood(logits, labels, math.exp(log_temperature))
        return evidence + log_temperature**2 / (2 * _PRIOR_DEVIATION**2)

    low, high = (math.log(bound) for bound in BOUNDS)
    found = minimize_scalar(cost, bounds=(low, high), method="bounded")
    return float(math.exp(found.x))
