"""Temperature scaling (Guo et al., https://arxiv.org/abs/1706.04599): one number that makes probabilities honest.

It never changes a ranking, so no accuracy is lost. Fitted on the validation images, stored in the bundle, applied by the
service.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from training.evaluation.metrics import negative_log_likelihood

# Beyond these a temperature says that the fit failed, not that it succeeded.
BOUNDS = (0.2, 5.0)
# A few validation images without a single error would pull the temperature to 0. So its logarithm gets a normal prior around
# 0 with this deviation: it decides where there is little evidence and vanishes where there is much.
_PRIOR_DEVIATION = 0.5


def fit_temperature(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> float:
    """The most probable temperature in BOUNDS for (N, classes) logits and their (N,) labels; N at least 1."""

    def cost(log_temperature: float) -> float:
        evidence = len(labels) * negative_log_likelihood(logits, labels, math.exp(log_temperature))
        return evidence + log_temperature**2 / (2 * _PRIOR_DEVIATION**2)

    low, high = (math.log(bound) for bound in BOUNDS)
    found = minimize_scalar(cost, bounds=(low, high), method="bounded")
    return float(math.exp(found.x))
