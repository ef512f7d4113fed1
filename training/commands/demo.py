"""`demo`: transfers a shipped backbone to handwritten digits. Needs no internet and no data.

The backbone was pretrained on rendered characters. It is fine-tuned on scikit-learn's 1,797 handwritten digits. The
table that is printed compares from scratch, frozen and fine-tuned, with the same number of epochs.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from training.commands.train import train_bundle
from training.commands.transfer import contenders, mean_and_deviation, measure
from training.config import load_config
from training.data.images import ImageSet
from training.data.preparation import prepare_data
from training.evaluation.metrics import accuracy
from training.fitting import choosing_callbacks, fit
from training.loop.callbacks import Progress
from training.loop.pretrained import SHIPPED
from training.progress import shown
from vision.bundle.store import Bundle

GLYPH_WEIGHTS = SHIPPED / "glyphs.safetensors"
LABELS_A_CLASS = 10
# The best of four rates for training from scratch, so that the comparison is fair. With 10 labels per class, mean of 5
# seeds: 0.002 gave 0.687, 0.005 0.775, 0.01 0.835, 0.02 0.792. With five times the epochs all four gave 0.947 to 0.953.
SCRATCH_LEARNING_RATE = 0.01
PRETRAIN_GLYPHS = 150_000


def run_demo(out: Path, seeds: int, budget: int, console: Console) -> Bundle:
    """Trains and saves the digits model, then compares it with training from scratch and with a frozen backbone.

    Args:
        out: models/digits.
        seeds: number of seeds over which the runs with few labels are averaged, 1 to 20.
        budget: factor for the recipe's epochs, 1 to 10.
        console: where progress and the table are shown.
    """
    started = time.monotonic()
    config = load_config("digits", {})
    config = config.model_copy(
        update={name: budget * getattr(config, name) for name in ("epochs_frozen", "epochs_finetuned")}
    )
    with tempfile.TemporaryDirectory(prefix="sightline-digits-") as folder:
        data = Path(folder) / "digits"
        write_digits(data)
        bundle = train_bundle(data, out, config, console)
        prepared = prepare_data(data, config.split_rule, config.problem_files, config.resolved_preprocessing)
        train, val, test = prepared.train, prepared.val, prepared.test

    rows: dict[str, list[str]] = {}
    for name, contender in contenders(config, SCRATCH_LEARNING_RATE):
        few = []
        for seed in range(seeds):
            run = contender.model_copy(update={"seed": seed, "batch_size": 20})
            few.append(measure(run, _few(train, seed), val, test))
            console.print(f"{LABELS_A_CLASS} labels per class, {name}, seed {seed}: {few[-1]:.4f}")
        every = bundle.manifest.metrics["test_acc@1"] if contender == config else measure(contender, train, val, test)
        rows[name] = [mean_and_deviation(few), f"{every:.4f}"]

    table = Table(
        "",
        f"{LABELS_A_CLASS} labels per class",
        f"all {len(train)} labels",
        title=f"acc@1 on {len(test)} held-out digits",
    )
    for name, cells in rows.items():
        table.add_row(name, *cells)
    console.print(table)
    console.print(
        f"Mean ± standard deviation over {seeds} seeds; "
        f"every run has {config.epochs_frozen + config.epochs_finetuned} epochs at most and chooses its epoch "
        f"by the same {len(val)} validation images. {time.monotonic() - started:.0f} s in all.",
    )
    return bundle


def pretrain(console: Console) -> Path:
    """Makes the shipped backbone again: renders characters, trains on them from scratch, writes GLYPH_WEIGHTS."""
    from training.commands.glyphs import (
        CHARACTERS,
        render_glyphs,
    )  # imports matplotlib, for its fonts

    started = time.monotonic()
    config = load_config("glyphs", {})
    side = config.resolved_preprocessing.crop_px
    progress = shown(console, "rendering")
    train = render_glyphs(PRETRAIN_GLYPHS, side, seed=config.seed, progress=progress)
    val, test = render_glyphs(5_000, side, seed=config.seed + 1), render_glyphs(5_000, side, seed=config.seed + 2)
    trainer = fit(config, len(CHARACTERS), train, val, [*choosing_callbacks(config), Progress(console)])
    result = accuracy(trainer.predict(test.images), test.labels)
    backbone = {f"backbone.{name}": tensor.contiguous() for name, tensor in trainer.model.backbone.state_dict().items()}
    GLYPH_WEIGHTS.parent.mkdir(exist_ok=True)
    save_file(
        backbone,
        GLYPH_WEIGHTS,
        metadata={"made_by": "python -m training demo --pretrain", "glyph_acc@1": f"{result:.4f}"},
    )
    took = time.monotonic() - started
    console.print(
        f"{GLYPH_WEIGHTS}: acc@1 {result:.4f} on 5,000 unseen glyphs of {len(CHARACTERS)} kinds, made in {took:.0f} s."
    )
    return GLYPH_WEIGHTS


def write_digits(folder: Path) -> None:
    """Writes scikit-learn's digits as PNG files, FOLDER/LABEL/NUMBER.png: 8×8 px, dark ink on white paper."""
    images, labels = load_digits(return_X_y=True)
    for number, (counts, label) in enumerate(zip(images, labels, strict=True)):
        file = folder / str(label) / f"{number:04}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        # Each value counts the ink in a block of 4×4 px, 0 to 16.
        Image.fromarray((255 - counts.reshape(8, 8) * 255 / 16).round().astype(np.uint8)).save(file)


def _few(train: ImageSet, seed: int) -> ImageSet:
    """LABELS_A_CLASS random images of each class."""
    generator = np.random.default_rng(seed)
    members = (np.flatnonzero(train.labels == label) for label in np.unique(train.labels))
    return train.subset(
        np.sort(np.concatenate([generator.choice(found, LABELS_A_CLASS, replace=False) for found in members]))
    )
