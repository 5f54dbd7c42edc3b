"""Errors that come inside a reply or a stream whose HTTP status was 200."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from plano.dialects import openai, reading
from plano.dialects.chat.finish import BROKEN
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
"""HTTP status by `error.type` or `error.code`, as OpenAI and its imitators spell them."""

_KEPT = frozenset({400, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529})
"""Statuses taken over from the error's own `code`. Not 401 and 403: those speak of the gateway's key."""


def in_band_error(found: Raw) -> UpstreamStatus:
    """The error from an `error` value, with the status it would have had outside; 502 if it does not say."""
    return error_of(reading.upstream(_ANY, bytes(found)))


def error_of(found: Any) -> UpstreamStatus:
    """The same of a parsed `error` value."""
    return openai.error_from(_status_of(found), found)


def ended_in_error(reason: str | None) -> UpstreamStatus | None:
    """The error of a choice that ends in one without saying which."""
    if reason != BROKEN:
        return None
    return UpstreamStatus("The upstream ended the reply with an error.", status=502, kind="upstream")


def _status_of(error: Any) -> int:
    if not isinstance(error, dict):
        return 502
    for field in ("code", "status", "type"):
        value = error.get(field)
        if isinstance(value, str):
            value = _STATUS_OF_TYPE.get(value.lower(), int(value) if value.isdecimal() and len(value) == 3 else None)
        if isinstance(value, int | float) and value in _KEPT:
            return int(value)
    return 502


def write_stream_error(error: PlanoError) -> bytes:
    """OpenAI's SDKs raise on a frame with `error`; no `[DONE]` follows it."""
    return sse.frame(openai.write_error(error))
