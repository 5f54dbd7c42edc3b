"""The responses dialect: OpenAI's Responses API, `POST /v1/responses`.

Sources: OpenAI's API reference, "Responses" and "Streaming events", and the types of its Python SDK.
"""

from __future__ import annotations

from plano.conversation import Conversation
from plano.dialects.codec import Conventions
from plano.dialects.openai import CHAT_ONLY, read_error, status_of, write_error
from plano.dialects.openai_limits import write_limits
from plano.dialects.responses.begin import begins, error_in, speaks
from plano.dialects.responses.errors import write_stream_error
from plano.dialects.responses.ids import hands_back
from plano.dialects.responses.peek import event_texts, look, peek_stream, peek_usage, reply_texts, usage_of
from plano.dialects.responses.reply import read_reply, write_reply
from plano.dialects.responses.request import read_request
from plano.dialects.responses.seals import mark_seals
from plano.dialects.responses.stream_reader import StreamReader
from plano.dialects.responses.stream_writer import StreamWriter
from plano.dialects.responses.write_request import write_request
from plano.operations import EndpointPath
from plano.types import ClientDialect

name: ClientDialect = "responses"

conventions = Conventions(
    endpoint=EndpointPath(path="/responses"),
    longest_id=64,
    longest_name=64,
    limits=("max_output_tokens",),
    lacks=CHAT_ONLY,
)
"""Names: API reference, Responses, `tools`. Ids: OpenAI's errors say so, its reference does not."""

spoken_fields = frozenset({"arguments", "content", "delta", "input", "instructions", "refusal", "text"})


renaming = None


def stream_reader() -> StreamReader:
    return StreamReader()


def stream_writer(asked: Conversation) -> StreamWriter:
    return StreamWriter(asked)


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
