"""A data folder → images that can be trained on, and an honest report of what was found and what was done about it."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from training.datasets import PARTS, DataError, ImageSet, LabelledFile, Listing, Part, allocate, list_images, take
from training.scan import FileRecord, Tracker, examine, identical, nearly_identical, untracked
from training.splitting import Split, check_complete, choose_parts, fingerprint, split
from vision.preprocessing import Preprocessing

ProblemFiles = Literal["quarantine", "refuse"]
# More than this many times as many images in the largest category as in the smallest, and plain accuracy misleads.
_IMBALANCE = 3.0
_SHOWN = 20


@dataclass(frozen=True)
class SplitRule:
    """What decides which image is in which part; see `training.splitting`."""

    seed: int
    val_share: float
    test_share: float
    group_by: str | None = None


@dataclass(frozen=True)
class Problem:
    """Something that training must not pass over.

    Attributes:
        kind: `unreadable`, `contradiction` (the same bytes in several categories), `leak` (the same bytes in several parts)
            or `empty_category`.
        paths: the files or the folder, below the data folder.
        message: what is wrong.
        left_out: the paths that `quarantine` does without; none where that would not help.
    """

    kind: str
    paths: tuple[str, ...]
    message: str
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class PreparedData:
    """Everything that training, evaluation and the reports need of the data.

    Attributes:
        root: the data folder.
        categories: in the order of the labels.
        files: those that are used.
        digests: sha256 of each.
        parts: of each.
        split: the same as indices.
        images: decoded and resized, in the same order; None where only a report was asked for.
        problems: what was found wrong.
        report: all of it as JSON can hold it.
    """

    root: Path
    categories: tuple[str, ...]
    files: tuple[LabelledFile, ...]
    digests: tuple[str, ...]
    parts: tuple[Part, ...]
    split: Split
    images: ImageSet | None
    problems: tuple[Problem, ...]
    report: dict[str, Any]

    def part(self, name: Part) -> ImageSet:
        """The images of one part, copied."""
        assert self.images is not None  # noqa: S101 - whoever asks for images has let them be decoded
        return self.images.subset(getattr(self.split, name))

    def paths(self, name: Part) -> list[Path]:
        """The files of one part, in the order of `part`."""
        return [self.root / self.files[index].path for index in getattr(self.split, name)]

    def fingerprint(self) -> str:
        """sha256 of the images and categories; see `training.splitting.fingerprint`."""
        return fingerprint(self.files, self.digests)

    def split_fingerprint(self) -> str:
        """sha256 of the images, categories and parts."""
        return fingerprint(self.files, self.digests, self.parts)


class DataProblems(DataError):
    """The folder has problems that must be mended, or left out by `--problem-files quarantine`; each is named.

    Attributes:
        problems: all of them.
    """

    def __init__(self, message: str, problems: Sequence[Problem]) -> None:
        super().__init__(message)
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type["DataProblems"], tuple[str, tuple[Problem, ...]]]:
        """So that it survives the way between Ray's processes."""
        return type(self), (str(self), self.problems)


def prepare_data(
    root: Path,
    rule: SplitRule,
    problem_files: ProblemFiles,
    preprocessing: Preprocessing | None,
    progress: Tracker = untracked,
    *,
    complete: bool = True,
) -> PreparedData:
    """Lists, examines, decodes and splits.

    Args:
        root: the data folder.
        rule: of the split.
        problem_files: `refuse` raises where there is a problem; `quarantine` does without the files concerned and says so. A
            category without a single image is refused all the same: a bundle that lacks a label nobody asked to drop is no answer.
        preprocessing: its geometry is applied to each image; None only reports.
        progress: shows how far it is.
        complete: whether each category must have an image in each part, as training needs it.

    Raises:
        DataError: no such folder; problems, all of them named; a category missing in a part.
    """
    listing = list_images(root)
    pixels = None if preprocessing is None else allocate((len(listing.files), *preprocessing.shape))

    def keep(index: int, image: npt.NDArray[np.uint8]) -> None:
        if preprocessing is not None and pixels is not None:
            pixels[index] = preprocessing.apply(image)

    records = examine(listing, keep, progress)
    usable, parts, problems = _sift(listing, records, rule)
    if problems and (problem_files == "refuse" or not all(problem.left_out for problem in problems)):
        raise DataProblems(_refusal(root, len(records), problems), problems)
    chosen = [records[index] for index in usable]
    files = tuple(record.file for record in chosen)
    categories = _categories(files)
    if len(categories) < 2:
        raise DataError(f"{root} has usable images of {len(categories)} categories; training needs at least two.")
    if complete:
        check_complete(files, parts, categories)
    images = None
    if pixels is not None:
        labels = np.array([categories.index(file.category) for file in files], dtype=np.int64)
        whole = len(usable) == len(records)
        images = ImageSet(pixels if whole else take(pixels, np.array(usable, dtype=np.int64)), labels)
    report = _report(root, rule, problems, problem_files, records, chosen, parts)
    digests = tuple(record.sha256 for record in chosen)
    return PreparedData(root, categories, files, digests, tuple(parts), split(parts), images, tuple(problems), report)


def scan_data(root: Path, rule: SplitRule, problem_files: ProblemFiles, progress: Tracker = untracked) -> dict[str, Any]:
    """Everything that there is to say of a data folder, whether or not it can be trained on.

    Args:
        root: the data folder.
        rule: of the split that training would make.
        problem_files: what training would do about problems.
        progress: shows how far it is.

    Returns:
        The data report.

    Raises:
        DataError: no such folder, or not a single image in it that can be read.
    """
    listing = list_images(root)
    records = examine(listing, progress=progress)
    usable, parts, problems = _sift(listing, records, rule)
    if not usable:
        raise DataError(f"{root} holds {len(records)} files, and not one image that can be used.")
    chosen = [records[index] for index in usable]
    try:
        files = [record.file for record in chosen]
        check_complete(files, parts, _categories(files))
    except DataError as error:
        problems.append(Problem("missing_in_part", (), str(error), ()))
    return _report(root, rule, problems, problem_files, records, chosen, parts)


def print_report(report: dict[str, Any], console: Console) -> None:
    """The report as a person reads it."""
    table = Table("category", *PARTS, "images", title=f"{report['usable']} of {report['files']} files in {report['root']} can be used")
    for category, counts in report["categories"].items():
        table.add_row(category, *(str(counts[part]) for part in PARTS), str(sum(counts.values())))
    console.print(table)
    for name in ("formats", "modes"):
        console.print(f"{name}: " + ", ".join(f"{key} {count}" for key, count in report[name].items()))
    for title, lines in (
        (f"{len(report['rotated'])} rotated by their EXIF tag (they are turned upright)", report["rotated"]),
        (
            f"{len(report['unusual_modes'])} stored in another mode than most (all become RGB)",
            [f"{found['path']} ({found['mode']})" for found in report["unusual_modes"]],
        ),
        (f"{len(report['duplicates'])} groups of identical files in one category", [" = ".join(group) for group in report["duplicates"]]),
        (
            f"{len(report['near_duplicates'])} pairs of nearly identical images",
            [f"{' ~ '.join(pair['paths'])}{_apart(pair)}" for pair in report["near_duplicates"]],
        ),
    ):
        if lines:
            _print_lines(console, title, lines)
    if report["imbalance"] > _IMBALANCE:
        console.print(
            f"The largest category has {report['imbalance']:.1f} times as many images as the smallest: consider --balance loss or sampler, "
            "and look at each category's recall."
        )
    if report["problems"]:
        lines = [f"{problem['kind']}: {problem['message']}" for problem in report["problems"]]
        _print_lines(console, f"{len(lines)} problems", lines, most=len(lines))
        left_out = sorted({path for problem in report["problems"] for path in problem["left_out"]})
        if report["policy"] == "quarantine":
            console.print(f"Left out of training: {', '.join(left_out) or 'nothing, because nothing would mend it'}.")
        else:
            console.print("Training refuses this folder: mend or remove these, or use --problem-files quarantine.")
        if not all(problem["left_out"] for problem in report["problems"]):
            console.print("Training refuses this folder: leaving files out does not help with all of it.")


def write_report(report: dict[str, Any], file: Path) -> None:
    """data_report.json; its folder is made where it is missing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def _sift(listing: Listing, records: Sequence[FileRecord], rule: SplitRule) -> tuple[list[int], list[Part], list[Problem]]:
    """Which records can be used, the part of each, and what is wrong with the others."""
    problems = [*_unreadable(records), *_contradictions(records)]
    usable = _without(records, problems)
    chosen = [records[index] for index in usable]
    parts = choose_parts(
        [record.file for record in chosen], [record.sha256 for record in chosen], rule.val_share, rule.test_share, rule.seed, rule.group_by
    )
    leaks = _leaks(chosen, parts)
    if leaks:
        part_of = dict(zip(usable, parts, strict=True))
        problems += leaks
        usable = _without(records, problems)
        parts = [part_of[index] for index in usable]
    left = {records[index].file.category for index in usable}
    empty = [name for name in listing.categories if name not in left]
    problems += [Problem("empty_category", (name,), f"{name}/ holds no image that can be used", ()) for name in empty]
    return usable, parts, problems


def _categories(files: Iterable[LabelledFile]) -> tuple[str, ...]:
    return tuple(sorted({file.category for file in files}))


def _unreadable(records: Sequence[FileRecord]) -> list[Problem]:
    broken = [record for record in records if record.error]
    return [Problem("unreadable", (record.file.path,), f"{record.file.path}: {record.error}", (record.file.path,)) for record in broken]


def _contradictions(records: Sequence[FileRecord]) -> list[Problem]:
    """A file in two categories: whatever it shows, one of its labels is wrong, and nobody here knows which."""
    readable = [record for record in records if not record.error]
    groups = [[readable[index].file for index in group] for group in identical(readable)]
    clashing = [group for group in groups if len({file.category for file in group}) > 1]
    return [
        Problem("contradiction", paths, f"the same image has several labels: {' = '.join(paths)}", paths)
        for paths in (tuple(file.path for file in group) for group in clashing)
    ]


def _leaks(records: Sequence[FileRecord], parts: Sequence[Part]) -> list[Problem]:
    """The same bytes in several parts: only where folders or groups made the split. The part that judges keeps its copy."""
    problems = []
    for group in identical(records):
        keeper = next(part for part in reversed(PARTS) if part in {parts[index] for index in group})
        others = tuple(records[index].file.path for index in group if parts[index] != keeper)
        if others:
            paths = tuple(records[index].file.path for index in group)
            problems.append(Problem("leak", paths, f"the same image is in several parts: {' = '.join(paths)}", others))
    return problems


def _without(records: Sequence[FileRecord], problems: Iterable[Problem]) -> list[int]:
    left_out = {path for problem in problems for path in problem.left_out}
    return [index for index, record in enumerate(records) if record.file.path not in left_out]


def _refusal(root: Path, files: int, problems: Sequence[Problem]) -> str:
    lines = "\n".join(f"  {problem.kind}: {problem.message}" for problem in problems)
    empty = [path for problem in problems if not problem.left_out for path in problem.paths]
    remedy = "Mend or remove these files, or let --problem-files quarantine leave them out (named; nothing is moved or deleted)."
    if empty:
        remedy = f"Put images into {', '.join(empty)}, or remove the folder. Files with problems can be left out by --problem-files."
    return f"{root} has {files} files and {len(problems)} problems:\n{lines}\n{remedy}"


def _report(
    root: Path,
    rule: SplitRule,
    problems: Sequence[Problem],
    policy: ProblemFiles,
    records: Sequence[FileRecord],
    chosen: Sequence[FileRecord],
    parts: Sequence[Part],
) -> dict[str, Any]:
    counts = {category: dict.fromkeys(PARTS, 0) for category in _categories(record.file for record in chosen)}
    for record, part in zip(chosen, parts, strict=True):
        counts[record.file.category][part] += 1
    modes = dict(Counter(str(record.mode) for record in chosen).most_common())
    totals = [sum(count.values()) for count in counts.values()]
    paths = [record.file.path for record in chosen]
    return {
        "root": str(root),
        "files": len(records),
        "usable": len(chosen),
        "policy": policy,
        "problems": [vars(problem) for problem in problems],
        "categories": counts,
        "imbalance": max(totals) / min(totals),
        "formats": dict(Counter(str(record.format) for record in chosen).most_common()),
        "modes": modes,
        "smallest_px": min(min(record.width, record.height) for record in chosen),
        "largest_px": max(max(record.width, record.height) for record in chosen),
        "rotated": [record.file.path for record in chosen if record.orientation != 1],
        "unusual_modes": [{"path": record.file.path, "mode": record.mode} for record in chosen if str(record.mode) != next(iter(modes))],
        "duplicates": [[paths[index] for index in group] for group in identical(chosen)],
        "near_duplicates": [
            {"paths": [paths[one], paths[other]], "parts": [parts[one], parts[other]]} for one, other in nearly_identical(chosen)
        ],
        "split": {
            **vars(rule),
            "sha256": fingerprint([record.file for record in chosen], [record.sha256 for record in chosen], parts),
            "files": dict(zip(paths, parts, strict=True)),
        },
    }


def _apart(pair: dict[str, Any]) -> str:
    one, other = pair["parts"]
    return "" if one == other else f" (in {one} and {other}: what was learnt from one helps with the other)"


def _print_lines(console: Console, title: str, lines: Sequence[str], most: int = _SHOWN) -> None:
    console.print(f"{title}:")
    for line in lines[:most]:
        console.print(f"  {line}")
    if len(lines) > most:
        console.print(f"  … and {len(lines) - most} more")
