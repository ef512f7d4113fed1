"""A bundle's numbers once more, to the digit, through every engine; and its next version with more formats."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from training.__main__ import main
from training.commands.demo import write_digits
from training.commands.evaluate import evaluate_bundle
from training.commands.export import export_again
from training.config import ConfigError
from training.data.folder import DataError
from training.export.checked_engines import available
from training.export.composition import GATES, measure_parity
from vision.bundle.store import load_bundle
from vision.errors import EngineUnavailable

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What digits/1 was trained on, written again."""
    folder = tmp_path_factory.mktemp("again") / "digits"
    write_digits(folder)
    return folder


@pytest.fixture(scope="module")
def second(models: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """digits/2: the first version with every format."""
    folder = tmp_path_factory.mktemp("second") / "models"
    shutil.copytree(models, folder)
    return export_again(folder / "digits" / "1", data, ("int8", "pt2", "onnx"), QUIET).path


def test_every_engine_gives_the_recorded_numbers_to_the_digit(
    second: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(second), str(data), "--engine", "all"]) == 0
    printed = capsys.readouterr().out
    bundle = load_bundle(second)
    passed = [name for name in available(bundle) if name != "torch-export-f32" and bundle.manifest.parity[name].passed]
    assert len(passed) >= 4
    assert printed.count("the same digits as recorded") == len(passed)
    assert "differs" not in printed
    assert "loading a .pt2 can run code" in printed
    assert main(["evaluate", str(second), str(data), "--engine", "torch-export-f32"]) == 0
    assert "the same digits as recorded" in capsys.readouterr().out


def test_the_next_version_has_the_same_weights_and_answers_as_the_first(models: Path, second: Path) -> None:
    one, two = load_bundle(models / "digits" / "1"), load_bundle(second)
    assert two.manifest.version == 2
    assert one.files["model.safetensors"] == two.files["model.safetensors"]
    assert one.manifest.metrics == two.manifest.metrics
    assert np.allclose(one.golden.probabilities, two.golden.probabilities, atol=1e-6)
    assert {"model.pt2", "model.onnx", "openvino-int8/model.xml"} <= two.files.keys()
    for name in ("model.pt2", "model.onnx"):
        assert str(Path(__file__).parents[3]).encode() not in two.files[name], "no path of this machine is shipped"


def test_a_number_that_was_changed_is_named(
    models: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from vision.bundle.store import save_bundle

    bundle = load_bundle(models / "digits" / "1")
    numbers = json.loads(bundle.files["metrics.json"])
    numbers["torch-f32"]["acc@1"] = 1.0
    files = dict(bundle.files) | {"metrics.json": json.dumps(numbers).encode()}
    forged = save_bundle(tmp_path, bundle.manifest, files)
    assert main(["evaluate", str(forged), str(data), "--engine", "torch-f32"]) == 0
    assert f"acc@1: 1.0 → {bundle.manifest.metrics['test_acc@1']}" in capsys.readouterr().out


def test_an_engine_that_was_not_measured_where_the_bundle_was_made_runs_all_the_same(
    models: Path, data: Path, tmp_path: Path
) -> None:
    from vision.bundle.store import save_bundle

    bundle = load_bundle(models / "digits" / "1")
    reference = {"torch-f32": bundle.manifest.parity["torch-f32"]}
    elsewhere = save_bundle(tmp_path, bundle.manifest.model_copy(update={"parity": reference}), bundle.files)
    results = evaluate_bundle(elsewhere, data, "all", "test", None, QUIET)
    assert results.keys() == available(bundle).keys()


def test_the_answers_of_several_engines_do_not_overwrite_each_other(models: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name one of them"):
        evaluate_bundle(models / "digits" / "1", data, "all", "test", tmp_path / "lines.jsonl", QUIET)


def test_other_data_is_evaluated_whole_and_by_the_names_of_its_categories(models: Path, tmp_path: Path, digit) -> None:
    for value in (3, 7):  # two of the ten, at other indices than in the bundle
        for turn in range(12):
            file = tmp_path / "drawn" / str(value) / f"{turn}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            digit(value, turn_deg=turn - 6).save(file)
    results = evaluate_bundle(
        models / "digits" / "1", tmp_path / "drawn", "torch-f32", "test", tmp_path / "lines.jsonl", QUIET
    )
    assert results["torch-f32"]["images"] == 24
    assert results["torch-f32"]["acc@1"] > 0.8
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert {line["label"] for line in lines} == {"3", "7"}
    assert all(line["path"].startswith(f"{line['label']}/") for line in lines)
    assert all(sum(line["probabilities"].values()) == pytest.approx(1) for line in lines)


def test_what_cannot_be_evaluated_or_exported_is_refused_by_name(models: Path, data: Path, tmp_path: Path) -> None:
    bundle = models / "digits" / "1"
    for value in ("3", "cat"):
        for index in range(12):
            file = tmp_path / "odd" / value / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.random.default_rng(index + len(value)).integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(
                file
            )
    with pytest.raises(DataError, match=r"holds cat; the bundle knows 0, 1"):
        evaluate_bundle(bundle, tmp_path / "odd", "auto", "test", None, QUIET)
    with pytest.raises(EngineUnavailable, match=r"'onnx-f32' here; choose one of torch-f32, openvino-f32"):
        evaluate_bundle(bundle, data, "onnx-f32", "test", None, QUIET)
    with pytest.raises(DataError, match="is not the data that"):
        export_again(bundle, tmp_path / "odd", ("onnx",), QUIET)


@pytest.mark.parametrize(
    ("engine", "shift", "passed"),
    [
        ("onnx-f32", 0.0, True),
        ("onnx-f32", 0.05, False),
        ("openvino-bf16", 0.05, True),
        ("openvino-int8", 0.3, True),
        ("openvino-int8", 2.0, False),
    ],
)
def test_a_gate_lets_through_what_its_precision_explains_and_no_more(engine: str, shift: float, passed: bool) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (500, 4))
    moved = logits.copy()
    moved[0, 0] += shift
    assert measure_parity(engine, moved, logits, 1.0).passed == passed


def test_a_gate_refuses_other_answers_and_what_is_no_number() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (100, 4))
    wrong = logits.copy()
    wrong[:5] = wrong[:5, ::-1]
    parity = measure_parity("openvino-int8", wrong, logits, 1.0)
    assert parity.top1_agreement == pytest.approx(0.95)
    assert not parity.passed
    assert not measure_parity("openvino-int8", np.full_like(logits, np.nan), logits, 1.0).passed
    assert set(GATES) == {"f32", "bf16", "int8"}


def test_a_format_that_fails_its_gate_is_not_written(
    models: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.export.composition import Gate

    monkeypatch.setitem(GATES, "int8", Gate(agreement=1.0, difference=0.0))
    shutil.copytree(models, tmp_path / "models")
    bundle = export_again(tmp_path / "models" / "digits" / "1", data, ("int8",), QUIET)
    assert not bundle.manifest.parity["openvino-int8"].passed
    assert not [name for name in bundle.files if "int8" in name]
    assert "refused" in bundle.files["MODEL_CARD.md"].decode()
