"""State in this process's memory: the default, gone with the process."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import ClassVar

from msgspec import Struct

from plano.errors import TooLarge
from plano.state.backend import (
    Item,
    Order,
    Page,
    Turn,
    chain_too_large,
    conversation_too_large,
    no_such_item,
    total,
)

OVERHEAD = 768
"""Bytes reckoned for an entry beside its payload: the objects and the places in the dictionaries. A first turn takes
630 to 710 (`tracemalloc`; how full the dictionaries are), one that continues another 400 to 500."""

TENANT = 640
"""Bytes reckoned for a tenant that holds something, beside what it holds: 545 where each holds one turn."""

DROPS_AT_ONCE = 200
"""Expired entries dropped in one go, so that no request waits for long."""


class _Row(Turn, frozen=True, gc=False):
    """A turn, and the way from it to the others of its chain: by numbers, since rows that held one another would be
    freed by recursion, which has a depth where the process ends.

    Attributes:
        name: tenant and id.
        tree: the key of its tree.
        place: its own in the tree.
        before: the place of the turn that it continues, or None if there is none, or none any more.
        chain: payload bytes from the root down to it.
    """

    name: tuple[str, str]
    tree: int
    place: int
    before: int | None
    chain: int
    expires: float


class _Tree(Struct, gc=False):
    """The turns that share a root. Whole trees are kept or dropped: a chain without its beginning is of no use."""

    tenant: str
    key: int
    rows: list[_Row | None]
    size: int = 0
    expires: float = 0.0


class _Conversation:
    __slots__ = ("expires", "head", "items", "key", "last", "name", "numbers", "payload", "size", "tenant")

    def __init__(self, key: int, name: tuple[str, str], head: bytes) -> None:
        self.key = key
        self.name = name
        self.tenant = name[0]
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


class _Tenant:
    """What is kept of one tenant, least recently written first; with one ttl for all, that is the order of expiry.

    Attributes:
        noted: bytes that it stands in the ranking with; never less than `size`.
    """

    __slots__ = ("entries", "noted", "size")

    def __init__(self) -> None:
        self.entries: OrderedDict[int, _Tree | _Conversation] = OrderedDict()
        self.size = 0
        self.noted = 0


class _Ranking:
    """Which tenant holds the most: a heap of what each held when it held most, put right where it is looked at."""

    def __init__(self, tenants: dict[str, _Tenant]) -> None:
        self._tenants = tenants
        self._heap: list[tuple[int, str]] = []

    def grown(self, name: str, tenant: _Tenant) -> None:
        if tenant.size > tenant.noted:
            tenant.noted = tenant.size
            heappush(self._heap, (-tenant.noted, name))
            if len(self._heap) > 2 * len(self._tenants) + 64:
                self._heap = [(-each.noted, name) for name, each in self._tenants.items()]
                heapify(self._heap)

    def first(self) -> str:
        while True:
            noted, name = self._heap[0]
            tenant = self._tenants.get(name)
            if tenant is None or -noted != tenant.noted:  # gone, or put down again since
                heappop(self._heap)
            elif tenant.noted > tenant.size:
                tenant.noted = tenant.size
                heapreplace(self._heap, (-tenant.noted, name))
            else:
                return name

    def second(self) -> str:
        """The one after the first."""
        first, aside = self.first(), []
        while self.first() == first:
            aside.append(heappop(self._heap))
        name = self.first()
        for each in aside:
            heappush(self._heap, each)
        return name


class MemoryBackend:
    """Bounded by bytes. When it is full, the tenant that holds the most loses what it wrote to longest ago, tree by
    tree; so one that floods the store drops its own turns and not those of others.

    Args:
        max_bytes: payloads and a share for each entry, all tenants together. Where there are several, one conversation
            takes at most half.
    """

    name: ClassVar[str] = "memory"
    shared: ClassVar[bool] = False
    failures: ClassVar[tuple[type[Exception], ...]] = ()

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._count = count(1)
        self._tenants: dict[str, _Tenant] = {}
        self._ranking = _Ranking(self._tenants)
        self._turns: dict[tuple[str, str], _Row] = {}
        self._conversations: dict[tuple[str, str], _Conversation] = {}

    async def get_chain(self, tenant: str, id: str, *, now: float, limit: int) -> list[Turn]:
        row = self._find(tenant, id, now)
        if row is None:
            return []
        if row.chain > limit:
            raise chain_too_large(row.chain, limit)
        rows = self._tree(row).rows
        chain: list[Turn] = []
        while row is not None:
            chain.append(row)
            row = None if row.before is None else rows[row.before]
        chain.reverse()
        return chain

    async def get(self, tenant: str, id: str, *, now: float) -> Turn | None:
        return self._find(tenant, id, now)

    async def put(self, tenant: str, turn: Turn, after: Turn | None, *, now: float, expires: float) -> Turn:
        return self.keep(tenant, turn, after, expires)

    def keep(self, tenant: str, turn: Turn, after: Turn | None, expires: float) -> Turn:
        """What `put` does."""
        size = len(turn.payload)
        before = None if after is None else self._kept(after)
        tree = _Tree(tenant, next(self._count), []) if before is None else self._tree(before)
        row = _Row(
            (tenant, turn.id),
            tree.key,
            len(tree.rows),
            None if before is None else before.place,
            size if before is None else before.chain + size,
            expires,
            id=turn.id,
            kind=turn.kind,
            created=turn.created,
            payload=turn.payload,
            parent=turn.parent,
        )
        self._keep(tree, size + OVERHEAD, expires)
        tree.rows.append(row)
        self._turns[row.name] = row
        return row

    async def delete(self, tenant: str, id: str, *, now: float) -> bool:
        row = self._find(tenant, id, now)
        if row is None:
            return False
        tree = self._tree(row)
        tree.rows[row.place] = None
        del self._turns[row.name]
        self._resize(tree, -len(row.payload) - OVERHEAD)
        if not any(tree.rows):
            self._forget(tree)
        return True

    async def create_conversation(
        self, tenant: str, id: str, head: bytes, items: Sequence[Item], *, now: float, expires: float
    ) -> bool:
        if self._find_conversation(tenant, id, now) is not None:
            return False
        if (tenant, id) in self._conversations:  # it has expired
            self._forget(self._conversations[tenant, id])
        conversation = _Conversation(next(self._count), (tenant, id), head)
        self._keep(conversation, OVERHEAD + len(head) + _weight(items), expires)
        conversation.append(items)
        self._conversations[tenant, id] = conversation
        return True

    async def get_conversation(self, tenant: str, id: str, *, now: float) -> bytes | None:
        conversation = self._find_conversation(tenant, id, now)
        return conversation.head if conversation else None

    async def update_conversation(self, tenant: str, id: str, head: bytes, *, now: float, expires: float) -> bool:
        conversation = self._find_conversation(tenant, id, now)
        if conversation is None:
            return False
        self._keep(conversation, len(head) - len(conversation.head), expires)
        conversation.head = head
        return True

    async def delete_conversation(self, tenant: str, id: str, *, now: float) -> bool:
        conversation = self._find_conversation(tenant, id, now)
        if conversation is None:
            return False
        self._forget(conversation)
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
        self._keep(conversation, _weight(items), expires)
        conversation.append(items)
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
        for tenant in list(self._tenants.values()):
            while tenant.entries and removed < DROPS_AT_ONCE:
                oldest = next(iter(tenant.entries.values()))
                if oldest.expires > now:
                    break
                self._forget(oldest)
                removed += 1
        return removed

    async def ping(self) -> None:
        return

    async def aclose(self) -> None:
        self._tenants.clear()
        self._turns.clear()
        self._conversations.clear()
        self._size = 0

    def _find(self, tenant: str, id: str, now: float) -> _Row | None:
        row = self._turns.get((tenant, id))
        return row if row is not None and row.expires > now else None

    def _find_conversation(self, tenant: str, id: str, now: float) -> _Conversation | None:
        conversation = self._conversations.get((tenant, id))
        return conversation if conversation is not None and conversation.expires > now else None

    def _tree(self, row: _Row) -> _Tree:
        tree = self._tenants[row.name[0]].entries[row.tree]
        assert isinstance(tree, _Tree), "a row's key names a tree"
        return tree

    def _kept(self, turn: Turn) -> _Row | None:
        """The turn if it is still here: it may have been deleted or dropped while its continuation was under way."""
        assert isinstance(turn, _Row), "a turn continues one that this store gave"
        tenant = self._tenants.get(turn.name[0])
        tree = None if tenant is None else tenant.entries.get(turn.tree)
        rows = tree.rows[turn.place : turn.place + 1] if isinstance(tree, _Tree) else ()
        return turn if any(row is turn for row in rows) else None

    def _keep(self, entry: _Tree | _Conversation, growth: int, expires: float) -> None:
        """Makes an entry the last of its tenant's to go, and room for what it grows by.

        What has expired needs no look: with one ttl for all, it was written to longest ago."""
        tenant = self._tenants.get(entry.tenant)
        others = len(self._tenants) > (tenant is not None)
        size, most = entry.size + growth, self._max_bytes // 2 if others else self._max_bytes - TENANT
        if size > most:
            raise TooLarge(
                f"The conversation would take {size} bytes; the gateway's memory store holds {self._max_bytes} in all"
                f"{', and at most half of it for one of several tenants' if others else ''}.",
                code="conversation_too_large",
            )
        if tenant is None:
            tenant = self._tenants[entry.tenant] = _Tenant()
            self._size += TENANT
        entry.expires = expires
        tenant.entries[entry.key] = entry
        tenant.entries.move_to_end(entry.key)
        self._resize(entry, growth)
        self._ranking.grown(entry.tenant, tenant)
        while self._size > self._max_bytes:
            self._forget(self._next_to_go(entry))

    def _next_to_go(self, kept: _Tree | _Conversation) -> _Tree | _Conversation:
        """The oldest entry of the tenant that holds the most, but for `kept`, which its client is about to name."""
        name = self._ranking.first()
        oldest = next(iter(self._tenants[name].entries.values()))
        if oldest is not kept:
            return oldest
        return next(iter(self._tenants[self._ranking.second()].entries.values()))

    def _resize(self, entry: _Tree | _Conversation, growth: int) -> None:
        entry.size += growth
        self._tenants[entry.tenant].size += growth
        self._size += growth

    def _forget(self, entry: _Tree | _Conversation) -> None:
        """Drop an entry, and what leads to it."""
        self._resize(entry, -entry.size)
        tenant = self._tenants[entry.tenant]
        del tenant.entries[entry.key]
        if not tenant.entries:
            del self._tenants[entry.tenant]
            self._size -= TENANT
        if isinstance(entry, _Conversation):
            del self._conversations[entry.name]
            return
        for row in entry.rows:
            if row is not None and self._turns.get(row.name) is row:  # its id may lead to a later turn by now
                del self._turns[row.name]


def _weight(items: Sequence[Item]) -> int:
    return total(items) + sum(OVERHEAD + len(item.id.encode()) for item in items)
