"""The preprocessing equals torchvision's where its weights need that, describes itself, and refuses nonsense."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torchvision import transforms
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms._presets import ImageClassification

from vision.engines.servable import Normalisation
from vision.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

PLAIN = {"policy": "squash", "resize_px": 8, "crop_px": 8, "mean": (0.0,) * 3, "std": (1.0,) * 3}
# (width, height): landscape, portrait, square, odd, enlarged, narrow, exactly right.
SIZES = [
    (640, 480),
    (480, 640),
    (400, 400),
    (257, 333),
    (1023, 511),
    (301, 299),
    (100, 83),
    (37, 501),
    (256, 256),
    (512, 256),
]


def noise(width, height):
    return np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("theirs", [transforms, v2], ids=["v1", "v2"])
@pytest.mark.parametrize(("resize_px", "crop_px"), [(256, 224), (235, 200)])
def test_crop_is_torchvisions_resize_and_centre_crop(size, interpolation, theirs, resize_px, crop_px):
    image = noise(*size)
    geometry = theirs.Compose([theirs.Resize(resize_px, InterpolationMode(interpolation)), theirs.CenterCrop(crop_px)])
    ours = Preprocessing.imagenet(resize_px, crop_px, interpolation=interpolation).apply(image)
    assert np.array_equal(ours, np.asarray(geometry(Image.fromarray(image))))


@pytest.mark.parametrize("size", [(640, 480), (333, 257)], ids=str)
def test_imagenet_gives_the_input_of_torchvisions_preset(size):
    image = noise(*size)
    preset = ImageClassification(crop_size=224, resize_size=256)
    ours = Preprocessing.imagenet()
    assert np.abs(ours.normalise(ours.apply(image)[None])[0] - preset(Image.fromarray(image)).numpy()).max() < 1e-6


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing.imagenet(crop_px=16),
        Preprocessing.zero_one(16),
        Preprocessing.minus_one_one(16, channels=1),
        Preprocessing.zero_one(16, scale=1.0, mean=(-1.0, 0.2, 1.0), std=(10.0, 3.0, 7.5)),
    ],
    ids=["imagenet", "zero_one", "gray", "unscaled"],
)
def test_the_engines_normalisation_is_the_reference(preprocessing):
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(preprocessing.channels, axis=3)
    in_graph = Normalisation(preprocessing)(torch.from_numpy(images)).numpy()
    reference = preprocessing.normalise(images)
    assert reference.dtype == in_graph.dtype == np.float32
    assert reference.shape == in_graph.shape == (1, preprocessing.channels, 16, 16)
    # Above 1, 1e-6 of the value: float32 has seven digits.
    assert (np.abs(in_graph - reference) / np.maximum(1, np.abs(reference))).max() < 1e-6


@pytest.mark.parametrize("size", [(64, 48), (20, 33), (5, 9), (1, 1), (101, 7)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_bilinear_without_antialias_is_torchs_interpolate(size, channels):
    image = noise(*size)
    ours = Preprocessing.zero_one(16, channels=channels, antialias=False).apply(image)
    source = np.asarray(Image.fromarray(image).convert("L" if channels == 1 else "RGB")).reshape(
        *image.shape[:2], channels
    )
    planes = torch.from_numpy(source.copy()).permute(2, 0, 1)[None].float()
    theirs = torch.nn.functional.interpolate(planes, (16, 16), mode="bilinear", antialias=False, align_corners=False)
    assert np.abs(ours - theirs[0].permute(1, 2, 0).numpy()).max() <= 1


def test_antialias_averages_what_shrinking_would_skip():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = 240
    smooth, sharp = (Preprocessing.zero_one(8, antialias=antialias).apply(stripes) for antialias in (True, False))
    assert np.ptp(smooth[2:-2, 2:-2]) < 8
    assert abs(float(smooth.mean()) - 60) < 8
    assert abs(float(sharp.mean()) - 60) > 30


@pytest.mark.parametrize(
    ("size", "inside"),
    [
        ((40, 20), (slice(4, 12), slice(0, 16))),
        ((20, 40), (slice(0, 16), slice(4, 12))),
        ((16, 7), (slice(4, 11), slice(0, 16))),
        ((8, 8), (slice(0, 16), slice(0, 16))),
        ((1000, 1), (slice(7, 8), slice(0, 16))),
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [1, 3])
def test_pad_keeps_the_whole_image_in_the_middle_and_fills_the_rest(size, inside, channels):
    image = np.full((size[1], size[0], 3), 200, np.uint8)
    padded = Preprocessing.zero_one(16, policy="pad", channels=channels, fill=9).apply(image)
    expected = np.full((16, 16, channels), 9)
    expected[inside] = 200
    assert np.array_equal(padded, expected)


def test_pad_leaves_a_margin_where_the_crop_is_larger():
    padded = Preprocessing.zero_one(16, policy="pad", resize_px=10).apply(np.full((20, 20, 3), 200, np.uint8))
    assert (padded[3:13, 3:13] == 200).all()
    assert padded.sum() == 10 * 10 * 3 * 200


@pytest.mark.parametrize("size", [(40, 20), (13, 57)], ids=str)
def test_squash_ignores_the_aspect_and_cuts_the_middle(size):
    image = noise(*size)
    squashed = np.asarray(Image.fromarray(image).resize((20, 20), Image.Resampling.BILINEAR))
    assert np.array_equal(Preprocessing.zero_one(20).apply(image), squashed)
    assert np.array_equal(Preprocessing.zero_one(20, crop_px=10).apply(image), squashed[5:15, 5:15])


def test_one_channel_is_luma():
    image = np.array([[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (10, 20, 30)]], np.uint8)
    gray = Preprocessing.zero_one(2, channels=1).apply(image)
    assert gray.shape == (2, 2, 1)
    assert np.abs(gray[:, :, 0] - image @ (0.299, 0.587, 0.114)).max() <= 1


@pytest.mark.parametrize(
    "preprocessing", [Preprocessing.imagenet(), Preprocessing.zero_one(7, channels=1)], ids=["rgb", "gray"]
)
@pytest.mark.parametrize("size", [(1, 1), (3, 700)], ids=str)
def test_every_image_gets_the_shape_that_is_promised(preprocessing, size):
    pixels = preprocessing.apply(noise(*size))
    assert pixels.shape == preprocessing.shape == (preprocessing.crop_px, preprocessing.crop_px, preprocessing.channels)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


_WITHIN_512_MIB = """
import resource
from pathlib import Path
import numpy as np
from vision.preprocessing import Preprocessing
Preprocessing.imagenet().apply(np.zeros((300, 300, 3), np.uint8))
mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + 512 * 2**20,) * 2)
print(Preprocessing.imagenet().apply(np.full((1, 10_000, 3), 7, np.uint8)).mean())
"""


def test_a_strip_of_10000_by_1_px_is_not_blown_up_to_gigabytes():
    child = subprocess.run([sys.executable, "-c", _WITHIN_512_MIB], capture_output=True, text=True, timeout=60)
    assert child.stdout == "7.0\n", child.stderr


@pytest.mark.parametrize(
    ("preset", "low", "high"),
    [
        (Preprocessing.zero_one(16), (0.0,) * 3, (1.0,) * 3),
        (Preprocessing.minus_one_one(16), (-1.0,) * 3, (1.0,) * 3),
        (Preprocessing.minus_one_one(16, channels=1), (-1.0,), (1.0,)),
        (
            Preprocessing.imagenet(),
            tuple(-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)),
            tuple((1 - mean) / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)),
        ),
    ],
    ids=["zero_one", "minus_one_one", "gray", "imagenet"],
)
def test_presets_map_0_and_255_to_the_ends_of_their_range(preset, low, high):
    ends = preset.normalise(np.array([0, 255], np.uint8).reshape(1, 1, 2, 1).repeat(preset.channels, axis=3))
    np.testing.assert_allclose(ends[0, :, 0, 0], low, atol=1e-6)
    np.testing.assert_allclose(ends[0, :, 0, 1], high, atol=1e-6)


PADDED = Preprocessing(policy="pad", resize_px=60, crop_px=64, fill=17, mean=(0.11, 0.12, 0.13), std=(0.21, 0.22, 0.23))


@pytest.mark.parametrize(
    ("changes", "said", "otherwise"),
    [
        ({"policy": "crop", "resize_px": 64}, "central", "fills up"),
        ({"policy": "squash", "resize_px": 64}, "whatever the aspect", "long side"),
        ({"resize_px": 59}, "59 px", "60 px"),
        ({"crop_px": 65}, "65×65 px", "64×64 px"),
        ({"interpolation": "nearest"}, "nearest", "bilinear"),
        ({"antialias": False}, "without antialiasing", "with antialiasing"),
        ({"channels": 1, "mean": (0.11,), "std": (0.21,)}, "one gray channel", "three RGB channels"),
        ({"fill": 18}, "with 18", "with 17"),
        ({"scale": 0.5}, "by 0.5,", "by 0.00392157,"),
        ({"mean": (0.11, 0.12, 0.14)}, "subtracts 0.11, 0.12, 0.14", "subtracts 0.11, 0.12, 0.13"),
        ({"colours": "srgb"}, "converts colours to sRGB", "takes colours as they are stored"),
        ({"std": (0.21, 0.22, 0.24)}, "divides by 0.21, 0.22, 0.24", "divides by 0.21, 0.22, 0.23"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_describe_says_every_field(changes, said, otherwise):
    changed = Preprocessing.model_validate(PADDED.model_dump() | changes).describe()
    assert said in changed
    assert otherwise not in changed
    assert otherwise in PADDED.describe()


@pytest.mark.parametrize("changes", [{}, {"policy": "squash", "resize_px": 70}, {"policy": "crop", "resize_px": 70}])
def test_describe_is_one_sentence_of_what_each_step_does(changes):
    preprocessing = Preprocessing.model_validate(PADDED.model_dump() | changes)
    steps = preprocessing.describe_steps()
    names = [step.name for step in preprocessing.steps(noise(5, 5))]
    assert list(steps) == ["colours", *names, "normalised"]
    rest = preprocessing.describe()
    for part in steps.values():
        before, found, rest = rest.partition(part)
        assert found, part
        assert before in ("It ", ", ", " and "), "nothing is said that is not part of a step"
    assert rest == "."


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("policy", "resize_px"), [("crop", 16), ("crop", 21), ("pad", 16), ("pad", 11), ("squash", 16), ("squash", 21)]
)
@pytest.mark.parametrize(
    ("interpolation", "antialias"), [("bilinear", True), ("bilinear", False), ("nearest", True), ("bicubic", True)]
)
def test_the_last_step_is_what_apply_returns(channels, policy, resize_px, interpolation, antialias):
    preprocessing = Preprocessing.zero_one(
        16,
        policy=policy,
        resize_px=resize_px,
        channels=channels,
        fill=77,
        interpolation=interpolation,
        antialias=antialias,
    )
    for size in [(40, 23), (23, 40), (16, 16), (21, 21), (7, 5), (1, 1), (400, 3), (3, 400)]:
        image = noise(*size)
        channel, resized, squared = preprocessing.steps(image)
        assert (channel.name, resized.name, squared.name) == ("channels", "resized", "squared")
        assert np.array_equal(squared.pixels, preprocessing.apply(image))
        assert channel.pixels.shape == (*image.shape[:2], channels)
        assert channels == 1 or np.array_equal(channel.pixels, image)
        assert {step.pixels.dtype for step in (channel, resized, squared)} == {np.dtype(np.uint8)}
        sides = resized.pixels.shape[:2]
        assert resized.pixels.shape[2] == channels
        assert (max(sides) if policy == "pad" else min(sides)) == resize_px


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"policy": "stretch"}, "policy"),
        ({"resize_px": 0}, "resize_px"),
        ({"resize_px": 4097}, "resize_px"),
        ({"resize_px": 7}, "resize_px"),
        ({"policy": "crop", "resize_px": 7}, "resize_px"),
        ({"policy": "pad", "resize_px": 9}, "resize_px"),
        ({"crop_px": 0}, "crop_px"),
        ({"interpolation": "lanczos"}, "interpolation"),
        ({"interpolation": "bicubic", "antialias": False}, "antialias"),
        ({"channels": 2}, "channels"),
        ({"channels": 1}, "mean"),
        ({"fill": 256}, "fill"),
        ({"scale": 0.0}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"mean": (0.0, 0.0, 1.1)}, "mean"),
        ({"mean": (0.0, 0.0, float("nan"))}, "mean"),
        ({"mean": (0.0,)}, "mean"),
        ({"std": (1.0, 1.0, 0.0)}, "std"),
        ({"std": (1.0,)}, "std"),
        ({"sharpen": True}, "sharpen"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_by_field(changes, field):
    with pytest.raises(ValidationError, match=rf"\b{field}\b"):
        Preprocessing.model_validate(PLAIN | changes)


@pytest.mark.parametrize("missing", PLAIN)
def test_fields_without_a_default_must_be_given(missing):
    with pytest.raises(ValidationError, match=missing):
        Preprocessing.model_validate({name: value for name, value in PLAIN.items() if name != missing})


def test_it_is_immutable():
    with pytest.raises(ValidationError, match="frozen"):
        PADDED.fill = 3


@pytest.mark.parametrize(
    "preprocessing", [PADDED, Preprocessing.imagenet(), Preprocessing.minus_one_one(32, channels=1)], ids=str
)
def test_it_survives_json(preprocessing):
    assert Preprocessing.model_validate_json(preprocessing.model_dump_json()) == preprocessing


@pytest.mark.parametrize(
    "module",
    [
        "vision.preprocessing",
        "vision.image",
        "vision.bundle.store",
        "vision.prediction",
        "vision.engines",
        "vision.engines.openvino_engine",
    ],
)
def test_what_serving_imports_loads_no_torch(module):
    code = f"import sys, {module}; print(sorted({{'torch', 'torchvision'}} & set(sys.modules)))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert child.stdout == "[]\n", child.stderr
