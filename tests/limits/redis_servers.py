"""Ways into the Redis servers of the tests of limits."""

from __future__ import annotations

from tests.servers import Redis, RedisCluster


def empty(server: Redis | RedisCluster) -> None:
    for node in server.nodes if isinstance(server, RedisCluster) else [server]:
        node.command("FLUSHALL")
