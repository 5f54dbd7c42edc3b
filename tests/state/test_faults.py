"""Servers that freeze, die or are cut off: answers in time, nothing stored half, and recovery without help.

Deadlines here are short, but long enough for what works to work on a slow machine. `within` only says that nothing
hangs.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from plano.errors import StoreUnavailable
from plano.state import Item, StateSettings, Store, open_store
from plano.types import Secret
from tests.servers import Postgres, Proxy, Redis
from tests.state.conftest import OpenState
from tests.state.failing import DEADLINE, demoted, read_only, recovered, through, turn, within

NETWORKED = ["redis", "postgres"]


@pytest.fixture
def server(kind: str, request: pytest.FixtureRequest) -> Redis | Postgres:
    found: Redis | Postgres = request.getfixturevalue(f"{kind}_server")
    return found


@pytest.mark.parametrize("kind", NETWORKED)
async def test_a_frozen_server_costs_no_more_than_the_deadline(
    open_state: OpenState, server: Redis | Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_state(deadline_seconds=DEADLINE)
    await store.put("acme", turn("one"))
    await store.create_conversation("acme", "conv", b"head")
    operations: list[Callable[[], Any]] = [
        lambda: store.get_chain("acme", "one"),
        lambda: store.get("acme", "one"),
        lambda: store.put("acme", turn("two")),
        lambda: store.delete("acme", "one"),
        lambda: store.get_conversation("acme", "conv"),
        lambda: store.append_items("acme", "conv", [Item("a", b"")]),
        store.ping,
    ]
    with server.frozen():
        for operation in operations:
            with pytest.raises(StoreUnavailable) as caught:
                async with within(10):
                    await operation()
            assert caught.value.status == 503
        async with within(10):
            results = await asyncio.gather(*(operation() for operation in operations * 10), return_exceptions=True)
        assert {type(result) for result in results} == {StoreUnavailable}

    await recovered(store)
    assert await store.get_conversation("acme", "conv") == b"head"
    messages = [record.getMessage() for record in caplog.records if record.name == "plano.state"]
    assert messages == [
        f"state store {store.name}: unavailable (TimeoutError)",
        f"state store {store.name}: answers again",
    ]


@pytest.mark.parametrize("kind", NETWORKED)
async def test_a_server_that_is_frozen_at_the_first_use_costs_no_more_either(
    open_state: OpenState, server: Redis | Postgres
) -> None:
    store = open_state(deadline_seconds=DEADLINE)
    with server.frozen():
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                async with within(10):
                    await store.put("acme", turn("one"))

    await recovered(store)
    await store.put("acme", turn("one"))
    assert len(await store.get_chain("acme", "one")) == 1


@pytest.mark.parametrize("kind", NETWORKED)
async def test_closing_a_store_whose_server_is_frozen_does_not_hang(
    open_state: OpenState, server: Redis | Postgres
) -> None:
    store = open_state(deadline_seconds=DEADLINE)
    await store.ping()
    with server.frozen():
        with pytest.raises(StoreUnavailable):
            await store.ping()
        async with within(10):
            await store.aclose()


@pytest.mark.parametrize("kind", [*NETWORKED, "redis-cluster"])
async def test_cancelled_operations_mix_up_no_answers(open_state: OpenState) -> None:
    store = open_state()
    for number in range(20):
        await store.put("acme", turn(f"t{number}", b"%d" % number * 1000))

    async def leave_early(number: int) -> None:
        task = asyncio.create_task(store.get("acme", f"t{number % 20}"))
        await asyncio.sleep(0.0001 * (number % 17))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for _ in range(5):
        await asyncio.gather(*(leave_early(number) for number in range(60)))
        found = await asyncio.gather(*(store.get("acme", f"t{number}") for number in range(20)))
        assert [one.payload for one in found if one] == [b"%d" % number * 1000 for number in range(20)]


@pytest.mark.parametrize("kind", NETWORKED)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
async def test_a_connection_cut_in_the_middle_of_a_write_stores_nothing_half(
    where: dict[str, Any], server: Redis | Postgres, opened: list[Store], share: float
) -> None:
    payload = bytes(range(256)) * 4000
    async with Proxy(server.port) as proxy:
        store = through(proxy, where, deadline_seconds=5.0)
        opened.append(store)
        first = await store.put("acme", turn("one", payload))
        proxy.cut_after = proxy.sent + int(len(payload) * share)
        with pytest.raises(StoreUnavailable):
            async with within(10):
                await store.put("acme", turn("two", payload), after=first)
        proxy.cut_after = None
        await recovered(store)

        assert await store.get("acme", "two") is None
        assert await store.get_chain("acme", "two") == []
        await store.put("acme", turn("two", payload), after=first)
        assert [found.payload for found in await store.get_chain("acme", "two")] == [payload, payload]
        await store.aclose()


@pytest.mark.parametrize("kind", NETWORKED)
async def test_a_write_whose_acknowledgement_is_lost_is_whole_or_absent(
    where: dict[str, Any], server: Redis | Postgres, opened: list[Store]
) -> None:
    async with Proxy(server.port) as proxy:
        store = through(proxy, where)
        opened.append(store)
        first = await store.put("acme", turn("one"))
        proxy.mute = True
        with pytest.raises(StoreUnavailable):
            await store.put("acme", turn("two"), after=first)
        proxy.mute = False
        await recovered(store)

        chain = [found.id for found in await store.get_chain("acme", "two")]

        assert chain in (["one", "two"], [])
        await store.aclose()


async def test_a_restarted_redis_is_found_again(opened: list[Store]) -> None:
    server = Redis("--appendonly", "yes", "--appendfsync", "always")
    try:
        store = open_store(StateSettings(type="redis", url=Secret(server.url), deadline_seconds=5.0))
        opened.append(store)
        await store.put("acme", turn("one"))
        server.kill()
        with pytest.raises(StoreUnavailable):
            await store.get_chain("acme", "one")
        server.start()
        await recovered(store)

        assert len(await store.get_chain("acme", "one")) == 1
    finally:
        server.stop()


@pytest.mark.parametrize("kind", ["postgres"])
async def test_connections_that_postgres_closed_are_replaced_without_a_failure(
    store: Store, postgres_server: Postgres
) -> None:
    await asyncio.gather(*(store.put("acme", turn(f"t{number}")) for number in range(10)))
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )

    found = await asyncio.gather(*(store.get_chain("acme", f"t{number}") for number in range(10)))

    assert all(found)


@pytest.mark.parametrize("kind", ["postgres"])
async def test_a_table_that_somebody_has_locked_costs_no_more_than_the_deadline(
    open_state: OpenState, schema: str
) -> None:
    store = open_state(deadline_seconds=DEADLINE)
    await store.put("acme", turn("one"))
    with psycopg.connect(schema) as connection:
        connection.execute("LOCK TABLE plano_turns")
        async with within(10):
            results = await asyncio.gather(*(store.get_chain("acme", "one") for _ in range(30)), return_exceptions=True)
        assert {type(result) for result in results} == {StoreUnavailable}

    await recovered(store)
    assert len(await store.get_chain("acme", "one")) == 1


@pytest.fixture
def only_read(kind: str, where: dict[str, Any], request: pytest.FixtureRequest) -> AbstractContextManager[None]:
    """The store of this kind, which answers meanwhile, and takes no write."""
    if kind == "sqlite":
        return locked_file(where["path"])
    if kind == "postgres":
        return read_only(request.getfixturevalue("schema"))
    server = request.getfixturevalue("redis_server")
    return demoted(server) if kind == "redis" else out_of_memory(server)


@contextmanager
def locked_file(path: str) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


@contextmanager
def out_of_memory(server: Redis) -> Iterator[None]:
    server.command("CONFIG", "SET", "maxmemory", 1)
    try:
        yield
    finally:
        server.command("CONFIG", "SET", "maxmemory", 0)


@pytest.mark.parametrize("kind", ["sqlite", "redis", "redis-full", "postgres"])
async def test_a_store_that_answers_and_takes_no_write_is_unavailable_and_the_log_says_so_once(
    open_state: OpenState, only_read: AbstractContextManager[None], caplog: pytest.LogCaptureFixture
) -> None:
    store = open_state(deadline_seconds=DEADLINE)
    await store.put("acme", turn("one"))
    await store.ping()
    with only_read:
        for _ in range(2):
            assert await store.get("acme", "one") is not None
            with pytest.raises(StoreUnavailable):
                await store.ping()
    await recovered(store)
    await store.put("acme", turn("two"))

    said = [record.getMessage() for record in caplog.records if record.name == "plano.state"]
    assert len(said) == 2
    assert said[0].startswith(f"state store {store.name}: unavailable")
    assert said[1] == f"state store {store.name}: answers again"


async def test_pruning_where_there_is_nothing_to_prune_says_nothing_about_the_store(
    opened: list[Store], caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(StateSettings(type="redis", url=Secret("redis://127.0.0.1:1/0"), deadline_seconds=DEADLINE))
    opened.append(store)
    with pytest.raises(StoreUnavailable):
        await store.ping()
    assert await store.prune() == 0
    assert "answers again" not in caplog.text


async def test_nobody_listens(opened: list[Store]) -> None:
    settings = [
        StateSettings(type="redis", url=Secret("redis://127.0.0.1:1/0"), deadline_seconds=DEADLINE),
        StateSettings(type="redis", url=Secret("redis+cluster://127.0.0.1:1"), deadline_seconds=DEADLINE),
        StateSettings(type="redis", url=Secret("redis+sentinel://127.0.0.1:1/main"), deadline_seconds=DEADLINE),
        StateSettings(
            type="postgres",
            connection_string=Secret("postgresql://u:secret@127.0.0.1:1/db"),
            deadline_seconds=DEADLINE,
        ),
    ]
    for each in settings:
        store = open_store(each)
        opened.append(store)
        with pytest.raises(StoreUnavailable) as caught:
            async with within(10):
                await store.ping()
        assert "secret" not in caught.value.message


async def test_a_sqlite_file_that_cannot_be_opened_is_unavailable_until_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "folder" / "state.sqlite3"
    path.parent.mkdir()
    store = open_store(StateSettings(type="sqlite", path=str(path), deadline_seconds=DEADLINE))
    path.mkdir()
    with pytest.raises(StoreUnavailable):
        await store.ping()
    assert "state store sqlite: unavailable (OperationalError: unable to open database file)" in caplog.text
    path.rmdir()

    await store.put("acme", turn("one"))

    assert len(await store.get_chain("acme", "one")) == 1
    await store.aclose()


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_a_locked_sqlite_file_costs_no_more_than_the_deadline(
    open_state: OpenState, where: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    store = open_state(deadline_seconds=DEADLINE)
    await store.put("acme", turn("one"))
    other = sqlite3.connect(where["path"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        async with within(10):
            await store.put("acme", turn("two"))
    assert len(await store.get_chain("acme", "one")) == 1  # reading needs no lock
    other.execute("COMMIT")
    other.close()

    await recovered(store)
    await store.put("acme", turn("three"))
    assert await store.get("acme", "three") is not None
