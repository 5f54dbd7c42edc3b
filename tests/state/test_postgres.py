"""What is particular to the postgres store: round trips, tables, and what it reads of katanemo's Plano."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from pathlib import Path

import psycopg
import pytest
import trustme

from plano.errors import ConfigError, StoreUnavailable, TooLarge
from plano.state import IMPORTED, Item, StateSettings, Store, Turn, open_store
from plano.types import Secret
from tests.servers import Postgres, Proxy
from tests.state.conftest import Clock, OpenState

KINDS = ["postgres"]

ORIGINAL_TABLE = """CREATE TABLE conversation_states (
    response_id TEXT PRIMARY KEY, input_items JSONB NOT NULL, created_at BIGINT NOT NULL, model TEXT NOT NULL,
    provider TEXT NOT NULL, updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)"""

ITEMS = [
    {"type": "message", "role": "user", "content": "What is 2+2? \u00fc"},
    {"type": "message", "role": "assistant"},
]


def turn(id: str, payload: bytes = b"payload") -> Turn:
    return Turn(id=id, kind="response", created=0.0, payload=payload)


def fill_original_table(schema: str) -> None:
    with psycopg.connect(schema) as connection:
        connection.execute(ORIGINAL_TABLE)
        connection.execute(
            "INSERT INTO conversation_states (response_id, input_items, created_at, model, provider) "
            "VALUES ('resp_old', %s, 1700000000, 'gpt-4o', 'openai')",
            [json.dumps(ITEMS)],
        )


def rows(schema: str, table: str) -> int:
    with psycopg.connect(schema) as connection:
        found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # type: ignore[arg-type]
    assert found is not None
    return int(found[0])


async def test_each_operation_is_one_round_trip(schema: str, postgres_server: Postgres, opened: list[Store]) -> None:
    async with Proxy(postgres_server.port) as proxy:
        url = schema.replace(f":{postgres_server.port}/", f":{proxy.port}/")
        store = open_store(StateSettings(type="postgres", connection_string=Secret(url), deadline_seconds=10.0))
        opened.append(store)
        last = None
        for number in range(100):
            last = await store.put("acme", turn(f"t{number}", b"x" * 20_000), after=last)
        await store.create_conversation("acme", "conv", b"")
        for _ in range(10):  # psycopg prepares a statement, once, when it has seen it a few times
            await store.get_chain("acme", "t0")
            await store.get("acme", "t0")
            await store.append_items("acme", "conv", [Item("a", b"x")])
            await store.list_items("acme", "conv")
        trips = []
        for operation in (
            store.get_chain("acme", "t99"),
            store.get_chain("acme", "t0"),
            store.get("acme", "t50"),
            store.put("acme", turn("next", b"x" * 1_000_000), after=last),
            store.append_items("acme", "conv", [Item(f"i{number}", b"x") for number in range(20)]),
            store.list_items("acme", "conv", limit=20),
        ):
            before = proxy.trips
            await operation
            trips.append(proxy.trips - before)
        await store.aclose()

    assert trips == [1] * 6


async def test_an_id_of_the_original_is_continued(open_state: OpenState, schema: str) -> None:
    fill_original_table(schema)
    store = open_state()

    (old,) = await store.get_chain("default", "resp_old")
    assert (old.id, old.parent, old.kind, old.created) == ("resp_old", None, IMPORTED, 1_700_000_000.0)
    assert json.loads(old.payload) == ITEMS
    assert await store.get("default", "resp_old") == old

    new = await store.put("default", turn("resp_new"), after=old)
    await store.put("default", turn("resp_newer"), after=new)
    chain = await store.get_chain("default", "resp_newer")
    assert [(found.id, found.kind) for found in chain] == [
        ("resp_old", IMPORTED),
        ("resp_new", "response"),
        ("resp_newer", "response"),
    ]
    assert json.loads(chain[0].payload) == ITEMS


async def test_the_originals_table_is_read_and_never_written(open_state: OpenState, schema: str) -> None:
    fill_original_table(schema)
    store = open_state()
    (old,) = await store.get_chain("default", "resp_old")
    await store.put("default", turn("resp_new"), after=old)
    await store.delete("default", "resp_old")
    await store.prune()

    assert rows(schema, "conversation_states") == 1


async def test_the_originals_ids_belong_to_one_tenant(open_state: OpenState, schema: str) -> None:
    fill_original_table(schema)

    assert await open_state().get_chain("acme", "resp_old") == []
    assert await open_state().get("acme", "resp_old") is None
    assert len(await open_state(import_tenant="acme").get_chain("acme", "resp_old")) == 1


async def test_a_history_of_the_original_over_the_limit_is_refused(open_state: OpenState, schema: str) -> None:
    fill_original_table(schema)

    with pytest.raises(TooLarge):
        await open_state(max_chain_bytes=10).get_chain("default", "resp_old")


async def test_gateways_that_start_at_once_make_the_tables_once(open_state: OpenState, schema: str) -> None:
    stores = [open_state() for _ in range(8)]

    await asyncio.gather(*(store.put("acme", turn(f"t{number}")) for number, store in enumerate(stores)))

    assert rows(schema, "plano_turns") == 8
    assert rows(schema, "plano_schema") == 1


async def test_a_role_that_may_not_create_tables_uses_those_that_are_there(
    open_state: OpenState, schema: str, opened: list[Store]
) -> None:
    await open_state().ping()
    name = schema.rpartition("%3D")[2]
    with psycopg.connect(schema) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN")  # type: ignore[arg-type]
        connection.execute(f"GRANT USAGE ON SCHEMA {name} TO {name}")  # type: ignore[arg-type]
        connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {name} TO {name}")  # type: ignore[arg-type]
        connection.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {name} TO {name}")  # type: ignore[arg-type]

    limited = open_state(connection_string=Secret(schema.replace("postgres@", f"{name}@")))

    await limited.put("acme", turn("one"))
    assert len(await limited.get_chain("acme", "one")) == 1


async def test_pruning_leaves_no_rows_behind(open_state: OpenState, schema: str, clock: Clock) -> None:
    store = open_state(ttl_seconds=100.0)
    for number in range(45):
        first = await store.put("acme", turn(f"a{number}"))
        await store.put("acme", turn(f"b{number}"), after=first)
        await store.create_conversation("acme", f"conv{number}", b"", [Item("a", b"x")])
    clock.passes(100.0)

    removed = await asyncio.gather(store.prune(), open_state().prune())

    assert sum(removed) == 90
    tables = ("plano_trees", "plano_turns", "plano_conversations", "plano_items")
    assert [rows(schema, table) for table in tables] == [0] * 4


async def test_statements_end_on_the_server_too(open_state: OpenState, schema: str) -> None:
    """Else a lock would gather one forgotten statement per request."""
    store = open_state(deadline_seconds=2.0)
    await store.put("acme", turn("one"))
    with psycopg.connect(schema) as connection:
        connection.execute("LOCK TABLE plano_turns")
        await asyncio.gather(*(store.get("acme", "one") for _ in range(5)), return_exceptions=True)
        with psycopg.connect(schema, autocommit=True) as watching:
            give_up = time.monotonic() + 10
            waiting = 1
            while waiting and time.monotonic() < give_up:
                found = watching.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                ).fetchone()
                waiting = found[0] if found else 0
    assert waiting == 0


def test_a_loop_that_ends_while_a_connection_is_made_does_not_wait_for_it(postgres_server: Postgres) -> None:
    """In a host that does not close what it mounts."""

    async def leave_open() -> None:
        settings = StateSettings(type="postgres", connection_string=Secret(postgres_server.url), deadline_seconds=0.5)
        with pytest.raises(StoreUnavailable):
            await open_store(settings).ping()

    with postgres_server.frozen():
        loop = threading.Thread(target=asyncio.run, args=[leave_open()], daemon=True)
        loop.start()
        loop.join(20)
        assert not loop.is_alive()


@pytest.mark.parametrize("text", ["host=localhost nosuchoption=secret", "postgresql://u:secret@host/db?nosuch=1"])
def test_a_connection_string_that_cannot_work_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ConfigError, match="connection_string") as caught:
        open_store(StateSettings(type="postgres", connection_string=Secret(text)))
    assert "secret" not in str(caught.value)


async def test_a_server_is_reached_over_tls_and_its_certificate_is_checked(
    postgres_server: Postgres, tmp_path: Path
) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    stranger.cert_pem.write_to_path(str(tmp_path / "stranger.pem"))

    def reach(host: str, ca: str) -> Store:
        place = postgres_server.url.replace(f"127.0.0.1:{postgres_server.port}", f"{host}:{proxy.port}")
        url = f"{place}?sslmode=verify-full&sslrootcert={tmp_path / ca}"
        return open_store(StateSettings(type="postgres", connection_string=Secret(url)))

    async with Proxy(postgres_server.port, postgres_tls=context) as proxy:
        store = reach("localhost", "ca.pem")
        await store.put("acme", turn("over-tls"))
        assert await store.get("acme", "over-tls") is not None
        await store.aclose()
        for host, ca in (("localhost", "stranger.pem"), ("127.0.0.1", "ca.pem")):
            refused = reach(host, ca)
            with pytest.raises(StoreUnavailable):
                await refused.ping()
            await refused.aclose()
