"""Errors inside a reply or a stream whose HTTP status is 200."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from plano.dialects import openai, reading
from plano.errors import PlanoError, UpstreamStatus
from plano.frames import sse

_ANY = msgspec.json.Decoder()

NOT_A_REPLY = "The upstream's reply is not a chat completion."

_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "tokens": 429,
    "requests": 429,
    "insufficient_quota": 429,
    "overloaded_error": 529,
    "overloaded": 529,
    "timeout_error": 504,
}
"""The HTTP status for an `error.type` or `error.code`, as OpenAI and compatible servers spell them."""

_KEPT_STATUSES = frozenset({400, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529})
"""The statuses that an error's own `code` may set. 401 and 403 are not among them, because they are about the gateway's
key."""


def in_band_error(found: Raw) -> UpstreamStatus:
    """The error in the value of an `error` field, with the status that it would have had as a response of its own; 502
    if it does not say."""
    return error_of(reading.upstream(_ANY, bytes(found)))


def error_of(found: Any) -> UpstreamStatus:
    """The error in a parsed `error` value."""
    return openai.error_from(_status_of(found), found)


def _status_of(error: Any) -> int:
    """The status that an error names itself, as a number or by a known word."""
    if not isinstance(error, dict):
        return 502
    for field in ("code", "status", "type"):
        value = error.get(field)
        if isinstance(value, str):
            value = _STATUS_OF_TYPE.get(value.lower(), int(value) if value.isdecimal() and len(value) == 3 else None)
        if isinstance(value, int | float) and value in _KEPT_STATUSES:
            return int(value)
    return 502


def write_stream_error(error: PlanoError, last: Sequence[bytes] = ()) -> bytes:
    """Write the frame that ends a stream with an error. OpenAI's SDKs raise on it, and no `[DONE]` follows it."""
    return sse.frame(openai.write_error(error))
