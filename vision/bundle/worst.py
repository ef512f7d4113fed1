"""worst/: small pictures of the test images that a model was most wrong about, for people who look at it."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

WORST_FILE = "worst/index.json"
MAX_WORST = 24
MAX_SIDE_PX = 64


class WorstEntry(BaseModel):
    """One picture; the file is worst/NUMBER.png with its place in the list."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    label: str
    """The true category."""
    predicted: str
    """The answer."""
    score: Annotated[float, Field(ge=0, le=1)]
    """The probability of the answer."""


_INDEX: TypeAdapter[list[WorstEntry]] = TypeAdapter(Annotated[list[WorstEntry], Field(max_length=MAX_WORST)])


def worst_files(entries: Sequence[WorstEntry], pictures: Sequence[bytes]) -> dict[str, bytes]:
    """The files of a bundle, the worst first; none if nothing was wrong.

    Args:
        entries: at most MAX_WORST.
        pictures: PNG files, one for each entry, at most MAX_SIDE_PX on a side.
    """
    if not entries:
        return {}
    files = {f"worst/{index}.png": picture for index, picture in enumerate(pictures)}
    return {WORST_FILE: _INDEX.dump_json(list(entries), indent=2), **files}


def read_worst(files: Mapping[str, bytes]) -> list[WorstEntry]:
    """The entries among a bundle's files whose picture is there; none if the bundle has no such list."""
    try:
        entries = _INDEX.validate_json(files[WORST_FILE])
    except (KeyError, ValidationError):
        return []
    return entries if all(f"worst/{index}.png" in files for index in range(len(entries))) else []
