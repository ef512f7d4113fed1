"""A bundle is saved whole or not at all, found by name, and refused by name where it is not exactly what was saved."""

import hashlib
import os
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from vision.bundle.store import find_bundle, list_models, load_bundle, next_version, save_bundle
from vision.errors import (
    BundleNotFound,
    HashMismatch,
    ManifestInvalid,
    MissingFile,
    NotARegularFile,
    SizeMismatch,
    UnexpectedFile,
)


def names(folder):
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_an_untouched_bundle_loads_with_exactly_its_files(folder):
    bundle = load_bundle(folder)
    assert sorted(bundle.files) == [name for name in names(folder) if not name.startswith("manifest.")]
    assert all(data == (folder / name).read_bytes() for name, data in bundle.files.items())
    assert bundle.digest == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()[:12]
    assert np.allclose(bundle.golden.probabilities.sum(axis=1), 1, atol=1e-6)


def test_sha256sum_confirms_the_manifest(folder):
    check = subprocess.run(
        ["sha256sum", "-c", "manifest.sha256"], cwd=folder, capture_output=True, text=True, timeout=30
    )
    assert (check.returncode, check.stdout) == (0, "manifest.json: OK\n")


def flip(place):
    def damage(file):
        data = bytearray(file.read_bytes())
        data[int(place * (len(data) - 1))] ^= 1
        file.write_bytes(data)

    return damage


def replaced_by(make):
    def damage(file):
        kept = file.rename(file.parents[3] / "kept")
        make(file, kept)

    return damage


@pytest.mark.parametrize(
    ("damage", "refusal", "refusal_of_the_manifest"),
    [
        pytest.param(flip(0), HashMismatch, HashMismatch, id="first byte flipped"),
        pytest.param(flip(0.5), HashMismatch, HashMismatch, id="middle byte flipped"),
        pytest.param(flip(1), HashMismatch, HashMismatch, id="last byte flipped"),
        pytest.param(
            lambda file: os.truncate(file, file.stat().st_size - 1), SizeMismatch, HashMismatch, id="truncated"
        ),
        pytest.param(lambda file: os.truncate(file, 0), SizeMismatch, HashMismatch, id="emptied"),
        pytest.param(
            lambda file: os.truncate(file, file.stat().st_size + 1), SizeMismatch, HashMismatch, id="a byte appended"
        ),
        pytest.param(lambda file: file.unlink(), MissingFile, MissingFile, id="missing"),
        pytest.param(
            replaced_by(lambda file, kept: file.symlink_to(kept)), NotARegularFile, NotARegularFile, id="linked"
        ),
        pytest.param(replaced_by(lambda file, kept: os.mkfifo(file)), NotARegularFile, NotARegularFile, id="a pipe"),
        pytest.param(
            replaced_by(lambda file, kept: file.mkdir()), (MissingFile, NotARegularFile), MissingFile, id="a folder"
        ),
    ],
)
def test_damage_to_any_file_is_refused_by_name(folder, tmp_path, damage, refusal, refusal_of_the_manifest):
    for name in names(folder):
        broken = shutil.copytree(folder, tmp_path / "broken" / name / "digits" / "1")
        damage(broken / name)
        with pytest.raises(refusal_of_the_manifest if name.startswith("manifest.") else refusal) as error:
            load_bundle(broken)
        assert name in str(error.value)
        assert error.value.file == name or name == "manifest.sha256"


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "golden/8.png", "openvino/model.xml.bak", "new/deep/file"])
def test_a_file_that_is_not_listed_is_refused(folder, name):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"")
    with pytest.raises(UnexpectedFile) as error:
        load_bundle(folder)
    assert error.value.file == name


def test_a_linked_folder_is_refused(folder, tmp_path):
    (folder / "golden").rename(tmp_path / "elsewhere")
    (folder / "golden").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotARegularFile) as error:
        load_bundle(folder)
    assert error.value.file == "golden"


def test_a_folder_that_is_not_there_is_not_found(folder):
    with pytest.raises(BundleNotFound, match="no such folder"):
        load_bundle(folder.parent / "2")


@pytest.mark.parametrize(("model", "version"), [("digits", "2"), ("digits", "01"), ("letters", "1")])
def test_a_bundle_under_another_name_is_refused(folder, tmp_path, model, version):
    moved = shutil.copytree(folder, tmp_path / "moved" / model / version)
    with pytest.raises(ManifestInvalid, match=f"digits/1.*{model}/{version}"):
        load_bundle(moved)


@pytest.fixture(scope="module")
def bundle(models):
    return load_bundle(models / "digits" / "1")


def everything(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def test_a_saved_bundle_loads_as_it_was_and_its_folder_can_be_read_by_others(bundle, tmp_path):
    saved = save_bundle(tmp_path / "new" / "models", bundle.manifest, bundle.files)
    again = load_bundle(saved)
    assert saved == tmp_path / "new" / "models" / "digits" / "1"
    assert (again.manifest, again.digest, again.files) == (bundle.manifest, bundle.digest, bundle.files)
    assert saved.stat().st_mode & 0o777 == 0o755
    assert [entry.name for entry in saved.parent.iterdir()] == ["1"]


def test_a_version_is_never_overwritten(bundle, tmp_path):
    saved = save_bundle(tmp_path, bundle.manifest, bundle.files)
    with pytest.raises(FileExistsError, match="never overwritten"):
        save_bundle(tmp_path, bundle.manifest.model_copy(update={"temperature": 3.0}), bundle.files)
    assert load_bundle(saved).digest == bundle.digest
    assert [entry.name for entry in saved.parent.iterdir()] == ["1"]


def test_of_savers_at_the_same_time_one_wins_and_the_others_are_told(bundle, tmp_path):
    together = threading.Barrier(4)

    def attempt(_):
        together.wait(timeout=10)
        try:
            save_bundle(tmp_path, bundle.manifest, bundle.files)
        except OSError as error:
            return type(error)
        return None

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(attempt, range(4)))
    assert load_bundle(tmp_path / "digits" / "1").digest == bundle.digest
    assert [entry.name for entry in (tmp_path / "digits").iterdir()] == ["1"]
    assert sorted(outcomes, key=str) == [FileExistsError] * 3 + [None]


def test_a_save_that_fails_half_way_leaves_nothing(bundle, tmp_path):
    with pytest.raises(OSError, match="too long"):
        save_bundle(tmp_path, bundle.manifest, {**bundle.files, "x" * 300: b""})
    assert everything(tmp_path) == ["digits"]


@pytest.mark.parametrize("change", [{"../x": b""}, {"manifest.json": b""}], ids=str)
def test_files_that_no_manifest_may_list_are_not_saved(bundle, tmp_path, change):
    with pytest.raises(ValidationError):
        save_bundle(tmp_path, bundle.manifest, {**bundle.files, **change})
    assert everything(tmp_path) == []


@pytest.fixture
def library(tmp_path):
    """A models folder with digits 1, 9 and 10 and flowers 2, and with what does not count beside them."""
    for name in ("digits/10", "digits/9", "digits/1", "digits/.11-abc", "digits/x", "flowers/2", "empty"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "digits" / "12").write_bytes(b"")
    (tmp_path / "README").write_bytes(b"")
    return tmp_path


def test_models_are_listed_with_their_versions_as_numbers(library):
    assert list_models(library) == {"digits": [1, 9, 10], "flowers": [2]}
    assert list_models(library / "nowhere") == {}


def test_a_folder_that_find_bundle_would_spell_differently_is_no_version(library):
    (library / "digits" / "007").mkdir()
    assert list_models(library)["digits"] == [1, 9, 10]


@pytest.mark.parametrize(("name", "version"), [("digits", 11), ("flowers", 3), ("empty", 1), ("new", 1)])
def test_the_next_version_is_one_more_than_the_highest(library, name, version):
    assert next_version(library, name) == version


@pytest.mark.parametrize(
    ("model", "found"), [("digits", "digits/10"), ("digits/9", "digits/9"), ("flowers", "flowers/2")]
)
def test_a_bundle_is_found_by_name_with_its_highest_version_or_the_one_asked_for(library, model, found):
    assert find_bundle(library, model) == library / found


def test_the_only_model_needs_no_name(library):
    shutil.rmtree(library / "digits")
    assert find_bundle(library) == library / "flowers" / "2"


def test_a_folder_that_this_user_may_not_read_is_refused_with_what_to_do(library, monkeypatch):
    def denied(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(BundleNotFound, match=r"may not read this folder; allow it, e\.g\. chmod -R a\+rX"):
        find_bundle(library)


def test_one_of_several_models_must_be_named(library):
    with pytest.raises(BundleNotFound, match=r"there are several: digits/1, digits/9, digits/10, flowers/2\. Set"):
        find_bundle(library, None)


@pytest.mark.parametrize(
    "model", ["letters", "digits/2", "digits/09", "digits/x", "../digits", "digits/1/golden", "empty"]
)
def test_what_cannot_be_found_is_refused_with_what_there_is(library, model):
    with pytest.raises(BundleNotFound, match=r"there is .*digits/1, digits/9, digits/10, flowers/2"):
        find_bundle(library, model)


@pytest.mark.parametrize("model", [None, "digits"])
def test_an_empty_folder_says_that_it_holds_no_model(tmp_path, model):
    with pytest.raises(BundleNotFound, match="no model"):
        find_bundle(tmp_path, model)
