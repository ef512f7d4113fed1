"""A manifest that lies is refused, though every hash and the checksum fit."""

import pytest

from vision.bundle.store import load_bundle
from vision.errors import GoldenMismatch, ManifestInvalid, MissingFile, SizeMismatch

GOLDEN, WEIGHTS = "golden/expected.json", "model.safetensors"


def listing(name):
    return lambda manifest: manifest["files"].update({name: manifest["files"][WEIGHTS]})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda manifest: manifest.update(format="other"), "format"),
        (lambda manifest: manifest.update(format_version=2), "format_version"),
        (lambda manifest: manifest.update(signed_by="me"), "signed_by"),
        (lambda manifest: manifest["preprocessing"].update(sharpen=1), "preprocessing.sharpen"),
        (lambda manifest: manifest["files"][WEIGHTS].update(mode=1), f"files.{WEIGHTS}.mode"),
        (lambda manifest: manifest.pop("categories"), "categories"),
        (lambda manifest: manifest.update(categories=["0"]), "categories"),
        (lambda manifest: manifest["categories"].__setitem__(3, "4"), "two categories have the same name"),
        (lambda manifest: manifest["categories"].__setitem__(3, "  "), "category '  '"),
        (lambda manifest: manifest["categories"].__setitem__(3, ""), "category ''"),
        (lambda manifest: manifest["categories"].__setitem__(3, "a\x1b[2J"), "category 'a"),
        (lambda manifest: manifest["categories"].__setitem__(3, "x" * 201), "category 'x"),
        (lambda manifest: manifest.update(temperature=0), "temperature"),
        (lambda manifest: manifest.update(name="../digits"), "name"),
        (lambda manifest: manifest["files"].pop(WEIGHTS), WEIGHTS),
        (lambda manifest: manifest["files"].pop(GOLDEN), GOLDEN),
        (lambda manifest: manifest["files"][WEIGHTS].update(sha256="A" * 64), "sha256"),
        (lambda manifest: manifest["files"][WEIGHTS].update(size_bytes=-1), "size_bytes"),
        (listing("../x"), "'../x'"),
        (listing("/etc/passwd"), "'/etc/passwd'"),
        (listing("golden/../x"), "'golden/../x'"),
        (listing("./x"), "'./x'"),
        (listing("golden//x"), "'golden//x'"),
        (listing("a\\b"), "file 'a"),
        (listing(""), "file ''"),
        (listing("manifest.json"), "itself"),
    ],
)
def test_a_manifest_that_is_not_understood_is_refused(folder, forge, change, named):
    forge(change)
    with pytest.raises(ManifestInvalid) as error:
        load_bundle(folder)
    assert error.value.file == "manifest.json"
    assert named in str(error.value)


@pytest.mark.parametrize("apart", [-1, 1, 2**40, 2**63])
def test_a_size_that_is_not_the_files_is_refused(folder, forge, apart):
    forge(lambda manifest: manifest["files"][WEIGHTS].update(size_bytes=(folder / WEIGHTS).stat().st_size + apart))
    with pytest.raises((SizeMismatch, ManifestInvalid), match=WEIGHTS):
        load_bundle(folder)


@pytest.mark.parametrize("change", [lambda old: [*old, "ten"], lambda old: old[:-1]], ids=["more", "fewer"])
def test_another_number_of_categories_is_refused(folder, forge, change):
    forge(lambda manifest: manifest.update(categories=change(manifest["categories"])))
    with pytest.raises(GoldenMismatch, match="10 probabilities") as error:
        load_bundle(folder)
    assert error.value.file == GOLDEN


def test_a_golden_sample_that_is_not_there_is_refused(folder, change_golden):
    change_golden(lambda rows: rows.update({"9.png": rows.pop("0.png")}))
    with pytest.raises(MissingFile) as error:
        load_bundle(folder)
    assert error.value.file == "golden/9.png"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b'{"tolerance": 0.2, "probabilities": {"0.png": [0, 1]}}',
        b'{"tolerance": 0.02, "probabilities": {}}',
    ],
)
def test_golden_expectations_that_are_not_understood_are_refused(folder, forge, text):
    (folder / GOLDEN).write_bytes(text)
    forge()
    with pytest.raises(ManifestInvalid) as error:
        load_bundle(folder)
    assert error.value.file == GOLDEN
