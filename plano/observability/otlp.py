"""Where spans go: to an OpenTelemetry collector, in batches, without anybody waiting for it. Needs the `otel` extra."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from plano.version import VERSION

EXPORT_SECONDS = 5.0
"""How long a collector may take for a batch of spans, all retries included. Nothing but other spans waits for it."""

LONGEST_VALUE = 512
"""Characters of an attribute."""


def provider_for(percent: float, endpoint: str | None = None, *, exporter: SpanExporter | None = None) -> OwnProvider:
    """A provider that sends its spans in batches, from a thread of its own.

    Of traces that begin here, `percent` in a hundred are recorded, which depends on the trace's id alone; those
    that others began are recorded if they did. When the collector is away or slow, spans wait in a queue of
    bounded length, and what does not fit is dropped (`OTEL_BSP_MAX_QUEUE_SIZE` and the SDK's other variables).

    Args:
        endpoint: of the OTLP collector, over gRPC: `http://host:4317`, or `https://` for TLS. None leaves it to
            `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and its kin, which say `http://localhost:4317` by default.
        exporter: in place of the one that sends to `endpoint`.
    """
    if exporter is None:
        insecure = None if endpoint is None else not endpoint.startswith("https://")
        exporter = OTLPSpanExporter(endpoint, insecure=insecure, timeout=EXPORT_SECONDS)
    return OwnProvider(percent, exporter)


class OwnProvider(TracerProvider):
    """A provider that ends in bounded time: with the process, with its last user, or when asked to."""

    def __init__(self, percent: float, exporter: SpanExporter) -> None:
        name = os.environ.get("OTEL_SERVICE_NAME", "plano")
        super().__init__(
            sampler=ParentBased(TraceIdRatioBased(percent / 100)),
            resource=Resource.create({"service.name": name, "service.version": VERSION}),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_span_attribute_length=LONGEST_VALUE),
        )
        self._patient = _Patient(exporter)
        processor = BatchSpanProcessor(self._patient)
        self.add_span_processor(processor)
        weakref.finalize(self, _let_go, self._patient, processor)

    def deliver(self) -> None:
        """Send what waits. Blocks for as long as one batch may take if the collector does not answer."""
        self._patient.hurried = True
        try:
            self.force_flush()
        finally:
            self._patient.hurried = self._patient.failed = False


class _Patient(SpanExporter):
    """Another exporter that, once hurried, gives up for good at the first failure."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.hurried = False
        self.failed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self.hurried and self.failed:
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        self.failed = result is SpanExportResult.FAILURE
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _let_go(exporter: _Patient, processor: BatchSpanProcessor) -> None:
    """Nobody holds the provider any more, or the process ends. Only the latter can wait for the last spans: whoever
    happens to collect garbage cannot."""
    if threading.main_thread().is_alive():
        threading.Thread(target=_end, args=(exporter, processor), name="plano-spans", daemon=True).start()
    else:
        _end(exporter, processor)


def _end(exporter: _Patient, processor: BatchSpanProcessor) -> None:
    exporter.hurried = True
    processor.shutdown()  # type: ignore[no-untyped-call]
