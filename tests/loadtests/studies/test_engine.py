"""The engine's study runs on a machine that has only torch, torchvision, Pillow and NumPy."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.rendering import render

ROOT = Path(__file__).resolve().parents[3]
# What a bare CUDA machine lacks: importing one of these fails there.
MISSING = (
    "ray",
    "fastapi",
    "starlette",
    "uvicorn",
    "openvino",
    "pydantic",
    "simplejpeg",
    "rich",
    "sklearn",
    "safetensors",
    "prometheus_client",
)
SCRIPT = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({MISSING!r}))
sys.argv[0] = "engine"
runpy.run_module("loadtests.studies.engine", run_name="__main__")
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> "subprocess.CompletedProcess[str]":
    folder = tmp_path_factory.mktemp("photos")
    for index, (width, height) in enumerate([(346, 229), (224, 300), (400, 400), (500, 333)]):
        (folder / f"{index}.jpg").write_bytes(render(width, height, seed=index))
    options = [
        "--device",
        "cpu",
        "--archs",
        "mobilenet_v2",
        "--batches",
        "1,4",
        "--seconds",
        "0.05",
        "--photos",
        str(folder),
    ]
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *options], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def test_it_needs_nothing_else(finished) -> None:
    assert finished.returncode == 0, finished.stderr[-2000:]


def test_every_batch_has_every_rate(finished) -> None:
    report = json.loads(finished.stdout.splitlines()[-1])
    assert [(row["arch"], row["batch"]) for row in report["rows"]] == [("mobilenet_v2", 1), ("mobilenet_v2", 4)]
    for row in report["rows"]:
        assert all(row[name] > 0 for name in ("decode", "resize", "infer", "both", "all", "eager"))
        assert 0 < row["resize_share"] < 1


def test_float16_answers_as_float32_does(finished) -> None:
    parity = json.loads(finished.stdout.splitlines()[-1])["parity"]["mobilenet_v2"]
    assert parity["agreement"] == 1.0
    assert parity["difference"] < 0.05
