"""A folder of labelled images → arrays that training can index, split in three.

    DATA/
      daisy/   a.jpg b.png …      one folder a category; its name is the label
      rose/    …

Categories are sorted by Unicode code point, always, and stored in the bundle: "10" comes before "2".
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vision.errors import ImageError, SightlineError
from vision.image import DecodeLimits, decode
from vision.preprocessing import Preprocessing

# Above this, decoded images live in a temporary file that the operating system pages in, instead of in memory.
IN_MEMORY_BYTES = 2 * 2**30
# Training data is the owner's own, so the limits are those that no image library goes beyond.
TRAINING_LIMITS = DecodeLimits(max_bytes=256 * 2**20, max_pixels=89_478_485, max_side_px=65_535)


class DataError(SightlineError):
    """The folder cannot be trained on. The message names the files or folders at fault."""

    code = "data_error"


@dataclass(frozen=True)
class LabelledFiles:
    """Image files and their labels, as found.

    Attributes:
        root: the data folder.
        categories: folder names, sorted.
        files: one path an image.
        labels: (N,) int64, indices into `categories`.
        digests: sha256 of each file's bytes.
    """

    root: Path
    categories: tuple[str, ...]
    files: tuple[Path, ...]
    labels: npt.NDArray[np.int64]
    digests: tuple[str, ...]

    def fingerprint(self) -> str:
        """sha256 over every (category, file digest), in sorted order: the same images in the same folders give the same."""
        lines = sorted(f"{self.categories[label]} {digest}\n" for label, digest in zip(self.labels, self.digests, strict=True))
        return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Split:
    """Indices of three disjoint parts: to learn from, to choose by, to report on."""

    train: npt.NDArray[np.int64]
    val: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]


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
        return ImageSet(self.images[indices], self.labels[indices])


def find_images(root: Path) -> LabelledFiles:
    """Lists DATA/CATEGORY/**/FILE, hidden files left out.

    Raises:
        DataError: no such folder, fewer than two categories, or a category without a file.
    """
    if not root.is_dir():
        raise DataError(f"{root} is no folder; give one that holds a folder of images for each category.")
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    if len(folders) < 2:
        raise DataError(f"{root} holds {len(folders)} folders; training needs at least two, one for each category.")
    files: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        found = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
        if not found:
            raise DataError(f"{folder} holds no file; remove the folder, or put images of {folder.name!r} into it.")
        files += found
        labels += [label] * len(found)
    digests = tuple(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    return LabelledFiles(root, tuple(folder.name for folder in folders), tuple(files), np.array(labels, dtype=np.int64), digests)


def stratified_split(found: LabelledFiles, val_share: float, test_share: float, seed: int) -> Split:
    """Splits each category by the same shares, in an order that only the seed and the images' bytes decide.

    Args:
        found: the files.
        val_share: 0.01 to 0.5.
        test_share: 0.01 to 0.5.
        seed: another seed, another split.

    Raises:
        DataError: a category is too small to have an image in every part.
    """
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for label, category in enumerate(found.categories):
        members = np.flatnonzero(found.labels == label).tolist()
        members.sort(key=lambda index: hashlib.sha256(f"{seed} {found.digests[index]}".encode()).digest())
        num_test, num_val = (max(1, round(len(members) * share)) for share in (test_share, val_share))
        if len(members) < num_test + num_val + 1:
            raise DataError(f"{category!r} has {len(members)} images; it needs at least {num_test + num_val + 1} for this split.")
        for part, chosen in zip(
            parts, (members[num_test + num_val :], members[num_test : num_test + num_val], members[:num_test]), strict=True
        ):
            part += chosen
    train, val, test = (np.array(sorted(part), dtype=np.int64) for part in parts)
    return Split(train, val, test)


def load_images(
    found: LabelledFiles, preprocessing: Preprocessing, progress: Callable[[Iterable[int], int], Iterable[int]] = lambda items, _: items
) -> ImageSet:
    """Decodes and resizes every file once, through the very code that serves.

    Args:
        found: the files.
        preprocessing: its geometry is applied here; the normalisation is the engine's.
        progress: wraps an iterable of known length, to show how far it is.

    Raises:
        DataError: files that cannot be decoded, all of them named with the reason.
    """
    shape = (len(found.files), *preprocessing.shape)
    images = _allocate(shape)
    refused: list[str] = []

    def load(index: int) -> int:
        file = found.files[index]
        try:
            images[index] = preprocessing.apply(decode(file.read_bytes(), TRAINING_LIMITS))
        except ImageError as error:
            refused.append(f"  {file}: {error.code}: {error}")
        return index

    with ThreadPoolExecutor() as pool:
        for _ in progress(pool.map(load, range(len(found.files))), len(found.files)):
            pass
    if refused:
        raise DataError("These files cannot be decoded; mend or remove them:\n" + "\n".join(sorted(refused)))
    return ImageSet(images, found.labels)


def _allocate(shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    if int(np.prod(shape)) <= IN_MEMORY_BYTES:
        return np.empty(shape, dtype=np.uint8)
    with tempfile.TemporaryFile() as file:  # numpy keeps a handle of its own; the file goes with the array
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)
