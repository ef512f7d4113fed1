"""`python -m service.explanation`: the explaining process. It lowers its own priority, then starts the worker.

It takes CPU time that nobody else wants (SCHED_IDLE), so that classifying loses none to it. If the process crashes, or
is killed at a deadline, the replica goes on, and starts another one for the next question.
"""

import contextlib
import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Lowers its priority first, because to import what it needs is the largest part of its start."""
    _end_with_the_replica()
    _yield_to_others()
    from service.explanation.worker import serve

    serve()


def _end_with_the_replica() -> None:
    """A halted process does not see that its input has ended, so the kernel ends it when the replica dies."""
    with contextlib.suppress(AttributeError):  # other systems have no prctl
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _yield_to_others() -> None:
    """Runs only where nothing else of this machine, or of this container, wants the CPU."""
    with contextlib.suppress(OSError):  # where the kernel groups by session, in a group of its own (man 7 sched)
        os.setsid()
        Path("/proc/self/autogroup").write_text("19")
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # threads inherit it
    else:
        os.nice(19)


if __name__ == "__main__":
    main()
