"""Which store, where, and how much: the settings, and the way from them to a `Store`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

from msgspec import Struct

from plano.errors import ConfigError
from plano.state.backend import Backend
from plano.state.memory import MemoryBackend
from plano.state.store import Store
from plano.types import Secret

StoreType: TypeAlias = Literal["memory", "sqlite", "redis", "postgres"]

DAY = 86_400.0
MEGABYTE = 1_048_576


class StateSettings(Struct, frozen=True, kw_only=True):
    """`state_storage` of the configuration.

    Attributes:
        type: which of the four stores.
        path: the file of the sqlite store; its folder must exist.
        url: of the redis store: `redis://`, `rediss://` (TLS), `unix://`, `redis+sentinel://`, `redis+cluster://` and
            their `rediss+` forms; see `plano.state.redis`.
        connection_string: of the postgres store, as libpq reads it (URL or `key=value`), TLS included.
        ttl_seconds: how long a turn can be continued; None is 30 days, in memory 24 hours.
        max_item_bytes: the longest turn, request and reply together.
        max_chain_bytes: the longest chain or conversation.
        max_bytes: what the memory store holds in all.
        deadline_seconds: for each operation on a store.
        import_tenant: whose the rows of katanemo Plano's table are; it has no tenants.
    """

    type: StoreType = "memory"
    path: str = "plano-state.sqlite3"
    url: Secret | None = None
    connection_string: Secret | None = None
    ttl_seconds: float | None = None
    max_item_bytes: int = 16 * MEGABYTE
    max_chain_bytes: int = 64 * MEGABYTE
    max_bytes: int = 16 * MEGABYTE
    deadline_seconds: float = 2.0
    import_tenant: str = "default"

    @property
    def ttl(self) -> float:
        """Seconds, the default filled in."""
        if self.ttl_seconds is not None:
            return self.ttl_seconds
        return DAY if self.type == "memory" else 30 * DAY


def open_store(settings: StateSettings, *, clock: Callable[[], float] = time.time) -> Store:
    """The store that the settings describe. Nothing is connected yet: that happens on first use.

    Raises:
        ConfigError: it cannot work whatever the servers do: a malformed URL, a missing folder or package.
    """
    return Store(
        _open_backend(settings),
        ttl=settings.ttl,
        max_item_bytes=settings.max_item_bytes,
        max_chain_bytes=settings.max_chain_bytes,
        deadline=None if settings.type == "memory" else settings.deadline_seconds,
        clock=clock,
    )


def _open_backend(settings: StateSettings) -> Backend:
    # Each store's client library is imported only where it is used: redis and psycopg take longer than all of plano.
    match settings.type:
        case "memory":
            return MemoryBackend(settings.max_bytes)
        case "sqlite":
            return _open_sqlite(settings)
        case "redis":
            return _open_redis(settings)
        case "postgres":
            return _open_postgres(settings)


def _open_sqlite(settings: StateSettings) -> Backend:
    from plano.state.sqlite import SqliteBackend

    folder = Path(settings.path).absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"state_storage.path: the folder {folder} does not exist")
    return SqliteBackend(settings.path, patience=settings.deadline_seconds)


def _open_redis(settings: StateSettings) -> Backend:
    if not settings.url:
        raise ConfigError("state_storage.url: missing; type redis needs it, e.g. redis://localhost:6379/0")
    from plano.state.redis import RedisBackend, connect

    return RedisBackend(connect(settings.url.reveal(), timeout=settings.deadline_seconds))


def _open_postgres(settings: StateSettings) -> Backend:
    if not settings.connection_string:
        raise ConfigError("state_storage.connection_string: missing; type postgres needs it")
    try:
        from plano.state.postgres import PostgresBackend
    except ImportError as error:
        raise ConfigError(
            f"state_storage.type: postgres needs psycopg ({error.name} is missing): pip install 'plano[postgres]'"
        ) from error
    return PostgresBackend(
        settings.connection_string.reveal(), timeout=settings.deadline_seconds, import_tenant=settings.import_tenant
    )
