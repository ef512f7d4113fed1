"""The path through a device, on CPU tensors: the reference's pixels and answers for every kind of batch."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from vision.bundle.store import load_bundle
from vision.device import pipeline as pipeline_module
from vision.device.pipeline import DevicePipeline, Placed
from vision.device.resampling import squares
from vision.engines import cuda_engine
from vision.engines.cuda_engine import CudaEngine
from vision.engines.selection import golden_difference, load_engine
from vision.engines.torch_engine import TorchEngine
from vision.geometry import place
from vision.hardware import count_gpus
from vision.image import DecodeLimits
from vision.prediction import probabilities
from vision.preprocessing import Preprocessing

# Wide, tall, tiny, exact, enlarged, strips whose ends are not read; rows or columns first, and where that turns.
SIZES = [
    (60, 80),
    (80, 60),
    (7, 5),
    (32, 32),
    (20, 31),
    (200, 150),
    (9, 400),
    (400, 9),
    (33, 64),
    (300, 70),
    (72, 52),
    (73, 52),
]
WAYS = [("bilinear", True), ("bicubic", True), ("bilinear", False), ("nearest", True), ("nearest", False)]
SPECIFICATIONS = [
    Preprocessing(
        policy=policy,
        resize_px=32 if policy != "crop" else 36,
        crop_px=32,
        interpolation=interpolation,
        antialias=antialias,
        channels=channels,
        fill=77,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
    )
    for policy, (interpolation, antialias), channels in itertools.product(("crop", "pad", "squash"), WAYS, (1, 3))
]


def pictures(seed: int = 0) -> list[np.ndarray]:
    """Smooth colours with noise on top, one of each size."""
    generator = np.random.default_rng(seed)
    found = []
    for height, width in SIZES:
        y, x = np.mgrid[:height, :width]
        smooth = np.stack([128 + 90 * np.sin((x + k * y) / 9) for k in range(3)], axis=2)
        found.append((smooth + generator.normal(0, 25, smooth.shape)).clip(0, 255).astype(np.uint8))
    return found


def placed(image: np.ndarray, preprocessing: Preprocessing) -> Placed:
    return Placed(image, place(preprocessing, image.shape[1], image.shape[0]))


def shown(preprocessing: Preprocessing) -> str:
    return f"{preprocessing.policy}-{preprocessing.interpolation}-{preprocessing.antialias}-{preprocessing.channels}"


@pytest.mark.parametrize("preprocessing", SPECIFICATIONS, ids=shown)
def test_a_batch_of_all_sizes_gets_the_references_pixels(preprocessing):
    images = [placed(image, preprocessing) for image in pictures()]
    boxes = [image.box for image in images]
    height, width = (max(box.shape[axis] for box in boxes) for axis in (0, 1))
    pixels = np.random.default_rng(1).integers(
        0, 256, (len(boxes), height, width, 3), dtype=np.uint8
    )  # what is beside an image is anything
    for row, box in zip(pixels, boxes, strict=True):
        row[: box.shape[0], : box.shape[1]] = box
    got = squares(torch.from_numpy(pixels), preprocessing, [image.placement for image in images]).numpy().astype(int)
    expected = np.stack([preprocessing.apply(image.pixels) for image in images]).astype(int)
    apart = np.abs(got - expected)
    assert got.shape == expected.shape
    assert apart.max() <= 1, [int(one.max()) for one in apart]
    assert (apart > 0).mean() <= (0 if preprocessing.antialias or preprocessing.interpolation == "nearest" else 0.01)


class Sums(nn.Module):
    """uint8 (N, S, S, C) → (N, 2): the sum of all values and of those in the first row."""

    def __init__(self, largest: int = 1000) -> None:
        super().__init__()
        self.largest = largest
        self.sizes: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.largest:
            raise torch.OutOfMemoryError(f"{len(images)} images")
        self.sizes.append(len(images))
        return torch.stack([images.sum(dim=(1, 2, 3)), images[:, 0].sum(dim=(1, 2))], dim=1).float()


PREPROCESSING = Preprocessing.imagenet(36, 32)


def made(network: Sums, most: int = 8) -> DevicePipeline:
    return DevicePipeline(network, PREPROCESSING, "cpu", most)


def sums(images: list[Placed]) -> np.ndarray:
    """What the network gives for each image alone."""
    return np.concatenate([made(Sums()).classify([image]) for image in images])


@pytest.mark.parametrize("count", [1, 3, 8, 19])
def test_each_image_gets_its_own_answer_in_its_place(count):
    images = [placed(image, PREPROCESSING) for image in (pictures(0) + pictures(1) + pictures(2))[:count]]
    network = Sums()
    assert np.array_equal(made(network).classify(images), sums(images))
    assert all(size & (size - 1) == 0 and size <= 8 for size in network.sizes), "a power of two"


def test_images_that_are_squares_already_are_not_resized():
    images = [PREPROCESSING.apply(image) for image in pictures()]
    assert np.array_equal(made(Sums()).infer(images)[:, 0], np.stack(images).sum(axis=(1, 2, 3)))


def test_pixels_are_resized_so_many_at_a_time(monkeypatch):
    images = [placed(image, PREPROCESSING) for image in pictures()]
    expected = sums(images)
    seen = []

    def watched(pixels, *rest):
        seen.append(pixels.shape[:3])
        return squares(pixels, *rest)

    monkeypatch.setattr(pipeline_module, "MAX_PIXELS", 2 * 80 * 80)
    monkeypatch.setattr(pipeline_module, "squares", watched)
    assert np.array_equal(made(Sums()).classify(images), expected)
    assert sum(count for count, _, _ in seen) == len(images)
    weights = PREPROCESSING.crop_px
    assert all(
        count == 1 or count * max(height * width, weights * height, weights * width) <= 2 * 80 * 80
        for count, height, width in seen
    )


@pytest.mark.parametrize("largest", [1, 2, 5])
def test_a_batch_that_does_not_fit_into_memory_is_cut_in_halves(largest):
    images = [placed(image, PREPROCESSING) for image in pictures()]
    network = Sums(largest)
    assert np.array_equal(made(network).classify(images), sums(images))
    assert max(network.sizes) <= largest


def test_one_image_that_does_not_fit_is_the_callers_problem_and_the_pipeline_lives_on():
    image = placed(pictures()[0], PREPROCESSING)
    network = Sums(0)
    pipeline = made(network)
    with pytest.raises(torch.OutOfMemoryError):
        pipeline.classify([image])
    network.largest = 8
    assert np.array_equal(pipeline.classify([image]), sums([image]))


def test_threads_share_a_pipeline():
    images = [placed(image, PREPROCESSING) for image in pictures()]
    expected, pipeline = sums(images), made(Sums())
    with ThreadPoolExecutor(4) as threads:
        got = list(threads.map(lambda index: pipeline.classify([images[index]]), list(range(len(images))) * 4))
    assert np.array_equal(np.concatenate(got), np.tile(expected, (4, 1)))


@pytest.fixture(scope="module")
def bundle(models):
    return load_bundle(models / "digits" / "1")


@pytest.mark.parametrize("precision", cuda_engine.PRECISIONS)
def test_each_precision_reproduces_the_golden_samples(bundle, precision):
    engine = CudaEngine(bundle, precision, device="cpu")
    engine.warm(np.zeros((4, *bundle.manifest.preprocessing.shape), np.uint8))
    assert engine.description == f"torch-cpu-{precision}"
    assert golden_difference(bundle, engine, DecodeLimits()) is None


def test_a_large_image_is_resized_before_it_waits(bundle, digit):
    engine = CudaEngine(bundle, "f32", device="cpu")
    large = np.array(digit(4).resize((1500, 1500)))
    prepared = engine.prepare(large)
    assert prepared.pixels.shape[:2] == bundle.manifest.preprocessing.shape[:2]
    expected = TorchEngine(bundle, 1).infer(bundle.manifest.preprocessing.apply(large)[None].copy())
    assert np.abs(engine.infer_prepared([prepared]) - expected).max() < 1e-3


def test_squares_and_images_give_the_same(bundle, digit):
    engine = CudaEngine(bundle, "f32", device="cpu")
    images = [np.array(digit(value)) for value in range(10)]
    through = engine.infer_prepared([engine.prepare(image) for image in images])
    given = engine.infer(np.stack([bundle.manifest.preprocessing.apply(image) for image in images]))
    temperature = bundle.manifest.temperature
    assert np.abs(probabilities(through, temperature) - probabilities(given, temperature)).max() < 0.01


class OnCpu(CudaEngine):
    """As on a GPU whose float16 overflows."""

    def __init__(self, bundle, precision):
        super().__init__(bundle, precision, device="cpu")
        self.precision = precision

    def infer_prepared(self, images):
        return super().infer_prepared(images) * (np.nan if self.precision == "f16" else 1)


@pytest.mark.parametrize(
    ("name", "expected"), [("auto", "torch-cpu-bf16"), ("torch", "torch-cpu-bf16"), ("openvino", "openvino-")]
)
def test_the_gpu_serves_with_the_fewest_bits_that_pass(bundle, monkeypatch, name, expected):
    monkeypatch.setattr("vision.engines.selection._cuda_works", lambda: True)
    monkeypatch.setattr(cuda_engine, "CudaEngine", OnCpu)
    assert load_engine(bundle, name, 1, DecodeLimits()).description.startswith(expected)


def test_gpus_are_counted_by_their_device_files(tmp_path, monkeypatch):
    assert count_gpus(tmp_path) == 0
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert count_gpus(tmp_path) == 2
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # an image without torch
    assert count_gpus(tmp_path) == 0
