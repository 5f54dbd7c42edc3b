"""Limits in a whole gateway, in front of a provider: places, tokens and headers of real requests."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from plano import Plano
from plano.attempt import Attempt
from plano.conversation import Usage
from plano.filters.limits import Limits
from plano.journal import Journal
from plano.limits.grants import used_by
from plano.limits.judge import Judge
from plano.limits.memory import MemoryCounts
from plano.limits.settings import Rule
from plano.testing import WAYS, FakeProvider, Reply, serve
from plano.testing import ask as ask_for
from plano.types import CLIENT_DIALECTS, ClientDialect
from tests import oracles
from tests.asgi import Exchange, ask, scope
from tests.limits.asking import Known, rule
from tests.limits.clock import Clock
from tests.test_promises import MINIMAL, PATHS


class Gateway:
    """A gateway with limits as its only filter."""

    def __init__(
        self, *rules: Rule, transport: FakeProvider | None = None, url: str | None = None, twice: bool = False
    ) -> None:
        self.clock = Clock()
        self.counts = MemoryCounts(self.clock)
        self.journals: list[Any] = []
        self._twice = twice
        entry = {"model": "fake/m", "provider_interface": "openai", "access_key": "k", "apis": list(CLIENT_DIALECTS)}
        self.app = Plano(
            {"model_providers": [entry | {"base_url": url or "https://llm.example/v1", "default": True}]},
            filters=[self._watch, Limits(Judge(rules, [], self.counts, Known(), clock=self.clock))],
            transport=transport,
        )

    async def _watch(self, request: Any, call_next: Any) -> Any:
        self.journals.append(request.journal)
        if self._twice:
            await call_next(request)
        return await call_next(request)

    async def left(self, counts: str) -> int:
        """The amount that is left, as a request is told that uses nothing in the end."""
        self.app._survivors.observing.finished_requests.flush()
        await ask(self.app, "POST", PATHS["chat"], MINIMAL["chat"] | {"model": "unknown"})
        self.app._survivors.observing.finished_requests.flush()
        journal = self.journals[-1]
        return next(gauge.left for gauge in journal.gauges if gauge.counts == counts)


def body(dialect: ClientDialect, **more: Any) -> dict[str, Any]:
    return MINIMAL[dialect] | more


@pytest.mark.parametrize("dialect", CLIENT_DIALECTS)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_refused_request_gets_a_429_in_its_dialect_and_reaches_no_provider(
    dialect: ClientDialect, stream: bool
) -> None:
    provider = FakeProvider()
    gateway = Gateway(rule(requests=1, period=90.0), transport=provider)
    first = await ask(gateway.app, "POST", PATHS[dialect], body(dialect, stream=stream))
    second = await ask(gateway.app, "POST", PATHS[dialect], body(dialect, stream=stream))

    assert (first.status, second.status) == (200, 429)
    assert second.headers["retry-after"] == "90"
    assert oracles.error(dialect, second.body)["type"] == "rate_limit_error"
    assert len(provider.requests) == 1
    gateway.clock.advance(90)
    assert (await ask(gateway.app, "POST", PATHS[dialect], body(dialect))).status == 200


@pytest.mark.parametrize("dialect", CLIENT_DIALECTS)
@pytest.mark.parametrize("stream", [True, False])
async def test_tokens_are_counted_at_the_end_of_a_reply_or_a_stream(dialect: ClientDialect, stream: bool) -> None:
    provider = FakeProvider()
    provider.script(Reply("Hello", usage=Usage(input_tokens=70, output_tokens=30)))
    gateway = Gateway(rule(tokens=5_000), transport=provider)

    more = {"stream_options": {"include_usage": True}} if stream and dialect == "chat" else {}

    answer = await ask(gateway.app, "POST", PATHS[dialect], body(dialect, stream=stream, **more))
    journal = gateway.journals[-1]

    assert answer.status == 200
    assert await gateway.left("tokens") == 5_000 - 100 - 1_029  # the one that asks has a reservation
    assert journal.settled == {"tokens": 100, "dollars": 0.0}
    assert journal.reserved["tokens"] > 100


@pytest.mark.parametrize("dialect", CLIENT_DIALECTS)
async def test_what_came_of_a_broken_stream_is_counted(dialect: ClientDialect) -> None:
    provider = FakeProvider()
    provider.script(Reply("word " * 40, breaks_after=12))
    gateway = Gateway(rule(tokens=50_000), transport=provider)

    await ask(gateway.app, "POST", PATHS[dialect], body(dialect, stream=True))
    left = await gateway.left("tokens")

    assert 50_000 - 1_029 - 200 < left < 50_000 - 1_029 - 10


async def test_a_request_that_fails_before_a_provider_is_asked_gives_its_tokens_back() -> None:
    gateway = Gateway(rule(requests=100, tokens=5_000), transport=FakeProvider())
    for _ in range(9):
        assert (await ask(gateway.app, "POST", PATHS["chat"], body("chat", model="unknown"))).status == 404

    assert await gateway.left("tokens") == 5_000 - 1_029
    assert gateway.journals[0].settled == {"tokens": 0, "dollars": 0.0}
    assert await gateway.left("requests") == 100 - 11  # a request is a request


@pytest.mark.parametrize("dialect", CLIENT_DIALECTS)
@pytest.mark.parametrize("end", ["whole", "streamed", "failed", "left"])
async def test_a_place_is_free_within_a_second_of_any_end(dialect: ClientDialect, end: str) -> None:
    provider = FakeProvider()
    provider.script(Reply("one two three four five six", pause=0.2) if end == "left" else Reply("short"))
    with serve(provider) as url:
        gateway = Gateway(rule(in_flight=1), url=url)
        if end == "left":
            exchange = Exchange(json.dumps(body(dialect, stream=True)).encode())
            task = asyncio.create_task(gateway.app(scope("POST", PATHS[dialect]), exchange.receive, exchange.send))
            async with asyncio.timeout(20):
                while not exchange.answer.chunks:
                    await exchange.progress.wait()
                    exchange.progress.clear()
            held = await ask(gateway.app, "POST", PATHS[dialect], body(dialect))
            assert held.status == 429
            assert held.headers["retry-after"] == "1"
            exchange.leave()
            async with asyncio.timeout(1):
                await task
        else:
            asked = body(dialect, stream=end == "streamed", **({"model": "unknown"} if end == "failed" else {}))
            assert (await ask(gateway.app, "POST", PATHS[dialect], asked)).status == (404 if end == "failed" else 200)

        assert (await ask(gateway.app, "POST", PATHS[dialect], body(dialect))).status == 200
        await gateway.app.aclose()


async def test_fifty_requests_at_once_against_room_for_ten_let_ten_through() -> None:
    gateway = Gateway(rule(requests=10), transport=FakeProvider(delay=0.01))

    answers = await asyncio.gather(*(ask(gateway.app, "POST", PATHS["chat"], body("chat")) for _ in range(50)))

    assert sorted(answer.status for answer in answers) == [200] * 10 + [429] * 40


async def test_requests_that_concurrency_refuses_leave_the_rate_alone() -> None:
    gateway = Gateway(rule(requests=40, in_flight=2), transport=FakeProvider(delay=0.05))
    answers = await asyncio.gather(*(ask(gateway.app, "POST", PATHS["chat"], body("chat")) for _ in range(30)))

    assert sorted(answer.status for answer in answers) == [200] * 2 + [429] * 28
    assert await gateway.left("requests") == 40 - 2 - 1


async def test_a_filter_that_asks_twice_makes_one_request_with_the_tokens_of_both() -> None:
    provider = FakeProvider()
    provider.script(Reply("Hello", usage=Usage(input_tokens=70, output_tokens=30)))
    gateway = Gateway(rule(requests=10, tokens=5_000, in_flight=1), transport=provider, twice=True)

    assert (await ask(gateway.app, "POST", PATHS["chat"], body("chat"))).status == 200

    assert len(provider.requests) == 2
    assert await gateway.left("tokens") == 5_000 - 200 - 1_029
    assert await gateway.left("requests") == 10 - 3


def test_a_request_used_what_all_of_its_attempts_used() -> None:
    journal = Journal()
    assert used_by(journal) is None
    for tokens in (3, None, 4):
        attempt = Attempt(None, None)
        attempt.usage = None if tokens is None else Usage(input_tokens=tokens, output_tokens=10)
        journal.begin(attempt)

    used = used_by(journal)

    assert used is not None
    assert (used.input_tokens, used.output_tokens) == (7, 20)


@pytest.mark.parametrize("kind", ["ratelimits", "budgets"])
@pytest.mark.parametrize(("dialect", "stream"), WAYS)
async def test_a_client_that_asks_again_at_once_is_not_kept_from_what_its_last_request_gave_back(
    dialect: ClientDialect, stream: bool, kind: str
) -> None:
    limit = {"selector": {"by": "tenant"}, "limit": {"tokens": 1500, "unit": "day"}}
    provider = FakeProvider()
    provider.reply("here", usage=Usage(input_tokens=5, output_tokens=5))
    said = limit | ({"name": "lab"} if kind == "budgets" else {})
    gateway = Plano({"model_providers": [{"model": "openai/a", "access_key": "k"}], kind: [said]}, transport=provider)
    for _ in range(3):
        answer = await ask_for(gateway, dialect, "Hello", stream=stream, model="a", **LIMIT_OF[dialect])
        assert answer.text == "here", answer.body


LIMIT_OF: dict[str, dict[str, int]] = {
    "chat": {"max_tokens": 1000},
    "messages": {"max_tokens": 1000},
    "responses": {"max_output_tokens": 1000},
}
