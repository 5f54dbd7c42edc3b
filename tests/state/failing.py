"""Servers that fail in the ways that tests need, and the patience with which stores are asked meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg

from plano.errors import StoreUnavailable
from plano.state import StateSettings, Store, Turn, open_store
from plano.types import Secret
from tests.servers import Proxy, Redis, wait_until

DEADLINE = 2.0
"""Seconds: short, but long enough for a slow machine."""


def turn(id: str, payload: bytes = b"payload") -> Turn:
    return Turn(id=id, kind="response", created=0.0, payload=payload)


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    async with asyncio.timeout(seconds):
        yield


async def recovered(store: Store) -> None:
    """Returns when the store answers again, by itself."""
    async with within(15):
        while True:
            try:
                return await store.ping()
            except StoreUnavailable:
                await asyncio.sleep(0.05)


def through(proxy: Proxy, where: dict[str, Any], **settings: Any) -> Store:
    """A store that reaches its server by way of the proxy."""
    settings = where | {"deadline_seconds": DEADLINE} | settings
    for name in ("url", "connection_string"):
        if name in settings:
            settings[name] = Secret(settings[name].reveal().replace(f":{proxy.target}/", f":{proxy.port}/"))
    return open_store(StateSettings(**settings))


@contextmanager
def read_only(schema: str) -> Iterator[None]:
    """As a hot standby is: sessions that are open already are told too."""
    try:
        switch_writes(schema, "on")
        yield
    finally:
        switch_writes(schema, "off")


def switch_writes(schema: str, read_only: str) -> None:
    with psycopg.connect(schema, autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {read_only}")
        connection.execute("SELECT pg_reload_conf()")

    def done() -> bool:
        with psycopg.connect(schema, autocommit=True) as connection:
            return connection.execute("SHOW default_transaction_read_only").fetchone() == (read_only,)

    wait_until(done)


@contextmanager
def demoted(server: Redis) -> Iterator[None]:
    server.command("REPLICAOF", "127.0.0.1", 1)
    try:
        yield
    finally:
        server.command("REPLICAOF", "NO", "ONE")
