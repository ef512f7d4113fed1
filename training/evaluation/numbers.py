"""Logits of held-out images → every number of the report, as JSON values. Equal logits give equal digits."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from training.evaluation.metrics import (
    Labels,
    Logits,
    accuracy,
    accuracy_interval,
    brier_score,
    calibration_bins,
    expected_calibration_error,
    losses,
    negative_log_likelihood,
)
from vision.bundle.store import Bundle
from vision.engines.engine import Engine
from vision.image import Pixels

REFERENCE_ENGINE = "torch-f32"
# Fixed, because an engine may round differently in a batch of another size.
_BATCH = 32
_DIGITS = 6
_MOST_CONFUSED = 10


def predict(engine: Engine, images: Pixels) -> Logits:
    """uint8 (N, H, W, C) → logits (N, classes), in batches of 32."""
    return np.concatenate(
        [engine.infer(np.ascontiguousarray(images[start : start + _BATCH])) for start in range(0, len(images), _BATCH)]
    )


def evaluate(logits: Logits, labels: Labels, categories: Sequence[str], temperature: float) -> dict[str, Any]:
    """Every number of the report.

    Args:
        logits: (N, classes).
        labels: (N,).
        categories: in the order of the logits.
        temperature: fitted on the validation images.

    Returns:
        Shares and probabilities 0 to 1, likelihood in nats, all rounded to 6 decimals. `…_before` is without
        temperature.
    """
    order = range(len(categories))
    winners = logits.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(labels, winners, labels=order, zero_division=0)
    confusion = confusion_matrix(labels, winners, labels=order)
    pairs = [(int(confusion[row, column]), row, column) for row, column in np.argwhere(confusion) if row != column]
    bins = {name: calibration_bins(logits, labels, value) for name, value in (("", temperature), ("_before", 1.0))}
    numbers: dict[str, Any] = {
        "images": len(labels),
        "acc@1": accuracy(logits, labels),
        "acc@1_interval": accuracy_interval(logits, labels),
        "acc@5": accuracy(logits, labels, 5),
        "macro_f1": float(np.mean(f1)),
        "nll": negative_log_likelihood(logits, labels, temperature),
        "nll_before": negative_log_likelihood(logits, labels),
        "brier": brier_score(logits, labels, temperature),
        "brier_before": brier_score(logits, labels),
        "ece": expected_calibration_error(bins[""]),
        "ece_before": expected_calibration_error(bins["_before"]),
        "temperature": temperature,
        "categories": {
            name: {"precision": float(p), "recall": float(r), "f1": float(f), "images": int(n)}
            for name, p, r, f, n in zip(categories, precision, recall, f1, support, strict=True)
        },
        "confusion": confusion.tolist(),
        "most_confused": [
            {"label": categories[row], "predicted": categories[column], "images": count}
            for count, row, column in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2]))[:_MOST_CONFUSED]
        ],
        "reliability": [entry._asdict() for entry in bins[""]],
        "reliability_before": [entry._asdict() for entry in bins["_before"]],
    }
    rounded: dict[str, Any] = _rounded(numbers)
    return rounded


def top_losses(logits: Logits, labels: Labels, temperature: float, most: int) -> list[int]:
    """The images with the largest losses, the largest first. A wrong label may be the reason."""
    return [int(index) for index in np.argsort(-losses(logits, labels, temperature), kind="stable")[:most]]


def differences(recorded: dict[str, Any], measured: dict[str, Any]) -> list[str]:
    """Every number in which two evaluations differ, as `name: recorded → measured`."""
    return [
        f"{name}: {recorded.get(name)} → {measured.get(name)}"
        for name in sorted(recorded.keys() | measured.keys())
        if recorded.get(name) != measured.get(name)
    ]


def headline(bundle: Bundle, numbers: dict[str, Any]) -> str:
    """The most important numbers in one line."""
    low, high = numbers["acc@1_interval"]
    return (
        f"{bundle.id.name}/{bundle.id.version}: acc@1 {numbers['acc@1']:.4f} (95 %: {low:.4f} to {high:.4f}), "
        f"macro F1 {numbers['macro_f1']:.4f}, NLL {numbers['nll']:.4f} (uncalibrated {numbers['nll_before']:.4f}), "
        f"ECE {numbers['ece']:.4f} (uncalibrated {numbers['ece_before']:.4f}), on {numbers['images']} images"
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
