"""State in Redis: for many machines, with one round trip to read a chain and one to write a turn.

Besides the URLs of redis-py (`redis://`, `rediss://` for TLS, `unix://`) it takes

    redis+sentinel://user:password@host:26379,host2:26379/service/0?sentinel_password=...
    redis+cluster://user:password@host:7000,host2:7000

and the same with `rediss+sentinel` and `rediss+cluster`. Options of redis-py go into the query.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, ClassVar, NamedTuple, TypeAlias
from urllib.parse import SplitResult, urlsplit
from weakref import WeakKeyDictionary

import msgspec
from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection, ConnectionPool, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from plano.errors import ConfigError
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
from plano.state.redis_scripts import Script
from plano.state.renewal import Renewal

Client: TypeAlias = Redis | RedisCluster


class _Renewable:
    """Adds to one of redis-py's pools that connections opened before its last renewal are replaced before use.

    Those in use at the renewal finish what they do.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.renew = Renewal()
        self._opened: WeakKeyDictionary[AbstractConnection, float] = WeakKeyDictionary()

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        opened = self._opened.get(connection)
        if opened is not None and self.renew.outdates(opened):
            await connection.disconnect(nowait=True)
        if not connection.is_connected:
            self._opened[connection] = self.renew.now()
        ensure: Any = super()
        await ensure.ensure_connection(connection)


class _Pool(_Renewable, ConnectionPool):
    pass


class _SentinelPool(_Renewable, SentinelConnectionPool):
    pass


CONNECTIONS = 64
"""The most operations that run at once; others wait, within their deadline."""

WRONG_SERVER = (ReadOnlyError, BusyLoadingError, ClusterDownError, MasterDownError)
"""The refusals of a server that is not the primary, or not yet. It has done nothing of what it was asked."""

_REFUSED_IN_TEXT = re.compile(r"(^|-)(READONLY|LOADING|CLUSTERDOWN|MASTERDOWN|NOREPLICAS)\b")
"""The same where redis-py does not know the code, or where a script was refused: Redis 6 names the code in the text."""

SHARE = 0.9
"""The share of an operation's deadline after which redis-py gives a connection up. A cluster's client only looks for
the nodes again if it does so itself, before the operation is cancelled."""

NO_ROW = "0" * 16
TREE = "plano:tree:"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, str | None, str, float, int, bytes]).decode


def connect(url: str, *, timeout: float) -> Client:
    """Makes a client for the URL; nothing is sent yet.

    Raises:
        ConfigError: the URL is malformed. The message does not repeat it because it may hold a password.
    """
    scheme = url.partition("://")[0]
    try:
        make = _CLIENTS[scheme]
    except KeyError:
        raise ConfigError(f"state_storage.url: it begins with none of {', '.join(_CLIENTS)} (and ://)") from None
    options = {
        "socket_timeout": SHARE * timeout,
        "socket_connect_timeout": SHARE * timeout,
        "max_connections": 2 * CONNECTIONS,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    try:
        return make(url, options)
    except (ValueError, TypeError, IndexError):
        raise ConfigError(f"state_storage.url: not a URL that {scheme}:// can use") from None


def _standalone(url: str, options: dict[str, Any]) -> Client:
    if not url.startswith("unix:"):
        _database(urlsplit(url).path)
    pool: Any = _Pool.from_url(url, **options)
    return _tried(Redis.from_pool(pool))


def _sentinel(url: str, options: dict[str, Any]) -> Client:
    parts = urlsplit(url)
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("no service name")
    options |= _common_options(parts) | {"db": _database(database)}
    for_sentinels = {
        name.removeprefix("sentinel_"): options.pop(name) for name in list(options) if name.startswith("sentinel_")
    }
    timeouts = {name: options[name] for name in ("socket_timeout", "socket_connect_timeout", "retry", "protocol")}
    make: Callable[..., Any] = Sentinel  # untyped in redis-py
    sentinel = make(_hosts(parts), sentinel_kwargs=timeouts | for_sentinels, **options)
    return _tried(sentinel.master_for(service, connection_pool_class=_SentinelPool))


def _cluster(url: str, options: dict[str, Any]) -> Client:
    parts = urlsplit(url)
    options |= _common_options(parts)
    # redis-py closes every connection when it reads the slots again. `reinitialize_steps=0` keeps it from doing so
    # after some redirects, while operations are running. Operations that fail with a node are tried again.
    options |= {"reinitialize_steps": 0, "retry": Retry(NoBackoff(), 2)}
    return RedisCluster(startup_nodes=[ClusterNode(host, port) for host, port in _hosts(parts)], **options)


def _tried(client: Redis) -> Redis:
    """Has the pool make a connection without opening it, because that is what finds unknown options."""
    pool: Any = client.connection_pool
    pool.make_connection()
    return client


def _database(path: str) -> int:
    return int(path.strip("/") or 0)


def _common_options(parts: SplitResult) -> dict[str, Any]:
    """Has redis-py read the credentials, TLS and its own options."""
    credentials = parts.netloc.rpartition("@")[0]
    options = dict(parse_url(f"{parts.scheme.partition('+')[0]}://{credentials}@-?{parts.query}"))
    del options["host"]
    if options.pop("connection_class", None) is SSLConnection:
        options["ssl"] = True
    return options


def _hosts(parts: SplitResult) -> list[tuple[str, int]]:
    default = 26379 if parts.scheme.endswith("sentinel") else 6379
    hosts = [urlsplit("//" + host) for host in parts.netloc.rpartition("@")[2].split(",")]
    if not all(host.hostname for host in hosts):
        raise ValueError("a host is missing")
    return [(host.hostname or "", host.port or default) for host in hosts]


_CLIENTS: dict[str, Callable[[str, dict[str, Any]], Client]] = {
    "redis": _standalone,
    "rediss": _standalone,
    "unix": _standalone,
    "redis+sentinel": _sentinel,
    "rediss+sentinel": _sentinel,
    "redis+cluster": _cluster,
    "rediss+cluster": _cluster,
}


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
    failures: ClassVar[tuple[type[Exception], ...]] = (RedisError, RedisClusterException, OSError)

    def __init__(self, client: Client) -> None:
        self._client = client
        self._clustered = isinstance(client, RedisCluster)
        self._slots = asyncio.Semaphore(CONNECTIONS)

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
                self._run(scripts.PUT, [tree_key], ttl, place.row, value),
                self._do("SET", id_key, pointer, "PX", ttl),
            )
        else:
            await self._run(scripts.PUT, [tree_key, id_key], ttl, place.row, value, pointer)
        return msgspec.structs.replace(turn, key=str(place))

    async def delete(self, tenant: str, id: str, *, now: float) -> bool:
        key = _id_key(tenant, id)
        if not self._clustered:
            return bool(await self._run(scripts.DELETE, [key], TREE, repr(now)))
        text = await self._do("GET", key)
        if text is None:
            return False
        with readable(id):
            pointer = _Pointer.parse(text)
        await self._do("HDEL", _tree_key(pointer.tree), pointer.row)
        await self._do("DEL", key)
        return pointer.expires > now

    async def create_conversation(
        self, tenant: str, id: str, head: bytes, items: Sequence[Item], *, now: float, expires: float
    ) -> bool:
        times = (repr(now), _milliseconds(expires - now), repr(expires))
        values = (_once(), head, *_flat(items))
        return bool(await self._run(scripts.CREATE, _conversation_keys(tenant, id), *times, *values))

    async def get_conversation(self, tenant: str, id: str, *, now: float) -> bytes | None:
        head: bytes | None = await self._run(scripts.HEAD, _conversation_keys(tenant, id), repr(now))
        return head

    async def update_conversation(self, tenant: str, id: str, head: bytes, *, now: float, expires: float) -> bool:
        times = (repr(now), _milliseconds(expires - now), repr(expires))
        return bool(await self._run(scripts.UPDATE, _conversation_keys(tenant, id), *times, head))

    async def delete_conversation(self, tenant: str, id: str, *, now: float) -> bool:
        return bool(await self._run(scripts.REMOVE, _conversation_keys(tenant, id), repr(now)))

    async def append_items(
        self, tenant: str, id: str, items: Sequence[Item], *, now: float, expires: float, limit: int
    ) -> bool:
        times = (repr(now), _milliseconds(expires - now), repr(expires))
        values = (_once(), total(items), limit, *_flat(items))
        answer = await self._run(scripts.APPEND, _conversation_keys(tenant, id), *times, *values)
        if answer < 0:
            raise conversation_too_large(-answer, limit)
        return bool(answer)

    async def list_items(
        self, tenant: str, id: str, *, limit: int, after: str | None, order: Order, now: float
    ) -> Page | None:
        cursor = () if after is None else (after,)
        found = await self._run(scripts.PAGE, _conversation_keys(tenant, id), repr(now), limit + 1, order, *cursor)
        if found is None:
            return None
        if found == 0:
            raise no_such_item(after or "")
        with readable(id):
            return Page([_item(member) for member in found[:limit]], len(found) > limit)

    async def get_item(self, tenant: str, id: str, item: str, *, now: float) -> Item | None:
        member = await self._run(scripts.ITEM, _conversation_keys(tenant, id), repr(now), item)
        with readable(item):
            return _item(member) if member is not None else None

    async def delete_item(self, tenant: str, id: str, item: str, *, now: float) -> bool:
        return bool(await self._run(scripts.REMOVE_ITEM, _conversation_keys(tenant, id), repr(now), item))

    async def prune(self, *, now: float) -> int:
        return 0

    def renew(self) -> None:
        # A cluster's client does it by itself, after its own timeout.
        pool = getattr(self._client, "connection_pool", None)
        if isinstance(pool, _Renewable):
            pool.renew()

    async def ping(self) -> None:
        # A key and not PING: in a cluster, only a key reaches a node that must know its slots.
        await self._do("SET", "plano:ping", "", "PX", 60_000)

    async def aclose(self) -> None:
        await self._client.aclose()
        pool = getattr(self._client, "connection_pool", None)
        if isinstance(pool, SentinelConnectionPool):
            for sentinel in pool.sentinel_manager.sentinels:
                await sentinel.aclose()

    async def _walk(self, tenant: str, id: str, *, now: float, limit: int, depth: int) -> list[Turn]:
        key = _id_key(tenant, id)
        if self._clustered:
            found = await self._walk_in_two_steps(id, key, now, limit, depth)
        else:
            found = await self._run(scripts.CHAIN, [key], TREE, repr(now), limit, depth)
        if not found:
            return []
        with readable(id):
            pointer = _Pointer.parse(found[0])
            turns = _turns(pointer, found[1:]) if pointer.size <= limit else []
        if pointer.size > limit:
            raise chain_too_large(pointer.size, limit)
        return turns

    async def _walk_in_two_steps(self, id: str, key: str, now: float, limit: int, depth: int) -> list[bytes]:
        text = await self._do("GET", key)
        if text is None:
            return []
        with readable(id):
            pointer = _Pointer.parse(text)
        if pointer.expires <= now:
            return []
        if pointer.size > limit:
            return [text]
        return [text, *await self._run(scripts.WALK, [_tree_key(pointer.tree)], pointer.row, depth)]

    async def _run(self, script: Script, keys: list[str], *values: str | int | bytes) -> Any:
        try:
            return await self._do("EVALSHA", script.sha, len(keys), *keys, *values)
        except NoScriptError:  # this happens once per script and server
            return await self._do("EVAL", script.text, len(keys), *keys, *values)

    async def _do(self, *command: str | int | bytes) -> Any:
        async with self._slots:
            if isinstance(self._client, RedisCluster):
                # Without it, the client asks an arbitrary node while another task reads the slots.
                await self._client.initialize()
            try:
                return await self._client.execute_command(*command)
            except RedisError as error:
                if not _wrong_server(error):
                    raise
            self.renew()
            return await self._client.execute_command(*command)


_NO_LIMIT = 2**53


def _wrong_server(error: RedisError) -> bool:
    if isinstance(error, WRONG_SERVER):
        return True
    return isinstance(error, ResponseError) and _REFUSED_IN_TEXT.search(str(error)) is not None


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
