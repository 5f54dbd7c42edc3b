"""Reads passing replies: their ids, the parts that are stored, and the end of a stream."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

from plano.dialects import CODECS, reading
from plano.frames import sse

NOT_STORED = b": plano-stored false\n\n"
"""A comment (WHATWG HTML, section 9.2.6) in front of a stream's last event."""

ABSENT = Raw()
_EMPTY = b"[]"


class StoredReply(NamedTuple):
    """A reply that can be stored; `kept` says whether the upstream states that it stores it too."""

    id: str
    body: bytes
    output: list[Raw]
    kept: bool


class _Reply(Struct):
    id: str | None = None
    status: str | None = None
    output: Raw = ABSENT
    store: Raw = ABSENT


class _Event(Struct):
    type: str | None = None
    response: Raw = ABSENT
    item: Raw = ABSENT


class _Id(Struct):
    id: str | None = None


_REPLY = msgspec.json.Decoder(_Reply)
_EVENT = msgspec.json.Decoder(_Event)
_ID = msgspec.json.Decoder(_Id)
_LIST = msgspec.json.Decoder(list[Raw])
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode
_NOTABLE = re.compile(rb"response\.(?:completed|incomplete|output_item\.done)").search
_LEADING_ID = re.compile(rb'\s*(?:data:\s*)?\{\s*"id"\s*:\s*"([ -!#-\[\]-~]+)"')
"""An id as the first field, where nearly every reply and every first chunk has it. It has no escapes, so its bytes are
its text."""


# --- responses -------------------------------------------------------------------------------------


def response(body: bytes | Raw) -> StoredReply | None:
    """Reads a complete Response object; None if it has no id, failed, or is still in progress."""
    try:
        found = _REPLY.decode(body)
        output = _LIST.decode(found.output or _EMPTY)
    except reading.UNREADABLE:
        return None
    if not found.id or found.status not in ("completed", "incomplete", None):
        return None
    return StoredReply(found.id, bytes(body), output, bytes(found.store) != b"false")


def with_fields(body: bytes | Raw, fields: Mapping[str, Raw]) -> bytes:
    """Sets fields of a Response object; the body is returned unchanged if it is no object."""
    try:
        return _encode({**_OBJECT.decode(body), **fields})
    except reading.UNREADABLE:
        return bytes(body)


class Ending(NamedTuple):
    """A piece that holds the last event of a stream, cut in front of that event: `before` goes out at once, `last`
    waits for the store."""

    before: bytes
    last: bytes
    reply: StoredReply | None


class ResponseStream:
    """Reads a stream of the responses API as it passes.

    Args:
        echo: fields that are set in its Response objects.
    """

    __slots__ = ("_echo", "_items", "_over")

    def __init__(self, echo: Mapping[str, Raw]) -> None:
        self._echo = echo
        self._items: list[bytes] = []
        self._over = False

    def feed(self, piece: bytes) -> bytes | Ending:
        """Returns the piece to send on or, once per stream, an `Ending`. The work per piece is constant, except for a
        few pieces."""
        if _NOTABLE(piece) is not None:
            if not self._over and (b"response.completed" in piece or b"response.incomplete" in piece):
                return self._end(piece)
            self._items.append(piece)
        if self._echo and b'"response"' in piece:
            return b"".join(self._echoed(frame) for frame in sse.cut(piece))
        return piece

    def _end(self, piece: bytes) -> bytes | Ending:
        before: list[bytes] = []
        frames = sse.cut(piece)
        for at, frame in enumerate(frames):
            frame = self._echoed(frame)
            event = _event(frame)
            if event is not None and event.type in ("response.completed", "response.incomplete"):
                self._over = True
                if any(b"response.output_item.done" in earlier for earlier in before):
                    self._items.append(b"".join(before))
                last = b"".join((frame, *frames[at + 1 :]))
                return Ending(b"".join(before), last, self._filled(response(event.response)))
            before.append(frame)
        if b"response.output_item.done" in piece:  # the name of the last event was part of a text
            self._items.append(piece)
        return b"".join(before)

    def _echoed(self, frame: bytes) -> bytes:
        if not self._echo or b'"response"' not in frame:
            return frame
        found = next(iter(sse.frames(frame)), None)
        if found is None:
            return frame
        try:
            fields = _OBJECT.decode(found.data)
        except reading.UNREADABLE:
            return frame
        if bytes(memoryview(fields.get("response", ABSENT))[:1]) != b"{":
            return frame
        data = _encode(fields | {"response": Raw(with_fields(fields["response"], self._echo))})
        if b"\n" in data or b"\r" in data:  # the upstream's JSON has line breaks
            data = msgspec.json.format(data, indent=-1)
        return sse.frame(data, found.event)

    def _filled(self, reply: StoredReply | None) -> StoredReply | None:
        """Adds the items of earlier events to a reply whose last event does not repeat them."""
        if reply is None or reply.output or not self._items:
            return reply
        events = [_event(frame) for piece in self._items for frame in sse.cut(piece)]
        output = [event.item for event in events if event is not None and event.type == "response.output_item.done"]
        body = with_fields(reply.body, {"output": Raw(b"[" + b",".join(output) + b"]")})
        return reply._replace(output=output, body=body)


def _event(frame: bytes) -> _Event | None:
    found = next(iter(sse.frames(frame)), None)
    if found is None:
        return None
    try:
        event = _EVENT.decode(found.data)
    except reading.UNREADABLE:
        return None
    if event.type is None:
        event.type = found.event
    return event


# --- chat ------------------------------------------------------------------------------------------


def completion_id(body: bytes) -> str | None:
    """The id of a chat completion, or of a chunk of one."""
    if body.startswith(b'{"id":"'):  # without a space, as many write it
        id_, quote, _ = body[7:300].partition(b'"')
        if quote and id_.replace(b"-", b"").isalnum():
            return id_.decode("ascii")
    leading = _LEADING_ID.match(body)
    if leading is not None:
        return leading.group(1).decode("ascii")
    try:
        return _ID.decode(body).id or None
    except reading.UNREADABLE:
        return None


class CompletionStream:
    """Collects the pieces of a chat stream as they pass, up to `limit` bytes.

    Attributes:
        pieces: the pieces so far; the earlier ones are dropped once the stream is too long.
        room: bytes that still fit.
        too_long: the stream did not fit.
    """

    __slots__ = ("_done", "pieces", "room", "too_long")

    def __init__(self, limit: int) -> None:
        self.pieces: list[bytes] = []
        self._done = False
        self.too_long = False
        self.room = limit

    def feed(self, piece: bytes) -> int:
        """Takes a piece and returns the offset in it at which the stream's last event begins, or -1."""
        self.room -= len(piece)
        if self.room < 0:
            self.too_long = True
            self.pieces.clear()
        self.pieces.append(piece)
        if piece.find(b"[DONE]", -16) >= 0 and piece.rstrip().endswith(b"[DONE]"):
            self._done = True
            return max(piece.rfind(b"data:"), 0)
        return -1

    def id(self) -> str | None:
        """The completion's id; None if the stream failed or had none."""
        if not self._succeeded():
            return None
        leading = _LEADING_ID.match(self.pieces[0])
        if leading is not None:
            return leading.group(1).decode("ascii")
        for piece in self.pieces[:64]:  # the first may hold comments, or Azure's filter results
            for frame in sse.frames(piece):
                found = completion_id(frame.data)
                if found is not None:
                    return found
        return None

    def _succeeded(self) -> bool:
        last = self.pieces[-4:]
        if self._done and not any(b"error" in piece for piece in last):
            return True
        end = CODECS["chat"].peek_stream(self.pieces[0], last) if last else None
        return end is not None and end.complete and not end.failed
