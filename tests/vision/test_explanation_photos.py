"""Explanations of real photos by a MobileNetV2 that learned them: they add up, and captum computes the same.

Needs ../shared; see conftest.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam, Occlusion
from rich.console import Console

from training.commands.train import train_bundle
from training.config import load_config
from vision.convolution import conv2d
from vision.engines.openvino_taps import OpenVinoTaps
from vision.engines.torch_engine import load_model
from vision.engines.torch_taps import TorchTaps
from vision.explanation import class_activation, cover, is_exact, neutral, occlusion
from vision.geometry import seen as seen_box
from vision.image import DecodeLimits, decode

pytestmark = pytest.mark.slow
PER_CATEGORY = 36
SIDE_PX = 64


@pytest.fixture(scope="module")
def photos(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first photos of each kind of flower."""
    folder = tmp_path_factory.mktemp("photos") / "flowers"
    for category in sorted((shared / "data" / "flowers").iterdir()):
        (folder / category.name).mkdir(parents=True)
        for photo in sorted(category.glob("*.jpg"))[:PER_CATEGORY]:
            shutil.copy(photo, folder / category.name)
    return folder


@pytest.fixture(scope="module")
def bundle(shared: Path, photos: Path):
    weights = shared / "weights" / "mobilenet_v2-64px.safetensors"
    if not weights.is_file():
        pytest.skip("needs ../shared/weights/mobilenet_v2-64px.safetensors, which is not part of the repository")
    epochs = {"epochs_frozen": 2, "epochs_finetuned": 6, "learning_rate": 2e-2}
    config = load_config("flowers", {"weights": str(weights), "image_px": SIDE_PX, **epochs})
    return train_bundle(photos, photos.parent / "models" / "flowers", config, Console(quiet=True))


@pytest.fixture(scope="module")
def labelled(bundle, photos):
    """Six photos of each kind, with the index of their category."""
    return [
        (decode(file.read_bytes(), DecodeLimits()).pixels, index)
        for index, category in enumerate(bundle.manifest.categories)
        for file in sorted((photos / category).iterdir())[:6]
    ]


@pytest.fixture(scope="module")
def squares(bundle, labelled):
    return np.stack([bundle.manifest.preprocessing.apply(image) for image, _ in labelled])


@pytest.fixture(scope="module")
def every_taps(bundle):
    return {"openvino": OpenVinoTaps(bundle, 1), "torch": TorchTaps(bundle, 1)}


@pytest.fixture(params=["openvino", "torch"])
def taps(request, every_taps):
    return every_taps[request.param]


@pytest.fixture(scope="module")
def network(bundle):
    return load_model(bundle)


def normalised(bundle, squares):
    return torch.from_numpy(bundle.manifest.preprocessing.normalise(squares))


def test_the_network_learned_the_flowers(taps, squares, labelled):
    labels = np.array([label for _, label in labelled])
    assert (taps.infer(squares).argmax(axis=1) == labels).mean() > 0.6


def test_the_first_layer_is_the_textbooks(bundle, taps, squares):
    layer = taps.first
    for square in squares[::5]:
        seen = taps.observe(square)
        assert np.abs(seen.entered - bundle.manifest.preprocessing.normalise(square[None])[0]).max() < 1e-6
        computed = conv2d(seen.entered, layer.kernels, layer.bias, layer.stride, layer.padding)
        assert np.abs(computed - seen.convolved).max() < 1e-4


def test_the_cells_sum_to_the_logits_and_their_differences(taps, squares):
    assert is_exact(taps, squares)
    for square in squares:
        seen = taps.observe(square)
        assert seen.last.shape == (1280, 2, 2)
        best, second = np.argsort(-seen.logits)[:2]
        for label in range(5):
            assert abs(class_activation(seen.last, taps.head, label).sum() - seen.logits[label]) < 1e-4
        lead = class_activation(seen.last, taps.head, best, second)
        assert abs(lead.sum() - (seen.logits[best] - seen.logits[second])) < 1e-4


def test_openvino_and_torch_show_the_same(every_taps, squares):
    for square in squares[::3]:
        one, other = (taps.observe(square) for taps in every_taps.values())
        assert np.abs(one.logits - other.logits).max() < 1e-4
        assert np.abs(one.last - other.last).max() < 1e-4
        assert [maps.shape for maps in one.stages] == [maps.shape for maps in other.stages]


@pytest.mark.parametrize("label", range(5))
def test_class_activation_is_captums_grad_cam_and_the_bias(bundle, taps, network, squares, label):
    method = LayerGradCam(network, network.backbone.features)
    theirs = method.attribute(normalised(bundle, squares), target=label, relu_attributions=False)
    theirs = theirs[:, 0].detach().numpy() + taps.head.bias[label] / 4
    for square, expected in zip(squares, theirs, strict=True):
        ours = class_activation(taps.observe(square).last, taps.head, label)
        assert np.abs(ours - expected).max() < 1e-4


@pytest.mark.parametrize("cells", [4, 8])
def test_occlusion_is_captums(bundle, taps, network, squares, labelled, cells):
    side = SIDE_PX // cells
    value = neutral(bundle.manifest.preprocessing)
    gray = normalised(bundle, np.array(value, np.uint8).reshape(1, 1, 1, 3))
    method = Occlusion(network)
    for index in (0, 13, 29):
        label = labelled[index][1]
        theirs = method.attribute(
            normalised(bundle, squares[index : index + 1]),
            sliding_window_shapes=(3, side, side),
            strides=(3, side, side),
            baselines=gray,
            target=label,
            perturbations_per_eval=8,
        )[0, 0]
        expected = theirs[::side, ::side].detach().numpy()
        ours = occlusion(taps.infer, squares[index], cells, value, label).drops
        assert np.abs(ours - expected).max() < 1e-4
        assert np.abs(ours).max() > 0.1


def test_covering_the_whole_square_on_the_photo_is_covering_it_in_the_square(bundle, taps, labelled):
    """Through the whole preprocessing: the box that `seen` names holds all that reaches the network, and no less."""
    preprocessing = bundle.manifest.preprocessing
    value = neutral(preprocessing)
    blank = taps.infer(np.full((1, SIDE_PX, SIDE_PX, 3), value, np.uint8))[0]
    for image, _ in labelled[::7]:
        height, width = image.shape[:2]
        left, top, right, bottom = seen_box(preprocessing, width, height)
        # A pixel of the square averages over source pixels up to one of its own sides away.
        around = int(np.ceil((right - left) / SIDE_PX)) + 1
        begin_x, begin_y = max(0, int(left) - around), max(0, int(top) - around)
        box = (begin_x, begin_y, int(right) + 1 + around - begin_x, int(bottom) + 1 + around - begin_y)
        covered = preprocessing.apply(cover(image, box, value))
        assert (covered == np.array(value, np.uint8)).all()
        assert np.abs(taps.infer(covered[None])[0] - blank).max() < 1e-4
        inner = (round(left + (right - left) / 4), round(top), round((right - left) / 2), round(bottom - top))
        assert (preprocessing.apply(cover(image, inner, value)) != np.array(value, np.uint8)).any()
