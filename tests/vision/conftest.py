"""A bundle that a test may damage, the tool of a careful forger, and bundles of networks that were never trained."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from vision.bundle.manifest import WEIGHTS_FILE, ArchitectureEntry
from vision.bundle.store import load_bundle

SHIPPED = Path(__file__).resolve().parents[2] / "service" / "demo" / "digits" / "1"


@pytest.fixture
def folder(models, tmp_path):
    """A copy of digits/1 that a test may change."""
    return shutil.copytree(models / "digits" / "1", tmp_path / "models" / "digits" / "1")


@pytest.fixture
def forge(folder):
    """Changes the folder's manifest, after which every size, hash and checksum fits again."""

    def forge_manifest(change=lambda manifest: None):
        manifest = json.loads((folder / "manifest.json").read_bytes())
        for name in manifest["files"]:
            data = (folder / name).read_bytes()
            manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
        change(manifest)
        text = json.dumps(manifest).encode()
        (folder / "manifest.json").write_bytes(text)
        (folder / "manifest.sha256").write_text(f"{hashlib.sha256(text).hexdigest()}  manifest.json\n")

    return forge_manifest


@pytest.fixture
def change_golden(folder, forge):
    """Changes the expected probabilities, by file name, in a way that every hash fits."""

    def change_rows(change):
        file = folder / "golden" / "expected.json"
        expected = json.loads(file.read_bytes())
        change(expected["probabilities"])
        file.write_text(json.dumps(expected))
        forge()

    return change_rows


@pytest.fixture(scope="session")
def shipped():
    """The demo's bundle as the repository holds it: a trained simple_resnet that reads gray squares of 16 px."""
    return load_bundle(SHIPPED)


@pytest.fixture(scope="session")
def bundle_of(shipped):
    """A network in eval mode as a bundle in memory: bundle_of(model, preprocessing, categories[, name, arguments]).

    Torch can load it if the registry builds the same network from `name` and `arguments`; OpenVINO always.
    """
    from safetensors.torch import save

    from training.export.conversion import convert
    from vision.engines.servable import Servable

    def make(model, preprocessing, categories, name="simple_resnet", **arguments):
        files = convert(Servable(model, preprocessing).eval(), (), np.zeros((1, *preprocessing.shape), np.uint8))
        files[WEIGHTS_FILE] = save({key: tensor.contiguous() for key, tensor in model.state_dict().items()})
        changes = {
            "architecture": ArchitectureEntry(name=name, arguments=arguments),
            "categories": tuple(f"category {index}" for index in range(categories)),
            "preprocessing": preprocessing,
        }
        return dataclasses.replace(shipped, manifest=shipped.manifest.model_copy(update=changes), files=files)

    return make
