"""Servers for the tests of shared limits."""

from tests.state.conftest import redis_cluster, redis_server, sentinel

__all__ = ["redis_cluster", "redis_server", "sentinel"]
