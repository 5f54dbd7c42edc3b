"""The one client of Redis that stored state and shared limits use.

Besides the URLs of redis-py (`redis://`, `rediss://` for TLS, `unix://`) it takes

    redis+sentinel://user:password@host:26379,host2:26379/service/0?sentinel_password=...
    redis+cluster://user:password@host:7000,host2:7000

and the same with `rediss+sentinel` and `rediss+cluster`. Options of redis-py go into the query.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from hashlib import sha1
from typing import Any, ClassVar, TypeAlias
from urllib.parse import SplitResult, urlsplit
from weakref import WeakKeyDictionary

from msgspec import Struct
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
from redis.exceptions import TimeoutError as RedisTimeout

from plano.errors import ConfigError
from plano.runtime.renewal import Renewal

Connected: TypeAlias = Redis | RedisCluster

CONNECTIONS = 64
"""The most operations that run at once; others wait, within their deadline."""

WRONG_SERVER = (ReadOnlyError, BusyLoadingError, ClusterDownError, MasterDownError)
"""The refusals of a server that is not the primary, or not yet. It has done nothing of what it was asked."""

TIMEOUTS = (TimeoutError, RedisTimeout)
"""The exceptions of a server that does not answer in time."""

_REFUSED_IN_TEXT = re.compile(r"(^|-)(READONLY|LOADING|CLUSTERDOWN|MASTERDOWN|NOREPLICAS)\b")
"""The same where redis-py does not know the code, or where a script was refused: Redis 6 names the code in the text."""

SHARE = 0.9
"""The share of an operation's deadline after which redis-py gives a connection up. A cluster's client only looks for
the nodes again if it does so itself, before the operation is cancelled."""


def connect(url: str, *, key: str, timeout: float, connect_timeout: float | None = None) -> RedisClient:
    """Makes a client for the URL; nothing is sent yet.

    Args:
        url: see the module.
        key: the configuration's key that the URL is from, for messages.
        timeout: seconds that a command may take.
        connect_timeout: seconds that a connection may take to be made; `timeout` unless it is given.

    Raises:
        ConfigError: the URL is malformed. The message does not repeat it because it may hold a password.
    """
    scheme = url.partition("://")[0]
    try:
        make = _CLIENTS[scheme]
    except KeyError:
        raise ConfigError(f"{key}: it begins with none of {', '.join(_CLIENTS)} (and ://)") from None
    options = {
        "socket_timeout": SHARE * timeout,
        "socket_connect_timeout": SHARE * (connect_timeout or timeout),
        "max_connections": 2 * CONNECTIONS,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    try:
        return RedisClient(make(url, options))
    except (ValueError, TypeError, IndexError):
        raise ConfigError(f"{key}: not a URL that {scheme}:// can use") from None


class Script(Struct, frozen=True):
    """Lua and the name that Redis caches it under."""

    text: str
    sha: str

    @classmethod
    def of(cls, text: str) -> Script:
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


class RedisClient:
    """Sends commands and scripts to one server, to the primary that sentinels name, or to a cluster.

    Connections belong to the event loop on which the first command is sent.

    Attributes:
        failures: the exceptions that a command raises where Redis cannot be used.
        clustered: keys are spread over nodes, so that one script reaches keys of one slot only.
    """

    failures: ClassVar[tuple[type[Exception], ...]] = (RedisError, RedisClusterException, OSError)

    def __init__(self, client: Connected) -> None:
        self._client = client
        self.clustered = isinstance(client, RedisCluster)
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._closings = 0

    async def run(self, script: Script, keys: Sequence[str], *values: str | int | bytes) -> Any:
        """Runs a script, and sends it whole if the server does not know it. EVAL does that, because some proxies and
        some accounts refuse SCRIPT LOAD."""
        try:
            return await self.do("EVALSHA", script.sha, len(keys), *keys, *values)
        except NoScriptError:  # this happens once per script and server
            return await self.do("EVAL", script.text, len(keys), *keys, *values)

    async def do(self, *command: str | int | bytes) -> Any:
        """Sends a command, and once more on a new connection if the server says that it is not the primary."""
        closings = self._closings
        try:
            return await self._done(command)
        finally:
            if self._closings != closings:  # meanwhile, so that what this call has opened since would stay open
                await self._close()

    async def _done(self, command: Sequence[str | int | bytes]) -> Any:
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

    def renew(self) -> None:
        """Has no connection used again that is open now."""
        # A cluster's client does it by itself, after its own timeout.
        pool = getattr(self._client, "connection_pool", None)
        if isinstance(pool, _Renewable):
            pool.renew()

    async def aclose(self) -> None:
        """Closes the connections. A call that runs closes those that it opens afterwards."""
        self._closings += 1
        await self._close()

    async def _close(self) -> None:
        await self._client.aclose()
        if isinstance(self._client, RedisCluster):
            # It has closed nothing if it means to look for the nodes again, as after a timeout.
            await self._client.nodes_manager.aclose()
            await self._client.nodes_manager.aclose("startup_nodes")
        pool = getattr(self._client, "connection_pool", None)
        if isinstance(pool, SentinelConnectionPool):
            for sentinel in pool.sentinel_manager.sentinels:
                await sentinel.aclose()


def described(error: Exception) -> str:
    """An error's class, and the code in its text if that is known. The rest of a text may hold a password."""
    code = _REFUSED_IN_TEXT.search(str(error)) if isinstance(error, ResponseError) else None
    return f"{type(error).__name__}: {code[2]}" if code else type(error).__name__


def _wrong_server(error: RedisError) -> bool:
    if isinstance(error, WRONG_SERVER):
        return True
    return isinstance(error, ResponseError) and _REFUSED_IN_TEXT.search(str(error)) is not None


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


def _standalone(url: str, options: dict[str, Any]) -> Connected:
    if not url.startswith("unix:"):
        _database(urlsplit(url).path)
    pool: Any = _Pool.from_url(url, **options)
    return _tried(Redis.from_pool(pool))


def _sentinel(url: str, options: dict[str, Any]) -> Connected:
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


def _cluster(url: str, options: dict[str, Any]) -> Connected:
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


_CLIENTS: dict[str, Callable[[str, dict[str, Any]], Connected]] = {
    "redis": _standalone,
    "rediss": _standalone,
    "unix": _standalone,
    "redis+sentinel": _sentinel,
    "rediss+sentinel": _sentinel,
    "redis+cluster": _cluster,
    "rediss+cluster": _cluster,
}
