"""The messages dialect: Anthropic's Messages API."""

from __future__ import annotations

from plano.conversation import Conversation
from plano.dialects.call_seals import holds_field
from plano.dialects.codec import Conventions
from plano.dialects.messages.begin import begins, error_in, speaks
from plano.dialects.messages.errors import read_error, status_of, write_error, write_stream_error
from plano.dialects.messages.limits import write_limits
from plano.dialects.messages.peek import event_texts, look, peek_stream, peek_usage, reply_texts, usage_of
from plano.dialects.messages.read_request import read_request
from plano.dialects.messages.renaming import renaming
from plano.dialects.messages.reply import read_reply, write_reply
from plano.dialects.messages.seals import mark_seals
from plano.dialects.messages.stream_reader import MessagesReader
from plano.dialects.messages.stream_writer import MessagesWriter
from plano.dialects.messages.write_request import write_request
from plano.dialects.openai import CHAT_ONLY
from plano.dialects.signatures import holds_seal
from plano.operations import EndpointPath
from plano.types import ClientDialect

name: ClientDialect = "messages"

conventions = Conventions(
    endpoint=EndpointPath(path="/messages"),
    auth="x-api-key",
    headers=(("anthropic-version", "2023-06-01"),),
    versioned=True,
    needs_limit=True,
    lacks=CHAT_ONLY
    | {
        "parallel_tool_calls",
        "prompt_cache_key",
        "safety_identifier",
        "store",
        "stream_options",
        "top_logprobs",
        "user",
    },
    overloaded=529,
    request_id="request-id",
    call_prefix="toolu_",
)
"""The version is the last one that takes temperature, top_p and top_k. A client's own header goes on as it came
(platform.claude.com, API reference, Versions)."""

spoken_fields = frozenset({"content", "input", "partial_json", "system", "text", "thinking"})


def hands_back(body: bytes) -> bool:
    return holds_seal(body) or holds_field(body)


def stream_reader() -> MessagesReader:
    return MessagesReader()


def stream_writer(asked: Conversation) -> MessagesWriter:
    return MessagesWriter(asked)


__all__ = [
    "begins",
    "conventions",
    "error_in",
    "event_texts",
    "hands_back",
    "look",
    "mark_seals",
    "name",
    "peek_stream",
    "peek_usage",
    "read_error",
    "read_reply",
    "read_request",
    "renaming",
    "reply_texts",
    "speaks",
    "spoken_fields",
    "status_of",
    "stream_reader",
    "stream_writer",
    "usage_of",
    "write_error",
    "write_limits",
    "write_reply",
    "write_request",
    "write_stream_error",
]
