"""Puts the mark of a server in front of the seals in its replies; see `plano.dialects.signatures`.

In a stream the input of a tool is text, so a field of it cannot be taken for a seal. In a whole reply it is an object,
so only the blocks of thinking are looked at there.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

from plano.dialects import reading
from plano.dialects.fields import OBJECT, RAWS, STRING, raw_of

_BEFORE_SEAL = re.compile(rb'"signature"\s*:\s*"(?!")|"type"\s*:\s*"redacted_thinking"\s*,\s*"data"\s*:\s*"(?!")')
_THOUGHTS = ("thinking", "redacted_thinking")


def mark_seals(piece: bytes, mark: bytes) -> bytes:
    """See `plano.dialects.codec.ClientCodec`."""
    if _BEFORE_SEAL.search(piece) is None:
        return piece
    reply = reading.maybe(OBJECT, piece)
    if reply is None:
        return _marked(piece, mark)
    blocks = reading.maybe(RAWS, reply.get("content", Raw(b"[]"))) or []
    content = [Raw(_marked(bytes(block), mark)) if _kind_of(block) in _THOUGHTS else block for block in blocks]
    return msgspec.json.encode(reply | {"content": raw_of(content)})


def _kind_of(block: Raw) -> str | None:
    fields = reading.maybe(OBJECT, block) or {}
    return reading.maybe(STRING, fields.get("type", Raw()))


def _marked(text: bytes, mark: bytes) -> bytes:
    return _BEFORE_SEAL.sub(lambda found: found[0] + mark, text)
