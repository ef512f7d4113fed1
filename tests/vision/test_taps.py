"""What is seen inside the demo's network: the same through OpenVINO and torch, and what the textbook computes."""

import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from vision.bundle.manifest import OPENVINO_FILE
from vision.convolution import conv2d
from vision.engines.openvino_engine import OpenVinoEngine, native_precisions
from vision.engines.openvino_taps import OpenVinoTaps
from vision.engines.selection import load_taps, load_twin
from vision.engines.taps import Taps, as_padding
from vision.engines.torch_engine import TorchEngine
from vision.engines.torch_taps import TorchTaps
from vision.errors import EngineUnavailable
from vision.image import DecodeLimits, decode


@pytest.fixture(scope="module")
def taps(shipped) -> dict[str, Taps]:
    return {"openvino": OpenVinoTaps(shipped, 1), "torch": TorchTaps(shipped, 1)}


@pytest.fixture(scope="module")
def squares(shipped, digit):
    """The golden images and digits that no model has seen, as the network gets them."""
    images = [decode(data, DecodeLimits()).pixels for data in shipped.golden.images]
    images += [np.asarray(digit(value, turn_deg=5.0)) for value in range(10)]
    return np.stack([shipped.manifest.preprocessing.apply(image) for image in images])


@pytest.fixture(params=["openvino", "torch"])
def tapped(request, taps) -> Taps:
    return taps[request.param]


def test_the_logits_are_those_of_the_engines(shipped, taps, squares):
    expected = OpenVinoEngine(shipped, "f32", 1).infer(squares)
    assert np.abs(expected - TorchEngine(shipped, 1).infer(squares)).max() < 1e-4
    for tapped in taps.values():
        assert np.abs(tapped.infer(squares) - expected).max() < 1e-4
        for square, row in zip(squares, expected, strict=True):
            assert np.abs(tapped.observe(square).logits - row).max() < 1e-4


def test_openvino_and_torch_see_the_same(taps, squares):
    """But for the first layer's own numbers: OpenVINO folds the batch normalisation into them."""
    for square in squares:
        one, other = (tapped.observe(square) for tapped in taps.values())
        assert np.abs(one.entered - other.entered).max() < 1e-5
        # Values up to 20; measured 1e-5.
        assert np.abs(one.last - other.last).max() < 1e-4
        assert [maps.shape for maps in one.stages] == [(16, 16, 16), (32, 8, 8), (64, 4, 4)]
        for maps, same in zip(one.stages, other.stages, strict=True):
            assert maps.shape == same.shape
            assert np.abs(maps - same).max() < 1e-4
    heads = [tapped.head for tapped in taps.values()]
    assert np.array_equal(heads[0].weights, heads[1].weights)
    assert np.array_equal(heads[0].bias, heads[1].bias)


def test_the_first_layer_is_the_textbooks_convolution(tapped, squares):
    layer = tapped.first
    assert layer.kernels.shape == (16, 1, 3, 3)
    assert layer.bias.shape == (16,)
    assert (layer.stride, layer.padding) == (1, 1)
    for square in squares:
        seen = tapped.observe(square)
        computed = conv2d(seen.entered, layer.kernels, layer.bias, layer.stride, layer.padding)
        assert np.abs(computed - seen.convolved).max() < 1e-5


def test_what_enters_is_the_normalised_square(shipped, tapped, squares):
    for square in squares:
        expected = shipped.manifest.preprocessing.normalise(square[None])[0]
        assert np.abs(tapped.observe(square).entered - expected).max() < 1e-6


def test_openvino_shows_the_folded_batch_normalisation_and_the_relu_behind_it(shipped, taps, squares):
    """Batch normalisation after torch's bare convolution is OpenVINO's convolution, and ReLU gives the first maps."""
    network = TorchEngine(shipped, 1)._servable.model.backbone[0]
    assert taps["openvino"].first.activation == "ReLU"
    for square in squares:
        bare, folded = taps["torch"].observe(square), taps["openvino"].observe(square)
        with torch.inference_mode():
            normalised = network[1](torch.from_numpy(bare.convolved)[None])[0].numpy()
        assert np.abs(normalised - folded.convolved).max() < 1e-5
        assert np.array_equal(folded.activated, np.maximum(folded.convolved, 0))


def test_the_mean_of_the_last_maps_through_the_head_gives_the_logits(tapped, squares):
    for square in squares:
        seen = tapped.observe(square)
        assert np.array_equal(seen.last, seen.stages[-1])
        computed = tapped.head.weights @ seen.last.mean(axis=(1, 2)) + tapped.head.bias
        assert np.abs(computed - seen.logits).max() < 1e-4


def test_a_batch_is_answered_image_by_image(tapped, squares):
    together = tapped.infer(squares)
    alone = np.concatenate([tapped.infer(square[None]) for square in squares])
    assert together.shape == (len(squares), 10)
    assert together.dtype == np.float32
    assert np.abs(together - alone).max() < 1e-4


def test_what_was_observed_stays_when_the_taps_run_again(tapped, squares):
    seen = tapped.observe(squares[0])
    names = ("logits", "entered", "convolved", "activated", "last")
    kept = {name: getattr(seen, name).copy() for name in names}
    stages = [maps.copy() for maps in seen.stages]
    tapped.infer(255 - squares[:3])
    tapped.observe(255 - squares[1])
    for name in names:
        assert np.array_equal(getattr(seen, name), kept[name]), name
    assert all(np.array_equal(maps, copy) for maps, copy in zip(seen.stages, stages, strict=True))
    assert np.array_equal(tapped.observe(squares[0]).logits, kept["logits"])


@pytest.mark.parametrize(
    ("engine", "kind", "description"),
    [
        ("openvino-f32", OpenVinoTaps, "openvino-f32"),
        ("openvino-bf16", OpenVinoTaps, "openvino-f32"),
        ("openvino-int8", OpenVinoTaps, "openvino-f32"),
        ("torch-f32", TorchTaps, "torch-f32"),
        ("torch-cuda-f32", TorchTaps, "torch-f32"),
    ],
)
def test_the_taps_fit_the_engine_that_serves_and_are_float32(shipped, engine, kind, description):
    loaded = load_taps(shipped, engine, 1)
    assert isinstance(loaded, kind)
    assert loaded.description == description


@pytest.mark.parametrize("engine", ["torch-f32", *(f"openvino-{precision}" for precision in native_precisions())])
def test_a_twin_is_the_engine_that_serves_once_more(shipped, squares, engine):
    name, _, precision = engine.partition("-")
    serving = TorchEngine(shipped, 1) if name == "torch" else OpenVinoEngine(shipped, precision, 1)
    twin = load_twin(shipped, engine, 1)
    assert twin.description == serving.description == engine
    assert np.array_equal(twin.infer(squares[:1]), serving.infer(squares[:1]))


@pytest.mark.parametrize("engine", ["torch-cuda-f32", "torch-cuda-bf16", "torch-cuda-f16"])
def test_an_engine_beside_a_gpu_has_no_twin(shipped, engine):
    assert load_twin(shipped, engine, 1) is None


def test_an_ir_that_cannot_be_compiled_is_refused_by_file(shipped):
    damaged = dataclasses.replace(shipped, files={**shipped.files, OPENVINO_FILE: b"<net>"})
    with pytest.raises(EngineUnavailable, match=rf"{OPENVINO_FILE} cannot be compiled with taps"):
        load_taps(damaged, "openvino-f32", 1)


_OBSERVE = """
import sys
from pathlib import Path
import numpy as np
from vision.bundle.store import load_bundle
from vision.engines.selection import load_taps, load_twin
from vision.explanation import is_exact
taps = load_taps(load_bundle(Path(sys.argv[1])), "openvino-f32", 1)
print(is_exact(taps, [np.zeros((16, 16, 1), np.uint8)]), "torch" in sys.modules)
"""


def test_observing_through_openvino_never_loads_torch(shipped):
    child = subprocess.run([sys.executable, "-c", _OBSERVE, shipped.path], capture_output=True, text=True, timeout=60)
    assert child.stdout == "True False\n", child.stderr


def test_a_padding_is_named_only_if_the_textbook_gives_the_same_convolution_with_it():
    generator = np.random.default_rng(0)
    named = set()
    for sides, window, stride in itertools.product([(7, 8), (6, 6), (5, 9)], [1, 2, 3, 4], [1, 2, 3]):
        image, kernel = generator.normal(size=(1, *sides)), generator.normal(size=(1, 1, window, window))
        for top, left, bottom, right in itertools.product(range(3), repeat=4):
            padding = as_padding((top, left), (bottom, right), sides, window, stride)
            named.add(padding)
            if padding is None:
                assert (top, left) != (bottom, right) or top != left
                continue
            source = functional.pad(torch.from_numpy(image), (left, right, top, bottom))
            expected = functional.conv2d(source[None], torch.from_numpy(kernel), stride=stride)[0].numpy()
            answer = conv2d(image, kernel, stride=stride, padding=padding)
            assert answer.shape == expected.shape
            assert np.allclose(answer, expected, atol=1e-12)
    assert named == {"valid", "same", 1, 2, None}


@pytest.mark.parametrize(
    ("before", "after", "sides", "window", "stride", "padding"),
    [
        ((0, 0), (0, 0), (32, 32), 5, 1, "valid"),
        ((3, 3), (3, 3), (224, 224), 7, 2, 3),
        ((1, 1), (1, 1), (16, 16), 3, 1, 1),
        ((0, 0), (1, 1), (64, 64), 3, 2, "same"),
        ((1, 1), (2, 2), (9, 9), 4, 1, "same"),
        ((0, 1), (1, 1), (64, 65), 3, 2, "same"),
        ((1, 1), (0, 0), (64, 64), 3, 2, None),  # the odd pixel at the beginning
        ((1, 0), (1, 0), (16, 16), 3, 1, None),
        ((0, 0), (2, 2), (16, 16), 3, 1, None),
    ],
)
def test_worked_paddings(before, after, sides, window, stride, padding):
    assert as_padding(before, after, sides, window, stride) == padding
