"""What a turn's payload holds: who answered, what was asked, and the reply, both as they were on the wire.

A payload is one line of JSON, the `Head`, and then the bytes of the request and of the reply, one after the
other. Nothing is parsed to write it; most turns are never read.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Raw, Struct

from plano.state.backend import IMPORTED, Item, Turn
from plano.types import Dialect

Kind: TypeAlias = Literal["chat", "responses", "imported_items", "deleted"]

DELETED = "deleted"
"""The `kind` of a turn that was deleted. Its id stays known, so that no upstream is asked for it."""


class Origin(Struct, frozen=True, array_like=True, gc=False):
    """Who wrote something.

    Attributes:
        entry: the configured entry that answered, "" for nobody.
        dialect: what the upstream was spoken to in.
        kept: the upstream keeps it too, and knows its ids.
    """

    entry: str = ""
    dialect: Dialect = "chat"
    kept: bool = False


NOBODY = Origin()


class Head(Struct, frozen=True, array_like=True, gc=False):
    """`asked` is the length of the request in bytes; `conversation` the one that the turn is part of."""

    origin: Origin
    asked: int = 0
    streamed: bool = False
    conversation: str | None = None


class Record(NamedTuple):
    """A turn as it was stored.

    Attributes:
        kind: `chat`: `asked` is the body of a chat completion's request, `reply` that of its answer, or all
            of its stream. `responses`: `asked` is the `input`, `reply` the Response object.
            `imported_items`: `asked` is a list of items, the whole history; there is no reply.
            `deleted`: nothing.
    """

    id: str
    kind: Kind
    head: Head
    asked: bytes
    reply: bytes

    @property
    def origin(self) -> Origin:
        return self.head.origin


_encode = msgspec.json.Encoder().encode
_head = msgspec.json.Decoder(Head)
_origin = msgspec.json.Decoder(Origin)


def pack(head: Head, asked: bytes | Raw, *reply: bytes | Raw) -> bytes:
    """The payload; `head.asked` must be the length of `asked`."""
    return b"".join((_encode(head), b"\n", asked, *reply))


def read(turn: Turn) -> Record:
    """The record in a turn's payload."""
    if turn.kind == IMPORTED:
        return Record(turn.id, "imported_items", Head(NOBODY), turn.payload, b"")
    if turn.kind == DELETED:
        return Record(turn.id, "deleted", Head(NOBODY), b"", b"")
    line, _, rest = turn.payload.partition(b"\n")
    head = _head.decode(line)
    kind: Kind = "chat" if turn.kind == "chat" else "responses"
    return Record(turn.id, kind, head, rest[: head.asked], rest[head.asked :])


def pack_item(id: str, origin: Origin, item: bytes | Raw) -> Item:
    """An item of a conversation, with a line that says who wrote it."""
    return Item(id, b"".join((_encode(origin), b"\n", item)))


def read_item(item: Item) -> tuple[Origin, Raw]:
    line, _, rest = item.payload.partition(b"\n")
    return _origin.decode(line), Raw(rest)
