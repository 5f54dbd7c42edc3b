"""Limits that several gateways share through a real Redis, which may die, stand still or come back."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from plano.limits.concurrency import LEASE_SECONDS
from plano.testing import FakeProvider, Reply, serve
from plano.types import CLIENT_DIALECTS, ClientDialect
from tests.asgi import ask as ask_raw
from tests.process.gateway import Gateway, plano_up
from tests.resilience.gateways import rule
from tests.servers import Redis
from tests.test_pairs import PATHS
from tests.upstream.test_attempts import EVERY_WAY, Net, body, config


class Pair:
    """Two gateway processes in front of one provider, with limits in one Redis."""

    def __init__(self, gateways: list[Gateway], provider: FakeProvider, redis: Redis) -> None:
        self.gateways = gateways
        self.provider = provider
        self.redis = redis
        self.undecided: list[int] = []

    def ask(self, number: int, dialect: ClientDialect, user: str, *, stream: bool = False) -> int:
        """The status of a request of a user at one of the two. It asks until Redis has taken part in the decision."""
        url = f"{self.gateways[number].url}{PATHS[dialect]}"
        while True:
            answer = httpx.post(url, content=body(dialect, stream), headers={"x-user-id": user}, timeout=60)
            if answer.status_code != 503:
                return answer.status_code
            self.undecided.append(number)


def limited(url: str, redis: Redis, **limit: Any) -> str:
    entry = {"model": "openai/a", "base_url": url, "access_key": "k"}
    return json.dumps(
        {
            "model_providers": [entry],
            "model_aliases": {"smart": {"target": "a"}},
            "ratelimits": [rule("x-user-id", **limit)],
            "shared_state": {"type": "redis", "url": redis.url, "on_failure": "closed"},
            "state_storage": {"type": "none"},
        }
    )


@pytest.fixture
def pair(tmp_path: Path, redis_server: Redis, limit: dict[str, Any]) -> Iterator[Pair]:
    redis_server.command("FLUSHALL")
    provider = FakeProvider()
    with ExitStack() as stack:
        said = limited(stack.enter_context(serve(provider)), redis_server, **limit)
        gateways = []
        for number in range(2):
            folder = tmp_path / str(number)
            folder.mkdir()
            gateways.append(stack.enter_context(plano_up(folder, said, "--workers", "1")))
        yield Pair(gateways, provider, redis_server)


@pytest.mark.parametrize("limit", [{"requests": 10}])
def test_38_of_fifty_at_two_gateways_ten_pass(pair: Pair) -> None:
    for number in range(2):
        assert pair.ask(number, "chat", "warm") == 200
    for dialect in CLIENT_DIALECTS:
        before = len(pair.provider.requests)
        with ThreadPoolExecutor(50) as pool:
            asked = [pool.submit(pair.ask, n % 2, dialect, f"of {dialect}", stream=n % 3 == 0) for n in range(50)]
        statuses = [each.result() for each in asked]
        assert set(statuses) == {200, 429}
        # What Redis grants after the gateway's deadline is used by nobody.
        assert 10 - len(pair.undecided) <= statuses.count(200) <= 10
        assert pair.ask(0, dialect, f"of {dialect}") == 429 or pair.undecided
        assert len(pair.provider.requests) - before <= 10


@pytest.mark.parametrize("limit", [{"in_flight": 1}])
def test_40_the_places_of_a_killed_gateway_are_free_after_their_time(pair: Pair) -> None:
    for number in range(2):
        assert pair.ask(number, "chat", "warm") == 200
    pair.provider.script(Reply("word " * 1000, pause=0.2))
    url = f"{pair.gateways[0].url}{PATHS['chat']}"
    with httpx.stream("POST", url, content=body("chat", True), headers={"x-user-id": "ann"}, timeout=60) as answer:
        assert answer.status_code == 200
        pieces = answer.iter_bytes()  # without a name it would be closed at once, and the connection with it
        assert next(pieces)
        assert pair.ask(1, "chat", "ann") == 429
        os.killpg(pair.gateways[0].process.pid, signal.SIGKILL)
        pair.gateways[0].ended()
    pair.provider.script(Reply("here"))
    assert pair.ask(1, "messages", "ann") == 429, "nobody has given the place back"
    _age(pair.redis, LEASE_SECONDS)
    assert pair.ask(1, "messages", "ann") == 200


def _age(redis: Redis, seconds: float) -> None:
    """Makes all leases so much older, because the time of a Redis server cannot be moved."""
    for key in redis.client.scan_iter(_type="zset"):
        for holder in redis.client.zrange(key, 0, -1):
            redis.client.zincrby(key, -seconds, holder)


@EVERY_WAY
@pytest.mark.parametrize(
    ("on_failure", "status", "ready"), [("local", 200, 200), ("open", 200, 200), ("closed", 503, 503)]
)
async def test_48_requests_are_answered_while_redis_stands_still(
    dialect: ClientDialect, stream: bool, on_failure: str, status: int, ready: int, redis_server: Redis
) -> None:
    redis_server.command("FLUSHALL")
    shared = {"type": "redis", "url": redis_server.url, "on_failure": on_failure}
    rules = [rule(requests=3), rule(model="openai/a", tokens=100_000)]
    net = Net(config(fallbacks=(), ratelimits=rules, shared_state=shared, state_storage={"type": "none"}))
    net.hosts["a"].reply("here")
    with redis_server.frozen():
        answers = [await net.ask(dialect, stream) for _ in range(3)]
        assert [answer.status for answer in answers] == [status] * 3
        for answer in answers:
            assert not [name for name in answer.headers if "ratelimit" in name]
        fourth = await net.ask(dialect, stream)
        assert fourth.status == {"local": 429, "open": 200, "closed": 503}[on_failure]
        if fourth.status >= 400:
            assert int(fourth.headers["retry-after"]) >= 1
        readyz = await ask_raw(net.gateway, "GET", "/readyz")
        assert readyz.status == ready
        assert readyz.json()["status"] == "degraded"
    await net.gateway.aclose()
