"""Finds the usage, the end and the texts of a reply that is forwarded, without reading all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from plano.conversation import Usage
from plano.dialects import reading
from plano.dialects.codec import Slot, StreamEnd
from plano.dialects.fields import NULL, empty
from plano.dialects.look import Fault, Look, looking_at
from plano.dialects.responses import tool_search
from plano.dialects.responses.envelope import IncompleteDetails, WireUsage, finish_of, read_usage
from plano.frames import sse


class _Look(Look, rename={"found": "output"}, gc=False):
    found: Raw = NULL
    status: Raw = NULL

    def fault(self, body: bytes) -> Fault | None:
        if self.status == _FAILED:
            return "failed"
        return "silent" if self.status == NULL and empty(self.found) else None


_FAILED = Raw(b'"failed"')

look = looking_at(_Look)

_CALLS = ("function_call", "custom_tool_call", tool_search.CALL)


class _Item(msgspec.Struct):
    type: str | None = None


class _Reply(msgspec.Struct):
    status: str | None = None
    usage: WireUsage | None = None
    incomplete_details: IncompleteDetails | None = None
    output: list[_Item] | None = None


class _Event(msgspec.Struct):
    type: str | None = None
    response: _Reply | None = None


class _Used(msgspec.Struct):
    usage: WireUsage | None = None


_USAGE = msgspec.json.Decoder(WireUsage)
_USED = msgspec.json.Decoder(_Used)
_EVENT = msgspec.json.Decoder(_Event)

_ENDS = ("response.completed", "response.incomplete", "response.failed", "error")
_OPEN = StreamEnd(complete=False, failed=False, usage=None, finish=None)


def peek_usage(body: bytes) -> Usage | None:
    """The usage of a complete reply; None if it has none or is not JSON."""
    found = reading.maybe(_USED, body)
    return None if found is None else read_usage(found.usage)


def usage_of(raw: Raw) -> Usage | None:
    """The usage in a `usage` object; None if it cannot be read."""
    return read_usage(reading.maybe(_USAGE, raw))


def peek_stream(first: bytes, last: Sequence[bytes]) -> StreamEnd:
    """The end of a stream, which its last event shows; the pieces are searched from the end."""
    for piece in reversed(last):
        if b"response." not in piece and b"error" not in piece:
            continue
        for frame in reversed(sse.frames(piece)):
            end = _end(frame)
            if end is not None:
                return end
    return _OPEN


def _end(frame: sse.Frame) -> StreamEnd | None:
    """The end of the stream, if this frame is its last event."""
    if frame.event is not None and frame.event not in _ENDS:
        return None
    event = reading.maybe(_EVENT, frame.data)
    if event is None:
        return None
    type_ = event.type or frame.event
    if type_ not in _ENDS:
        return None
    reply = event.response or _Reply()
    usage = read_usage(reply.usage)
    if type_ in ("response.failed", "error") or reply.status == "failed":
        return StreamEnd(complete=True, failed=True, usage=usage, finish=None)
    called = any(item.type in _CALLS for item in reply.output or ())
    status = "incomplete" if type_ == "response.incomplete" else reply.status
    finish = finish_of(status, reply.incomplete_details, called)
    return StreamEnd(complete=True, failed=False, usage=usage, finish=finish)


# --- texts -----------------------------------------------------------------------------------------


def reply_texts(reply: dict[str, Any]) -> list[Slot]:
    """The texts in a parsed reply; keys are (output index, content index)."""
    output = reply.get("output")
    if not isinstance(output, list):
        return []
    return [slot for index, item in enumerate(output) for slot in _item_texts(item, index)]


def event_texts(event: dict[str, Any]) -> list[Slot]:
    """The texts in a parsed event. Four kinds of events repeat a text that is over; in them its kind is `whole`."""
    type_ = event.get("type")
    if type_ == "response.output_text.delta":
        return _slot(event, "delta", _key(event), "delta")
    if type_ == "response.output_text.done":
        return _slot(event, "text", _key(event), "whole")
    if type_ == "response.content_part.done":
        return _part_text(event.get("part"), _key(event))
    if type_ == "response.output_item.done":
        return _item_texts(event.get("item"), _key(event)[0])
    response = event.get("response")
    return reply_texts(response) if isinstance(response, dict) else []


def _item_texts(item: Any, output_index: int) -> list[Slot]:
    if not isinstance(item, dict) or item.get("type") != "message":
        return []
    content = item.get("content")
    if not isinstance(content, list):
        return []
    return [slot for index, part in enumerate(content) for slot in _part_text(part, (output_index, index))]


def _part_text(part: Any, key: tuple[int, int]) -> list[Slot]:
    if not isinstance(part, dict) or part.get("type") != "output_text":
        return []
    return _slot(part, "text", key, "whole")


def _key(event: dict[str, Any]) -> tuple[int, int]:
    output, content = event.get("output_index"), event.get("content_index")
    return output if isinstance(output, int) else 0, content if isinstance(content, int) else 0


def _slot(holder: dict[str, Any], field: str, key: tuple[int, int], kind: Any) -> list[Slot]:
    return [Slot(key, holder, field, kind)] if isinstance(holder.get(field), str) else []
