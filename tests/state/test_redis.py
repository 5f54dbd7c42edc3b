"""What is particular to the redis store: round trips, keys, and the ways to reach it."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme

from plano.errors import ConfigError, StoreUnavailable
from plano.redis_client import Script
from plano.state import Item, StateSettings, Store, Turn, open_store
from plano.state import redis_scripts as scripts
from plano.state.redis import _conversation_keys, _id_key
from plano.types import Secret
from tests.servers import Proxy, Redis, RedisCluster, Sentinel


def turn(id: str, payload: bytes = b"payload") -> Turn:
    return Turn(id=id, kind="response", created=0.0, payload=payload)


def reach(url: str, opened: list[Store]) -> Store:
    store = open_store(StateSettings(type="redis", url=Secret(url), deadline_seconds=10.0))
    opened.append(store)
    return store


async def check(store: Store) -> None:
    first = await store.put("acme", turn("one"))
    await store.put("acme", turn("two"), after=first)
    assert [found.id for found in await store.get_chain("acme", "two")] == ["one", "two"]
    assert await store.delete("acme", "two")


async def test_each_operation_is_one_round_trip(redis_server: Redis, opened: list[Store]) -> None:
    redis_server.command("FLUSHALL")
    async with Proxy(redis_server.port) as proxy:
        store = reach(f"redis://127.0.0.1:{proxy.port}/0", opened)
        last = None
        for number in range(100):
            last = await store.put("acme", turn(f"t{number}", b"x" * 20_000), after=last)
        await store.get_chain("acme", "t99")
        await store.create_conversation("acme", "conv", b"")
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


async def test_a_server_that_forgot_its_scripts_is_told_them_again(redis_server: Redis, opened: list[Store]) -> None:
    store = reach(redis_server.url, opened)
    await check(store)
    redis_server.command("SCRIPT", "FLUSH")
    await check(store)


async def test_every_key_expires_by_itself(redis_server: Redis, opened: list[Store]) -> None:
    redis_server.command("FLUSHALL")
    store = open_store(StateSettings(type="redis", url=Secret(redis_server.url), ttl_seconds=1000.0))
    opened.append(store)
    first = await store.put("acme", turn("one"))
    await store.put("acme", turn("two"), after=first)
    await store.create_conversation("acme", "conv", b"head", [Item("a", b"")])

    with redis.Redis(port=redis_server.port, decode_responses=True) as client:
        times = {key: client.pttl(key) for key in client.scan_iter()}

    assert len(times) == 3 + 3
    assert all(900_000 < time <= 1_000_000 for time in times.values())


async def test_a_deleted_turns_words_are_gone_from_the_server(redis_server: Redis, opened: list[Store]) -> None:
    redis_server.command("FLUSHALL")
    store = reach(redis_server.url, opened)
    await store.put("acme", turn("one"))
    await store.create_conversation("acme", "conv", b"head", [Item("a", b"")])

    await store.delete("acme", "one")
    await store.delete_conversation("acme", "conv")

    assert redis_server.command("DBSIZE") == 0


async def test_tenants_and_ids_are_not_in_the_keys(redis_server: Redis, opened: list[Store]) -> None:
    redis_server.command("FLUSHALL")
    store = reach(redis_server.url, opened)
    await store.put("a}tenant{", turn("an}id{"))

    keys = redis_server.command("KEYS", "*")

    assert isinstance(keys, list)
    assert not [key for key in keys if "tenant" in key or "id{" in key.removeprefix("plano:id:")]


@pytest.mark.parametrize("kind", ["redis-cluster"])
async def test_a_chain_and_a_conversation_lie_in_one_slot_each_and_many_over_all(
    store: Store, redis_cluster: RedisCluster
) -> None:
    for number in range(30):
        first = await store.put("acme", turn(f"{number}a"))
        await store.put("acme", turn(f"{number}b"), after=first)
        await store.create_conversation("acme", f"conv{number}", b"", [Item("a", b"x")])

    keys = [node.command("KEYS", "*") for node in redis_cluster.nodes]
    assert all(isinstance(found, list) and len(found) > 20 for found in keys)
    assert sum(len(found) for found in keys if isinstance(found, list)) == 30 * (1 + 2 + 3)


async def test_a_cluster_that_moved_a_slot_is_followed(redis_cluster: RedisCluster, opened: list[Store]) -> None:
    store = reach(redis_cluster.url, opened)
    await check(store)
    first, second = redis_cluster.nodes
    for node in (first, second):
        node.command("FLUSHALL")
    name = second.command("CLUSTER", "MYID")
    moved = range(1000)
    try:
        for node in (second, first):
            for slot in moved:
                node.command("CLUSTER", "SETSLOT", slot, "NODE", str(name))
        for number in range(60):
            await store.put("acme", turn(f"t{number}"))
            assert len(await store.get_chain("acme", f"t{number}")) == 1
    finally:
        for node in (first, second):
            node.command("FLUSHALL")
        name = first.command("CLUSTER", "MYID")
        for node in (second, first):  # the owner gives up first: its epoch is higher, and what it claims it gets
            for slot in moved:
                node.command("CLUSTER", "SETSLOT", slot, "NODE", str(name))


async def test_the_primary_is_found_through_a_sentinel(
    redis_server: Redis, sentinel: Sentinel, opened: list[Store]
) -> None:
    sentinel.watch(redis_server)
    await check(reach(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/main/3", opened))


async def test_a_password_and_a_database_are_used(opened: list[Store]) -> None:
    server = Redis()
    try:
        server.command("ACL", "SETUSER", "gate", "on", ">p:a@s", "~*", "+@all")
        server.command("CONFIG", "SET", "requirepass", "other")
        await check(reach(f"redis://gate:p%3Aa%40s@127.0.0.1:{server.port}/5", opened))
        with redis.Redis(port=server.port, password="other", db=5) as client:
            assert client.dbsize() > 0
    finally:
        server.stop()


async def test_a_server_is_reached_over_tls_and_its_certificate_is_checked(
    redis_server: Redis, opened: list[Store], tmp_path: Path
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with Proxy(redis_server.port, tls=context) as proxy:
        store = reach(f"rediss://127.0.0.1:{proxy.port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}", opened)
        await check(store)
        await store.aclose()

        with pytest.raises(Exception, match="cannot be used now"):
            await reach(f"rediss://127.0.0.1:{proxy.port}/0", opened).ping()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1",
        "127.0.0.1:6379",
        "redis://127.0.0.1:port/0",
        "redis://127.0.0.1/notadatabase",
        "redis+sentinel://127.0.0.1:26379",
        "redis+sentinel://127.0.0.1:26379/main/notadatabase",
        "redis+cluster://",
        "redis+cluster://127.0.0.1:a",
        "redis://:secret@127.0.0.1/0?nosuchoption=1",
    ],
)
def test_a_url_that_cannot_work_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ConfigError, match=r"state_storage\.url") as caught:
        open_store(StateSettings(type="redis", url=Secret(url)))
    assert "secret" not in str(caught.value)


def test_an_append_that_is_sent_twice_is_done_once(redis_server: Redis) -> None:
    redis_server.command("FLUSHALL")
    times = (0, 100_000, 100)
    with redis.Redis(port=redis_server.port) as client:

        def run(script: Script, *values: str | int) -> object:
            return client.eval(script.text, 3, "head", "items", "ids", *times, *values)

        assert [run(scripts.CREATE, "mark 1", "head", "a", "1") for _ in range(2)] == [1, 1]
        assert run(scripts.CREATE, "mark 2", "head", "a", "1") == 0
        assert [run(scripts.APPEND, "mark 3", 1, 1000, "b", "2") for _ in range(2)] == [1, 1]
        assert [run(scripts.APPEND, f"mark {n}", 1, 1000, "c", "3") for n in (4, 5)] == [1, 1]
        assert client.zcard("items") == 4


@pytest.mark.parametrize("server", ["redis_server", "redis_cluster"])
@pytest.mark.parametrize("value", [b"", b"garbage", b"a b c d", b"\xff" * 40, b"0" * 16 + b"\x96\xa1x"])
async def test_a_damaged_value_is_said_to_be_one_and_the_store_goes_on(
    server: str, value: bytes, request: pytest.FixtureRequest, opened: list[Store]
) -> None:
    found: Redis | RedisCluster = request.getfixturevalue(server)
    for node in [found] if isinstance(found, Redis) else found.nodes:
        node.command("FLUSHALL")
    store = reach(found.url, opened)
    first = await store.put("acme", turn("one"))
    await store.put("acme", turn("two"), after=first)
    await store.put("acme", turn("whole"))
    await store.create_conversation("acme", "conv", b"head", [Item("a", b"payload")])
    client: Any = store._backend._client
    tree, row = first.key.split(":")[:2]
    await client.do("HSET", f"plano:tree:{{{tree}}}", row, value)
    items = next(key for key in _conversation_keys("acme", "conv") if key.endswith(":items"))
    kind = (await client.do("TYPE", items)).decode()
    assert kind == "zset"
    [member] = await client.do("ZRANGE", items, 0, -1)
    await client.do("ZREM", items, member)
    await client.do("ZADD", items, 1, value)

    for reading in (store.get("acme", "one"), store.get_chain("acme", "two"), store.list_items("acme", "conv")):
        with pytest.raises(StoreUnavailable):
            await reading
    await client.do("SET", _id_key("acme", "one"), value)
    for reading in (store.get("acme", "one"), store.get_chain("acme", "one")):
        with pytest.raises(StoreUnavailable):
            await reading
    assert await store.get("acme", "whole") is not None
