"""The data report: counts, problems, its printed form, and `scan` on the command line."""

import json
from pathlib import Path

import pytest

from tests.training.data.conftest import RULE, Encoder, kinds, orientation_tag, picture, printed, put, tree, troubled
from training.__main__ import main
from training.data.folder import PARTS, DataError
from training.data.preparation import prepare_data, scan_data
from training.data.problems import DataProblems
from training.data.report import write_report
from vision.preprocessing import Preprocessing

SMALL = Preprocessing.zero_one(8)


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
