"""How long the last start took on this machine, to tell a person what to expect. Kept in the user's cache folder."""

import contextlib
import os
from pathlib import Path


def last_start_s() -> float | None:
    """Seconds of the last start; None if it is not known."""
    try:
        return float(_file().read_text()[:20])
    except (OSError, ValueError, RuntimeError):  # RuntimeError: this user has no home folder
        return None


def remember_start_s(seconds: float) -> None:
    """Keeps the seconds of a start; does nothing if the cache folder cannot be written to."""
    with contextlib.suppress(OSError, RuntimeError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        _file().write_text(f"{seconds:.1f}\n")


def _file() -> Path:
    # https://specifications.freedesktop.org/basedir-spec/latest/
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sightline" / "start_s"
