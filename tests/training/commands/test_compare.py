"""Backbones side by side, the registry as a table, and the options that the command line makes of the configuration."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from safetensors.torch import save_file

from training import options
from training.__main__ import COMMANDS, main
from training.commands.compare import Contender, advice, compare_architectures
from training.commands.transfer import contenders, mean_and_deviation
from training.config import TrainConfig, load_config
from training.options import overrides
from vision.architectures.registry import FEATURED, build_model
from vision.command_line import build_parser


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stripes that lie and stripes that stand."""
    folder, generator = tmp_path_factory.mktemp("stripes"), np.random.default_rng(0)
    for category in ("lying", "standing"):
        (folder / category).mkdir()
        for index in range(50):
            pixels = generator.integers(0, 90, (32, 32, 3), dtype=np.uint8)
            at = int(generator.integers(4, 28))
            pixels[(slice(at, at + 3), slice(None)) if category == "lying" else (slice(None), slice(at, at + 3))] = 250
            Image.fromarray(pixels).save(folder / category / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Random backbones: enough to tell stripes by, and files as a user has them."""
    folder, files = tmp_path_factory.mktemp("weights"), {}
    for arch in ("lenet5", "simple_resnet"):
        state = build_model(arch, 2).backbone.state_dict()
        files[arch] = str(folder / f"{arch}.safetensors")
        save_file({f"backbone.{name}": tensor.contiguous() for name, tensor in state.items()}, files[arch])
    return files


def test_backbones_are_compared_on_the_same_images(
    data: Path, weights: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"--weights={arch}={file}" for arch, file in weights.items()]
    assert main(["compare", str(data), "--archs", "lenet5,simple_resnet", *options, "--val-share", "0.3"]) == 0
    printed = capsys.readouterr().out
    assert "Take " in printed
    rows = compare_architectures(data, ["lenet5", "simple_resnet"], weights, {"val_share": 0.3}, Console(quiet=True))
    assert sorted(row.arch for row in rows) == ["lenet5", "simple_resnet"]
    assert rows[0].accuracy >= rows[1].accuracy
    for row in rows:
        assert row.interval[0] <= row.accuracy <= row.interval[1]
        assert row.latency_ms > 0
        assert row.accuracy > 0.6, "phase 0 learns even on random features"


def test_weights_for_what_is_not_compared_are_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(data), "--archs", "lenet5,simple_resnet", "--weights", "resnet18=x.safetensors"]) == 2
    assert "--weights names resnet18" in capsys.readouterr().err


def row(arch: str, accuracy: float, latency_ms: float) -> Contender:
    return Contender(arch, "imagenet", accuracy, (accuracy - 0.03, accuracy + 0.03), latency_ms, 10.0, 5.0)


def test_the_fastest_of_those_that_the_images_cannot_tell_apart_is_advised() -> None:
    slow, near, far = row("large", 0.95, 40.0), row("small", 0.93, 10.0), row("tiny", 0.80, 2.0)
    assert advice([slow, near, far]).startswith(
        "Take small: its accuracy of 0.9300 lies within the interval of the most accurate one, large"
    )
    assert "4.0 times as fast" in advice([slow, near, far])
    alone = "Take large: it is the most accurate, and no faster one is as good on these images."
    assert advice([slow, far]) == alone


def test_the_registry_is_listed_with_costs_and_published_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["architectures"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in FEATURED)
    assert "138,357,544" in printed
    assert "0.8086" in printed, "ResNet-50's best weights"
    assert main(["architectures", "lenet5", "--latency"]) == 0
    assert "ms per image" in capsys.readouterr().out
    assert main(["architectures", "lenet6"]) == 2


def parsed(*arguments: str) -> argparse.Namespace:
    return build_parser("sightline", COMMANDS, arguments).parse_args(arguments)


def test_every_setting_has_an_option_and_the_option_says_what_the_setting_says() -> None:
    given = [
        "train",
        "DATA",
        "--out",
        "models/x",
        "--learning-rate",
        "0.01",
        "--unfreeze-layers",
        "7",
        "--cache-features",
        "--weights",
        "imagenet",
    ]
    config = load_config(
        None, overrides(parsed(*given, "--arch", "resnet18", "--ema-decay", "0.99", "--group-by", r"p\d+"))
    )
    assert (config.learning_rate, config.unfreeze_layers, config.cache_features, config.ema_decay) == (
        0.01,
        7,
        True,
        0.99,
    )
    assert config.group_by == r"p\d+"
    train = argparse.ArgumentParser()
    options.train(train)
    words = " ".join(train.format_help().split())
    for name, field in TrainConfig.model_fields.items():
        if name not in ("preprocessing", "arch_arguments"):
            assert f"--{name.replace('_', '-')}" in words
            assert " ".join(field.description.split())[:60] in words


@pytest.mark.parametrize(("epochs", "frozen", "finetuned"), [("2", 1, 1), ("8", 2, 6), ("30", 10, 20)])
def test_epochs_are_both_phases_together(epochs: str, frozen: int, finetuned: int) -> None:
    given = overrides(parsed("train", "DATA", "--epochs", epochs))
    assert given == {"epochs_frozen": frozen, "epochs_finetuned": finetuned}


def test_every_contender_of_a_transfer_has_the_same_budget() -> None:
    config = TrainConfig(
        arch="simple_resnet", weights="x.safetensors", epochs_frozen=3, epochs_finetuned=5, learning_rate=0.01
    )
    runs = dict(contenders(config, 0.003))
    assert list(runs) == ["from scratch", "frozen", "fine-tuned"]
    model = build_model("simple_resnet", 2)
    assert [sum(phase.epochs for phase in run.phases(model)) for run in runs.values()] == [8, 8, 8]
    assert (runs["from scratch"].learning_rate, runs["frozen"].learning_rate) == (0.003, 0.01)
    assert mean_and_deviation([0.9, 0.8, 1.0]) == "0.9000 ± 0.1000"


def test_a_transfer_table_ends_in_one_line_for_machines(
    data: Path, weights: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--arch",
        "lenet5",
        "--weights",
        weights["lenet5"],
        "--epochs",
        "2",
        "--augmentation",
        "none",
        "--val-share",
        "0.3",
    ]
    assert main(["transfer", str(data), *options, "--seeds", "2"]) == 0
    results = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {name: len(values) for name, values in results.items()} == {"from scratch": 2, "frozen": 2, "fine-tuned": 2}
    assert main(["transfer", str(data), "--arch", "lenet5"]) == 2
    assert "give --weights" in capsys.readouterr().err
