"""One JSON line per request, to a file or a named pipe; a slow reader costs lines, never time."""

import fcntl
import json
import os
import re
import threading
import time

import pytest

from service.observability import request_log
from service.observability.request_log import log_request

WIDE = "x" * 1000


class Pipe:
    """A named pipe that somebody reads, once told to."""

    def __init__(self, folder) -> None:
        self.path = folder / "pipe"
        os.mkfifo(self.path)
        self._end = os.open(self.path, os.O_RDWR)
        fcntl.fcntl(self._end, fcntl.F_SETPIPE_SZ, 4096)  # room for three wide lines
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._text = b""

    def read(self, after_s: float = 0.0) -> None:
        threading.Timer(after_s, self._reader.start).start()

    def _read(self) -> None:
        while not self._text.endswith(b"END\n"):
            self._text += os.read(self._end, 65_536)

    def lines(self) -> list[dict]:
        """Everything that was written; the writer must have stopped."""
        os.write(self._end, b"END\n")
        self._reader.join(10)
        os.close(self._end)
        return [json.loads(line) for line in self._text.splitlines()[:-1]]


def overfill(count: int = 100) -> float:
    """Logs more than a pipe and a short queue hold; the slowest line's seconds, infinite if it blocked."""
    seconds: list[float] = []

    def fill():
        for number in range(count):
            started = time.monotonic()
            log_request(number=number, path=WIDE)
            seconds.append(time.monotonic() - started)
            time.sleep(0.001)  # so that the writer gets its turn

    filler = threading.Thread(target=fill, daemon=True)
    filler.start()
    filler.join(5)
    return max(seconds) if len(seconds) == count else float("inf")


def test_a_line_holds_the_time_and_the_fields(logged):
    (line,) = logged(lambda: log_request(request_id="a", status=200, code=None, duration_ms=1.5))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "info",
        "event": "request",
        "request_id": "a",
        "status": 200,
        "code": None,
        "duration_ms": 1.5,
    }


@pytest.mark.parametrize("text", ["a\nb", 'quote " and \\', "\x00\x1b[31m", "ü 猫 \u2028", "\ud800", "%s %(x)s {}"])
def test_whatever_a_client_sends_stays_one_line_of_ascii(writing, tmp_path, text):
    file = tmp_path / "log"
    with writing(file):
        log_request(path=text)
        log_request(path="next")
    written = file.read_bytes()
    assert written.isascii()
    assert [json.loads(line)["path"] for line in written.splitlines()] == [text, "next"]


def test_a_file_is_appended_to(writing, tmp_path):
    file = tmp_path / "log"
    for number in (1, 2):
        with writing(file):
            log_request(number=number)
    assert [json.loads(line)["number"] for line in file.read_text().splitlines()] == [1, 2]


def test_without_a_file_the_lines_go_to_standard_error(writing, capsys):
    with writing(None):
        log_request(number=1)
    captured = capsys.readouterr()
    assert json.loads(captured.err)["number"] == 1
    assert not captured.out


def test_a_named_pipe_gets_every_line_in_order(writing, tmp_path):
    pipe = Pipe(tmp_path)
    pipe.read()
    with writing(pipe.path):
        for number in range(1000):
            log_request(number=number)
    assert [line["number"] for line in pipe.lines()] == list(range(1000))


def test_a_reader_that_does_not_read_costs_lines_but_no_time(writing, tmp_path, monkeypatch):
    monkeypatch.setattr(request_log, "_MAX_WAITING", 10)
    pipe = Pipe(tmp_path)
    with writing(pipe.path) as writer:
        slowest = overfill()
        pipe.read()
        while not writer.queue.empty():
            time.sleep(0.01)
        log_request(number=100)
    numbers = [line["number"] for line in pipe.lines()]
    assert slowest < 0.5
    assert numbers == sorted(set(numbers))
    assert 10 < len(numbers) < 30
    assert numbers[:10] == list(range(10))
    assert numbers[-1] == 100


def test_stop_writes_what_waits_even_when_the_queue_is_full(writing, tmp_path, monkeypatch):
    monkeypatch.setattr(request_log, "_MAX_WAITING", 10)
    pipe = Pipe(tmp_path)
    with writing(pipe.path):
        overfill()
        pipe.read(after_s=0.2)
    assert 10 < len(pipe.lines()) < 30


def test_every_request_is_one_line_with_what_became_of_it(served, digit, encoded, logged):
    png = encoded(digit(7), "PNG")
    responses = []

    def act():
        responses.append(served.post(png, headers={"x-request-id": "mine"}))
        responses.append(served.request("PUT", "/classify", files=[("image", ("a", png)), ("image", ("b", b"?"))]))
        responses.append(served.post(b"hello"))
        responses.append(served.request("GET", "/" + "long%0A" * 1000))

    lines = logged(act)
    assert [line["request_id"] for line in lines] == [response.headers["x-request-id"] for response in responses]
    seen = [(line["method"], line["path"], line["status"], line["code"], line["images"]) for line in lines]
    assert seen == [
        ("POST", "/classify", 200, None, 1),
        ("PUT", "/classify", 200, None, 2),
        ("POST", "/classify", 415, "not_an_image", 1),
        ("GET", ("/" + "long\n" * 1000)[:200], 404, "not_found", 0),
    ]
    assert all(0 < line["duration_ms"] < 30_000 and "error" not in line for line in lines)


def test_a_probe_of_health_is_a_line_only_when_it_fails(served, unstarted, logged):
    def act():
        for path in ("/health/live", "/health/ready"):
            assert served.request("GET", path).status_code == 200
        assert unstarted.request("GET", "/health/live").status_code == 200
        assert unstarted.request("GET", "/health/ready").status_code == 503

    (line,) = logged(act)
    assert (line["path"], line["status"], line["code"]) == ("/health/ready", 503, "not_ready")
