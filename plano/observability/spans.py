"""Facts about spans that need no OpenTelemetry: it is an extra, and a host application may have its API alone."""

from __future__ import annotations

import sys
from typing import Any

LONGEST_VALUE = 512
"""The most characters of an attribute's value."""


def host_provider() -> Any:
    """The global tracer provider if the host application has set one, else None.

    It imports nothing, because an application that set a provider has imported OpenTelemetry. The API's own
    placeholders (`ProxyTracerProvider`, `NoOpTracerProvider`) make no spans, so they count as none.
    """
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    provider = trace.get_tracer_provider()
    return None if isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)) else provider
