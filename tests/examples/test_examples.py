"""Every example is run as its documentation says: the clients against a running service, training on a small folder."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.conftest import Service, write_noise
from training.commands.train import train_bundle
from training.config import ConfigError, load_config
from training.loop.callbacks import Callback
from vision.bundle.store import load_bundle

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SAMPLE = ROOT / "service" / "http" / "page" / "sample.png"
Run = Callable[..., subprocess.CompletedProcess[str]]


def run(*command: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """One example, with the packages of this environment."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parts = [str(part) for part in command]
    return subprocess.run(parts, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def service(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with digits/1."""
    started = Service(models, tmp_path_factory.mktemp("examples")).wait_until_ready()
    yield started
    assert started.stop() == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images and a text that has the ending of one, one of them in a folder of its own."""
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    shutil.copy(SAMPLE, tmp_path / "photos" / "seven.png")
    shutil.copy(SAMPLE, tmp_path / "photos" / "deep" / "also.PNG")
    (tmp_path / "photos" / "broken.jpg").write_text("this is a text")
    return tmp_path / "photos"


def test_every_example_is_run_here() -> None:
    ran = set(re.findall(r"""EXAMPLES / "([a-z_.]+)\"[,)]""", Path(__file__).read_text()))
    assert {file.name for file in EXAMPLES.iterdir() if file.is_file() and file.suffix != ".md"} == ran
    listed = set(re.findall(r"\]\(([^)/]+)\)", (EXAMPLES / "README.md").read_text()))
    assert listed == ran


@pytest.mark.serve
def test_curl(service: Service) -> None:
    done = run("sh", EXAMPLES / "curl.sh", SAMPLE, service.url)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    *given, refused = answers
    assert [len(answer["results"]) for answer in given] == [1, 1, 2, 1]
    assert all(result["predictions"][0]["label"] == "7" for answer in given for result in answer["results"])
    assert [len(answer["results"][0]["predictions"]) for answer in given] == [3, 5, 1, 5]
    assert refused["code"] == "not_an_image"


@pytest.mark.serve
def test_one_image_in_python(service: Service, folder: Path) -> None:
    done = run(sys.executable, EXAMPLES / "classify.py", SAMPLE, "--url", service.url)
    assert done.returncode == 0, done.stderr
    assert re.match(r" *\d\d\.\d\d%  7\n", done.stdout)
    refused = run(sys.executable, EXAMPLES / "classify.py", folder / "broken.jpg", "--url", service.url)
    assert refused.returncode == 1
    assert "not_an_image" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.serve
def test_a_folder_in_python(service: Service, folder: Path, tmp_path: Path) -> None:
    written = tmp_path / "labels.csv"
    done = run(sys.executable, EXAMPLES / "classify_folder.py", folder, written, "--url", service.url)
    assert done.returncode == 1, done.stderr
    assert "1 of 3 were refused" in done.stderr
    with written.open(newline="") as file:
        rows = {Path(row["path"]).name: row for row in csv.DictReader(file)}
    assert {name: row["label"] for name, row in rows.items()} == {"seven.png": "7", "also.PNG": "7", "broken.jpg": ""}
    assert "not_an_image" in rows["broken.jpg"]["problem"]


@pytest.mark.serve
def test_javascript(service: Service, folder: Path) -> None:
    node = shutil.which("node")
    if node is None or int(subprocess.check_output([node, "--version"], text=True)[1:].split(".")[0]) < 20:
        pytest.skip("needs Node 20 or newer")
    done = run(node, EXAMPLES / "classify.mjs", SAMPLE, folder / "broken.jpg", f"--url={service.url}")
    assert done.returncode == 0, done.stderr
    first, second = re.split(rf"^{re.escape(str(folder / 'broken.jpg'))}$", done.stdout, flags=re.MULTILINE)
    assert re.search(r"^  \d\d\.\d\d %  7$", first, re.MULTILINE)
    assert "not_an_image" in second
    refused = run(node, EXAMPLES / "classify.mjs", folder / "broken.jpg", f"--url={service.url}")
    assert refused.returncode == 1
    assert "not_an_image" in refused.stderr


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Two categories of 40 images that differ in brightness."""
    return write_noise(tmp_path / "labelled", 40)


@pytest.mark.slow
def test_a_callback_of_ones_own(labelled: Path, tmp_path: Path) -> None:
    """A budget that the first epoch spends leaves one epoch of twenty."""
    out = tmp_path / "models" / "photos"
    command = (EXAMPLES / "time_budget.py", labelled, out, "--minutes", "0.0001", "--arch", "lenet5")
    done = run(sys.executable, *command)
    assert done.returncode == 0, done.stderr
    assert "Saved photos/1." in done.stdout
    assert load_bundle(out / "1").manifest.categories == ("day", "night")
    history = (tmp_path / "runs" / "photos" / "1" / "history.csv").read_text().splitlines()
    assert len(history) == 2  # the header and one epoch


def test_callbacks_of_ones_own_are_refused_with_several_workers_or_the_same_name(
    labelled: Path, tmp_path: Path
) -> None:
    config, console = load_config(None, {"arch": "lenet5"}), Console(quiet=True)
    with pytest.raises(ConfigError, match=r"same class name: .*'Callback', 'Callback'"):
        train_bundle(labelled, tmp_path / "models" / "photos", config, console, callbacks=[Callback(), Callback()])
    with pytest.raises(ConfigError, match="workers is 2; callbacks of your own need workers=1"):
        train_bundle(labelled, tmp_path / "models" / "photos", config, console, callbacks=[Callback()], workers=2)
