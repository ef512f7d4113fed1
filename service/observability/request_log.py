"""The request log: one JSON line per request, written by a thread, so that a slow reader delays no answer."""

import contextlib
import json
import logging
import queue
import sys
import time
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path

REQUESTS = logging.getLogger("sightline.requests")
# Lines that may wait for the writer. Further lines are dropped; requests never are.
_MAX_WAITING = 10_000


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """The record's fields, with time and level."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
        fields = {
            "time": stamp,
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        return json.dumps(fields, ensure_ascii=True, separators=(",", ":"))


class _DroppingHandler(QueueHandler):
    def enqueue(self, record: logging.LogRecord) -> None:
        """Drops the line if too many wait already."""
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(record)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Returns the record as it is: it is not pickled, so it need not be flattened."""
        return record


class _Writer(QueueListener):
    def enqueue_sentinel(self) -> None:
        """Waits for room: the queue may be full."""
        self.queue.put(None)  # type: ignore[attr-defined]


def start_request_log(file: Path | None) -> QueueListener:
    """Starts the writer.

    Args:
        file: a file or a named pipe, which is appended to. None writes to standard error.

    Returns:
        The writer; its `stop` writes the lines that still wait.
    """
    target: logging.Handler = logging.FileHandler(file) if file is not None else logging.StreamHandler(sys.stderr)
    target.setFormatter(_JsonLines())
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(_MAX_WAITING)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of every broken form, outside the log
    REQUESTS.handlers = [_DroppingHandler(waiting)]
    REQUESTS.propagate = False
    REQUESTS.setLevel(logging.INFO)
    writer = _Writer(waiting, target)
    writer.start()
    return writer


def log_request(**fields: object) -> None:
    """Logs one line. The fields must be JSON values."""
    REQUESTS.info("request", extra={"fields": fields})
