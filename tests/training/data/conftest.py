"""Folders of small pictures, sound or with trouble, and what a test asks of their report."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from training.data.folder import PARTS
from training.data.report import print_report
from training.data.splitting import SplitRule

Encoder = Callable[..., bytes]
RULE = SplitRule(seed=0, val_share=0.2, test_share=0.2)


def picture(seed: int, width: int = 24, height: int = 24) -> Image.Image:
    """Smooth patches of colour, others for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def orientation_tag(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def put(root: Path, path: str, data: bytes) -> bytes:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)
    return data


def tree(root: Path) -> dict[str, Any]:
    """Every file and folder with what would change if somebody touched it."""
    return {
        path.relative_to(root).as_posix(): (
            path.stat().st_mtime_ns,
            path.stat().st_mode,
            path.is_file() and path.read_bytes(),
        )
        for path in root.rglob("*")
    }


def printed(report: dict[str, Any]) -> str:
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=400, markup=False, highlight=False))
    return stream.getvalue()


def kinds(problems: Iterable[Any]) -> list[str]:
    return [problem["kind"] if isinstance(problem, dict) else problem.kind for problem in problems]


@pytest.fixture
def folder(tmp_path: Path, encoded: Encoder) -> Path:
    """30 cats and 30 dogs, all different and all sound."""
    root = tmp_path / "pets"
    for category, first in (("cat", 0), ("dog", 1000)):
        for index in range(30):
            put(root, f"{category}/{index:02}.png", encoded(picture(first + index), "PNG"))
    return root


@pytest.fixture
def divided(tmp_path: Path, encoded: Encoder) -> Path:
    """train/, val/ and test/ with 3 cats and 3 dogs each, all different."""
    root = tmp_path / "divided"
    for seed, (part, category, index) in enumerate((p, c, i) for p in PARTS for c in ("cat", "dog") for i in range(3)):
        put(root, f"{part}/{category}/{index}.png", encoded(picture(seed), "PNG"))
    return root


def troubled(folder: Path, encoded: Encoder) -> Path:
    put(folder, "cat/text.jpg", b"a letter")
    for path in ("cat/both.png", "dog/both.png"):
        put(folder, path, encoded(picture(2000), "PNG"))
    return folder
