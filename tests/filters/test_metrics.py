"""What is counted, read back as Prometheus reads it and compared with what clients did and upstreams said."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import string
from pathlib import Path
from typing import Any

import pytest

from plano import CallNext, Plano, Request, Response
from plano.testing import FakeProvider, Reply, Usage, serve, thinking, tool_call
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.asgi import Answer, Leaving, ask, scope
from tests.scraping import Scrape, scrape
from tests.server.wire import until

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
USAGE = Usage(input_tokens=120, output_tokens=31, cached_tokens=20, reasoning_tokens=7)
WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen"


def entry(dialect: Dialect, **more: Any) -> dict[str, Any]:
    return {
        "model": f"{dialect}_server/m",
        "provider_interface": "openai",
        "base_url": "https://llm.example/v1",
        "apis": [dialect],
        "access_key": "sk-upstream",
    } | more


def gateway(provider: Any, *entries: dict[str, Any], filters: Any = (), **config: Any) -> Plano:
    providers = list(entries) or [entry(dialect) for dialect in DIALECTS]
    config = {"state_storage": {"type": "none"}} | config
    return Plano({"model_providers": providers, **config}, transport=provider, filters=filters)


def body(client: str, upstream: str, **more: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"model": f"{upstream}_server/m", **more}
    if client == "responses":
        return asked | {"input": "Count for me, please."}
    if client == "messages":
        asked["max_tokens"] = 100
    return asked | {"messages": [{"role": "user", "content": "Count for me, please."}]}


async def create(app: Plano, client: str, upstream: str, **more: Any) -> Answer:
    return await ask(app, "POST", PATHS[client], body(client, upstream, **more))


def streamed(client: str, on: bool) -> dict[str, Any]:
    if not on:
        return {}
    return {"stream": True} | ({"stream_options": {"include_usage": True}} if client == "chat" else {})


def tokens(found: Scrape, **labels: str) -> dict[str, float]:
    kinds = ("input", "output", "cached_input", "cache_creation", "reasoning")
    return {kind: found.of("gen_ai_client_token_usage_sum", gen_ai_token_type=kind, **labels) for kind in kinds}


async def leave(app: Plano, client: str, asked: dict[str, Any], *, after: int) -> None:
    exchange = Leaving(after, json.dumps(asked).encode())
    if after == 0:
        asyncio.get_running_loop().call_later(0.02, exchange.leave)
    async with asyncio.timeout(20):
        await app(scope("POST", PATHS[client]), exchange.receive, exchange.send)


# --- requests that go well ------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_a_request_is_counted_with_the_upstreams_own_numbers(
    client: Dialect, upstream: Dialect, stream: bool
) -> None:
    provider = FakeProvider()
    provider.reply(WORDS, usage=USAGE)
    app = gateway(provider)
    for _ in range(2):
        assert (await create(app, client, upstream, **streamed(client, stream))).status == 200
    assert provider.last.dialect == upstream
    found = await scrape(app)
    assert found.labels("plano_requests_total") == [
        {
            "client_dialect": client,
            "operation": "create",
            "provider": f"{upstream}_server",
            "model": f"{upstream}_server/m",
            "upstream_dialect": upstream,
            "stream": str(stream).lower(),
            "status": "2xx",
            "outcome": "completed",
        }
    ]
    assert found.of("plano_requests_total") == 2
    model = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": f"{upstream}_server",
        "gen_ai_request_model": f"{upstream}_server/m",
    }
    said = tokens(found, estimated="false", **model)
    assert said == {"input": 240, "output": 62, "cached_input": 40, "cache_creation": 0, "reasoning": 14}
    assert sum(tokens(found, estimated="true").values()) == 0
    assert found.of("plano_usage_missing_total") == 0
    assert found.of("gen_ai_server_request_duration_seconds_count", error_type="", **model) == 2
    assert found.of("gen_ai_server_time_to_first_token_seconds_count", **model) == (2 if stream else 0)
    assert found.of("gen_ai_server_time_per_output_token_seconds_count", **model) == (2 if stream else 0)
    assert found.of("plano_overhead_seconds_count", client_dialect=client, upstream_dialect=upstream) == 2
    assert found.of("plano_requests_in_flight") == 0
    assert found.of("plano_upstream_errors_total") + found.of("plano_client_aborts_total") == 0


async def test_cache_creation_is_counted_of_those_who_say_it() -> None:
    provider = FakeProvider()
    provider.reply("Hi", usage=Usage(input_tokens=90, output_tokens=3, cached_tokens=10, cache_creation_tokens=50))
    app = gateway(provider)
    await create(app, "messages", "messages")
    said = tokens(await scrape(app), estimated="false")
    assert said == {"input": 90, "output": 3, "cached_input": 10, "cache_creation": 50, "reasoning": 0}


async def test_calls_beside_the_reply_are_counted_as_what_they_are() -> None:
    provider = FakeProvider()
    app = gateway(provider, {"model": "openai/e", "access_key": "k"}, {"model": "anthropic/*", "access_key": "k"})
    embedded = (await ask(app, "POST", "/v1/embeddings", {"model": "openai/e", "input": "a" * 40})).json()
    asked = {"model": "anthropic/claude-x", "messages": [{"role": "user", "content": "Hi"}]}
    assert (await ask(app, "POST", "/v1/messages/count_tokens", asked)).status == 200
    found = await scrape(app)
    assert found.of("plano_requests_total", operation="embeddings", model="openai/e", status="2xx") == 1
    assert found.of("plano_requests_total", operation="count_tokens", model="anthropic/*", status="2xx") == 1
    assert found.of("gen_ai_server_request_duration_seconds_count", gen_ai_operation_name="embeddings") == 1
    assert (
        tokens(found, gen_ai_operation_name="embeddings", estimated="false")["input"]
        == embedded["usage"]["prompt_tokens"]
    )
    assert sum(tokens(found, gen_ai_operation_name="count_tokens").values()) == 0


async def test_requests_under_way_are_in_flight() -> None:
    provider = FakeProvider(delay=1.0)
    app = gateway(provider)
    asking = [asyncio.create_task(create(app, client, "chat")) for client in ("chat", "chat", "messages")]
    await until(lambda: len(provider.requests) == 3)
    found = await scrape(app)
    assert found.of("plano_requests_in_flight", client_dialect="chat") == 2
    assert found.of("plano_requests_in_flight", client_dialect="messages") == 1
    await asyncio.gather(*asking)
    assert (await scrape(app)).of("plano_requests_in_flight") == 0


# --- where time goes ------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_waiting_for_the_upstream_is_no_overhead(stream: bool) -> None:
    provider = FakeProvider(delay=0.05, pause=0.01)
    provider.reply("a b c d e f")
    app = gateway(provider)
    await create(app, "chat", "chat", stream=stream)
    found = await scrape(app)
    waited = found.of("gen_ai_server_request_duration_seconds_sum") - found.of("plano_overhead_seconds_sum")
    assert waited >= (0.05 + 6 * 0.01 if stream else 0.05)


async def test_time_to_first_token_ends_where_the_model_says_something() -> None:
    provider = FakeProvider(pause=0.02)
    provider.reply("Hello")
    for upstream, opening in (("chat", 1), ("messages", 2), ("responses", 4)):
        app = gateway(provider)
        await create(app, "chat", upstream, stream=True)
        found = await scrape(app)
        assert found.of("gen_ai_server_time_to_first_token_seconds_sum") >= opening * 0.02, upstream


async def test_each_filter_answers_for_its_own_time() -> None:
    async def slow(request: Request, call_next: CallNext) -> Response:
        await asyncio.sleep(0.05)
        return await call_next(request)

    provider = FakeProvider(delay=0.05)
    app = gateway(provider, filters=[slow])
    await create(app, "messages", "chat")
    found = await scrape(app)
    names = {labels["filter"] for labels in found.labels("plano_filter_seconds_total")}
    assert names == {"metrics", "intake", "auth", "slow", "alias", "attempts", "translation", "upstream"}
    assert found.of("plano_filter_seconds_total", filter="slow") >= 0.05
    whole = found.of("gen_ai_server_request_duration_seconds_sum")
    assert found.of("plano_filter_seconds_total") <= whole - 0.05  # nobody's is waiting for the upstream


# --- requests that fail ---------------------------------------------------------------------------

FAILURES: list[tuple[Any, str, str, str]] = [
    (429, "rate_limit", "4xx", "rate_limit"),
    (400, "invalid", "4xx", "invalid_request"),
    (500, "server", "5xx", "upstream"),
    (529, "overloaded", "5xx", "overloaded"),
    (401, "credential", "5xx", "upstream"),
    ("lost", "connect", "5xx", "upstream"),
    ("html", "protocol", "5xx", "upstream"),
    ("slow", "timeout", "5xx", "timeout"),
]


def failing(how: Any) -> FakeProvider:
    provider = FakeProvider()
    match how:
        case "lost":
            provider.raw(200, {"content-type": "application/json"}, b'{"id": ', lost=True)
        case "html":
            provider.raw(200, {"content-type": "text/html"}, b"<html>")
        case "slow":
            provider.reply("late", delay=5.0)
        case status:
            provider.fail(status)
    return provider


@pytest.mark.parametrize(("how", "kind", "status", "error"), FAILURES)
@pytest.mark.parametrize(("client", "upstream"), [("chat", "chat"), ("messages", "chat"), ("responses", "messages")])
async def test_an_upstream_that_fails_is_counted_by_how(
    client: Dialect, upstream: Dialect, how: Any, kind: str, status: str, error: str
) -> None:
    listener = {"name": "l", "type": "model", "timeout": "50ms"}
    app = gateway(failing(how), listeners=[listener])
    await create(app, client, upstream)
    found = await scrape(app)
    model = f"{upstream}_server/m"
    assert found.labels("plano_upstream_errors_total") == [
        {"provider": f"{upstream}_server", "model": model, "kind": kind}
    ]
    assert found.of("plano_requests_total", model=model, status=status, outcome="completed") == 1
    assert found.of("gen_ai_server_request_duration_seconds_count", error_type=error, gen_ai_request_model=model) == 1
    assert sum(tokens(found).values()) == 0


@pytest.mark.parametrize("how", ["lost", "incomplete", "error"])
@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("upstream", DIALECTS)
async def test_a_stream_that_breaks_has_failed_and_used_what_came_of_it(
    client: Dialect, upstream: Dialect, how: Any
) -> None:
    provider = FakeProvider()
    provider.script(Reply(WORDS, usage=Usage(input_tokens=9, output_tokens=1), breaks_after=9, how=how))
    app = gateway(provider)
    await create(app, client, upstream, **streamed(client, True))
    found = await scrape(app)
    assert found.of("plano_requests_total", status="2xx", outcome="failed", stream="true") == 1
    assert found.of("plano_requests_total") == 1
    assert found.of("plano_upstream_errors_total", kind="broken_stream") == 1
    assert found.of("plano_upstream_errors_total") == 1
    assert found.of("gen_ai_server_request_duration_seconds_count", error_type="") == 0
    assert found.of("gen_ai_server_request_duration_seconds_count") == 1
    assert 4 <= tokens(found, estimated="true")["output"] <= 13
    assert found.of("plano_usage_missing_total") == 1


@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_a_client_that_leaves_is_counted_with_what_it_used(client: Dialect, upstream: Dialect) -> None:
    provider = FakeProvider(pause=0.03)
    provider.reply(WORDS + " " + WORDS, usage=Usage(input_tokens=9, output_tokens=1))
    app = gateway(provider)
    await leave(app, client, body(client, upstream, **streamed(client, True)), after=8)
    found = await scrape(app)
    model = f"{upstream}_server/m"
    assert found.of("plano_client_aborts_total", client_dialect=client, model=model, phase="during_reply") == 1
    assert found.of("plano_requests_total", status="2xx", outcome="aborted", model=model) == 1
    assert found.of("gen_ai_server_request_duration_seconds_count", error_type="aborted") == 1
    assert 2 <= tokens(found, estimated="true")["output"] <= 15  # of about 36
    # Anthropic's streams open with what was read; of the others nothing is known.
    assert tokens(found, estimated=str(upstream != "messages").lower())["input"] > 0
    assert found.of("plano_requests_in_flight") == 0
    assert found.of("plano_overhead_seconds_count") == 0


async def test_a_client_that_leaves_before_the_reply_saw_no_status() -> None:
    app = gateway(FakeProvider(delay=5.0))
    await leave(app, "chat", body("chat", "chat"), after=0)
    found = await scrape(app)
    assert found.of("plano_client_aborts_total", phase="before_reply") == 1
    assert found.of("plano_requests_total", status="none", outcome="aborted") == 1
    assert tokens(found, estimated="true")["input"] > 0
    assert tokens(found)["output"] == 0


CALLERS = {"keys": [{"name": "app", "key": "sk-app-0123456789"}]}


@pytest.mark.parametrize(
    ("config", "asked", "status", "error"),
    [
        ({}, b"{", 400, "invalid_request"),
        ({}, {"model": "nobody/has-this"}, 404, "not_found"),
        ({"limits": {"max_body_bytes": 10}}, b"x" * 11, 413, "too_large"),
        ({"auth": CALLERS}, {"model": "chat_server/m"}, 401, "authentication"),
    ],
)
async def test_what_never_reached_an_upstream_is_counted_too(
    config: dict[str, Any], asked: Any, status: int, error: str
) -> None:
    app = gateway(FakeProvider(), **config)
    assert (await ask(app, "POST", PATHS["messages"], asked)).status == status
    found = await scrape(app)
    assert found.of("plano_requests_total", model="other", upstream_dialect="none", status="4xx") == 1
    assert found.of("gen_ai_server_request_duration_seconds_count", error_type=error) == 1


async def test_a_filters_bug_is_an_error_of_the_server() -> None:
    async def broken(request: Request, call_next: CallNext) -> Response:
        raise RuntimeError("a bug")

    app = gateway(FakeProvider(), filters=[broken])
    await create(app, "chat", "chat")
    found = await scrape(app)
    assert found.of("plano_requests_total", status="5xx") == 1
    assert found.of("gen_ai_server_request_duration_seconds_count", error_type="server") == 1


# --- usage that nobody said -----------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("client", ["chat", "messages"])
async def test_usage_that_the_upstream_does_not_say_is_estimated_and_marked(client: Dialect, stream: bool) -> None:
    provider = FakeProvider()
    provider.reply(WORDS, usage=None)
    app = gateway(provider)
    await create(app, client, "chat", **streamed(client, stream))
    found = await scrape(app)
    assert sum(tokens(found, estimated="false").values()) == 0
    said = tokens(found, estimated="true")
    size = len(WORDS) / 4
    assert 0.75 * size <= said["output"] <= 1.25 * size
    assert 5 <= said["input"] <= 20
    assert found.labels("plano_usage_missing_total") == [{"provider": "chat_server", "model": "chat_server/m"}]


async def test_tool_calls_and_thinking_are_part_of_the_estimate() -> None:
    for part in (thinking(WORDS), tool_call("f", {"text": WORDS})):
        for stream in (False, True):
            provider = FakeProvider()
            provider.reply(part, usage=None)
            app = gateway(provider)
            await create(app, "chat", "chat", stream=stream)
            output = tokens(await scrape(app), estimated="true")["output"]
            assert 0.6 * len(WORDS) / 4 <= output <= 1.7 * len(WORDS) / 4, (part, stream)


async def test_a_long_request_is_estimated_without_its_files() -> None:
    provider = FakeProvider()
    provider.reply("Nice.", usage=None)
    app = gateway(provider)
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 3_200_000}}
    asked = body("chat", "chat") | {"messages": [{"role": "user", "content": [image]}]}
    assert (await ask(app, "POST", PATHS["chat"], asked)).status == 200
    assert 90_000 <= tokens(await scrape(app), estimated="true")["input"] <= 110_000


@pytest.mark.parametrize("upstream", DIALECTS)
async def test_usage_of_streams_is_asked_for_where_the_configuration_says_so(upstream: Dialect) -> None:
    provider = FakeProvider()
    provider.reply(WORDS, usage=USAGE)
    app = gateway(provider, metrics={"stream_usage": True})
    answer = await create(app, "chat", upstream, stream=True)
    assert b'"usage"' not in answer.body or b'"prompt_tokens"' not in answer.body
    assert answer.body.endswith(b"data: [DONE]\n\n")
    said = tokens(await scrape(app), estimated="false")
    assert (said["input"], said["output"]) == (120, 31)
    if upstream == "chat":
        assert provider.last.json["stream_options"] == {"include_usage": True}
        assert list(provider.last.json)[:3] == ["model", "stream", "messages"]


async def test_a_client_that_asks_for_usage_gets_it_all_the_same() -> None:
    provider = FakeProvider()
    provider.reply(WORDS, usage=USAGE)
    for config in ({}, {"metrics": {"stream_usage": True}}):
        answer = await create(gateway(provider, **config), "chat", "chat", **streamed("chat", True))
        assert b'"prompt_tokens":120' in answer.body.replace(b" ", b"")


@pytest.mark.parametrize("options", ['"include_usage":false,"include_usage":true', '"Include_Usage":true'])
async def test_whether_a_client_asks_for_usage_is_said_in_one_way(options: str) -> None:
    provider = FakeProvider()
    body = f'{{"model":"chat_server/m","stream":true,"messages":[],"stream_options":{{{options}}}}}'.encode()
    answer = await ask(gateway(provider, metrics={"stream_usage": True}), "POST", "/v1/chat/completions", body)
    assert answer.status == 400
    assert answer.json()["error"]["param"] == "stream_options.include_usage"
    assert provider.requests == []


@pytest.mark.parametrize("client", ["messages", "responses"])
async def test_other_dialects_are_not_touched_by_it(client: Dialect) -> None:
    provider = FakeProvider()
    plain = gateway(provider)
    asking = gateway(provider, metrics={"stream_usage": True})
    await create(plain, client, client, stream=True)
    await create(asking, client, client, stream=True)
    assert provider.requests[0].body == provider.requests[1].body


# --- cost -----------------------------------------------------------------------------------------


async def test_cost_is_counted_where_there_is_a_price() -> None:
    provider = FakeProvider()
    provider.reply("Hi", usage=Usage(input_tokens=1000, output_tokens=100, cached_tokens=400))
    prices = {"models": {"chat_server/m": {"input": 2.0, "output": 10, "cached_input": 0.5}}}
    app = gateway(provider, prices=prices)
    await create(app, "messages", "chat")
    await create(app, "chat", "messages")
    found = await scrape(app)
    assert found.labels("plano_cost_dollars_total") == [
        {"provider": "chat_server", "model": "chat_server/m", "estimated": "false"}
    ]
    assert found.of("plano_cost_dollars_total") == pytest.approx((600 * 2 + 400 * 0.5 + 100 * 10) / 1e6)


async def test_a_file_of_prices_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("chat_server/m: {input: 1}\n")
    provider = FakeProvider()
    provider.reply("Hi", usage=Usage(input_tokens=1_000_000, output_tokens=1))
    app = gateway(provider, prices={"file": str(file)})
    await create(app, "chat", "chat")
    assert (await scrape(app)).of("plano_cost_dollars_total") == pytest.approx(1)
    for said, total in (("{input: 10}", 11), ("[nonsense]", 21), ("{input: .nan}", 31), ("{input: 2}", 33)):
        file.write_text(f"chat_server/m: {said}\n")
        await scrape(app)
        await create(app, "chat", "chat")
        assert (await scrape(app)).of("plano_cost_dollars_total") == pytest.approx(total)


# --- losses, the store, connections, everything else ----------------------------------------------


async def test_losses_are_counted_by_field_and_made_up_fields_as_other() -> None:
    app = gateway(FakeProvider())
    await create(app, "chat", "messages", seed=1, logit_bias={"1": 1}, frobnicate=1, another_one=2)
    found = await scrape(app)
    pair = {"client_dialect": "chat", "upstream_dialect": "messages"}
    lost = found.labels("plano_losses_total")
    counted = {labels["field"]: found.of("plano_losses_total", **labels) for labels in lost}
    assert counted == {"seed": 1, "logit_bias": 1, "other": 2}
    assert all(pair.items() <= labels.items() for labels in lost)


async def test_operations_on_the_store_are_counted_and_so_are_its_failures() -> None:
    provider = FakeProvider()
    app = gateway(provider, state_storage={"type": "memory"})
    first = (await create(app, "responses", "chat")).json()
    assert (await create(app, "responses", "chat", previous_response_id=first["id"])).status == 200
    found = await scrape(app)
    assert found.of("plano_store_operations_total", operation="put", outcome="ok") == 2
    assert found.of("plano_store_operations_total", operation="get_chain", outcome="ok") == 1
    assert found.of("plano_store_operations_total", outcome="failed") == 0

    url = "redis://127.0.0.1:1/0"
    down = gateway(provider, state_storage={"type": "redis", "url": url, "deadline_seconds": 1})
    assert (await create(down, "responses", "chat")).status == 200
    found = await scrape(down)
    assert found.of("plano_store_operations_total", operation="put", outcome="failed") == 1
    assert found.of("plano_replies_not_stored_total", client_dialect="responses") == 1


async def test_connections_to_each_origin_are_shown() -> None:
    with serve(FakeProvider(delay=2.0)) as url:
        app = gateway(None, entry("chat", base_url=f"{url}/v1"))
        asking = [asyncio.create_task(create(app, "chat", "chat")) for _ in range(3)]
        found = await scrape(app)
        while found.of("plano_upstream_connections", state="open") < 3:
            await asyncio.sleep(0.01)
            found = await scrape(app)
        assert found.of("plano_upstream_connections", origin=url, state="open") == 3
        assert found.of("plano_upstream_connections", origin=url, state="idle") == 0
        await asyncio.gather(*asking)
        found = await scrape(app)
        assert found.of("plano_upstream_connections", origin=url, state="idle") == 3
        assert found.of("plano_upstream_connections", state="waiting") == 0
        await app.aclose()


async def test_requests_that_ask_no_model_are_counted_by_route() -> None:
    app = gateway(FakeProvider())
    for method, path in [
        ("GET", "/v1/models"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models/nobody/has-this"),
        ("POST", "/v1/models"),
        ("GET", "/healthz"),
        ("GET", "/wp-admin.php"),
        ("BREW", "/v1/coffee"),
    ]:
        await ask(app, method, path)
    found = await scrape(app)
    counted = {
        (labels["route"], labels["status"]): found.of("plano_other_requests_total", **labels)
        for labels in found.labels("plano_other_requests_total")
    }
    assert counted == {
        ("/v1/models", "2xx"): 2,
        ("/v1/models", "4xx"): 1,
        ("/v1/models/{id:path}", "4xx"): 1,
        ("/healthz", "2xx"): 1,
        ("other", "4xx"): 2,
    }
    assert found.of("plano_requests_total") == 0


# --- cardinality ----------------------------------------------------------------------------------


def noise(dice: random.Random) -> str:
    return "".join(dice.choices(string.ascii_letters + string.digits + "-_.:~é", k=dice.randint(1, 40)))


async def test_a_scan_of_ten_thousand_paths_and_names_adds_no_series() -> None:
    provider = FakeProvider(keep=0)
    app = gateway(provider, entry("chat"), {"model": "groq/*", "access_key": "k"})
    dice = random.Random(5)

    async def scan(times: int) -> None:
        for number in range(times):
            word = noise(dice)
            client = DIALECTS[number % 3]
            match number % 5:
                case 0:
                    await ask(app, dice.choice(["GET", "POST", "PUT", word.upper()[:8]]), f"/{word}?{word}={word}")
                case 1:
                    await ask(app, "GET", f"/v1/models/{word}")
                case 2:
                    await ask(app, "POST", PATHS[client], body(client, "chat") | {"model": word})
                case 3:
                    await ask(app, "POST", PATHS[client], body(client, "chat") | {"model": f"groq/{word}", word: 1})
                case 4:
                    headers = {"x-request-id": word, "authorization": f"Bearer {word}", "user-agent": word}
                    asked = body(client, "chat") | {word: word, "metadata": {word: word}}
                    await ask(app, "POST", PATHS[client], asked, headers)

    await scan(60)
    await ask(app, "GET", "/v1/models/m")  # a name that chance may hit
    await scrape(app)  # which is counted as well
    before = (await scrape(app)).samples.keys()
    await scan(10_000)
    found = await scrape(app)
    assert found.samples.keys() == before
    assert found.of("plano_requests_total") == 60 * 3 // 5 + 6_000
    assert len(found.samples) <= app.most_metric_lines


async def test_two_gateways_in_one_process_count_apart() -> None:
    provider = FakeProvider()
    one, two = gateway(provider), gateway(provider)
    await create(one, "chat", "chat")
    assert (await scrape(one)).of("plano_requests_total") == 1
    assert (await scrape(two)).of("plano_requests_total") == 0
    assert one.metrics is not two.metrics


async def test_a_host_can_serve_the_registry_itself() -> None:
    from prometheus_client import generate_latest

    app = gateway(FakeProvider())
    await create(app, "chat", "chat", stream=True)
    assert Scrape(generate_latest(app.metrics).decode()).samples == (await scrape_without_own(app)).samples


async def scrape_without_own(app: Plano) -> Scrape:
    return Scrape((await app.exposition().text()).decode())


async def test_without_metrics_there_are_none_and_everything_works() -> None:
    app = gateway(FakeProvider(), metrics={"enabled": False})
    assert (await create(app, "chat", "chat")).status == 200
    assert (await ask(app, "GET", "/metrics")).status == 404
    assert app.pipeline[0].name == "intake"
    assert list(app.metrics.collect()) == []


# --- who may see them -----------------------------------------------------------------------------


async def test_metrics_are_for_callers_only_where_the_configuration_says_so() -> None:
    key = {"authorization": "Bearer sk-app-0123456789"}
    open_, closed = (gateway(FakeProvider(), auth=CALLERS, metrics={"auth": auth}) for auth in (False, True))
    await scrape(open_)
    assert (await ask(closed, "GET", "/metrics")).status == 401
    assert (await ask(closed, "GET", "/metrics", b"", {"authorization": "Bearer wrong"})).status == 401
    await scrape(closed, key)


async def test_metrics_are_for_the_hosts_own_callers_where_it_has_some() -> None:
    config = {"model_providers": [{"model": "demo/echo"}], "metrics": {"auth": True}}
    app = Plano(config, caller=lambda scope: None)
    assert (await ask(app, "GET", "/metrics")).status == 401


async def test_metrics_are_read_and_nothing_else() -> None:
    app = gateway(FakeProvider())
    assert (await ask(app, "POST", "/metrics")).status == 405
    head = await ask(app, "HEAD", "/metrics")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 0


async def test_a_port_of_their_own_leaves_none_on_the_other() -> None:
    app = gateway(FakeProvider(), metrics={"port": 9464})
    assert (await ask(app, "GET", "/metrics")).status == 404
    alone = app.exposition()
    assert (await ask(alone, "GET", "/metrics")).status == 200
    assert (await ask(alone, "POST", "/v1/chat/completions", {})).status == 404


# --- readiness ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("storage", "store"), [({"type": "none"}, "none"), ({"type": "memory"}, "reachable")])
async def test_a_gateway_is_ready_when_its_store_answers(storage: dict[str, Any], store: str) -> None:
    answer = await ask(gateway(FakeProvider(), state_storage=storage, auth=CALLERS), "GET", "/readyz")
    assert (answer.status, answer.json()["status"], answer.json()["store"]) == (200, "ready", store)


async def test_a_gateway_whose_store_can_only_be_read_is_degraded(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    storage = {"type": "sqlite", "path": str(path), "deadline_seconds": 1}
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL")
    app = gateway(FakeProvider(), state_storage=storage)
    other.execute("BEGIN IMMEDIATE")
    answer = await ask(app, "GET", "/readyz")
    assert (answer.status, answer.json()["store"]) == (503, "unreachable")
    other.close()
    await app.aclose()


async def test_a_gateway_whose_store_does_not_answer_is_degraded_and_says_no_more() -> None:
    url = "redis://user:hunter2-hunter2@127.0.0.1:1/0"
    storage = {"type": "redis", "url": url, "deadline_seconds": 1}
    app = gateway(FakeProvider(), state_storage=storage)
    answer = await ask(app, "GET", "/readyz")
    assert (answer.status, answer.json()["status"], answer.json()["store"]) == (503, "degraded", "unreachable")
    assert b"hunter2" not in answer.body
    assert b"127.0.0.1" not in answer.body
    assert (await ask(app, "GET", "/healthz")).status == 200
    assert (await scrape(app)).of("plano_store_operations_total", operation="ping", outcome="failed") == 1
