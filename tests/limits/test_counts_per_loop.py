"""The counts that the settings name, on one event loop after another."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from plano.errors import ConfigError
from plano.limits.cells import Rate
from plano.limits.counts_per_loop import CountsPerLoop, open_counts
from plano.limits.memory import MemoryCounts
from plano.limits.settings import SharedState
from plano.types import Secret
from tests.limits.redis_servers import empty
from tests.servers import Redis, RedisCluster

RATE = Rate("requests", 10.0, 86_400.0, 1.0)


def test_counts_are_in_memory_unless_redis_is_named() -> None:
    assert isinstance(open_counts(SharedState()), MemoryCounts)


@pytest.mark.parametrize("url", [None, "http://127.0.0.1", "redis://:secret@127.0.0.1/0?nosuchoption=1"])
def test_a_url_that_cannot_work_is_refused_at_the_start(url: str | None) -> None:
    with pytest.raises(ConfigError, match=r"shared_state\.url") as caught:
        open_counts(SharedState(type="redis", url=url and Secret(url)))
    assert "secret" not in str(caught.value)


def opened(url: str) -> CountsPerLoop:
    counts = open_counts(SharedState(type="redis", url=Secret(url)))
    assert isinstance(counts, CountsPerLoop)
    return counts


async def left(counts: CountsPerLoop) -> float:
    """The amount that is left in Redis after one was taken."""
    # A stall of the machine may outlast the deadline. Then the process counts alone, until a probe is answered.
    async with asyncio.timeout(60):
        while True:
            verdict = await counts.take([RATE])
            if not counts.degraded:
                return verdict.left[0]
            await asyncio.sleep(0.05)


def test_each_event_loop_has_connections_of_its_own_and_all_count_together(redis_server: Redis) -> None:
    empty(redis_server)
    counts = opened(redis_server.url)
    with asyncio.Runner() as one, asyncio.Runner() as other:
        before = one.run(left(counts))
        first = counts._counts
        assert other.run(left(counts)) < before
        assert counts._counts is not first
        one.run(first.aclose())
        other.run(counts.aclose())


def test_it_is_closed_and_used_again(redis_server: Redis) -> None:
    counts = opened(redis_server.url)

    async def use() -> None:
        for _ in range(2):
            assert await counts.ready()
            await counts.take([RATE])
            await counts.settle([])
            await counts.renew([])
            await counts.aclose()

    asyncio.run(use())


def test_failures_are_counted_over_all_loops() -> None:
    counts = opened("redis://127.0.0.1:1/0")

    async def take() -> bool:
        await counts.take([RATE])
        return counts.degraded

    assert [asyncio.run(take()) for _ in range(2)] == [True, True]
    assert counts.failures == {"local": 2}


@pytest.mark.parametrize("name", ["redis_server", "redis_cluster"])
async def test_a_request_is_answered_and_told_apart_while_redis_stands_still(
    name: str, request: pytest.FixtureRequest
) -> None:
    server: Redis | RedisCluster = request.getfixturevalue(name)
    empty(server)
    counts = opened(server.url)
    await left(counts)
    alone = counts.failures["local"]  # in a stall; the process does not forget within a minute
    with ExitStack() as frozen:
        for node in server.nodes if isinstance(server, RedisCluster) else [server]:
            frozen.enter_context(node.frozen())
        async with asyncio.timeout(60):
            admitted = [(await counts.take([RATE])).refused for _ in range(20)].count(None)
        assert admitted == max(0, 10 - alone)
        assert counts.degraded
    await left(counts)
    assert not counts.degraded
    await counts.aclose()
