"""A server under measurement: its start and end, and the CPU time and memory of all its processes."""

import contextlib
import http.client
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

_START_TIMEOUT_S = 180.0
_STOP_TIMEOUT_S = 45.0
_MEMORY_INTERVAL_S = 1.0
_QUIET_S = 30.0


class ServerFailed(RuntimeError):
    """A server did not answer in time, or answered wrongly. The message ends with its last output."""


class Server:
    """A server that runs while the block does. All its processes end with it.

    Args:
        command: the program and its arguments.
        environment: all of its variables.
        folder: its working directory.

    Attributes:
        start_s: seconds from the start to the first right answer.
        peak_bytes: the largest sum of its processes' proportional memory while it was watched.
    """

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self._command, self._environment, self._folder = command, environment, folder
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of the block
        self.start_s = 0.0
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            cwd=self._folder,
            stdout=self._said,
            stderr=self._said,
            start_new_session=True,
        )
        self._root = psutil.Process(self._process.pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tree = self.processes()
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(self._process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_TIMEOUT_S)
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        self._said.close()

    def wait_until(self, port: int, path: str, body: bytes, content_type: str) -> bytes:
        """Posts the body until it is answered with 200; returns that answer.

        Raises:
            ServerFailed: the server ended, or did not answer with 200 in time.
        """
        last = "it does not listen"
        while time.monotonic() - self._started < _START_TIMEOUT_S:
            if self._process.poll() is not None:
                raise ServerFailed(
                    f"{' '.join(self._command)} ended with status {self._process.returncode}: {self.said()}"
                )
            try:
                status, answer = post(port, path, body, content_type)
                if status == 200:
                    self.start_s = time.monotonic() - self._started
                    return answer
                last = f"{status}: {answer[:300]!r}"
            except (OSError, http.client.HTTPException) as error:
                last = str(error)
            time.sleep(0.1)
        raise ServerFailed(
            f"{' '.join(self._command)} was not ready after {_START_TIMEOUT_S:.0f} s ({last}): {self.said()}"
        )

    def cpu_s(self) -> float:
        """CPU seconds of all its processes so far, including children that have ended."""
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def wait_until_quiet(self) -> None:
        """Waits, at most 30 s, until its processes use less than a third of a core: abandoned requests may run."""
        deadline = time.monotonic() + _QUIET_S
        while time.monotonic() < deadline:
            before = self.cpu_s()
            time.sleep(1)
            if self.cpu_s() - before < 0.33:
                return

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Pauses all its processes during the block, so that its idle CPU use does not slow the reference loop."""
        stopped = self.processes()
        for process in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        try:
            yield
        finally:
            for process in stopped:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    def memory_bytes(self) -> int:
        """The proportional set size of all its processes."""
        total = 0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += process.memory_full_info().pss
        return total

    @contextlib.contextmanager
    def watching_memory(self) -> Iterator[None]:
        """Updates `peak_bytes` once a second during the block. Time nothing in it: reading takes 4 % of a core."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(_MEMORY_INTERVAL_S):
                self.peak_bytes = max(self.peak_bytes, self.memory_bytes())

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def said(self) -> str:
        """The end of its output."""
        self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, self._said.tell() - 3000))
        return self._said.read().decode(errors="replace")

    def processes(self) -> list[psutil.Process]:
        """All its processes that run now, the first one first."""
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def post(port: int, path: str, body: bytes, content_type: str) -> tuple[int, bytes]:
    """Sends one request; returns status and answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, body, {"content-type": content_type})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
