"""Reads and writes errors: `{"type":"error","error":{"type":…,"message":…},"request_id":…}`.

Source: API reference, "Errors", and there "Request id". An error inside a stream is an event named `error` with the
same body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from plano.dialects import openai, reading
from plano.errors import Kind, PlanoError, UpstreamStatus
from plano.frames import sse

_TYPES: dict[Kind, str] = {
    "invalid_request": "invalid_request_error",
    "authentication": "authentication_error",
    "permission": "permission_error",
    "not_found": "not_found_error",
    "too_large": "request_too_large",
    "rate_limit": "rate_limit_error",
    "billing": "billing_error",
    "timeout": "timeout_error",
    "overloaded": "overloaded_error",
    "upstream": "api_error",
    "server": "api_error",
}

_KIND_AND_STATUS: dict[str, tuple[Kind, int]] = {
    "invalid_request_error": ("invalid_request", 400),
    "authentication_error": ("authentication", 401),
    "billing_error": ("billing", 402),
    "permission_error": ("permission", 403),
    "not_found_error": ("not_found", 404),
    "request_too_large": ("too_large", 413),
    "rate_limit_error": ("rate_limit", 429),
    "timeout_error": ("timeout", 504),
    "overloaded_error": ("overloaded", 529),
    "api_error": ("upstream", 502),
}
"""The kind of each type of error, and the status that an error of this type has if it came without one."""


_STATUS_OF_CODE: dict[str | None, int] = {"gateway_busy": 529}
"""The statuses that Anthropic's API has for errors which have another one elsewhere, by the error's code."""

_STATUS_OF_KIND: dict[Kind, int] = {"billing": 402}
"""The statuses that Anthropic's API has for kinds of errors which have another one elsewhere."""


def status_of(error: PlanoError) -> int:
    """The HTTP status of an error response."""
    return _STATUS_OF_CODE.get(error.code) or _STATUS_OF_KIND.get(error.kind, error.status)


def write_error(error: PlanoError, *, request_id: str | None = None) -> bytes:
    """Write the JSON body of an error response, with the request's id if that is given."""
    message = error.message
    if error.code == openai.CONTEXT_LENGTH and not message.startswith(_TOO_LONG):
        message = f"{_TOO_LONG}: {message}"
    body: dict[str, Any] = {"type": "error", "error": {"type": _TYPES[error.kind], "message": message}}
    if request_id is not None:
        body["request_id"] = request_id
    return msgspec.json.encode(body)


_TOO_LONG = "prompt is too long"
"""The words by which clients recognize that a conversation is too long, because there is no code for it."""


def write_stream_error(error: PlanoError, last: Sequence[bytes] = ()) -> bytes:
    """Write the event that ends a stream with an error."""
    return sse.frame(write_error(error), "error")


def read_error(status: int, body: bytes) -> UpstreamStatus:
    """Read an upstream's error body, in this dialect's form or in OpenAI's."""
    try:
        parsed = msgspec.json.decode(body)
    except reading.UNREADABLE:
        return openai.read_error(status, body)
    if isinstance(parsed, dict) and isinstance(parsed.get("error"), dict):
        return _error(status, parsed["error"])
    return openai.read_error(status, body)


def misplaced_error(body: bytes) -> UpstreamStatus:
    """Read an error that came with status 200, in place of a reply or an event. Its status is that of its type, or
    502."""
    error = read_error(502, body)
    for kind, status in _KIND_AND_STATUS.values():
        if kind == error.kind:
            error.status = status
    return error


def _error(status: int, found: dict[str, Any]) -> UpstreamStatus:
    error = openai.error_from(status, found)
    type_ = found.get("type")
    if isinstance(type_, str) and type_ in _KIND_AND_STATUS:
        error.kind = _KIND_AND_STATUS[type_][0]
    details = found.get("details")
    if error.code is None and isinstance(details, dict) and isinstance(details.get("error_code"), str):
        error.code = details["error_code"]
    return error
