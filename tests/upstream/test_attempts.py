"""Requests whose first target fails: what is tried, and what the client is told. `tests/test_resilience.py` lists the
numbers in names."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from plano import CallNext, Plano, Request, Response
from plano.errors import UpstreamError
from plano.generation import DEFAULT_ORDER
from plano.operations import OPERATIONS
from plano.testing import WAYS, FakeClock, FakeHosts, Reply, Verbatim, ask
from plano.types import ClientDialect
from tests.asgi import Exchange, Leaving, scope

EVERY_WAY = pytest.mark.parametrize(("dialect", "stream"), WAYS)
STREAMED = pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
ROWS = {"chat": "openai", "messages": "anthropic", "responses": "openai"}


def entry(host: str, row: str = "openai", **more: Any) -> dict[str, Any]:
    return {"model": f"{row}/{host}", "base_url": f"http://{host}", "access_key": f"sk-{host}-secret", **more}


def config(*entries: dict[str, Any], fallbacks: Any = ("b",), resilience: Any = None, **more: Any) -> dict[str, Any]:
    """Entries on the hosts `a` and `b`, and an alias `smart` for `a` with fallbacks."""
    entries = entries or (entry("a", apis=["chat"]), entry("b", "anthropic"))
    alias: dict[str, Any] = {"target": "a"}
    if fallbacks:
        alias["fallbacks"] = [each if isinstance(each, dict) else {"target": each} for each in fallbacks]
    return {
        "model_providers": list(entries),
        "model_aliases": {"smart": alias},
        "resilience": {"max_attempts": 3, **(resilience or {})},
        **more,
    }


class Net:
    """Two fake hosts and a gateway before them, by whose clock all waits are over at once."""

    def __init__(self, said: dict[str, Any] | None = None, *hosts: str) -> None:
        self.clock = FakeClock()
        self.hosts = FakeHosts(*(hosts or ("a", "b")), clock=self.clock)
        self.gateway = Plano(said or config(), transport=self.hosts, clock=self.clock)

    async def ask(self, dialect: ClientDialect, stream: bool, model: str = "smart", **more: Any) -> Any:
        return await ask(self.gateway, dialect, "Hello", stream=stream, model=model, **more)


@EVERY_WAY
async def test_1_an_outage_of_a_moment_costs_a_wait(dialect: ClientDialect, stream: bool) -> None:
    net = Net(config(fallbacks=()))
    net.hosts["a"].fails(1)
    net.hosts["a"].reply("here")
    answer = await net.ask(dialect, stream)
    assert (answer.status, answer.text, answer.headers["x-plano-attempts"]) == (200, "here", "2")
    assert 0 < net.clock.now() <= 0.25


@EVERY_WAY
async def test_2_all_keys_and_targets_together_are_tried_so_often_as_may_be(
    dialect: ClientDialect, stream: bool
) -> None:
    keys = {"access_keys": ["sk-one-secret", "sk-two-secret"], "access_key": None}
    entries = [{k: v for k, v in (entry(host) | keys).items() if v is not None} for host in ("a", "b")]
    net = Net(config(*entries))
    net.hosts["a"].fail(500)
    net.hosts["b"].fail(500)
    answer = await net.ask(dialect, stream)
    assert answer.status == 500
    assert len(net.hosts.calls) == 3
    assert answer.headers["x-should-retry"] == "false"


@EVERY_WAY
async def test_4_the_only_target_is_asked_again_when_it_says(dialect: ClientDialect, stream: bool) -> None:
    net = Net(config(fallbacks=()))
    net.hosts["a"].fails(1, 429, headers={"retry-after": "2"})
    net.hosts["a"].reply("here")
    answer = await net.ask(dialect, stream)
    assert answer.text == "here"
    assert net.clock.now() == 2.0


@EVERY_WAY
async def test_5_a_long_wait_is_no_wait(dialect: ClientDialect, stream: bool) -> None:
    net = Net()
    net.hosts["a"].fail(429, headers={"retry-after": "3600"})
    net.hosts["b"].reply("here")
    for _ in range(2):
        answer = await net.ask(dialect, stream)
        assert (answer.text, answer.headers["x-plano-fallback"]) == ("here", "rate_limit")
    assert net.hosts.calls == ["a", "b", "b"], "it rests"
    assert net.clock.now() == 0.0


@EVERY_WAY
async def test_6_another_key_is_tried_at_once(dialect: ClientDialect, stream: bool) -> None:
    said = {"access_keys": ["sk-one-secret", "sk-two-secret"]}
    one = {k: v for k, v in entry("a").items() if k != "access_key"} | said
    net = Net(config(one, entry("b"), fallbacks=()))
    net.hosts["a"].fails(1, 429)
    net.hosts["a"].reply("here")
    answer = await net.ask(dialect, stream)
    assert answer.text == "here"
    sent = {recorded.headers["authorization"] for recorded in net.hosts["a"].requests}
    assert sent == {"Bearer sk-one-secret", "Bearer sk-two-secret"}
    assert net.clock.now() == 0.0


@EVERY_WAY
@pytest.mark.parametrize("status", [401, 403])
async def test_7_a_refused_key_is_the_gateways_fault(dialect: ClientDialect, stream: bool, status: int) -> None:
    net = Net(config(fallbacks=()))
    net.hosts["a"].fail(status, "Incorrect API key provided: sk-a-secret")
    for _ in range(2):
        answer = await net.ask(dialect, stream)
        assert answer.status == 502
        assert b"secret" not in answer.body
        assert dialect == "messages" or answer.json["error"]["code"] == "upstream_credentials_exhausted"
    assert len(net.hosts.calls) == 1, "the key rests"


@EVERY_WAY
async def test_8_an_empty_account_rests(dialect: ClientDialect, stream: bool) -> None:
    net = Net(config(entry("a", "anthropic"), entry("b")))
    net.hosts["a"].fail(400, "Your credit balance is too low to access the Anthropic API.")
    net.hosts["b"].reply("here")
    for _ in range(2):
        answer = await net.ask(dialect, stream)
        assert (answer.text, answer.headers["x-plano-fallback"]) == ("here", "quota")
    assert net.hosts.calls == ["a", "b", "b"]


def sse(*events: tuple[str | None, Any]) -> bytes:
    return b"".join(
        (b"event: %b\n" % name.encode() if name else b"") + b"data: %b\n\n" % msgspec.json.encode(data)
        for name, data in events
    )


STREAM = {"content-type": "text/event-stream"}
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "a",
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
    },
}
CREATED = {
    "type": "response.created",
    "sequence_number": 0,
    "response": {"id": "resp_1", "object": "response", "status": "in_progress", "output": [], "model": "a"},
}
FAILED = {
    "type": "response.failed",
    "sequence_number": 1,
    "response": {
        "id": "resp_1",
        "object": "response",
        "status": "failed",
        "output": [],
        "model": "a",
        "error": {"code": "server_error", "message": "The server had an error."},
    },
}
CHUNK = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "a"}
ROLE = {**CHUNK, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
AZURE = {**CHUNK, "choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]}

BEFORE_OUTPUT: dict[str, tuple[str, dict[str, Any], bytes, str]] = {
    "9 overloaded after 200": ("anthropic", {}, sse(("message_start", START), ("error", OVERLOADED)), "overloaded"),
    "11 an error frame first": (
        "openai",
        {"apis": ["chat"]},
        sse((None, {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}})),
        "rate_limit",
    ),
    "13 azure's chunk and a role": (
        "openai",
        {"apis": ["chat"]},
        sse((None, AZURE), (None, ROLE), (None, {"error": {"message": "Oh", "code": 500}})),
        "server",
    ),
    "14 failed after created": (
        "openai",
        {"apis": ["responses"]},
        sse(("response.created", CREATED), ("response.failed", FAILED)),
        "server",
    ),
    "15 an end without output": ("openai", {"apis": ["chat"]}, sse((None, ROLE)), "protocol"),
    "15 nothing at all": ("anthropic", {}, b"", "protocol"),
}


@STREAMED
@pytest.mark.parametrize("case", BEFORE_OUTPUT)
async def test_9_to_15_a_stream_that_fails_before_output_moves_on(case: str, dialect: ClientDialect) -> None:
    row, more, body, failure = BEFORE_OUTPUT[case]
    net = Net(config(entry("a", row, **more), entry("b", "anthropic")))
    net.hosts["a"].raw(200, STREAM, body)
    net.hosts["b"].reply("here")
    answer = await net.ask(dialect, True)
    assert (answer.status, answer.text, answer.headers["x-plano-fallback"]) == (200, "here", failure)
    assert answer.headers["x-plano-model"] == "anthropic/b"
    beginnings = {"chat": b'"role":"assistant"', "messages": b"message_start", "responses": b"response.created"}
    assert answer.body.count(beginnings[dialect]) <= 2, "`message_start` stands in the event's name and its type"
    assert b"resp_1" not in answer.body
    assert b"msg_1" not in answer.body


@STREAMED
async def test_12_a_context_error_inside_a_stream_goes_where_there_is_room(dialect: ClientDialect) -> None:
    large = {"target": "b", "conditions": ["any", "context_window"]}
    net = Net(config(fallbacks=(large,)))
    error = {
        "error": {
            "message": "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
            "type": "BadRequestError",
            "code": 400,
        }
    }
    net.hosts["a"].raw(200, STREAM, sse((None, error)))
    net.hosts["b"].reply("here")
    answer = await net.ask(dialect, True)
    assert (answer.text, answer.headers["x-plano-fallback"]) == ("here", "context_window")


@STREAMED
async def test_10_after_text_a_failure_ends_the_stream(dialect: ClientDialect) -> None:
    net = Net()
    net.hosts["a"].breaks_after(3, how="error")
    answer = await net.ask(dialect, True)
    assert answer.status == 200
    assert isinstance(answer.error, UpstreamError)
    assert net.hosts.calls == ["a"]


@STREAMED
async def test_16_an_end_after_text_is_an_error(dialect: ClientDialect) -> None:
    net = Net()
    net.hosts["a"].breaks_after(3, how="incomplete")
    answer = await net.ask(dialect, True)
    assert answer.error is not None
    assert net.hosts.calls == ["a"]


@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": "application/json"}, b'{"error": {"message": "Oh", "code": 500}}'),
        ({"content-type": "text/html"}, b"<html><title>Busy</title></html>"),
        ({"content-type": "application/json"}, b'{"object": "list", "data": []}'),
        ({"content-type": "application/json"}, b""),
    ],
    ids=["error", "page", "other", "empty"],
)
async def test_17_a_200_that_is_no_reply_moves_on(dialect: ClientDialect, headers: Any, body: bytes) -> None:
    net = Net()
    net.hosts["a"].raw(200, headers, body)
    net.hosts["b"].reply("here")
    answer = await net.ask(dialect, False)
    assert answer.text == "here"
    assert answer.headers["x-plano-fallback"] in ("protocol", "server")


@STREAMED
async def test_18_a_late_first_token_moves_on(dialect: ClientDialect) -> None:
    net = Net(config(resilience={"first_output": "20s"}))
    net.hosts["a"].script(Reply("late", delay=30.0))
    net.hosts["b"].reply("here")
    answer = await net.ask(dialect, True)
    assert (answer.text, answer.headers["x-plano-fallback"]) == ("here", "timeout")
    assert net.hosts["a"].last.outcome == "left"


@STREAMED
async def test_3_one_deadline_for_all_targets(dialect: ClientDialect) -> None:
    net = Net(config(resilience={"first_output": "20s", "deadline": "15s"}))
    net.hosts["a"].script(Reply("late", delay=30.0))
    net.hosts["b"].script(Reply("late", delay=30.0))
    answer = await asyncio.wait_for(net.ask(dialect, True), 15)
    assert answer.status == 504
    assert net.hosts.calls == ["a"]


@STREAMED
async def test_19_a_comment_keeps_the_connection_while_it_waits(dialect: ClientDialect) -> None:
    net = Net(config(resilience={"keepalive": "5s", "first_output": "20s"}))
    net.hosts["a"].script(Reply("late", delay=30.0))
    net.hosts["b"].reply("here")
    answer = await net.ask(dialect, True)
    assert (answer.status, answer.text) == (200, "here")
    assert answer.body.startswith(b": keep-alive\n\n")
    assert "x-plano-attempts" not in answer.headers


@STREAMED
async def test_19_a_failure_after_a_comment_is_an_error_event(dialect: ClientDialect) -> None:
    net = Net(config(resilience={"keepalive": "5s", "first_output": "20s"}, fallbacks=()))
    net.hosts["a"].script(Reply("late", delay=30.0))
    answer = await net.ask(dialect, True)
    assert answer.status == 200
    assert answer.error is not None


@EVERY_WAY
async def test_22_too_long_for_the_first_is_no_failure_of_its(dialect: ClientDialect, stream: bool) -> None:
    net = Net(config(fallbacks=({"target": "b", "conditions": ["any", "context_window"]},)))
    net.hosts["a"].fail(400, "This model's maximum context length is 8192 tokens.", code="context_length_exceeded")
    net.hosts["b"].reply("here")
    for _ in range(8):
        answer = await net.ask(dialect, stream)
        assert (answer.text, answer.headers["x-plano-fallback"]) == ("here", "context_window")
    assert net.hosts.calls == ["a", "b"] * 8, "its health is untouched"


@EVERY_WAY
async def test_22_too_long_goes_nowhere_that_does_not_list_it(dialect: ClientDialect, stream: bool) -> None:
    net = Net()
    net.hosts["a"].fail(400, "This model's maximum context length is 8192 tokens.", code="context_length_exceeded")
    answer = await net.ask(dialect, stream)
    assert answer.status == 400
    assert net.hosts.calls == ["a"]


@EVERY_WAY
async def test_23_a_smaller_window_is_skipped(dialect: ClientDialect, stream: bool) -> None:
    said = config(
        entry("a", apis=["chat"]),
        entry("b", "anthropic", context_window=10),
        fallbacks=({"target": "b", "conditions": ["any", "context_window"]},),
    )
    net = Net(said)
    net.hosts["a"].fail(400, "This model's maximum context length is 20 tokens.", code="context_length_exceeded")
    answer = await ask(net.gateway, dialect, "word " * 200, stream=stream, model="smart")
    assert answer.status == 400
    assert "20 tokens" in str(answer.error)
    assert net.hosts.calls == ["a"]


@EVERY_WAY
async def test_24_a_content_filter_is_passed_on(dialect: ClientDialect, stream: bool) -> None:
    net = Net()
    net.hosts["a"].fail(400, "The response was filtered.", code="content_filter")
    for _ in range(8):
        answer = await net.ask(dialect, stream)
        assert answer.status == 400
    assert net.hosts.calls == ["a"] * 8


@EVERY_WAY
async def test_25_a_request_that_is_wrong_is_sent_once(dialect: ClientDialect, stream: bool) -> None:
    net = Net()
    net.hosts["a"].fail(400, "`temperature` must be at most 2.")
    answer = await net.ask(dialect, stream)
    assert answer.status == 400
    assert net.hosts.calls == ["a"]


@EVERY_WAY
async def test_26_an_unknown_model_falls_back(dialect: ClientDialect, stream: bool, caplog: Any) -> None:
    net = Net()
    net.hosts["a"].fail(404, "The model `a` does not exist.", code="model_not_found")
    net.hosts["b"].reply("here")
    answer = await net.ask(dialect, stream)
    assert (answer.text, answer.headers["x-plano-fallback"]) == ("here", "no_model")
    assert "no_model" in caplog.text or "does not know" in caplog.text


KEYS = {"keys": [{"name": "app", "key": "app-key-1234", "models": ["smart"]}]}


@EVERY_WAY
async def test_28_a_fallback_that_the_caller_may_not_use_is_skipped(dialect: ClientDialect, stream: bool) -> None:
    net = Net(config(auth=KEYS))
    net.hosts["a"].fail(500)
    answer = await net.ask(dialect, stream, headers={"authorization": "Bearer app-key-1234"})
    assert answer.status == 500
    assert set(net.hosts.calls) == {"a"}


@EVERY_WAY
@pytest.mark.parametrize("field", ["fallbacks", "models"])
async def test_30_fallbacks_in_the_body(dialect: ClientDialect, stream: bool, field: str) -> None:
    net = Net(config(fallbacks=()))
    net.hosts["a"].fail(500)
    net.hosts["b"].reply("here")
    answer = await net.ask(dialect, stream, "a", **{field: ["b"]})
    assert (answer.text, answer.headers["x-plano-fallback"]) == ("here", "server")
    for recorded in (*net.hosts["a"].requests, *net.hosts["b"].requests):
        assert field not in msgspec.json.decode(recorded.body)


@EVERY_WAY
@pytest.mark.parametrize("name", ["nobody", "secret"])
async def test_30_unknown_or_forbidden_fallbacks_are_refused(dialect: ClientDialect, stream: bool, name: str) -> None:
    net = Net(config(auth=KEYS, fallbacks=()))
    answer = await net.ask(dialect, stream, headers={"authorization": "Bearer app-key-1234"}, fallbacks=["b", name])
    assert answer.status == 400
    assert net.hosts.calls == []


@EVERY_WAY
async def test_31_a_client_can_refuse_fallbacks(dialect: ClientDialect, stream: bool) -> None:
    net = Net()
    net.hosts["a"].fail(500)
    answer = await net.ask(dialect, stream, headers={"x-plano-no-fallback": "true"})
    assert answer.status == 500
    assert set(net.hosts.calls) == {"a"}


@EVERY_WAY
async def test_32_an_only_target_is_always_tried(dialect: ClientDialect, stream: bool) -> None:
    net = Net(config(fallbacks=(), resilience={"max_attempts": 1}))
    net.hosts["a"].fail(503)
    for _ in range(10):
        assert (await net.ask(dialect, stream)).status == 503
    net.hosts["a"].reply("here")
    assert (await net.ask(dialect, stream)).text == "here"
    assert len(net.hosts.calls) == 11


@EVERY_WAY
async def test_33_with_all_out_all_are_in(dialect: ClientDialect, stream: bool) -> None:
    net = Net(config(resilience={"max_attempts": 2}))
    net.hosts["a"].fail(500)
    net.hosts["b"].fail(500)
    for _ in range(10):
        assert (await net.ask(dialect, stream)).status == 500
    net.hosts["a"].reply("here")
    net.hosts["b"].reply("here")
    assert (await net.ask(dialect, stream)).text == "here"


@EVERY_WAY
async def test_37_the_faster_of_two_answers(dialect: ClientDialect, stream: bool) -> None:
    net = Net(config(resilience={"hedge": {"after": "3s"}}))
    net.hosts["a"].script(Reply("late", delay=30.0))
    net.hosts["b"].reply("here")
    more: dict[str, Any] = {"store": False} if dialect == "responses" else {}
    answer = await net.ask(dialect, stream, **more)
    assert (answer.text, answer.headers["x-plano-attempts"]) == ("here", "2")
    assert net.hosts["a"].last.outcome == "left"


@EVERY_WAY
async def test_a_connection_that_is_refused_moves_on(dialect: ClientDialect, stream: bool) -> None:
    net = Net()
    net.hosts.down.add("a")
    net.hosts["b"].reply("here")
    answer = await net.ask(dialect, stream)
    assert (answer.text, answer.headers["x-plano-fallback"]) == ("here", "connect")


@EVERY_WAY
async def test_nothing_configured_repeats_nothing(dialect: ClientDialect, stream: bool) -> None:
    hosts = FakeHosts("a")
    hosts["a"].fail(503)
    gateway = Plano({"model_providers": [entry("a")]}, transport=hosts)
    answer = await ask(gateway, dialect, "Hello", stream=stream, model="a")
    assert answer.status == 503
    assert hosts.calls == ["a"]
    assert "x-plano-attempts" not in answer.headers


@EVERY_WAY
async def test_the_most_useful_error_is_told(dialect: ClientDialect, stream: bool) -> None:
    net = Net(config(resilience={"max_attempts": 2}))
    net.hosts["a"].fail(500)
    net.hosts["b"].fail(429, headers={"retry-after": "7"})
    answer = await net.ask(dialect, stream)
    assert answer.status == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 7


# --- a filter of the provider's, where a fallback is there for that ---

FILTERED = {"target": "b", "conditions": ["any", "content_filter"]}


@EVERY_WAY
async def test_24_a_content_filter_moves_on_where_a_fallback_lists_it(dialect: ClientDialect, stream: bool) -> None:
    net = Net(config(fallbacks=(FILTERED,)))
    net.hosts["b"].reply("here")
    net.hosts["a"].fails(1, 400, code="content_filter")
    net.hosts["a"].script(Reply(finish="content_filter"))
    for _ in range(2):
        answer = await net.ask(dialect, stream)
        assert (answer.text, answer.headers["x-plano-fallback"]) == ("here", "content_filter")
    assert net.hosts.calls == ["a", "b", "a", "b"], "its health is untouched"


@EVERY_WAY
async def test_24_a_reply_that_was_filtered_later_is_the_clients(dialect: ClientDialect, stream: bool) -> None:
    net = Net(config(fallbacks=(FILTERED,)))
    net.hosts["a"].script(Reply("As far as it came", finish="content_filter"))
    answer = await net.ask(dialect, stream)
    assert answer.text == "As far as it came"
    assert net.hosts.calls == ["a"]


# --- clients that leave ---


def body(dialect: ClientDialect, stream: bool, **more: Any) -> bytes:
    said: dict[str, Any] = {"model": "smart", "stream": stream}
    if dialect == "responses":
        said["input"] = "Hello"
    else:
        said |= {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 100}
    return msgspec.json.encode(said | more)


@EVERY_WAY
async def test_20_nothing_is_tried_for_a_client_that_left(
    dialect: ClientDialect, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = asyncio.Event()

    async def long_wait(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    net = Net(config(fallbacks=()))
    monkeypatch.setattr(net.clock, "sleep", long_wait)
    net.hosts["a"].fail(500)
    exchange = Exchange(body(dialect, stream))
    path = OPERATIONS["create"].paths[dialect]
    running = asyncio.create_task(net.gateway(scope("POST", path), exchange.receive, exchange.send))
    await asyncio.wait_for(waiting.wait(), 20)
    exchange.leave()
    await asyncio.wait_for(running, 20)
    assert net.hosts.calls == ["a"]
    assert [each.in_flight for each in net.gateway._survivors.choosing.health.snapshot()] == [0]


@STREAMED
async def test_21_what_a_client_left_behind_is_settled(dialect: ClientDialect) -> None:
    rule = {"selector": {"by": "tenant"}, "limit": {"tokens": 10_000, "in_flight": 1, "unit": "day"}}
    net = Net(config(fallbacks=(), ratelimits=[rule, {**rule, "model": "openai/a"}]))
    net.hosts["a"].script(Reply("word " * 400, pause=0.001))
    path = OPERATIONS["create"].paths[dialect]
    exchange = Leaving(20, body(dialect, True))
    await asyncio.wait_for(net.gateway(scope("POST", path), exchange.receive, exchange.send), 30)
    net.hosts["a"].reply("here")
    answer = await asyncio.wait_for(net.ask(dialect, True), 20)
    assert answer.text == "here", "its places are free again"
    prefix = "anthropic-ratelimit-tokens" if dialect == "messages" else "x-ratelimit"
    name = f"{prefix}-remaining" if dialect == "messages" else f"{prefix}-remaining-tokens"
    assert 10_000 - 2_500 < int(answer.headers[name]) < 10_000, "neither all that was reserved, nor nothing"


# --- what is left alone ---


@EVERY_WAY
async def test_a_filters_own_target_is_the_only_one(dialect: ClientDialect, stream: bool) -> None:
    async def to_b(request: Request, call_next: CallNext) -> Response:
        return await call_next(request.replace(target=gateway.models.resolve("b")))

    hosts = FakeHosts("a", "b")
    order = [name for name in DEFAULT_ORDER if name not in ("filters", "attempts", "admission", "limits")]
    order.insert(order.index("state"), "filters")
    gateway = Plano(config(resilience={"max_attempts": 1}), filters=[to_b], order=order, transport=hosts)
    hosts["b"].fail(500)
    answer = await ask(gateway, dialect, "Hello", stream=stream, model="smart")
    assert answer.status == 500
    assert hosts.calls == ["b"]


async def test_a_history_that_is_stored_here_moves_on() -> None:
    net = Net(config(entry("a"), entry("b")))
    net.hosts["a"].reply("one")
    first = await net.ask("responses", False)
    net.hosts["a"].fail(500)
    net.hosts["b"].reply("two")
    second = await net.ask("responses", False, previous_response_id=first.reply.id)
    assert second.text == "two"
    assert b"one" in net.hosts["b"].last.body


async def test_a_history_that_only_the_provider_has_goes_nowhere_else() -> None:
    net = Net(config(entry("a"), entry("b"), state_storage={"type": "none"}))
    net.hosts["a"].fail(500)
    answer = await net.ask("responses", False, previous_response_id="resp_of_the_provider")
    assert answer.status in (400, 500)
    assert "b" not in net.hosts.calls


@pytest.mark.parametrize(
    "more", [{"background": True}, {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}]
)
async def test_what_may_have_had_an_effect_is_not_repeated(more: dict[str, Any]) -> None:
    net = Net(config(entry("a"), entry("b")))
    net.hosts["a"].fail(500)
    assert (await net.ask("responses", False, **more)).status == 500
    assert net.hosts.calls == ["a"]
    net.hosts.down.add("a")
    net.hosts["b"].reply("here")
    assert (await net.ask("responses", False, **more)).text == "here", "it is certain that `a` has not seen it"


@pytest.mark.parametrize("dialect", ["chat", "responses"])
async def test_a_kept_alive_reply_is_stored_as_its_targets(dialect: ClientDialect) -> None:
    net = Net(
        config(
            entry("a", apis=["chat"]),
            entry("b", apis=["chat"]),
            resilience={"keepalive": "0.05s", "first_output": "0.2s"},
        )
    )
    net.hosts["a"].script(Reply("late", delay=30.0))
    net.hosts["b"].reply("here")
    answer = await net.ask(dialect, True)
    assert answer.text == "here"
    assert answer.body.count(b"keep-alive") >= 1
    id = answer.reply.id
    more: dict[str, Any] = {"metadata": {"response_id": id}} if dialect == "chat" else {"previous_response_id": id}
    again = await net.ask(dialect, True, **more)
    assert again.status == 200
    assert b"here" in net.hosts["b"].last.body


@STREAMED
async def test_a_stream_that_becomes_too_slow_is_broken_off(dialect: ClientDialect) -> None:
    net = Net(config(fallbacks=(), resilience={"minimum_rate": {"tokens": 1000, "over": "0.05s"}}))
    net.hosts["a"].script(Reply("word " * 100, pause=0.02))
    answer = await net.ask(dialect, True)
    assert answer.status == 200
    assert "broken off" in str(answer.error)


async def test_embeddings_move_on_too() -> None:
    net = Net(config(entry("a"), entry("b")))
    net.hosts["a"].fail(500, on="/embeddings")
    exchange = Exchange(msgspec.json.encode({"model": "smart", "input": "Hello"}))
    await net.gateway(scope("POST", "/v1/embeddings"), exchange.receive, exchange.send)
    assert exchange.answer.status == 200
    assert exchange.answer.headers["x-plano-fallback"] == "server"


# --- callers, budgets and lone targets ---

KEY = {"authorization": "Bearer sk-app-0000000000"}


def of_caller(*models: str) -> dict[str, Any]:
    return {"auth": {"keys": [{"name": "app", "key": "sk-app-0000000000", "models": list(models)}]}}


@EVERY_WAY
@pytest.mark.parametrize(("models", "host"), [(["openai/a"], "a"), (["smart"], "b")])
async def test_a_caller_gets_no_target_of_an_alias_that_it_may_not_use(
    dialect: ClientDialect, stream: bool, models: list[str], host: str
) -> None:
    said = config(entry("a"), entry("b"), **of_caller(*models))
    said["model_aliases"]["smart"] = {"targets": [{"model": "a", "weight": 0}, {"model": "b", "weight": 1}]}
    net = Net(said)
    for each in net.hosts:
        net.hosts[each].reply("here")
    assert (await net.ask(dialect, stream, headers=KEY)).text == "here"
    assert net.hosts.calls == [host]


@EVERY_WAY
@pytest.mark.parametrize(("models", "status"), [(["smart", "cheap"], 200), (["smart"], 500)])
async def test_a_fallback_may_be_used_by_the_name_that_lists_it(
    dialect: ClientDialect, stream: bool, models: list[str], status: int
) -> None:
    said = config(entry("a"), entry("b"), fallbacks=("cheap",), **of_caller(*models))
    said["model_aliases"]["cheap"] = {"target": "b"}
    net = Net(said)
    net.hosts["a"].fail(500)
    net.hosts["b"].reply("here")
    assert (await net.ask(dialect, stream, headers=KEY)).status == status
    more: dict[str, Any] = {"fallbacks": ["cheap"]} if "cheap" in models else {}
    assert (await net.ask(dialect, stream, headers=KEY, **more)).status == status


@EVERY_WAY
@pytest.mark.parametrize(
    ("models", "headers", "asked"),
    [
        (["smart", "openai/b"], {}, ["a", "b"]),
        (["smart"], {}, ["a"]),
        (["smart", "openai/b"], {"x-plano-no-fallback": "true"}, ["a"]),
    ],
)
async def test_the_fallback_of_a_spent_budget_is_one_like_others(
    dialect: ClientDialect, stream: bool, models: list[str], headers: dict[str, str], asked: list[str]
) -> None:
    limit = {"tokens": 10, "unit": "day"}
    budget = {"name": "lab", "selector": {"by": "tenant"}, "limit": limit, "fallback": "b"}
    net = Net(config(entry("a"), entry("b"), fallbacks=(), budgets=[budget], **of_caller(*models)))
    for each in net.hosts:
        net.hosts[each].reply("word " * 50)
    assert (await net.ask(dialect, stream, headers=KEY)).status == 200
    net.gateway._survivors.observing.finished_requests.flush()
    answer = await net.ask(dialect, stream, headers=KEY | headers)
    assert net.hosts.calls == asked
    if len(asked) == 1:
        assert answer.status == (402 if dialect == "messages" else 429)
        assert answer.headers["x-should-retry"] == "false"
    else:
        assert answer.headers["x-plano-fallback"] == "budget"


@STREAMED
async def test_19_a_lone_target_is_kept_alive_too(dialect: ClientDialect) -> None:
    net = Net(config(fallbacks=(), resilience={"max_attempts": 1, "keepalive": "0.05s"}))
    net.hosts["a"].script(Reply("here", delay=0.5))
    answer = await net.ask(dialect, True, model="a")
    assert answer.text == "here"
    assert answer.body.startswith(b": keep-alive\n\n")


LIMITED = {"ratelimits": [{"model": "openai/a", "selector": {"by": "tenant"}, "limit": {"requests": 9, "unit": "day"}}]}


@STREAMED
@pytest.mark.parametrize("more", [{}, LIMITED])
async def test_a_stream_without_another_attempt_is_neither_held_back_nor_broken_off(
    dialect: ClientDialect, more: dict[str, Any]
) -> None:
    said = config(**more, resilience={"first_output": "5s", "max_attempts": 1}, fallbacks=())
    net = Net(said)
    net.hosts["a"].script(Reply("late", delay=40.0))
    answer = await net.ask(dialect, True)
    assert (answer.status, answer.text) == (200, "late")


@EVERY_WAY
async def test_a_server_that_turns_out_to_lack_an_api_was_asked_twice(dialect: ClientDialect, stream: bool) -> None:
    net = Net(config(entry("a"), entry("b"), fallbacks=("b",)))
    missing = Verbatim(404, {"content-type": "text/plain"}, b"404 page not found")
    net.hosts["a"].script(lambda asked: Reply("here") if asked.dialect == "chat" else missing)
    answer = await net.ask(dialect, stream)
    assert answer.text == "here"
    assert answer.headers["x-plano-attempts"] == str(len(net.hosts.calls))
    assert set(net.hosts.calls) == {"a"}
