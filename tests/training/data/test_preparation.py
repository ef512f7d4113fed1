"""A data folder becomes images to train on; nothing is dropped silently."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.training.data.conftest import RULE, Encoder, kinds, orientation_tag, picture, printed, put, troubled
from training.data.folder import PARTS, DataError
from training.data.preparation import prepare_data, scan_data
from training.data.problems import DataProblems
from training.data.splitting import SplitRule
from vision.image import DecodeLimits, decode
from vision.preprocessing import Preprocessing

SMALL = Preprocessing.zero_one(8)


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
