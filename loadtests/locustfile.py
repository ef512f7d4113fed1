"""Clients of the service, for locust: applications that classify, senders of broken files, people with the page.

Every client waits for its answer before it asks again, so this measures *closed-loop throughput*.
`loadtests.bench.capacity` finds the rate that a service can sustain. Locust ends with status 1 if an objective was
missed, and prints which.
"""

import json
import random
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from locust import FastHttpUser, constant, events, tag, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtests import bodies
from loadtests.shapes import SHAPES, PlannedShape

__all__ = ["BrokenImageUser", "ClassifyUser", "PageUser", "PlannedShape"]

CLASSIFY = "classify"
_BOUNDARY = "sightline-load"
_photos: list[bodies.Body] = []
_broken = bodies.broken()


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_options(parser: LocustArgumentParser, **_: Any) -> None:
    """Adds our options to locust's web page and command line."""
    parser.add_argument(
        "--shape",
        choices=sorted(SHAPES),
        default="steps",
        help="steps up to saturation, a spike, or a steady load",
    )
    parser.add_argument("--clients", type=int, default=64, help="largest number of clients at a time")
    parser.add_argument("--seconds", type=float, default=60.0, help="total duration in seconds")
    parser.add_argument("--photos", default="", help="a folder of image files (default: rendered ones)")
    parser.add_argument("--max-failures", type=float, default=0.0, help="accepted share of wrong answers, 0 to 1")
    parser.add_argument("--max-p99-ms", type=float, default=0.0, help="bound of the 99th percentile in ms; 0 for none")
    parser.add_argument("--min-rate", type=float, default=0.0, help="least classified requests per second; 0 for none")


@events.init.add_listener  # type: ignore[untyped-decorator]
def prepare(environment: Environment, **_: Any) -> None:
    """Reads or renders the photos, once."""
    if environment.parsed_options is None or isinstance(environment.runner, MasterRunner):
        return
    folder = environment.parsed_options.photos
    _photos.extend(bodies.good(Path(folder) if folder else None))


class ClassifyUser(FastHttpUser):
    """An application: posts photos one after another and checks the answers."""

    weight = 18
    wait_time = constant(0)
    connection_timeout = network_timeout = 60.0

    @task(8)
    @tag("raw")
    def raw(self) -> None:
        """Posts the bytes of a photo."""
        self._classify(random.choice(_photos).data, "application/octet-stream")

    @task(1)
    @tag("form")
    def form(self) -> None:
        """Posts a photo as a web form does."""
        head = f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="image"; filename="photo.jpg"\r\n\r\n'
        body = head.encode() + random.choice(_photos).data + f"\r\n--{_BOUNDARY}--\r\n".encode()
        self._classify(body, f"multipart/form-data; boundary={_BOUNDARY}")

    def _classify(self, body: bytes, content_type: str) -> None:
        with self.client.post(
            "/classify?top_k=3",
            data=body,  # type: ignore[arg-type]  # geventhttpclient takes bytes as well
            headers={"content-type": content_type},
            name=CLASSIFY,
            catch_response=True,
        ) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code} {_code(answer)}")
            elif not answer.json()["results"][0]["predictions"]:
                answer.failure("no prediction")


class BrokenImageUser(FastHttpUser):
    """Sends broken files, and expects the right refusal."""

    weight = 1
    wait_time = constant(0.2)

    @task
    @tag("broken")
    def broken(self) -> None:
        """Posts one broken file. Any answer but its own refusal is a failure."""
        body = random.choice(_broken)
        with self.client.post(
            "/classify",
            data=body.data,  # type: ignore[arg-type]
            name=f"broken: {body.name}",
            catch_response=True,
        ) as answer:
            if answer.status_code not in body.statuses:
                answer.failure(f"{answer.status_code} {_code(answer)}")
            else:
                answer.success()


class PageUser(FastHttpUser):
    """A person with the page open, and a probe."""

    weight = 1
    wait_time = constant(1)

    @task
    @tag("page")
    def page(self) -> None:
        """Requests what a browser requests first."""
        for path in ("/", "/page/main.js", "/page/style.css", "/models", "/health/ready"):
            self.client.get(path)


def _code(answer: Any) -> str:
    """The code of a problem document, else the beginning of the text."""
    try:
        return str(answer.json().get("code", ""))
    except (ValueError, AttributeError):
        return str(answer.text)[:80]


_milliseconds: dict[int, list[float]] = defaultdict(list)  # of classifying, by the number of clients at that time
_current: Any = None  # the runner of this test


@events.request.add_listener  # type: ignore[untyped-decorator]
def account(name: str, response_time: float, exception: Exception | None, context: Any, **_: Any) -> None:
    """Sorts answers by the number of clients at that time."""
    if name == CLASSIFY and exception is None and _current is not None:
        _milliseconds[_current.user_count].append(response_time)


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def begin(environment: Environment, **_: Any) -> None:
    """Resets the counts for a new run."""
    global _current
    _current = environment.runner
    _milliseconds.clear()


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def judge(environment: Environment, **_: Any) -> None:
    """Prints the steps, and sets exit status 1 if an objective was missed."""
    if isinstance(environment.runner, WorkerRunner):
        return
    options: Any = environment.parsed_options
    for clients, times in sorted(_milliseconds.items()):
        if len(times) >= 20:
            cuts = statistics.quantiles(times, n=100)
            print(f"{clients:>5} clients: {len(times):>6} answers, p50 {cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms")
    total, classified = environment.stats.total, environment.stats.get(CLASSIFY, "POST")
    found = {
        "requests": total.num_requests,
        "failures": total.fail_ratio,
        "p99_ms": classified.get_response_time_percentile(0.99) or 0.0,
        "rate": classified.total_rps,
    }
    missed = [
        text
        for wrong, text in (
            (total.num_requests == 0, "nothing was answered"),
            (
                found["failures"] > options.max_failures,
                f"{found['failures']:.4f} of the answers were wrong; {options.max_failures:g} is accepted",
            ),
            (0 < options.max_p99_ms < found["p99_ms"], f"p99 is {found['p99_ms']:.0f} ms, over {options.max_p99_ms:g}"),
            (
                found["rate"] < options.min_rate,
                f"{found['rate']:.1f} a second were classified, fewer than {options.min_rate:g}",
            ),
        )
        if wrong
    ]
    print("\n".join(f"MISSED: {text}" for text in missed) or "Every objective was met.")
    print(json.dumps({**found, "missed": missed}))
    environment.process_exit_code = int(bool(missed))
