"""State in this process's memory: the default, gone with the process."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import count
from math import inf
from typing import ClassVar

from msgspec import Struct, structs

from plano.errors import TooLarge
from plano.state.backend import (
    Item,
    Order,
    Page,
    Place,
    Turn,
    chain_too_large,
    conversation_too_large,
    no_such_item,
    total,
)

OVERHEAD = 1024
"""Bytes reckoned for an entry beside its payload: the objects and the places in the dictionaries."""

DROPS_AT_ONCE = 200
"""Expired entries dropped in one go, so that no request waits for long."""


class _Row(Struct, frozen=True, gc=False):
    tenant: str
    turn: Turn
    parent: str | None
    expires: float


class _Tree:
    """The turns that share a root. Whole trees are kept or dropped: a chain without its beginning is of no use."""

    __slots__ = ("expires", "rows", "size")

    def __init__(self) -> None:
        self.rows: dict[str, _Row] = {}
        self.size = 0
        self.expires = 0.0


class _Conversation:
    __slots__ = ("expires", "head", "items", "last", "name", "numbers", "payload", "size")

    def __init__(self, name: tuple[str, str], head: bytes) -> None:
        self.name = name
        self.head = head
        self.items: dict[int, Item] = {}  # by number; numbers grow, so the order is that of the list
        self.numbers: dict[str, list[int]] = {}
        self.last = 0
        self.payload = 0
        self.size = 0
        self.expires = 0.0

    def append(self, items: Sequence[Item]) -> None:
        for item in items:
            self.last += 1
            self.items[self.last] = item
            self.numbers.setdefault(item.id, []).append(self.last)
        self.payload += total(items)

    def remove(self, id: str) -> list[Item]:
        removed = [self.items.pop(number) for number in self.numbers.pop(id, ())]
        self.payload -= total(removed)
        return removed

    def page(self, limit: int, after: str | None, order: Order) -> Page:
        numbers = list(self.items)
        if after is not None:
            if after not in self.numbers:
                raise no_such_item(after)
            place = bisect_left(numbers, self.numbers[after][-1])
            numbers = numbers[place + 1 :] if order == "asc" else numbers[:place]
        if order == "desc":
            numbers.reverse()
        return Page([self.items[number] for number in numbers[:limit]], len(numbers) > limit)


class MemoryBackend:
    """Bounded by bytes: what was written to longest ago goes first, tree by tree.

    Args:
        max_bytes: payloads and a share for each entry, all tenants together.
    """

    name: ClassVar[str] = "memory"
    shared: ClassVar[bool] = False
    failures: ClassVar[tuple[type[Exception], ...]] = ()

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._count = count(1)
        # Least recently written first; with one ttl for all, that is also the order of expiry.
        self._entries: OrderedDict[str, _Tree | _Conversation] = OrderedDict()
        self._turns: dict[tuple[str, str], Place] = {}
        self._conversations: dict[tuple[str, str], str] = {}

    async def get_chain(self, tenant: str, id: str, *, now: float, limit: int) -> list[Turn]:
        found = self._find(tenant, id, now)
        if found is None:
            return []
        tree, place = found
        if place.size > limit:
            raise chain_too_large(place.size, limit)
        chain = [row.turn for row in _upwards(tree, place.row)]
        chain.reverse()
        return chain

    async def get(self, tenant: str, id: str, *, now: float) -> Turn | None:
        found = self._find(tenant, id, now)
        return found[0].rows[found[1].row].turn if found else None

    async def put(self, tenant: str, turn: Turn, after: Turn | None, *, now: float, expires: float) -> str:
        row, size = str(next(self._count)), len(turn.payload)
        parent = Place.parse(after.key) if after else None
        place = Place(parent.tree, row, parent.size + size) if parent else Place(row, row, size)
        entry = self._entries.get(place.tree) if parent else None
        tree = entry if isinstance(entry, _Tree) else _Tree()
        self._make_room(place.tree, tree.size + size + OVERHEAD, now)
        turn = structs.replace(turn, key=str(place))
        tree.rows[row] = _Row(tenant, turn, parent.row if parent else None, expires)
        self._turns[tenant, turn.id] = place
        self._keep(place.tree, tree, size + OVERHEAD, expires)
        return turn.key

    async def delete(self, tenant: str, id: str, *, now: float) -> bool:
        found = self._find(tenant, id, now)
        if found is None:
            return False
        tree, place = found
        row = tree.rows.pop(place.row)
        del self._turns[tenant, id]
        self._resize(tree, -len(row.turn.payload) - OVERHEAD)
        if not tree.rows:
            self._drop(place.tree)
        return True

    async def create_conversation(
        self, tenant: str, id: str, head: bytes, items: Sequence[Item], *, now: float, expires: float
    ) -> bool:
        if self._find_conversation(tenant, id, now) is not None:
            return False
        if (tenant, id) in self._conversations:  # it has expired
            self._drop(self._conversations[tenant, id])
        key = f"c{next(self._count)}"
        conversation = _Conversation((tenant, id), head)
        size = OVERHEAD + len(head) + _weight(items)
        self._make_room(key, size, now)
        conversation.append(items)
        self._conversations[tenant, id] = key
        self._keep(key, conversation, size, expires)
        return True

    async def get_conversation(self, tenant: str, id: str, *, now: float) -> bytes | None:
        conversation = self._find_conversation(tenant, id, now)
        return conversation.head if conversation else None

    async def update_conversation(self, tenant: str, id: str, head: bytes, *, now: float, expires: float) -> bool:
        conversation = self._find_conversation(tenant, id, now)
        if conversation is None:
            return False
        key, growth = self._conversations[tenant, id], len(head) - len(conversation.head)
        self._make_room(key, conversation.size + growth, now)
        conversation.head = head
        self._keep(key, conversation, growth, expires)
        return True

    async def delete_conversation(self, tenant: str, id: str, *, now: float) -> bool:
        if self._find_conversation(tenant, id, now) is None:
            return False
        self._drop(self._conversations[tenant, id])
        return True

    async def append_items(
        self, tenant: str, id: str, items: Sequence[Item], *, now: float, expires: float, limit: int
    ) -> bool:
        conversation = self._find_conversation(tenant, id, now)
        if conversation is None:
            return False
        size = conversation.payload + total(items)
        if size > limit:
            raise conversation_too_large(size, limit)
        key, weight = self._conversations[tenant, id], _weight(items)
        self._make_room(key, conversation.size + weight, now)
        conversation.append(items)
        self._keep(key, conversation, weight, expires)
        return True

    async def list_items(
        self, tenant: str, id: str, *, limit: int, after: str | None, order: Order, now: float
    ) -> Page | None:
        conversation = self._find_conversation(tenant, id, now)
        if conversation is None:
            return None
        return conversation.page(limit, after, order)

    async def get_item(self, tenant: str, id: str, item: str, *, now: float) -> Item | None:
        conversation = self._find_conversation(tenant, id, now)
        if conversation is None or item not in conversation.numbers:
            return None
        return conversation.items[conversation.numbers[item][-1]]

    async def delete_item(self, tenant: str, id: str, item: str, *, now: float) -> bool:
        conversation = self._find_conversation(tenant, id, now)
        removed = conversation.remove(item) if conversation else []
        if conversation is not None:
            self._resize(conversation, -_weight(removed))
        return bool(removed)

    async def prune(self, *, now: float) -> int:
        removed = 0
        while removed < DROPS_AT_ONCE and self._drop_first("", now):
            removed += 1
        return removed

    async def ping(self) -> None:
        return

    async def aclose(self) -> None:
        self._entries.clear()
        self._turns.clear()
        self._conversations.clear()
        self._size = 0

    def _find(self, tenant: str, id: str, now: float) -> tuple[_Tree, Place] | None:
        place = self._turns.get((tenant, id))
        if place is None:
            return None
        tree = self._entries[place.tree]
        assert isinstance(tree, _Tree), "a turn's place names a tree"
        return (tree, place) if tree.rows[place.row].expires > now else None

    def _find_conversation(self, tenant: str, id: str, now: float) -> _Conversation | None:
        key = self._conversations.get((tenant, id))
        if key is None:
            return None
        conversation = self._entries[key]
        assert isinstance(conversation, _Conversation), "a conversation's key names a conversation"
        return conversation if conversation.expires > now else None

    def _make_room(self, key: str, size: int, now: float) -> None:
        """Drops what has expired, then the least recently written, until entry `key` can be `size` bytes."""
        if size > self._max_bytes:
            raise TooLarge(
                f"The conversation would take {size} bytes; the gateway's memory store holds {self._max_bytes} in all.",
                code="conversation_too_large",
            )
        mine = self._entries.get(key)
        spare = self._max_bytes - size
        if mine is not None:
            self._entries.move_to_end(key)
            spare += mine.size
        dropped = 0
        while dropped < DROPS_AT_ONCE and self._drop_first(key, now):
            dropped += 1
        while self._size > spare and self._drop_first(key):
            continue

    def _keep(self, key: str, entry: _Tree | _Conversation, growth: int, expires: float) -> None:
        entry.expires = max(entry.expires, expires)
        self._entries[key] = entry
        self._entries.move_to_end(key)
        self._resize(entry, growth)

    def _resize(self, entry: _Tree | _Conversation, growth: int) -> None:
        entry.size += growth
        self._size += growth

    def _drop_first(self, keep: str, now: float = inf) -> bool:
        """Drops the least recently written entry, if it expired before `now` and is not `keep`."""
        name, entry = next(iter(self._entries.items()), (keep, None))
        if entry is None or name == keep or entry.expires > now:
            return False
        self._drop(name)
        return True

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key)
        self._size -= entry.size
        if isinstance(entry, _Conversation):
            if self._conversations.get(entry.name) == key:
                del self._conversations[entry.name]
            return
        for row in entry.rows.values():
            name = (row.tenant, row.turn.id)
            place = self._turns.get(name)
            if place is not None and str(place) == row.turn.key:
                del self._turns[name]


def _upwards(tree: _Tree, name: str | None) -> Iterator[_Row]:
    while name is not None and (row := tree.rows.get(name)) is not None:
        yield row
        name = row.parent


def _weight(items: Sequence[Item]) -> int:
    return total(items) + OVERHEAD * len(items)
