"""The head on cached features: logistic regression, and the same head as one that would have learnt step by step."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional

from training.loop.features import PENALTIES, fit_head
from vision.architectures.classifier import hidden_layer_head, linear_head


def clusters(count: int, seed: int, apart: float = 1.5) -> tuple[torch.Tensor, torch.Tensor]:
    """Three clouds in 20 dimensions of very different scales."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    centres = np.random.default_rng(99).normal(0, apart, (3, 20))
    points = (centres[labels] + generator.normal(0, 2, (count, 20))) * np.logspace(-2, 2, 20) + 5
    return torch.from_numpy(points).float(), torch.from_numpy(labels)


def mean_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits, labels)


def test_a_linear_head_is_scikit_learns_logistic_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one penalty, on scaled features, whose scaling must have been folded into the weights."""
    monkeypatch.setattr("training.loop.features.PENALTIES", (1e-2,))
    (features, labels), (val, val_labels) = clusters(300, 0), clusters(100, 1)
    torch.manual_seed(0)
    head = linear_head(20, 3)
    fit_head(head, features, labels, val, val_labels, mean_loss)
    scale = (features.std(0) * features.std(0).mean()).sqrt()
    reference = LogisticRegression(C=1 / (1e-2 * len(labels)), max_iter=10_000, tol=1e-8).fit(
        (features - features.mean(0)) / scale, labels
    )
    expected = reference.predict_proba((val - features.mean(0)) / scale)
    with torch.inference_mode():
        got = head.eval()(val).softmax(1).numpy()
    assert np.abs(got - expected).max() < 2e-3


def test_the_validation_images_choose_the_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    (features, labels), (val, val_labels) = clusters(40, 0, apart=0.5), clusters(300, 1, apart=0.5)

    def val_loss(penalties: tuple[float, ...]) -> float:
        monkeypatch.setattr("training.loop.features.PENALTIES", penalties)
        torch.manual_seed(0)
        head = linear_head(20, 3)
        fit_head(head, features, labels, val, val_labels, mean_loss)
        with torch.inference_mode():
            return float(mean_loss(head.eval()(val), val_labels))

    assert val_loss(PENALTIES) <= min(val_loss((penalty,)) for penalty in (PENALTIES[0], PENALTIES[-1])) + 1e-3


@pytest.mark.parametrize("make", [linear_head, hidden_layer_head])
def test_it_is_the_same_twice_and_learns(make) -> None:
    (features, labels), (val, val_labels) = clusters(300, 0, apart=3), clusters(100, 1, apart=3)
    fitted = []
    for _ in range(2):
        torch.manual_seed(0)
        head = make(20, 3)
        train_loss = fit_head(head, features, labels, val, val_labels, mean_loss)
        fitted.append([parameter.clone() for parameter in head.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*fitted, strict=True))
    assert train_loss < 0.5
    with torch.inference_mode():
        assert (head.eval()(val).argmax(1) == val_labels).float().mean() > 0.9


def test_a_feature_that_never_changes_does_no_harm() -> None:
    (features, labels), (val, val_labels) = clusters(100, 0), clusters(50, 1)
    features[:, 3], val[:, 3] = 7.0, 7.0
    head = linear_head(20, 3)
    fit_head(head, features, labels, val, val_labels, mean_loss)
    assert all(torch.isfinite(parameter).all() for parameter in head.parameters())
