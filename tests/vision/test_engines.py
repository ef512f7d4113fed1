"""Every engine gives the same answers, alone or in a batch, and the fastest one that proves it is chosen."""

import dataclasses
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from vision.bundle.golden import Golden
from vision.bundle.manifest import OPENVINO_FILE, Parity
from vision.bundle.store import load_bundle
from vision.engines import openvino_engine
from vision.engines.openvino_engine import OpenVinoEngine, native_precisions, serving_precisions
from vision.engines.selection import golden_difference, load_engine, warm
from vision.engines.torch_engine import TorchEngine
from vision.errors import EngineUnavailable, GoldenMismatch
from vision.image import DecodeLimits
from vision.prediction import probabilities

LIMITS = DecodeLimits()
# The largest difference of a probability between an image in a batch and the same image alone. Measured: torch 5e-7,
# OpenVINO 0.
ALONE_OR_NOT = {"torch": 1e-5, "f32": 1e-5, "bf16": 5e-3}


@pytest.fixture(scope="module")
def bundle(models):
    return load_bundle(models / "digits" / "1")


@pytest.fixture(scope="module")
def digits(bundle, digit):
    """Each digit upright and turned both ways: 30 inputs of the network, in the order of the digits."""
    pictures = [digit(value, turn_deg=turn) for value in range(10) for turn in (-8.0, 0.0, 8.0)]
    return np.stack([bundle.manifest.preprocessing.apply(np.asarray(picture)) for picture in pictures])


@pytest.fixture(scope="module")
def engines(bundle):
    """Every engine and precision that this machine has, by a short name."""
    return {"torch": TorchEngine(bundle, 1)} | {
        precision: OpenVinoEngine(bundle, precision, 1) for precision in native_precisions()
    }


@pytest.fixture(scope="module")
def answers(bundle, engines, digits):
    return {name: probabilities(engine.infer(digits), bundle.manifest.temperature) for name, engine in engines.items()}


@pytest.fixture(scope="module", params=["torch", *native_precisions()])
def name(request):
    return request.param


def without_openvino(bundle):
    kept = {name: entry for name, entry in bundle.manifest.files.items() if not name.startswith("openvino/")}
    return dataclasses.replace(bundle, manifest=bundle.manifest.model_copy(update={"files": kept}))


def test_f32_is_always_there_and_the_last_resort():
    assert native_precisions() in (("f32",), ("bf16", "f32"))


@pytest.fixture
def amx(tmp_path, monkeypatch):
    """As if this CPU had it."""
    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu amx_bf16\n")
    monkeypatch.setattr(openvino_engine, "_CPU_INFO", tmp_path / "cpuinfo")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx512f avx512_bf16 amx_bf16 amx_tile", ("bf16", "f32")),
        ("fpu avx512f avx512_bf16", ("f32",)),
        ("", ("f32",)),
    ],
)
def test_bf16_serves_where_the_cpu_has_amx_only(bundle, tmp_path, monkeypatch, flags, expected):
    (tmp_path / "cpuinfo").write_text(f"processor: 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(openvino_engine, "_CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(openvino_engine, "native_precisions", lambda: ("bf16", "f32"))
    assert serving_precisions(bundle) == expected


def test_openvino_f32_gives_torchs_probabilities(answers):
    assert np.abs(answers["f32"] - answers["torch"]).max() < 1e-4


def test_every_engine_stays_within_the_golden_tolerance_on_digits_it_has_never_seen(bundle, answers, name):
    assert np.abs(answers[name] - answers["torch"]).max() < bundle.golden.tolerance


def test_every_engine_reads_the_digits(answers, name):
    assert (answers[name].argmax(axis=1) == np.arange(10).repeat(3)).mean() >= 0.9


@pytest.mark.parametrize("name", ["torch", "f32"])
def test_f32_reproduces_the_golden_samples(bundle, engines, name):
    assert golden_difference(bundle, engines[name], LIMITS) is None


@pytest.mark.parametrize("size", [1, 2, 7, 16])
def test_each_image_of_a_batch_gets_its_single_answer(bundle, engines, digits, answers, name, size):
    logits = np.concatenate(
        [engines[name].infer(digits[start : start + size]) for start in range(0, len(digits), size)]
    )
    assert np.abs(probabilities(logits, bundle.manifest.temperature) - answers[name]).max() <= ALONE_OR_NOT[name]


def test_an_answer_follows_its_image_when_the_batch_is_shuffled(bundle, engines, digits, answers, name):
    order = np.random.default_rng(0).permutation(len(digits))
    shuffled = probabilities(engines[name].infer(digits[order]), bundle.manifest.temperature)
    assert np.abs(shuffled - answers[name][order]).max() <= ALONE_OR_NOT[name]


def test_logits_are_float32_and_stay_as_they_are_when_the_engine_runs_again(engines, digits, name):
    first = engines[name].infer(digits[:3])
    kept = first.copy()
    engines[name].infer(255 - digits[:3])
    assert first.dtype == np.float32
    assert first.shape == (3, 10)
    assert (first == kept).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_does_not_change_the_answer(bundle, digits, answers, threads):
    logits = OpenVinoEngine(bundle, "f32", threads).infer(digits)
    assert np.abs(probabilities(logits, bundle.manifest.temperature) - answers["f32"]).max() < 1e-5


def test_an_engine_says_what_it_is(engines, name):
    device = "torch-cuda-f32" if torch.cuda.is_available() else "torch-f32"
    assert engines[name].description == (device if name == "torch" else f"openvino-{name}")


@pytest.mark.parametrize("asked", ["auto", "openvino", "torch"])
def test_the_engine_asked_for_is_loaded_and_auto_takes_a_gpu_or_openvino(bundle, asked):
    expected = ("torch" if torch.cuda.is_available() else "openvino") if asked == "auto" else asked
    assert load_engine(bundle, asked, 1, LIMITS).description.startswith(f"{expected}-")


@pytest.mark.parametrize(("tolerance", "chosen"), [(0.1, native_precisions()[0]), (1e-5, "f32")])
def test_openvino_takes_the_fastest_precision_that_reproduces_the_golden_samples(amx, bundle, tolerance, chosen):
    unmeasured = bundle.manifest.model_copy(update={"parity": {}})
    judged = dataclasses.replace(
        bundle, manifest=unmeasured, golden=dataclasses.replace(bundle.golden, tolerance=tolerance)
    )
    assert load_engine(judged, "openvino", 1, LIMITS).description == f"openvino-{chosen}"


def test_an_engine_that_failed_its_gate_never_serves(amx, bundle):
    failed = {
        f"openvino-{name}": Parity(images=9, top1_agreement=0.5, max_probability_difference=0.9, passed=False)
        for name in ("int8", "bf16")
    }
    judged = dataclasses.replace(bundle, manifest=bundle.manifest.model_copy(update={"parity": failed}))
    assert load_engine(judged, "openvino", 1, LIMITS).description == "openvino-f32"


def test_an_engine_that_passed_a_wider_gate_may_differ_by_what_was_measured(bundle):
    def golden_difference_of(apart, passed):
        parity = Parity(images=9, top1_agreement=1.0, max_probability_difference=0.08, passed=passed)
        judged = dataclasses.replace(
            bundle, manifest=bundle.manifest.model_copy(update={"parity": {"openvino-int8": parity}})
        )
        return judged.golden_difference(bundle.golden.probabilities - apart, "openvino-int8")

    assert golden_difference_of(0.07, passed=True) is None
    assert "differs by 0.09" in golden_difference_of(0.09, passed=True)
    assert "differs by 0.07" in golden_difference_of(0.07, passed=False)


def test_a_bundle_without_openvino_is_refused_to_those_who_ask_for_it(bundle):
    with pytest.raises(EngineUnavailable, match=rf"{OPENVINO_FILE}.*SIGHTLINE_ENGINE=torch"):
        load_engine(without_openvino(bundle), "openvino", 1, LIMITS)


def test_a_bundle_without_openvino_is_served_through_torch(bundle):
    assert load_engine(without_openvino(bundle), "auto", 1, LIMITS).description.startswith("torch-")


@pytest.mark.parametrize("asked", ["openvino", "torch"])
def test_a_bundle_that_no_engine_reproduces_is_refused_with_every_engine_tried(bundle, asked):
    wrong = dataclasses.replace(bundle.golden, probabilities=bundle.golden.probabilities[:, ::-1])
    tried = [f"openvino-{precision}" for precision in serving_precisions(bundle)] if asked == "openvino" else ["torch-"]
    with pytest.raises(GoldenMismatch) as refusal:
        load_engine(dataclasses.replace(bundle, golden=wrong), asked, 1, LIMITS)
    assert all(engine in str(refusal.value) for engine in tried)
    assert str(bundle.path) in str(refusal.value)


EXPECTED = np.array([[0.9, 0.1, 0.0], [0.5, 0.49, 0.01]])
GOLDEN = Golden(names=("a.png", "b.png"), images=(b"", b""), probabilities=EXPECTED, tolerance=0.02)


@pytest.mark.parametrize(
    ("apart", "message"),
    [
        ([[0, 0, 0], [0, 0, 0]], None),
        ([[0.015, -0.015, 0], [0, 0, 0]], None),
        ([[0, 0, 0], [-0.015, 0.015, 0]], None),  # a near tie may turn
        ([[0, 0, 0], [-0.03, 0.03, 0]], "golden/b.png differs by 0.0300 in a probability, at most 0.02 is allowed"),
        (
            [[-0.8, 0.8, 0], [0.03, -0.03, 0]],
            "golden/a.png differs by 0.8000 in a probability, at most 0.02 is allowed",
        ),
        ([[0, 0, np.nan], [0, 0, 0]], "the answer holds values that are not finite"),
        ([[0, 0, 0], [0, np.inf, 0]], "the answer holds values that are not finite"),
    ],
    ids=str,
)
def test_a_difference_from_the_golden_samples_is_named(apart, message):
    assert GOLDEN.difference(EXPECTED + np.array(apart), GOLDEN.tolerance) == message


@pytest.mark.parametrize(
    "answer", [EXPECTED[:1], EXPECTED[:, :2], EXPECTED[0]], ids=["one sample", "two classes", "one row"]
)
def test_an_answer_of_another_shape_is_named(answer):
    assert f"shape {answer.shape}, expected (2, 3)" in GOLDEN.difference(answer, GOLDEN.tolerance)


def test_golden_difference_says_which_sample_an_engine_gets_wrong(bundle, engines, name):
    expected = bundle.golden.probabilities.copy()
    expected[3] = np.roll(expected[3], 1)
    wrong = dataclasses.replace(bundle, golden=dataclasses.replace(bundle.golden, probabilities=expected))
    assert f"golden/{bundle.golden.names[3]} differs by 0." in golden_difference(wrong, engines[name], LIMITS)


class Recorder:
    """An engine that keeps the shapes that it was warmed with."""

    def __init__(self, engine):
        self.description, self.infer, self._engine, self.shapes = engine.description, engine.infer, engine, []

    def warm(self, images):
        self.shapes.append(images.shape)
        self._engine.warm(images)


@pytest.mark.parametrize(("most", "sizes"), [(1, [1]), (5, [1, 2, 4]), (16, [1, 2, 4, 8, 16])])
def test_warm_runs_each_power_of_two_once(bundle, engines, name, most, sizes):
    recorder = Recorder(engines[name])
    warm(recorder, bundle.manifest.preprocessing.shape, most)
    assert recorder.shapes == [(size, *bundle.manifest.preprocessing.shape) for size in sizes]


@pytest.mark.parametrize("streams", [1, 3])
def test_threads_that_infer_at_a_time_get_what_one_alone_gets(bundle, streams):
    """Every way of an inference: alone with all threads, in a stream beside others, waiting for a stream."""
    engine = load_engine(bundle, "openvino", 3, LIMITS, streams=streams)
    generator = np.random.default_rng(0)
    batches = [
        generator.integers(0, 256, (size, *bundle.manifest.preprocessing.shape), dtype=np.uint8)
        for size in (1, 1, 2, 5) * 10
    ]
    expected = [engine.infer(batch) for batch in batches]
    with ThreadPoolExecutor(streams + 1) as threads:
        got = list(threads.map(engine.infer, batches))
    for one, other in zip(expected, got, strict=True):
        assert np.abs(one - other).max() < 1e-3


_SERVE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from vision.bundle.store import load_bundle
from vision.engines.selection import load_engine
from vision.image import DecodeLimits
print(load_engine(load_bundle(Path(sys.argv[1])), "openvino", 1, DecodeLimits()).description, "torch" in sys.modules)
"""


def test_serving_through_openvino_never_loads_torch(models):
    child = subprocess.run(
        [sys.executable, "-c", _SERVE, models / "digits" / "1"], capture_output=True, text=True, timeout=120
    )
    assert child.stdout.startswith("openvino-"), child.stderr
    assert child.stdout.endswith(" False\n")


def test_openvino_is_imported_without_its_telemetry():
    """In a process of its own: whatever imports it looks up no host and writes nothing into the home folder."""
    script = """
import sys, os, tempfile
home = tempfile.mkdtemp()
os.environ["HOME"] = home
lookups = []
watched = ("socket.getaddrinfo", "os.fork")
sys.addaudithook(lambda event, arguments: lookups.append(arguments) if event in watched else None)
from vision.engines.openvino_library import load_openvino
print(load_openvino().__name__, lookups, os.listdir(home))
"""
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "openvino [] []"
