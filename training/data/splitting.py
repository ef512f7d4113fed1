"""Splits images into train, val and test by their content, so that adding files moves no other file.

A hash of the seed and the image's bytes (or its group) is read as a number from 0 to 1. Below `test_share` the image is
in test, below `test_share + val_share` in val, else in train. Each category gets the same shares, up to chance. Copies
of a file are always in the same part.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from training.data.folder import PARTS, DataError, LabelledFile, Part


@dataclass(frozen=True)
class SplitRule:
    r"""The rule that decides which image is in which part.

    Attributes:
        seed: another seed gives another split.
        val_share: 0.01 to 0.5.
        test_share: 0.01 to 0.5.
        group_by: a regular expression that is searched in each path, e.g. `patient-\d+`. Files with the same match (of
            its first group, if there is one) stay together. None: each file by itself.
    """

    seed: int
    val_share: float
    test_share: float
    group_by: str | None = None


def choose_parts(files: Sequence[LabelledFile], digests: Sequence[str], rule: SplitRule) -> list[Part]:
    """The part of each file, in order.

    Args:
        files: the files that are used. If the folders give the part, it is taken.
        digests: sha256 of each file's bytes.
        rule: the rule.

    Raises:
        DataError: `group_by` is not a regular expression, or a file's path does not match it.
    """
    parts: list[Part] = []
    for file, digest in zip(files, digests, strict=True):
        if file.part is not None:
            parts.append(file.part)
            continue
        key = digest if rule.group_by is None else f"group {_group(rule.group_by, file.path)}"
        drawn = int.from_bytes(hashlib.sha256(f"{rule.seed} {key}".encode()).digest()[:8]) / 2**64
        parts.append(
            "test" if drawn < rule.test_share else "val" if drawn < rule.test_share + rule.val_share else "train"
        )
    return parts


def check_complete(files: Sequence[LabelledFile], parts: Sequence[Part], categories: Sequence[str]) -> None:
    """Checks that each category has an image in each part.

    Raises:
        DataError: a category lacks an image in a part; every such pair is named, with what helps.
    """
    missing = []
    for part in PARTS:
        there = {file.category for file, its_part in zip(files, parts, strict=True) if its_part == part}
        missing += [f"{category!r} has no image in {part}" for category in categories if category not in there]
    if missing:
        raise DataError(
            f"{'; '.join(missing)}. Add images, give that part a larger share (--val-share, --test-share), "
            "try another --seed, or make the split yourself with folders train/, val/ and test/."
        )


def fingerprint(files: Sequence[LabelledFile], digests: Sequence[str], parts: Sequence[Part] | None = None) -> str:
    """sha256 over every (category, file digest) and part if given, sorted. Names and order do not matter."""
    lines = (
        f"{file.category} {digest}{f' {parts[index]}' if parts else ''}\n"
        for index, (file, digest) in enumerate(zip(files, digests, strict=True))
    )
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _group(pattern: str, path: str) -> str:
    try:
        found = re.search(pattern, path)
    except re.error as error:
        raise DataError(f"--group-by {pattern!r} is not a regular expression: {error}.") from error
    if found is None:
        raise DataError(f"--group-by {pattern!r} does not match {path}; every file must belong to a group.")
    return (found[1] if found.re.groups else None) or found[0]
