"""The store that filters use: one interface over four backends, with limits and deadlines."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from msgspec import structs

from plano.errors import InvalidRequest, StateUnreadable, StoreUnavailable, TooLarge
from plano.state.backend import Backend, Item, Order, Page, Turn, conversation_too_large, total
from plano.state.guard import Guard
from plano.state.memory import MemoryBackend

T = TypeVar("T")

LONGEST_ID = 512
"""Characters. OpenAI's ids have about 60, and no provider is known to make longer ones than this."""

WRITES = frozenset(("put", "create_conversation", "update_conversation", "append_items", "ping"))
"""The operations whose success proves that the store keeps what it is given."""

PRUNE_SECONDS = 60.0
"""Seconds between two runs of the pruning."""


class Store:
    """The turns and conversations of every tenant; no tenant ever finds another's.

    `plano.state.open_store` makes it; it connects on first use. "Not found" is an answer (None, False or an
    empty list) and not an error, because each route words it differently.

    Every operation is one round trip, with the exceptions listed in `docs/state.md`. Every operation may raise
    `StoreUnavailable` (503), within the deadline.

    Args:
        backend: keeps the state.
        ttl: seconds for which a turn is found after it was stored, and a conversation after its last change.
        max_item_bytes: the longest payload of a turn or an item.
        max_chain_bytes: the most that the payloads of a chain, or of a conversation, add up to.
        deadline: seconds for one operation, or None where nothing can hang.
        clock: Unix seconds.

    Attributes:
        at_once: turns are in this process's memory, so that `put_at_once` can store them.
        operations: counts of the operations, by name (the method's) and by whether the store answered.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        ttl: float,
        max_item_bytes: int,
        max_chain_bytes: int,
        deadline: float | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.max_item_bytes = max_item_bytes
        self.max_chain_bytes = max_chain_bytes
        self.at_once = isinstance(backend, MemoryBackend)
        self._backend = backend
        self._ttl = ttl
        self._deadline = deadline
        self._clock = clock
        self._guard = Guard(backend.name, backend.failures, deadline, renew=backend.renew)
        self._pruner: asyncio.Task[None] | None = None
        self.operations: defaultdict[tuple[str, bool], int] = defaultdict(int)

    @property
    def name(self) -> str:
        """`memory`, `sqlite`, `redis` or `postgres`."""
        return self._backend.name

    @property
    def shared(self) -> bool:
        """Whether several processes see the same state."""
        return self._backend.shared

    async def get_chain(self, tenant: str, id: str) -> list[Turn]:
        """The turns that lead to `id`, oldest first and its own last; their kinds may differ.

        Empty when the id is unknown, expired or another tenant's, and when a turn in the chain was deleted: half a
        conversation is never returned.

        Raises:
            TooLarge: the payloads add up to more than `max_chain_bytes`.
        """
        if not _storable(tenant, id):
            return []
        chain = await self._run(self._backend.get_chain(tenant, id, now=self._clock(), limit=self.max_chain_bytes))
        return chain if chain and chain[0].parent is None else []

    async def get(self, tenant: str, id: str) -> Turn | None:
        """The turn alone, even if its chain is not complete; None when it is not found."""
        if not _storable(tenant, id):
            return None
        return await self._run(self._backend.get(tenant, id, now=self._clock()))

    async def put(self, tenant: str, turn: Turn, *, after: Turn | None = None) -> Turn:
        """Stores a turn. When this returns, every process that uses the store finds it.

        From now on the id leads to this turn, even if another turn had it before; chains through that other turn
        stay as they were.

        Args:
            tenant: the owner.
            turn: the turn; `parent` and `key` are filled in here.
            after: the turn that it continues, which is the last one that `get_chain` returned; None for a first turn.

        Returns:
            The turn as stored.

        Raises:
            TooLarge: the payload is longer than `max_item_bytes`, or longer than the memory store holds.
            InvalidRequest: no store keeps this id, because it is empty, too long, or not text.
        """
        turn = self._acceptable(tenant, turn, after)
        now = self._clock()
        return await self._run(self._backend.put(tenant, turn, after, now=now, expires=now + self._ttl))

    def put_at_once(self, tenant: str, turn: Turn, *, after: Turn | None = None) -> Turn:
        """Does the same as `put`, without being awaited; only where `at_once` is true."""
        assert isinstance(self._backend, MemoryBackend), "only the memory store can store a turn at once"
        turn = self._acceptable(tenant, turn, after)
        self._prune_later()
        self.operations["put", True] += 1
        return self._backend.keep(tenant, turn, after, self._clock() + self._ttl)

    def _acceptable(self, tenant: str, turn: Turn, after: Turn | None) -> Turn:
        if not _storable(tenant, turn.id):
            raise _not_storable()
        if len(turn.payload) > self.max_item_bytes:
            self._check_size(len(turn.payload))
        if after is not None or turn.parent is not None:
            turn = structs.replace(turn, parent=after.id if after else None)
        return turn

    async def delete(self, tenant: str, id: str) -> bool:
        """Removes a turn and its payload; False when it is not found.

        The turns that continue it stay and can be read one by one, but no chain through it is found any more.
        """
        if not _storable(tenant, id):
            return False
        return await self._run(self._backend.delete(tenant, id, now=self._clock()))

    async def create_conversation(self, tenant: str, id: str, head: bytes, items: Sequence[Item] = ()) -> bool:
        """Starts a conversation; False when the id is taken. `head` holds the data of the conversation as a whole.

        Raises:
            TooLarge: an item is longer than `max_item_bytes`, or all items together are longer than
                `max_chain_bytes`.
            InvalidRequest: no store keeps this id, or an item's.
        """
        _require_storable(tenant, id)
        self._check_items(items)
        if total(items) > self.max_chain_bytes:
            raise conversation_too_large(total(items), self.max_chain_bytes)
        now = self._clock()
        return await self._run(
            self._backend.create_conversation(tenant, id, head, items, now=now, expires=now + self._ttl)
        )

    async def get_conversation(self, tenant: str, id: str) -> bytes | None:
        """The conversation's head, or None when it is not found."""
        if not _storable(tenant, id):
            return None
        return await self._run(self._backend.get_conversation(tenant, id, now=self._clock()))

    async def update_conversation(self, tenant: str, id: str, head: bytes) -> bool:
        """Replaces the conversation's head; False when the conversation is not found.

        Raises:
            TooLarge: the head is longer than `max_item_bytes`.
        """
        if not _storable(tenant, id):
            return False
        self._check_size(len(head))
        now = self._clock()
        return await self._run(self._backend.update_conversation(tenant, id, head, now=now, expires=now + self._ttl))

    async def delete_conversation(self, tenant: str, id: str) -> bool:
        """Removes the conversation and all its items; False when it is not found."""
        if not _storable(tenant, id):
            return False
        return await self._run(self._backend.delete_conversation(tenant, id, now=self._clock()))

    async def append_items(self, tenant: str, id: str, items: Sequence[Item]) -> bool:
        """Adds all items at the end in this order, or none of them; False when the conversation is not found.

        An id may be used twice: both items stay in the list, the id leads to the later one, and deleting it
        deletes both.

        Raises:
            TooLarge: an item is longer than `max_item_bytes`, or the conversation would become longer than
                `max_chain_bytes`.
            InvalidRequest: no store keeps an item's id.
        """
        if not _storable(tenant, id):
            return False
        self._check_items(items)
        now = self._clock()
        return await self._run(
            self._backend.append_items(tenant, id, items, now=now, expires=now + self._ttl, limit=self.max_chain_bytes)
        )

    async def list_items(
        self, tenant: str, id: str, *, limit: int | None = None, after: str | None = None, order: Order = "asc"
    ) -> Page | None:
        """A page of a conversation's items; None when the conversation is not found.

        Args:
            tenant: the owner.
            id: the conversation's.
            limit: the most items that are returned; None for all.
            after: the id of the item after which the page begins, in the requested order.
            order: `asc` is the order in which items were added.

        Raises:
            InvalidRequest: no item is called `after`.
        """
        if not _storable(tenant, id):
            return None
        if after is not None and not _storable(tenant, after):
            after = "?" * (LONGEST_ID + 1)  # in no list, because it is too long
        return await self._run(
            self._backend.list_items(
                tenant, id, limit=_ALL if limit is None else limit, after=after, order=order, now=self._clock()
            )
        )

    async def get_item(self, tenant: str, id: str, item: str) -> Item | None:
        """One item of a conversation, or None."""
        if not _storable(tenant, id, item):
            return None
        return await self._run(self._backend.get_item(tenant, id, item, now=self._clock()))

    async def delete_item(self, tenant: str, id: str, item: str) -> bool:
        """Removes an item; False when it is not found."""
        if not _storable(tenant, id, item):
            return False
        return await self._run(self._backend.delete_item(tenant, id, item, now=self._clock()))

    async def prune(self) -> int:
        """Removes expired trees and conversations step by step and returns how many; requests go on between two steps.

        It runs by itself every minute once the store is in use.
        """
        removed = 0
        while self._backend.prunes and (
            step := await self._guard.run(self._backend.prune(now=self._clock()), proves=False)
        ):
            removed += step
            await asyncio.sleep(0)
        return removed

    async def ping(self) -> None:
        """Returns when the store accepts a write.

        Raises:
            StoreUnavailable: it does not.
        """
        await self._run(self._backend.ping())

    async def aclose(self) -> None:
        """Ends the pruning and closes the connections, within the deadline."""
        if self._pruner is not None:
            self._pruner.cancel()
            self._pruner = None
        with suppress(TimeoutError, *self._backend.failures):
            async with asyncio.timeout(self._deadline):
                await self._backend.aclose()

    def _run(self, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """Counts an operation and returns the coroutine to await: `work` itself in memory, else under the guard."""
        self._prune_later()
        if self._deadline is not None:
            return self._guarded(work)
        # In memory there is nothing to wait for, nor anything that fails.
        self.operations[getattr(work, "__name__", ""), True] += 1
        return work

    def _prune_later(self) -> None:
        if self._backend.prunes and (self._pruner is None or self._pruner.done()):
            self._pruner = asyncio.create_task(self._prune_regularly(), name="plano-state-prune")

    async def _guarded(self, work: Coroutine[Any, Any, T]) -> T:
        answered = False
        name = getattr(work, "__name__", "")
        try:
            result = await self._guard.run(work, proves=name in WRITES)
            answered = True
        except (TooLarge, InvalidRequest, StateUnreadable):
            answered = True
            raise
        finally:
            self.operations[name, answered] += 1
        return result

    async def _prune_regularly(self) -> None:
        while True:
            await asyncio.sleep(PRUNE_SECONDS)
            with suppress(StoreUnavailable):  # logged by the guard; the next round tries again
                await self.prune()

    def _check_size(self, size: int) -> None:
        if size > self.max_item_bytes:
            raise TooLarge(
                f"This is {size} bytes long; the gateway stores at most {self.max_item_bytes} bytes in one piece.",
                code="item_too_large",
            )

    def _check_items(self, items: Sequence[Item]) -> None:
        for item in items:
            _require_storable(item.id)
            self._check_size(len(item.payload))


_ALL = 2**31 - 1


def _storable(*names: str) -> bool:
    """Whether every backend can use these as keys. PostgreSQL's text has no NUL, and UTF-8 has no lone surrogates."""
    if not all(names) or max(map(len, names)) > LONGEST_ID:
        return False
    text = "".join(names)
    return "\0" not in text and (text.isascii() or _is_utf8(text))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _require_storable(*names: str) -> None:
    if not _storable(*names):
        raise _not_storable()


def _not_storable() -> InvalidRequest:
    return InvalidRequest(f"An id must be text of 1 to {LONGEST_ID} characters without NUL.", code="invalid_id")
