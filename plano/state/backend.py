"""What is stored, and what a backend must be able to do.

A *turn* is one request with its reply. Turns point to the turn they continue, so they form trees: a
chain is the way from a tree's root to one of its turns, and two continuations of one id are two
branches. A *conversation* is the other shape, the one of `/v1/conversations`: a head that changes and
an ordered list of items that grows.

Backends know nothing of limits per item, deadlines, or what makes an id acceptable: that is
`plano.state.store.Store`, once for all of them. They take the time as an argument.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Literal, Protocol, TypeAlias

import msgspec
from msgspec import Struct

from plano.errors import InvalidRequest, StateUnreadable, TooLarge

Order: TypeAlias = Literal["asc", "desc"]

IMPORTED = "imported_items"
"""The `kind` of a turn read from the table of katanemo's Plano: the payload is a JSON array of items, the
whole history up to and including that response."""


class Turn(Struct, frozen=True, kw_only=True, gc=False):
    """One request and its reply, as stored.

    Attributes:
        id: what the client calls it: the id of a response or of a chat completion.
        kind: what the payload is, in the words of whoever wrote it; the store only keeps it.
        created: Unix seconds.
        payload: kept byte for byte.
        parent: the id of the turn that this one continues, or None. Set by the store.
        key: the store's own name for the row, if it needs one. Set by the store, which finds the turn by it in
            `put(after=...)`.
    """

    id: str
    kind: str
    created: float
    payload: bytes
    parent: str | None = None
    key: str = ""


class Item(Struct, frozen=True, gc=False):
    """One item of a conversation; the payload is kept byte for byte."""

    id: str
    payload: bytes


class Page(Struct, frozen=True):
    """Some items in the order asked for; `more` says whether others follow."""

    items: list[Item]
    more: bool


class Place(Struct, frozen=True, gc=False):
    """What a turn's `key` holds: its tree, its row, and the payload bytes from the root down to it.

    Ids are not unique: an upstream may use one again (Ollama draws from 999). Rows are, so chains are linked by
    row, and a second turn under a taken id never slips into the chains that went through the first.
    """

    tree: str
    row: str
    size: int

    def __str__(self) -> str:
        return f"{self.tree}:{self.row}:{self.size}"

    @classmethod
    def parse(cls, key: str) -> Place:
        tree, row, size = key.split(":")
        return cls(tree, row, int(size))


class Backend(Protocol):
    """What each of the four stores implements.

    `now` and `expires` are Unix seconds. What has expired is not found, whether it was pruned or not.

    Attributes:
        name: as in the configuration.
        shared: whether several processes see the same state through it.
        failures: the exceptions that mean "not reachable" or "not working", as opposed to a bug here.
    """

    name: ClassVar[str]
    shared: ClassVar[bool]
    failures: ClassVar[tuple[type[Exception], ...]]

    async def get_chain(self, tenant: str, id: str, *, now: float, limit: int) -> list[Turn]:
        """Oldest first, as far back as rows exist; TooLarge when the payloads exceed `limit` bytes."""

    async def get(self, tenant: str, id: str, *, now: float) -> Turn | None: ...

    async def put(self, tenant: str, turn: Turn, after: Turn | None, *, now: float, expires: float) -> Turn:
        """Stores the turn, makes its id lead to it, and keeps its tree until `expires`. Returns it as it is found."""

    async def delete(self, tenant: str, id: str, *, now: float) -> bool: ...

    async def create_conversation(
        self, tenant: str, id: str, head: bytes, items: Sequence[Item], *, now: float, expires: float
    ) -> bool:
        """False, and nothing is changed, when the id is taken."""

    async def get_conversation(self, tenant: str, id: str, *, now: float) -> bytes | None: ...

    async def update_conversation(self, tenant: str, id: str, head: bytes, *, now: float, expires: float) -> bool: ...

    async def delete_conversation(self, tenant: str, id: str, *, now: float) -> bool: ...

    async def append_items(
        self, tenant: str, id: str, items: Sequence[Item], *, now: float, expires: float, limit: int
    ) -> bool:
        """All or nothing. TooLarge when the conversation's payloads would exceed `limit` bytes."""

    async def list_items(
        self, tenant: str, id: str, *, limit: int, after: str | None, order: Order, now: float
    ) -> Page | None: ...

    async def get_item(self, tenant: str, id: str, item: str, *, now: float) -> Item | None: ...

    async def delete_item(self, tenant: str, id: str, item: str, *, now: float) -> bool: ...

    async def prune(self, *, now: float) -> int:
        """Removes a bounded number of expired trees and conversations; returns how many. 0: nothing left."""

    async def ping(self) -> None:
        """Writes a little that nobody finds: a server that can only read answers too. Nothing grows by it."""

    async def aclose(self) -> None: ...


@contextmanager
def readable(id: str) -> Iterator[None]:
    """Where a backend takes apart what it stored under `id`: raises StateUnreadable for what it did not store so."""
    try:
        yield
    except (msgspec.MsgspecError, ValueError, TypeError, IndexError) as error:
        raise StateUnreadable(id) from error


def chain_too_large(size: int, limit: int) -> TooLarge:
    return TooLarge(
        f"The stored conversation is {size} bytes long; the gateway continues at most {limit} bytes.",
        code="conversation_too_large",
        param="previous_response_id",
    )


def conversation_too_large(size: int, limit: int) -> TooLarge:
    return TooLarge(
        f"The conversation would be {size} bytes long with these items; the gateway keeps at most {limit} bytes.",
        code="conversation_too_large",
    )


def no_such_item(id: str) -> InvalidRequest:
    return InvalidRequest(f"No item with id '{id[:200]}' in this conversation.", param="after")


def total(items: Sequence[Item]) -> int:
    return sum(len(item.payload) for item in items)
