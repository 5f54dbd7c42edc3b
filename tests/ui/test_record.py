"""What is kept of requests, and who is shown it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from plano import Caller, Plano
from plano.observability.prices import Prices
from plano.testing import FakeProvider, Reply, Usage
from plano.types import Dialect
from plano.ui import record as module
from plano.ui.record import (
    BIN_RATIO,
    FIRST_BIN_SECONDS,
    KEPT_REQUESTS,
    MODELS_PER_SECOND,
    WINDOW_SECONDS,
    Count,
    Record,
    Row,
    bin_of,
)
from tests.asgi import Exchange, ask, scope

OPERATOR = Caller(operator=True)
CHAT = "/v1/chat/completions"
HELLO = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A gateway with a record in front, whose clock stands still."""

    def __init__(self, **more: Any) -> None:
        self.upstream = FakeProvider()
        self.clock = Clock()
        entries = [{"model": "openai/gpt-4o", "access_key": "k"}, {"model": "anthropic/claude", "access_key": "k"}]
        self.config: dict[str, Any] = {"model_providers": entries, **more}
        prices = Plano(self.config)._survivors.observing.prices
        self.record = Record(prices, self.clock)
        # Outermost: the metrics' place in the order is first, and filters come after.
        order = ("filters", "metrics", "intake", "auth", "alias", "state", "translation")
        self.gateway = Plano(self.config, transport=self.upstream, filters=[self.record], order=order)

    async def ask(self, payload: Any = HELLO, path: str = CHAT, headers: dict[str, str] | None = None) -> Row:
        await ask(self.gateway, "POST", path, payload, headers)
        self.gateway._survivors.observing.finished_requests.flush()
        return self.record.rows(OPERATOR)[0]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "client", "upstream"),
    [("gpt-4o", "chat", "chat"), ("claude", "chat", "messages"), ("gpt-4o", "messages", "chat")],
)
async def test_a_row_says_how_a_request_went(model: str, client: Dialect, upstream: Dialect, stream: bool) -> None:
    prices = {"models": {"openai/gpt-4o": {"input": 1.0, "output": 3.0}, "anthropic/claude": {"input": 1.0}}}
    watched = Watched(prices=prices)
    watched.upstream.reply("a private answer", usage=Usage(input_tokens=2_000_000, output_tokens=1_000_000))
    path = {"chat": CHAT, "messages": "/v1/messages"}[client]
    payload = {**HELLO, "model": model, "stream": stream, "max_tokens": 5}
    if stream and client == "chat":
        payload["stream_options"] = {"include_usage": True}
    row = await watched.ask(payload, path)
    provider = {"gpt-4o": "openai", "claude": "anthropic"}[model]
    assert (row.client, row.upstream, row.asked, row.served) == (client, upstream, model, f"{provider}/{model}")
    assert (row.status, row.outcome, row.error, row.stream) == (200, "completed", None, stream)
    assert (row.input, row.output, row.estimated) == (2_000_000, 1_000_000, False)
    assert row.dollars == (5.0 if model == "gpt-4o" else 2.0)
    assert (row.caller, row.at, row.number) == ("anonymous", watched.clock.now, 1)
    assert (row.first_token is not None) == stream
    assert 0 < row.seconds < 20
    assert watched.record.running == 0
    (line,) = watched.record.counts(OPERATOR)
    assert line[:7] == [1_000_000, provider, f"{provider}/{model}", 1, 0, 2_000_000, 1_000_000]
    assert (sum(line[8].values()), sum(line[9].values())) == (1, int(stream))  # type: ignore[attr-defined]


async def test_failures_are_counted_and_named_by_kind_alone() -> None:
    watched = Watched()
    watched.upstream.fail(429, "a private message")
    assert (await watched.ask()).error == "rate_limit"
    watched.upstream.fail(500, "a private message", code="private_code")
    assert (await watched.ask()).error == "server"
    assert (await watched.ask(HELLO | {"model": "nope"})).error == "not_found"
    assert (await watched.ask(b"{")).error == "invalid_request"
    assert b"private" not in json.dumps([str(row) for row in watched.record.rows(OPERATOR)]).encode()
    counts = {line[2]: (line[3], line[4]) for line in watched.record.counts(OPERATOR)}
    assert counts == {"openai/gpt-4o": (2, 2), "other": (2, 2)}


async def test_a_row_has_all_attempts_and_what_all_of_them_cost() -> None:
    prices = {"models": {"openai/gpt-4o": {"input": 1.0}, "anthropic/claude": {"input": 2.0, "output": 3.0}}}
    aliases = {"smart": {"target": "gpt-4o", "fallbacks": ["claude"]}}
    resilience = {"hedge": {"after": "20ms"}}
    watched = Watched(prices=prices, model_aliases=aliases, resilience=resilience)
    slow = Reply("late", delay=30.0)
    fast = Reply("here", usage=Usage(input_tokens=1_000_000, output_tokens=1_000_000))
    watched.upstream.script(lambda asked: slow if asked.dialect == "chat" else fast)
    row = await watched.ask(HELLO | {"model": "smart", "stream": True})
    assert [(each.entry, each.outcome) for each in row.attempts] == [
        ("openai/gpt-4o", "abandoned"),
        ("anthropic/claude", None),
    ]
    assert (row.served, row.moved, row.input) == ("anthropic/claude", "timeout", 1_000_000)
    counted = {line[2]: (line[3], line[5], line[7]) for line in watched.record.counts(OPERATOR)}
    requests, tokens, dollars = counted["openai/gpt-4o"]
    assert (requests, tokens > 0, dollars > 0) == (0, True, True)  # type: ignore[operator]
    assert counted["anthropic/claude"] == (1, 1_000_000, 5.0)
    assert row.dollars == pytest.approx(5.0 + dollars)  # type: ignore[operator]


@pytest.mark.parametrize(("status", "tried"), [(200, []), (429, ["rate_limit"])])
async def test_one_attempt_is_kept_where_it_failed(status: int, tried: list[str]) -> None:
    watched = Watched()
    if status != 200:
        watched.upstream.fail(status, "a private message")
    row = await watched.ask()
    assert [each.outcome for each in row.attempts] == tried
    assert "private" not in str(row)


async def test_a_row_names_the_rule_that_refused() -> None:
    rule = {"name": "few", "selector": {"by": "caller"}, "limit": {"requests": 1, "unit": "hour"}}
    watched = Watched(ratelimits=[rule])
    assert (await watched.ask()).limited_by is None
    assert (await watched.ask()).limited_by == "few"


async def test_a_key_in_the_models_place_is_not_kept() -> None:
    row = await Watched().ask(HELLO | {"model": "sk-0123456789abcdef"})
    assert row.asked == "***"


async def test_losses_have_the_names_that_metrics_have() -> None:
    watched = Watched()
    odd = HELLO | {"model": "claude", "seed": 1, "a_secret_made_up_name": 2}
    losses = (await watched.ask(odd)).losses
    assert "seed" in losses
    assert not any("secret" in loss for loss in losses)


async def test_a_client_that_left_is_no_error() -> None:
    watched = Watched()
    watched.upstream.reply("one two three", pause=5.0)
    exchange = Exchange(json.dumps(HELLO | {"stream": True}).encode())
    task = asyncio.create_task(watched.gateway(scope("POST", CHAT), exchange.receive, exchange.send))
    await exchange.progress.wait()
    assert watched.record.running == 1
    exchange.leave()
    await task
    watched.gateway._survivors.observing.finished_requests.flush()
    (row,) = watched.record.rows(OPERATOR)
    assert (row.outcome, row.error, row.estimated) == ("aborted", "aborted", True)
    assert watched.record.running == 0
    (line,) = watched.record.counts(OPERATOR)
    assert line[3:5] == [1, 0]


async def test_everyone_sees_their_own_tenant_and_operators_see_all() -> None:
    keys = [{"name": name, "key": f"key-of-{name}-0123456789", "tenant": tenant}
            for name, tenant in (("ann", "a"), ("al", "a"), ("bea", "b"))]  # fmt: skip
    watched = Watched(auth={"keys": keys})
    for key in keys:
        await watched.ask(headers={"x-api-key": key["key"]})
    assert (await watched.ask()).status == 401
    seen = {
        tenant: [row.caller for row in watched.record.rows(Caller(tenant=tenant))] for tenant in ("a", "b", "default")
    }
    assert seen == {"a": ["al", "ann"], "b": ["bea"], "default": ["anonymous"]}
    assert [row.caller for row in watched.record.rows(OPERATOR)] == ["anonymous", "bea", "al", "ann"]
    counted = {tenant: sum(line[3] for line in watched.record.counts(Caller(tenant=tenant))) for tenant in "ab"}  # type: ignore[misc]
    assert counted == {"a": 2, "b": 1}
    assert sum(line[3] for line in watched.record.counts(OPERATOR)) == 4  # type: ignore[misc]


async def test_only_the_last_requests_are_kept() -> None:
    watched = Watched()
    for _ in range(KEPT_REQUESTS + 5):
        await watched.ask(HELLO | {"model": "nope"})
    rows = watched.record.rows(OPERATOR)
    assert len(rows) == KEPT_REQUESTS
    assert rows[0].number == watched.record.number == KEPT_REQUESTS + 5
    assert [row.number for row in watched.record.rows(OPERATOR, after=KEPT_REQUESTS + 2)] == [205, 204, 203]


async def test_counts_go_back_a_while_and_no_further() -> None:
    watched = Watched()
    for second in range(0, WINDOW_SECONDS + 300, 100):
        watched.clock.now = 1_000_000.0 + second
        await watched.ask()
    seconds = [line[0] for line in watched.record.counts(OPERATOR)]
    assert seconds == [1_000_000 + second for second in range(200, WINDOW_SECONDS + 300, 100)]
    assert len(watched.record._seconds) <= WINDOW_SECONDS + 1
    since = 1_000_000 + WINDOW_SECONDS + 100
    assert [line[0] for line in watched.record.counts(OPERATOR, since)] == [since, since + 100]


def test_one_second_holds_so_many_models_and_no_more() -> None:
    record = Record(Prices({}), Clock())
    for number in range(MODELS_PER_SECOND + 10):
        journal = module.Journal("chat")
        journal.caller = Caller(tenant=f"t{number}")
        record._count(1, journal).requests += 1
    counts = list(record.counts(OPERATOR))
    assert counts == [], "that second is long gone"
    ((_, places),) = record._seconds
    assert len(places) == MODELS_PER_SECOND + 1
    assert places["", "other", "other"] == Count(requests=10)


def test_a_clock_that_is_set_back_breaks_nothing() -> None:
    record = Record(Prices({}), clock := Clock())
    journal = module.Journal("chat")
    record._count(int(clock.now), journal).requests += 1
    record._count(int(clock.now) - 3600, journal).requests += 1
    assert [line[3] for line in record.counts(OPERATOR)] == [2]


@pytest.mark.parametrize("seconds", [0.0011, 0.02, 0.3, 1.0, 59.0, 600.0])
def test_bins_are_narrow(seconds: float) -> None:
    middle = FIRST_BIN_SECONDS * BIN_RATIO ** (bin_of(seconds) - 0.5)
    assert abs(middle / seconds - 1) < 0.06
    assert bin_of(0.0) == bin_of(FIRST_BIN_SECONDS) == 0
