"""Several fake providers, and a gateway that moves from one to the other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from plano import Plano
from plano.errors import UpstreamFailure
from plano.testing import WAYS, Failure, FakeClock, FakeHosts, Reply, ask
from plano.testing.script import Break
from plano.types import ClientDialect

EVERY_WAY = pytest.mark.parametrize(("dialect", "stream"), WAYS)
ROWS: dict[ClientDialect, dict[str, Any]] = {
    "chat": {"model": "openai/first", "apis": ["chat"]},
    "messages": {"model": "anthropic/first"},
    "responses": {"model": "openai/first", "apis": ["responses"]},
}


def pair(upstream: ClientDialect = "chat", **more: Any) -> tuple[FakeHosts, Plano, FakeClock]:
    """Two hosts, of which the first speaks `upstream`, and a gateway with the alias `smart` for both."""
    clock = FakeClock()
    hosts = FakeHosts("first", "second", clock=clock)
    config = {
        "model_providers": [
            {"base_url": "http://first", "access_key": "k", **ROWS[upstream]},
            {"model": "anthropic/second", "base_url": "http://second", "access_key": "k"},
        ],
        "model_aliases": {"smart": {"target": "first", "fallbacks": ["second"]}},
        **more,
    }
    hosts["second"].reply("here")
    return hosts, Plano(config, transport=hosts, clock=clock), clock


BREAKS: list[tuple[Break, UpstreamFailure]] = [
    ("lost", "connect"),
    ("incomplete", "protocol"),
    ("error", "overloaded"),
    (Failure(429, "Slow down."), "rate_limit"),
    (Failure(529, "Overloaded."), "overloaded"),
    (Failure(400, "Too long.", code="context_length_exceeded"), "context_window"),
]


@pytest.mark.parametrize("upstream", ROWS)
@pytest.mark.parametrize(("how", "failure"), BREAKS, ids=[str(each[1]) + str(n) for n, each in enumerate(BREAKS)])
async def test_a_stream_that_breaks_before_output_is_a_failure_of_its_class(
    upstream: ClientDialect, how: Break, failure: UpstreamFailure
) -> None:
    smart = {"target": "first", "fallbacks": [{"target": "second", "conditions": [failure]}]}
    hosts, gateway, _ = pair(upstream, model_aliases={"smart": smart})
    hosts["first"].breaks_after(0, how=how)
    answer = await ask(gateway, "chat", "Hello", stream=True, model="smart")
    assert (answer.text, answer.fallback, answer.attempts) == ("here", failure, 2)
    assert answer.model == "anthropic/second"


@pytest.mark.parametrize("upstream", ROWS)
@pytest.mark.parametrize(
    "how", ["lost", "incomplete", "error", Failure(500)], ids=["lost", "incomplete", "error", "failure"]
)
async def test_a_stream_that_breaks_after_output_is_not_tried_again(upstream: ClientDialect, how: Break) -> None:
    hosts, gateway, _ = pair(upstream)
    hosts["first"].breaks_after(8, how=how)
    answer = await ask(gateway, "chat", "Hello", stream=True, model="smart")
    assert answer.text.startswith("word")
    assert answer.error is not None
    assert hosts.calls == ["first"]


@EVERY_WAY
async def test_the_waits_of_a_minute_take_no_time(dialect: ClientDialect, stream: bool) -> None:
    hosts, gateway, clock = pair(model_aliases={"smart": {"target": "first"}}, resilience={"max_attempts": 3})
    hosts["first"].fails(2, 429, retry_after=10)
    hosts["first"].reply("here")
    answer = await asyncio.wait_for(ask(gateway, dialect, "Hello", stream=stream, model="smart"), 20)
    assert (answer.text, answer.attempts, answer.fallback) == ("here", 3, None)
    assert clock.now() == 20.0


@EVERY_WAY
async def test_a_rest_is_over_when_the_test_says(dialect: ClientDialect, stream: bool) -> None:
    hosts, gateway, clock = pair()
    hosts["first"].fails(1, 429, retry_after=600)
    hosts["first"].reply("first")
    texts = []
    for seconds in (0, 599, 2):
        clock.advance(seconds)
        texts.append((await ask(gateway, dialect, "Hello", stream=stream, model="smart")).text)
    assert texts == ["here", "here", "first"]


@EVERY_WAY
async def test_limits_go_by_the_clock(dialect: ClientDialect, stream: bool) -> None:
    rule = {"selector": {"by": "tenant"}, "limit": {"requests": 2, "unit": "hour"}}
    hosts, gateway, clock = pair(ratelimits=[rule])
    hosts["first"].reply("first")
    statuses = []
    for seconds in (0, 0, 0, 1799, 2):
        clock.advance(seconds)
        statuses.append((await ask(gateway, dialect, "Hello", stream=stream, model="smart")).status)
    assert statuses == [200, 200, 429, 429, 200]


@EVERY_WAY
async def test_a_budget_is_full_again_in_the_next_month(dialect: ClientDialect, stream: bool) -> None:
    budget = {"name": "all", "selector": {"by": "tenant"}, "limit": {"tokens": 1, "unit": "month"}}
    hosts, gateway, clock = pair(budgets=[budget])
    hosts["first"].reply("first")
    statuses = []
    for days in (0, 0, 30, 1):
        clock.advance(days * 86400)
        statuses.append((await ask(gateway, dialect, "Hello", stream=stream, model="smart")).status)
    assert statuses == [200, 402 if dialect == "messages" else 429, 402 if dialect == "messages" else 429, 200]


@EVERY_WAY
async def test_who_waits_for_a_place_waits_by_the_clock(dialect: ClientDialect, stream: bool) -> None:
    hosts, gateway, clock = pair(admission={"max_in_flight": 1, "queue": 1, "queue_wait": "2s"})
    hosts["first"].script(Reply("slow", delay=5.0))
    asked = [ask(gateway, dialect, "Hello", stream=stream, model="smart") for _ in range(2)]
    first, second = await asyncio.wait_for(asyncio.gather(*asked), 20)
    assert first.text == "slow"
    assert second.status == (529 if dialect == "messages" else 503)
    assert clock.now() == 5.0


async def test_a_host_that_is_down_refuses() -> None:
    hosts, gateway, _ = pair()
    hosts.down.add("first")
    answer = await ask(gateway, "chat", "Hello", model="smart")
    assert (answer.text, answer.fallback, hosts.calls) == ("here", "connect", ["first", "second"])
    assert list(hosts) == ["first", "second"]


async def test_without_failures_one_attempt_is_told() -> None:
    hosts, gateway, _ = pair()
    hosts["first"].reply("first")
    answer = await ask(gateway, "chat", "Hello", model="first")
    assert (answer.text, answer.attempts, answer.fallback, answer.model) == ("first", 1, None, "openai/first")
