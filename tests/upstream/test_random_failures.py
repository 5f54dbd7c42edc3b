"""Whatever targets do, a request keeps to its attempts, its reply is one target's, and nothing stays taken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano import Plano
from plano.testing import WAYS, Failure, FakeClock, FakeHosts, Reply, Verbatim, ask
from plano.testing.client import Received
from plano.types import ClientDialect

HOSTS = ("a", "b", "c")

ANSWERS: dict[str, Any] = {
    "answers": lambda host: Reply(f"text of {host}. " * 5),
    "calls": lambda host: Reply(f"text of {host}.", usage=None),
    "500": lambda host: Failure(500),
    "overloaded": lambda host: Failure(529),
    "429": lambda host: Failure(429),
    "429 soon": lambda host: Failure(429, headers={"retry-after": "1"}),
    "429 late": lambda host: Failure(429, headers={"retry-after": "600"}),
    "401": lambda host: Failure(401),
    "402": lambda host: Failure(402),
    "404": lambda host: Failure(404, code="model_not_found"),
    "400": lambda host: Failure(400),
    "too long": lambda host: Failure(400, code="context_length_exceeded"),
    "lost at once": lambda host: Reply(f"text of {host}. " * 5, breaks_after=0),
    "lost later": lambda host: Reply(f"text of {host}. " * 5, breaks_after=4),
    "cut": lambda host: Reply(f"text of {host}. " * 5, breaks_after=4, how="incomplete"),
    "error later": lambda host: Reply(f"text of {host}. " * 5, breaks_after=4, how="error"),
    "page": lambda host: Verbatim(200, {"content-type": "text/html"}, b"<html></html>"),
    "empty": lambda host: Verbatim(200, {"content-type": "text/event-stream"}, b""),
    "late": lambda host: Reply(f"text of {host}.", delay=60.0),
}

scripts = st.fixed_dictionaries(
    {host: st.lists(st.sampled_from(sorted(ANSWERS)), min_size=1, max_size=4) for host in HOSTS}
)


def config(most: int, hedge: float | None) -> dict[str, Any]:
    resilience: dict[str, Any] = {"max_attempts": most, "first_output": "50s", "deadline": "200s"}
    return {
        "model_providers": [
            {
                "model": f"{'anthropic' if host == 'b' else 'openai'}/{host}",
                "base_url": f"http://{host}",
                "access_keys": [f"sk-{host}-first", f"sk-{host}-second"],
                "max_in_flight": 2,
            }
            for host in HOSTS
        ],
        "model_aliases": {
            "smart": {
                "targets": [{"model": "a", "weight": 3}, {"model": "b", "weight": 1}],
                "fallbacks": [{"target": "c", "conditions": ["any", "context_window"]}],
            }
        },
        "resilience": resilience | ({} if hedge is None else {"hedge": hedge}),
        "ratelimits": [
            {"selector": {"by": "tenant"}, "limit": {"in_flight": 5}},
            {
                "model": "openai/a",
                "selector": {"by": "tenant"},
                "limit": {"tokens": 1_000_000, "in_flight": 5, "unit": "day"},
            },
        ],
        "state_storage": {"type": "none"},
    }


@pytest.mark.parametrize(("dialect", "stream"), WAYS)
@settings(max_examples=40)
@given(script=scripts, most=st.integers(1, 4), hedge=st.sampled_from([None, None, 10.0]), times=st.integers(1, 3))
def test_a_request_keeps_to_its_attempts_and_its_reply_is_one_targets(
    dialect: ClientDialect, stream: bool, script: dict[str, list[str]], most: int, hedge: float | None, times: int
) -> None:
    asyncio.run(_check(dialect, stream, script, most, hedge, times))


async def _check(
    dialect: ClientDialect, stream: bool, script: dict[str, list[str]], most: int, hedge: float | None, times: int
) -> None:
    clock = FakeClock()
    hosts = FakeHosts(*HOSTS, clock=clock)
    for host, names in script.items():
        hosts[host].script(*(ANSWERS[name](host) for name in names))
    gateway = Plano(config(most, hedge), transport=hosts, clock=clock)
    for _ in range(times):
        before = len(hosts.calls)
        answer = await ask(gateway, dialect, "Hello", stream=stream, model="smart")
        assert len(hosts.calls) - before <= most
        _judge(answer, dialect, hosts.calls[before:])
    survivors = gateway._survivors
    assert [each for each in survivors.choosing.health.snapshot() if each.in_flight] == []
    for target in gateway.models.targets():
        slots = survivors.choosing.slots.of(target)
        assert slots is not None
        assert slots.in_flight == 0
    await gateway.aclose()


def _judge(answer: Received, dialect: ClientDialect, calls: list[str]) -> None:
    """The reply is one target's, it begins once, and it ends as one or with an error."""
    said = {host for host in HOSTS if f"text of {host}" in answer.body.decode()}
    assert len(said) <= 1
    assert answer.complete
    if answer.status < 400:
        assert answer.error is not None or said <= set(calls)
        assert "x-plano-attempts" in answer.headers
    begins = {
        "chat": b'"role":"assistant"',
        "messages": b"event: message_start",
        "responses": b"event: response.created",
    }
    assert answer.body.count(begins[dialect]) <= 1
