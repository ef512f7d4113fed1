import numpy as np
import pytest

from training.evaluation.calibration import fit_temperature
from training.evaluation.metrics import accuracy, negative_log_likelihood
from vision.prediction import probabilities


def honest(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is the true distribution of the labels."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (count, 5))
    labels = np.array([generator.choice(5, p=row) for row in probabilities(logits)])
    return logits, labels


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.5])
def test_the_temperature_undoes_over_and_underconfidence(factor: float) -> None:
    logits, labels = honest(20_000)
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor, rel=0.05)


def test_it_lowers_the_negative_log_likelihood_and_leaves_the_ranking() -> None:
    logits, labels = honest(2_000)
    sharp = logits * 3
    temperature = fit_temperature(sharp, labels)
    assert negative_log_likelihood(sharp, labels, temperature) < negative_log_likelihood(sharp, labels)
    assert accuracy(sharp / temperature, labels) == accuracy(sharp, labels)


def test_a_few_images_without_an_error_do_not_pull_it_to_the_bound() -> None:
    labels = np.arange(50) % 5
    logits = 8.0 * np.eye(5)[labels]
    assert 0.7 < fit_temperature(logits, labels) < 1.1


def test_accuracy_at_k_and_likelihood_by_hand() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.3, 0.6]]))
    labels = np.array([0, 1, 0])
    assert accuracy(logits, labels) == pytest.approx(1 / 3)
    assert accuracy(logits, labels, k=2) == pytest.approx(2 / 3)
    assert negative_log_likelihood(logits, labels) == pytest.approx(-np.log([0.7, 0.3, 0.1]).mean())
