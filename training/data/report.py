"""data_report.json, and its printed form: what was found in a data folder, and what was done about it."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from training.data.duplicates import identical, nearly_identical
from training.data.folder import PARTS, Part
from training.data.problems import Problem, ProblemFiles
from training.data.scan import FileRecord
from training.data.splitting import SplitRule, fingerprint

# Above this ratio of the largest to the smallest category, plain accuracy misleads.
_IMBALANCE = 3.0
_SHOWN = 20


def build_report(
    root: Path,
    rule: SplitRule,
    problems: Sequence[Problem],
    policy: ProblemFiles,
    records: Sequence[FileRecord],
    used: Sequence[FileRecord],
    parts: Sequence[Part],
) -> dict[str, Any]:
    """The report as JSON can hold it.

    Args:
        root: the data folder.
        rule: of the split.
        problems: what was found wrong.
        policy: what was done about problems.
        records: every file.
        used: the records of the files that are used.
        parts: the part of each used file.
    """
    counts = {category: dict.fromkeys(PARTS, 0) for category in sorted({record.file.category for record in used})}
    for record, part in zip(used, parts, strict=True):
        counts[record.file.category][part] += 1
    totals = [sum(count.values()) for count in counts.values()]
    return {
        "root": str(root),
        "files": len(records),
        "usable": len(used),
        "policy": policy,
        "problems": [vars(problem) for problem in problems],
        "categories": counts,
        "imbalance": max(totals) / min(totals),
        **_pictures(used),
        **_duplicates(used, parts),
        "split": {
            **vars(rule),
            "sha256": fingerprint([record.file for record in used], [record.sha256 for record in used], parts),
            "files": {record.file.path: part for record, part in zip(used, parts, strict=True)},
        },
    }


def _pictures(used: Sequence[FileRecord]) -> dict[str, Any]:
    """How the images are stored."""
    found = [(record.file.path, record.picture) for record in used if record.picture is not None]
    modes = _counted(picture.mode for _, picture in found)
    return {
        "formats": _counted(picture.format for _, picture in found),
        "modes": modes,
        "smallest_px": min(min(picture.width, picture.height) for _, picture in found),
        "largest_px": max(max(picture.width, picture.height) for _, picture in found),
        "rotated": [path for path, picture in found if picture.orientation != 1],
        "unusual_modes": [
            {"path": path, "mode": picture.mode} for path, picture in found if picture.mode != next(iter(modes))
        ],
    }


def _duplicates(used: Sequence[FileRecord], parts: Sequence[Part]) -> dict[str, Any]:
    """Pictures that are there twice, or nearly."""
    paths, digests = [record.file.path for record in used], [record.sha256 for record in used]
    looks = [record.picture.look if record.picture is not None else None for record in used]
    return {
        "duplicates": [[paths[index] for index in group] for group in identical(digests)],
        "near_duplicates": [
            {"paths": [paths[one], paths[other]], "parts": [parts[one], parts[other]]}
            for one, other in nearly_identical(digests, looks)
        ],
    }


def _counted(values: Iterable[str]) -> dict[str, int]:
    """How often each value occurs, the most frequent first."""
    return dict(Counter(values).most_common())


def print_report(report: dict[str, Any], console: Console) -> None:
    """Prints the report for people."""
    table = Table(
        "category",
        *PARTS,
        "images",
        title=f"{report['usable']} of {report['files']} files in {report['root']} can be used",
    )
    for category, counts in report["categories"].items():
        table.add_row(category, *(str(counts[part]) for part in PARTS), str(sum(counts.values())))
    console.print(table)
    for name in ("formats", "modes"):
        console.print(f"{name}: " + ", ".join(f"{key} {count}" for key, count in report[name].items()))
    for title, lines in (
        ("rotated by their EXIF tag, turned upright", report["rotated"]),
        (
            "stored in an unusual mode, converted to RGB",
            [f"{found['path']} ({found['mode']})" for found in report["unusual_modes"]],
        ),
        ("identical files in one category", [" = ".join(group) for group in report["duplicates"]]),
        (
            "pairs of nearly identical images",
            [f"{' ~ '.join(pair['paths'])}{_apart(pair)}" for pair in report["near_duplicates"]],
        ),
    ):
        if lines:
            _print_lines(console, title, lines)
    if report["imbalance"] > _IMBALANCE:
        console.print(
            f"The largest category has {report['imbalance']:.1f} times as many images as the smallest: consider "
            "--balance loss or sampler, and look at each category's recall."
        )
    if report["problems"]:
        lines = [f"{problem['kind']}: {problem['message']}" for problem in report["problems"]]
        _print_lines(console, "problems", lines, most=len(lines))
        left_out = sorted({path for problem in report["problems"] for path in problem["left_out"]})
        if report["policy"] == "quarantine":
            console.print(f"Left out of training: {', '.join(left_out) or 'no file'}.")
        else:
            remedy = "repair or remove these files, or use --problem-files quarantine"
            console.print(f"Training refuses this folder: {remedy}.")
        if not all(problem["left_out"] for problem in report["problems"]):
            console.print("Training refuses this folder: some of its problems remain if files are left out.")


def write_report(report: dict[str, Any], file: Path) -> None:
    """Writes data_report.json; creates its folder if it is missing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def _apart(pair: dict[str, Any]) -> str:
    one, other = pair["parts"]
    return (
        "" if one == other else f" (one is in {one}, the other in {other}: this makes the measured accuracy too high)"
    )


def _print_lines(console: Console, title: str, lines: Sequence[str], most: int = _SHOWN) -> None:
    console.print(f"{title} ({len(lines)}):")
    for line in lines[:most]:
        console.print(f"  {line}")
    if len(lines) > most:
        console.print(f"  … and {len(lines) - most} more")
