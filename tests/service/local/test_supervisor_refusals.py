"""What `python -m service serve` refuses to serve, and what it says then."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.serve
READY_S = 60


def flip_a_byte(bundle: Path) -> str:
    file = bundle / "openvino" / "model.bin"
    data = bytearray(file.read_bytes())
    data[1000] ^= 1
    file.write_bytes(data)
    return "openvino/model.bin"


def add_a_file(bundle: Path) -> str:
    (bundle / "run.py").write_text("print()")
    return "run.py"


def add_a_link(bundle: Path) -> str:
    (bundle / "golden" / "0.png").unlink()
    (bundle / "golden" / "0.png").symlink_to("/etc/hostname")
    return "golden/0.png"


def change_the_categories(bundle: Path) -> str:
    """With a checksum that fits, as somebody would who edits the manifest by hand."""
    text = (bundle / "manifest.json").read_text().replace('"9"\n', '"9",\n    "ten"\n')
    (bundle / "manifest.json").write_text(text)
    checksum = subprocess.run(["sha256sum", "manifest.json"], cwd=bundle, check=True, capture_output=True).stdout
    (bundle / "manifest.sha256").write_bytes(checksum)
    return "golden/expected.json"


@pytest.mark.parametrize("damage", [flip_a_byte, add_a_file, add_a_link, change_the_categories])
def test_a_damaged_bundle_is_not_served_and_the_file_is_named(
    damage: Callable[[Path], str], models: Path, tmp_path: Path, launch
) -> None:
    shutil.copytree(models, tmp_path / "models")
    file = damage(tmp_path / "models" / "digits" / "1")
    service = launch(tmp_path / "models", tmp_path)
    assert service.process.wait(timeout=30) == 2
    assert file in service.printed
    assert "Traceback" not in service.printed


def test_a_replica_that_cannot_reproduce_the_golden_samples_never_becomes_ready(
    models: Path, tmp_path: Path, launch, left_of
) -> None:
    """Every file is as its manifest says; only the answers are wrong. The replica itself must notice."""
    from vision.bundle.store import load_bundle, save_bundle

    bundle = load_bundle(models / "digits" / "1")
    expected = json.loads(bundle.files["golden/expected.json"])
    expected["probabilities"] = {name: row[1:] + row[:1] for name, row in expected["probabilities"].items()}
    save_bundle(
        tmp_path / "models", bundle.manifest, {**bundle.files, "golden/expected.json": json.dumps(expected).encode()}
    )
    service = launch(tmp_path / "models", tmp_path)
    assert service.process.wait(timeout=READY_S) == 2
    assert "GoldenMismatch" in service.printed
    assert "golden/" in service.printed
    assert "Ready after" not in service.printed
    assert left_of(service.process.pid) == []


def test_an_unknown_setting_is_refused_by_name(models: Path, tmp_path: Path, launch) -> None:
    service = launch(models, tmp_path, max_batchsize="4")
    assert service.process.wait(timeout=30) == 2
    assert "SIGHTLINE_MAX_BATCHSIZE" in service.printed
