"""Traces of a real service, as a collector gets them by OTLP."""

import base64
import gzip
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from service.observability import tracing

SPARE_S = 0.02  # two clocks tell one time: each moment is turned into wall time for itself


class Collector:
    """Takes what comes by OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                request = ExportTraceServiceRequest.FromString(
                    gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
                )
                collector.spans += [
                    span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans
                ]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1/traces"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def requests(self) -> list[Span]:
        return [span for span in self.spans if span.name == "POST /classify"]

    def children(self, parent: Span) -> dict[str, Span]:
        return {
            span.name: span for span in self.spans if span.parent_span_id == parent.span_id and span.name != "batch"
        }


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.stop()


@pytest.mark.serve
def test_every_stage_of_a_request_and_every_batch_reach_the_collector(
    models: Path, launch: Callable, tmp_path: Path, digit: Callable, encoded: Callable, collector: Collector
) -> None:
    service = launch(models, tmp_path, otlp_endpoint=collector.url, trace_share="1", threads="1")
    try:
        service.wait_until_ready()
        images = [encoded(digit(value), "PNG") for value in range(10)] * 3
        with ThreadPoolExecutor(10) as clients:
            answers = list(
                clients.map(lambda image: httpx.post(f"{service.url}/classify", content=image, timeout=30), images)
            )
        theirs = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
        answers.append(
            httpx.post(
                f"{service.url}/classify", content=images[0], headers={"traceparent": theirs, "x-request-id": "mine"}
            )
        )
        assert httpx.post(f"{service.url}/classify", content=b"no image").status_code == 415
        together = httpx.post(
            f"{service.url}/classify", json={"images": [base64.b64encode(image).decode() for image in images[:8]]}
        )
    finally:  # at once: a replica that stops sends what waits
        assert service.stop() == 0, service.printed
    assert len(collector.requests) == len(answers) + 2
    assert {answer.status_code for answer in answers} == {200}

    of_eight = next(
        span for span in collector.requests if attribute(span, "sightline.request_id") == together.json()["request_id"]
    )
    ok = [span for span in collector.requests if attribute(span, "http.response.status_code") == 200]
    answered = [span for span in ok if span != of_eight]
    assert {attribute(span, "sightline.request_id") for span in answered} == {
        answer.json()["request_id"] for answer in answers
    }
    for request in answered:
        stages = collector.children(request)
        assert stages.keys() == {"read", "queue", "decode", "preprocess", "inference", "postprocess"}
        begun = [
            stages[name].start_time_unix_nano
            for name in ("read", "queue", "decode", "preprocess", "inference", "postprocess")
        ]
        assert begun == sorted(begun)
        assert all(stage.end_time_unix_nano <= request.end_time_unix_nano + 1e9 * SPARE_S for stage in stages.values())
    refused = next(span for span in collector.requests if attribute(span, "http.response.status_code") == 415)
    assert collector.children(refused).keys() == {"read", "queue", "decode"}

    batches = [span for span in collector.spans if span.name == "batch"]
    linked = [link.span_id for batch in batches for link in batch.links]
    assert sorted(linked) == sorted(span.span_id for span in [*answered, refused, *[of_eight] * 8])
    assert all(len(batch.links) == attribute(batch, "sightline.batch_size") for batch in batches)
    assert max(len(batch.links) for batch in batches) > 1  # most of the eight wait for a worker, and go together
    by_id = {batch.span_id: batch for batch in batches}
    for request in answered:
        batch = by_id[collector.children(request)["inference"].links[0].span_id]
        assert request.span_id in {link.span_id for link in batch.links}

    mine = next(span for span in answered if attribute(span, "sightline.request_id") == "mine")
    assert (mine.trace_id.hex(), mine.parent_span_id.hex()) == ("0123456789abcdef0123456789abcdef", "0123456789abcdef")


def attribute(span: Span, name: str) -> object:
    value = next(one.value for one in span.attributes if one.key == name)
    return getattr(value, value.WhichOneof("value"))


def test_a_collector_that_hangs_holds_a_stop_up_for_one_export_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_EXPORT_TIMEOUT_S", 0.2)
    released = threading.Event()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Hanging(released)))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    provider.get_tracer("test").start_span("late").end()
    begun = time.monotonic()
    tracing.stop_tracing()
    assert 0.2 <= time.monotonic() - begun < 2
    released.set()


class Hanging(SpanExporter):
    """Takes as long as it is let."""

    def __init__(self, released: threading.Event) -> None:
        self._released = released

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._released.wait(30)
        return SpanExportResult.SUCCESS


def test_without_an_endpoint_there_is_nothing_that_records(served, digit: Callable, encoded: Callable) -> None:
    assert served.post(encoded(digit(7), "PNG")).status_code == 200
    assert not isinstance(trace.get_tracer_provider(), TracerProvider)
