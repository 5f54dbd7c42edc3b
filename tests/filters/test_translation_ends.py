"""Upstreams' replies in odd forms, as clients of every dialect get them: translated, and passed on in their own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plano import Plano
from plano.conversation import Finish, Text, ToolCall
from plano.frames import sse
from plano.testing import WAYS, FakeProvider, Received, ask
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import ClientDialect
from tests.scraping import Scrape, scrape
from tests.test_pairs import config

SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
CALL = ToolCall(id="c1", name="f", arguments='{"x":"1"}')


def chunk(delta: Any = None, reason: Any = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": reason}
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return sse.frame(json.dumps(body | fields).encode())


def call(**fields: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, **fields}]}


def begun(**fields: Any) -> dict[str, Any]:
    return call(id="c1", type="function", function={"name": "f", "arguments": "", **fields})


def more(arguments: str, **fields: Any) -> dict[str, Any]:
    return call(function={"arguments": arguments}, **fields)


def whole(message: dict[str, Any], reason: str | None = "stop", **fields: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return sse.frame(json.dumps(body | fields).encode())


FIRST = {"role": "assistant", "content": ""}
TWO_PIECES = (more('{"x":'), more('"1"}'))
WHOLE_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": CALL.arguments}}
EMPTY_CALL = {"id": "", "type": "", "function": {"name": "", "arguments": ""}}

CALLED: dict[str, list[bytes]] = {
    "empty reasons": [chunk(FIRST, ""), chunk(begun(), ""), *(chunk(each, "") for each in TWO_PIECES)],
    "a stop after every chunk": [
        chunk(FIRST),
        chunk({}, "stop"),
        chunk(begun()),
        chunk({}, "stop"),
        *(chunk(each) for each in TWO_PIECES),
    ],
    "a stop with every chunk": [chunk(begun(), "stop"), *(chunk(each, "stop") for each in TWO_PIECES)],
    "a stop before the rest": [chunk(begun()), chunk(TWO_PIECES[0], "stop"), chunk(TWO_PIECES[1])],
    "empty ids and names in later deltas": [
        chunk(begun()),
        *(
            chunk(call(id="", type="", function={"name": "", **each["tool_calls"][0]["function"]}))
            for each in TWO_PIECES
        ),
    ],
    "null ids in later deltas": [
        chunk(begun()),
        *(chunk(call(id=None, type=None, function={"name": None, "arguments": piece})) for piece in ('{"x":', '"1"}')),
    ],
    "no index": [chunk({"tool_calls": [WHOLE_CALL]})],
    "an empty call of the old form": [
        chunk(begun()),
        *(chunk(each) for each in TWO_PIECES),
        chunk({"function_call": {"name": "", "arguments": ""}}),
    ],
    "empty calls first": [chunk({"tool_calls": [EMPTY_CALL]}), chunk({"tool_calls": [WHOLE_CALL]})],
    "empty values of all kinds": [
        chunk(
            {**FIRST, "role": "", "tool_calls": None, "refusal": "", "reasoning_content": "", "images": [], "audio": {}}
        ),
        chunk(begun(), error={}, usage={}),
        *(chunk(each, error="", usage=None) for each in TWO_PIECES),
    ],
    "messages in place of deltas": [whole(FIRST, None), whole({"tool_calls": [WHOLE_CALL]}, None)],
}
CALLED_END = [chunk({}, "tool_calls", usage={"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}), sse.DONE]


def gateway(provider: FakeProvider) -> Plano:
    return Plano(config("http://upstream.test/v1"), transport=provider)


async def streamed(client: ClientDialect, upstream: ClientDialect, frames: list[bytes]) -> tuple[Received, Scrape]:
    provider = FakeProvider()
    provider.raw(200, SSE, frames)
    app = gateway(provider)
    got = await ask(app, client, "hi", model=f"fake_{upstream}/m-1", stream=True)
    assert provider.last.dialect == upstream
    return got, await scrape(app)


@pytest.mark.parametrize("case", CALLED)
@pytest.mark.parametrize("client", DIALECTS)
async def test_a_streamed_call_keeps_its_arguments(client: ClientDialect, case: str) -> None:
    got, metrics = await streamed(client, "chat", CALLED[case] + CALLED_END)
    reply = got.reply
    assert [(part.id, part.name, part.arguments) for part in reply.parts if isinstance(part, ToolCall)] == [
        (CALL.id, CALL.name, CALL.arguments)
    ]
    assert len(reply.parts) == 1
    assert reply.finish == "tool_calls"
    assert (reply.usage and reply.usage.input_tokens) == 5
    assert metrics.of("plano_requests_total", outcome="completed") == 1


@pytest.mark.parametrize("reason", ["", "stop"])
@pytest.mark.parametrize("client", ["messages", "responses"])
async def test_text_around_finish_reasons_is_one_text(client: ClientDialect, reason: str) -> None:
    frames = [chunk({"content": word}, reason) for word in ("one ", "two ", "three")]
    got, _ = await streamed(client, "chat", [*frames, chunk({}, "length"), sse.DONE])
    assert [part.text for part in got.reply.parts if isinstance(part, Text)] == ["one two three"]
    assert got.reply.finish == "length"


WHOLE_FRAMES: dict[str, list[bytes]] = {
    "one frame": [whole({"content": "all of it"})],
    "one frame and the end": [whole({"content": "all of it"}), sse.DONE],
    "after an empty delta": [chunk(FIRST), whole({"content": "all of it"}), sse.DONE],
    "once more at the end": [chunk({"content": "all "}), chunk({"content": "of it"}), whole({"content": "all of it"})],
    "in messages": [whole({"content": "all "}, None), whole({"content": "of it"}, None), whole({"content": ""})],
}


@pytest.mark.parametrize("case", WHOLE_FRAMES)
@pytest.mark.parametrize("client", ["messages", "responses"])
async def test_a_whole_completion_in_a_stream_is_the_reply(client: ClientDialect, case: str) -> None:
    got, _ = await streamed(client, "chat", WHOLE_FRAMES[case])
    assert got.text == "all of it"
    assert got.reply.finish == "stop"


CUT: dict[str, list[bytes]] = {
    "empty reasons": [chunk(FIRST, ""), chunk(begun(), ""), chunk(more('{"x":'), "")],
    "no reasons": [chunk(FIRST), chunk(begun()), chunk(more('{"x":'))],
    "a reason that is not the end": [chunk(FIRST), chunk({}, "stop"), chunk(begun()), chunk(more('{"x":'))],
    "a text after a reason": [chunk({"content": "a"}, "stop"), chunk({"content": "b"})],
    "messages": [whole({"content": "a"}, "")],
}


@pytest.mark.parametrize("case", CUT)
@pytest.mark.parametrize("client", DIALECTS)
async def test_a_stream_that_is_cut_is_an_error(client: ClientDialect, case: str) -> None:
    got, metrics = await streamed(client, "chat", CUT[case])
    assert got.error is not None
    assert "ended before the reply was complete" in got.error.message
    assert metrics.of("plano_requests_total", outcome="failed") == 1
    assert metrics.of("plano_upstream_errors_total", kind="broken_stream") == 1


# --- messages ---------------------------------------------------------------------------------------


def event(type_: str, **fields: Any) -> bytes:
    return sse.frame(json.dumps({"type": type_, **fields}).encode(), type_)


OPENED = [
    event(
        "message_start", message={"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "m"}
    ),
    event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    event("content_block_delta", index=0, delta={"type": "text_delta", "text": "hi"}),
    event("content_block_stop", index=0),
]
NAMELESS = sse.frame(
    json.dumps({"type": "", "delta": {"stop_reason": "end_turn"}, "error": {}}).encode(), "message_delta"
)


def said(reason: str | None) -> bytes:
    return event("message_delta", delta={"stop_reason": reason, "stop_sequence": ""}, usage={"output_tokens": 3})


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("last", [[], [said("")], [said(None)], [said("end_turn"), *OPENED[1:3]]], ids=str)
async def test_a_stream_of_messages_that_is_cut_is_an_error(client: ClientDialect, last: list[bytes]) -> None:
    got, metrics = await streamed(client, "messages", OPENED + last)
    assert got.error is not None
    assert metrics.of("plano_requests_total", outcome="failed") == 1


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize(
    "last", [[said("end_turn")], [said(""), said("end_turn"), said("")], [NAMELESS], [event("message_stop")]], ids=str
)
async def test_a_stream_of_messages_that_says_its_end_is_complete(client: ClientDialect, last: list[bytes]) -> None:
    got, metrics = await streamed(client, "messages", OPENED + last)
    assert (got.text, got.reply.finish, got.reply.stop_sequence) == ("hi", "stop", None)
    assert metrics.of("plano_requests_total", outcome="completed") == 1


# --- the words for an end ---------------------------------------------------------------------------

HEARD: tuple[tuple[str, Finish], ...] = (
    ("sensitive", "content_filter"),
    ("content_filter: PROHIBITED_CONTENT", "content_filter"),
    ("model_context_window_exceeded", "context_window"),
    ("max_output_tokens", "length"),
    ("eos", "stop"),
)
WRITTEN: dict[ClientDialect, dict[str, str]] = {
    "messages": {
        "content_filter": "refusal",
        "context_window": "model_context_window_exceeded",
        "length": "max_tokens",
        "stop": "end_turn",
    },
    "responses": {
        "content_filter": "content_filter",
        "context_window": "max_output_tokens",
        "length": "max_output_tokens",
        "stop": "completed",
    },
}


def ended(upstream: ClientDialect, word: str, stream: bool, *, text: str = "hi") -> tuple[dict[str, str], list[bytes]]:
    """A reply of a chat or messages upstream that ends in this word."""
    if upstream == "chat":
        if not stream:
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": word}
            return JSON, [
                json.dumps({"id": "c1", "object": "chat.completion", "model": "m", "choices": [choice]}).encode()
            ]
        return SSE, [*([chunk({"content": text})] if text else []), chunk({}, word), sse.DONE]
    if not stream:
        blocks = [{"type": "text", "text": text}] if text else []
        body = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": blocks}
        return JSON, [
            json.dumps(body | {"stop_reason": word, "usage": {"input_tokens": 1, "output_tokens": 1}}).encode()
        ]
    return SSE, [*(OPENED if text else OPENED[:1]), said(word), event("message_stop")]


async def told(
    client: ClientDialect, upstream: ClientDialect, word: str, stream: bool, *, text: str = "hi"
) -> tuple[Received, Scrape, bytes]:
    provider = FakeProvider()
    headers, pieces = ended(upstream, word, stream, text=text)
    provider.raw(200, headers, pieces)
    app = gateway(provider)
    got = await ask(app, client, "hi", model=f"fake_{upstream}/m-1", stream=stream)
    sent = b"".join(pieces)
    if client == "messages":  # its clients are told the name that they asked for
        sent = sent.replace(b'"model": "m"', b'"model": "fake_messages/m-1"')
    return got, await scrape(app), sent


@pytest.mark.parametrize(("word", "finish"), HEARD)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("client", "upstream"),
    [("messages", "chat"), ("responses", "chat"), ("responses", "messages"), ("chat", "messages")],
)
async def test_words_of_vendors_mean_what_they_mean(
    client: ClientDialect, upstream: ClientDialect, stream: bool, word: str, finish: Finish
) -> None:
    got, metrics, _ = await told(client, upstream, word, stream)
    body = got.body.decode()
    expected = WRITTEN[client][finish] if client != "chat" else {"context_window": "length"}.get(finish, finish)
    assert f'"{expected}"' in body
    assert got.text == "hi"
    assert metrics.of("plano_upstream_errors_total") == 0


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("network_error", 502),
        ("insufficient_system_resource", 503),
        ("abort", 502),
        ("error", 502),
        ("function_call_filter: MALFORMED_FUNCTION_CALL", 502),
    ],
)
@pytest.mark.parametrize(("client", "stream"), WAYS)
@pytest.mark.parametrize("upstream", ["chat", "messages"])
async def test_a_failure_is_no_success(
    client: ClientDialect, stream: bool, upstream: ClientDialect, word: str, status: int
) -> None:
    got, metrics, sent = await told(client, upstream, word, stream)
    if client == upstream:  # the bytes pass; only the record tells
        assert (got.status, got.body) == (200, sent)
    elif stream:
        assert (got.status, got.text) == (200, "hi")
        assert word in str(got.error) or word == "error"
    else:
        assert got.status == status
    kind = "overloaded" if status == 503 else "server"
    passed = client == upstream or stream
    assert metrics.of("plano_requests_total", outcome="failed") == passed
    assert metrics.of("plano_upstream_errors_total", kind="broken_stream" if passed else kind) == 1
    assert metrics.of("gen_ai_server_request_duration_seconds_count", error_type="") == 0


@pytest.mark.parametrize("word", ["network_error", "brand_new"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("client", "upstream"),
    [("messages", "chat"), ("responses", "chat"), ("responses", "messages"), ("chat", "messages")],
)
async def test_an_empty_reply_that_ends_in_no_known_way_is_an_error(
    client: ClientDialect, upstream: ClientDialect, stream: bool, word: str
) -> None:
    got, _, _ = await told(client, upstream, word, stream, text="")
    assert stream or got.status == 502  # a stream's start may have gone out before
    assert word in str(got.error)


@pytest.mark.parametrize(
    ("client", "upstream", "field"),
    [
        ("messages", "chat", "reply.finish_reason"),
        ("responses", "chat", "reply.finish_reason"),
        ("chat", "messages", "reply.stop_reason"),
        ("responses", "messages", "reply.stop_reason"),
    ],
)
async def test_an_unknown_word_is_reported(client: ClientDialect, upstream: ClientDialect, field: str) -> None:
    got, metrics, _ = await told(client, upstream, "brand_new", False)
    assert (got.status, got.text, got.reply.finish) == (200, "hi", "stop")
    assert metrics.of("plano_losses_total", field=field) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", ["chat", "messages"])
async def test_an_unknown_word_passes_in_its_own_dialect(dialect: ClientDialect, stream: bool) -> None:
    got, metrics, sent = await told(dialect, dialect, "brand_new", stream)
    assert got.body == sent
    assert metrics.of("plano_requests_total", outcome="completed") == 1


# --- reasoning that must come back --------------------------------------------------------------------

SEALS = "reasoning.encrypted_content"


@pytest.mark.parametrize(
    ("client", "fields", "store", "include"),
    [
        ("chat", {}, False, [SEALS]),
        ("chat", {"reasoning_effort": "high"}, False, [SEALS]),
        ("chat", {"store": False}, False, [SEALS]),
        ("chat", {"store": True}, True, None),
        ("messages", {}, False, [SEALS]),
        ("messages", {"thinking": {"type": "adaptive"}}, False, [SEALS]),
        ("messages", {"thinking": {"type": "disabled"}}, False, [SEALS]),
        ("responses", {"store": False}, False, None),  # the client's own bytes
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_seals_are_asked_for_where_nothing_is_stored(
    client: ClientDialect, fields: dict[str, Any], store: bool, include: list[str] | None, stream: bool
) -> None:
    provider = FakeProvider()
    got = await ask(gateway(provider), client, "hi", model="fake_responses/m-1", stream=stream, **fields)
    assert got.status == 200
    assert (provider.last.json["store"], provider.last.json.get("include")) == (store, include)


@pytest.mark.parametrize(("model", "include"), [("gpt-4o", None), ("gpt-5", [SEALS])])
@pytest.mark.parametrize("client", ["chat", "messages"])
async def test_a_model_that_does_not_reason_is_asked_for_no_seals(
    client: ClientDialect, model: str, include: list[str] | None
) -> None:
    provider = FakeProvider()
    entry = {"model": f"openai/{model}", "access_key": "sk-upstream", "apis": ["responses"]}
    app = Plano({"model_providers": [entry]}, transport=provider)
    assert (await ask(app, client, "hi", model=f"openai/{model}")).status == 200
    assert (provider.last.json.get("include") or None) == include
