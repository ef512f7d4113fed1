"""A bundle that cannot reproduce its golden samples is not served, though every hash and the checksum fit."""

import json

import numpy as np
import pytest
from safetensors.numpy import load, save

from vision.bundle.store import load_bundle
from vision.engines.selection import load_engine
from vision.errors import EngineUnavailable, GoldenMismatch, ManifestInvalid, TensorMismatch
from vision.image import DecodeLimits

ENGINES = ["torch", "openvino"]
WEIGHTS = "model.safetensors"


def serve(folder, engine):
    return load_engine(load_bundle(folder), engine, 1, DecodeLimits())


def test_a_forged_bundle_without_a_change_still_loads(folder, forge):
    forge()
    assert serve(folder, "torch").description.startswith("torch")


@pytest.mark.parametrize("engine", ENGINES)
def test_another_number_of_categories_is_refused_though_the_golden_samples_fit(folder, forge, change_golden, engine):
    change_golden(lambda rows: [row.append(0.0) for row in rows.values()])
    forge(lambda manifest: manifest["categories"].append("ten"))
    with pytest.raises((TensorMismatch, GoldenMismatch), match=r"\b11\b|categories"):
        serve(folder, engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda rows: rows["0.png"].reverse(), id="reversed"),
        pytest.param(lambda rows: rows.update({"0.png": rows["1.png"], "1.png": rows["0.png"]}), id="swapped"),
        pytest.param(lambda rows: rows["0.png"].__setitem__(0, float("nan")), id="one NaN"),
        pytest.param(
            lambda rows: [row.__setitem__(slice(None), [float("nan")] * 10) for row in rows.values()], id="all NaN"
        ),
    ],
)
def test_other_golden_probabilities_are_refused(folder, change_golden, engine, change):
    change_golden(change)
    with pytest.raises((GoldenMismatch, ManifestInvalid), match="golden"):
        serve(folder, engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_permuted_categories_are_refused(folder, forge, engine):
    forge(lambda manifest: manifest["categories"].reverse())
    with pytest.raises(GoldenMismatch):
        serve(folder, engine)


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [0.4]},
        {"std": [0.6]},
        {"scale": 1.0},
        {"resize_px": 14},
        {"policy": "squash", "crop_px": 12},
    ],
    ids=str,
)
def test_another_preprocessing_does_not_reproduce_the_golden_samples(folder, forge, change):
    forge(lambda manifest: manifest["preprocessing"].update(change))
    with pytest.raises(GoldenMismatch, match=r"torch-.*golden/\d\.png differs by"):
        serve(folder, "torch")
    with pytest.raises(ManifestInvalid, match=r"preprocessing is not the one that openvino/model\.xml was made with"):
        serve(folder, "openvino")  # it holds its own numbers, so its answers stay right while the manifest lies


@pytest.mark.parametrize("engine", ENGINES)
def test_another_temperature_does_not_reproduce_the_golden_samples(folder, forge, engine):
    forge(lambda manifest: manifest.update(temperature=2.0))
    with pytest.raises(GoldenMismatch, match="differs by"):
        serve(folder, engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "change", [{"crop_px": 20, "resize_px": 20}, {"channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3}], ids=str
)
def test_an_input_of_another_shape_is_refused(folder, forge, engine, change):
    forge(lambda manifest: manifest["preprocessing"].update(change))
    with pytest.raises(GoldenMismatch if engine == "torch" else ManifestInvalid, match=r"shape|preprocessing"):
        serve(folder, engine)


def altered(tensors, name, change):
    return {key: change(tensor) if key == name else tensor for key, tensor in tensors.items()}


def one_nan(tensor):
    changed = tensor.copy()
    changed.flat[0] = np.nan
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, name: {key: tensor for key, tensor in tensors.items() if key != name}, "missing"),
        (lambda tensors, name: tensors | {name + ".old": tensors[name]}, "not part of the architecture"),
        (lambda tensors, name: altered(tensors, name, np.transpose), "architecture and categories need"),
        (lambda tensors, name: altered(tensors, name, lambda tensor: tensor.astype(np.float16)), "float16"),
        (lambda tensors, name: altered(tensors, name, one_nan), "not finite"),
    ],
    ids=["dropped", "added", "transposed", "halved", "NaN"],
)
def test_tensors_that_do_not_fit_are_refused_by_name(folder, forge, change, message):
    tensors = load((folder / WEIGHTS).read_bytes())
    (folder / WEIGHTS).write_bytes(save(change(tensors, "head.1.weight")))
    forge()
    with pytest.raises(TensorMismatch, match=message) as error:
        serve(folder, "torch")
    assert error.value.file == WEIGHTS
    assert "head.1.weight" in str(error.value)


@pytest.mark.parametrize("data", [b"", b"weights", b"\xff" * 100])
def test_weights_that_are_no_safetensors_are_refused(folder, forge, data):
    (folder / WEIGHTS).write_bytes(data)
    forge()
    with pytest.raises(TensorMismatch, match="not a safetensors file"):
        serve(folder, "torch")


def test_other_weights_of_the_right_shape_do_not_reproduce_the_golden_samples(folder, forge):
    tensors = load((folder / WEIGHTS).read_bytes())
    (folder / WEIGHTS).write_bytes(save(altered(tensors, "head.1.weight", np.negative)))
    forge()
    with pytest.raises(GoldenMismatch):
        serve(folder, "torch")


@pytest.mark.parametrize(
    "architecture",
    [
        {"name": "alexnet9"},
        {"name": "simple_resnet", "arguments": {"nope": 1}},
        {"name": "simple_resnet", "arguments": {"num_classes": 3}},
        {"name": "simple_resnet", "arguments": {"name": "lenet5"}},
        {"name": "simple_resnet", "arguments": {"widths": []}},
        {"name": "simple_resnet", "arguments": {"widths": [-1]}},
        {"name": "simple_resnet", "arguments": {"dropout": 7}},
    ],
    ids=str,
)
def test_an_architecture_that_cannot_be_built_is_refused(folder, forge, architecture):
    forge(lambda manifest: manifest.update(architecture=architecture))
    with pytest.raises(ManifestInvalid, match="architecture"):
        serve(folder, "torch")


@pytest.mark.parametrize(
    "architecture", [{"name": "lenet5"}, {"name": "simple_resnet", "arguments": {"widths": [16, 32]}}], ids=str
)
def test_an_architecture_that_the_weights_do_not_fit_is_refused(folder, forge, architecture):
    forge(lambda manifest: manifest.update(architecture=architecture))
    with pytest.raises(TensorMismatch):
        serve(folder, "torch")


@pytest.mark.parametrize(
    ("name", "data"), [("openvino/model.xml", b"<net"), ("openvino/model.bin", b""), ("openvino/model.bin", bytes(100))]
)
def test_a_network_that_openvino_cannot_compile_is_refused(folder, forge, name, data):
    (folder / name).write_bytes(data)
    forge()
    with pytest.raises(EngineUnavailable, match="openvino/model"):
        serve(folder, "openvino")


def test_a_network_without_its_weights_is_refused(folder, forge):
    (folder / "openvino" / "model.bin").unlink()
    manifest = json.loads((folder / "manifest.json").read_bytes())
    del manifest["files"]["openvino/model.bin"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    forge()
    with pytest.raises((EngineUnavailable, ManifestInvalid), match=r"openvino/model\.bin"):
        serve(folder, "openvino")
