"""`python -m loadtests.studies.training DATA --weights FILE`: our loop beside a bare one, phase 0 beside phase 1.

For decision 8. The bare loop is written by hand for the same images, network, optimizer and augmentation, with nothing
else in it. Both run in turn in one process, and only ratios are reported. Phase 0 and phase 1 are compared on several
splits, because on a single one a handful of photos decides. The last line is JSON.
"""

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch.nn import functional

from training.config import TrainConfig, load_config
from training.data.augmentation import augmentation
from training.data.images import ImageSet
from training.data.preparation import PreparedData, prepare_data
from training.evaluation.metrics import accuracy
from training.fitting import choosing_callbacks, fit
from training.loop.callbacks import ModelCheckpoint
from training.loop.pretrained import load_backbone
from training.loop.trainer import Trainer
from training.progress import shown
from vision.architectures.registry import build_model
from vision.engines.servable import Normalisation


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.studies.training", description=__doc__)
    parser.add_argument("data", type=Path, metavar="DATA", help="one folder of images for each category")
    parser.add_argument(
        "--weights", required=True, metavar="FILE", help="a safetensors file with a pretrained MobileNetV2"
    )
    parser.add_argument("--rounds", type=int, default=7, help="pairs of epochs (default: 7)")
    parser.add_argument("--splits", type=int, default=5, help="splits on which phase 0 and 1 are compared (default: 5)")
    parsed = parser.parse_args()
    console = Console(soft_wrap=True, markup=False, highlight=False)
    config = load_config("flowers", {"weights": parsed.weights})
    train = _prepared(config, parsed.data, console).train
    results = {phase: throughput(config, train, phase, parsed.rounds, console) for phase in ("frozen", "fine-tuned")}
    results["phase 0"] = head_phases(config, parsed.data, parsed.splits, console)
    console.print(json.dumps(results))


def throughput(config: TrainConfig, train: ImageSet, phase: str, rounds: int, console: Console) -> dict[str, object]:
    """Images per second of our loop divided by the bare one's, in pairs, without validation."""
    ratios, ours, bare = [], [], []
    few = train.subset(np.arange(2))
    for number in range(rounds + 1):
        loops = [lambda: _ours(config, train, few, phase), lambda: _bare(config, train, phase)]
        order = (0, 1) if number % 2 else (1, 0)  # so that a machine that slows down slows both
        seconds = {index: loops[index]() for index in order}
        if number == 0:  # the first pair warms the memory allocator
            continue
        ours.append(len(train) / seconds[0])
        bare.append(len(train) / seconds[1])
        ratios.append(seconds[1] / seconds[0])
        console.print(
            f"{phase}, pair {number}: ours {ours[-1]:.0f}, bare {bare[-1]:.0f} images/s, ratio {ratios[-1]:.3f}"
        )
    console.print(f"{phase}: median ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    return {"ratio": round(statistics.median(ratios), 3), "low": round(min(ratios), 3), "high": round(max(ratios), 3)}


def head_phases(config: TrainConfig, data: Path, splits: int, console: Console) -> dict[str, object]:
    """Compares phase 0 with phase 1 on the same images, without augmentation, on each split in turn.

    Phase 1 starts at the recipe's rate, lowers it on plateaus, and runs until early stopping ends it. Each is judged by
    the weights that it keeps.
    """
    plain = {
        "augmentation": "none",
        "epochs_finetuned": 0,
        "epochs_frozen": 100,
        "schedule": "plateau",
        "stop_patience": 6,
    }
    accuracies, seconds = [], []
    for seed in range(splits):
        settings = config.model_copy(update=plain | {"seed": seed})
        prepared = _prepared(settings, data, console)
        train, val, test = prepared.train, prepared.val, prepared.test
        pair = [_fitted(settings.model_copy(update={"cache_features": cached}), train, val) for cached in (True, False)]
        accuracies.append(
            [[accuracy(trainer.predict(part.images), part.labels) for trainer in pair] for part in (val, test)]
        )
        seconds.append([sum(trainer.seconds) for trainer in pair])
        (val_0, val_1), (test_0, test_1) = accuracies[-1]
        console.print(
            f"split {seed}: phase 0 val_acc@1 {val_0:.4f} in {seconds[-1][0]:.1f} s; "
            f"phase 1 {val_1:.4f} in {seconds[-1][1]:.1f} s, "
            f"{len(pair[1].history)} epochs; on the test images {test_0:.4f} and {test_1:.4f}"
        )
    val_mean, test_mean = np.mean(accuracies, axis=0).tolist()
    gains = [val_0 - val_1 for (val_0, val_1), _ in accuracies]
    share = statistics.median(fast / slow for fast, slow in seconds)
    error = statistics.stdev(gains) / len(gains) ** 0.5 if splits > 1 else float("nan")
    console.print(
        f"phase 0 - phase 1: val_acc@1 {statistics.mean(gains):+.4f}, standard error {error:.4f} over {splits} splits; "
        f"phase 0 took {share:.3f} of its time"
    )
    return {
        "val_acc@1": val_mean,
        "test_acc@1": test_mean,
        "gains": gains,
        "seconds": seconds,
        "share": round(share, 3),
    }


def _prepared(config: TrainConfig, data: Path, console: Console) -> PreparedData:
    return prepare_data(
        data, config.split_rule, config.problem_files, config.resolved_preprocessing, shown(console, "decoding")
    )


def _fitted(config: TrainConfig, train: ImageSet, val: ImageSet) -> Trainer:
    return fit(config, int(train.labels.max()) + 1, train, val, choosing_callbacks(config))


def _ours(config: TrainConfig, train: ImageSet, few: ImageSet, phase: str) -> float:
    """Seconds of one epoch, with the usual callbacks and a checkpoint at its end."""
    with tempfile.TemporaryDirectory(prefix="sightline-bench-") as folder:
        torch.manual_seed(0)
        model = build_model(config.arch, int(train.labels.max()) + 1, **config.arch_arguments)
        load_backbone(model, config.arch, config.weights)
        (chosen,) = (entry for entry in config.phases(model) if entry.name == phase)
        callbacks = [*choosing_callbacks(config), ModelCheckpoint(Path(folder))]
        trainer = Trainer(model, config.resolved_preprocessing, train, few, config, callbacks)
        started = time.perf_counter()
        trainer.fit([replace(chosen, epochs=1)])
        return time.perf_counter() - started


def _bare(config: TrainConfig, train: ImageSet, phase: str) -> float:
    """Seconds of the same epoch in a loop written by hand."""
    torch.manual_seed(0)
    model = build_model(config.arch, int(train.labels.max()) + 1, **config.arch_arguments)
    load_backbone(model, config.arch, config.weights)
    model = model.to(memory_format=torch.channels_last)
    model.train()
    if phase == "frozen":
        model.backbone.requires_grad_(False)
        model.backbone.eval()
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-3, weight_decay=0.01, fused=True)
    normalise, augment = Normalisation(config.resolved_preprocessing), augmentation(config.augmentation)
    assert augment is not None and augment.affine is not None  # noqa: S101, PT018 - the recipe flips
    images, labels = torch.from_numpy(train.images), torch.from_numpy(train.labels)
    started = time.perf_counter()
    for batch in torch.split(torch.randperm(len(labels)), config.batch_size):
        loss = functional.cross_entropy(model(augment.affine(normalise(images[batch]))), labels[batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
