"""Sends spans to an OpenTelemetry collector, in batches and in the background. Needs the `otel` extra."""

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

from plano.observability.spans import LONGEST_VALUE
from plano.version import VERSION

EXPORT_SECONDS = 5.0
"""Seconds that a collector may take for a batch of spans, all retries included. Only other spans wait for it."""


def provider_for(percent: float, endpoint: str | None = None, *, exporter: SpanExporter | None = None) -> OwnProvider:
    """Makes a provider that sends its spans in batches, from a thread of its own.

    A trace that begins here is recorded in `percent` of a hundred cases, which depends on the trace's id only. A trace
    that began elsewhere is recorded if it was recorded there. When the collector is unreachable or slow, spans wait in
    a bounded queue, and those that do not fit are dropped (`OTEL_BSP_MAX_QUEUE_SIZE` and the SDK's other variables).

    Args:
        percent: how many of a hundred traces that begin here are recorded.
        endpoint: the OTLP collector's URL for gRPC, `http://host:4317`, or `https://` for TLS. None leaves it to
            `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and the like, whose default is `http://localhost:4317`.
        exporter: replaces the exporter to `endpoint`.
    """
    if exporter is None:
        insecure = None if endpoint is None else not endpoint.startswith("https://")
        exporter = OTLPSpanExporter(endpoint, insecure=insecure, timeout=EXPORT_SECONDS)
    return OwnProvider(percent, exporter)


class OwnProvider(TracerProvider):
    """A provider that ends within bounded time, be it with the process, with its last user, or on request."""

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
        """Sends the waiting spans. If the collector does not answer, it blocks for the time of one batch."""
        self._patient.hurried = True
        try:
            self.force_flush()
        finally:
            self._patient.hurried = self._patient.failed = False


class _Patient(SpanExporter):
    """Wraps an exporter. Once `hurried` is set, the first failure makes it give up for good."""

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
    """Ends the export when the provider is not used any more, or when the process ends. Only the end of the process
    waits for the last spans; a garbage collection, which may run in any thread, must not."""
    if threading.main_thread().is_alive():
        threading.Thread(target=_end, args=(exporter, processor), name="plano-spans", daemon=True).start()
    else:
        _end(exporter, processor)


def _end(exporter: _Patient, processor: BatchSpanProcessor) -> None:
    exporter.hurried = True
    processor.shutdown()  # type: ignore[no-untyped-call]
