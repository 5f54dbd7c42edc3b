"""Fixtures of the tests of whole gateways whose targets fail or whose limits are reached."""

from tests.state.conftest import redis_server

__all__ = ["redis_server"]
