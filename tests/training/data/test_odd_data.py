"""Folders as they really are: odd names, odd files, odd contradictions. Each of these once went wrong."""

import io
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.__main__ import main
from training.data.duplicates import nearly_identical
from training.data.folder import DataError, LabelledFile, list_images
from training.data.preparation import prepare_data, scan_data
from training.data.problems import DataProblems
from training.data.scan import examine
from training.data.splitting import SplitRule, choose_parts
from training.evaluation.report import _confusion_matrix, _svg
from vision.image import DecodeLimits, decode

RULE = SplitRule(0, 0.2, 0.2)


def put(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty cats and thirty dogs."""
    for category, first in (("cat", 0), ("dog", 1000)):
        for index in range(30):
            put(tmp_path / "data" / category / f"{index:02}.png", first + index)
    return tmp_path / "data"


def test_a_category_that_only_had_contradicting_images_is_refused_and_not_dropped(folder: Path) -> None:
    put(folder / "emu" / "x.png", 5000)
    put(folder / "cat" / "x.png", 5000)
    with pytest.raises(DataError, match="emu/ holds no image that can be used"):
        prepare_data(folder, RULE, "quarantine", None)
    assert {problem["kind"] for problem in scan_data(folder, RULE, "quarantine")["problems"]} == {
        "contradiction",
        "empty_category",
    }


@pytest.mark.parametrize("name", ["$\\frac$", "a $50 to $100 {note", "$x$", "玫瑰"])
def test_a_category_is_drawn_as_it_is_named(name: str) -> None:
    drawn = _svg(_confusion_matrix([[1, 2], [3, 4]], [name, "z"]))
    assert name in re.sub(r"<[^>]+>", "", drawn)


@pytest.mark.parametrize("parts", [("train", "test"), ("train", "val"), ("val", "test")])
def test_two_of_the_three_parts_are_no_two_categories(tmp_path: Path, parts: tuple[str, str]) -> None:
    for part in parts:
        for category in ("cat", "dog"):
            put(tmp_path / part / category / "a.png", 1)
    with pytest.raises(DataError, match="but no"):
        list_images(tmp_path)


def test_a_group_that_took_no_part_in_the_match_gives_way_to_the_whole_match() -> None:
    files = [LabelledFile(f"cat/{index}.png", "cat") for index in range(4)]
    rules = [SplitRule(1, 0.4, 0.4, pattern) for pattern in (r"patient-(\d+)|cat", "cat")]
    parts = [choose_parts(files, [str(index) for index in range(4)], rule) for rule in rules]
    assert parts[0] == parts[1]


def test_flat_images_of_a_colour_are_no_copies_of_each_other(tmp_path: Path) -> None:
    put(tmp_path / "b" / "x.png", 1)
    (tmp_path / "a").mkdir()
    for index in range(3):
        Image.new("RGB", (40, 40), (200, 30 + index, 30)).save(tmp_path / "a" / f"{index}.png")
    records = examine(list_images(tmp_path))
    assert nearly_identical([record.sha256 for record in records], [record.picture.look for record in records]) == []


def test_a_phones_jpeg_of_several_pictures_is_a_jpeg() -> None:
    stream, picture = io.BytesIO(), Image.new("RGB", (32, 32))
    picture.save(stream, "MPO", save_all=True, append_images=[picture])
    assert decode(stream.getvalue(), DecodeLimits()).format == "JPEG"


def test_hidden_folders_hold_no_images(folder: Path) -> None:
    put(folder / "cat" / ".thumbnails" / "x.png", 1)
    assert len(list_images(folder).files) == 60


def test_the_folder_of_a_report_is_made(folder: Path, tmp_path: Path) -> None:
    assert main(["scan", str(folder), "--report", str(tmp_path / "new" / "report.json")]) == 0
    assert (tmp_path / "new" / "report.json").is_file()


def test_a_name_that_is_not_utf8_is_refused_with_the_remedy(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "cat" / "00.png").rename(os.fsdecode(os.fsencode(folder / "cat") + b"/\xff.png"))
    assert main(["scan", str(folder), "--report", str(tmp_path / "report.json")]) == 2
    assert "not UTF-8; rename it" in capsys.readouterr().err


def test_empty_files_contradict_nothing(folder: Path) -> None:
    for category in ("cat", "dog"):
        (folder / category / "empty.jpg").write_bytes(b"")
    assert [problem.kind for problem in prepare_data(folder, RULE, "quarantine", None).problems] == [
        "unreadable",
        "unreadable",
    ]


def test_a_refusal_survives_the_way_between_processes(folder: Path) -> None:
    (folder / "cat" / "empty.jpg").write_bytes(b"")
    with pytest.raises(DataProblems) as refused:
        prepare_data(folder, RULE, "refuse", None)
    again = pickle.loads(pickle.dumps(refused.value))  # noqa: S301 - our own bytes, as Ray carries them
    assert (str(again), again.problems) == (str(refused.value), refused.value.problems)


def test_a_folder_that_no_bundle_can_name_is_refused_before_training(folder: Path) -> None:
    (folder / "cat").rename(folder / "ca\nt")
    with pytest.raises(DataError, match="cannot name a category"):
        prepare_data(folder, RULE, "quarantine", None)
