"""Finds and ends every process that a run has started, also after the run itself was killed.

Each run puts a mark into the environment of its child processes: its own pid, start time and folder. Ray's daemons, its
workers and HAProxy all inherit the mark. A process with the mark of a run that is no longer alive is an orphan.
"""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

RUN_VARIABLE = "SIGHTLINE_RUN"
_FOLDER_PREFIX = "sightline-run-"
_MARK_FILE = "mark"
_NUMBER = re.compile("[0-9]{1,19}")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class RunMark:
    """The run that a process belongs to.

    Attributes:
        pid: of the supervisor.
        started: start time of the supervisor in clock ticks since boot, to tell it from a later process with the same
            pid.
        folder: the run's temporary folder.
    """

    pid: int
    started: int
    folder: Path

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The mark that `str` returned; None for any other text."""
        pid, _, rest = text.partition(":")
        started, _, folder = rest.partition(":")
        return (
            cls(int(pid), int(started), Path(folder))
            if _NUMBER.fullmatch(pid) and _NUMBER.fullmatch(started) and folder
            else None
        )

    def __str__(self) -> str:
        return f"{self.pid}:{self.started}:{self.folder}"

    @property
    def alive(self) -> bool:
        """Whether the supervisor still runs."""
        return _start_ticks(self.pid) == self.started


def begin_run() -> RunMark:
    """Creates the temporary folder of a run that this process supervises."""
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX))
    mark = RunMark(os.getpid(), _start_ticks(os.getpid()) or 0, folder)
    (folder / _MARK_FILE).write_text(str(mark))
    return mark


def end_run(mark: RunMark) -> int:
    """Kills every process of a run except the caller, and removes the run's folder. Returns the number of processes."""
    ended = _kill([process for process, found in _marked() if found == mark and process.pid != os.getpid()])
    shutil.rmtree(mark.folder, ignore_errors=True)
    return ended


def end_orphans() -> int:
    """Kills every process whose run is no longer alive, and removes the runs' folders. Returns their number."""
    ended = _kill([process for process, mark in _marked() if not mark.alive and process.pid != os.getpid()])
    for file in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*/{_MARK_FILE}"):
        with contextlib.suppress(OSError, ValueError):  # another user's, or no text
            mark = RunMark.parse(file.read_text())
            if mark is not None and mark.folder == file.parent and not mark.alive:
                shutil.rmtree(file.parent, ignore_errors=True)
    return ended


def die_with_parent() -> None:
    """Makes the kernel send this process SIGTERM when its parent ends, however it ends."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before the call
        os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def own_terminal_group() -> Iterator[None]:
    """Puts this process into a group of its own, in the foreground of the terminal if there is one.

    Ctrl-C then reaches this process and not the make that started it, which would report an orderly end as a failure.
    Ctrl-Z is ignored, because no shell could continue such a group.
    """
    shares_its_group = os.getpgrp() != os.getpid()
    if not (shares_its_group and sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()):
        yield
        return
    before = os.getpgrp()
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # or taking the terminal would stop this process
    os.setpgid(0, 0)
    os.tcsetpgrp(sys.stdin.fileno(), os.getpgrp())
    try:
        yield
    finally:
        os.tcsetpgrp(sys.stdin.fileno(), before)


def _marked() -> Iterator[tuple[psutil.Process, RunMark]]:
    for process in psutil.process_iter():
        try:
            mark = RunMark.parse(process.environ().get(RUN_VARIABLE, ""))
        except (psutil.Error, OSError):
            continue  # another user's, or gone
        if mark is not None:
            yield process, mark


def _kill(processes: list[psutil.Process]) -> int:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    deadline = time.monotonic() + 10
    while any(_runs(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.02)
    return len(processes)


def _runs(process: psutil.Process) -> bool:
    """Whether it runs. A zombie does not: its parent may never wait for it, e.g. in a container."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None if the process is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])
