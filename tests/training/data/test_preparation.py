"""A data folder becomes images to train on and a report of what was found; nothing is dropped silently."""

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from training.__main__ import main
from training.data.folder import PARTS, DataError
from training.data.preparation import prepare_data, scan_data
from training.data.problems import DataProblems
from training.data.report import print_report, write_report
from training.data.splitting import SplitRule
from vision.image import DecodeLimits, decode
from vision.preprocessing import Preprocessing

Encoder = Callable[..., bytes]
RULE = SplitRule(seed=0, val_share=0.2, test_share=0.2)
SMALL = Preprocessing.zero_one(8)


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


def test_a_sound_folder_is_used_whole(folder: Path) -> None:
    data = prepare_data(folder, RULE, "refuse", SMALL)
    assert data.categories == ("cat", "dog")
    assert (len(data.files), data.problems, data.root) == (60, (), folder)
    assert sorted(np.concatenate([data.indices(part) for part in PARTS])) == list(range(60))
    assert [data.categories[label] for label in data.images.labels] == [file.category for file in data.files]
    assert [record.sha256 for record in data.used] == [
        hashlib.sha256((folder / file.path).read_bytes()).hexdigest() for file in data.files
    ]


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing.imagenet(20, 16),
        Preprocessing.zero_one(8, channels=1),
        Preprocessing.zero_one(12, policy="pad", fill=255),
    ],
    ids=lambda preprocessing: f"{preprocessing.policy} {preprocessing.channels}",
)
def test_images_are_what_the_decoder_and_the_geometry_that_serve_make_of_the_files(
    folder: Path, encoded: Encoder, preprocessing: Preprocessing
) -> None:
    put(folder, "cat/05.png", b"a letter")
    put(folder, "cat/cmyk.jpg", encoded(picture(2000, 40, 30).convert("CMYK"), "JPEG"))
    put(folder, "dog/phone.jpg", encoded(picture(2001, 40, 30), "JPEG", exif=orientation_tag(6)))
    put(folder, "dog/palette.gif", encoded(picture(2002, 31, 50), "GIF"))
    data = prepare_data(folder, RULE, "quarantine", preprocessing)
    assert data.images.images.shape == (62, *preprocessing.shape)
    for image, file in zip(data.images.images, data.files, strict=True):
        assert np.array_equal(
            image, preprocessing.apply(decode((folder / file.path).read_bytes(), DecodeLimits()).pixels)
        )


def test_each_part_brings_its_images_labels_and_paths_in_one_order(folder: Path) -> None:
    data = prepare_data(folder, RULE, "refuse", SMALL)
    paths = []
    for part in PARTS:
        images = getattr(data, part)
        assert len(images) == len(data.paths(part)) > 0
        for image, label, path in zip(images.images, images.labels, map(Path, data.paths(part)), strict=True):
            assert np.array_equal(image, SMALL.apply(decode((folder / path).read_bytes(), DecodeLimits()).pixels))
            assert data.categories[label] == path.parent.name
            assert data.report["split"]["files"][path.as_posix()] == part
        paths += data.paths(part)
    assert len(set(paths)) == 60


def test_the_parts_are_disjoint_complete_and_in_the_order_of_the_files(folder: Path) -> None:
    data = prepare_data(folder, RULE, "refuse", None)
    assert sorted(np.concatenate([data.indices(part) for part in PARTS])) == list(range(60))
    for part in PARTS:
        indices = data.indices(part)
        assert indices.dtype == np.int64
        assert indices.tolist() == [index for index, its_part in enumerate(data.parts) if its_part == part]


def test_the_report_looks_for_near_duplicates_once_and_only_when_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.data import report

    searched: list[int] = []
    search = report.nearly_identical
    monkeypatch.setattr(
        report, "nearly_identical", lambda digests, looks: searched.append(len(digests)) or search(digests, looks)
    )
    data = prepare_data(folder, RULE, "refuse", SMALL)
    assert searched == []
    assert data.report["near_duplicates"] == data.report["near_duplicates"] == []
    assert searched == [60]


def test_images_beyond_memory_are_the_same_with_and_without_a_file_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        with monkeypatch.context() as small:
            in_memory = prepare_data(folder, RULE, "quarantine", SMALL).images
            small.setattr("training.data.images.IN_MEMORY_BYTES", 100)
            on_disk = prepare_data(folder, RULE, "quarantine", SMALL).images
        assert isinstance(on_disk.images, np.memmap)
        assert not isinstance(in_memory.images, np.memmap)
        assert np.array_equal(on_disk.images, in_memory.images)
        assert np.array_equal(on_disk.labels, in_memory.labels)
        put(folder, "cat/10.png", b"a letter")


def test_without_a_preprocessing_nothing_is_kept_but_the_report(folder: Path) -> None:
    data, with_images = (prepare_data(folder, RULE, "refuse", preprocessing) for preprocessing in (None, SMALL))
    assert data.images is None
    assert data.report == with_images.report
    assert data.parts == with_images.parts


def test_progress_is_told_of_every_file(folder: Path) -> None:
    told: list[tuple[int, int]] = []

    def progress(items: Iterable[int], total: int) -> Iterator[int]:
        for item in items:
            told.append((item, total))
            yield item

    prepare_data(folder, RULE, "refuse", SMALL, progress)
    scan_data(folder, RULE, "refuse", progress)
    assert told == [(index, 60) for index in range(60)] * 2


def test_a_file_that_cannot_be_decoded_is_left_out_and_named_with_its_reason(folder: Path, encoded: Encoder) -> None:
    whole = encoded(picture(2000), "PNG")
    put(folder, "cat/text.jpg", b"a letter")
    put(folder, "dog/cut.png", whole[: len(whole) // 2])
    data = prepare_data(folder, RULE, "quarantine", SMALL)
    assert [(problem.kind, problem.paths, problem.left_out) for problem in data.problems] == [
        ("unreadable", (path,), (path,)) for path in ("cat/text.jpg", "dog/cut.png")
    ]
    assert data.problems[0].message.startswith("cat/text.jpg: not_an_image: ")
    assert data.problems[1].message.startswith("dog/cut.png: truncated: ")
    assert (len(data.files), data.report["files"], data.report["usable"]) == (60, 62, 60)


def test_leaving_a_file_out_is_the_same_as_deleting_it(folder: Path) -> None:
    put(folder, "cat/05.png", b"a letter")
    left_out = prepare_data(folder, RULE, "quarantine", SMALL)
    (folder / "cat" / "05.png").unlink()
    deleted = prepare_data(folder, RULE, "refuse", SMALL)
    assert left_out.fingerprint == deleted.fingerprint
    assert left_out.split_fingerprint == deleted.split_fingerprint == deleted.report["split"]["sha256"]
    assert left_out.files == deleted.files
    assert np.array_equal(left_out.images.images, deleted.images.images)


def test_the_fingerprints_tell_data_and_split_apart(folder: Path, encoded: Encoder) -> None:
    first = prepare_data(folder, RULE, "refuse", None)
    reseeded = prepare_data(folder, SplitRule(1, 0.2, 0.2), "refuse", None)
    assert first.fingerprint == reseeded.fingerprint
    assert first.split_fingerprint != reseeded.split_fingerprint
    put(folder, "cat/new.png", encoded(picture(2000), "PNG"))
    grown = prepare_data(folder, RULE, "refuse", None)
    assert grown.fingerprint != first.fingerprint
    assert first.report["split"]["files"].items() <= grown.report["split"]["files"].items()


def test_the_same_image_under_two_labels_is_left_out_under_both(folder: Path, encoded: Encoder) -> None:
    for path in ("cat/ambiguous.png", "cat/again.png", "dog/ambiguous.png"):
        put(folder, path, encoded(picture(2000), "PNG"))
    data = prepare_data(folder, RULE, "quarantine", SMALL)
    three = ("cat/again.png", "cat/ambiguous.png", "dog/ambiguous.png")
    assert [(problem.kind, problem.paths, problem.left_out) for problem in data.problems] == [
        ("contradiction", three, three)
    ]
    assert "cat/again.png = cat/ambiguous.png = dog/ambiguous.png" in data.problems[0].message
    assert not {file.path for file in data.files} & set(three)
    assert len(data.files) == 60


def test_the_same_image_twice_in_a_category_is_kept_in_one_part_and_reported(folder: Path) -> None:
    for index in range(30):
        put(folder, f"cat/copy of {index:02}.png", (folder / "cat" / f"{index:02}.png").read_bytes())
    data = prepare_data(folder, RULE, "refuse", SMALL)
    part_of = data.report["split"]["files"]
    assert data.report["duplicates"] == [[f"cat/{index:02}.png", f"cat/copy of {index:02}.png"] for index in range(30)]
    assert all(part_of[one] == part_of[other] for one, other in data.report["duplicates"])
    assert {part_of[one] for one, _ in data.report["duplicates"]} == set(PARTS)
    assert data.report["near_duplicates"] == []
    assert "cat/00.png = cat/copy of 00.png" in printed(data.report)


def test_a_copy_compressed_again_is_kept_and_reported_with_both_parts(folder: Path, encoded: Encoder) -> None:
    copies = [[f"cat/photo {index:02}.jpg", f"cat/photo {index:02}.png"] for index in range(30)]
    for index, (small, original) in enumerate(copies):
        put(folder, original, encoded(picture(2000 + index, 96, 96), "PNG"))
        put(folder, small, encoded(picture(2000 + index, 96, 96), "JPEG", quality=95))
    report = prepare_data(folder, RULE, "refuse", SMALL).report
    assert report["usable"] == 120
    assert [pair["paths"] for pair in report["near_duplicates"]] == copies
    assert all(
        pair["parts"] == [report["split"]["files"][path] for path in pair["paths"]]
        for pair in report["near_duplicates"]
    )

    apart = [pair for pair in report["near_duplicates"] if pair["parts"][0] != pair["parts"][1]]
    assert 0 < len(apart) < 30
    for pair in (apart[0], next(pair for pair in report["near_duplicates"] if pair not in apart)):
        line = next(line for line in printed(report | {"near_duplicates": [pair]}).splitlines() if " ~ " in line)
        assert " ~ ".join(pair["paths"]) in line
        assert (f"one is in {pair['parts'][0]}, the other in {pair['parts'][1]}" in line) == (pair in apart)


@pytest.mark.parametrize(
    ("copies", "left_out"),
    [
        (("train/cat/x.png", "test/cat/x.png"), ("train/cat/x.png",)),
        (("train/cat/x.png", "val/cat/x.png"), ("train/cat/x.png",)),
        (("val/cat/x.png", "test/cat/x.png"), ("val/cat/x.png",)),
        (
            ("train/cat/x.png", "train/cat/y.png", "val/cat/x.png", "test/cat/x.png"),
            ("train/cat/x.png", "train/cat/y.png", "val/cat/x.png"),
        ),
    ],
    ids=lambda paths: " ".join(path.split("/")[0] for path in paths),
)
def test_of_an_image_in_several_parts_the_part_that_judges_keeps_its_own(
    divided: Path, encoded: Encoder, copies: tuple[str, ...], left_out: tuple[str, ...]
) -> None:
    for path in copies:
        put(divided, path, encoded(picture(2000), "PNG"))
    data = prepare_data(divided, RULE, "quarantine", SMALL)
    assert [(problem.kind, problem.left_out) for problem in data.problems] == [("leak", left_out)]
    assert data.problems[0].paths == tuple(sorted(copies))
    assert " = ".join(sorted(copies)) in data.problems[0].message
    assert {file.path for file in data.files} & set(copies) == set(copies) - set(left_out)
    assert len(data.parts) == len(data.files) == 18 + len(copies) - len(left_out)
    assert all(file.path.startswith(f"{part}/") for file, part in zip(data.files, data.parts, strict=True))
    with pytest.raises(DataProblems, match="leak: the same image is in several parts"):
        prepare_data(divided, RULE, "refuse", SMALL)


def test_an_image_of_two_groups_that_a_split_by_groups_parts_is_a_leak(tmp_path: Path, encoded: Encoder) -> None:
    for seed in range(80):
        put(tmp_path, f"{'cat' if seed % 2 else 'dog'}/owner{seed // 4}-{seed}.png", encoded(picture(seed), "PNG"))
    rule = SplitRule(0, 0.2, 0.2, r"owner\d+")
    before = prepare_data(tmp_path, rule, "refuse", None).report["split"]["files"]
    trained, tested = (
        next(path for path, its_part in before.items() if its_part == part and "cat" in path)
        for part in ("train", "test")
    )
    copy = f"{trained.split('-')[0]}-copy.png"
    put(tmp_path, copy, (tmp_path / tested).read_bytes())
    data = prepare_data(tmp_path, rule, "quarantine", None)
    assert [(problem.kind, problem.left_out) for problem in data.problems] == [("leak", (copy,))]
    assert data.report["split"]["files"] == before


def troubled(folder: Path, encoded: Encoder) -> Path:
    put(folder, "cat/text.jpg", b"a letter")
    for path in ("cat/both.png", "dog/both.png"):
        put(folder, path, encoded(picture(2000), "PNG"))
    return folder


def test_refusing_names_every_problem_at_once_and_the_remedy(folder: Path, encoded: Encoder) -> None:
    troubled(folder, encoded)
    with pytest.raises(DataProblems) as refused:
        prepare_data(folder, RULE, "refuse", SMALL)
    message = str(refused.value)
    assert f"{folder} has 2 problems in 63 files:" in message
    assert "\n  unreadable: cat/text.jpg: not_an_image: " in message
    assert "\n  contradiction: the same image has several labels: cat/both.png = dog/both.png" in message
    assert "--problem-files quarantine" in message
    assert kinds(refused.value.problems) == ["unreadable", "contradiction"]


@pytest.mark.parametrize("policy", ["refuse", "quarantine"])
@pytest.mark.parametrize("content", [None, b"a letter"], ids=["no file", "no image"])
def test_a_category_without_an_image_is_refused_whatever_the_policy(
    folder: Path, content: bytes | None, policy: str
) -> None:
    (folder / "zebra").mkdir()
    if content:
        put(folder, "zebra/text.jpg", content)
    with pytest.raises(DataProblems) as refused:
        prepare_data(folder, RULE, policy, SMALL)
    assert "empty_category: zebra/ holds no image that can be used" in str(refused.value)
    assert "Put images into zebra, or remove the folder." in str(refused.value)
    assert kinds(refused.value.problems) == [*(["unreadable"] if content else []), "empty_category"]


def test_a_category_that_is_missing_in_a_part_is_refused_by_both_names(divided: Path) -> None:
    for file in (divided / "val" / "dog").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="'dog' has no image in val"):
        prepare_data(divided, RULE, "quarantine", SMALL)

    data = prepare_data(divided, RULE, "quarantine", SMALL, complete=False)
    assert data.categories == ("cat", "dog")
    assert [data.report["categories"]["dog"][part] for part in PARTS] == [3, 0, 3]
    assert data.val.labels.tolist() == [0, 0, 0]


def test_fewer_than_two_categories_that_can_be_used_are_refused(tmp_path: Path, encoded: Encoder) -> None:
    for category in ("cat", "dog"):
        put(tmp_path, f"{category}/both.png", encoded(picture(0), "PNG"))
    with pytest.raises(DataError, match=r"categories; training needs at least two|no image"):
        prepare_data(tmp_path, RULE, "quarantine", SMALL)


def test_the_report_counts_by_category_part_format_and_mode(folder: Path, encoded: Encoder) -> None:
    put(folder, "cat/cmyk.jpg", encoded(picture(2000, 40, 30).convert("CMYK"), "JPEG"))
    put(folder, "dog/gray.png", encoded(picture(2001, 20, 10).convert("L"), "PNG"))
    put(folder, "dog/phone.jpg", encoded(picture(2002, 40, 30), "JPEG", exif=orientation_tag(6)))
    put(folder, "dog/wide.webp", encoded(picture(2003, 90, 30), "WEBP"))
    data = prepare_data(folder, RULE, "refuse", SMALL)
    report = data.report
    assert report["categories"] == {
        category: {
            part: sum(
                file.category == category and its == part for file, its in zip(data.files, data.parts, strict=True)
            )
            for part in PARTS
        }
        for category in ("cat", "dog")
    }
    assert {part: sum(counts[part] for counts in report["categories"].values()) for part in PARTS} == {
        part: len(data.indices(part)) for part in PARTS
    }
    assert report["formats"] == {"PNG": 61, "JPEG": 2, "WEBP": 1}
    assert report["modes"] == {"RGB": 62, "CMYK": 1, "L": 1}
    assert report["rotated"] == ["dog/phone.jpg"]
    assert report["unusual_modes"] == [{"path": "cat/cmyk.jpg", "mode": "CMYK"}, {"path": "dog/gray.png", "mode": "L"}]
    assert report["imbalance"] == pytest.approx(33 / 31)
    assert (report["smallest_px"], report["largest_px"]) == (10, 90)
    assert (report["root"], report["files"], report["usable"], report["policy"]) == (str(folder), 64, 64, "refuse")
    split = report["split"]
    assert (split["seed"], split["val_share"], split["test_share"], split["group_by"]) == (0, 0.2, 0.2, None)
    assert split["files"] == {file.path: part for file, part in zip(data.files, data.parts, strict=True)}
    text = printed(report)
    for said in (
        "64 of 64 files",
        "PNG 61, JPEG 2, WEBP 1",
        "RGB 62, CMYK 1, L 1",
        "upright (1):",
        "dog/phone.jpg",
        "cat/cmyk.jpg (CMYK)",
    ):
        assert said in text
    assert "problems" not in text
    assert "Left out" not in text


def test_the_report_survives_json_and_a_second_run_gives_the_same_bytes(
    folder: Path, encoded: Encoder, tmp_path: Path
) -> None:
    troubled(folder, encoded)
    put(folder, "cat/größe.jpg", encoded(picture(3000), "JPEG"))
    reports = [prepare_data(folder, RULE, "quarantine", SMALL).report for _ in range(2)]
    for report, name in zip(reports, "ab", strict=True):
        write_report(report, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    back = json.loads((tmp_path / "a").read_text())
    assert kinds(back["problems"]) == ["unreadable", "contradiction"]
    assert "cat/größe.jpg" in (tmp_path / "a").read_text()
    assert json.loads(json.dumps(reports[0])) == back
    assert printed(back) == printed(reports[0])


def test_a_scan_reports_what_training_would(folder: Path, encoded: Encoder) -> None:
    troubled(folder, encoded)
    assert scan_data(folder, RULE, "quarantine") == prepare_data(folder, RULE, "quarantine", SMALL).report


def test_the_printed_report_names_each_problem_and_what_was_left_out(folder: Path, encoded: Encoder) -> None:
    text = printed(scan_data(troubled(folder, encoded), RULE, "quarantine"))
    assert "problems (2):" in text
    assert "unreadable: cat/text.jpg: not_an_image: " in text
    assert "contradiction: the same image has several labels: cat/both.png = dog/both.png" in text
    assert "Left out of training: cat/both.png, cat/text.jpg, dog/both.png." in text
    assert "refuses" not in text

    refusing = printed(scan_data(folder, RULE, "refuse"))
    assert "Training refuses this folder: repair or remove these" in refusing
    assert "Left out" not in refusing


def test_every_problem_is_printed_but_long_lists_are_cut(folder: Path, encoded: Encoder) -> None:
    for index in range(30):
        put(folder, f"cat/text{index:02}.jpg", f"letter {index}".encode())
        put(folder, f"dog/turned{index:02}.jpg", encoded(picture(2000 + index), "JPEG", exif=orientation_tag(3)))
    text = printed(scan_data(folder, RULE, "quarantine"))
    assert all(f"unreadable: cat/text{index:02}.jpg" in text for index in range(30))
    assert "upright (30):" in text
    assert "turned19" in text
    assert "turned20" not in text
    assert "… and 10 more" in text


def test_a_scan_says_that_leaving_out_does_not_help_with_an_empty_category(folder: Path) -> None:
    (folder / "zebra").mkdir()
    report = scan_data(folder, RULE, "quarantine")
    assert kinds(report["problems"]) == ["empty_category"]
    text = printed(report)
    assert "zebra/ holds no image that can be used" in text
    assert "Left out of training: no file." in text
    assert "some of its problems remain if files are left out" in text


def test_a_scan_reports_a_part_without_a_category_instead_of_stopping(divided: Path) -> None:
    for file in (divided / "test" / "cat").iterdir():
        file.unlink()
    report = scan_data(divided, RULE, "quarantine")
    assert kinds(report["problems"]) == ["missing_in_part"]
    assert "'cat' has no image in test" in report["problems"][0]["message"]
    assert report["categories"]["cat"] == {"train": 3, "val": 3, "test": 0}
    assert "'cat' has no image in test" in printed(report)


def test_a_scan_of_nothing_that_can_be_read_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "cat/1.jpg", b"a letter")
    put(tmp_path, "dog/1.jpg", b"another letter")
    with pytest.raises(DataError, match="holds 2 files, but no image that can be used"):
        scan_data(tmp_path, RULE, "quarantine")


def test_a_large_imbalance_is_pointed_out(folder: Path) -> None:
    assert "times as many images" not in printed(scan_data(folder, RULE, "refuse"))
    for index in range(8, 30):
        (folder / "dog" / f"{index:02}.png").unlink()
    report = scan_data(folder, RULE, "refuse")
    assert report["imbalance"] == pytest.approx(30 / 8)
    assert "3.8 times as many images" in printed(report)
    assert "--balance" in printed(report)


@pytest.mark.parametrize("policy", ["refuse", "quarantine"])
def test_nothing_in_the_folder_is_touched(folder: Path, encoded: Encoder, policy: str) -> None:
    troubled(folder, encoded)
    before = tree(folder)
    scan_data(folder, RULE, policy)
    if policy == "quarantine":
        prepare_data(folder, RULE, policy, SMALL)
    else:
        with pytest.raises(DataProblems):
            prepare_data(folder, RULE, policy, SMALL)
    assert tree(folder) == before


def test_scan_on_the_command_line_gives_0_for_a_sound_folder_1_for_problems_and_2_for_none(
    folder: Path, encoded: Encoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.json"
    assert main(["scan", str(folder), "--report", str(file)]) == 0
    assert json.loads(file.read_text())["problems"] == []
    assert f"Written to {file}." in capsys.readouterr().out

    troubled(folder, encoded)
    options = ["--seed", "7", "--val-share", "0.3", "--problem-files", "refuse"]
    assert main(["scan", str(folder), "--report", str(file), *options]) == 1
    report = json.loads(file.read_text())
    assert kinds(report["problems"]) == ["unreadable", "contradiction"]
    assert (report["policy"], report["split"]["seed"], report["split"]["val_share"]) == ("refuse", 7, 0.3)
    out = capsys.readouterr().out
    assert "cat/text.jpg" in out
    assert "cat/both.png = dog/both.png" in out

    file.unlink()
    assert main(["scan", str(tmp_path / "nowhere"), "--report", str(file)]) == 2
    assert "nowhere is not a folder" in capsys.readouterr().err
    assert not file.exists()


def test_scan_on_the_command_line_splits_by_groups(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scan", str(folder), "--report", str(tmp_path / "r.json"), "--group-by", r"owner-\d+"]) == 2
    assert "does not match cat/00.png" in capsys.readouterr().err
    assert main(["scan", str(folder), "--report", str(tmp_path / "r.json"), "--group-by", r"\d\d\."]) == 0
    parts = json.loads((tmp_path / "r.json").read_text())["split"]["files"]
    assert all(parts[f"cat/{index:02}.png"] == parts[f"dog/{index:02}.png"] for index in range(30))
