"""report.html: how good a model is and how it was trained, in one file with all pictures inside."""

import base64
import io
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from training.evaluation.metrics import Labels, Logits
from training.evaluation.numbers import REFERENCE_ENGINE, top_losses
from vision.bundle.manifest import METRICS_FILE, Manifest
from vision.image import Pixels
from vision.prediction import probabilities

# A picture of a larger matrix cannot be read; the most confused pairs are listed in any case.
_LARGEST_MATRIX = 40
_THUMBNAIL_PX = 128
_TOP_LOSSES = 12
_BLUE, _ORANGE, _GRAY = "#2f6fb7", "#d9822b", "#8a8f98"


@dataclass(frozen=True)
class WorstImage:
    """One of the images with the largest losses.

    Attributes:
        path: below the data folder.
        label: the name of its folder.
        predicted: the model's answer.
        score: the probability of that answer, 0 to 1.
        label_score: the probability of the label, 0 to 1.
        pixels: uint8 (H, W, C), as the model sees it.
    """

    path: str
    label: str
    predicted: str
    score: float
    label_score: float
    pixels: Pixels


@dataclass(frozen=True)
class Judged:
    """The test images and the network's answers.

    Attributes:
        paths: below the data folder.
        images: uint8 (N, H, W, C), as the network sees them.
        labels: (N,) int64.
        logits: (N, classes).
    """

    paths: Sequence[str]
    images: Pixels
    labels: Labels
    logits: Logits


def write_results(
    run: Path,
    manifest: Manifest,
    files: Mapping[str, bytes],
    judged: Judged,
    data: dict[str, Any],
    history: Sequence[dict[str, Any]],
    seconds: Sequence[float],
) -> None:
    """Writes metrics.json and report.html into a run's folder.

    Args:
        run: its folder.
        manifest: of the bundle that the run gives.
        files: of that bundle; metrics.json is one of them.
        judged: the test images.
        data: the data report.
        history: one row for each epoch.
        seconds: the duration of each epoch.
    """
    (run / METRICS_FILE).write_bytes(files[METRICS_FILE])
    page = render_report(
        title=f"{manifest.name}/{manifest.version}",
        numbers=json.loads(files[METRICS_FILE])[REFERENCE_ENGINE],
        history=history,
        seconds=seconds,
        worst=_worst(judged, manifest),
        data=data,
        engines={name: parity.model_dump() for name, parity in manifest.parity.items()},
        config=manifest.provenance.config,
        preprocessing=manifest.preprocessing.describe(),
    )
    (run / "report.html").write_text(page)


def _worst(judged: Judged, manifest: Manifest) -> list[WorstImage]:
    """The worst first."""
    scores = probabilities(judged.logits, manifest.temperature)
    return [
        WorstImage(
            path=judged.paths[index],
            label=manifest.categories[judged.labels[index]],
            predicted=manifest.categories[scores[index].argmax()],
            score=float(scores[index].max()),
            label_score=float(scores[index, judged.labels[index]]),
            pixels=judged.images[index],
        )
        for index in top_losses(judged.logits, judged.labels, manifest.temperature, _TOP_LOSSES)
    ]


def render_report(
    *,
    title: str,
    numbers: dict[str, Any],
    history: Sequence[dict[str, Any]],
    seconds: Sequence[float],
    worst: Sequence[WorstImage],
    data: dict[str, Any],
    engines: dict[str, dict[str, Any]],
    config: dict[str, Any],
    preprocessing: str,
) -> str:
    """The page as HTML.

    Args:
        title: NAME/VERSION.
        numbers: what `training.evaluation.numbers.evaluate` returned for the test images.
        history: one row for each epoch.
        seconds: the duration of each epoch.
        worst: the top losses, the worst first.
        data: the data report.
        engines: each engine's parity with the reference, as in the manifest.
        config: the training configuration.
        preprocessing: as a sentence.
    """
    environment = Environment(
        loader=PackageLoader("training.evaluation", "."), autoescape=True, undefined=StrictUndefined
    )
    categories = list(numbers["categories"])
    return environment.get_template("report.html.jinja").render(
        title=title,
        numbers=numbers,
        curves=_svg(_learning_curves(history)),
        reliability=_svg(_reliability_diagram(numbers)),
        confusion=_svg(_confusion_matrix(numbers["confusion"], categories))
        if len(categories) <= _LARGEST_MATRIX
        else "",
        phases=_phases(history, seconds),
        worst=[vars(image) | {"source": _thumbnail(image.pixels)} for image in worst],
        data=data,
        engines=engines,
        config=config,
        preprocessing=preprocessing,
    )


def _learning_curves(history: Sequence[dict[str, Any]]) -> Figure:
    """Loss and accuracy by epoch over all phases, with a line at the beginning of each later phase."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    epochs = range(1, len(history) + 1)
    for name, colour in (("train_loss", _GRAY), ("val_loss", _BLUE)):
        loss.plot(epochs, [row[name] for row in history], "o-", markersize=3, color=colour, label=name)
    accuracy.plot(epochs, [row["val_acc@1"] for row in history], "o-", markersize=3, color=_BLUE, label="val_acc@1")
    for axes in (loss, accuracy):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        for index in range(1, len(history)):
            if history[index]["phase"] != history[index - 1]["phase"]:
                axes.axvline(index + 0.5, color=_ORANGE, linestyle="--", label=f"{history[index]['phase']} begins")
        axes.legend(fontsize=8)
    return figure


def _reliability_diagram(numbers: dict[str, Any]) -> Figure:
    """Accuracy by confidence, before and after the temperature. A calibrated model is on the diagonal."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, name, title in zip(
        figure.subplots(1, 2),
        ("reliability_before", "reliability"),
        ("before the temperature", "after it"),
        strict=True,
    ):
        bins = [entry for entry in numbers[name] if entry["images"]]
        width = 1 / len(numbers[name])
        axes.bar(
            [entry["low"] + width / 2 for entry in bins],
            [entry["accuracy"] for entry in bins],
            width * 0.9,
            color=_BLUE,
            label="accuracy",
        )
        axes.plot([0, 1], [0, 1], color=_ORANGE, linestyle="--", label="calibrated")
        axes.set(
            xlim=(0, 1),
            ylim=(0, 1),
            xlabel="confidence",
            title=f"{title}: ECE {numbers[name.replace('reliability', 'ece')]:.4f}",
        )
        axes.legend(fontsize=8, loc="upper left")
    return figure


def _confusion_matrix(confusion: Sequence[Sequence[int]], categories: Sequence[str]) -> Figure:
    """Labels in rows, answers in columns. The shade is the share of the label's images."""
    side = min(10.0, 2.2 + 0.45 * len(categories))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    counts = np.array(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(categories)), categories, rotation=90, parse_math=False)
    axes.set_yticks(range(len(categories)), categories, parse_math=False)
    axes.set(xlabel="answer", ylabel="label")
    for row, column in np.argwhere(counts):
        axes.text(
            column,
            row,
            counts[row, column],
            ha="center",
            va="center",
            fontsize=8,
            color="white" if shares[row, column] > 0.5 else "black",
        )
    return figure


def _phases(history: Sequence[dict[str, Any]], seconds: Sequence[float]) -> list[dict[str, Any]]:
    phases: dict[str, dict[str, Any]] = {}
    for row, took in zip(history, seconds, strict=True):
        phase = phases.setdefault(row["phase"], {"name": row["phase"], "epochs": 0, "seconds": 0.0, "best": 0.0})
        phase["epochs"] += 1
        phase["seconds"] += took
        phase["best"] = max(phase["best"], row["val_acc@1"])
    return list(phases.values())


def _svg(figure: Figure) -> Markup:
    stream = io.StringIO()
    # Without a date and with a fixed salt, equal figures give equal bytes. Text is drawn with the reader's fonts, so a
    # glyph that matplotlib's fonts lack does not matter.
    with rc_context({"svg.hashsalt": "sightline", "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    drawn = stream.getvalue()
    return Markup(drawn[drawn.index("<svg") :])  # noqa: S704 - drawn by matplotlib, which escapes the texts in it


def _thumbnail(pixels: Pixels) -> str:
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if min(image.size) < _THUMBNAIL_PX:
        image = image.resize((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.NEAREST)
    image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
