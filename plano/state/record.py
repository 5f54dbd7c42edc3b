"""What a turn's payload holds: who answered, what was asked, and the reply, both as they were on the wire.

A payload is one line of JSON, the `Head`, and then the bytes of the request and of the reply, one after the
other. Nothing is parsed to write it; most turns are never read.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Raw, Struct

from plano.dialects import reading
from plano.errors import StateUnreadable
from plano.state.backend import IMPORTED, Item, Turn
from plano.types import UpstreamDialect

Kind: TypeAlias = Literal["chat", "responses", "imported_items", "deleted"]

DELETED = "deleted"
"""The `kind` of a turn that was deleted. Its id stays known, so that no upstream is asked for it."""


_DAMAGED = (*reading.UNREADABLE, TypeError)
"""How reading fails. TypeError: SQLite keeps text where somebody wrote text."""


class Origin(Struct, frozen=True, array_like=True, gc=False):
    """Who wrote something.

    Attributes:
        entry: the configured entry that answered, "" for nobody.
        dialect: what the upstream was spoken to in.
        kept: the upstream keeps it too, and knows its ids.
    """

    entry: str = ""
    dialect: UpstreamDialect = "chat"
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
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_ANY = msgspec.json.Decoder(Raw)
_head = msgspec.json.Decoder(Head)
_origin = msgspec.json.Decoder(Origin)


def pack(head: Head, asked: bytes | Raw, *reply: bytes | Raw) -> bytes:
    """The payload; `head.asked` must be the length of `asked`."""
    return b"".join((_encode(head), b"\n", asked, *reply))


def kind_of(turn: Turn) -> Kind:
    """A turn's kind, which is known without reading its payload."""
    if turn.kind == IMPORTED:
        return "imported_items"
    if turn.kind == DELETED:
        return "deleted"
    return "chat" if turn.kind == "chat" else "responses"


def read(turn: Turn) -> Record:
    """The record in a turn's payload.

    Raises:
        StateUnreadable: the payload is not one that was packed here. Whether it holds JSON is for `intact` to say.
    """
    kind = kind_of(turn)
    if kind == "imported_items":
        return Record(turn.id, kind, Head(NOBODY), turn.payload, b"")
    if kind == "deleted":
        return Record(turn.id, kind, Head(NOBODY), b"", b"")
    try:
        line, _, rest = turn.payload.partition(b"\n")
        head = _head.decode(line)
    except _DAMAGED as error:
        raise StateUnreadable(turn.id) from error
    asked, reply = rest[: head.asked], rest[head.asked :]
    if not 0 <= head.asked <= len(rest) or not (_is_text(asked) and (head.streamed or _is_text(reply))):
        raise StateUnreadable(turn.id)
    return Record(turn.id, kind, head, asked, reply)


def intact(record: Record) -> bool:
    """Whether request and reply are JSON, as they were when they were stored."""
    whole = [record.asked] if record.asked else []
    if record.reply and not record.head.streamed:
        whole.append(record.reply)
    return all(reading.maybe(_ANY, part) is not None for part in whole)


def _is_text(given: bytes) -> bool:
    """JSON that is only skipped is not checked for it, and goes on to where it is."""
    try:
        return given.isascii() or bool(given.decode())
    except UnicodeDecodeError:
        return False


def pack_item(id: str, origin: Origin, item: bytes | Raw) -> Item:
    """An item of a conversation, with a line that says who wrote it."""
    return Item(id, b"".join((_encode(origin), b"\n", item)))


def read_item(item: Item) -> tuple[Origin, Raw]:
    """Who wrote an item, and the item.

    Raises:
        StateUnreadable: it is none.
    """
    try:
        line, _, rest = item.payload.partition(b"\n")
        rest.decode()
        _OBJECT.decode(rest)
        return _origin.decode(line), Raw(rest)
    except _DAMAGED as error:
        raise StateUnreadable(item.id) from error
