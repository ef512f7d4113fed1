"""A run that is killed and resumed, through the command line, in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import write_backbone, write_noise

SETTINGS = [
    *("--arch", "simple_resnet", "--augmentation", "photos+erasing", "--batch-size", "4", "--checkpoint-steps", "3"),
    *(
        "--epochs-frozen",
        "3",
        "--epochs-finetuned",
        "3",
        "--unfreeze-blocks",
        "2",
        "--batch-norm",
        "full",
        "--ema-decay",
        "0.9",
    ),
    *("--learning-rate", "0.01", "--val-share", "0.2", "--test-share", "0.2", "--seed", "3"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright and dark noise, and a backbone to start from."""
    folder = tmp_path_factory.mktemp("resume")
    write_noise(folder / "photos", 40, (40, 40))
    write_backbone(folder / "backbone.safetensors")
    return folder


def train(data: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "training", "train", str(data / "photos"), "--out", str(out)]
    weights = ["--weights", str(data / "backbone.safetensors")]
    # One thread: a hundred tiny steps are not worth two.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *weights, *SETTINGS, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
        env=environment,
    )


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    out = tmp_path_factory.mktemp("whole") / "models" / "light"
    process = train(data, out)
    printed, _ = process.communicate(timeout=180)
    assert process.returncode == 0, printed
    return load_file(out / "1" / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("after", "done"),
    [("frozen   1/3", None), ("frozen   3/3", "frozen   2/3"), ("fine-tuned   1/3", "frozen   3/3")],
    ids=["phase 1", "boundary", "phase 2"],
)
def test_a_killed_run_ends_with_the_weights_of_the_uninterrupted_one(
    data: Path, uninterrupted: dict[str, torch.Tensor], tmp_path: Path, after: str, done: str | None
) -> None:
    """SIGKILL at a random moment after an epoch's line: while its checkpoint is written, or in the next epoch."""
    out = tmp_path / "models" / "light"
    process = train(data, out)
    printed = []
    for line in process.stdout:
        printed.append(line)
        if after in line:
            time.sleep(float(np.random.default_rng().uniform(0, 0.1)))
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL, "".join(printed)
    assert (tmp_path / "runs" / "light" / "1" / "last.safetensors").is_file()
    assert not out.exists(), "there is no bundle yet"

    resumed = train(data, out, "--resume")
    text, _ = resumed.communicate(timeout=180)
    assert resumed.returncode == 0, text
    assert done is None or done not in text, "what was done is not done again"
    got = load_file(out / "1" / "model.safetensors")
    assert got.keys() == uninterrupted.keys()
    assert all(torch.equal(got[name], uninterrupted[name]) for name in got)
