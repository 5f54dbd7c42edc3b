"""The wait that a response asks for.

`retry-after` has seconds or a date (RFC 9110 section 10.2.3). OpenAI and Azure also send `retry-after-ms`, which is
finer and counts first, as in OpenAI's SDKs (openai/openai-python, `_base_client.py`). Some servers write fractions.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from math import isfinite

from plano.types import RawHeaders


def retry_after_in(headers: RawHeaders, now: float) -> float | None:
    """The seconds that a response asks to wait, at least 0; None if it does not ask, or not in a form that is known.

    Args:
        headers: the response's headers, names in lower case.
        now: the time, in Unix seconds.
    """
    milliseconds = seconds = None
    for name, value in headers:
        if name == b"retry-after-ms":
            milliseconds = _number(value)
        elif name == b"retry-after":
            seconds = _number(value)
            if seconds is None:
                seconds = _until(value, now)
    if milliseconds is not None:
        return milliseconds / 1000
    return seconds


def _number(value: bytes) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return max(0.0, number) if isfinite(number) else None


def _until(value: bytes, now: float) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(value.decode("latin-1")).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
