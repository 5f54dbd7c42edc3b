"""Fixtures of the tests of whole gateways whose targets fail or whose limits are reached."""

from tests.state.conftest import redis_server
from tests.upstream.test_attempts import no_waits

__all__ = ["no_waits", "redis_server"]
