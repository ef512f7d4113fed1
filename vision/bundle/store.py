"""Bundles on disk: saved atomically, loaded verified.

    models/NAME/VERSION/     see `vision.bundle.manifest` for what lies in it

`load_bundle` reads every file once, checks its bytes against the manifest, and returns only bytes that it has checked.
A file that is replaced afterwards changes nothing. Needs no torch.
"""

import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from vision.bundle.golden import Golden, GoldenExpectation
from vision.bundle.manifest import (
    CHECKSUM_FILE,
    GOLDEN_FILE,
    MANIFEST_FILE,
    FileEntry,
    Manifest,
)
from vision.classification import ModelId
from vision.errors import (
    BundleNotFound,
    GoldenMismatch,
    HashMismatch,
    ManifestInvalid,
    MissingFile,
    NotARegularFile,
    SizeMismatch,
    UnexpectedFile,
)

_MAX_MANIFEST_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Bundle:
    """A verified bundle, wholly in memory.

    Attributes:
        path: where it was loaded from.
        manifest: what the bundle says about itself.
        digest: the first 12 hexadecimal digits of the manifest's sha256; it names these exact bytes.
        files: content of every listed file, by its path relative to the bundle.
        golden: the samples that an engine must reproduce.
    """

    path: Path
    manifest: Manifest
    digest: str
    files: Mapping[str, bytes]
    golden: Golden

    @property
    def id(self) -> ModelId:
        """Name, version and digest."""
        return ModelId(self.manifest.name, self.manifest.version, self.digest)

    def golden_difference(self, probabilities: npt.NDArray[np.floating], engine: str) -> str | None:
        """How an engine's answers differ from the golden samples; None if they are within the tolerance.

        Args:
            probabilities: (samples, classes).
            engine: its description. An engine that passed its gate may differ by its measured parity, if that is more
                than the samples' tolerance.
        """
        measured = self.manifest.parity.get(engine)
        wider = measured.max_probability_difference if measured is not None and measured.passed else 0.0
        return self.golden.difference(probabilities, max(self.golden.tolerance, wider))


def save_bundle(root: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Path:
    """Writes root/NAME/VERSION so that it appears whole or not at all.

    Args:
        root: the models folder; created if it is missing.
        manifest: its `files` are filled in here from the content.
        files: content by path relative to the bundle.

    Returns:
        The folder that now holds the bundle.

    Raises:
        FileExistsError: that version exists; versions are never overwritten.
        pydantic.ValidationError: the files are not what a manifest must list.
    """
    listed = {name: FileEntry(sha256=_sha256(data), size_bytes=len(data)) for name, data in sorted(files.items())}
    whole = Manifest.model_validate(manifest.model_dump() | {"files": listed})
    text = (whole.model_dump_json(indent=2) + "\n").encode()
    target = root / manifest.name / str(manifest.version)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise FileExistsError(f"{target} exists; bundles are never overwritten. Save the next version.")
    staging = Path(tempfile.mkdtemp(prefix=f".{manifest.version}-", dir=target.parent))
    try:
        for name, data in (*files.items(), (MANIFEST_FILE, text), (CHECKSUM_FILE, _checksum_line(text))):
            _write_synced(staging / name, data)
        staging.chmod(0o755)
        staging.rename(target)
        _sync_folder(target.parent)
    except BaseException as error:
        shutil.rmtree(staging, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST) and target.exists():
            raise FileExistsError(f"{target} exists; bundles are never overwritten. Save the next version.") from error
        raise
    return target


def next_version(root: Path, name: str) -> int:
    """One more than the highest version of this model; 1 if there is none."""
    return max(list_versions(root / name), default=0) + 1


def list_models(root: Path) -> dict[str, list[int]]:
    """The names under a models folder, each with its versions in ascending order; models without any are left out.

    Raises:
        BundleNotFound: the folder, or one in it, cannot be read.
    """
    if not root.is_dir():
        return {}
    try:
        found = {folder.name: list_versions(folder) for folder in sorted(root.iterdir()) if folder.is_dir()}
    except PermissionError as error:
        remedy = f"allow it, e.g. chmod -R a+rX {root}"
        raise BundleNotFound(str(error.filename), f"user {os.getuid()} may not read this folder; {remedy}.") from error
    return {name: versions for name, versions in found.items() if versions}


def list_versions(model: Path) -> list[int]:
    """The versions of one model's folder, in ascending order."""
    if not model.is_dir():
        return []
    return sorted(
        int(entry.name) for entry in model.iterdir() if re.fullmatch(r"[1-9][0-9]*", entry.name) and entry.is_dir()
    )


def find_bundle(root: Path, model: str | None = None) -> Path:
    """The folder of a bundle.

    Args:
        root: the models folder.
        model: `NAME` for its highest version, or `NAME/VERSION`; None if there is only one model.

    Raises:
        BundleNotFound: nothing fits, or None was given and there are several; the message lists what there is.
    """
    models = list_models(root)
    there = ", ".join(f"{name}/{version}" for name, versions in models.items() for version in versions)
    if not models:
        remedy = "train one with `sightline train`, or make the demo with `sightline demo`"
        raise BundleNotFound(str(root), f"this folder holds no model; {remedy}.")
    if model is None:
        if len(models) != 1:
            raise BundleNotFound(str(root), f"there are several: {there}. Set SIGHTLINE_MODEL to NAME or NAME/VERSION.")
        model = next(iter(models))
    name, _, version = model.partition("/")
    versions = models.get(name, [])
    if not versions or (version and version not in map(str, versions)):
        raise BundleNotFound(str(root), f"there is no model {model!r}; there is {there}.")
    return root / name / (version or str(versions[-1]))


def load_bundle(path: Path) -> Bundle:
    """Reads and verifies a bundle.

    Raises:
        BundleError: one of its kinds, naming the file at fault; see `vision.errors`.
    """
    if not path.is_dir():
        raise BundleNotFound(str(path), "there is no such folder.")
    present = _regular_files(path)
    manifest, digest = _read_manifest(path, present)
    unexpected = sorted(set(present) - set(manifest.files) - {MANIFEST_FILE, CHECKSUM_FILE})
    if unexpected:
        raise UnexpectedFile(unexpected[0], "the manifest does not list this file; remove it, or save a new bundle.")
    missing = sorted(set(manifest.files) - set(present))
    if missing:
        raise MissingFile(missing[0], "the manifest lists this file, but it is not there.")
    files = {name: _read_verified(path, name, entry) for name, entry in manifest.files.items()}
    if (path.parent.name, path.name) != (manifest.name, str(manifest.version)):
        raise ManifestInvalid(
            MANIFEST_FILE, f"it is {manifest.name}/{manifest.version}, but lies in {path.parent.name}/{path.name}."
        )
    return Bundle(path, manifest, digest, files, _read_golden(manifest, files))


def _regular_files(path: Path) -> list[str]:
    """Every file below a folder, by relative path. Raises for anything but plain files and folders."""
    found = []
    for folder, folders, names in os.walk(path, followlinks=False):
        for name in (*folders, *names):
            entry = Path(folder) / name
            mode = entry.lstat().st_mode
            relative = entry.relative_to(path).as_posix()
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                kind = "a link" if stat.S_ISLNK(mode) else "a special file"
                raise NotARegularFile(relative, f"{kind} lies here; a bundle holds plain files and folders only.")
            if stat.S_ISREG(mode):
                found.append(relative)
    return found


def _read_manifest(path: Path, present: list[str]) -> tuple[Manifest, str]:
    for name in (MANIFEST_FILE, CHECKSUM_FILE):
        if name not in present:
            raise MissingFile(
                name, f"it is missing in {path}; this folder is not a bundle, or an incomplete copy of one."
            )
    text = _read(path / MANIFEST_FILE, _MAX_MANIFEST_BYTES)
    if len(text) > _MAX_MANIFEST_BYTES:
        raise ManifestInvalid(MANIFEST_FILE, f"it has more than {_MAX_MANIFEST_BYTES} bytes.")
    if _read(path / CHECKSUM_FILE, 1024) != _checksum_line(text):
        raise HashMismatch(MANIFEST_FILE, f"its sha256 is not the one in {CHECKSUM_FILE}; one of the two was changed.")
    try:
        return Manifest.model_validate_json(text), _sha256(text)[:12]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise ManifestInvalid(MANIFEST_FILE, f"{where}: {first['msg']}.") from error


def _read_verified(path: Path, name: str, entry: FileEntry) -> bytes:
    data = _read(path / name, entry.size_bytes)
    if len(data) != entry.size_bytes:
        actual = (path / name).stat().st_size
        raise SizeMismatch(name, f"it has {actual} bytes, the manifest says {entry.size_bytes}.")
    if _sha256(data) != entry.sha256:
        raise HashMismatch(name, "its sha256 is not the one in the manifest; the file was damaged or changed.")
    return data


def _read_golden(manifest: Manifest, files: Mapping[str, bytes]) -> Golden:
    try:
        expected = GoldenExpectation.model_validate_json(files[GOLDEN_FILE])
    except ValidationError as error:
        raise ManifestInvalid(GOLDEN_FILE, error.errors()[0]["msg"]) from error
    for name, row in expected.probabilities.items():
        if f"golden/{name}" not in files:
            raise MissingFile(f"golden/{name}", f"{GOLDEN_FILE} names it, but the manifest does not list it.")
        if len(row) != len(manifest.categories):
            raise GoldenMismatch(
                GOLDEN_FILE,
                f"{name} has {len(row)} probabilities, but the manifest has {len(manifest.categories)} categories.",
            )
    if expected.categories != manifest.categories:
        raise GoldenMismatch(GOLDEN_FILE, "its categories, or their order, are not those of the manifest.")
    names = tuple(expected.probabilities)
    return Golden(
        names=names,
        images=tuple(files[f"golden/{name}"] for name in names),
        probabilities=np.array([expected.probabilities[name] for name in names], dtype=np.float64),
        tolerance=expected.tolerance,
    )


def _read(file: Path, at_most: int) -> bytes:
    """The file's bytes, at most one more than `at_most`, which shows that it is too long. Does not follow links."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(min(at_most, os.fstat(descriptor).st_size) + 1)


def _write_synced(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _checksum_line(text: bytes) -> bytes:
    return f"{_sha256(text)}  {MANIFEST_FILE}\n".encode()
