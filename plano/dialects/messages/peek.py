"""Finds the usage, the end and the texts of a reply that is forwarded, without reading all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from plano.conversation import Finish, Usage
from plano.dialects import reading
from plano.dialects.codec import Slot, StreamEnd
from plano.dialects.fields import ABSENT, NULL, STRING, empty, says
from plano.dialects.finish import fails, is_unknown, read_finish
from plano.dialects.look import Fault, Look, looking_at
from plano.dialects.messages.usage import Tally, read_usage
from plano.frames.sse import frames


class _Reply(Struct):
    usage: Raw = ABSENT


class _StopReason(Struct):
    stop_reason: str | None = None


class _Event(Struct):
    type: str | None = None
    message: _Reply | None = None
    delta: _StopReason | None = None
    usage: Raw = ABSENT
    error: Raw = ABSENT


class _Look(Look, rename={"found": "content"}, gc=False):
    found: Raw = NULL
    stop_reason: Raw = NULL

    def fault(self, body: bytes) -> Fault | None:
        if self.stop_reason in _USUAL:
            return None
        if empty(self.stop_reason):
            return "silent" if empty(self.found) else None
        return "failed" if fails(reading.maybe(STRING, self.stop_reason)) else None


_USUAL = tuple(Raw(word) for word in (b'"end_turn"', b'"tool_use"', b'"max_tokens"'))

look = looking_at(_Look)

_REPLY = msgspec.json.Decoder(_Reply)
_EVENT = msgspec.json.Decoder(_Event)


def peek_usage(body: bytes) -> Usage | None:
    """The usage of a complete reply; None if it has none or is not JSON."""
    found = reading.maybe(_REPLY, body)
    return None if found is None else usage_of(found.usage)


def usage_of(raw: Raw) -> Usage | None:
    """The usage in a `usage` object; None if it cannot be read."""
    try:
        return read_usage(raw)
    except reading.UNREADABLE:
        return None


def peek_stream(first: bytes, last: Sequence[bytes]) -> StreamEnd:
    tally, done, failed, opening, ended = Tally(), False, False, True, False
    reason: str | None = None
    for event in _events((first, *last)):
        if event.message is not None:
            _add(tally, event.message.usage)
        _add(tally, event.usage)
        opening = opening and not says(event.usage)
        said = event.delta and event.delta.stop_reason
        reason, ended = said or reason, bool(said) or (ended and event.type != "content_block_start")
        failed = failed or event.type == "error" or says(event.error) or fails(reason)
        done = done or failed or event.type == "message_stop"
    usage = tally.usage()
    finish: Finish | None = None if failed or not reason or is_unknown(reason) else read_finish(reason, called=False)
    return StreamEnd(done or ended, failed, usage, finish, opening=opening and usage is not None)


def _events(pieces: Sequence[bytes]) -> list[_Event]:
    """The events of the message itself, at both ends of a stream, and the starts of blocks. An event may come twice
    and change nothing, because usage numbers are totals."""
    found = []
    for piece in pieces:
        if not any(map(piece.__contains__, _OF_MESSAGES)):
            continue
        for frame in frames(piece):
            if frame.event in ("content_block_delta", "content_block_stop"):
                continue
            event = reading.maybe(_EVENT, frame.data)
            if event is not None:  # an event of another form is forwarded all the same
                found.append(event)
    return found


_OF_MESSAGES = (b'"message_', b'"error"', b'"content_block_start"')


def _add(tally: Tally, usage: Raw) -> None:
    """Add a `usage` object to the tally, if it can be read."""
    try:
        tally.add(usage)
    except reading.UNREADABLE:
        return  # counts that are not numbers are ignored


def reply_texts(reply: dict[str, Any]) -> list[Slot]:
    """The texts in a parsed reply; a text's key is the index of its block."""
    content = reply.get("content")
    if not isinstance(content, list):
        return []
    return [Slot(index, block, "text", "whole") for index, block in enumerate(content) if _is_text(block)]


def event_texts(event: dict[str, Any]) -> list[Slot]:
    """The texts in a parsed event, and the ends of blocks, which may be texts."""
    index = event.get("index")
    key = index if isinstance(index, int) else 0  # a text with a wrong index is rewritten all the same
    match event:
        case {"type": "content_block_delta", "delta": {"type": "text_delta", "text": str()} as delta}:
            return [Slot(key, delta, "text", "delta")]
        case {"type": "content_block_start", "content_block": block} if _is_text(block):
            return [Slot(key, block, "text", "delta")]
        case {"type": "content_block_stop"}:
            return [Slot(key, event, "", "end")]
    return []


def _is_text(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str)
