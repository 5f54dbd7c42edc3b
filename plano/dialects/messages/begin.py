"""Finds the beginning of a stream's real output, and errors before it.

A stream opens with `message_start`, a `ping`, and the start of a block. The start of a text or of thinking is
empty; every other block counts as output from its start on.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw, Struct

from plano.dialects import reading
from plano.dialects.fields import ABSENT, STRING, empty, says
from plano.dialects.finish import fails, failure
from plano.dialects.messages.errors import misplaced_error
from plano.errors import PlanoError
from plano.frames.sse import Frame


class _Message(Struct):
    content: Raw = ABSENT


class _Event(Struct, gc=False):
    type: str | None = None
    message: _Message | None = None
    content_block: dict[str, Raw] | None = None
    delta: dict[str, Raw] | None = None
    error: Raw = ABSENT


_EVENT = msgspec.json.Decoder(_Event)
_SILENT = frozenset({"ping", "error", "content_block_stop"})
_EMPTY_AT_FIRST: frozenset[str | None] = frozenset({"text", "thinking"})


def speaks(piece: bytes) -> int:
    return piece.find(b"content_block_delta")


def begins(frame: Frame) -> bool:
    if frame.data == b"[DONE]":  # the end of other APIs' streams, which says nothing in this one
        return False
    event = reading.maybe(_EVENT, frame.data)
    if event is None:
        return frame.event != "error"
    type_ = event.type or frame.event
    if type_ in _SILENT or fails(_stop_reason(event)):
        return False
    if type_ == "message_start":
        return event.message is not None and not empty(event.message.content)
    if type_ == "content_block_start" and event.content_block is not None:
        return _block_says(event.content_block)
    if type_ == "content_block_delta" and event.delta is not None:
        return _says(event.delta)
    return bool(type_) or not says(event.error)


def _block_says(block: dict[str, Raw]) -> bool:
    return reading.maybe(STRING, block.get("type", ABSENT)) not in _EMPTY_AT_FIRST or _says(block)


def _says(fields: dict[str, Raw]) -> bool:
    return any(name != "type" and not empty(value) for name, value in fields.items())


def _stop_reason(event: _Event) -> str | None:
    """The reason in a `message_delta`; the deltas of blocks have none."""
    return None if event.delta is None else reading.maybe(STRING, event.delta.get("stop_reason", ABSENT))


_ENDS = re.compile(rb'"stop_reason"\s*:\s*"[^"]')


def error_in(frame: Frame) -> PlanoError | None:
    data, named = frame.data, frame.event == "error"
    if not (named or data.find(b"error") >= 0 or data.find(b"\\u") >= 0 or _ENDS.search(data)):  # nearly always
        return None
    event = reading.maybe(_EVENT, data)
    type_ = frame.event if event is None else event.type or frame.event
    if type_ == "error" or (event is not None and not event.type and says(event.error)):
        return misplaced_error(data)
    return None if event is None else failure(_stop_reason(event))
