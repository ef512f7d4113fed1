"""Shared fixtures: hand-drawn digits, a small bundle that was really trained, and the service as a process."""

import io
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from rich.console import Console

from service.local.ports import free_ports

ROOT = Path(__file__).resolve().parents[1]
READY_S = 60
SHARED = Path(__file__).resolve().parents[2] / "shared"


def _arc(x, y, width, height, start, end):
    angles = np.radians(np.linspace(start, end, 24))
    return [(x + width * math.cos(angle), y + height * math.sin(angle)) for angle in angles]


# Strokes of each digit in a unit square, as one writes them; no model has seen them.
_STROKES = {
    0: [_arc(0.5, 0.5, 0.27, 0.38, -90, 270)],
    1: [[(0.38, 0.27), (0.52, 0.12), (0.52, 0.88)]],
    2: [[*_arc(0.5, 0.33, 0.24, 0.21, -170, 40), (0.28, 0.86), (0.76, 0.86)]],
    3: [_arc(0.47, 0.31, 0.22, 0.19, -150, 90) + _arc(0.47, 0.69, 0.25, 0.19, -90, 140)],
    4: [[(0.62, 0.88), (0.62, 0.12), (0.24, 0.62), (0.80, 0.62)]],
    5: [[(0.74, 0.13), (0.34, 0.13), (0.31, 0.46), *_arc(0.48, 0.64, 0.25, 0.23, -130, 140)]],
    6: [[(0.66, 0.12), (0.42, 0.38), *_arc(0.5, 0.65, 0.22, 0.22, -160, 200)]],
    7: [[(0.25, 0.14), (0.76, 0.14), (0.42, 0.88)]],
    8: [_arc(0.5, 0.30, 0.19, 0.18, 90, 450) + _arc(0.5, 0.68, 0.23, 0.20, -90, 270)],
    9: [[*_arc(0.5, 0.34, 0.21, 0.22, 0, 360), (0.7, 0.4), (0.62, 0.88)]],
}


def draw_digit(
    digit: int, side_px: int = 280, pen: float = 0.09, turn_deg: float = 0.0, scale: float = 1.0
) -> Image.Image:
    """A digit in dark ink on white paper, mode RGB, side_px × side_px."""
    big = 2 * side_px
    picture = Image.new("L", (big, big), 255)
    canvas = ImageDraw.Draw(picture)
    cos, sin = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    width = round(pen * big)
    for stroke in _STROKES[digit]:
        points = []
        for x, y in stroke:
            x, y = (x - 0.5) * scale, (y - 0.5) * scale
            points.append(((x * cos - y * sin + 0.5) * big, (x * sin + y * cos + 0.5) * big))
        canvas.line(points, fill=20, width=width, joint="curve")
        for x, y in (points[0], points[-1]):
            canvas.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=20)
    return picture.resize((side_px, side_px), Image.Resampling.LANCZOS).convert("RGB")


def encode(picture: Image.Image, file_format: str, **options: object) -> bytes:
    """The bytes of a picture in one of Pillow's formats."""
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def write_noise(folder: Path, count: int, size: tuple[int, int] = (32, 32), ending: str = "png") -> Path:
    """Two categories, bright `day` and dark `night`, of count images each, size (width, height) in px."""
    generator = np.random.default_rng(0)
    for category, shade in (("day", 150), ("night", 90)):
        (folder / category).mkdir(parents=True)
        for index in range(count):
            pixels = generator.normal(shade, 40, (size[1], size[0], 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / category / f"{index}.{ending}")
    return folder


def write_backbone(file: Path) -> Path:
    """A simple_resnet with random weights, as a pretrained backbone."""
    import torch
    from safetensors.torch import save_file

    from vision.architectures.registry import build_model

    torch.manual_seed(5)
    state = build_model("simple_resnet", 2).backbone.state_dict()
    save_file({f"backbone.{name}": tensor.contiguous() for name, tensor in state.items()}, file)
    return file


@pytest.fixture(scope="session")
def digit() -> Callable[..., Image.Image]:
    """Draws a digit; see draw_digit."""
    return draw_digit


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    """Encodes a picture; see encode."""
    return encode


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with digits/1, trained as the demo trains it. Read-only: copy what a test changes."""
    from training.commands.demo import write_digits
    from training.commands.train import train_bundle
    from training.config import load_config

    folder = tmp_path_factory.mktemp("journey")
    write_digits(folder / "digits")
    config = load_config("digits", {})
    train_bundle(folder / "digits", folder / "models" / "digits", config, Console(quiet=True))
    return folder / "models"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real photos beside the checkout, where there is one."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs real photos in ../shared/data, which is not part of the repository")
    return SHARED


class Service:
    """One service and what it printed so far."""

    def __init__(self, models: Path, folder: Path, **settings: str) -> None:
        self.port = int(settings.pop("port", 0)) or free_ports(1)[0]
        self.output = folder / f"output-{self.port}-{time.monotonic_ns()}"
        settings = {"metrics_port": "0", **settings}  # beside other services
        environment = os.environ | {f"SIGHTLINE_{name.upper()}": value for name, value in settings.items()}
        environment |= {"SIGHTLINE_MODELS_DIR": str(models), "SIGHTLINE_PORT": str(self.port)}
        environment["XDG_CACHE_HOME"] = str(folder / "cache")
        with self.output.open("wb") as output:
            command = [sys.executable, "-m", "service", "serve"]
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)

    @property
    def printed(self) -> str:
        return self.output.read_text()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until_ready(self) -> "Service":
        deadline = time.monotonic() + READY_S
        while "Ctrl-C stops it" not in self.printed:
            assert self.process.poll() is None, self.printed
            assert time.monotonic() < deadline, self.printed
            time.sleep(0.1)
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=60)


@pytest.fixture(scope="session")
def launch() -> type[Service]:
    """Starts `python -m service serve`: launch(models folder, a folder for its output, **settings)."""
    return Service
