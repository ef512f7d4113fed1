"""A bundle that a test may damage, and the tool of a careful forger."""

import hashlib
import json
import shutil

import pytest


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
