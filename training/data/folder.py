"""A folder of labelled images: which files and categories it holds.

    DATA/
      daisy/   a.jpg b.png …      one folder for each category; its name is the label
      rose/    …

or, if the split is given, DATA/train/daisy/…, DATA/val/daisy/…, DATA/test/daisy/….

Categories are sorted by Unicode code point, so "10" comes before "2", and stored in the bundle in that order.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vision.bundle.manifest import MAX_CATEGORY_LENGTH, is_category
from vision.errors import SightlineError

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")


class DataError(SightlineError):
    """The folder cannot be trained on. The message names the files or folders at fault."""

    code = "data_error"


@dataclass(frozen=True)
class LabelledFile:
    """One file and the label that its folder gives it.

    Attributes:
        path: below the data folder, with `/`.
        category: the name of its folder.
        part: the part, if the data folder is split into parts; else None.
    """

    path: str
    category: str
    part: Part | None = None


@dataclass(frozen=True)
class Listing:
    """The files of a data folder, not yet read.

    Attributes:
        root: the data folder.
        categories: folder names, sorted, including empty ones.
        files: sorted by path.
    """

    root: Path
    categories: tuple[str, ...]
    files: tuple[LabelledFile, ...]


def list_images(root: Path) -> Listing:
    """Lists DATA/CATEGORY/**/FILE, or DATA/PART/CATEGORY/**/FILE if DATA holds all parts. Skips hidden files.

    Raises:
        DataError: no such folder, fewer than two categories, or only some of the three parts.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; give a folder that contains one folder of images for each category.")
    folders = _folders(root)
    given = [part for part in PARTS if part in folders]
    if len(given) == 2:
        (missing,) = set(PARTS) - set(given)
        raise DataError(
            f"{root} holds {given[0]}/ and {given[1]}/, but no {missing}/; add it, or put all categories side by side."
        )
    parts = PARTS if len(given) == len(PARTS) else (None,)
    files: list[LabelledFile] = []
    categories: set[str] = set()
    for part in parts:
        top = root / part if part else root
        for category in _folders(top):
            categories.add(category)
            paths = (file.relative_to(root) for file in (top / category).rglob("*") if file.is_file())
            shown = [path for path in paths if not any(name.startswith(".") for name in path.parts)]
            files += [LabelledFile(path.as_posix(), category, part) for path in shown]
    if len(categories) < 2:
        raise DataError(
            f"{root} holds {len(categories)} category folders; training needs at least two, one for each category."
        )
    for name in categories:
        if not is_category(name):
            raise DataError(
                f"The folder {name!r} cannot name a category; use 1 to {MAX_CATEGORY_LENGTH} printable characters."
            )
    for file in files:
        try:
            file.path.encode()
        except UnicodeEncodeError:
            raise DataError(f"{file.path!r} in {root} has a name that is not UTF-8; rename it.") from None
    return Listing(root, tuple(sorted(categories)), tuple(sorted(files, key=lambda file: file.path)))


def _folders(root: Path) -> list[str]:
    return sorted(folder.name for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))
