"""`transfer`: compares a frozen backbone, a fine-tuned one and training from scratch, with equal data and epochs."""

import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from training.config import ConfigError, TrainConfig
from training.data.images import ImageSet
from training.data.preparation import prepare_data
from training.evaluation.metrics import accuracy
from training.fitting import choosing_callbacks, default_device, fit
from training.loop.callbacks import Callback, Progress
from training.loop.pretrained import NONE
from training.progress import shown


def contenders(config: TrainConfig, scratch_learning_rate: float) -> Iterator[tuple[str, TrainConfig]]:
    """The three ways to train, each with the same number of epochs.

    Args:
        config: the fine-tuned run.
        scratch_learning_rate: the best rate without pretrained weights, so that the comparison is fair.
    """
    epochs = config.epochs_frozen + config.epochs_finetuned
    yield (
        "from scratch",
        config.model_copy(update={"weights": NONE, "learning_rate": scratch_learning_rate, "cache_features": None}),
    )
    yield "frozen", config.model_copy(update={"epochs_frozen": epochs, "epochs_finetuned": 0})
    yield "fine-tuned", config


def measure(config: TrainConfig, train: ImageSet, val: ImageSet, test: ImageSet, *extra: Callback) -> float:
    """Trains, and returns acc@1 on the test images."""
    num_classes = int(train.labels.max()) + 1
    trainer = fit(config, num_classes, train, val, [*choosing_callbacks(config), *extra], default_device())
    return accuracy(trainer.predict(test.images), test.labels)


def mean_and_deviation(values: list[float]) -> str:
    """`0.9000 ± 0.0100`: the mean and the sample standard deviation over runs."""
    mean = sum(values) / len(values)
    deviation = (sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)) ** 0.5
    return f"{mean:.4f} ± {deviation:.4f}"


def transfer_table(
    data: Path, config: TrainConfig, scratch_learning_rate: float | None, seeds: int, console: Console
) -> dict[str, list[float]]:
    """Trains every contender with every seed on one split, and prints a table and, last, one JSON line.

    Args:
        data: one folder of images for each category.
        config: the fine-tuned run; the frozen run uses its weights, too.
        scratch_learning_rate: see `contenders`; None uses the run's own.
        seeds: number of seeds, counted from 0.
        console: where progress and the table are shown.

    Returns:
        For each way to train, acc@1 on the test images for each seed.

    Raises:
        ConfigError: the run has no pretrained weights or no second phase, so there is nothing to compare.
        SightlineError: data or weights cannot be used.
    """
    if config.weights == NONE or not config.epochs_finetuned:
        raise ConfigError("transfer compares a fine-tuned run with others; give --weights, and epochs to both phases.")
    config = config.model_copy(update={"split_seed": config.split_rule.seed})
    prepared = prepare_data(
        data, config.split_rule, config.problem_files, config.resolved_preprocessing, shown(console, "decoding")
    )
    train, val, test = prepared.train, prepared.val, prepared.test
    results: dict[str, list[float]] = {}
    for name, contender in contenders(config, scratch_learning_rate or config.learning_rate):
        for seed in range(seeds):
            results.setdefault(name, []).append(
                measure(contender.model_copy(update={"seed": seed}), train, val, test, Progress(console))
            )
            console.print(f"{name}, seed {seed}: acc@1 {results[name][-1]:.4f}")
    table = Table(
        "",
        "acc@1",
        title=f"{len(test)} test images, {seeds} seeds, {config.epochs_frozen + config.epochs_finetuned} epochs each",
    )
    for name, values in results.items():
        table.add_row(name, mean_and_deviation(values))
    console.print(table)
    console.print(json.dumps(results))
    return results
