"""The settings of a store (its type, its address, its limits), and the function that opens a `Store` from them."""

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
        type: the store.
        path: the file of the sqlite store; its folder must exist.
        url: the address of the redis store: `redis://`, `rediss://` (TLS), `unix://`, `redis+sentinel://`,
            `redis+cluster://` and their `rediss+` forms; see `plano.redis_client`.
        connection_string: the address of the postgres store as libpq reads it (URL or `key=value`), TLS included.
        ttl_seconds: how long a turn can be continued; None means 30 days, in memory 24 hours.
        max_item_bytes: the longest turn, request and reply together.
        max_chain_bytes: the longest chain or conversation.
        max_bytes: the most that the memory store holds.
        deadline_seconds: the time that one operation on the store may take.
        import_tenant: the tenant that owns the rows of katanemo Plano's table, which has no tenants.
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
        """`ttl_seconds`, or the store's default."""
        if self.ttl_seconds is not None:
            return self.ttl_seconds
        return DAY if self.type == "memory" else 30 * DAY


def open_store(settings: StateSettings, *, clock: Callable[[], float] = time.time) -> Store:
    """Makes the store that the settings describe. It connects on first use.

    Raises:
        ConfigError: a URL is malformed, or a folder or a package is missing.
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
    from plano.redis_client import connect
    from plano.state.redis import RedisBackend

    client = connect(settings.url.reveal(), key="state_storage.url", timeout=settings.deadline_seconds)
    return RedisBackend(client)


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
