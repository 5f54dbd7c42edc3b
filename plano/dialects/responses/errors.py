"""Reads and writes errors inside replies and streams. Error responses are the same as in the chat dialect.

Source: API reference, "The response object" (`error.code`), and the streaming event `error`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from plano.dialects import openai
from plano.errors import Kind, PlanoError, UpstreamStatus
from plano.frames import sse

CODES = frozenset(
    {
        "server_error",
        "rate_limit_exceeded",
        "invalid_prompt",
        "data_residency_mismatch",
        "bio_policy",
        "misalignment_policy_violation",
        "vector_store_timeout",
        "invalid_image",
        "invalid_image_format",
        "invalid_base64_image",
        "invalid_image_url",
        "image_too_large",
        "image_too_small",
        "image_parse_error",
        "image_content_policy_violation",
        "invalid_image_mode",
        "image_file_too_large",
        "unsupported_image_media_type",
        "empty_image_file",
        "failed_to_download_image",
        "image_file_not_found",
    }
)
"""All codes that a failed reply may have; the types of clients know no others."""

_CODE_OF_KIND: dict[Kind, str] = {
    "rate_limit": "rate_limit_exceeded",
    "invalid_request": "invalid_prompt",
    "too_large": "invalid_prompt",
}
"""The code of an error, by its kind, if its own is not one of `CODES`; all other kinds are a `server_error`."""

_STATUS_OF_CODE: dict[str, int] = {
    "server_error": 502,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "vector_store_timeout": 504,
    "server_is_overloaded": 503,
    "slow_down": 503,
    "overloaded_error": 529,
    "context_length_exceeded": 400,
    "invalid_request_error": 400,
    "rate_limit_error": 429,
}


def error_of_reply(error: PlanoError) -> dict[str, Any]:
    """The `error` object of a failed Response."""
    code = error.code if error.code in CODES else _CODE_OF_KIND.get(error.kind, "server_error")
    return {"code": code, "message": error.message}


def failure(found: Any) -> UpstreamStatus:
    """Read the error of a failed reply or of an `error` event. It came with status 200, so its status is that of its
    code or type, or 502."""
    if not isinstance(found, dict):
        return openai.error_from(502, found)
    return openai.error_from(_status(found), found)


def _status(found: dict[str, Any]) -> int:
    for word in (found.get("code"), found.get("type")):
        if isinstance(word, str):
            if word in _STATUS_OF_CODE:
                return _STATUS_OF_CODE[word]
            if word in CODES:
                return 400  # all other codes are about the request
    return 502


def write_stream_error(error: PlanoError) -> bytes:
    """Write the event that ends a forwarded stream after it broke. Its sequence number is 0, because forwarded events
    are not counted."""
    return sse.frame(stream_error(error, 0), "error")


def stream_error(error: PlanoError, sequence_number: int) -> bytes:
    """The data of an `error` event."""
    return msgspec.json.encode(
        {
            "type": "error",
            "code": error.code or openai.error_object(error)["type"],
            "message": error.message,
            "param": error.param,
            "sequence_number": sequence_number,
        }
    )
