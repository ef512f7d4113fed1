"""Phase 0: fits the head on features that the frozen backbone computes once, which takes seconds.

With a linear head this is multinomial logistic regression with an L2 penalty; the validation images choose its
strength. A head with a hidden layer is fitted in the same way.
"""

import copy
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

# Factors of ½‖w‖² on scaled features, which is added to the mean loss: 0.001 to 1. Each fit starts from the previous
# one. Go from weak to strong: a strong penalty zeroes the hidden layer, and later fits cannot recover.
PENALTIES = tuple(10 ** (step / 4 - 3) for step in range(13))
_ITERATIONS = 60
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def fit_head(
    head: nn.Module,
    features: torch.Tensor,
    labels: torch.Tensor,
    val_features: torch.Tensor,
    val_labels: torch.Tensor,
    loss: Loss,
) -> float:
    """Fits the head by L-BFGS, in place.

    Args:
        head: (N, features) → (N, classes); its dropout is off, its BatchNorm keeps its statistics.
        features: (N, features) float32 of the training images.
        labels: (N,) int64.
        val_features: (M, features) of the validation images.
        val_labels: (M,).
        loss: (logits, labels) → the mean training loss.

    Returns:
        The training loss of the kept head.
    """
    # Pareto scaling (https://doi.org/10.1186/1471-2164-7-142) keeps features that vary little smaller than the others.
    mean, deviation = features.mean(0), features.std(0).clamp_min(1e-6)
    scale = (deviation * deviation.mean()).sqrt()
    features, val_features = (features - mean) / scale, (val_features - mean) / scale
    head.eval()
    best_loss, best, train_loss = float("inf"), copy.deepcopy(head.state_dict()), float("nan")
    for penalty in PENALTIES:
        fitted = _minimise(head, features, labels, penalty, loss)
        with torch.inference_mode():
            val_loss = float(functional.cross_entropy(head(val_features), val_labels))
        if val_loss < best_loss:
            best_loss, best, train_loss = val_loss, copy.deepcopy(head.state_dict()), fitted
        else:
            break  # stronger penalties fit worse still
    head.load_state_dict(best)
    _take_over_scaling(head, mean, scale)
    return train_loss


def _minimise(head: nn.Module, features: torch.Tensor, labels: torch.Tensor, penalty: float, loss: Loss) -> float:
    weights = [parameter for parameter in head.parameters() if parameter.ndim > 1]
    optimizer = torch.optim.LBFGS(
        head.parameters(), max_iter=_ITERATIONS, history_size=10, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )
    data = torch.zeros(())

    def closure() -> torch.Tensor:
        nonlocal data
        optimizer.zero_grad()
        data = loss(head(features), labels)
        total = data + penalty / 2 * torch.stack([weight.square().sum() for weight in weights]).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    optimizer.zero_grad()
    return float(data.detach())


def _take_over_scaling(head: nn.Module, mean: torch.Tensor, scale: torch.Tensor) -> None:
    """Moves the scaling of the features into the first linear layer."""
    first = next(module for module in head.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        first.weight.div_(scale)
        first.bias.sub_(first.weight @ mean)
