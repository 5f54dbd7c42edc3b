"""Finds the beginning of a stream's real output, and errors before it.

A stream opens with the empty reply (`created`, `queued`, `in_progress`), and with items and parts that are added empty.
A call counts as output from its start on, because that names the tool.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from plano.dialects import reading
from plano.dialects.fields import ABSENT, empty
from plano.dialects.responses.errors import failure
from plano.errors import PlanoError
from plano.frames.sse import Frame


class _Content(Struct):
    """An item or a part when it is added."""

    type: str | None = None
    content: Raw = ABSENT
    summary: Raw = ABSENT
    text: Raw = ABSENT
    refusal: Raw = ABSENT


class _Event(Struct, gc=False):
    type: str | None = None
    delta: Raw = ABSENT
    item: _Content | None = None
    part: _Content | None = None
    error: Any = None


class _Reply(Struct):
    error: Any = None


class _Failure(Struct):
    type: str | None = None
    response: _Reply | None = None
    error: Any = None
    code: Any = None
    message: Any = None
    param: Any = None


_EVENT = msgspec.json.Decoder(_Event)
_FAILURE = msgspec.json.Decoder(_Failure)

_FAILED = "response.failed"
_SILENT = frozenset(
    {"response.created", "response.in_progress", "response.queued", _FAILED, "error", "ping", "keepalive"}
)
_EMPTY_AT_FIRST = frozenset({"message", "reasoning", "output_text", "refusal", "summary_text", "reasoning_text"})


def speaks(piece: bytes) -> int:
    return piece.find(b'.delta"')


def begins(frame: Frame) -> bool:
    if frame.data == b"[DONE]":  # the end of other APIs' streams, which says nothing in this one
        return False
    event = reading.maybe(_EVENT, frame.data)
    if event is None:
        return frame.event not in (_FAILED, "error")
    type_ = event.type if event.type is not None else frame.event
    if type_ is None:
        return not event.error
    if type_ in _SILENT:
        return False
    if type_.endswith(".added"):
        added = event.item or event.part
        return added is None or _says(added)
    return not type_.endswith(".delta") or not empty(event.delta)


def _says(added: _Content) -> bool:
    if added.type not in _EMPTY_AT_FIRST:
        return True
    return not all(map(empty, (added.content, added.summary, added.text, added.refusal)))


def error_in(frame: Frame) -> PlanoError | None:
    data, named = frame.data, frame.event in (_FAILED, "error")
    if not named and not any(map(data.count, (b"error", b"failed", b"\\u"))):  # nearly always, without an error
        return None
    event = reading.maybe(_FAILURE, data)
    if event is None:
        return failure(None) if named else None
    type_ = event.type if event.type is not None else frame.event
    if type_ == _FAILED:
        return failure(None if event.response is None else event.response.error)
    if type_ == "error" or (type_ is None and event.error):
        return failure(event.error or {"code": event.code, "message": event.message, "param": event.param})
    return None
