"""wrk and its script against a real server: how many answers, how fast, and how many failed."""

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from loadtests.bench.wrk import wrk


class Answer(BaseHTTPRequestHandler):
    """Answers every second POST with 500, and keeps what it got."""

    protocol_version = "HTTP/1.1"
    received: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.received.append((self.headers["content-type"], body))
        self.send_response(200 if len(self.received) % 2 else 500)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/classify"
        server.shutdown()
        thread.join()


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
def test_answers_and_failures_are_counted_and_the_files_are_sent(url: str, tmp_path: Path) -> None:
    Answer.received = []
    for index, text in enumerate((b"one", b"two", b"three")):
        (tmp_path / str(index)).write_bytes(text)
    got = wrk(1, 1, [url, "--", str(tmp_path), "3", "image/jpeg"])
    assert set(Answer.received) == {("image/jpeg", text) for text in (b"one", b"two", b"three")}
    assert abs(got["requests"] - len(Answer.received)) <= 1  # the last may be cut off
    assert abs(got["failed"] - len(Answer.received) / 2) <= 2
    assert 1 <= got["seconds"] < 2
    assert 0 < got["p50_ms"] <= got["p99_ms"]
