"""Traces by OpenTelemetry: a span for each stage of a request, and one for each batch, linked to its requests.

Off by default. Without an endpoint OpenTelemetry's no-op tracer is used, and the calls below cost some microseconds.
"""

import threading
import time
from collections.abc import Mapping, Sequence

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span

from service.settings import Settings

Moments = Mapping[str, tuple[float, float]]
"""For each stage its begin and end, in seconds of `time.monotonic()`."""

_NAME = "sightline"
_EXPORT_TIMEOUT_S = 5


def start_tracing(settings: Settings) -> None:
    """Starts a thread that sends this process's spans to `otlp_endpoint`; does nothing if that is not set."""
    if settings.otlp_endpoint is None:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    provider = TracerProvider(
        resource=Resource.create({"service.name": _NAME}),
        sampler=ParentBased(TraceIdRatioBased(settings.trace_share)),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint=settings.otlp_endpoint, timeout=_EXPORT_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def stop_tracing() -> None:
    """Sends the spans that still wait. They are lost if the collector takes longer than `_EXPORT_TIMEOUT_S`."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        sender = threading.Thread(target=provider.shutdown, daemon=True)  # by itself it may take 30 s
        sender.start()
        sender.join(_EXPORT_TIMEOUT_S)


def current_request() -> Span:
    """The span of the request that this task works for; a span that does not record if there is none."""
    return trace.get_current_span()


def record_stages(request: Span, stages: Moments, links: Sequence[Link] = ()) -> None:
    """Records one child of a request's span for each stage that is done."""
    if not request.is_recording():
        return
    context = trace.set_span_in_context(request)
    for name, (begun, ended) in stages.items():
        _tracer().start_span(name, context, start_time=_wall_ns(begun), links=links).end(_wall_ns(ended))


def record_batch(requests: Sequence[Span], stages: Sequence[Moments], batch: tuple[float, float]) -> None:
    """Records a batch that is done: a span in its first request's trace, linked to all requests, and their stages.

    Args:
        requests: one for each image; at least one is traced.
        stages: the stages of each image.
        batch: begin and end, in seconds of `time.monotonic()`.
    """
    traced = [(request, moments) for request, moments in zip(requests, stages, strict=True) if request.is_recording()]
    span = _tracer().start_span(
        "batch",
        trace.set_span_in_context(traced[0][0]),
        attributes={"sightline.batch_size": len(requests)},
        links=[Link(request.get_span_context()) for request, _ in traced],
        start_time=_wall_ns(batch[0]),
    )
    for request, moments in traced:
        record_stages(request, moments, [Link(span.get_span_context())])
    span.end(_wall_ns(batch[1]))


def _tracer() -> trace.Tracer:
    return trace.get_tracer(_NAME)


def _wall_ns(monotonic_s: float) -> int:
    """The same moment in nanoseconds since 1970."""
    return time.time_ns() - int(1e9 * (time.monotonic() - monotonic_s))
