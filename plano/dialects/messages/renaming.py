"""Puts the name that a client asked for into the reply that it gets.

Claude Code compares the two names, and leaves the thinking of other models out of its later requests, also in the
middle of a tool loop. Some vendors refuse these requests then (public issues musistudio/claude-code-router#1629 and
farion1231/cc-switch#5578).

Strategy: `model` stands before the first object of a message and before every list that is not empty, so one regular
expression finds it at the reply's beginning. Only the bytes of the name are replaced. A reply in another order is taken
apart into its fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
from msgspec import Raw

from plano.dialects import reading
from plano.dialects.codec import Renaming
from plano.dialects.fields import OBJECT, STRING, Object, raw_of
from plano.frames import sse

_FLAT = rb"[^{}\[\]]*?(?:\[\s*\][^{}\[\]]*?)?"
_NAME = rb'(?<!\\)"model"\s*:\s*("(?:[^"\\]|\\.)*")'
_IN_REPLY = re.compile(rb"\s*\{" + _FLAT + _NAME)
_IN_OPENING = re.compile(rb'data: ?\{"type": ?"message_start", ?"message": ?\{' + _FLAT + _NAME)


def _reply(name: str, body: bytes) -> bytes:
    found = _IN_REPLY.match(body)
    if found is not None:
        return _spliced(body, found, name)
    fields = reading.maybe(OBJECT, body)
    return body if fields is None else msgspec.json.encode(fields | {"model": raw_of(name)})


def _opening(name: str, piece: bytes) -> bytes | None:
    if piece.find(b"message_start") < 0:
        return None
    found = _IN_OPENING.search(piece)
    return _spliced(piece, found, name) if found is not None else b"".join(_frames(piece, name))


def _spliced(text: bytes, found: re.Match[bytes], name: str) -> bytes:
    new = msgspec.json.encode(name)
    return text if found[1] == new else b"".join((text[: found.start(1)], new, text[found.end(1) :]))


def _frames(piece: bytes, name: str) -> Iterator[bytes]:
    """The frames of a piece, with the name in each `message_start`."""
    for block in sse.cut(piece):
        for frame in sse.frames(block):
            event = reading.maybe(OBJECT, frame.data) or {}
            message = reading.maybe(OBJECT, event.get("message", Raw()))
            if message is not None and _type_of(event) == "message_start":
                renamed = event | {"message": raw_of(message | {"model": raw_of(name)})}
                block = sse.frame(msgspec.json.encode(renamed), frame.event)
        yield block


def _type_of(event: Object) -> str | None:
    return reading.maybe(STRING, event.get("type", Raw()))


renaming = Renaming(_reply, _opening)
"""See `plano.dialects.codec.ClientCodec`."""
