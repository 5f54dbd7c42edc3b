"""Writes the headers that tell clients of the messages API their limits.

Source: Anthropic's documentation, "Rate limits", section "Response headers": `anthropic-ratelimit-requests-limit`,
`-remaining` and `-reset`, the last as a moment in RFC 3339.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil

from plano.dialects.codec import Gauge
from plano.types import RawHeaders

_NAMES = {
    counts: tuple(
        f"anthropic-ratelimit-{counts.replace('_', '-')}-{part}".encode() for part in ("limit", "remaining", "reset")
    )
    for counts in ("requests", "tokens", "input_tokens", "output_tokens")
}


def write_limits(gauges: Sequence[Gauge], now: float) -> RawHeaders:
    headers: RawHeaders = []
    for gauge in gauges:
        limit, remaining, reset = _NAMES[gauge.counts]
        headers += (
            (limit, b"%d" % gauge.limit),
            (remaining, b"%d" % gauge.left),
            (reset, moment(now + gauge.reset).encode()),
        )
    return headers


def moment(seconds: float) -> str:
    """A moment in Unix seconds as RFC 3339, rounded up to a whole second."""
    return datetime.fromtimestamp(ceil(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
