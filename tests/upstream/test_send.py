"""What upstreams do wrong, as those who operate plano and those who call it see it."""

from __future__ import annotations

import asyncio
import gzip
import html
import json
import logging
import re
import ssl
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trustme
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from plano import Plano
from plano.config import load
from plano.errors import ConfigError
from plano.filters.bodies import logger as bodies_logger
from plano.observability.otlp import provider_for
from plano.testing import FakeProvider
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Caller, Dialect
from plano.upstream.send import MAX_REPLY
from tests import oracles
from tests.asgi import Answer, Exchange, ask, scope
from tests.scraping import scrape
from tests.server.wire import until
from tests.servers import free_port
from tests.test_pairs import PATHS, config
from tests.test_vendor_rules import asked_in
from tests.transport.wire import Server, answering, no_descriptors, reply

KEY = "sk-upstream"
"""Of the entries in `config`."""


def entry(url: str, **more: Any) -> dict[str, Any]:
    return {"model_providers": [{"model": "openai/m", "access_key": KEY, "base_url": url, **more}]}


async def answered(client: Dialect, said: bytes, *, stream: bool = False) -> Answer:
    """What a client gets when the upstream's server says `said`."""
    async with Server() as server:
        server.plays(answering(said))
        app = Plano(entry(f"{server.url}/v1"))
        answer = await ask(app, "POST", PATHS[client], asked_in(client, model="openai/m") | {"stream": stream})
        await app.aclose()
        return answer


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


async def test_why_an_upstream_cannot_be_reached_is_logged_once_in_a_while(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Plano(entry(f"http://127.0.0.1:{free_port()}/v1"))
    body = asked_in("chat", model="openai/m")
    for _ in range(3):
        assert (await ask(app, "POST", PATHS["chat"], body)).status == 502
    (line,) = warnings(caplog)
    assert line.startswith("openai/m: The upstream could not be reached. (")
    assert "111" in line  # ECONNREFUSED
    monkeypatch.setattr("plano.upstream.send.LOG_EVERY", 0.0)
    app._survivors.observing.finished_requests.flush()
    caplog.clear()
    other = Plano(entry(f"http://127.0.0.1:{free_port()}/v1"))
    for _ in range(2):
        await ask(other, "POST", PATHS["chat"], body)
    assert len(warnings(caplog)) == 2
    for each in (app, other):
        await each.aclose()


@pytest.mark.parametrize("client", DIALECTS)
async def test_out_of_descriptors_is_the_gateways_own_fault_and_logged_once_in_a_while(
    client: Dialect, caplog: pytest.LogCaptureFixture
) -> None:
    async with Server() as server:
        app = Plano(entry(f"{server.url}/v1"))
        with no_descriptors():
            answers = [await ask(app, "POST", PATHS[client], asked_in(client, model="openai/m")) for _ in range(3)]
        found = await scrape(app)
        await app.aclose()
        assert server.opened == 0
    for answer in answers:
        assert answer.status == 503
        assert oracles.error(client, answer.body)["message"] == "The gateway cannot open more connections."
    (line,) = warnings(caplog)
    assert line.startswith(
        "openai/m: The gateway cannot open more connections. (OSError: [Errno 24] Too many open files"
    )
    assert found.of("plano_upstream_errors_total") == 0


async def test_a_certificate_that_is_not_trusted_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    async with Server() as server:
        await server.listen(tls=context)
        app = Plano(entry(f"https://localhost:{server.port}/v1"))
        answer = await ask(app, "POST", PATHS["chat"], asked_in("chat", model="openai/m"))
        await app.aclose()
    assert answer.status == 502
    assert b"certificate verify failed" not in answer.body
    (line,) = warnings(caplog)
    assert "certificate verify failed" in line


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("status", [400, 401, 500])
async def test_a_key_that_an_upstream_repeats_goes_no_further(
    client: Dialect, upstream: Dialect, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    provider = FakeProvider()
    said = {"message": f"Incorrect API key provided: {KEY}.", "type": "invalid_request_error"}
    openais = {"error": {**said, "param": None, "code": None}}
    body = json.dumps({"type": "error", "error": said} if upstream == "messages" else openais).encode()
    provider.raw(status, {"content-type": "application/json"}, body)
    app = Plano(config("http://upstream.test"), transport=provider)
    answer = await ask(app, "POST", PATHS[client], asked_in(client, model=f"fake_{upstream}/m-1"))
    assert answer.status == (502 if status == 401 else status)
    oracles.error(client, answer.body)
    assert KEY.encode() not in answer.body
    assert KEY not in caplog.text
    if status != 401:
        assert b"Incorrect API key provided: ***." in answer.body


SLASHED = 'sk-up/stream+A&b="9"~=='
"""A key of characters that some servers escape and others do not."""

HEADER = "header-0123456789"
SPELLINGS = {
    "plain": json.dumps(SLASHED)[1:-1],
    "slashes": json.dumps(SLASHED)[1:-1].replace("/", "\\/"),
    "one": "\\u0073" + json.dumps(SLASHED)[2:-1],
    "lower": "".join(f"\\u{ord(character):04x}" for character in SLASHED),
    "upper": "".join(f"\\u{ord(character):04X}" for character in SLASHED),
    "turns": "".join(f"\\u{ord(c):04x}" if n % 2 else json.dumps(c)[1:-1] for n, c in enumerate(SLASHED)),
    "nested": json.dumps(json.dumps(json.dumps(SLASHED)))[1:-1],
    "header": HEADER,
}
"""Ways to say in JSON what the upstream was sent."""

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}
LEAKS = re.compile(re.escape(re.sub(r'["/]', "", SLASHED)) + "|" + HEADER)


def beginning(dialect: Dialect) -> list[str]:
    """The events of a stream until the model has said something."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
    counted = {"input_tokens": 1, "output_tokens": 1}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    response = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "in_progress"}
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    events: dict[Dialect, list[Any]] = {
        "chat": [chunk | {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]}],
        "messages": [
            {"type": "message_start", "message": message | {"stop_sequence": None, "usage": counted}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        ],
        "responses": [
            {"type": "response.created", "response": response | {"output": []}},
            {"type": "response.output_item.added", "output_index": 0, "item": item},
            {"type": "response.content_part.added", **at, "part": part},
            {"type": "response.output_text.delta", **at, "delta": "Hi"},
        ],
    }
    return [f"data: {json.dumps(event)}\n\n" for event in events[dialect]]


REPLY: dict[Dialect, str] = {
    "chat": '"object":"chat.completion","choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]',
    "messages": '"type":"message","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn"',
    "responses": '"object":"response","status":"failed","output":[]',
}
"""The fields that make a reply one."""


def places(dialect: Dialect, key: str) -> Iterator[tuple[int, dict[str, str], str | list[str]]]:
    """Answers of an upstream with a key, written as in JSON, in each place where an error can have one."""
    said = f'"message":"Bad key: {key}","type":"invalid_request_error","code":"{key}","param":"{key}"'
    error = f'{{"type":"error","error":{{{said}}}}}'
    for status in (400, 401, 403, 429, 500, 529):
        yield status, JSON, error
    yield 400, JSON, f'[{{"error":{{{said}}}}}]'
    yield 400, JSON, f'{{"error":"{key}"}}'
    yield 404, JSON, f'{{"detail":"{key}","unknown":{{"{key}":["{key}"]}}}}'
    yield 502, {"content-type": "text/html"}, f"<html>{key} {html.escape(SLASHED)}</html>"
    yield 500, {"content-type": "text/plain"}, f"Cannot use {key}: {SLASHED}"
    yield 200, JSON, error
    yield 200, JSON, f'{{"error":"{key}"}}'
    yield 200, JSON, f'{{{REPLY[dialect]},"error":{{{said}}}}}'
    yield 200, {"content-type": f"text/html; of={HEADER}"}, "<html></html>"
    yield 302, {"location": f"https://elsewhere.test/{HEADER}", "content-type": f"x/{HEADER}"}, ""
    kept = ("x-request-id", "request-id", "retry-after", "x-ratelimit-limit-requests", "anthropic-ratelimit-x")
    headers = dict.fromkeys(kept, f"of {HEADER}") | {"x-should-retry": SLASHED}
    yield 429, JSON | headers, error
    yield 200, JSON | headers, f"{{{REPLY[dialect]}}}"
    before = beginning(dialect)
    yield 200, SSE | headers, [*before, f"data: {error}\n\n"]
    yield 200, SSE, [f"data: {error}\n\n"]
    yield 200, SSE, ["".join([*before, f"event: error\ndata: {error}\n\n"])]
    yield 200, SSE, [*before, f"event: error\ndata: {{{said}}}\n\n"]
    yield 200, SSE, [*before, f"data: {error}"]
    yield 200, SSE, list("".join([*before[-1:], f"event: error\r\ndata: {error}\r\n\r\n"]))
    yield 200, {"content-type": "text/plain"}, [*before, f"data: {error}\n\n"]
    if dialect == "chat":
        yield 200, JSON, f'{{"choices":[{{"index":0,"message":{{"content":""}},"error":{{{said}}}}}]}}'
        yield 200, SSE, [*before, f'data: {{"choices":[{{"index":0,"delta":{{}},"error":{{{said}}}}}]}}\n\n']
        yield 200, SSE, [*before, f'data: {{"object":"error",{said}}}\n\n']
    if dialect == "responses":
        failed = f'{{"id":"resp_1","status":"failed","output":[],"error":{{{said}}}}}'
        yield 200, SSE, [*before, f'data: {{"type":"response.failed","response":{failed}}}\n\n']
        yield 200, SSE, [*before, f'data: {{"type":"error",{said}}}\n\n']


def leaks(text: str) -> list[str]:
    """Where a text gives a key away to somebody who reads its escapes, however deep."""
    text = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), html.unescape(text))
    return LEAKS.findall(re.sub(r'[\\"/]', "", text))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_what_an_upstream_was_sent_is_shown_to_nobody_however_it_repeats_it(
    client: Dialect, upstream: Dialect, stream: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plano.upstream.send.LOG_EVERY", 0.0)
    caplog.set_level(logging.DEBUG)
    provider, exporter = FakeProvider(keep=1), InMemorySpanExporter()
    said = config("http://upstream.test") | {"ui": True, "log": {"bodies": True}}
    for each in said["model_providers"]:
        each |= {"access_key": SLASHED, "headers": {"x-extra": f"Bearer {HEADER}"}}
    spans = provider_for(100, exporter=exporter)
    app = Plano(load(said), transport=provider, tracer_provider=spans)
    asked = asked_in(client, model=f"fake_{upstream}/m-1", stream=stream)
    for spelling, key in SPELLINGS.items():
        for status, headers, body in places(upstream, key):
            provider.raw(status, headers, [piece.encode() for piece in ([body] if isinstance(body, str) else body)])
            answer = await ask(app, "POST", PATHS[client], asked)
            assert leaks(f"{answer.headers} {answer.body.decode()}") == [], (spelling, status, headers, body)
            assert answer.status != 500 or status == 500
    shown = [(await ask(app, "GET", path)).body.decode() for path in ("/metrics", "/ui/data", "/readyz")]
    await app.aclose()
    spans.deliver()
    traced = [span.to_json() for span in exporter.get_finished_spans()]
    assert len(traced) >= 400
    assert any(record.name == bodies_logger.name for record in caplog.records)
    assert leaks("\n".join([*shown, *traced, caplog.text])) == []


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("upstream", DIALECTS)
async def test_a_callers_own_key_that_an_upstream_repeats_is_not_logged(
    client: Dialect, upstream: Dialect, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plano.upstream.send.LOG_EVERY", 0.0)
    caplog.set_level(logging.DEBUG)
    provider = FakeProvider()
    said = config("http://upstream.test")
    for each in said["model_providers"]:
        del each["access_key"]
        each["passthrough_auth"] = True
    app = Plano(said, transport=provider)
    for status, headers, body in places(upstream, SPELLINGS["turns"]):
        for stream in (False, True):
            provider.raw(status, headers, [piece.encode() for piece in ([body] if isinstance(body, str) else body)])
            asked = asked_in(client, model=f"fake_{upstream}/m-1", stream=stream)
            answer = await ask(app, "POST", PATHS[client], asked, {"authorization": f"Bearer {SLASHED}"})
            assert answer.status != 500 or status == 500
    await app.aclose()
    assert [leak for leak in leaks(caplog.text) if leak != HEADER] == []  # of which no header was sent here


@pytest.mark.parametrize(
    ("dialect", "path", "fields"),
    [
        ("chat", "/v1/embeddings", {"input": "Hi"}),
        ("messages", "/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "Hi"}]}),
        ("responses", "/v1/responses/input_tokens", {"input": "Hi"}),
    ],
)
async def test_the_calls_beside_replies_show_no_key_either(
    dialect: Dialect, path: str, fields: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    provider = FakeProvider()
    app = Plano(entry("http://upstream.test/v1", access_key=SLASHED, apis=[dialect]), transport=provider)
    for key in SPELLINGS.values():
        for status, headers, body in places(dialect, key):
            if isinstance(body, str):
                provider.raw(status, headers, body.encode(), on=path)
                answer = await ask(app, "POST", path, fields | {"model": "openai/m"})
                found = leaks(f"{answer.headers} {answer.body.decode()}")
                assert [leak for leak in found if leak != HEADER] == []
    await app.aclose()
    assert [leak for leak in leaks(caplog.text) if leak != HEADER] == []


async def test_an_error_is_passed_on_byte_for_byte_around_a_key_that_is_taken_out() -> None:
    provider = FakeProvider()
    body = '{ "error" :{"message":"caf\\u00e9 \\/ KEY!","n":1.50} , "error":{"z":[ ]}}'
    provider.raw(400, JSON, body.replace("KEY", SPELLINGS["turns"]).encode())
    answer = await asked_of(provider, "chat")
    assert answer.body.decode() == body.replace("KEY", "***")


async def test_what_a_model_says_is_left_to_it() -> None:
    """It was not sent the key; whoever wants to keep words out of replies has filters."""
    provider = FakeProvider()
    provider.raw(200, JSON, f"{{{REPLY['chat']}}}".replace('"Hi"', json.dumps(SLASHED)).encode())
    answer = await asked_of(provider, "chat")
    assert answer.json()["choices"][0]["message"]["content"] == SLASHED


async def asked_of(provider: FakeProvider, client: Dialect) -> Answer:
    app = Plano(entry("http://upstream.test/v1", access_key=SLASHED), transport=provider)
    return await ask(app, "POST", PATHS[client], asked_in(client, model="openai/m"))


@pytest.mark.parametrize("client", DIALECTS)
async def test_what_is_no_status_is_a_bad_gateway(client: Dialect) -> None:
    provider = FakeProvider()
    provider.raw(999, {"content-type": "application/json"}, b"{}")
    app = Plano(config("http://upstream.test"), transport=provider)
    answer = await ask(app, "POST", PATHS[client], asked_in(client, model="fake_chat/m-1"))
    assert answer.status == 502
    oracles.error(client, answer.body)


@cache
def bomb() -> bytes:
    """Small, and longer than what may be read once it is plain. It is a stream of comments."""
    return gzip.compress((b":" + bytes(1021) + b"\n\n") * (MAX_REPLY // 1024 + 1))


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("kind", [b"application/json", b"text/event-stream"])
@pytest.mark.parametrize("status", [b"200 OK", b"400 Bad Request"])
async def test_a_small_reply_that_becomes_a_large_one_is_not_taken_whole(
    client: Dialect, kind: bytes, status: bytes
) -> None:
    assert len(bomb()) < MAX_REPLY // 100
    answer = await answered(client, reply(bomb(), b"content-type: " + kind, b"content-encoding: gzip", status=status))
    assert answer.status == 502
    oracles.error(client, answer.body)
    assert b"longer than %d bytes" % MAX_REPLY in answer.body


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply_in_a_coding_that_is_not_undone_is_refused_in_words(client: Dialect, stream: bool) -> None:
    kind = b"text/event-stream" if stream else b"application/json"
    said = reply(b"\x0b\x02\x80{}\x03", b"content-type: " + kind, b"content-encoding: br")
    answer = await answered(client, said, stream=stream)
    assert b"compressed in a way that was not asked for" in answer.body
    assert answer.status == 502


@pytest.mark.parametrize("said", ["text/plain", "application/octet-stream", None])
async def test_what_plano_wrote_is_called_json(said: str | None) -> None:
    reply = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    provider = FakeProvider()
    headers = {} if said is None else {"content-type": said}
    provider.raw(200, headers, json.dumps(reply | {"choices": [choice]}).encode())
    app = Plano(config("http://upstream.test"), transport=provider)
    answer = await ask(app, "POST", PATHS["messages"], asked_in("messages", model="fake_chat/m-1"))
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")


@pytest.mark.parametrize(
    ("more", "environment", "said"),
    [
        ({"overrides": {"upstream_tls_ca_path": "{junk}"}}, {}, "TLS files cannot be loaded"),
        ({"proxy": "http://127.0.0.1:abc"}, {}, "proxy"),
        ({}, {"HTTPS_PROXY": "http://127.0.0.1:abc"}, "proxy's URL cannot be used"),
        ({}, {"ALL_PROXY": "socks5://127.0.0.1:1"}, "not installed"),
    ],
    ids=["authority", "proxy", "proxy of the environment", "SOCKS without its package"],
)
def test_what_no_request_could_be_sent_with_is_said_at_the_start(
    more: dict[str, Any],
    environment: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    overrides = {name: value.format(junk=junk) for name, value in more.get("overrides", {}).items()}
    asked = entry("https://upstream.test/v1", **{name: value for name, value in more.items() if name != "overrides"})
    with pytest.raises(ConfigError, match=said):
        Plano({**asked, "overrides": overrides} if overrides else asked)


TENANTS = {"keys": [{"name": name, "key": f"key-of-{name}", "tenant": name} for name in ("alice", "bob")]}


@pytest.mark.parametrize("operation", ["chat", "messages", "responses", "embeddings"])
async def test_what_two_tenants_call_the_same_is_not_the_same_to_their_provider(operation: str) -> None:
    """It knows one client, the gateway, and answers what it has answered before."""
    path = PATHS.get(operation, "/v1/embeddings")
    asked = {"model": "openai/m", "input": "Hi"} if operation == "embeddings" else asked_in(operation, model="openai/m")
    seen = []
    for _ in range(2):  # the second time by another process
        provider = FakeProvider()
        app = Plano(entry("http://upstream.test/v1", apis=["chat"]) | {"auth": TENANTS}, transport=provider)
        for name in ("alice", "bob", "alice"):
            headers = {"authorization": f"Bearer key-of-{name}", "idempotency-key": "1"}
            assert (await ask(app, "POST", path, asked, headers)).status == 200
            seen.append(provider.last.headers["idempotency-key"])
    alice, bob = seen[:2]
    assert seen == [alice, bob, alice] * 2
    assert len({alice, bob, "1"}) == 3
    assert not {"alice", "bob"} & {alice, bob}


async def test_no_tenant_can_choose_what_another_ones_key_becomes() -> None:
    seen = set()
    for tenant, said in [("a", "b\0c"), ("a\0b", "c"), ("ab", "c"), ("a", "bc")]:
        provider = FakeProvider()
        keys = {"keys": [{"name": "x", "key": "key-of-x", "tenant": tenant}, TENANTS["keys"][0]]}
        app = Plano(entry("http://upstream.test/v1") | {"auth": keys}, transport=provider)
        headers = {"authorization": "Bearer key-of-x", "idempotency-key": said}
        await ask(app, "POST", PATHS["chat"], asked_in("chat", model="openai/m"), headers)
        seen.add(provider.last.headers["idempotency-key"])
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("more", "auth"),
    [
        ({}, {}),
        ({}, {"auth": {"keys": TENANTS["keys"][:1]}}),
        ({}, {"auth": {"keys": [each | {"tenant": "acme"} for each in TENANTS["keys"]]}}),
        ({"access_key": None, "passthrough_auth": True}, {"auth": TENANTS}),
    ],
    ids=["nobody asked for a key", "one caller", "callers of one tenant", "their own credentials"],
)
async def test_an_idempotency_key_that_is_one_clients_goes_on_as_it_came(
    more: dict[str, Any], auth: dict[str, Any]
) -> None:
    provider = FakeProvider()
    app = Plano(entry("http://upstream.test/v1", **more) | auth, transport=provider)
    headers = {"authorization": "Bearer key-of-alice", "idempotency-key": "given-by-alice"}
    assert (await ask(app, "POST", PATHS["chat"], asked_in("chat", model="openai/m"), headers)).status == 200
    assert provider.last.headers["idempotency-key"] == "given-by-alice"


async def test_a_hosts_callers_are_not_known_to_be_of_one_tenant() -> None:
    provider = FakeProvider()
    app = Plano(entry("http://upstream.test/v1"), transport=provider, caller=lambda scope: Caller(tenant="a"))
    await ask(app, "POST", PATHS["chat"], asked_in("chat", model="openai/m"), {"idempotency-key": "1"})
    assert provider.last.headers["idempotency-key"] != "1"


PAGE = b"<html><script>alert(1)</script></html>"


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("said", ["text/html", "text/plain", "application/octet-stream", "image/svg+xml", None])
@pytest.mark.parametrize("status", [200, 404, 503])
async def test_no_browser_runs_what_an_upstream_sends(
    client: Dialect, upstream: Dialect, stream: bool, said: str | None, status: int
) -> None:
    provider = FakeProvider()
    headers = {} if said is None else {"content-type": said}
    body = PAGE if status != 200 else f"{{{REPLY[upstream]}}}".encode()
    provider.raw(status, headers, body)
    app = Plano(config("http://upstream.test"), transport=provider)
    answer = await ask(app, "POST", PATHS[client], asked_in(client, model=f"fake_{upstream}/m-1", stream=stream))
    passed_on = answer.headers.get("content-type") not in ("application/json", "text/event-stream")
    assert answer.headers.get("x-content-type-options") == "nosniff" or not passed_on
    if status != 200:
        oracles.error(client, answer.body)
        assert not passed_on
    if status != 200 and client == upstream:
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


async def test_a_stream_that_is_read_as_a_reply_is_let_go_of_when_nobody_waits_for_it() -> None:
    provider = FakeProvider()
    provider.raw(200, SSE, [b": one\n\n", b": two\n\n"], pause=1000.0)
    app = Plano(entry("http://upstream.test/v1"), transport=provider)
    exchange = Exchange(json.dumps(asked_in("chat", model="openai/m")).encode())
    answering = asyncio.create_task(app(scope("POST", PATHS["chat"]), exchange.receive, exchange.send))
    await until(lambda: provider.requests)
    answering.cancel()
    await asyncio.wait([answering])
    assert provider.last.outcome == "left"


FORMS = {
    "a web page": (b"<html><head><title>502 Bad Gateway</title></head></html>", "502 Bad Gateway"),
    "a text": (b"upstream connect error\r\n", "upstream connect error"),
    "nothing": (b"", "The upstream answered with status 503."),
    "JSON that was cut": (b'{"error":{"message":"It', '{"error":{"message":"It'),
    "a list": (b'[{"error":{"code":503,"message":"Try later"}}]', "Try later"),
    "a string": (b'"Try later"', "Try later"),
    "null": (b"null", "The upstream answered with status 503."),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("form", FORMS)
async def test_an_error_body_that_is_no_object_becomes_the_clients_error(
    form: str, client: Dialect, upstream: Dialect, stream: bool
) -> None:
    body, message = FORMS[form]
    provider = FakeProvider()
    provider.raw(503, {"content-type": "text/html", "retry-after": "7"}, body)
    app = Plano(config("http://upstream.test"), transport=provider)
    answer = await ask(app, "POST", PATHS[client], asked_in(client, model=f"fake_{upstream}/m-1", stream=stream))
    assert (answer.status, answer.headers["retry-after"]) == (503, "7")
    assert answer.headers["content-type"] == "application/json"
    said = oracles.error(client, answer.body)
    assert (said["message"], said["type"]) == (message, "overloaded_error")


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/messages/count_tokens"])
async def test_an_error_body_of_another_operation_becomes_the_clients_error_too(path: str) -> None:
    provider = FakeProvider()
    provider.raw(502, {"content-type": "text/html"}, b"<title>Bad Gateway</title>", on=path.removeprefix("/v1"))
    entries = [{"model": "openai/m", "access_key": KEY}, {"model": "anthropic/c", "access_key": KEY}]
    app = Plano({"model_providers": entries}, transport=provider)
    body = {"model": "openai/m", "input": "Hi"} if "embed" in path else asked_in("messages", model="anthropic/c")
    answer = await ask(app, "POST", path, body)
    assert answer.status == 502
    assert oracles.error("chat" if "embed" in path else "messages", answer.body)["message"] == "Bad Gateway"


OBJECTS = [
    b'{"detail":[{"type":"extra_forbidden","loc":["body","store"],"msg":"Extra inputs are not permitted"}]}',
    b' {"error" : "text", "n" : 1.50 }\n',
    b"{}",
]


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("body", OBJECTS)
async def test_an_error_body_that_is_an_object_is_forwarded_byte_for_byte(body: bytes, client: Dialect) -> None:
    provider = FakeProvider()
    provider.raw(422, {"content-type": "application/problem+json"}, body)
    app = Plano(config("http://upstream.test"), transport=provider)
    answer = await ask(app, "POST", PATHS[client], asked_in(client, model=f"fake_{client}/m-1"))
    assert (answer.status, answer.body) == (422, body)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_key_in_a_web_page_goes_no_further() -> None:
    provider = FakeProvider()
    provider.raw(400, {"content-type": "text/html"}, f"<title>The key {KEY} is wrong</title>".encode())
    app = Plano(config("http://upstream.test"), transport=provider)
    answer = await ask(app, "POST", PATHS["chat"], asked_in("chat", model="fake_chat/m-1"))
    assert oracles.error("chat", answer.body)["message"] == "The key *** is wrong"
