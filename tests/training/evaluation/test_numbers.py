"""One function from logits to every number of the report, the same digits each time."""

import json

import numpy as np
import pytest
from sklearn.metrics import classification_report, confusion_matrix

from training.evaluation.metrics import (
    accuracy,
    accuracy_interval,
    brier_score,
    calibration_bins,
    expected_calibration_error,
    losses,
    negative_log_likelihood,
)
from training.evaluation.numbers import differences, evaluate, predict, top_losses

CATEGORIES = ("ant", "bee", "cat", "dog", "eel", "fox")
TEMPERATURE = 1.7


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray]:
    """Logits of 400 images, right about half of the time; no answer is an eel, no label or answer a fox."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 400)
    logits = generator.normal(0, 1, (400, 6)) + 1.5 * np.eye(6)[labels]
    logits[:, 4:] -= 50
    return logits.astype(np.float32), labels


class Linear:
    """An engine whose network is one matrix, and which keeps the batches that it was given."""

    description = "linear"

    def __init__(self, values: int) -> None:
        self.weights = np.random.default_rng(0).integers(-3, 4, (values, 4)).astype(np.float32)
        self.batches: list[np.ndarray] = []

    def infer(self, images: np.ndarray) -> np.ndarray:
        self.batches.append(images)
        return images.reshape(len(images), -1).astype(np.float32) @ self.weights


@pytest.mark.parametrize("count", [1, 32, 33, 70])
def test_batches_of_32_give_what_one_call_gives(count: int) -> None:
    images = np.random.default_rng(1).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)[:, ::-1]
    engine = Linear(48)
    logits = predict(engine, images)
    assert np.array_equal(logits, Linear(48).infer(images))
    assert all(batch.flags.c_contiguous and batch.dtype == np.uint8 for batch in engine.batches)
    sizes = [len(batch) for batch in engine.batches]
    assert set(sizes[:-1]) <= {32}
    assert sizes[-1] == (count - 1) % 32 + 1


def test_each_category_has_the_numbers_of_scikit_learns_report(answers: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = answers
    numbers = evaluate(logits, labels, CATEGORIES, TEMPERATURE)
    expected = classification_report(
        labels, logits.argmax(axis=1), labels=range(6), target_names=CATEGORIES, output_dict=True, zero_division=0
    )
    assert list(numbers["categories"]) == list(CATEGORIES)
    for name, row in numbers["categories"].items():
        assert row == {
            "precision": pytest.approx(expected[name]["precision"], abs=1e-6),
            "recall": pytest.approx(expected[name]["recall"], abs=1e-6),
            "f1": pytest.approx(expected[name]["f1-score"], abs=1e-6),
            "images": expected[name]["support"],
        }
    assert numbers["macro_f1"] == pytest.approx(expected["macro avg"]["f1-score"], abs=1e-6)
    assert numbers["acc@1"] == pytest.approx((logits.argmax(axis=1) == labels).mean(), abs=1e-6)


def test_the_confusion_counts_labels_down_and_answers_across_and_names_the_worst_pairs(
    answers: tuple[np.ndarray, np.ndarray],
) -> None:
    logits, labels = answers
    numbers = evaluate(logits, labels, CATEGORIES, TEMPERATURE)
    confusion = confusion_matrix(labels, logits.argmax(axis=1), labels=range(6))
    assert numbers["confusion"] == confusion.tolist()
    assert np.sum(numbers["confusion"]) == numbers["images"] == 400

    wrong = [
        (confusion[row, column], row, column)
        for row in range(6)
        for column in range(6)
        if row != column and confusion[row, column]
    ]
    worst = sorted(wrong, key=lambda pair: (-pair[0], pair[1], pair[2]))[:10]
    assert [(pair["images"], pair["label"], pair["predicted"]) for pair in numbers["most_confused"]] == [
        (count, CATEGORIES[row], CATEGORIES[column]) for count, row, column in worst
    ]
    assert len(wrong) > 10


def test_nothing_is_confused_where_all_is_right() -> None:
    numbers = evaluate(np.eye(3) * 9, np.arange(3), CATEGORIES[:3], 1.0)
    assert numbers["most_confused"] == []
    assert (numbers["acc@1"], numbers["macro_f1"], numbers["acc@1_interval"]) == (1.0, 1.0, [1.0, 1.0])


def test_every_other_number_is_its_metric_with_and_without_the_temperature(
    answers: tuple[np.ndarray, np.ndarray],
) -> None:
    logits, labels = answers
    numbers = evaluate(logits, labels, CATEGORIES, TEMPERATURE)
    for suffix, temperature in (("", TEMPERATURE), ("_before", 1.0)):
        bins = calibration_bins(logits, labels, temperature)
        assert numbers[f"nll{suffix}"] == round(negative_log_likelihood(logits, labels, temperature), 6)
        assert numbers[f"brier{suffix}"] == round(brier_score(logits, labels, temperature), 6)
        assert numbers[f"ece{suffix}"] == round(expected_calibration_error(bins), 6)
        assert [entry["images"] for entry in numbers[f"reliability{suffix}"]] == [entry.images for entry in bins]
        assert [entry["accuracy"] for entry in numbers[f"reliability{suffix}"]] == [
            round(entry.accuracy, 6) for entry in bins
        ]
    assert numbers["acc@5"] == round(accuracy(logits, labels, 5), 6)
    assert numbers["acc@1_interval"] == [round(bound, 6) for bound in accuracy_interval(logits, labels)]
    assert numbers["temperature"] == TEMPERATURE
    assert numbers["nll"] != numbers["nll_before"]


def floats(value: object) -> list[float]:
    if isinstance(value, dict):
        return [number for item in value.values() for number in floats(item)]
    if isinstance(value, list):
        return [number for item in value for number in floats(item)]
    return [value] if isinstance(value, float) else []


def test_the_numbers_survive_json_and_are_rounded_to_6_decimals(answers: tuple[np.ndarray, np.ndarray]) -> None:
    numbers = evaluate(*answers, CATEGORIES, np.float64(1 / 3))
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    assert len(floats(numbers)) > 100
    assert all(number == round(number, 6) for number in floats(numbers))


def test_the_same_logits_give_the_same_numbers(answers: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = answers
    before = logits.copy()
    first, second = (json.dumps(evaluate(logits, labels, CATEGORIES, TEMPERATURE)) for _ in range(2))
    assert first == second
    assert np.array_equal(logits, before)


def test_differences_name_what_differs_and_nothing_else(answers: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = answers
    recorded = evaluate(logits, labels, CATEGORIES, TEMPERATURE)
    assert differences(recorded, json.loads(json.dumps(recorded))) == []
    assert differences(recorded, recorded | {"nll": 0.25}) == [f"nll: {recorded['nll']} → 0.25"]
    assert differences({"acc@1": 0.5, "images": 3}, {"images": 4, "nll": 1.0}) == [
        "acc@1: 0.5 → None",
        "images: 3 → 4",
        "nll: None → 1.0",
    ]
    softened = differences(recorded, evaluate(logits, labels, CATEGORIES, 2.0))
    assert [line.partition(":")[0] for line in softened] == ["brier", "ece", "nll", "reliability", "temperature"]


def test_the_top_losses_are_the_worst_first_and_ties_keep_their_order(answers: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = answers
    cost = losses(logits, labels, TEMPERATURE)
    worst = top_losses(logits, labels, TEMPERATURE, 12)
    assert len(worst) == 12
    assert cost[worst].tolist() == sorted(cost, reverse=True)[:12]
    assert top_losses(logits, labels, TEMPERATURE, 1000) == sorted(range(400), key=lambda index: (-cost[index], index))
    assert top_losses(np.zeros((3, 2)), np.array([0, 1, 0]), 1.0, 2) == [0, 1]
