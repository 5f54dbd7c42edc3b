"""Budgets of a whole gateway: targets that they keep from being asked, fallbacks, and the words of a refusal."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest

from plano import Plano
from plano.conversation import Usage
from plano.errors import ConfigError
from plano.testing import Reply
from plano.testing.client import Received
from plano.types import ClientDialect
from tests.resilience.gateways import PRICES, Held, budget, of_the_budget, patient, served, settled
from tests.server.wire import until
from tests.upstream.test_attempts import EVERY_WAY, Net, config

THOUSAND = Usage(input_tokens=500, output_tokens=250)
"""It costs a dollar at `PRICES`."""


def said(*budgets: dict[str, Any], prices: Any = PRICES, **more: Any) -> dict[str, Any]:
    return config(budgets=list(budgets), prices={"models": prices}, **more)


async def spend(net: Net, model: str, usage: Usage = THOUSAND) -> None:
    """Lets a request use so much."""
    net.hosts[model].script(Reply("here", usage=usage))
    assert (await net.ask("chat", False, model)).status == 200
    await settled(net.gateway)


def refused_for_good(answer: Received) -> bool:
    """Whether a client is told that the budget is spent, so that it does not try again."""
    if answer.headers["x-should-retry"] != "false" or int(answer.headers["retry-after"]) < 1:
        return False
    error = answer.json["error"]
    if answer.dialect == "messages":
        return (answer.status, error["type"]) == (402, "billing_error")
    return (answer.status, error["code"]) == (429, "insufficient_quota")


@EVERY_WAY
async def test_29_a_free_model_falls_back_to_no_model_that_cannot_be_paid(dialect: ClientDialect, stream: bool) -> None:
    free = PRICES | {"openai/a": {"input": 0, "output": 0}}
    net = Net(said(budget(dollars=1.0), prices=free))
    await spend(net, "b")
    net.hosts["a"].reply("here")
    assert (await net.ask(dialect, stream)).text == "here", "the free one still answers"
    net.hosts["a"].fail(500)
    before = net.hosts.calls.count("b")
    answer = await net.ask(dialect, stream)
    assert refused_for_good(answer), answer.body
    assert net.hosts.calls.count("b") == before
    assert of_the_budget(net.gateway) == pytest.approx(1.0)


@EVERY_WAY
async def test_44_a_request_without_a_limit_reserves_no_more_than_its_share(
    dialect: ClientDialect, stream: bool
) -> None:
    """Two requests reserve 4 096 tokens of output each, and some of input."""
    net = Net(said(budget(tokens=9_000)))
    large = {"max_output_tokens" if dialect == "responses" else "max_tokens": 100_000}
    net.hosts["a"].script(Reply("late", delay=60.0))
    held = [Held(net.gateway, dialect, stream, **large) for _ in range(2)]
    await until(lambda: len(net.hosts.calls) == 2)
    answer = await net.ask(dialect, stream)
    assert (answer.status, answer.headers["retry-after"]) == (429, "2"), "it is reserved, and not spent"
    assert "x-should-retry" not in answer.headers
    assert "insufficient_quota" not in answer.body.decode()
    for each in held:
        await each.leave()
    await settled(net.gateway)
    await spend(net, "a", Usage(input_tokens=8_000, output_tokens=900))
    assert (await net.ask(dialect, stream, **large)).status == 200, "something is left"


def test_45_a_price_that_is_not_known_is_an_error_at_the_start() -> None:
    with pytest.raises(ConfigError) as caught:
        Plano(said(budget(dollars=1.0), prices={"openai/a": PRICES["openai/a"]}))
    (problem,) = caught.value.problems
    assert "budgets[0]" in problem
    assert "anthropic/b" in problem


@EVERY_WAY
async def test_46_a_spent_budget_sends_its_requests_to_its_fallback(dialect: ClientDialect, stream: bool) -> None:
    net = Net(said(budget(dollars=1.0, fallback="b"), fallbacks=()))
    await spend(net, "a")
    net.hosts["b"].script(Reply("cheap", usage=THOUSAND))
    for paid in (2.0, 3.0):
        answer = await net.ask(dialect, stream)
        assert (answer.text, answer.headers["x-plano-fallback"]) == ("cheap", "budget")
        assert (answer.headers["x-plano-model"], answer.headers["x-plano-attempts"]) == ("anthropic/b", "1")
        await settled(net.gateway)
        assert of_the_budget(net.gateway) == pytest.approx(paid), "the fallback is charged to the budget"
    assert net.hosts.calls == ["a", "b", "b"]


@EVERY_WAY
async def test_46_a_spent_budget_whose_fallback_fails_says_why(dialect: ClientDialect, stream: bool) -> None:
    net = Net(said(budget(dollars=1.0, fallback="b"), fallbacks=()))
    await spend(net, "a")
    net.hosts["b"].fail(500)
    answer = await net.ask(dialect, stream)
    assert refused_for_good(answer), answer.body
    assert "a" not in net.hosts.calls[1:]


@EVERY_WAY
async def test_47_a_real_client_does_not_wait_for_a_spent_budget(dialect: ClientDialect, stream: bool) -> None:
    net = Net(said(budget(dollars=1.0)))
    await spend(net, "a")
    with served(net.gateway) as (url, counted):
        client = patient(dialect, url)
        with pytest.raises((anthropic.APIStatusError, openai.RateLimitError)) as caught:
            await client.ask("smart", "Hello", stream=stream)
        await client.aclose()
    assert counted.requests == 1, "it was not tried again"
    error = caught.value
    assert error.status_code == (402 if dialect == "messages" else 429)
    assert error.response.headers["x-should-retry"] == "false"
    assert dialect == "messages" or error.code == "insufficient_quota"
    assert net.hosts.calls == ["a"]
