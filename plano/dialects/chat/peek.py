"""Finds the usage, the end and the texts of a reply that is forwarded, without reading all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from plano.conversation import Finish, Usage
from plano.dialects import reading
from plano.dialects.chat.begin import delta_says
from plano.dialects.chat.usage import read_usage
from plano.dialects.codec import Slot, StreamEnd
from plano.dialects.fields import ABSENT, NULL, empty, says
from plano.dialects.finish import fails, is_unknown, read_finish
from plano.dialects.look import Fault, Look, looking_at
from plano.frames import sse


class _Body(Struct):
    usage: Raw = ABSENT


class _Delta(Struct):
    tool_calls: Raw = ABSENT


class _Choice(Struct):
    index: int | None = None
    finish_reason: str | None = None
    delta: Raw = ABSENT
    message: Raw = ABSENT


class _Chunk(Struct):
    choices: list[_Choice] | None = None
    usage: Raw = ABSENT
    error: Raw = ABSENT


class _Look(Look, rename={"found": "choices"}, gc=False):
    """A reply whose error may stand in one of several choices."""

    found: Raw = NULL

    def may_say_error(self, body: bytes) -> bool:
        return self.error != NULL or body.find(b'"error"') >= 0

    def fault(self, body: bytes) -> Fault | None:
        if b'"finish_reason":"stop"' in body or b'"finish_reason":"tool_calls"' in body:  # nearly always
            return None
        choices = reading.maybe(_CHOICES, self.found)
        if choices is None:
            return None
        if choices and fails(choices[0].finish_reason):
            return "failed"
        return None if any(choice.finish_reason or delta_says(choice.message) for choice in choices) else "silent"


_CHOICES = msgspec.json.Decoder(list[_Choice])

look = looking_at(_Look)

_BODY = msgspec.json.Decoder(_Body)
_CHUNK = msgspec.json.Decoder(_Chunk)
_DELTA = msgspec.json.Decoder(_Delta)


def peek_usage(body: bytes) -> Usage | None:
    """The usage of a complete reply; None if it has none or is not JSON."""
    found = reading.maybe(_BODY, body)
    return None if found is None else read_usage(found.usage)


usage_of = read_usage


def peek_stream(first: bytes, last: Sequence[bytes]) -> StreamEnd:
    """The end of a stream, which its last pieces show: the finish chunk, the usage chunk, `[DONE]`."""
    end = _End()
    for piece in last if first in last else (first, *last):
        if end.reason or not _says_no_more(piece):
            for frame in sse.frames(piece):
                end.add(frame)
    return end.found()


class _End:
    """The end of a stream as far as its frames have shown it.

    Attributes:
        reason: the last finish reason of the first choice.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._done = self._failed = self._called = False
        self._ended: set[int] = set()  # the choices that said why they ended, and nothing after it
        self._usage: Usage | None = None

    def add(self, frame: sse.Frame) -> None:
        """Take in the next frame; after an error there is none."""
        if self._failed:
            return
        if frame.data == b"[DONE]":
            self._done = True
            return
        chunk = reading.maybe(_CHUNK, frame.data)
        if chunk is None:
            return
        self._failed = says(chunk.error) or frame.event == "error"
        self._usage = read_usage(chunk.usage) or self._usage
        for choice in chunk.choices or ():
            self._choice(choice)

    def _choice(self, choice: _Choice) -> None:
        index, delta = choice.index or 0, choice.message if empty(choice.delta) else choice.delta
        if not index:
            self._called = self._called or _calls(delta)
            self.reason = choice.finish_reason or self.reason
        if choice.finish_reason:
            self._ended.add(index)
        elif index in self._ended and delta_says(delta):
            self._ended.discard(index)

    def found(self) -> StreamEnd:
        if self._failed or fails(self.reason):
            return StreamEnd(complete=True, failed=True, usage=self._usage, finish=None)
        known = self.reason and not is_unknown(self.reason)
        finish: Finish | None = read_finish(self.reason, called=self._called) if known else None
        complete = self._done or bool(self._ended)
        return StreamEnd(complete=complete, failed=False, usage=self._usage, finish=finish)


def _calls(delta: Raw) -> bool:
    fields = reading.maybe(_DELTA, delta)
    return fields is not None and says(fields.tool_calls)


def _says_no_more(piece: bytes) -> bool:
    """Whether all frames in a piece are deltas of a stream that goes on, in the most common spelling, so that none of
    them has to be parsed."""
    reasons = piece.count(b'"finish_reason"')
    return (
        0 < reasons == piece.count(b'"finish_reason":null') == piece.count(b"\n\n")
        and piece.count(b'"usage"') == piece.count(b'"usage":null')
        and not any(map(piece.__contains__, _MORE))
    )


_MORE = (b'"tool_calls"', b'"error"', b"event:", b"[DONE]")


def reply_texts(reply: dict[str, Any]) -> list[Slot]:
    """The texts of all choices in a parsed reply."""
    slots = []
    for n, choice in enumerate(_choices(reply)):
        message = choice.get("message")
        if isinstance(message, dict):
            slots += _texts(_key(choice, n), message)
    return slots


def _key(choice: dict[str, Any], n: int) -> tuple[str, int]:
    """The key of a choice's text: its index, or its position `n` if it has none."""
    index = choice.get("index")
    return "choice", index if isinstance(index, int) else n


def _texts(key: tuple[str, Any], message: dict[str, Any]) -> list[Slot]:
    """The texts of a message: its `content`, or the text parts in that."""
    content = message.get("content")
    if isinstance(content, str):
        return [Slot(key, message, "content", "whole")]
    parts = content if isinstance(content, list) else []
    return [
        Slot((*key, n), part, "text", "whole")
        for n, part in enumerate(parts)
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    ]


def event_texts(event: dict[str, Any]) -> list[Slot]:
    """The texts in a parsed chunk, and the ends of texts."""
    slots = []
    for n, choice in enumerate(_choices(event)):
        key, delta = _key(choice, n), choice.get("delta") or choice.get("message")
        if isinstance(delta, dict):
            content = delta.get("content")
            if isinstance(content, str) and content:
                slots.append(Slot(key, delta, "content", "delta"))
            elif isinstance(content, list):
                slots += [
                    Slot(key, part, "text", "delta")
                    for part in content
                    if isinstance(part, dict) and isinstance(part.get("text"), str)
                ]
            if delta.get("tool_calls"):  # the calls must not wait for a text that is most likely over
                slots.append(Slot(key, delta, "tool_calls", "end"))
        if choice.get("finish_reason"):
            slots.append(Slot(key, choice, "finish_reason", "end"))
    return slots


def _choices(body: dict[str, Any]) -> list[dict[str, Any]]:
    choices = body.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
