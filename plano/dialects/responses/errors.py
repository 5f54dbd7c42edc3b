"""Reads and writes errors inside replies and streams. Error responses are the same as in the chat dialect.

Source: API reference, "The response object" (`error.code`), and the streaming event `error`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from plano.dialects import openai, reading
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


class _Numbered(Struct):
    sequence_number: int | None = None


_NUMBERED = msgspec.json.Decoder(_Numbered)


def write_stream_error(error: PlanoError, last: Sequence[bytes] = ()) -> bytes:
    """Write the event that ends a stream after it broke, with the number that follows on those of the `last` pieces."""
    found = [reading.maybe(_NUMBERED, frame.data) for piece in last for frame in sse.frames(piece)]
    numbers = [each.sequence_number for each in found if each is not None and each.sequence_number is not None]
    return stream_error(error, max(numbers, default=-1) + 1)


def stream_error(error: PlanoError, sequence_number: int) -> bytes:
    """The `error` event. The reference has its fields on top; OpenAI's SDKs raise only for an `error` object, which
    OpenAI's own server sends (openai/openai-python, `_streaming.py`), so that both forms are there."""
    said = openai.error_object(error)
    event = {
        "type": "error",
        "code": error.code or said["type"],
        "message": error.message,
        "param": error.param,
        "sequence_number": sequence_number,
        "error": said,
    }
    return sse.frame(msgspec.json.encode(event), "error")
