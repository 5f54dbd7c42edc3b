"""The content of a turn's payload: who answered, and the request and the reply as they were on the wire.

A payload is one line of JSON, the `Head`, followed by the bytes of the request and then those of the reply. Nothing is
parsed to write it, because most turns are never read.
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
"""The errors of reading a damaged payload. TypeError: SQLite returns text where another program wrote text."""


class Origin(Struct, frozen=True, array_like=True, gc=False):
    """The author of a stored turn or item.

    Attributes:
        entry: the configured entry that answered; "" where no upstream did.
        dialect: the upstream's dialect.
        kept: the upstream stores it too, and knows its ids.
    """

    entry: str = ""
    dialect: UpstreamDialect = "chat"
    kept: bool = False


NOBODY = Origin()


class Head(Struct, frozen=True, array_like=True, gc=False):
    """The first line of a payload.

    Attributes:
        origin: the target that answered.
        asked: the length of the request in bytes.
        streamed: the reply is a stream.
        conversation: the id of the conversation that the turn belongs to, or None.
    """

    origin: Origin
    asked: int = 0
    streamed: bool = False
    conversation: str | None = None


class Record(NamedTuple):
    """A turn, taken apart.

    Attributes:
        id: the turn's.
        kind: says what `asked` and `reply` are.
            `chat`: the body of a chat completion's request; the body of its answer, or its whole stream.
            `responses`: the `input`; the Response object.
            `imported_items`: a list of items, the whole history; empty.
            `deleted`: both empty.
        head: the payload's first line.
        asked: the request.
        reply: the answer.
    """

    id: str
    kind: Kind
    head: Head
    asked: bytes
    reply: bytes

    @property
    def origin(self) -> Origin:
        """The author of the reply."""
        return self.head.origin


_encode = msgspec.json.Encoder().encode
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_ANY = msgspec.json.Decoder(Raw)
_head = msgspec.json.Decoder(Head)
_origin = msgspec.json.Decoder(Origin)


def pack(head: Head, asked: bytes | Raw, *reply: bytes | Raw) -> bytes:
    """Joins the parts of a payload; `head.asked` must be the length of `asked`."""
    return b"".join((_encode(head), b"\n", asked, *reply))


def kind_of(turn: Turn) -> Kind:
    """The kind of a turn, known without reading its payload."""
    if turn.kind == IMPORTED:
        return "imported_items"
    if turn.kind == DELETED:
        return "deleted"
    return "chat" if turn.kind == "chat" else "responses"


def read(turn: Turn) -> Record:
    """The record in a turn's payload.

    Raises:
        StateUnreadable: the payload was not made by `pack`. `intact` checks whether its parts are JSON.
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
    """Whether request and reply are still JSON, as they were when they were stored."""
    whole = [record.asked] if record.asked else []
    if record.reply and not record.head.streamed:
        whole.append(record.reply)
    return all(reading.maybe(_ANY, part) is not None for part in whole)


def _is_text(given: bytes) -> bool:
    """Whether bytes are UTF-8. msgspec does not check this in the values that it skips or passes on raw, and
    upstreams would get them."""
    try:
        return given.isascii() or bool(given.decode())
    except UnicodeDecodeError:
        return False


def pack_item(id: str, origin: Origin, item: bytes | Raw) -> Item:
    """Makes an item of a conversation whose payload begins with a line that names its author."""
    return Item(id, b"".join((_encode(origin), b"\n", item)))


def read_item(item: Item) -> tuple[Origin, Raw]:
    """Returns an item's author and the item itself.

    Raises:
        StateUnreadable: the payload was not made by `pack_item`.
    """
    try:
        line, _, rest = item.payload.partition(b"\n")
        rest.decode()
        _OBJECT.decode(rest)
        return _origin.decode(line), Raw(rest)
    except _DAMAGED as error:
        raise StateUnreadable(item.id) from error
