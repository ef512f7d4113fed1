"""A data folder → images that can be trained on, and a report of what was found and what was done about it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.data.folder import DataError, LabelledFile, Part, list_images
from training.data.images import ImageSet, allocate, take
from training.data.problems import Problem, ProblemFiles, refusal, sift
from training.data.report import build_report
from training.data.scan import FileRecord, Tracker, examine, untracked
from training.data.splitting import SplitRule, check_complete, fingerprint
from vision.preprocessing import Preprocessing


@dataclass(frozen=True)
class Evidence:
    """What a bundle is proved on.

    Attributes:
        train: for the calibration of int8.
        val: for the parity of the engines.
        test: for the numbers, the golden samples and the baseline.
        test_files: the files of the test images, in order.
        facts: fingerprints, counts and what was left out, for the provenance.
    """

    train: ImageSet
    val: ImageSet
    test: ImageSet
    test_files: Sequence[Path]
    facts: dict[str, Any]


@dataclass(frozen=True)
class PreparedData:
    """Everything that training, evaluation and the reports need of the data.

    Attributes:
        root: the data folder.
        rule: the split.
        policy: what was done about problems.
        records: every file.
        used: the records of the files that are used.
        parts: the part of each used file, in the same order.
        images: decoded and resized, in the same order; None if no preprocessing was given.
        problems: what was found wrong.
    """

    root: Path
    rule: SplitRule
    policy: ProblemFiles
    records: tuple[FileRecord, ...]
    used: tuple[FileRecord, ...]
    parts: tuple[Part, ...]
    images: ImageSet | None
    problems: tuple[Problem, ...]

    @cached_property
    def files(self) -> tuple[LabelledFile, ...]:
        """The files that are used."""
        return tuple(record.file for record in self.used)

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """In the order of the labels."""
        return _categories(self.files)

    @cached_property
    def train(self) -> ImageSet:
        """The training images, copied once."""
        return self._part("train")

    @cached_property
    def val(self) -> ImageSet:
        """The validation images, copied once."""
        return self._part("val")

    @cached_property
    def test(self) -> ImageSet:
        """The test images, copied once."""
        return self._part("test")

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the images and categories; see `training.data.splitting.fingerprint`."""
        return fingerprint(self.files, [record.sha256 for record in self.used])

    @cached_property
    def split_fingerprint(self) -> str:
        """sha256 of the images, categories and parts."""
        return fingerprint(self.files, [record.sha256 for record in self.used], self.parts)

    @cached_property
    def report(self) -> dict[str, Any]:
        """data_report.json. Built when it is first asked for, because the search for near-duplicates takes time."""
        return build_report(self.root, self.rule, self.problems, self.policy, self.records, self.used, self.parts)

    def indices(self, part: Part) -> npt.NDArray[np.int64]:
        """Which of the used files are in a part, ascending."""
        return np.flatnonzero(np.array(self.parts) == part)

    def paths(self, part: Part) -> list[str]:
        """The files of a part, relative to the data folder, in the order of its images."""
        return [self.files[index].path for index in self.indices(part)]

    def evidence(self) -> Evidence:
        """What a bundle of this data is proved on."""
        facts = {
            "sha256": self.fingerprint,
            "split_sha256": self.split_fingerprint,
            "images": {"train": len(self.train), "val": len(self.val), "test": len(self.test)},
            "left_out": sorted({path for problem in self.problems for path in problem.left_out}),
        }
        return Evidence(self.train, self.val, self.test, [self.root / path for path in self.paths("test")], facts)

    def _part(self, part: Part) -> ImageSet:
        assert self.images is not None  # noqa: S101 - whoever asks for images has given a preprocessing
        return self.images.subset(self.indices(part))


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
        problem_files: `refuse` raises if there is a problem; `quarantine` leaves out the files concerned and names
            them. A category without a usable image is refused in both cases, because leaving it out would drop a label.
        preprocessing: its geometry is applied to each image; None only reports.
        progress: shows how many files are done.
        complete: whether each category must have an image in each part, as training needs it.

    Raises:
        DataError: no such folder; problems, all of them named; a category missing in a part.
    """
    listing = list_images(root)
    pixels = None if preprocessing is None else allocate((len(listing.files), *preprocessing.shape))

    def keep(index: int, image: npt.NDArray[np.uint8]) -> None:
        if preprocessing is not None and pixels is not None:
            pixels[index] = preprocessing.apply(image)

    records = examine(listing, keep, progress, preprocessing.colours if preprocessing else "srgb")
    sifted = sift(listing, records, rule)
    if sifted.problems and (problem_files == "refuse" or not all(problem.left_out for problem in sifted.problems)):
        raise refusal(root, len(records), sifted.problems)
    used = tuple(records[index] for index in sifted.usable)
    files = [record.file for record in used]
    categories = _categories(files)
    if len(categories) < 2:
        raise DataError(f"{root} has usable images of {len(categories)} categories; training needs at least two.")
    if complete:
        check_complete(files, sifted.parts, categories)
    images = None
    if pixels is not None:
        labels = np.array([categories.index(file.category) for file in files], dtype=np.int64)
        whole = len(used) == len(records)
        images = ImageSet(pixels if whole else take(pixels, np.array(sifted.usable, dtype=np.int64)), labels)
    return PreparedData(
        root, rule, problem_files, tuple(records), used, tuple(sifted.parts), images, tuple(sifted.problems)
    )


def scan_data(
    root: Path, rule: SplitRule, problem_files: ProblemFiles, progress: Tracker = untracked
) -> dict[str, Any]:
    """Reports on a data folder, whether or not it can be trained on.

    Args:
        root: the data folder.
        rule: of the split that training would make.
        problem_files: what training would do about problems.
        progress: shows how many files are done.

    Returns:
        The data report.

    Raises:
        DataError: no such folder, or it holds no image that can be read.
    """
    listing = list_images(root)
    records = examine(listing, progress=progress)
    sifted = sift(listing, records, rule)
    if not sifted.usable:
        raise DataError(f"{root} holds {len(records)} files, but no image that can be used.")
    used = [records[index] for index in sifted.usable]
    files = [record.file for record in used]
    try:
        check_complete(files, sifted.parts, _categories(files))
    except DataError as error:
        sifted.problems.append(Problem("missing_in_part", (), str(error), ()))
    return build_report(root, rule, sifted.problems, problem_files, records, used, sifted.parts)


def _categories(files: Iterable[LabelledFile]) -> tuple[str, ...]:
    return tuple(sorted({file.category for file in files}))
