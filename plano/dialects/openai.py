"""Fields and errors that OpenAI's two dialects, chat and responses, share."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec

from plano.conversation import Conversation
from plano.dialects import reading
from plano.dialects.error_bodies import code_in, message_in, param_in, text_of
from plano.dialects.failures import delay_in, failure_in
from plano.errors import Kind, PlanoError, UpstreamStatus
from plano.losses import refuse

SHARED_FIELDS = frozenset({"moderation", "prompt_cache_options", "prompt_cache_retention"})
"""Request fields that both dialects have in the same form, and the neutral model has not.
They are kept in the `extras` of the dialect that they came in, and can be written into either."""

CHAT_ONLY = frozenset(
    {
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "modalities",
        "n",
        "prediction",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "seed",
        "stop",
        "verbosity",
        "web_search_options",
    }
)
"""Fields of a chat request that neither responses nor messages have under that name (API reference, Chat)."""

_STORED_INPUT_FIELDS = ("previous_response_id", "conversation", "prompt")
"""Request fields that refer to input stored with the vendor."""


def refuse_stored(conversation: Conversation) -> None:
    """Raise UnsupportedConversion if part of the request's input is stored with OpenAI; no other API can read it."""
    for field in _STORED_INPUT_FIELDS:
        if field in conversation.extras.get("responses", {}):
            raise refuse(field, "only the responses API knows what it stands for")


_LONGEST_USER = 64
"""The most characters of a `user` that OpenAI takes. Agents send longer ones as messages' `metadata.user_id`."""


def user_of(conversation: Conversation) -> str | None:
    """The end user's id as OpenAI takes it. A longer id from the messages API becomes its SHA-256 in hexadecimal, so
    that one user keeps one id."""
    user = conversation.user
    if user is not None and len(user) > _LONGEST_USER and conversation.dialect == "messages":
        return sha256(user.encode(errors="surrogatepass")).hexdigest()
    return user


CONTEXT_LENGTH = "context_length_exceeded"
"""The code that tells OpenAI's clients that a conversation is too long, so that they shorten it."""

_TYPES: dict[Kind, str] = {
    "invalid_request": "invalid_request_error",
    "authentication": "authentication_error",
    "permission": "permission_error",
    "not_found": "invalid_request_error",
    "too_large": "invalid_request_error",
    "rate_limit": "rate_limit_error",
    "billing": "insufficient_quota",
    "timeout": "timeout_error",
    "overloaded": "overloaded_error",
    "upstream": "upstream_error",
    "server": "server_error",
}

_KIND_OF_STATUS: dict[int, Kind] = {
    400: "invalid_request",
    401: "authentication",
    403: "permission",
    404: "not_found",
    408: "timeout",
    413: "too_large",
    422: "invalid_request",
    429: "rate_limit",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}


def kind_of_status(status: int) -> Kind:
    """The kind of an upstream's error, from its status alone."""
    return _KIND_OF_STATUS.get(status, "invalid_request" if status < 500 else "upstream")


def error_object(error: PlanoError) -> dict[str, Any]:
    """The `error` object of both dialects (API reference, "Errors")."""
    return {"message": error.message, "type": _TYPES[error.kind], "param": error.param, "code": error.code}


def status_of(error: PlanoError) -> int:
    """The HTTP status of an error response."""
    return error.status


def write_error(error: PlanoError, *, request_id: str | None = None) -> bytes:
    """Write the JSON body of an error response. It has no place for the request's id."""
    return msgspec.json.encode({"error": error_object(error)})


def error_from(status: int, found: Any) -> UpstreamStatus:
    """Read a parsed error: a body, or the value of its `error` field; see `plano.dialects.error_bodies`."""
    message, code, param = message_in(found), code_in(found), param_in(found)
    failure = failure_in(found, status, message, param)
    if failure == "context_window" and (code is None or code.isdecimal()):
        code = CONTEXT_LENGTH
    error = UpstreamStatus(
        message or f"The upstream answered with status {status}.",
        status=status,
        kind=kind_of_status(status),
        code=code,
        param=param,
        retry_after=delay_in(found, message),
    )
    error.failure = failure
    return error


def read_error(status: int, body: bytes) -> UpstreamStatus:
    """Read an upstream's error body. One that is not JSON becomes the message, shortened; of a web page its title."""
    try:
        parsed = msgspec.json.decode(body)
    except reading.UNREADABLE:
        parsed = text_of(body)
    return error_from(status, parsed)
