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
"""Bytes counted for an entry besides its payload: its objects and its places in dictionaries. Measured with
`tracemalloc`, a first turn takes 630 to 710, depending on how full the dictionaries are; a continuation takes 400 to
500."""

TENANT = 640
"""Bytes counted for each tenant besides its entries. Measured: 545 where each tenant holds one turn."""

DROPS_AT_ONCE = 200
"""The most expired entries that one step drops, so that no request waits for long."""


class _Row(Turn, frozen=True, gc=False):
    """A turn, with the numbers that lead to the others of its chain.

    They are numbers and not references because Python frees a long chain of references by recursion, which crashes
    the process at some depth.

    Attributes:
        name: tenant and id.
        tree: the key of its tree.
        place: its own index in the tree's rows.
        before: the index of the turn that it continues; None where there is none, or where that one was dropped.
        chain: payload bytes from the root down to it.
        expires: Unix seconds.
    """

    name: tuple[str, str]
    tree: int
    place: int
    before: int | None
    chain: int
    expires: float


class _Tree(Struct, gc=False):
    """The turns that share a root. A tree is kept or dropped whole, because a chain without its beginning is
    useless."""

    tenant: str
    key: int
    rows: list[_Row | None]
    size: int = 0
    expires: float = 0.0


class _Conversation:
    """A conversation's head and items. `payload` counts the items' payloads; `size` is all that counts as used."""

    __slots__ = ("expires", "head", "items", "key", "last", "name", "numbers", "payload", "size", "tenant")

    def __init__(self, key: int, name: tuple[str, str], head: bytes) -> None:
        self.key = key
        self.name = name
        self.tenant = name[0]
        self.head = head
        self.items: dict[int, Item] = {}  # by number; numbers only grow, so this is the order of the list
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
    """The entries of one tenant, least recently written first. All have the same ttl, so they also expire in this
    order.

    Attributes:
        noted: the bytes under which the ranking lists it; never less than `size`.
    """

    __slots__ = ("entries", "noted", "size")

    def __init__(self) -> None:
        self.entries: OrderedDict[int, _Tree | _Conversation] = OrderedDict()
        self.size = 0
        self.noted = 0


class _Ranking:
    """Finds the tenant that holds the most.

    A heap keeps the highest size that each tenant has had; a place in it is corrected when it comes to the top.
    """

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
            if tenant is None or -noted != tenant.noted:  # it is gone, or has a newer place in the heap
                heappop(self._heap)
            elif tenant.noted > tenant.size:
                tenant.noted = tenant.size
                heapreplace(self._heap, (-tenant.noted, name))
            else:
                return name

    def second(self) -> str:
        """The tenant after the first."""
        first, aside = self.first(), []
        while self.first() == first:
            aside.append(heappop(self._heap))
        name = self.first()
        for each in aside:
            heappush(self._heap, each)
        return name


class MemoryBackend:
    """State in dictionaries, bounded by bytes.

    When the store is full, the tenant that holds the most loses the trees and conversations that it wrote to longest
    ago. So a tenant that floods the store loses its own turns and not those of others.

    Args:
        max_bytes: the bound for all tenants together: payloads, and `OVERHEAD` for each entry. Where there are several
            tenants, one conversation takes at most half of it.
    """

    name: ClassVar[str] = "memory"
    shared: ClassVar[bool] = False
    prunes: ClassVar[bool] = True
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
        """Does the same as `put`, without being awaited."""
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

    def renew(self) -> None:
        return  # there are no connections

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
        """Returns the turn if the store still has it, else None: it may have been deleted or dropped while its
        continuation was under way."""
        assert isinstance(turn, _Row), "a turn continues one that this store gave"
        tenant = self._tenants.get(turn.name[0])
        tree = None if tenant is None else tenant.entries.get(turn.tree)
        rows = tree.rows[turn.place : turn.place + 1] if isinstance(tree, _Tree) else ()
        return turn if any(row is turn for row in rows) else None

    def _keep(self, entry: _Tree | _Conversation, growth: int, expires: float) -> None:
        """Makes an entry its tenant's newest and makes room for its growth.

        Expired entries need no special treatment: all have the same ttl, so they are the oldest and go first.

        Raises:
            TooLarge: the entry would take more than the store has for one.
        """
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
        """The oldest entry of the tenant that holds the most. `kept` is spared, because its client is about to use
        it."""
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
        """Drops an entry and the names that lead to it."""
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
