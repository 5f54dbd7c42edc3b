"""Limits of a whole gateway, by rules for all models and for the target that runs, in every dialect."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from plano.conversation import Usage
from plano.operations import OPERATIONS
from plano.testing import Reply
from plano.types import ClientDialect
from tests import oracles
from tests.asgi import Exchange, Leaving, scope
from tests.resilience.gateways import Held, Patient, left, rule, settled
from tests.server.wire import serving, until
from tests.upstream.test_attempts import EVERY_WAY, STREAMED, Net, body, config

FOR = pytest.mark.parametrize("model", [None, "openai/a"], ids=["all", "target"])
"""Rules that are judged once for a request, and for each attempt."""


def alone(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A gateway's configuration with one target and these rules."""
    return config(fallbacks=(), ratelimits=list(rules), **more)


@EVERY_WAY
@FOR
async def test_38_of_fifty_at_once_ten_pass(dialect: ClientDialect, stream: bool, model: str | None) -> None:
    net = Net(alone(rule(model=model, requests=10)))
    net.hosts["a"].reply("here")
    answers = await asyncio.gather(*(net.ask(dialect, stream) for _ in range(50)))
    assert sorted(answer.status for answer in answers) == [200] * 10 + [429] * 40
    assert len(net.hosts.calls) == 10
    refused = [answer for answer in answers if answer.status == 429]
    for answer in refused:
        assert oracles.error(dialect, answer.body)["type"] == "rate_limit_error"
        assert int(answer.headers["retry-after"]) >= 1


@STREAMED
@FOR
async def test_39_a_place_is_free_when_a_connection_is_cut(dialect: ClientDialect, model: str | None) -> None:
    """The wait is shorter than the time in which a place that nobody gives back is free by itself."""
    net = Net(alone(rule(model=model, in_flight=1)))
    net.hosts["a"].script(Reply("word " * 1000, pause=0.05))
    asked = body(dialect, True)
    head = f"POST {OPERATIONS['create'].paths[dialect]} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(asked)}\r\n\r\n"
    async with serving(net.gateway) as server, server.client() as client:
        await client.send(head.encode() + asked)
        assert await client.until(b"word")
        assert (await net.ask(dialect, True)).status == 429
        net.hosts["a"].reply("here")
        client.leave()
        async with asyncio.timeout(10):
            while (await net.ask(dialect, True)).status == 429:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert net.hosts["a"].requests[0].outcome == "left"


@EVERY_WAY
@FOR
async def test_41_requests_that_find_no_place_count_for_no_rate(
    dialect: ClientDialect, stream: bool, model: str | None
) -> None:
    net = Net(alone(rule(model=model, requests=40, tokens=100_000, in_flight=2)))
    net.hosts["a"].script(Reply("late", delay=60.0))
    held = [Held(net.gateway, dialect, stream) for _ in range(2)]
    await until(lambda: len(net.hosts.calls) == 2)
    refused = [await net.ask(dialect, stream) for _ in range(9)]
    assert [answer.status for answer in refused] == [429] * 9
    for each in held:
        await each.leave()
    net.hosts["a"].reply("here")
    answer = await net.ask(dialect, stream)
    assert answer.status == 200
    assert left(answer, "requests") == 40 - 3
    assert net.hosts.calls == ["a"] * 3


@EVERY_WAY
@FOR
async def test_42_tokens_are_counted_at_the_end(dialect: ClientDialect, stream: bool, model: str | None) -> None:
    net = Net(alone(rule(model=model, tokens=100_000)))
    net.hosts["a"].script(Reply("Hello", usage=Usage(input_tokens=70, output_tokens=30)))
    first = await net.ask(dialect, stream)
    await settled(net.gateway)
    second = await net.ask(dialect, stream)
    assert left(first, "tokens") - left(second, "tokens") == 100


@EVERY_WAY
@FOR
async def test_43_a_request_above_the_limit_passes_when_the_bucket_is_full(
    dialect: ClientDialect, stream: bool, model: str | None
) -> None:
    net = Net(alone(rule(model=model, tokens=500, period="50s")))
    net.hosts["a"].script(Reply("Hello", usage=Usage(input_tokens=70, output_tokens=30)))
    large = {"max_output_tokens" if dialect == "responses" else "max_tokens": 20_000}
    for _ in range(3):
        assert (await net.ask(dialect, stream, **large)).status == 200
        await settled(net.gateway)
        early = await net.ask(dialect, stream, **large)
        assert (early.status, early.headers["retry-after"]) == (429, "10")
        net.clock.advance(10.0)


USER = pytest.mark.parametrize("by", ["x-user-id", "X-User-Id"])


@EVERY_WAY
@FOR
@USER
async def test_49_each_value_of_a_header_has_a_limit_of_its_own(
    dialect: ClientDialect, stream: bool, model: str | None, by: str
) -> None:
    net = Net(alone(rule(by, model=model, requests=1)))
    net.hosts["a"].reply("here")
    passed = [
        (await net.ask(dialect, stream, headers={"x-user-id": user})).status for user in ("ann", "bob", "ann", "*", "*")
    ]
    assert passed == [200, 200, 429, 200, 429]


@EVERY_WAY
@FOR
async def test_50_without_the_header_there_is_no_such_limit(
    dialect: ClientDialect, stream: bool, model: str | None
) -> None:
    net = Net(alone(rule("x-user-id", model=model, requests=1)))
    net.hosts["a"].reply("here")
    answers = [await net.ask(dialect, stream) for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert not [name for name in answers[-1].headers if "ratelimit" in name]


@EVERY_WAY
@FOR
async def test_50_a_header_that_is_required_must_be_there(
    dialect: ClientDialect, stream: bool, model: str | None
) -> None:
    net = Net(alone(rule("x-user-id", model=model, requests=1) | {"required": True}))
    answer = await net.ask(dialect, stream)
    assert answer.status == 400
    assert "x-user-id" in str(answer.error)
    assert net.hosts.calls == []


ONLY_TOOLS: dict[str, dict[str, Any]] = {
    "chat": {
        "messages": [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": ""},
        ]
    },
    "messages": {
        "messages": [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c"}]},
        ]
    },
    "responses": {
        "input": [
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": ""},
        ]
    },
}


@EVERY_WAY
@FOR
async def test_51_an_input_without_texts_counts_hardly_anything(
    dialect: ClientDialect, stream: bool, model: str | None
) -> None:
    net = Net(alone(rule(model=model, tokens=100_000)))
    net.hosts["a"].script(Reply("", usage=None))
    first = await net.ask(dialect, stream, **ONLY_TOOLS[dialect])
    assert first.status == 200, first.body
    await settled(net.gateway)
    second = await net.ask(dialect, stream, **ONLY_TOOLS[dialect])
    assert 0 <= left(first, "tokens") - left(second, "tokens") < 50


@STREAMED
@FOR
@pytest.mark.parametrize("when", ["before output", "within it"])
async def test_21_what_a_client_left_behind_is_estimated(dialect: ClientDialect, model: str | None, when: str) -> None:
    net = Patient(alone(rule(model=model, tokens=100_000)))
    net.hosts["a"].reply("here", usage=Usage(input_tokens=1, output_tokens=1))
    before = await net.ask(dialect, True)
    await settled(net.gateway)
    if when == "within it":
        net.hosts["a"].script(Reply("word " * 4000, pause=0.001, usage=None))
        exchange: Exchange = Leaving(40, body(dialect, True))
        path = OPERATIONS["create"].paths[dialect]
        await asyncio.wait_for(net.gateway(scope("POST", path), exchange.receive, exchange.send), 30)
    else:
        net.hosts["a"].script(Reply("late", delay=60.0))
        held = Held(net.gateway, dialect, True)
        await until(lambda: len(net.hosts.calls) == 2)
        await held.leave()
    assert net.hosts["a"].last.outcome == "left"
    net.hosts["a"].reply("here")
    await settled(net.gateway)
    used = left(before, "tokens") - left(await net.ask(dialect, True), "tokens") - 2
    assert 20 < used < 300 if when == "within it" else 0 < used < 20
