"""Redis that freezes, dies, forgets or is demoted: an answer in time, limits as configured, and recovery by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from plano.errors import StoreUnavailable
from plano.limits.cells import Cell, Lease, Rate, Sum, Verdict
from plano.limits.shared import DEADLINE, PATIENCE, OnFailure, SharedCounts
from plano.redis_client import connect
from tests.limits.redis_servers import PATIENT, SHORT, empty, recovered, shared
from tests.servers import Proxy, Redis, RedisCluster, Sentinel, wait_until
from tests.state.failing import demoted

RATE = Rate("requests", 10.0, 86_400.0, 1.0)
BUDGET = Sum("budget", 10.0, 1.0, time.time() + 86_400.0, None)

KEY_OF_THE_FIRST_NODE, KEY_OF_THE_SECOND_NODE = "b", "a"
"""Their hash slots are 3300 and 15495."""


@pytest.fixture
def server(redis_server: Redis) -> Redis:
    empty(redis_server)
    return redis_server


async def taken(counts: SharedCounts, cell: Any = RATE, times: int = 20) -> int:
    """How many of so many takes, one after the other, are not refused."""
    return [(await counts.take([cell])).refused for _ in range(times)].count(None)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "plano.limits"]


def test_a_request_waits_a_tenth_of_a_second_for_redis() -> None:
    assert DEADLINE == 0.1


@pytest.mark.parametrize(
    ("on_failure", "meanwhile"),
    [("local", "each process keeps the limits by itself"), ("open", "no limits hold")],
)
async def test_requests_are_answered_while_redis_stands_still(
    server: Redis, on_failure: OnFailure, meanwhile: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with shared(server.url, on_failure) as counts:
        assert await taken(counts, times=4) == 4
        assert not counts.degraded
        with server.frozen():
            counts.deadline = SHORT
            async with asyncio.timeout(PATIENT):
                admitted = await taken(counts)
            assert counts.degraded
            assert await counts.ready()
        assert admitted == {"local": 10, "open": 20}[on_failure]
        assert counts.failures == {on_failure: 20}
        await recovered(counts)
        # Of the takes that were sent while it stood still, it has done some and not others.
        assert 10 - 4 - PATIENCE <= await taken(counts) <= 10 - 4
    assert len(said(caplog)) == 2
    assert said(caplog)[0] == f"shared state: Redis cannot be used (TimeoutError); {meanwhile}"
    assert said(caplog)[1].startswith("shared state: Redis answers again, after ")


async def test_closed_refuses_with_a_503_while_redis_stands_still(server: Redis) -> None:
    async with shared(server.url, "closed") as counts:
        assert await counts.ready()
        with server.frozen():
            counts.deadline = SHORT
            for _ in range(PATIENCE + 2):
                with pytest.raises(StoreUnavailable) as caught:
                    await counts.take([RATE])
                assert (caught.value.status, caught.value.code) == (503, "limits_unavailable")
                assert caught.value.retry_after
            assert not await counts.ready()
        await recovered(counts)
        assert await counts.ready()
        assert (await counts.take([RATE])).refused is None


async def test_after_three_failures_no_request_asks_and_only_probes_do(server: Redis) -> None:
    async with Proxy(server.port) as proxy, shared(f"redis://127.0.0.1:{proxy.port}/0") as counts:
        await counts.take([RATE])
        asked = 0

        async def take(cells: Any) -> Any:
            nonlocal asked
            asked += 1
            return await real(cells)

        counts._redis, real = _Watched(counts._redis, take), counts._redis.take
        proxy.mute = True
        counts.deadline = SHORT
        await taken(counts, times=PATIENCE + 20)
        assert asked == PATIENCE
        proxy.mute = False
        await recovered(counts)
        await counts.take([RATE])
        assert asked == PATIENCE + 1
        await counts.aclose()


class _Watched:
    """Counts in Redis of which one method is another."""

    def __init__(self, redis: Any, take: Callable[[Any], Any]) -> None:
        self._redis = redis
        self.take = take

    def __getattr__(self, name: str) -> Any:
        return getattr(self._redis, name)


async def test_calls_that_fail_together_fail_as_one(server: Redis) -> None:
    async with shared(server.url) as counts:
        await counts.take([RATE])
        with server.frozen():
            counts.deadline = SHORT
            await asyncio.gather(*(counts.take([RATE]) for _ in range(50)))
            assert counts._asks
            for _ in range(PATIENCE - 1):
                await counts.take([RATE])
            assert not counts._asks
        await recovered(counts)


async def test_a_process_without_requests_notices_too(server: Redis) -> None:
    async with shared("redis://127.0.0.1:1/0", "closed") as counts:
        assert not counts.degraded
        assert not await counts.ready()
        assert counts.degraded


@contextmanager
def killed(server: Redis) -> Iterator[None]:
    server.kill()
    yield
    server.start()


GONE: dict[str, tuple[Callable[[Redis], AbstractContextManager[None]], str, int]] = {
    "killed and restarted": (killed, "ConnectionError", 10),
    "demoted": (demoted, "ResponseError: READONLY", 6),
}


@pytest.mark.parametrize("way", GONE)
async def test_a_redis_that_takes_no_counts_is_gone_and_is_found_again(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    gone, cause, left = GONE[way]
    server = Redis()
    try:
        async with shared(server.url) as counts:
            assert await taken(counts, times=4) == 4
            with gone(server):
                assert await taken(counts) == 10, "alone, the process has the same limit"
                assert counts.degraded
            await recovered(counts)
            assert await taken(counts) == left
    finally:
        server.stop()
    assert len(said(caplog)) == 2
    assert f"({cause}" in said(caplog)[0]


async def test_a_full_redis_goes_on_counting(server: Redis) -> None:
    async with shared(server.url) as counts:
        assert await taken(counts, times=4) == 4
        server.command("CONFIG", "SET", "maxmemory", 1)
        try:
            assert await taken(counts) == 6
        finally:
            server.command("CONFIG", "SET", "maxmemory", 0)
        assert not counts.degraded


async def test_a_redis_that_was_emptied_goes_on_counting(server: Redis) -> None:
    held = Lease("places", 1, "one")
    async with shared(server.url) as counts:
        assert await taken(counts) == 10
        assert (await counts.take([held])).refused is None
        empty(server)
        assert await taken(counts) == 10
        await counts.renew([held])
        assert (await counts.take([Lease("places", 1, "two")])).refused == 0, "the first still runs"
        assert not counts.degraded


async def test_a_budget_is_kept_true_over_an_outage(server: Redis) -> None:
    async with shared(server.url) as counts:
        for _ in range(6):
            await counts.take([BUDGET])
            await counts.settle([(BUDGET, 0.0)])
        await counts.take([BUDGET])
        with server.frozen():
            counts.deadline = SHORT
            for _ in range(PATIENCE):
                await counts.take([RATE])
            await counts.settle([(BUDGET, 0.5)])  # the one that was taken before
            spent = 0
            while (await counts.take([BUDGET])).refused is None:
                await counts.settle([(BUDGET, 0.0)])
                spent += 1
            assert spent in (2, 3), "alone, it began with the 7 that were spent or reserved"
        await recovered(counts)
        verdict = await counts.take([Sum(BUDGET.key, 100.0, 0.0, BUDGET.ends, None)])
        assert verdict.left == (pytest.approx(100.0 - 6.0 - 1.5 - spent),)


async def test_a_settlement_that_a_frozen_redis_does_later_counts_once(server: Redis) -> None:
    async with shared(server.url) as counts:
        for _ in range(2):
            await counts.take([BUDGET])
        with server.frozen():
            counts.deadline = SHORT
            await counts.settle([(BUDGET, 1.0)])
        await recovered(counts)
        assert (await counts.take([BUDGET])).left == (10.0 - 2.0 - 1.0 - 1.0,)


async def test_a_place_that_was_given_back_in_an_outage_is_free_after_it(server: Redis) -> None:
    place = Lease("places", 1, "one")
    async with shared(server.url) as counts:
        await counts.take([place])
        with server.frozen():
            counts.deadline = SHORT
            await counts.renew([place])
            assert (await counts.take([Lease("places", 1, "two")])).refused == 0
            await counts.release([place])
        await recovered(counts)
        assert (await counts.take([Lease("places", 1, "three")])).refused is None


async def test_what_was_taken_for_a_request_that_is_gone_is_given_back(server: Redis) -> None:
    async with shared(server.url) as counts:
        await counts.take([RATE])
        with server.frozen():
            task = asyncio.create_task(counts.take([BUDGET, Lease("places", 1, "one")]))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await eventually(counts, Lease("places", 1, "two"), lambda verdict: verdict.refused is None)
        await eventually(counts, replace(BUDGET, limit=100.0, cost=0.0), lambda verdict: verdict.left == (100.0,))


async def eventually(counts: SharedCounts, cell: Cell, expected: Callable[[Verdict], bool]) -> None:
    async with asyncio.timeout(PATIENT):
        while not expected(await counts.take([cell])):
            await counts.settle([(cell, 0.0)])


async def test_a_demotion_that_a_sentinel_knows_of_is_followed(sentinel: Sentinel) -> None:
    old, new = Redis(), Redis()
    try:
        sentinel.watch(old)
        async with shared(f"redis+sentinel://127.0.0.1:{sentinel.port}/main") as counts:
            assert await taken(counts) == 10
            with demoted(old):
                sentinel.command("SENTINEL", "REMOVE", "main")
                sentinel.watch(new)
                assert await taken(counts) == 10
                assert not counts.degraded
    finally:
        old.stop()
        new.stop()


async def test_a_cluster_with_a_frozen_node_answers_and_is_found_again(redis_cluster: RedisCluster) -> None:
    empty(redis_cluster)
    async with shared(redis_cluster.url) as counts:
        assert await taken(counts, times=4) == 4
        keeper = next(node for node in redis_cluster.nodes if node.command("DBSIZE"))
        with keeper.frozen():
            counts.deadline = SHORT
            async with asyncio.timeout(PATIENT):
                assert await taken(counts) == 10
            assert counts.degraded
        await recovered(counts)
        assert 10 - 4 - PATIENCE <= await taken(counts) <= 6


async def test_a_cluster_that_is_closed_before_its_nodes_were_found_again_leaves_no_connection(
    redis_cluster: RedisCluster,
) -> None:
    frozen, other = redis_cluster.nodes

    def connections() -> set[int]:
        return {int(connection["id"]) for connection in other.client.client_list(_type="normal")}

    before = connections()
    client = connect(redis_cluster.url, key="shared_state.url", timeout=PATIENT)
    assert await client.do("GET", KEY_OF_THE_SECOND_NODE) is None
    assert connections() - before
    cluster: Any = client._client
    for node in cluster.nodes_manager.nodes_cache.values():
        node.connection_kwargs["socket_timeout"] = SHORT
        for connection in node._connections:
            connection.socket_timeout = SHORT
    with frozen.frozen():
        with pytest.raises(client.failures):
            await client.do("GET", KEY_OF_THE_FIRST_NODE)
        await client.aclose()
    wait_until(lambda: connections() <= before)


@pytest.mark.parametrize("name", ["redis_server", "redis_cluster"])
async def test_a_call_that_outlives_its_client_leaves_no_connection(name: str, request: pytest.FixtureRequest) -> None:
    server: Redis | RedisCluster = request.getfixturevalue(name)
    nodes = server.nodes if isinstance(server, RedisCluster) else [server]

    def connections() -> set[tuple[int, int]]:
        return {(node.port, int(each["id"])) for node in nodes for each in node.client.client_list(_type="normal")}

    before = connections()
    client = connect(server.url, key="shared_state.url", timeout=PATIENT)
    with ExitStack() as stack:
        for node in nodes:
            stack.enter_context(node.frozen())
        call = asyncio.create_task(client.do("GET", KEY_OF_THE_FIRST_NODE))
        done, _ = await asyncio.wait((call,), timeout=SHORT)
        assert not done, "nobody can have answered"
        await client.aclose()
    await asyncio.wait((call,))
    assert call.exception() is None or isinstance(call.exception(), client.failures)
    wait_until(lambda: connections() <= before)
