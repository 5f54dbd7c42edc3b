"""What the loop of attempts does, as metrics and the access log tell it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest

from plano import CallNext, Plano, Request, Response
from plano.observability.access import Line
from plano.observability.metrics import METRICS
from plano.testing import WAYS, Failure, FakeHosts, Reply, Usage
from plano.types import CLIENT_DIALECTS, ClientDialect
from tests.asgi import Answer, Leaving, ask, scope
from tests.scraping import Scrape, scrape

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
KEYS = {"access_key": None, "access_keys": ["sk-1-secret", "sk-2-secret"]}
USAGE = Usage(input_tokens=30, output_tokens=2)
EVERY_WAY = pytest.mark.parametrize(("dialect", "stream"), WAYS)
FAIL = Failure(500, "The upstream said something private.")


def entry(host: str, **more: Any) -> dict[str, Any]:
    said = {"model": f"openai/{host}", "base_url": f"http://{host}", "access_key": f"sk-{host}-secret", **more}
    return {name: value for name, value in said.items() if value is not None}


def config(**more: Any) -> dict[str, Any]:
    prices = {"models": {f"openai/{host}": {"input": 1.0, "output": 3.0} for host in ("a", "b", "c")}}
    return {
        "model_providers": [entry("a"), entry("b"), entry("c")],
        "model_aliases": {"smart": {"target": "a", "fallbacks": ["b", "c"]}},
        "resilience": {"max_attempts": 4},
        "prices": prices,
        "state_storage": {"type": "none"},
        **more,
    }


class Net:
    """Three fake hosts and a gateway before them."""

    def __init__(self, **said: Any) -> None:
        self.hosts = FakeHosts("a", "b", "c")
        self.gateway = Plano(config(**said), transport=self.hosts)

    async def ask(self, dialect: str = "chat", *, stream: bool = False, model: str = "smart", **more: Any) -> Answer:
        return await ask(self.gateway, "POST", PATHS[dialect], body(dialect, stream=stream, model=model, **more))

    async def scrape(self) -> Scrape:
        return await scrape(self.gateway)

    async def line(self, caplog: pytest.LogCaptureFixture, *, number: int = 1) -> dict[str, Any]:
        """The fields of the last line of so many, as they are written."""
        self.gateway._survivors.observing.finished_requests.flush()
        found = [record.msg for record in caplog.records if isinstance(record.msg, Line)]
        assert len(found) == number
        assert b"private" not in str(found[-1]).encode()
        assert "secret" not in str(found[-1])
        return found[-1].fields()


def body(dialect: str, **more: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"max_tokens": 9} if dialect == "messages" else {}
    if dialect == "chat" and more.get("stream"):
        asked["stream_options"] = {"include_usage": True}
    if dialect == "responses":
        return {"input": "Hello", **more}
    return {**asked, "messages": [{"role": "user", "content": "Hello"}], **more}


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(seconds: float) -> None:
        return

    monkeypatch.setattr("plano.upstream.attempts.sleep", at_once)


def attempts(found: Scrape) -> dict[tuple[str, str], float]:
    return {
        (labels["model"].removeprefix("openai/"), labels["outcome"]): found.of("plano_attempts_total", **labels)
        for labels in found.labels("plano_attempts_total")
    }


def zero(found: Scrape, name: str, **labels: str) -> bool:
    """Whether a series is there before anything was counted in it."""
    return found.samples[name, frozenset(labels.items())] == 0


def moves(found: Scrape) -> list[tuple[str, str, str]]:
    return [(each["from"], each["to"], each["reason"]) for each in found.labels("plano_fallbacks_total")]


A, B, C = "openai/a", "openai/b", "openai/c"

CASES: list[tuple[dict[str, Any], dict[tuple[str, str], float], dict[str, float], list[tuple[str, str, str]]]] = [
    # what each host answers first, attempts, retries by reason, fallbacks
    ({}, {("a", "answered"): 1}, {}, []),
    ({"a": [FAIL]}, {("a", "server"): 1, ("b", "answered"): 1}, {"server": 1}, [(A, B, "server")]),
    (
        {"a": [Failure(429)], "b": [FAIL]},
        {("a", "rate_limit"): 1, ("b", "server"): 1, ("c", "answered"): 1},
        {"rate_limit": 1, "server": 1},
        [(A, C, "rate_limit")],
    ),
    (
        {"a": [FAIL], "b": [FAIL], "c": [FAIL]},
        {("a", "server"): 1, ("a", "answered"): 1, ("b", "server"): 1, ("c", "server"): 1},
        {"server": 3},
        [],
    ),
    ({"a": [Failure(400)]}, {("a", "invalid"): 1}, {}, []),
    ({"a": [FAIL, FAIL], "b": [FAIL], "c": [FAIL]}, {("a", "server"): 2, ("b", "server"): 1, ("c", "server"): 1},
     {"server": 3}, []),
]  # fmt: skip


@EVERY_WAY
@pytest.mark.parametrize(("answers", "counted", "retries", "moved"), CASES)
async def test_attempts_are_counted_with_what_led_to_them(
    answers: Any, counted: Any, retries: Any, moved: Any, dialect: ClientDialect, stream: bool
) -> None:
    net = Net()
    for host, first in answers.items():
        net.hosts[host].script(*first, Reply("here", usage=USAGE))
    await net.ask(dialect, stream=stream)
    found = await net.scrape()
    assert attempts(found) == counted
    reasons = [each["reason"] for each in found.labels("plano_retries_total")]
    assert {reason: found.of("plano_retries_total", reason=reason) for reason in reasons} == retries
    assert moves(found) == moved
    assert found.of("plano_requests_total") == 1


async def test_the_usual_request_is_counted_without_the_loop() -> None:
    net = Net(model_aliases={}, resilience={})
    await net.ask(model="a")
    found = await net.scrape()
    assert attempts(found) == {("a", "answered"): 1}
    for name in ("plano_retries_total", "plano_fallbacks_total", "plano_hedges_total", "plano_limited_total"):
        assert found.labels(name) == []
    assert found.of("plano_commit_hold_seconds_count") == 0


async def test_where_no_upstream_was_asked_there_was_no_attempt() -> None:
    net = Net()
    await net.ask(model="nobody/has-this")
    assert attempts(await net.scrape()) == {}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_left_first_has_abandoned_its_attempt(stream: bool) -> None:
    net = Net()
    net.hosts["a"].reply("late", delay=30.0)
    exchange = Leaving(0, json.dumps(body("chat", stream=stream, model="smart")).encode())
    asyncio.get_running_loop().call_later(0.05, exchange.leave)
    async with asyncio.timeout(20):
        await net.gateway(scope("POST", PATHS["chat"]), exchange.receive, exchange.send)
    found = await net.scrape()
    assert attempts(found) == {("a", "abandoned"): 1}
    assert found.of("gen_ai_client_token_usage_sum", gen_ai_token_type="input", estimated="true") > 0


@pytest.mark.parametrize("how", ["incomplete", "error", "lost"])
async def test_a_stream_that_breaks_later_is_a_failed_attempt_and_no_retry(how: Any) -> None:
    net = Net()
    net.hosts["a"].script(Reply("one two three four five", breaks_after=5, how=how))
    await net.ask(stream=True)
    found = await net.scrape()
    assert attempts(found) == {("a", "broken_stream"): 1}
    assert found.labels("plano_retries_total") == []


async def test_targets_that_were_passed_over_are_fallbacks_and_no_attempts() -> None:
    net = Net()
    net.hosts["a"].fail(429, headers={"retry-after": "3600"})
    await net.ask()
    await net.ask()
    found = await net.scrape()
    assert attempts(found) == {("a", "rate_limit"): 1, ("b", "answered"): 2}
    assert found.of("plano_fallbacks_total") == 2
    assert moves(found) == [(A, B, "rate_limit")]
    assert found.of("plano_retries_total") == 1


async def test_fallbacks_that_a_client_names_make_no_series() -> None:
    net = Net(model_aliases={})
    net.hosts["a"].fail(500)
    for target in ("b", "c"):
        assert (await net.ask(model="a", fallbacks=[target])).status == 200
    assert moves(await net.scrape()) == [("other", "other", "server")]


async def test_other_keys_are_no_fallbacks() -> None:
    net = Net(model_providers=[entry("a", **KEYS)], model_aliases={})
    net.hosts["a"].script(Failure(429), Reply("here"))
    assert (await net.ask(model="a")).status == 200
    found = await net.scrape()
    assert attempts(found) == {("a", "rate_limit"): 1, ("a", "answered"): 1}
    assert (found.of("plano_retries_total", reason="rate_limit"), moves(found)) == (1, [])


HEDGE = {"max_attempts": 3, "hedge": {"after": "30ms"}}
HEDGES: list[tuple[dict[str, Reply | Failure], str, dict[tuple[str, str], float]]] = [
    ({}, "unneeded", {("a", "answered"): 1}),
    ({"a": Reply("late", delay=30.0)}, "won", {("a", "abandoned"): 1, ("b", "answered"): 1}),
    (
        {"a": Reply("late", delay=0.3), "b": Reply("later", delay=30.0)},
        "lost",
        {("a", "answered"): 1, ("b", "abandoned"): 1},
    ),
    ({"a": Reply("late", delay=0.3), "b": FAIL}, "lost", {("a", "answered"): 1, ("b", "server"): 1}),
]


@pytest.mark.parametrize(("answers", "outcome", "counted"), HEDGES)
@EVERY_WAY
async def test_two_at_once_are_counted_and_both_are_charged(
    dialect: ClientDialect, stream: bool, answers: Any, outcome: str, counted: Any
) -> None:
    net = Net(resilience=HEDGE)
    for host, answer in answers.items():
        net.hosts[host].script(answer)
    assert (await net.ask(dialect, stream=stream)).status == 200
    found = await net.scrape()
    assert found.labels("plano_hedges_total") == [{"outcome": outcome}]
    assert attempts(found) == counted
    abandoned = [f"openai/{host}" for (host, how) in counted if how == "abandoned"]
    for model in abandoned:
        used = {"gen_ai_request_model": model, "estimated": "true"}
        assert found.of("gen_ai_client_token_usage_sum", gen_ai_token_type="input", **used) > 0
        assert found.of("plano_cost_dollars_total", model=model, estimated="true") > 0
    assert len({each["gen_ai_request_model"] for each in found.labels("gen_ai_client_token_usage_count")}) == (
        1 + len(abandoned)
    )


async def test_the_time_for_which_a_stream_was_held_back_is_counted() -> None:
    net = Net()
    net.hosts["a"].reply("here", pause=0.05)
    await net.ask(stream=True)
    await net.ask()
    found = await net.scrape()
    assert found.of("plano_commit_hold_seconds_count") == 1, "a whole reply is not held"
    assert found.of("plano_commit_hold_seconds_sum") >= 0.04


async def test_an_empty_retry_budget_is_counted() -> None:
    net = Net(model_aliases={}, resilience={"max_attempts": 2, "retry_budget": 0})
    net.hosts["a"].fail(500)
    for _ in range(40):
        await net.ask(model="a")
    found = await net.scrape()
    calls = len(net.hosts.calls)
    assert found.of("plano_retry_budget_empty_total", provider="openai", model=A) == 80 - calls > 0
    assert found.of("plano_retries_total", reason="server") == calls - 40
    assert zero(found, "plano_retry_budget_empty_total", provider="openai", model=B)


def limit(**said: Any) -> dict[str, Any]:
    return {"selector": {"by": "caller"}, "limit": {"unit": "minute", **said}}


BUDGET = {"name": "purse", "selector": {"by": "caller"}, "limit": {"dollars": 0.00003, "unit": "month"}}
ONE_AT_ONCE = {"selector": {"by": "caller"}, "limit": {"in_flight": 1}}
SLOW = Reply("late", delay=0.3)

LIMITS: list[tuple[dict[str, Any], int, str, str]] = [
    ({"ratelimits": [limit(requests=1)]}, 429, "ratelimits[0]", "requests"),
    ({"ratelimits": [limit(tokens=100) | {"name": "few"}]}, 429, "few", "tokens"),
    ({"ratelimits": [limit(input_tokens=10)]}, 429, "ratelimits[0]", "input_tokens"),
    ({"ratelimits": [limit(output_tokens=10)]}, 429, "ratelimits[0]", "output_tokens"),
    ({"ratelimits": [limit(requests=1) | {"model": A}], "model_aliases": {"smart": {"target": "a"}}}, 429,
     "ratelimits[0]", "requests"),
    ({"budgets": [BUDGET]}, 429, "purse", "budget_spent"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "status", "rule", "reason"), LIMITS)
async def test_refusals_are_counted_by_rule_and_reason(
    said: dict[str, Any], status: int, rule: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "plano.access")
    net = Net(**said)
    net.hosts["a"].reply("here", usage=USAGE)
    before = await net.scrape()
    assert zero(before, "plano_limited_total", rule=rule, reason=reason)
    assert (await net.ask()).status == 200
    await net.scrape()  # what it used is settled
    assert (await net.ask()).status == status
    found = await net.scrape()
    assert found.labels("plano_limited_total") == [{"rule": rule, "reason": reason}]
    assert found.of("plano_limited_total") == 1
    assert (await net.line(caplog, number=2))["limited_by"] == rule


@pytest.mark.parametrize(
    ("said", "status", "rule", "reason"),
    [
        ({"ratelimits": [ONE_AT_ONCE]}, 429, "ratelimits[0]", "in_flight"),
        ({"admission": {"max_in_flight": 1}}, 503, "admission", "admission"),
        ({"model_providers": [entry("a", max_in_flight=1)], "model_aliases": {"smart": {"target": "a"}}}, 503,
         "max_in_flight", "target_full"),
        ({"budgets": [BUDGET | {"limit": {"dollars": 0.001, "unit": "month"}}]}, 429, "purse", "budget_reserved"),
    ],
)  # fmt: skip
async def test_refusals_for_want_of_room_are_counted_too(
    said: dict[str, Any], status: int, rule: str, reason: str
) -> None:
    net = Net(**said)
    net.hosts["a"].script(SLOW, Reply("here", usage=USAGE))
    first = asyncio.create_task(net.ask(max_tokens=300))
    await asyncio.sleep(0.05)
    assert (await net.ask(max_tokens=300)).status == status
    assert (await first).status == 200
    found = await net.scrape()
    assert found.labels("plano_limited_total") == [{"rule": rule, "reason": reason}]


async def test_a_target_that_is_full_is_counted_though_another_one_answers() -> None:
    net = Net(model_providers=[entry("a", max_in_flight=1), entry("b"), entry("c")])
    net.hosts["a"].script(SLOW)
    first = asyncio.create_task(net.ask())
    await asyncio.sleep(0.05)
    assert (await net.ask()).headers["x-plano-fallback"] == "overloaded"
    await first
    found = await net.scrape()
    assert found.labels("plano_limited_total") == [{"rule": "max_in_flight", "reason": "target_full"}]
    assert moves(found) == [(A, B, "overloaded")]


async def test_a_spent_budget_moves_on_to_its_fallback() -> None:
    aliases = {"smart": {"target": "a"}, "cheap": {"target": "b"}}
    net = Net(model_aliases=aliases, budgets=[BUDGET | {"fallback": "cheap"}])
    net.hosts["a"].reply("here", usage=USAGE)
    assert (await net.ask()).status == 200
    await net.scrape()  # what it used is settled
    assert (await net.ask()).status == 200
    found = await net.scrape()
    assert moves(found) == [(A, B, "budget")]
    assert found.labels("plano_limited_total") == [{"rule": "purse", "reason": "budget_spent"}]


async def test_waits_for_a_place_are_counted_and_no_others() -> None:
    net = Net(admission={"max_in_flight": 1, "queue": 5, "queue_wait": "20s"})
    net.hosts["a"].script(Reply("here", delay=0.1))
    answers = await asyncio.gather(*(net.ask() for _ in range(3)))
    assert [answer.status for answer in answers] == [200, 200, 200]
    found = await net.scrape()
    assert found.of("plano_queue_seconds_count") == 2
    assert found.of("plano_queue_seconds_sum") >= 0.2


async def test_without_metrics_nothing_is_kept_for_them() -> None:
    net = Net(admission={"max_in_flight": 1, "queue": 5, "queue_wait": "20s"}, metrics={"enabled": False})
    net.hosts["a"].script(Reply("here", delay=0.05))
    await asyncio.gather(*(net.ask() for _ in range(3)))
    instruments = net.gateway._survivors.observing.instruments
    assert list(instruments.queue) == []


# --- the access log -------------------------------------------------------------------------------


def keyed(*facts: tuple[Any, ...]) -> list[dict[str, Any]]:
    names = ("entry", "key_no", "class", "status")
    found = [dict(zip(names, fact, strict=True)) for fact in facts]
    return [{name: value for name, value in each.items() if value is not None} for each in found]


LINES: list[tuple[Callable[[Net], Any], list[dict[str, Any]], bool]] = [
    (lambda net: None, keyed((A, 0, None, 200)), True),
    (lambda net: net.hosts["a"].fail(500), keyed((A, 0, "server", 500), (B, 0, None, 200)), True),
    (lambda net: net.hosts.down.add("a"), keyed((A, 0, "connect", None), (B, 0, None, 200)), True),
    (lambda net: net.hosts["a"].fail(400), keyed((A, 0, "invalid", 400)), False),
]


@EVERY_WAY
@pytest.mark.parametrize(("prepare", "tried", "committed"), LINES)
async def test_a_line_has_all_attempts_where_several_were_possible(
    prepare: Callable[[Net], Any],
    tried: list[dict[str, Any]],
    committed: bool,
    dialect: ClientDialect,
    stream: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "plano.access")
    net = Net()
    prepare(net)
    await net.ask(dialect, stream=stream)
    line = await net.line(caplog)
    if len(tried) == 1 and committed and not stream:
        assert {"attempts", "committed_ms"} & set(line) == set(), "it came at once"
        return
    times = [each.pop("ms") for each in line["attempts"]]
    assert line["attempts"] == tried
    assert all(0 <= ms < 20_000 for ms in times)
    assert ("committed_ms" in line) == committed
    if committed:
        assert 0 < line["committed_ms"] <= line["seconds"] * 1000 + 0.1


@pytest.mark.parametrize("dialect", CLIENT_DIALECTS)
async def test_the_usual_line_says_nothing_of_attempts(dialect: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "plano.access")
    net = Net(model_aliases={}, resilience={})
    await net.ask(dialect, model="a")
    line = await net.line(caplog)
    assert {"attempts", "committed_ms", "limited_by", "reserved", "settled"} & set(line) == set()


async def test_a_line_tells_keys_and_waits(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "plano.access")
    net = Net(model_providers=[entry("a", **KEYS)], model_aliases={}, resilience={"max_attempts": 3})
    net.hosts["a"].script(FAIL, FAIL, Reply("here"))
    await net.ask(model="a")
    tried = (await net.line(caplog))["attempts"]
    assert [each.get("class") for each in tried] == ["server", "server", None]
    assert len({each["key_no"] for each in tried}) == 1, "another key of a broken server helps nobody"
    waits = [each.get("waited_ms", 0.0) for each in tried]
    assert waits[0] == 0.0
    assert 0 <= waits[1] <= 250
    assert 0 <= waits[2] <= 500


async def test_a_line_tells_what_limits_reserved_and_what_was_used(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "plano.access")
    budget = BUDGET | {"limit": {"dollars": 5, "unit": "day"}}
    net = Net(ratelimits=[limit(tokens=10_000)], budgets=[budget])
    net.hosts["a"].reply("here", usage=USAGE)
    await net.ask(max_tokens=100)
    line = await net.line(caplog)
    assert line["settled"] == {"tokens": 32, "dollars": pytest.approx((30 * 1.0 + 2 * 3.0) / 1e6)}
    assert 100 < line["reserved"]["tokens"] < 150
    assert line["reserved"]["dollars"] > line["settled"]["dollars"]


async def test_in_text_attempts_are_json_and_on_a_terminal_a_number(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "plano.access")
    net = Net()
    net.hosts["a"].fail(500)
    await net.ask()
    await net.line(caplog)
    (line,) = [record.msg for record in caplog.records if isinstance(record.msg, Line)]
    assert " attempts=2 " in f"{line.short()} "
    found = re.search(r' attempts="(.*?[^\\])"(?: |$)', str(line))
    assert found
    said = json.loads(found[1].replace('\\"', '"'))
    assert [each["entry"] for each in said] == [A, B]


async def test_attempts_of_a_filter_are_in_the_line_too(caplog: pytest.LogCaptureFixture) -> None:
    async def both(request: Request, call_next: CallNext) -> Response:
        await (await call_next(request.replace(model="b"))).read()
        return await call_next(request)

    caplog.set_level(logging.INFO, "plano.access")
    hosts = FakeHosts("a", "b", "c")
    gateway = Plano(config(), transport=hosts, filters=[both])
    assert (await ask(gateway, "POST", PATHS["chat"], body("chat", model="a"))).status == 200
    found = await scrape(gateway)
    assert attempts(found) == {("b", "answered"): 1, ("a", "answered"): 1}
    assert found.labels("plano_retries_total") == [], "nothing failed"
    (line,) = [record.msg for record in caplog.records if isinstance(record.msg, Line)]
    assert [each["entry"] for each in line.fields()["attempts"]] == [B, A]


# --- bounds ---------------------------------------------------------------------------------------


def test_series_of_moves_are_those_that_the_configuration_has() -> None:
    def most(aliases: dict[str, Any]) -> int:
        return Plano(config(model_aliases=aliases)).most_metric_lines

    reasons = 14
    none = most({})
    assert most({"x": {"target": "a"}}) == none
    assert most({"x": {"target": "a", "fallbacks": ["b"]}}) - none == reasons
    assert most({"x": {"target": "a", "fallbacks": ["b", "c"]}}) - none == 2 * reasons
    pool = {"targets": [{"model": "a"}, {"model": "b"}], "fallbacks": ["c"]}
    assert most({"x": pool}) - none == 4 * reasons
    assert most({"x": pool, "y": pool}) - none == 4 * reasons


def test_series_of_limits_are_those_of_rules_and_budgets() -> None:
    none = Plano(config()).most_metric_lines
    both = [limit(requests=1) | {"name": "one"}, limit(tokens=1, requests=1) | {"name": "two"}]
    links = 1  # a filter's seconds
    assert Plano(config(ratelimits=both)).most_metric_lines - none == 3 + links
    assert Plano(config(budgets=[BUDGET])).most_metric_lines - none == 3, "two reasons, and its share"
    assert Plano(config(admission={"max_in_flight": 1})).most_metric_lines - none == 1 + links
    assert {metric.name for metric in METRICS if "limit" in metric.axes} == {"plano_limited_total"}
