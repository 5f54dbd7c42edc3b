"""A primary that is replaced while its connections stay open: it answers as a replica, or stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, TypeAlias

import pytest

from plano.errors import StoreUnavailable
from plano.runtime.renewal import PAUSE
from plano.state import StateSettings, Store, open_store
from plano.types import Secret
from tests.servers import Postgres, Proxy, Redis, Sentinel
from tests.state.failing import DEADLINE, demoted, read_only, recovered, turn

Server: TypeAlias = Redis | Postgres


@pytest.fixture(params=["redis", "postgres"], scope="module")
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Server, Server]]:
    """Two primaries of one kind; the name that clients know leads to the first, and then to the second."""
    kind: type[Server] = Redis if request.param == "redis" else Postgres
    servers = kind(), kind()
    yield servers
    for server in servers:
        server.stop()


def opened_at(server: Server, port: int, opened: list[Store]) -> Store:
    url = Secret(server.url.replace(str(server.port), str(port)))
    where: Any = {"url": url} if isinstance(server, Redis) else {"connection_string": url}
    kind: Any = "redis" if isinstance(server, Redis) else "postgres"
    store = open_store(StateSettings(type=kind, deadline_seconds=DEADLINE, **where))
    opened.append(store)
    return store


def only_read(server: Server) -> AbstractContextManager[None]:
    return demoted(server) if isinstance(server, Redis) else read_only(server.url)


@asynccontextmanager
async def in_use(server: Server, opened: list[Store]) -> AsyncIterator[tuple[Proxy, Store]]:
    """A store with several open connections to the server, by way of a proxy."""
    async with Proxy(server.port) as proxy:
        store = opened_at(server, proxy.port, opened)
        await store.ping()
        await asyncio.gather(*(store.put("acme", turn(f"t{number}")) for number in range(20)))
        yield proxy, store
        await store.aclose()


async def test_after_a_demotion_every_turn_is_stored_on_the_new_primary(
    pair: tuple[Server, Server], opened: list[Store]
) -> None:
    old, new = pair
    there = opened_at(new, new.port, opened)
    await there.ping()  # a replica has the tables already
    async with in_use(old, opened) as (proxy, store):
        with only_read(old):
            proxy.target = new.port
            await asyncio.gather(*(store.put("acme", turn(f"n{number}")) for number in range(40)))
            assert all([await there.get("acme", f"n{number}") for number in range(40)])


async def test_a_demoted_primary_is_not_believed_that_an_id_is_unknown(
    pair: tuple[Server, Server], opened: list[Store]
) -> None:
    old, new = pair
    there = opened_at(new, new.port, opened)
    await there.put("acme", turn("later"))
    await there.create_conversation("acme", "conv", b"later")
    async with in_use(old, opened) as (proxy, store):
        with only_read(old):
            with pytest.raises(StoreUnavailable):
                await store.get_chain("acme", "later")
            assert await store.get("acme", "t0") is not None, "what it does know, it may say"
            await asyncio.sleep(PAUSE)
            proxy.target = new.port
            assert len(await store.get_chain("acme", "later")) == 1
            assert await store.get_conversation("acme", "conv") == b"later"


async def test_a_primary_that_stands_still_is_left_after_one_timeout(
    pair: tuple[Server, Server], opened: list[Store]
) -> None:
    old, new = pair
    await opened_at(new, new.port, opened).ping()
    async with in_use(old, opened) as (proxy, store):
        with old.frozen():
            proxy.target = new.port
            with pytest.raises(StoreUnavailable):
                await store.put("acme", turn("lost"))
            for number in range(20):
                await store.put("acme", turn(f"s{number}"))


async def test_a_primary_that_is_killed_is_left(opened: list[Store]) -> None:
    old, new = Redis(), Redis()
    try:
        async with in_use(old, opened) as (proxy, store):
            proxy.target = new.port
            old.kill()
            await recovered(store)
            await asyncio.gather(*(store.put("acme", turn(f"k{number}")) for number in range(40)))
            assert all([await store.get("acme", f"k{number}") for number in range(40)])
    finally:
        old.stop()
        new.stop()


async def test_a_demotion_that_a_sentinel_knows_of_is_followed(sentinel: Sentinel, opened: list[Store]) -> None:
    old, new = Redis(), Redis()
    try:
        sentinel.watch(old)
        url = Secret(f"redis+sentinel://127.0.0.1:{sentinel.port}/main")
        store = open_store(StateSettings(type="redis", url=url, deadline_seconds=10.0))
        opened.append(store)
        await asyncio.gather(*(store.put("acme", turn(f"t{number}")) for number in range(20)))
        with demoted(old):
            sentinel.command("SENTINEL", "REMOVE", "main")
            sentinel.watch(new)
            await asyncio.gather(*(store.put("acme", turn(f"n{number}")) for number in range(40)))
            assert new.command("DBSIZE") == 80
    finally:
        old.stop()
        new.stop()


REFUSALS = (
    b"READONLY You can't write against a read only replica.",
    b"READONLY You can't write against a read only replica. script: 0b5, on @user_script:2.",
    b"ERR Error running script (call to f_0b5): @user_script:2: -READONLY You can't write against a read only replica.",
    b"LOADING Redis is loading the dataset in memory",
    b"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    b"CLUSTERDOWN The cluster is down",
    b"NOREPLICAS Not enough good replicas to write.",
    b"ERR Error running script (call to f_0b5): @user_script:2: -NOREPLICAS Not enough good replicas to write.",
)
KEPT = (
    b"OOM command not allowed when used memory > 'maxmemory'.",
    b"MISCONF Redis is configured to save RDB snapshots",
)


class Refusing:
    """Speaks enough of Redis' protocol to refuse what the first `refusing` connections ask for.

    Attributes:
        asked: the number of the connection that each command came on, from 1.
    """

    def __init__(self, refusal: bytes, *, refusing: int) -> None:
        self.refusal = refusal
        self.refusing = refusing
        self.connections = 0
        self.asked: list[int] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while head := await reader.readline():
                words = [await self._word(reader) for _ in range(int(head[1:]))]
                if words[0] in (b"CLIENT", b"SELECT"):
                    writer.write(b"+OK\r\n")
                    continue
                self.asked.append(number)
                writer.write(b"-%b\r\n" % self.refusal if number <= self.refusing else b"+OK\r\n")
        finally:
            writer.close()

    async def _word(self, reader: asyncio.StreamReader) -> bytes:
        length = int((await reader.readline())[1:])
        return (await reader.readexactly(length + 2))[:-2]


@asynccontextmanager
async def answered(by: Refusing, opened: list[Store]) -> AsyncIterator[Store]:
    server = await asyncio.start_server(by, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = open_store(StateSettings(type="redis", url=Secret(f"redis://127.0.0.1:{port}/0"), deadline_seconds=10.0))
    opened.append(store)
    yield store
    await store.aclose()
    server.close()


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_server_that_refuses_is_asked_once_more_on_a_new_connection(
    refusal: bytes, opened: list[Store]
) -> None:
    server = Refusing(refusal, refusing=1)
    async with answered(server, opened) as store:
        await store.put("acme", turn("one"))
    assert server.asked == [1, 2]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_server_that_goes_on_refusing_is_not_asked_a_third_time_nor_connected_to_each_time(
    refusal: bytes, opened: list[Store]
) -> None:
    server = Refusing(refusal, refusing=1000)
    async with answered(server, opened) as store:
        for _ in range(50):
            with pytest.raises(StoreUnavailable):
                await store.ping()
    assert len(server.asked) == 100
    assert server.connections < 25 or refusal.startswith(b"LOADING"), "redis-py itself closes connections for that"


@pytest.mark.parametrize("refusal", KEPT)
async def test_a_primary_that_cannot_write_is_the_primary_still(refusal: bytes, opened: list[Store]) -> None:
    server = Refusing(refusal, refusing=1000)
    async with answered(server, opened) as store:
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await store.ping()
    assert server.asked == [1, 1, 1]
