"""The lane of explanations: one question at a time, to a process that is started when it is needed."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil

from service.errors import DeadlineExceeded, ExplanationBusy, ExplanationFailed, Refused
from service.explanation import frames
from service.observability.metrics import EXPLAINING, EXPLANATION_SECONDS, EXPLANATION_STARTS, MEMORY, Metrics
from service.settings import Settings
from vision.bundle.store import Bundle


class Lane:
    """Answers about one bundle.

    Args:
        bundle: what is served; the process loads it again and checks that its digest is the same.
        engine: description of the serving engine, whose kind is tapped.
        settings: limits, threads and the deadline.
        metrics: where it counts.
    """

    def __init__(self, bundle: Bundle, engine: str, settings: Settings, metrics: Metrics) -> None:
        self._start_message = {
            "bundle": str(bundle.path),
            "digest": bundle.digest,
            "engine": engine,
            "threads": 1,  # on a second core it would slow what classifies there
            "limits": vars(settings.decode_limits),
        }
        self._timeout_s = settings.explain_timeout_s
        self._metrics = metrics
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self._busy = False
        self._stopped = False
        self._classifying = 0  # requests that are being classified
        self._asked: subprocess.Popen[bytes] | None = None  # the process, while it answers
        self._halted: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()  # a process must not start behind the back of `stop`
        metrics.watch(EXPLAINING, lambda: float(self._busy))
        metrics.watch(MEMORY, self._resident, kind="explanation")

    async def ask(self, question: dict[str, Any], image: bytes) -> bytes:
        """The body of the answer.

        Args:
            question: `kind`, `parameters`, `picture` and `about`.
            image: encoded, hostile.

        Raises:
            ExplanationBusy: another question is being answered.
            DeadlineExceeded: no answer within `explain_timeout_s`; the process is ended then.
            Refused: the image or the question cannot be answered, with the code that says why.
            ExplanationFailed: the process died.
        """
        self.check_free()
        if self._stopped:
            raise ExplanationFailed("The server is stopping.")
        self._busy = True
        begun = time.monotonic()
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._thread, self._exchange, loop, question, image)
        work.add_done_callback(self._free)  # and not here: a client may leave while the process still computes
        try:
            header, body = await asyncio.wait_for(asyncio.shield(work), self._timeout_s)
        except TimeoutError:
            self._kill()
            raise DeadlineExceeded(f"There was no explanation within {self._timeout_s:g} s.") from None
        if header["code"] is not None:
            raise Refused(header["code"], header["detail"])
        self._metrics.observe(EXPLANATION_SECONDS, time.monotonic() - begun, kind=question["kind"])
        return body

    def check_free(self) -> None:
        """Raises ExplanationBusy if a question is being answered."""
        if self._busy:
            raise ExplanationBusy("This replica is answering another explanation; it answers one at a time.")

    @contextlib.contextmanager
    def halted(self) -> Iterator[None]:
        """Halts the process until the block ends, if it is answering. For the event loop, around classifying.

        A low priority alone is not enough: the process would still be preempted late and use the caches (decision 23).
        """
        self._classifying += 1
        self._halt_or_go_on()
        try:
            yield
        finally:
            self._classifying -= 1
            self._halt_or_go_on()

    def _halt_or_go_on(self) -> None:
        """On the event loop: sends the process the signal that it needs, if any."""
        asked = self._asked
        if self._classifying and asked is not None:
            if asked is not self._halted:
                asked.send_signal(signal.SIGSTOP)  # does nothing if it has ended
                self._halted = asked
        elif self._halted is not None:
            self._halted.send_signal(signal.SIGCONT)
            self._halted = None

    def stop(self) -> None:
        """Ends the process, if there is one; no other is started."""
        with self._starting:
            self._stopped = True
        self._kill()
        self._thread.shutdown(wait=True)

    def _free(self, work: "asyncio.Future[Any]") -> None:
        self._busy, self._asked = False, None
        self._halt_or_go_on()
        if not work.cancelled():
            work.exception()  # somebody has looked at it, so that asyncio does not report it

    def _exchange(
        self, loop: asyncio.AbstractEventLoop, question: dict[str, Any], image: bytes
    ) -> tuple[dict[str, Any], bytes]:
        """In the thread: sends the question and waits for its answer."""
        try:
            process = self._asked = self._running()
            loop.call_soon_threadsafe(self._halt_or_go_on)
            frames.write(process.stdin, question, image)  # type: ignore[arg-type]  # it is a pipe
            return frames.read(process.stdout)  # type: ignore[arg-type]
        except (EOFError, OSError) as error:
            self._kill()
            raise ExplanationFailed("The process that explains has ended; the next request starts another.") from error

    def _running(self) -> subprocess.Popen[bytes]:
        """The process, started if there is none that runs."""
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._kill()  # closes the pipes of one that has died
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [sys.executable, "-m", "service.explanation"]
        with self._starting:
            if self._stopped:
                raise ExplanationFailed("The server is stopping.")
            self._metrics.count(EXPLANATION_STARTS)
            self._process = process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
            )
        frames.write(process.stdin, self._start_message)  # type: ignore[arg-type]
        header, _ = frames.read(process.stdout)  # type: ignore[arg-type]
        if header["code"] is not None:
            self._kill()
            raise ExplanationFailed(f"The process that explains refused to start: {header['detail']}")
        return process

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def _resident(self) -> float:
        process = self._process
        try:
            return float(psutil.Process(process.pid).memory_info().rss) if process is not None else 0.0
        except psutil.Error:
            return 0.0
