"""The numbers of a report, against other people's code and against numbers worked out by hand."""

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import brier_score_loss, log_loss, top_k_accuracy_score

from training.evaluation.metrics import (
    CALIBRATION_BINS,
    accuracy,
    accuracy_interval,
    brier_score,
    calibration_bins,
    expected_calibration_error,
    losses,
    negative_log_likelihood,
)
from vision.prediction import probabilities

THREE = np.log(np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.3, 0.6]]))
LABELS = np.array([0, 1, 0])


def honest(count: int, classes: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is the true distribution of the labels."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (count, classes))
    labels = np.array([generator.choice(classes, p=row) for row in probabilities(logits)])
    return logits, labels


def right_and_wrong(right: int, wrong: int) -> tuple[np.ndarray, np.ndarray]:
    logits = np.tile([2.0, 1.0], (right + wrong, 1))
    return logits, np.array([0] * right + [1] * wrong)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_accuracy_at_k_is_scikit_learns(k: int) -> None:
    logits, labels = honest(300, classes=6)
    assert accuracy(logits, labels, k) == pytest.approx(top_k_accuracy_score(labels, logits, k=k, labels=range(6)))


def test_accuracy_at_as_many_as_there_are_is_1_and_ties_go_to_the_first_category() -> None:
    assert accuracy(THREE, LABELS, k=5) == 1.0
    assert accuracy(np.zeros((4, 3)), np.array([0, 0, 1, 2])) == 0.5


@pytest.mark.parametrize(("right", "wrong"), [(900, 100), (450, 550), (970, 30)])
def test_the_interval_is_that_of_a_bootstrap_over_the_images(right: int, wrong: int) -> None:
    logits, labels = right_and_wrong(right, wrong)
    hits = (logits.argmax(axis=1) == labels).astype(float)
    expected = bootstrap(
        (hits,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    tolerance = 0.2 * (right * wrong / 1000**3) ** 0.5
    assert tolerance < 0.01
    assert accuracy_interval(logits, labels) == pytest.approx((expected.low, expected.high), abs=tolerance)


def test_the_interval_holds_the_accuracy_narrows_with_images_and_is_the_same_each_time() -> None:
    few, many = accuracy_interval(*right_and_wrong(16, 4)), accuracy_interval(*right_and_wrong(1600, 400))
    for low, high in (few, many):
        assert 0 <= low < 0.8 < high <= 1
    assert few[1] - few[0] > 5 * (many[1] - many[0])
    assert len({accuracy_interval(*right_and_wrong(80_000, 20_000)) for _ in range(3)}) == 1
    assert accuracy_interval(*right_and_wrong(9, 0)) == (1.0, 1.0)


def test_losses_are_minus_the_logarithm_of_the_labels_probability() -> None:
    np.testing.assert_allclose(losses(THREE, LABELS), -np.log([0.7, 0.3, 0.1]))
    np.testing.assert_allclose(losses(2 * THREE, LABELS, 2.0), -np.log([0.7, 0.3, 0.1]))
    assert negative_log_likelihood(THREE, LABELS) == pytest.approx(-np.log([0.7, 0.3, 0.1]).mean())


def test_the_likelihood_is_scikit_learns() -> None:
    logits, labels = honest(200)
    assert negative_log_likelihood(logits, labels, 1.7) == pytest.approx(
        log_loss(labels, probabilities(logits, 1.7), labels=range(5))
    )


def test_an_answer_that_is_certain_and_wrong_costs_much_but_not_infinitely() -> None:
    (certain,) = losses(np.array([[1e6, 0.0]]), np.array([1]))
    assert 700 < certain < 710


def test_the_brier_score_by_hand() -> None:
    by_hand = (0.3**2 + 0.2**2 + 0.1**2 + 0.5**2 + 0.7**2 + 0.2**2 + 0.9**2 + 0.3**2 + 0.6**2) / 3
    assert brier_score(THREE, LABELS) == pytest.approx(by_hand)
    assert brier_score(3 * THREE, LABELS, 3.0) == pytest.approx(by_hand)
    assert brier_score(np.array([[99.0, -99.0]]), np.array([1])) == pytest.approx(2.0)
    assert brier_score(np.array([[99.0, -99.0]]), np.array([0])) == pytest.approx(0.0)


def test_for_two_categories_the_brier_score_is_twice_scikit_learns() -> None:
    logits, labels = honest(300, classes=2)
    assert brier_score(logits, labels) == pytest.approx(2 * brier_score_loss(labels, probabilities(logits)[:, 1]))


@pytest.mark.parametrize("temperature", [0.1, 1.0, 5.0])
def test_the_bins_share_out_all_images_by_confidence(temperature: float) -> None:
    logits, labels = honest(2000)
    scores = probabilities(logits, temperature)
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    bins = calibration_bins(logits, labels, temperature)
    assert len(bins) == CALIBRATION_BINS
    assert [entry.low for entry in bins] == pytest.approx(
        [index / CALIBRATION_BINS for index in range(CALIBRATION_BINS)]
    )
    assert [entry.high for entry in bins[:-1]] == [entry.low for entry in bins[1:]]
    assert bins[-1].high == 1.0
    assert sum(entry.images for entry in bins) == 2000
    for entry in bins:
        inside = (confidence > entry.low) & (confidence <= entry.high)
        assert entry.images == inside.sum()
        if entry.images:
            assert entry.confidence == pytest.approx(confidence[inside].mean())
            assert entry.accuracy == pytest.approx(right[inside].mean())
        else:
            assert (entry.confidence, entry.accuracy) == (pytest.approx((entry.low + entry.high) / 2), 0.0)


def test_certainty_and_a_probability_on_an_edge_fall_into_the_bin_that_they_close() -> None:
    bins = calibration_bins(np.array([[1e6, 0.0], [np.log(0.6), np.log(0.4)]]), np.array([0, 0]))
    assert [index for index, entry in enumerate(bins) if entry.images] == [8, 14]


def test_the_calibration_error_by_hand() -> None:
    shares = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.55, 0.45], [0.45, 0.55]])
    bins = calibration_bins(np.log(shares), np.array([0, 0, 0, 1, 1, 1]))
    assert expected_calibration_error(bins) == pytest.approx((4 * abs(0.9 - 0.75) + 2 * abs(0.55 - 0.5)) / 6)


def test_the_calibration_error_of_an_honest_model_vanishes_and_that_of_a_boastful_one_does_not() -> None:
    logits, labels = honest(20_000)
    assert expected_calibration_error(calibration_bins(logits, labels)) < 0.015
    assert expected_calibration_error(calibration_bins(logits, labels, 1 / 3)) > 0.1
    assert expected_calibration_error(calibration_bins(3 * logits, labels, 3.0)) < 0.015
