"""The chat dialect: OpenAI's Chat Completions API, and the many servers that more or less speak it.

The verbs are those of `plano.dialects.codec.Codec`.
"""

from __future__ import annotations

from plano.conversation import Conversation
from plano.dialects.chat.begin import begins, error_in, speaks
from plano.dialects.chat.errors import write_stream_error
from plano.dialects.chat.peek import event_texts, look, peek_stream, peek_usage, reply_texts, usage_of
from plano.dialects.chat.read_request import read_request
from plano.dialects.chat.reply import read_reply, write_reply
from plano.dialects.chat.seals import mark_seals
from plano.dialects.chat.stream_reader import ChatStreamReader
from plano.dialects.chat.stream_writer import ChatStreamWriter
from plano.dialects.chat.write_request import write_request
from plano.dialects.codec import Conventions, StreamReader, StreamWriter
from plano.dialects.openai import read_error, status_of, write_error
from plano.dialects.openai_limits import write_limits
from plano.dialects.signatures import holds_seal
from plano.operations import EndpointPath
from plano.types import ClientDialect

name: ClientDialect = "chat"

conventions = Conventions(
    endpoint=EndpointPath(path="/chat/completions"),
    longest_id=40,
    longest_name=64,
    limits=("max_tokens", "max_completion_tokens"),
    closing=b"[DONE]",
)
"""Names: API reference, Chat, `tools.function.name`. Ids: OpenAI's errors say so, its reference does not."""

spoken_fields = frozenset(
    {"arguments", "content", "input", "reasoning", "reasoning_content", "refusal", "text", "thinking"}
)


hands_back = holds_seal


renaming = None


def stream_reader() -> StreamReader:
    return ChatStreamReader()


def stream_writer(asked: Conversation) -> StreamWriter:
    return ChatStreamWriter(asked)


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
