"""Outages of providers: the calls that they get, with clients on top that try again by themselves."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest

from plano.conversation import Usage
from plano.testing import Reply
from plano.types import ClientDialect
from tests.asgi import ask as ask_raw
from tests.resilience.gateways import PRICES, budget, of_the_budget, patient, served, settled
from tests.scraping import scrape
from tests.test_pairs import PATHS
from tests.upstream.test_attempts import BEFORE_OUTPUT, EVERY_WAY, STREAM, STREAMED, Net, config, entry
from tests.upstream.test_moving import REPLY, SEAL, history


async def test_3_a_deadline_begins_no_other_attempt() -> None:
    net = Net(config(resilience={"deadline": "0.05s"}))
    net.hosts["a"].fail(500, delay=0.1)
    answer = await net.ask("chat", False)
    assert answer.status == 500
    assert net.hosts.calls == ["a"]


@STREAMED
@pytest.mark.parametrize("case", BEFORE_OUTPUT)
async def test_31_a_client_can_refuse_fallbacks_inside_a_stream(case: str, dialect: ClientDialect) -> None:
    row, more, said, _ = BEFORE_OUTPUT[case]
    net = Net(config(entry("a", row, **more), entry("b", "anthropic")))
    net.hosts["a"].raw(200, STREAM, said)
    answer = await net.ask(dialect, True, headers={"x-plano-no-fallback": "true"})
    assert answer.error is not None
    assert set(net.hosts.calls) == {"a"}
    assert "x-plano-fallback" not in answer.headers


@EVERY_WAY
async def test_34_repeats_do_not_multiply_an_outage(dialect: ClientDialect, stream: bool) -> None:
    """400 requests to a target that is out, each of which may be tried three times."""
    net = Net(config(fallbacks=(), state_storage={"type": "none"}))
    net.hosts["a"].fail(500)
    began = net.clock.now()
    for _ in range(400):
        net.clock.advance(1 / 40)
        assert (await net.ask(dialect, stream)).status == 500
    saved, share = 30, 400 * 0.2 + 3 * (net.clock.now() - began)
    repeats = len(net.hosts.calls) - 400
    assert repeats <= saved + share + 1
    assert repeats >= min(800, share) - 10, "what may be repeated is repeated"


@EVERY_WAY
@pytest.mark.parametrize("status", [500, 503, 529])
async def test_35_a_real_client_does_not_multiply_the_attempts(
    dialect: ClientDialect, stream: bool, status: int
) -> None:
    net = Net()
    for host in net.hosts:
        net.hosts[host].fail(status)
    await _fails_once(net, dialect, stream)


@EVERY_WAY
async def test_35_a_real_client_does_not_multiply_connections(dialect: ClientDialect, stream: bool) -> None:
    net = Net()
    net.hosts.down.update(("a", "b"))
    await _fails_once(net, dialect, stream)


async def _fails_once(net: Net, dialect: ClientDialect, stream: bool) -> None:
    """Asks with the retries that an SDK has by default: one request comes in, and three go out."""
    with served(net.gateway) as (url, counted):
        client = patient(dialect, url)
        with pytest.raises((anthropic.APIStatusError, openai.APIStatusError)) as caught:
            await client.ask("smart", "Hello", stream=stream)
        await client.aclose()
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert (counted.requests, len(net.hosts.calls)) == (1, 3)


@pytest.mark.parametrize("maker", ["messages", "responses"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
async def test_36_a_sealed_history_loses_its_seals_where_it_falls_back(
    dialect: ClientDialect, maker: ClientDialect, stream: bool
) -> None:
    row = "anthropic" if maker == "messages" else "openai"
    net = Net(config(entry("a", row, apis=[maker]), entry("b", row, apis=[maker]), state_storage={"type": "none"}))
    net.hosts["a"].reply(*REPLY)
    net.hosts["b"].reply("here")
    content = "input" if dialect == "responses" else "messages"
    more: dict[str, Any] = {"messages": {"max_tokens": 100}, "chat": {}, "responses": {"store": False}}[dialect]
    if dialect == "responses":
        more["include"] = ["reasoning.encrypted_content"]
    asked = {"model": "smart", content: [{"role": "user", "content": "Why?"}], **more}
    first = await ask_raw(net.gateway, "POST", PATHS[dialect], asked)
    turns = history(dialect, first)

    net.hosts["a"].fail(500)
    answer = await ask_raw(net.gateway, "POST", PATHS[dialect], asked | {content: turns, "stream": stream})
    assert answer.status == 200, answer.body
    assert b"here" in answer.body
    assert answer.headers["x-plano-fallback"] == "server"
    assert SEAL.encode() in net.hosts["a"].last.body, "its maker gets it back"
    sent = net.hosts["b"].last.body
    assert SEAL.encode() not in sent
    assert b"call_1" in sent
    assert b"It is " in sent
    assert "messages.thinking" in answer.headers["x-plano-dropped"]


@EVERY_WAY
async def test_37_both_targets_of_a_hedge_are_recorded_and_charged(dialect: ClientDialect, stream: bool) -> None:
    net = Net(
        config(
            fallbacks=("b",),
            resilience={"hedge": {"after": "0.05s"}},
            prices={"models": PRICES},
            budgets=[budget(tokens=100_000)],
        )
    )
    net.hosts["a"].script(Reply("late", delay=60.0))
    net.hosts["b"].script(Reply("here", usage=Usage(input_tokens=70, output_tokens=30)))
    more: dict[str, Any] = {"store": False} if dialect == "responses" else {}
    answer = await net.ask(dialect, stream, **more)
    assert (answer.text, answer.headers["x-plano-attempts"]) == ("here", "2")
    await settled(net.gateway)
    assert of_the_budget(net.gateway) > 100, "the input that the slower one has read is charged too"
    metrics = await scrape(net.gateway)
    assert metrics.of("plano_hedges_total", outcome="won") == 1
    for model in ("openai/a", "anthropic/b"):
        assert metrics.of("plano_attempts_total", model=model) == 1
        assert metrics.of("plano_cost_dollars_total", model=model) > 0
