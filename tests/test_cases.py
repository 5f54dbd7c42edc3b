"""Cases over which clients of other gateways stumbled, in every pair of APIs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from itertools import product
from typing import Any

import httpx
import pytest

from plano import CallNext, Plano, Request, Response
from plano.conversation import Reply
from plano.testing import FakeProvider, Usage, ask, thinking, tool_call
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.asgi import Answer, Exchange, scope
from tests.test_promises import JSON, MINIMAL, PATHS, SSE, chunk, completion, create, entry, events, gateway, sse

PAIRS = list(product(DIALECTS, DIALECTS))

TOOLS: dict[Dialect, list[dict[str, Any]]] = {
    "chat": [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in "fg"],
    "messages": [{"name": name, "input_schema": {"type": "object"}} for name in "fg"],
    "responses": [{"type": "function", "name": name, "parameters": {"type": "object"}} for name in "fg"],
}

# --- the grammar of streams -----------------------------------------------------------------------


def chats_grammar(answer: Answer) -> None:
    found = events(answer)
    chunks = [data for _, data in found[:-1]]
    assert found[-1] == (None, "[DONE]")
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert len({each["id"] for each in chunks}) == 1
    assert len([each for each in chunks if each["choices"] and each["choices"][0]["finish_reason"]]) == 1


def messages_grammar(answer: Answer) -> None:
    found = events(answer)
    names = [name for name, _ in found]
    assert names == [data["type"] for _, data in found]
    assert (names[0], names[-2:]) == ("message_start", ["message_delta", "message_stop"])
    assert names.count("message_start") == names.count("message_delta") == names.count("message_stop") == 1
    is_open, started = None, 0
    for name, data in found:
        if name == "content_block_start":
            assert (is_open, data["index"]) == (None, started)
            is_open, started = started, started + 1
        elif name.startswith("content_block"):
            assert data["index"] == is_open
            is_open = None if name == "content_block_stop" else is_open
    assert is_open is None


def responses_grammar(answer: Answer) -> None:
    found = events(answer)
    assert [name for name, _ in found] == [data["type"] for _, data in found]
    assert [data["sequence_number"] for _, data in found] == list(range(len(found)))
    assert (found[0][0], found[-1][0]) == ("response.created", "response.completed")
    assert len({data["response"]["id"] for _, data in found if "response" in data}) == 1
    items = {name: [d["output_index"] for n, d in found if n == name] for name in ADDED_AND_DONE}
    assert items[ADDED_AND_DONE[0]] == sorted(items[ADDED_AND_DONE[1]]) == list(range(len(items[ADDED_AND_DONE[0]])))
    assert len(found[-1][1]["response"]["output"]) == len(items[ADDED_AND_DONE[0]])


ADDED_AND_DONE = ("response.output_item.added", "response.output_item.done")
GRAMMARS: dict[Dialect, Callable[[Answer], None]] = {
    "chat": chats_grammar,
    "messages": messages_grammar,
    "responses": responses_grammar,
}
SAID: dict[str, tuple[Any, ...]] = {
    "everything": (
        thinking("Hm hm.", seal="c2VhbA=="),
        "Some text.",
        tool_call("f", {"a": 1}, id="c1"),
        tool_call("g", {}, id="c2"),
    ),
    "text around a call": ("One", tool_call("f", {"a": 1}, id="c1"), "Two"),
    "a call alone": (tool_call("f", {}, id="c1"),),
    "thinking alone": (thinking("Hm.", seal="c2VhbA=="),),
    "an empty text": ("",),
    "nothing": (),
}


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
@pytest.mark.parametrize("case", SAID)
async def test_a_stream_keeps_to_its_apis_grammar(client: Dialect, upstream: Dialect, case: str) -> None:
    """Tools do not keep a stream from being one on both sides."""
    provider = FakeProvider()
    provider.reply(*SAID[case])
    answer = await create(gateway(provider), client, f"{upstream}_server/m", stream=True, tools=TOOLS[client])
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert provider.last.json["stream"] is True
    GRAMMARS[client](answer)


# --- no piece waits for the next ------------------------------------------------------------------


async def maps(request: Request, call_next: CallNext) -> Response:
    return (await call_next(request)).map_text(str.upper)


async def follows(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)
    return response.with_events(response.events())


async def waits(request: Request, call_next: CallNext) -> Response:
    return await (await call_next(request)).begun()


class InSteps(httpx.AsyncByteStream):
    """A stream whose next frame comes when the client has seen all words so far."""

    def __init__(self, frames: list[bytes], client: Exchange) -> None:
        self._frames = frames
        self._client = client
        self.said: list[bytes] = []

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for frame in self._frames:
            while not all(word in self._client.answer.body.lower() for word in self.said):
                self._client.progress.clear()
                await self._client.progress.wait()
            yield frame + b"\n\n"
            self.said += re.findall(rb"word\d", frame)


@pytest.mark.parametrize("filter_", [None, maps, follows, waits])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
async def test_no_piece_waits_for_the_next(client: Dialect, upstream: Dialect, filter_: Any) -> None:
    provider = FakeProvider()
    provider.reply(" ".join(f"word{number}" for number in range(6)))
    whole = (await create(gateway(provider), upstream, f"{upstream}_server/m", stream=True)).body
    exchange = Exchange(json.dumps(MINIMAL[client] | {"model": "s/m", "stream": True}).encode())
    stream = InSteps(whole.removesuffix(b"\n\n").split(b"\n\n"), exchange)
    transport = httpx.MockTransport(lambda request: httpx.Response(200, headers=SSE, stream=stream))
    config = {"model_providers": [entry(upstream, model="s/m")]}
    app = Plano(config, transport=transport, filters=[] if filter_ is None else [filter_])
    async with asyncio.timeout(20):
        await app(scope("POST", PATHS[client]), exchange.receive, exchange.send)
    assert exchange.answer.complete
    assert stream.said[:6] == [b"word%d" % number for number in range(6)]


# --- usage ----------------------------------------------------------------------------------------

USED = Usage(input_tokens=50, output_tokens=17, cached_tokens=20, cache_creation_tokens=5, reasoning_tokens=3)


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
async def test_usage_is_the_same_streamed_and_not(client: Dialect, upstream: Dialect) -> None:
    provider = FakeProvider()
    provider.reply("Hello", usage=USED)
    found: list[Reply] = []
    for stream in (False, True):
        more = {"stream_options": {"include_usage": True}} if stream and client == "chat" else {}
        answer = await ask(gateway(provider), client, "Hi", stream=stream, model=f"{upstream}_server/m", **more)
        found.append(answer.reply)
    assert found[0].usage == found[1].usage
    assert found[0].usage is not None
    assert (found[0].usage.input_tokens, found[0].usage.output_tokens, found[0].usage.cached_tokens) == (50, 17, 20)


# --- servers that are nearly compatible -----------------------------------------------------------

FIRST, LAST = chunk({"role": "assistant", "content": "Hello"}), chunk({}, "stop")
ODD_STREAMS: dict[str, tuple[list[bytes], str | None]] = {
    "no usage": ([sse(FIRST, LAST, b"[DONE]")], None),
    "usage that is null": ([sse(FIRST | {"usage": None}, LAST | {"usage": None}, b"[DONE]")], None),
    "a reason of its own": ([sse(FIRST, chunk({}, "eos"), b"[DONE]")], None),
    "comments": ([b": keepalive\n\n", sse(FIRST), b": keepalive\n\n", sse(LAST, b"[DONE]")], None),
    "no blank after data": ([sse(FIRST, LAST, b"[DONE]").replace(b"data: ", b"data:")], None),
    "line ends of Windows": ([sse(FIRST, LAST, b"[DONE]").replace(b"\n", b"\r\n")], None),
    "no DONE": ([sse(FIRST, LAST)], None),
    "data in two lines": ([sse(FIRST, LAST, b"[DONE]").replace(b', "object"', b',\ndata: "object"')], None),
    "an error in the middle": ([sse(FIRST), sse({"error": {"message": "overloaded", "type": "server_error"}})], "over"),
    "an error event in the middle": (
        [sse(FIRST), b'event: error\ndata: {"error": {"message": "overloaded", "type": "server_error"}}\n\n'],
        "over",
    ),
    "an end in the middle": ([sse(FIRST)], "end"),
}


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("case", ODD_STREAMS)
async def test_a_stream_of_a_nearly_compatible_server_is_read(client: Dialect, case: str) -> None:
    pieces, error = ODD_STREAMS[case]
    provider = FakeProvider()
    provider.raw(200, SSE, pieces)
    answer = await ask(gateway(provider), client, "Hi", stream=True, model="chat_server/m")
    assert (answer.status, answer.text) == (200, "Hello")
    if error is None:
        assert (answer.error, answer.reply.finish) == (None, "stop")
    else:
        assert answer.error is not None
        assert error in answer.error.message
        assert not re.search(rb"\[DONE\]|message_stop|response\.completed", answer.body)


ODD_REPLIES: dict[str, bytes] = {
    "usage that is null": completion(usage=None),
    "no usage": json.dumps({k: v for k, v in json.loads(completion()).items() if k != "usage"}).encode(),
    "a reason of its own": completion().replace(b'"stop"', b'"eos"'),
    "a reason that is empty": completion().replace(b'"stop"', b'""'),
    "a field that nobody knows": completion(vendor={"a": [1, 2.50, None]}),
    "an error that is null": completion(error=None),
}


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("case", ODD_REPLIES)
async def test_a_reply_of_a_nearly_compatible_server_is_read(client: Dialect, case: str) -> None:
    provider = FakeProvider()
    provider.raw(200, JSON, ODD_REPLIES[case])
    answer = await ask(gateway(provider), client, "Hi", model="chat_server/m")
    assert (answer.status, answer.text, answer.reply.finish) == (200, "Hello", "stop")


# --- nobody can move a request elsewhere ----------------------------------------------------------

ELSEWHERE = {
    "base_url": "http://evil.example",
    "api_base": "http://evil.example",
    "host": "evil.example",
    "api_key": "sk-evil",
    "extra_headers": {"host": "evil.example"},
}
ROUTED = {
    "host": "evil.example",
    "x-forwarded-host": "evil.example",
    "x-envoy-original-dst-host": "evil.example:80",
    "x-arch-upstream": "evil.example",
    "x-arch-llm-provider-hint": "evil",
    "x-arch-agent-listener-name": "evil",
}


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
async def test_no_field_or_header_names_another_host(client: Dialect, upstream: Dialect) -> None:
    provider = FakeProvider()
    answer = await create(gateway(provider), client, f"{upstream}_server/m", ROUTED, **ELSEWHERE)
    assert answer.status == 200
    assert provider.last.url == f"https://llm.example{PATHS[upstream]}"
    assert "evil" not in str(provider.last.raw_headers)
    assert client == upstream or b"evil" not in provider.last.body
