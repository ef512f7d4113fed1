"""Logits become probabilities that add up, ranked labels and nothing surprising."""

import numpy as np
import pytest

from vision.prediction import Prediction, probabilities, top_k

CATEGORIES = ("ant", "bee", "cat", "dog")


def test_probabilities_are_the_softmax():
    scores = probabilities(np.log(np.array([[1.0, 2.0, 5.0], [4.0, 4.0, 2.0]])))
    np.testing.assert_allclose(scores, [[0.125, 0.25, 0.625], [0.4, 0.4, 0.2]], rtol=1e-12)


@pytest.mark.parametrize("temperature", [0.01, 0.5, 1.0, 2.0, 100.0])
def test_temperature_divides_the_logits(temperature):
    logits = np.array([1.0, 2.0, 4.0])
    powers = np.exp(logits / temperature)
    np.testing.assert_allclose(probabilities(logits, temperature), powers / powers.sum(), rtol=1e-9)


def test_a_higher_temperature_softens_and_keeps_the_order():
    logits = np.array([0.3, 2.0, -1.0, 1.9])
    best = [probabilities(logits, temperature).max() for temperature in (0.5, 1.0, 2.0, 4.0)]
    assert best == sorted(best, reverse=True)
    assert len({tuple(np.argsort(probabilities(logits, temperature))) for temperature in (0.5, 1.0, 2.0, 4.0)}) == 1


@pytest.mark.parametrize(
    "logits", [[1e30, 0.0, -1e30], [1000.0, 1000.0, 999.0], [-1e5, -1e5, -1e5], [3.4e38, -3.4e38, 0.0]], ids=str
)
@pytest.mark.parametrize("temperature", [0.01, 1.0])
def test_large_logits_neither_overflow_nor_warn(logits, temperature):
    scores = probabilities(np.array(logits, dtype=np.float32), temperature)
    assert np.isfinite(scores).all()
    assert scores.sum() == pytest.approx(1.0, abs=1e-12)
    assert scores.argmax() == 0


def test_probabilities_are_float64_of_the_same_shape_and_leave_the_logits_alone():
    logits = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    before = logits.copy()
    scores = probabilities(logits, 2.0)
    assert scores.dtype == np.float64
    assert scores.shape == (2, 3, 4)
    np.testing.assert_allclose(scores.sum(axis=-1), 1.0, rtol=1e-12)
    assert (logits == before).all()


def test_float64_logits_are_left_alone_too():
    logits = np.array([1.0, 2.0])
    probabilities(logits)
    assert logits.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, [("cat", 0.4)]),
        (2, [("cat", 0.4), ("ant", 0.3)]),
        (4, [("cat", 0.4), ("ant", 0.3), ("dog", 0.2), ("bee", 0.1)]),
        (100, [("cat", 0.4), ("ant", 0.3), ("dog", 0.2), ("bee", 0.1)]),
    ],
)
def test_top_k_gives_the_best_first_and_at_most_all(k, expected):
    assert top_k(np.array([0.3, 0.1, 0.4, 0.2]), CATEGORIES, k) == [Prediction(*item) for item in expected]


def test_ties_keep_the_order_of_the_categories():
    assert [answer.label for answer in top_k(np.array([0.2, 0.3, 0.2, 0.3]), CATEGORIES, 4)] == [
        "bee",
        "dog",
        "ant",
        "cat",
    ]
    many = [f"{index:03}" for index in range(200)]
    assert [answer.label for answer in top_k(np.full(200, 0.005), many, 200)] == many


def test_answers_are_plain_python_that_json_can_take():
    (answer,) = top_k(np.array([0.25, 0.75], dtype=np.float32), ("no", "yes"), 1)
    assert type(answer.label) is str
    assert type(answer.score) is float
