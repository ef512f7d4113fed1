"""A folder of labelled images: which files there are, and the arrays that training indexes.

    DATA/
      daisy/   a.jpg b.png …      one folder a category; its name is the label
      rose/    …

or, where the split is given, DATA/train/daisy/…, DATA/val/daisy/…, DATA/test/daisy/….

Categories are sorted by Unicode code point, always, and stored in the bundle: "10" comes before "2".
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from vision.bundle.manifest import MAX_CATEGORY_LENGTH, is_category
from vision.errors import SightlineError
from vision.image import DecodeLimits

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
# Above this, decoded images live in a temporary file that the operating system pages in, instead of in memory.
IN_MEMORY_BYTES = 2 * 2**30
# Training data is the owner's own, so the limits are those that no image library goes beyond.
TRAINING_LIMITS = DecodeLimits(max_bytes=256 * 2**20, max_pixels=89_478_485, max_side_px=65_535)


class DataError(SightlineError):
    """The folder cannot be trained on. The message names the files or folders at fault."""

    code = "data_error"


@dataclass(frozen=True)
class LabelledFile:
    """One file and what its place says of it.

    Attributes:
        path: below the data folder, with `/`.
        category: the name of its folder.
        part: where the data folder itself is split; else None.
    """

    path: str
    category: str
    part: Part | None = None


@dataclass(frozen=True)
class Listing:
    """What lies in a data folder, not yet looked into.

    Attributes:
        root: the data folder.
        categories: folder names, sorted; those without a file too.
        files: sorted by path.
    """

    root: Path
    categories: tuple[str, ...]
    files: tuple[LabelledFile, ...]


@dataclass(frozen=True)
class ImageSet:
    """Images as the model sees them, before normalisation.

    Attributes:
        images: uint8 (N, H, W, C), possibly backed by a file.
        labels: (N,) int64.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: npt.NDArray[np.int64]) -> "ImageSet":
        """The images at these indices, copied."""
        return ImageSet(take(self.images, indices), self.labels[indices])


def list_images(root: Path) -> Listing:
    """Lists DATA/CATEGORY/**/FILE, or DATA/PART/CATEGORY/**/FILE where DATA holds train/, val/ and test/; hidden files left out.

    Raises:
        DataError: no such folder, fewer than two categories, or only some of the three parts.
    """
    if not root.is_dir():
        raise DataError(f"{root} is no folder; give one that holds a folder of images for each category.")
    folders = _folders(root)
    given = [part for part in PARTS if part in folders]
    if len(given) == 2:
        (missing,) = set(PARTS) - set(given)
        raise DataError(f"{root} holds {given[0]}/ and {given[1]}/, but no {missing}/; add it, or put all categories side by side.")
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
        raise DataError(f"{root} holds {len(categories)} category folders; training needs at least two, one for each category.")
    for name in categories:
        if not is_category(name):
            raise DataError(f"The folder {name!r} cannot name a category; use 1 to {MAX_CATEGORY_LENGTH} printable characters.")
    for file in files:
        try:
            file.path.encode()
        except UnicodeEncodeError:
            raise DataError(f"{file.path!r} in {root} has a name that is not UTF-8; rename it.") from None
    return Listing(root, tuple(sorted(categories)), tuple(sorted(files, key=lambda file: file.path)))


def allocate(shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """An array for decoded images: in memory, or in a file where it would not fit."""
    if int(np.prod(shape)) <= IN_MEMORY_BYTES:
        return np.empty(shape, dtype=np.uint8)
    with tempfile.TemporaryFile() as file:  # numpy keeps a handle of its own; the file goes with the array
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)


def take(images: npt.NDArray[np.uint8], indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """The images at these indices, copied into an array of their own."""
    chosen = allocate((len(indices), *images.shape[1:]))
    for start in range(0, len(indices), 256):  # so that no part of a large set is in memory twice
        chosen[start : start + 256] = images[indices[start : start + 256]]
    return chosen


def _folders(root: Path) -> list[str]:
    return sorted(folder.name for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))
