"""Two processes under Ray Train run the same loop: what they learn is what one would have learnt, up to rounding."""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import write_backbone, write_noise
from training.loop.workers import ALONE, Workers

# Nothing is drawn by a process for its own images (no augmentation, no dropout in a frozen backbone's linear head), so
# that one and two processes see the same.
SETTINGS = [
    *(
        "--arch",
        "simple_resnet",
        "--augmentation",
        "none",
        "--batch-size",
        "6",
        "--no-cache-features",
        "--val-share",
        "0.2",
    ),
    *(
        "--epochs-frozen",
        "2",
        "--epochs-finetuned",
        "2",
        "--test-share",
        "0.2",
        "--learning-rate",
        "0.01",
        "--batch-norm",
        "affine",
    ),
]
RECIPE = "[config]\narch_arguments = { dropout = 0.0 }\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workers")
    write_noise(folder / "photos", 41, (36, 36))
    write_backbone(folder / "backbone.safetensors")
    (folder / "linear.toml").write_text(RECIPE)
    return folder


@pytest.fixture
def cluster() -> Iterator[dict[str, str]]:
    """A Ray cluster of two nodes with one CPU and one address each; its address and token as environment."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    environment = os.environ | token | {"GLOO_SOCKET_IFNAME": "lo"}
    with socket.socket() as free:
        free.bind(("127.0.0.2", 0))
        address = f"127.0.0.2:{free.getsockname()[1]}"
    ray = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--block",
        "--num-cpus=1",
        "--object-store-memory=83886080",
    ]
    # Ray's sockets lie below its folder, and the path of a socket has at most 107 characters.
    with (
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder,
        ExitStack() as waiting,
        ExitStack() as ending,
    ):
        head = ["--node-ip-address=127.0.0.2", "--head", f"--port={address.split(':')[1]}", "--include-dashboard=false"]
        second = ["--node-ip-address=127.0.0.3", f"--address={address}"]
        for name, options in (("head", [*head, f"--temp-dir={folder}"]), ("second", second)):
            log = Path(folder) / f"{name}.log"
            with log.open("w") as output:
                node = subprocess.Popen([*ray, *options], env=environment, stdout=output, stderr=output, cwd=folder)
            waiting.callback(node.wait, 60)
            ending.callback(node.terminate)
            deadline = time.monotonic() + 60
            while "Ray runtime started" not in log.read_text():
                assert node.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
        yield token | {"ADDRESS": address}


def train(data: Path, out: Path, *more: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "training", "train", str(data / "photos"), "--out", str(out), *SETTINGS]
    start = ["--weights", str(data / "backbone.safetensors"), "--recipe", str(data / "linear.toml")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    return subprocess.run(
        [*command, *start, *more], capture_output=True, text=True, timeout=300, env=environment, check=False
    )


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(data: Path, tmp_path: Path) -> None:
    weights = {}
    for workers in ("1", "2"):
        out = tmp_path / workers / "models" / "light"
        finished = train(data, out, "--workers", workers)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        assert finished.stdout.count("fine-tuned   2/2") == 1, "the first process alone writes"
        weights[workers] = load_file(out / "1" / "model.safetensors")
    start = load_file(data / "backbone.safetensors")
    for name, tensor in weights["1"].items():
        assert torch.allclose(tensor, weights["2"][name], atol=2e-4), name
    moved = [name for name, tensor in weights["2"].items() if name in start and not torch.equal(tensor, start[name])]
    assert moved, "the second phase has moved the backbone"


@pytest.mark.slow
def test_two_nodes_of_a_running_cluster_learn_what_one_process_learns(
    data: Path, cluster: dict[str, str], tmp_path: Path
) -> None:
    alone = train(data, tmp_path / "alone" / "models" / "light")
    assert alone.returncode == 0, alone.stderr
    weights = os.path.relpath(data / "backbone.safetensors")  # the nodes stand in another folder
    out = tmp_path / "joined" / "models" / "light"
    joined = train(data, out, "--workers", "2", "--cluster", cluster["ADDRESS"], "--weights", weights, **cluster)
    assert joined.returncode == 0, joined.stdout + joined.stderr
    expected, got = (
        load_file(tmp_path / name / "models" / "light" / "1" / "model.safetensors") for name in ("alone", "joined")
    )
    for name, tensor in expected.items():
        assert torch.allclose(tensor, got[name], atol=2e-4), name
    assert not list((tmp_path / "joined" / "runs" / "light" / "1").glob("ray-*")), "Ray's own results are gone"
    crowd = train(data, tmp_path / "models" / "crowd", "--workers", "3", "--cluster", cluster["ADDRESS"], **cluster)
    assert crowd.returncode == 2
    assert "--workers is 3, but there are only 2 CPUs" in crowd.stderr


def test_no_cluster_there_is_said_at_once(data: Path, tmp_path: Path) -> None:
    finished = train(data, tmp_path / "models" / "light", "--workers", "2", "--cluster", "127.0.0.2:1")
    assert finished.returncode == 2
    assert "--cluster is 127.0.0.2:1, but this machine could not connect to a Ray cluster" in finished.stderr
    alone = train(data, tmp_path / "models" / "alone", "--cluster", "127.0.0.2:1")
    assert alone.returncode == 2
    assert "--workers is 1" in alone.stderr


@pytest.mark.slow
def test_a_refusal_in_a_process_is_one_line_here(data: Path, tmp_path: Path) -> None:
    finished = train(
        data,
        tmp_path / "models" / "light",
        "--workers",
        "2",
        "--learning-rate",
        "1",
        "--optimizer",
        "sgd",
        "--clip-norm",
        "1000",
    )
    assert finished.returncode in (0, 2), finished.stderr
    broken = train(data, tmp_path / "models" / "other", "--workers", "2", "--weights", str(data / "photos"))
    assert broken.returncode == 2
    assert "weights_error" in broken.stderr
    assert "Traceback" not in broken.stderr


def test_shares_cover_every_row_once() -> None:
    for count in (0, 1, 5, 16):
        for size in (1, 2, 3, 7):
            rows = [index for rank in range(size) for index in range(count)[Workers(rank, size).share(count)]]
            assert rows == list(range(count))


def test_one_process_alone_changes_nothing() -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.grad = torch.full((3,), 2.0)
    ALONE.add_gradients([parameter])
    assert parameter.grad.tolist() == [2.0, 2.0, 2.0]
    assert ALONE.gather(torch.ones(2, 3), 2).shape == (2, 3)
