"""Requests made wrong in small ways are never a 5xx; replies made wrong are never a success, a crash or a hang.

Everything goes through the whole gateway, in process. Examples are derandomized: a failure comes back.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano import Plano
from plano.frames import sse
from plano.testing import FakeProvider
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests import oracles
from tests.asgi import Answer, ask
from tests.mutations import Deep, Mutation, deepest, dumps, mutated, mutations
from tests.seeds import PORTABLE

GOLDEN = Path(__file__).parent / "dialects"
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
RICH: dict[Dialect, list[str]] = {
    "chat": ["request-rich.chat.json", "request-legacy.chat.json"],
    "messages": ["request-agent.messages.json", "request-documents.messages.json"],
    "responses": ["rich_request.responses.json"],
}
REQUESTS: list[tuple[Dialect, Any]] = [
    *PORTABLE.items(),
    *PORTABLE.items(),
    *((dialect, json.loads((GOLDEN / name).read_bytes())) for dialect, names in RICH.items() for name in names),
]


def bounded(examples: int) -> settings:
    return settings(max_examples=examples)


def entry(dialect: Dialect) -> dict[str, Any]:
    return {
        "model": f"{dialect}_server/m",
        "provider_interface": "openai",
        "base_url": "https://llm.example/v1",
        "apis": [dialect],
        "access_key": "sk-upstream",
    }


def gateway(provider: FakeProvider) -> Plano:
    return Plano({"model_providers": [entry(dialect) for dialect in DIALECTS]}, transport=provider)


def run(steps: Coroutine[Any, Any, None]) -> None:
    """In a loop that is gone afterwards; `ask` bounds each request."""
    with asyncio.Runner() as runner:
        runner.run(steps)


# --- requests -------------------------------------------------------------------------------------


@bounded(150)
@given(st.sampled_from(REQUESTS), mutations)
def test_a_wrong_request_is_never_a_5xx(seed: tuple[Dialect, Any], changes: list[Mutation]) -> None:
    client, whole = seed
    run(_ask_everybody(client, mutated(whole, changes)))


@bounded(100)
@given(st.sampled_from(REQUESTS), st.integers(0, 10_000), st.integers(0, 255), st.sampled_from(["set", "cut", "put"]))
def test_a_request_with_wrong_bytes_is_never_a_5xx(seed: tuple[Dialect, Any], at: int, byte: int, how: str) -> None:
    client, whole = seed
    body = json.dumps(whole, ensure_ascii=False).encode()
    at %= len(body)
    middle = {"set": bytes([byte]) + body[at + 1 :], "cut": b"", "put": bytes([byte]) + body[at:]}[how]
    run(_ask_everybody(client, body[:at] + middle))


async def _ask_everybody(client: Dialect, body: bytes) -> None:
    """Ask each upstream for a reply and for a stream; what comes back is in the client's dialect, whatever it is."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        check(client, await ask(gateway(FakeProvider()), "POST", PATHS[client], body), streamed=False)
        return
    app = gateway(FakeProvider(keep=1))
    for upstream in DIALECTS:
        for stream in (False, True):
            asked = fields | {
                "model": msgspec.Raw(f'"{upstream}_server/m"'.encode()),
                "stream": msgspec.Raw(b"true" if stream else b"false"),
            }
            answer = await ask(app, "POST", PATHS[client], msgspec.json.encode(asked))
            check(client, answer, streamed=stream)


def check(client: Dialect, answer: Answer, *, streamed: bool) -> None:
    assert answer.status < 500, answer.body
    if answer.status >= 400:
        oracles.error(client, answer.body)
    elif streamed:
        assert oracles.stream(client, answer.body).clean
    else:
        oracles.reply(client, answer.body)


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_requests_that_are_made_wrong_here_are_right(
    client: Dialect, upstream: Dialect, stream: bool
) -> None:
    asked = PORTABLE[client] | {"model": f"{upstream}_server/m", "stream": stream}
    answer = await ask(gateway(FakeProvider()), "POST", PATHS[client], asked)
    assert answer.status == 200, answer.body
    check(client, answer, streamed=stream)


# --- replies --------------------------------------------------------------------------------------

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}
WHOLE: dict[Dialect, Any] = {
    dialect: json.loads((GOLDEN / name).read_bytes())
    for dialect, name in {
        "chat": "reply-rich.chat.json",
        "messages": "reply-rich.messages.json",
        "responses": "rich_reply.responses.json",
    }.items()
}
STREAMED: dict[Dialect, bytes] = {
    dialect: (GOLDEN / name).read_bytes()
    for dialect, name in {
        "chat": "stream-rich.chat.sse",
        "messages": "stream-rich.messages.sse",
        "responses": "rich_reply.responses.sse",
    }.items()
}
LAST = {"chat": b'"finish_reason":"', "messages": b'"stop_reason":"', "responses": b"event: response.completed"}
"""What the frame holds after which a stream is complete."""


async def answers(upstream: Dialect, headers: dict[str, str], body: bytes, cut: int = 1 << 20) -> None:
    """Every client gets what this upstream says, as a reply and as a stream."""
    provider = FakeProvider(keep=1)
    provider.raw(200, headers, [body[at : at + cut] for at in range(0, len(body), cut)])
    app = gateway(provider)
    for client in DIALECTS:
        for stream in (False, True):
            asked = PORTABLE[client] | {"model": f"{upstream}_server/m", "stream": stream}
            hold(client, upstream, await ask(app, "POST", PATHS[client], asked), streamed=stream)


def hold(client: Dialect, upstream: Dialect, answer: Answer, *, streamed: bool) -> None:
    """It is a reply, or it is the upstream's fault. What is forwarded as it came is not looked into."""
    assert b"The gateway" not in answer.body, "a bug, not an upstream's fault"
    if answer.status >= 400:
        assert answer.status != 500
        oracles.error(client, answer.body)
    elif client == upstream:
        assert answer.complete
    elif streamed:
        oracles.stream(client, answer.body)
    else:
        oracles.reply(client, answer.body)


@bounded(80)
@given(st.sampled_from(DIALECTS), mutations)
def test_a_wrong_reply_is_the_upstreams_fault(upstream: Dialect, changes: list[Mutation]) -> None:
    run(answers(upstream, JSON, mutated(WHOLE[upstream], changes)))


@bounded(60)
@given(st.sampled_from(DIALECTS), st.integers(0, 100_000), st.binary(max_size=3), st.integers(0, 40))
def test_a_reply_with_wrong_bytes_is_the_upstreams_fault(upstream: Dialect, at: int, bytes_: bytes, lost: int) -> None:
    body = json.dumps(WHOLE[upstream], ensure_ascii=False).encode()
    at %= len(body)
    run(answers(upstream, JSON, body[:at] + bytes_ + body[at + lost :]))


@bounded(50)
@given(st.sampled_from(DIALECTS), st.integers(0, 10_000), mutations, st.sampled_from([1 << 20, 200]))
def test_a_wrong_event_is_the_upstreams_fault(upstream: Dialect, at: int, changes: list[Mutation], cut: int) -> None:
    frames = sse.frames(STREAMED[upstream])
    chosen = [n for n, frame in enumerate(frames) if frame.data.startswith(b"{")]
    at = chosen[at % len(chosen)]
    wrong = mutated(json.loads(frames[at].data), changes)
    frames[at] = sse.Frame(frames[at].event, wrong)
    run(answers(upstream, SSE, b"".join(sse.frame(frame.data, frame.event) for frame in frames), cut))


@bounded(50)
@given(
    st.sampled_from(DIALECTS),
    st.lists(
        st.tuples(st.sampled_from(["drop", "duplicate", "swap"]), st.integers(0, 10_000), st.integers(0, 10_000)),
        min_size=1,
        max_size=4,
    ),
)
def test_events_missing_or_out_of_order_are_the_upstreams_fault(
    upstream: Dialect, changes: list[tuple[str, int, int]]
) -> None:
    blocks = sse.blocks(STREAMED[upstream])
    for kind, at, other in changes:
        at, other = at % len(blocks), other % len(blocks)
        if kind == "drop":
            del blocks[at]
        elif kind == "duplicate":
            blocks.insert(other, blocks[at])
        else:
            blocks[at], blocks[other] = blocks[other], blocks[at]
    run(answers(upstream, SSE, b"".join(block + b"\n\n" for block in blocks)))


@bounded(50)
@given(st.sampled_from(DIALECTS), st.integers(0, 100_000), st.binary(max_size=3), st.integers(0, 40))
def test_a_stream_with_wrong_bytes_is_the_upstreams_fault(upstream: Dialect, at: int, bytes_: bytes, lost: int) -> None:
    body = STREAMED[upstream]
    at %= len(body)
    run(answers(upstream, SSE, body[:at] + bytes_ + body[at + lost :]))


@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("lost", [False, True], ids=["ended", "lost"])
async def test_a_stream_cut_short_is_never_a_success(client: Dialect, upstream: Dialect, lost: bool) -> None:
    whole = STREAMED[upstream]
    frame = whole.index(LAST[upstream])
    end = whole.index(b"\n\n", frame)
    ends = [at for at in range(end) if whole.startswith(b"\n\n", at)]
    cuts = {0, end - 1, *ends, *(at + 2 for at in ends), *range(1, end, 401)}
    provider = FakeProvider(keep=1)
    app = gateway(provider)
    for cut in sorted(cuts):
        provider.raw(200, SSE, whole[:cut], lost=lost)
        asked = PORTABLE[client] | {"model": f"{upstream}_server/m", "stream": True}
        answer = await ask(app, "POST", PATHS[client], asked)
        if answer.status >= 400:
            assert answer.status == 502
            oracles.error(client, answer.body)
        elif client == upstream:
            assert failed(client, answer.body)
        else:
            assert not oracles.stream(client, answer.body).clean


def failed(dialect: Dialect, body: bytes) -> bool:
    """Whether the last thing a forwarded stream says is an error."""
    last = sse.frames(body)[-1]
    return b'"error"' in last.data and (dialect == "chat" or last.event == "error")


# --- what was found this way ----------------------------------------------------------------------


@pytest.mark.parametrize("client", DIALECTS)
async def test_what_is_nested_too_deeply_for_any_step_is_refused_at_the_door(client: Dialect) -> None:
    """Python's limit is shared by calls and JSON: a body that is read at the door must be readable further in."""
    seen = set()
    app = gateway(FakeProvider())
    limit = deepest()
    for levels in range(limit - 160, limit + 41, 4):
        body = dumps(PORTABLE[client] | {"model": f"{DIALECTS[levels // 4 % 3]}_server/m", "unknown": Deep(levels)})
        seen.add((await ask(app, "POST", PATHS[client], body)).status)
    assert seen == {200, 400}


START = sse.frame(b'{"type":"message_start","message":{"id":"msg_1","model":"m","content":[]}}', "message_start")


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("odd", [b'{"a":1}', b"[[1]]", b"1e999", b'"\xff"', b'"\\ud800"', b"-1.5", b"true", b"null"])
async def test_an_error_of_any_shape_is_the_upstreams(client: Dialect, upstream: Dialect, odd: bytes) -> None:
    error = b'{"type":"error","error":{"message":@,"type":@,"code":@,"param":@,"status":@,"details":@}}'.replace(
        b"@", odd
    )
    failed = b'{"type":"response.failed","response":{"status":"failed","output":[],' + error[16:-1] + b"}}"
    bodies = [(400, JSON, error), (200, JSON, error), (200, SSE, sse.frame(error)), (200, SSE, sse.frame(failed))]
    for status, headers, body in bodies:
        for stream in (False, True):
            provider = FakeProvider()
            provider.raw(status, headers, body)
            asked = PORTABLE[client] | {"model": f"{upstream}_server/m", "stream": stream}
            answer = await ask(gateway(provider), "POST", PATHS[client], asked)
            assert answer.status != 500
            assert b"The gateway" not in answer.body


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_delta_of_an_unknown_kind_that_is_no_text_is_the_upstreams_fault(client: Dialect, stream: bool) -> None:
    block = b'{"type":"content_block_start","index":0,"content_block":{"type":"new_block"}}'
    delta = b'{"type":"content_block_delta","index":0,"delta":{"type":"new_delta","piece":"\xff"}}'
    provider = FakeProvider()
    provider.raw(200, SSE, [START, sse.frame(block), sse.frame(delta)])
    asked = PORTABLE[client] | {"model": "messages_server/m", "stream": stream}
    answer = await ask(gateway(provider), "POST", PATHS[client], asked)
    assert b"The gateway" not in answer.body
    if client == "messages" and stream:
        assert failed(client, answer.body)
    else:
        assert answer.status == 502 or not oracles.stream(client, answer.body).clean


async def test_what_was_said_before_an_unreadable_event_is_said_in_full() -> None:
    """Both come in one piece, and the numbers of what is sent must have no gap."""
    block = b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Hi"}}'
    pieces = [START, sse.frame(block, "content_block_start") + b"event: content_block_delta\ndata: 7\n\n"]
    answer = await streamed_by("messages", "responses", *pieces)
    types = [event.type for event in oracles.stream("responses", answer.body).events]
    assert types[-2:] == ["response.output_text.delta", "response.failed"]


async def test_a_second_message_in_a_stream_is_an_error() -> None:
    for client in DIALECTS[0], DIALECTS[2]:
        answer = await streamed_by("messages", client, START, START)
        assert not oracles.stream(client, answer.body).clean


async def test_nothing_follows_the_end_of_a_message() -> None:
    whole = STREAMED["messages"]
    answer = await streamed_by("messages", "chat", whole + whole)
    assert oracles.stream("chat", answer.body).clean


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_stream_that_fails_before_it_says_anything_fails_with_a_status(client: Dialect) -> None:
    error = b'{"error":{"message":"Slow down.","type":"rate_limit_error","code":"rate_limit_exceeded"}}'
    upstream: Dialect = "messages" if client == "chat" else "chat"
    answer = await streamed_by(upstream, client, sse.frame(error, "error" if upstream == "messages" else None))
    assert answer.status == 429
    assert oracles.error(client, answer.body)["message"] == "Slow down."


async def test_bytes_that_are_no_text_are_not_passed_on() -> None:
    """Nobody reads an unknown field, but its bytes would reach the client."""
    body = json.dumps(WHOLE["messages"] | {"unknown": "x?x"}).encode().replace(b"x?x", b"x\xffx")
    provider = FakeProvider()
    provider.raw(200, JSON, body)
    asked = PORTABLE["chat"] | {"model": "messages_server/m"}
    answer = await ask(gateway(provider), "POST", PATHS["chat"], asked)
    assert answer.status == 502


async def streamed_by(upstream: Dialect, client: Dialect, *pieces: bytes) -> Answer:
    provider = FakeProvider()
    provider.raw(200, SSE, pieces)
    asked = PORTABLE[client] | {"model": f"{upstream}_server/m", "stream": True}
    return await ask(gateway(provider), "POST", PATHS[client], asked)
