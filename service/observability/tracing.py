"""Traces by OpenTelemetry: below FastAPI's span of a request one for each stage, and one a batch, linked to all its requests.

Off by default: where no endpoint is set, OpenTelemetry's do-nothing tracer stands here, and what is below costs some microseconds.
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
"""Stages by name: from and until, of `time.monotonic()`."""

_NAME = "sightline"
_EXPORT_TIMEOUT_S = 5


def start_tracing(settings: Settings) -> None:
    """Sends this process's spans to `otlp_endpoint`, in a thread of their own; does nothing where there is none."""
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
    """Sends the spans that still wait; a collector that takes longer than `_EXPORT_TIMEOUT_S` for that does not get them."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        sender = threading.Thread(target=provider.shutdown, daemon=True)  # by itself it may take 30 s
        sender.start()
        sender.join(_EXPORT_TIMEOUT_S)


def current_request() -> Span:
    """The span of the request that this task works for; one that does not record where there is none."""
    return trace.get_current_span()


def record_stages(request: Span, stages: Moments, links: Sequence[Link] = ()) -> None:
    """One child of a request's span for each stage that is over."""
    if not request.is_recording():
        return
    context = trace.set_span_in_context(request)
    for name, (begun, ended) in stages.items():
        _tracer().start_span(name, context, start_time=_wall_ns(begun), links=links).end(_wall_ns(ended))


def record_batch(requests: Sequence[Span], stages: Sequence[Moments], batch: tuple[float, float]) -> None:
    """A batch that is over: a span linked to those of its requests, in the trace of the first; their stages, linked to it.

    Args:
        requests: one for each image; at least one is traced.
        stages: those of each image.
        batch: from and until, of `time.monotonic()`.
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
    """The same moment since 1970."""
    return time.time_ns() - int(1e9 * (time.monotonic() - monotonic_s))
