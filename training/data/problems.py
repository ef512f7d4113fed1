"""What training must not pass over: files that cannot be read, contradict each other, or stand where they must not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.data.folder import PARTS, DataError, Part
from training.data.scan import FileRecord, identical

ProblemFiles = Literal["quarantine", "refuse"]


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


def unreadable(records: Sequence[FileRecord]) -> list[Problem]:
    """Files that are no image, or a damaged one."""
    broken = [record for record in records if record.error]
    return [Problem("unreadable", (record.file.path,), f"{record.file.path}: {record.error}", (record.file.path,)) for record in broken]


def contradictions(records: Sequence[FileRecord]) -> list[Problem]:
    """A file in two categories: whatever it shows, one of its labels is wrong, and nobody here knows which."""
    readable = [record for record in records if not record.error]
    groups = [[readable[index].file for index in group] for group in identical(readable)]
    clashing = [group for group in groups if len({file.category for file in group}) > 1]
    return [
        Problem("contradiction", paths, f"the same image has several labels: {' = '.join(paths)}", paths)
        for paths in (tuple(file.path for file in group) for group in clashing)
    ]


def leaks(records: Sequence[FileRecord], parts: Sequence[Part]) -> list[Problem]:
    """The same bytes in several parts: only where folders or groups made the split. The part that judges keeps its copy."""
    problems = []
    for group in identical(records):
        keeper = next(part for part in reversed(PARTS) if part in {parts[index] for index in group})
        others = tuple(records[index].file.path for index in group if parts[index] != keeper)
        if others:
            paths = tuple(records[index].file.path for index in group)
            problems.append(Problem("leak", paths, f"the same image is in several parts: {' = '.join(paths)}", others))
    return problems


def refusal(root: Path, files: int, problems: Sequence[Problem]) -> DataProblems:
    """The error that names every problem, with the remedy."""
    lines = "\n".join(f"  {problem.kind}: {problem.message}" for problem in problems)
    empty = [path for problem in problems if not problem.left_out for path in problem.paths]
    remedy = "Mend or remove these files, or let --problem-files quarantine leave them out (named; nothing is moved or deleted)."
    if empty:
        remedy = f"Put images into {', '.join(empty)}, or remove the folder. Files with problems can be left out by --problem-files."
    message = f"The problems of {root} ({len(problems)}, in {files} files):\n{lines}\n{remedy}"
    return DataProblems(message, problems)
