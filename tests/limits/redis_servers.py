"""Ways into the Redis servers of the tests of limits, and patience with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from plano.limits.redis import RedisCounts
from plano.limits.shared import OnFailure, SharedCounts
from plano.redis_client import connect
from tests.servers import Redis, RedisCluster

PATIENT = 10.0
"""Seconds that no working server needs, even on a busy machine."""

SHORT = 0.1
"""Seconds to wait for a server that is known not to answer."""


def empty(server: Redis | RedisCluster) -> None:
    for node in server.nodes if isinstance(server, RedisCluster) else [server]:
        node.command("FLUSHALL")


@asynccontextmanager
async def shared(url: str, on_failure: OnFailure = "local") -> AsyncIterator[SharedCounts]:
    client = connect(url, key="shared_state.url", timeout=PATIENT)
    counts = SharedCounts(RedisCounts(client), on_failure, deadline=PATIENT, probe_seconds=0.05)
    try:
        yield counts
    finally:
        async with asyncio.timeout(PATIENT):
            await counts.aclose()


async def recovered(counts: SharedCounts) -> None:
    """Returns when the counts are shared again, by themselves."""
    async with asyncio.timeout(2 * PATIENT):
        await asyncio.gather(*counts._tasks)
    assert not counts.degraded
    counts.deadline = PATIENT
