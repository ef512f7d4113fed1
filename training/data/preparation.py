"""A data folder → images that can be trained on, and an honest report of what was found and what was done about it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.data.folder import DataError, ImageSet, LabelledFile, Listing, Part, allocate, list_images, take
from training.data.problems import Problem, ProblemFiles, contradictions, leaks, refusal, unreadable
from training.data.report import build_report
from training.data.scan import FileRecord, Tracker, examine, untracked
from training.data.splitting import Split, SplitRule, check_complete, choose_parts, fingerprint, split
from vision.preprocessing import Preprocessing


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
        """sha256 of the images and categories; see `training.data.splitting.fingerprint`."""
        return fingerprint(self.files, self.digests)

    def split_fingerprint(self) -> str:
        """sha256 of the images, categories and parts."""
        return fingerprint(self.files, self.digests, self.parts)


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
        raise refusal(root, len(records), problems)
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
    report = build_report(root, rule, problems, problem_files, records, chosen, parts)
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
    return build_report(root, rule, problems, problem_files, records, chosen, parts)


def _sift(listing: Listing, records: Sequence[FileRecord], rule: SplitRule) -> tuple[list[int], list[Part], list[Problem]]:
    """Which records can be used, the part of each, and what is wrong with the others."""
    problems = [*unreadable(records), *contradictions(records)]
    usable = _without(records, problems)
    chosen = [records[index] for index in usable]
    parts = choose_parts([record.file for record in chosen], [record.sha256 for record in chosen], rule)
    leaked = leaks(chosen, parts)
    if leaked:
        part_of = dict(zip(usable, parts, strict=True))
        problems += leaked
        usable = _without(records, problems)
        parts = [part_of[index] for index in usable]
    left = {records[index].file.category for index in usable}
    empty = [name for name in listing.categories if name not in left]
    problems += [Problem("empty_category", (name,), f"{name}/ holds no image that can be used", ()) for name in empty]
    return usable, parts, problems


def _categories(files: Iterable[LabelledFile]) -> tuple[str, ...]:
    return tuple(sorted({file.category for file in files}))


def _without(records: Sequence[FileRecord], problems: Iterable[Problem]) -> list[int]:
    left_out = {path for problem in problems for path in problem.left_out}
    return [index for index, record in enumerate(records) if record.file.path not in left_out]
