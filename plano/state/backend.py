"""The things that are stored, and the verbs that a backend must have.

A *turn* is one request with its reply. Turns point to the turn they continue, so they form trees: a
chain is the way from a tree's root to one of its turns, and two continuations of one id are two
branches. A *conversation* is the shape of `/v1/conversations`: a head that changes and an ordered
list of items that grows.

Limits per item, deadlines and the rules for ids are the same for all backends, so
`plano.state.store.Store` keeps them. Backends take the time as an argument. `Backend` documents every
verb; the four implementations have a docstring only where they add something.
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
"""The `kind` of a turn that was read from the table of katanemo's Plano. Its payload is a JSON array of items: the
whole history up to and including that response."""


class Turn(Struct, frozen=True, kw_only=True, gc=False):
    """One request and its reply, as stored.

    Attributes:
        id: the name that the client knows: the id of a response or of a chat completion.
        kind: the format of the payload. The store keeps it and does not interpret it.
        created: Unix seconds.
        payload: kept byte for byte.
        parent: the id of the turn that this one continues, or None. The store sets it.
        key: the store's own name for the row, if it needs one. The store sets it, and finds the row by it when the
            turn is passed to `put` as `after`.
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
    """Some items in the requested order; `more` says whether others follow."""

    items: list[Item]
    more: bool


class Place(Struct, frozen=True, gc=False):
    """The content of a turn's `key`: its tree, its row, and the payload bytes from the root down to it.

    Ids are not unique, because an upstream may use one again (Ollama draws from 999). Rows are unique, so chains are
    linked by row: a second turn under the same id never gets into chains that go through the first.
    """

    tree: str
    row: str
    size: int

    def __str__(self) -> str:
        return f"{self.tree}:{self.row}:{self.size}"

    @classmethod
    def parse(cls, key: str) -> Place:
        """Reads a `key`; raises ValueError if it is not one."""
        tree, row, size = key.split(":")
        return cls(tree, row, int(size))


class Backend(Protocol):
    """The interface that each of the four stores implements.

    `now` and `expires` are Unix seconds, sizes are bytes. Turns and conversations that have expired are not found,
    whether they were pruned or not. A tenant finds only its own.

    Every verb may raise one of `failures`, or StateUnreadable where the backend cannot decode a row.

    Attributes:
        name: the store's type in the configuration.
        shared: whether several processes see the same state through it.
        prunes: whether expired rows have to be removed by `prune`.
        failures: the exceptions that mean "not reachable" or "not working", as opposed to a bug in plano.
    """

    name: ClassVar[str]
    shared: ClassVar[bool]
    prunes: ClassVar[bool]
    failures: ClassVar[tuple[type[Exception], ...]]

    async def get_chain(self, tenant: str, id: str, *, now: float, limit: int) -> list[Turn]:
        """Returns the turns that lead to `id`, oldest first; empty when `id` is not found.

        The chain goes back as far as its rows exist: where a turn was deleted, it begins after that one.

        Raises:
            TooLarge: the payloads add up to more than `limit` bytes.
        """

    async def get(self, tenant: str, id: str, *, now: float) -> Turn | None:
        """Returns the turn that `id` leads to, or None."""

    async def put(self, tenant: str, turn: Turn, after: Turn | None, *, now: float, expires: float) -> Turn:
        """Stores a turn, makes its id lead to it, and keeps its tree until `expires`.

        Args:
            tenant: the owner.
            turn: the turn; its `key` is ignored.
            after: the turn that it continues, as this backend returned it, or None for the first of a new tree.
            now: the time of the call.
            expires: the time from which it is not found any more.

        Returns:
            The turn with its `key`.
        """

    async def delete(self, tenant: str, id: str, *, now: float) -> bool:
        """Removes one turn and leaves those that continue it; False when it is not found."""

    async def create_conversation(
        self, tenant: str, id: str, head: bytes, items: Sequence[Item], *, now: float, expires: float
    ) -> bool:
        """Stores a conversation with its first items. Changes nothing and returns False when the id is taken."""

    async def get_conversation(self, tenant: str, id: str, *, now: float) -> bytes | None:
        """Returns a conversation's head, or None."""

    async def update_conversation(self, tenant: str, id: str, head: bytes, *, now: float, expires: float) -> bool:
        """Replaces a conversation's head and keeps it until `expires`; False when it is not found."""

    async def delete_conversation(self, tenant: str, id: str, *, now: float) -> bool:
        """Removes a conversation with its items; False when it is not found."""

    async def append_items(
        self, tenant: str, id: str, items: Sequence[Item], *, now: float, expires: float, limit: int
    ) -> bool:
        """Adds all items at the end, or none of them; False when the conversation is not found.

        Raises:
            TooLarge: the conversation's payloads would add up to more than `limit` bytes.
        """

    async def list_items(
        self, tenant: str, id: str, *, limit: int, after: str | None, order: Order, now: float
    ) -> Page | None:
        """Returns up to `limit` items, beginning after the item `after`; None when the conversation is not found.

        Raises:
            InvalidRequest: no item is called `after`.
        """

    async def get_item(self, tenant: str, id: str, item: str, *, now: float) -> Item | None:
        """Returns the latest item of a conversation that is called `item`, or None."""

    async def delete_item(self, tenant: str, id: str, item: str, *, now: float) -> bool:
        """Removes every item of a conversation that is called `item`; False when there is none."""

    async def prune(self, *, now: float) -> int:
        """Removes a bounded number of expired trees and conversations.

        Returns:
            How many it removed; 0 when none is left.
        """

    def renew(self) -> None:
        """Stops using the connections that are open now, because one of them leads to a server that is frozen or is not
        the primary. Those at work finish first."""

    async def ping(self) -> None:
        """Writes something small that no tenant finds and that does not accumulate.

        It is a write because a server that can only be read would answer a read.
        """

    async def aclose(self) -> None:
        """Closes the connections. The memory store forgets everything."""


@contextmanager
def readable(id: str) -> Iterator[None]:
    """Wraps the decoding of the bytes stored under `id`.

    Raises:
        StateUnreadable: they are not in the form that the backend writes.
    """
    try:
        yield
    except (msgspec.MsgspecError, ValueError, TypeError, IndexError) as error:
        raise StateUnreadable(id) from error


def chain_too_large(size: int, limit: int) -> TooLarge:
    """The error for a chain of `size` bytes."""
    return TooLarge(
        f"The stored conversation is {size} bytes long; the gateway continues at most {limit} bytes.",
        code="conversation_too_large",
        param="previous_response_id",
    )


def conversation_too_large(size: int, limit: int) -> TooLarge:
    """The error for a conversation that would grow to `size` bytes."""
    return TooLarge(
        f"The conversation would be {size} bytes long with these items; the gateway keeps at most {limit} bytes.",
        code="conversation_too_large",
    )


def no_such_item(id: str) -> InvalidRequest:
    """The error for a list that is to begin after an unknown item."""
    return InvalidRequest(f"No item with id '{id[:200]}' in this conversation.", param="after")


def total(items: Sequence[Item]) -> int:
    """The payload bytes of all items."""
    return sum(len(item.payload) for item in items)
