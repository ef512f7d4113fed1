"""One train-to-serve journey on a tiny data set: files → bundle → the classifier that serves it."""

import asyncio
import json
import time
from pathlib import Path

import numpy as np
import prometheus_client
import pytest
from PIL import Image
from rich.console import Console

from service.model.classifier import Classifier
from service.observability.metrics import Metrics
from service.settings import Settings
from training.__main__ import main
from training.commands.train import train_bundle
from training.config import TrainConfig
from vision.bundle.store import Bundle, find_bundle, load_bundle

QUIET = Console(quiet=True)
CONFIG = TrainConfig(
    arch="lenet5",
    augmentation="none",
    batch_size=16,
    learning_rate=3e-3,
    epochs_frozen=4,
    epochs_finetuned=4,
    val_share=0.2,
    test_share=0.2,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Circles and crosses, some as JPEG, some as PNG, of many sizes."""
    from PIL import ImageDraw

    folder, generator = tmp_path_factory.mktemp("shapes"), np.random.default_rng(0)
    for category in ("circle", "cross"):
        (folder / category).mkdir()
        for index in range(60):
            side = int(generator.integers(40, 120))
            picture = Image.new("RGB", (side, side), (255, 255, 255))
            draw, margin = ImageDraw.Draw(picture), int(side * generator.uniform(0.1, 0.25))
            box, width = (margin, margin, side - margin, side - margin), max(3, side // 12)
            if category == "circle":
                draw.ellipse(box, outline=(0, 0, 0), width=width)
            else:
                draw.line(box, fill=(0, 0, 0), width=width)
                draw.line((box[0], box[3], box[2], box[1]), fill=(0, 0, 0), width=width)
            picture.save(folder / category / f"{index}.{'jpg' if index % 2 else 'png'}")
    return folder


@pytest.fixture(scope="module")
def bundle(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return train_bundle(
        data, tmp_path_factory.mktemp("journey") / "models" / "shapes", CONFIG, QUIET, formats=("int8", "pt2", "onnx")
    )


def test_the_bundle_says_what_was_trained_on_what(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert (manifest.name, manifest.version, manifest.categories) == ("shapes", 1, ("circle", "cross"))
    assert manifest.metrics["test_acc@1"] >= 0.9
    assert sum(manifest.provenance.data["images"].values()) == 120
    assert manifest.provenance.data["left_out"] == []
    assert manifest.provenance.config["arch"] == "lenet5"
    assert {"sightline", "torch", "pillow", "openvino"} <= manifest.provenance.code.keys()
    assert 1 <= len(bundle.golden.names) <= 8
    card = bundle.files["MODEL_CARD.md"].decode()
    assert f"acc@1 | {manifest.metrics['test_acc@1']:.4f}" in card
    assert manifest.provenance.data["sha256"] in card


def test_a_run_leaves_its_report_and_its_numbers(bundle: Bundle) -> None:
    run = bundle.path.parent.parent.parent / "runs" / "shapes" / "1"
    there = {file.name for file in run.iterdir()}
    assert there >= {
        "run.json",
        "data_report.json",
        "history.csv",
        "training.prom",
        "metrics.json",
        "report.html",
        "last.safetensors",
    }
    assert (run / "metrics.json").read_bytes() == bundle.files["metrics.json"]
    page = (run / "report.html").read_text()
    assert f"{bundle.manifest.metrics['test_acc@1']:.4f}" in page
    assert page.count("data:image/jpeg;base64,") == 12
    report = json.loads((run / "data_report.json").read_text())
    assert set(report["split"]["files"].values()) == {"train", "val", "test"}
    assert report["split"]["sha256"] == bundle.manifest.provenance.data["split_sha256"]


def test_a_run_that_is_killed_before_its_bundle_is_there_has_its_report_and_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    out, report = tmp_path / "models" / "shapes", tmp_path / "runs" / "shapes" / "1" / "report.html"
    with monkeypatch.context() as patched:
        patched.setattr("training.commands.train.save_bundle", killed)
        with pytest.raises(KeyboardInterrupt):
            train_bundle(data, out, CONFIG, QUIET)
    assert not out.exists()
    report.unlink()
    bundle = train_bundle(data, out, CONFIG, QUIET, resume=True)
    assert bundle.path == out / "1"
    assert "shapes/1" in report.read_text()


def test_every_engine_passed_its_gate_or_is_not_there(bundle: Bundle) -> None:
    parity = bundle.manifest.parity
    assert {"torch-f32", "openvino-f32", "torch-export-f32", "onnx-f32", "openvino-int8"} <= parity.keys()
    assert parity["torch-f32"].max_probability_difference == 0
    for name in ("openvino-f32", "torch-export-f32", "onnx-f32"):
        assert parity[name].passed
        assert parity[name].max_probability_difference < 1e-3
    assert ("openvino-int8/model.xml" in bundle.files) == parity["openvino-int8"].passed


def test_the_baseline_adds_up(bundle: Bundle) -> None:
    baseline = json.loads(bundle.files["baseline.json"])
    for name in ("label_shares", "predicted_shares"):
        assert sum(baseline[name].values()) == pytest.approx(1, abs=1e-4)
        assert list(baseline[name]) == ["circle", "cross"]
    assert sum(baseline["confidence_histogram"]) == pytest.approx(1, abs=1e-4)
    assert len(baseline["confidence_histogram"]) == 20


def test_what_is_served_is_what_was_trained(bundle: Bundle, data: Path) -> None:
    """Every image of the data set, through the running classifier and through the torch reference."""
    from vision.engines.torch_engine import TorchEngine
    from vision.image import DecodeLimits, decode
    from vision.prediction import probabilities

    files = sorted(data.rglob("*.*"))
    preprocessing = bundle.manifest.preprocessing
    images = np.stack([preprocessing.apply(decode(file.read_bytes(), DecodeLimits()).pixels) for file in files])
    expected = probabilities(TorchEngine(bundle, 2).infer(images), bundle.manifest.temperature)

    async def serve() -> list:
        classifier = Classifier(bundle, Settings(), Metrics(prometheus_client.CollectorRegistry()))
        await classifier.start()
        deadline = time.monotonic() + 60
        answers = await asyncio.gather(*(classifier.classify(file.read_bytes(), deadline) for file in files))
        classifier.stop()
        return answers

    for row, answer in zip(expected, asyncio.run(serve()), strict=True):
        served = {prediction.label: prediction.score for prediction in answer.top(2)}
        assert served["circle"] == pytest.approx(row[0], abs=0.1)
        assert answer.best.label == bundle.manifest.categories[row.argmax()] or abs(row[0] - 0.5) < 0.1


def test_versions_count_up_and_the_newest_is_found(data: Path, tmp_path: Path) -> None:
    quick = CONFIG.model_copy(update={"epochs_frozen": 1, "epochs_finetuned": 0})
    assert [train_bundle(data, tmp_path / "models" / "shapes", quick, QUIET).manifest.version for _ in range(2)] == [
        1,
        2,
    ]
    assert load_bundle(find_bundle(tmp_path / "models")).manifest.version == 2


def test_the_same_run_gives_the_same_weights(data: Path, tmp_path: Path) -> None:
    quick = CONFIG.model_copy(update={"epochs_frozen": 1, "epochs_finetuned": 0, "augmentation": "photos"})
    first, second = (train_bundle(data, tmp_path / "models" / "shapes", quick, QUIET) for _ in range(2))
    assert first.files["model.safetensors"] == second.files["model.safetensors"]


def test_the_command_line_trains_and_says_where(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--arch", "lenet5", "--epochs-frozen", "1", "--epochs-finetuned", "0", "--augmentation", "none"]
    assert main(["train", str(data), "--out", str(tmp_path / "models" / "shapes"), *options]) == 0
    assert f"Saved {tmp_path}/models/shapes/1, digest" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nowhere", "--out", "models/x"], "nowhere is not a folder"),
        (["DATA"], "--out is missing"),
        (["DATA", "--out", "models/My Model"], "a-z, 0-9"),
        (["DATA", "--out", "OUT/models/x", "--arch", "vgg"], "choose one of"),
        (["DATA", "--out", "OUT/models/x", "--epochs", "4", "--epochs-frozen", "2"], "--epochs stands for"),
        (
            ["DATA", "--out", "OUT/models/x", "--arch", "lenet5", "--image-px", "64"],
            "lenet5 cannot take images of 64×64 px",
        ),
        (["DATA", "--out", "OUT/models/x", "--arch", "lenet5", "--precision", "float16"], "needs a GPU"),
        (
            ["DATA", "--out", "OUT/models/x", "--arch", "lenet5", "--weights", "missing.safetensors"],
            "missing.safetensors",
        ),
        (["DATA", "--out", "OUT/models/x", "--learning-rate", "7"], "learning_rate"),
    ],
)
def test_a_refusal_is_one_line_and_status_2(
    arguments: list[str], named: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [argument.replace("DATA", str(data)).replace("OUT", str(tmp_path)) for argument in arguments]
    assert main(["train", *given]) == 2
    error = capsys.readouterr().err
    assert named in error
    assert "Traceback" not in error
    assert not any(tmp_path.rglob("manifest.json"))
