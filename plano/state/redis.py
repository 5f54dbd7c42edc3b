"""State in Redis: for many machines, with one round trip to read a chain and one to write a turn.

`plano.redis_client` says which URLs lead to it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from hashlib import blake2b
from typing import ClassVar, NamedTuple

import msgspec

from plano.redis_client import RedisClient
from plano.state import redis_scripts as scripts
from plano.state.backend import (
    Item,
    Order,
    Page,
    Place,
    Turn,
    chain_too_large,
    conversation_too_large,
    no_such_item,
    readable,
    total,
)

NO_ROW = "0" * 16
TREE = "plano:tree:"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, str | None, str, float, int, bytes]).decode


class _Pointer(NamedTuple):
    """The turn that an id leads to, as stored under the id's key."""

    tree: str
    row: str
    size: int
    expires: float

    @classmethod
    def parse(cls, text: bytes) -> _Pointer:
        tree, row, size, expires = text.decode().split(" ")
        return cls(tree, row, int(size), float(expires))


class RedisBackend:
    """State in Redis. The layout of the keys is in `plano.state.redis_scripts`.

    Redis drops expired keys by itself, so there is nothing to prune. A turn is acknowledged when the primary has it;
    whether it survives the loss of that server depends on `appendonly` and on replicas.
    """

    name: ClassVar[str] = "redis"
    shared: ClassVar[bool] = True
    prunes: ClassVar[bool] = False
    failures: ClassVar[tuple[type[Exception], ...]] = RedisClient.failures

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._clustered = client.clustered

    async def get_chain(self, tenant: str, id: str, *, now: float, limit: int) -> list[Turn]:
        return await self._walk(tenant, id, now=now, limit=limit, depth=-1)

    async def get(self, tenant: str, id: str, *, now: float) -> Turn | None:
        turns = await self._walk(tenant, id, now=now, limit=_NO_LIMIT, depth=1)
        return turns[0] if turns else None

    async def put(self, tenant: str, turn: Turn, after: Turn | None, *, now: float, expires: float) -> Turn:
        parent = Place.parse(after.key) if after else None
        tree = parent.tree if parent else secrets.token_hex(16)
        place = Place(tree, secrets.token_hex(8), len(turn.payload) + (parent.size if parent else 0))
        fields = (turn.id, turn.parent, turn.kind, turn.created, place.size, turn.payload)
        value = (parent.row if parent else NO_ROW).encode() + _encode(fields)
        pointer = f"{place.tree} {place.row} {place.size} {expires!r}"
        ttl = _milliseconds(expires - now)
        tree_key, id_key = _tree_key(tree), _id_key(tenant, turn.id)
        if self._clustered:
            # The keys are in two slots, perhaps on two nodes: they are written at the same time, and the turn is
            # acknowledged when both are.
            await asyncio.gather(
                self._client.run(scripts.PUT, [tree_key], ttl, place.row, value),
                self._client.do("SET", id_key, pointer, "PX", ttl),
            )
        else:
            await self._client.run(scripts.PUT, [tree_key, id_key], ttl, place.row, value, pointer)
        return msgspec.structs.replace(turn, key=str(place))

    async def delete(self, tenant: str, id: str, *, now: float) -> bool:
        key = _id_key(tenant, id)
        if not self._clustered:
            return bool(await self._client.run(scripts.DELETE, [key], TREE, repr(now)))
        text = await self._client.do("GET", key)
        if text is None:
            return False
        with readable(id):
            pointer = _Pointer.parse(text)
        await self._client.do("HDEL", _tree_key(pointer.tree), pointer.row)
        await self._client.do("DEL", key)
        return pointer.expires > now

    async def create_conversation(
        self, tenant: str, id: str, head: bytes, items: Sequence[Item], *, now: float, expires: float
    ) -> bool:
        times = (repr(now), _milliseconds(expires - now), repr(expires))
        values = (_once(), head, *_flat(items))
        return bool(await self._client.run(scripts.CREATE, _conversation_keys(tenant, id), *times, *values))

    async def get_conversation(self, tenant: str, id: str, *, now: float) -> bytes | None:
        head: bytes | None = await self._client.run(scripts.HEAD, _conversation_keys(tenant, id), repr(now))
        return head

    async def update_conversation(self, tenant: str, id: str, head: bytes, *, now: float, expires: float) -> bool:
        times = (repr(now), _milliseconds(expires - now), repr(expires))
        return bool(await self._client.run(scripts.UPDATE, _conversation_keys(tenant, id), *times, head))

    async def delete_conversation(self, tenant: str, id: str, *, now: float) -> bool:
        return bool(await self._client.run(scripts.REMOVE, _conversation_keys(tenant, id), repr(now)))

    async def append_items(
        self, tenant: str, id: str, items: Sequence[Item], *, now: float, expires: float, limit: int
    ) -> bool:
        times = (repr(now), _milliseconds(expires - now), repr(expires))
        values = (_once(), total(items), limit, *_flat(items))
        answer = await self._client.run(scripts.APPEND, _conversation_keys(tenant, id), *times, *values)
        if answer < 0:
            raise conversation_too_large(-answer, limit)
        return bool(answer)

    async def list_items(
        self, tenant: str, id: str, *, limit: int, after: str | None, order: Order, now: float
    ) -> Page | None:
        cursor = () if after is None else (after,)
        found = await self._client.run(
            scripts.PAGE, _conversation_keys(tenant, id), repr(now), limit + 1, order, *cursor
        )
        if found is None:
            return None
        if found == 0:
            raise no_such_item(after or "")
        with readable(id):
            return Page([_item(member) for member in found[:limit]], len(found) > limit)

    async def get_item(self, tenant: str, id: str, item: str, *, now: float) -> Item | None:
        member = await self._client.run(scripts.ITEM, _conversation_keys(tenant, id), repr(now), item)
        with readable(item):
            return _item(member) if member is not None else None

    async def delete_item(self, tenant: str, id: str, item: str, *, now: float) -> bool:
        return bool(await self._client.run(scripts.REMOVE_ITEM, _conversation_keys(tenant, id), repr(now), item))

    async def prune(self, *, now: float) -> int:
        return 0

    def renew(self) -> None:
        self._client.renew()

    async def ping(self) -> None:
        # A key and not PING: in a cluster, only a key reaches a node that must know its slots.
        await self._client.do("SET", "plano:ping", "", "PX", 60_000)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _walk(self, tenant: str, id: str, *, now: float, limit: int, depth: int) -> list[Turn]:
        key = _id_key(tenant, id)
        if self._clustered:
            found = await self._walk_in_two_steps(id, key, now, limit, depth)
        else:
            found = await self._client.run(scripts.CHAIN, [key], TREE, repr(now), limit, depth)
        if not found:
            return []
        with readable(id):
            pointer = _Pointer.parse(found[0])
            turns = _turns(pointer, found[1:]) if pointer.size <= limit else []
        if pointer.size > limit:
            raise chain_too_large(pointer.size, limit)
        return turns

    async def _walk_in_two_steps(self, id: str, key: str, now: float, limit: int, depth: int) -> list[bytes]:
        text = await self._client.do("GET", key)
        if text is None:
            return []
        with readable(id):
            pointer = _Pointer.parse(text)
        if pointer.expires <= now:
            return []
        if pointer.size > limit:
            return [text]
        return [text, *await self._client.run(scripts.WALK, [_tree_key(pointer.tree)], pointer.row, depth)]


_NO_LIMIT = 2**53


def _turns(pointer: _Pointer, values: list[bytes]) -> list[Turn]:
    """Decodes the values that WALK returns, newest first, into turns, oldest first."""
    turns = []
    row = pointer.row
    for value in values:
        id, parent, kind, created, size, payload = _decode(value[16:])
        key = str(Place(pointer.tree, row, size))
        turns.append(Turn(id=id, parent=parent, kind=kind, created=created, payload=payload, key=key))
        row = value[:16].decode()
    turns.reverse()
    return turns


def _item(member: bytes) -> Item:
    end = 20 + int(member[16:20])
    return Item(member[20:end].decode(), member[end:])


def _flat(items: Sequence[Item]) -> list[str | bytes]:
    return [part for item in items for part in (item.id, item.payload)]


def _once() -> str:
    """A mark for one write, so that a write that is tried again does not add its items twice."""
    return secrets.token_hex(8)


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _tree_key(tree: str) -> str:
    return f"{TREE}{{{tree}}}"


def _id_key(tenant: str, id: str) -> str:
    return f"plano:id:{{{_digest(tenant, id)}}}"


def _conversation_keys(tenant: str, id: str) -> list[str]:
    start = f"plano:talk:{{{_digest(tenant, id)}}}"
    return [f"{start}:head", f"{start}:items", f"{start}:ids"]


def _digest(tenant: str, id: str) -> str:
    """A digest of tenant and id with a fixed length. The tenant's length is part of it, so that "a" + "bc" differs
    from "ab" + "c"."""
    return blake2b(f"{len(tenant)}:{tenant}{id}".encode(), digest_size=16).hexdigest()
