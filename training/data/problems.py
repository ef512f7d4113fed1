"""Finds what training must not use: damaged files, contradicting labels, images in several parts, empty categories."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.data.duplicates import identical
from training.data.folder import PARTS, DataError, Listing, Part
from training.data.scan import FileRecord
from training.data.splitting import SplitRule, choose_parts

ProblemFiles = Literal["quarantine", "refuse"]


@dataclass(frozen=True)
class Problem:
    """One thing that training must not use.

    Attributes:
        kind: `unreadable`, `contradiction` (the same bytes in several categories), `leak` (the same bytes in several
            parts), `empty_category`, or `missing_in_part` (reported by `scan` only).
        paths: the files or the folder, relative to the data folder.
        message: what is wrong.
        left_out: the paths that `quarantine` does without; empty if leaving files out would not help.
    """

    kind: str
    paths: tuple[str, ...]
    message: str
    left_out: tuple[str, ...]


class DataProblems(DataError):
    """The folder has problems. They must be repaired, or left out with `--problem-files quarantine`. Each is named.

    Attributes:
        problems: all of them.
    """

    def __init__(self, message: str, problems: Sequence[Problem]) -> None:
        super().__init__(message)
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type["DataProblems"], tuple[str, tuple[Problem, ...]]]:
        """Lets the error be sent between Ray's processes."""
        return type(self), (str(self), self.problems)


@dataclass(frozen=True)
class Sifted:
    """Which files can be used.

    Attributes:
        usable: indices into the records, ascending.
        parts: the part of each usable file, in the same order.
        problems: what is wrong with the others.
    """

    usable: list[int]
    parts: list[Part]
    problems: list[Problem]


def sift(listing: Listing, records: Sequence[FileRecord], rule: SplitRule) -> Sifted:
    """Separates the files that can be used from those with a problem.

    Raises:
        DataError: of `choose_parts`.
    """
    problems = [*_unreadable(records), *_contradictions(records)]
    usable = _without(records, problems)
    files = [records[index].file for index in usable]
    parts = dict(zip(usable, choose_parts(files, [records[index].sha256 for index in usable], rule), strict=True))
    problems += _leaks(records, parts)
    usable = _without(records, problems)
    left = {records[index].file.category for index in usable}
    empty = [name for name in listing.categories if name not in left]
    problems += [Problem("empty_category", (name,), f"{name}/ holds no image that can be used", ()) for name in empty]
    return Sifted(usable, [parts[index] for index in usable], problems)


def refusal(root: Path, files: int, problems: Sequence[Problem]) -> DataProblems:
    """The error that names every problem and what to do."""
    lines = "\n".join(f"  {problem.kind}: {problem.message}" for problem in problems)
    empty = [path for problem in problems if not problem.left_out for path in problem.paths]
    remedy = (
        "Repair or remove these files, or leave them out with --problem-files quarantine "
        "(they are named; nothing is moved or deleted)."
    )
    if empty:
        remedy = (
            f"Put images into {', '.join(empty)}, or remove the folder. "
            "--problem-files quarantine leaves out files with problems."
        )
    message = f"{root} has {len(problems)} problems in {files} files:\n{lines}\n{remedy}"
    return DataProblems(message, problems)


def _unreadable(records: Sequence[FileRecord]) -> list[Problem]:
    broken = [record for record in records if record.error]
    return [
        Problem("unreadable", (record.file.path,), f"{record.file.path}: {record.error}", (record.file.path,))
        for record in broken
    ]


def _contradictions(records: Sequence[FileRecord]) -> list[Problem]:
    """The same bytes in several categories: one of the labels is wrong, and the files do not say which."""
    readable = [record for record in records if not record.error]
    groups = [[readable[index].file for index in group] for group in identical([record.sha256 for record in readable])]
    clashing = [group for group in groups if len({file.category for file in group}) > 1]
    return [
        Problem("contradiction", paths, f"the same image has several labels: {' = '.join(paths)}", paths)
        for paths in (tuple(file.path for file in group) for group in clashing)
    ]


def _leaks(records: Sequence[FileRecord], parts: dict[int, Part]) -> list[Problem]:
    """The same bytes in several parts, if folders or groups decide the part. Test keeps its copy, else val."""
    problems = []
    indices = list(parts)
    for group in identical([records[index].sha256 for index in indices]):
        copies = [indices[place] for place in group]
        keeper = next(part for part in reversed(PARTS) if part in {parts[index] for index in copies})
        others = tuple(records[index].file.path for index in copies if parts[index] != keeper)
        if others:
            paths = tuple(records[index].file.path for index in copies)
            problems.append(Problem("leak", paths, f"the same image is in several parts: {' = '.join(paths)}", others))
    return problems


def _without(records: Sequence[FileRecord], problems: Iterable[Problem]) -> list[int]:
    left_out = {path for problem in problems for path in problem.left_out}
    return [index for index, record in enumerate(records) if record.file.path not in left_out]
