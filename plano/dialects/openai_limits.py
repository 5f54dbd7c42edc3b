"""Writes the headers that tell clients of OpenAI's dialects their limits.

Source: OpenAI, "Rate limits", section "Rate limits in headers": `x-ratelimit-limit-requests: 60`,
`x-ratelimit-remaining-tokens: 149984`, `x-ratelimit-reset-requests: 1s`, `x-ratelimit-reset-tokens: 6m0s`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from plano.dialects.codec import Gauge
from plano.types import RawHeaders

_NAMES = {
    counts: tuple(f"x-ratelimit-{part}-{counts}".encode() for part in ("limit", "remaining", "reset"))
    for counts in ("requests", "tokens")
}
"""OpenAI has no headers for input and output tokens apart."""


def write_limits(gauges: Sequence[Gauge], now: float) -> RawHeaders:
    headers: RawHeaders = []
    for gauge in gauges:
        if gauge.counts in _NAMES:
            limit, remaining, reset = _NAMES[gauge.counts]
            headers += (
                (limit, b"%d" % gauge.limit),
                (remaining, b"%d" % gauge.left),
                (reset, duration(gauge.reset).encode()),
            )
    return headers


def duration(seconds: float) -> str:
    """A duration in the form of the Go language, rounded up: `12ms`, `7s`, `6m0s`, `1h0m0s`."""
    if seconds < 1.0:
        return f"{ceil(seconds * 1000)}ms" if seconds < 0.999 else "1s"
    whole = ceil(seconds)
    minutes, rest = divmod(whole, 60)
    if not minutes:
        return f"{rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"
