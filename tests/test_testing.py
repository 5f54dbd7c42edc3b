"""The fake provider, asked by the real SDKs over a socket and as a transport without one."""

from __future__ import annotations

import asyncio
import json
import struct
from base64 import b64decode
from collections.abc import Awaitable, Callable
from typing import Any

import anthropic
import httpx
import openai
import pytest
from msgspec import Raw
from pydantic import BaseModel

from plano.conversation import ToolCall
from plano.errors import UpstreamProtocolError, UpstreamTimeout, UpstreamUnavailable
from plano.testing import (
    Failure,
    FakeClock,
    FakeProvider,
    Recorded,
    Reply,
    Usage,
    Verbatim,
    custom_tool_call,
    redacted_thinking,
    refusal,
    serve,
    text,
    thinking,
    tool_call,
)
from plano.testing.samples import sample
from plano.transport import Outgoing, Timeouts

DIALECTS = ("chat", "messages", "responses")
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
QUESTION: list[Any] = [{"role": "user", "content": "Weather in Paris?"}]
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def body_of(dialect: str, *, stream: bool = False, **fields: Any) -> bytes:
    body: dict[str, Any] = {"model": "echo", "stream": stream}
    body["input" if dialect == "responses" else "messages"] = QUESTION
    if dialect == "messages":
        body["max_tokens"] = 1000
    return json.dumps(body | fields).encode()


def outgoing(dialect: str, *, timeouts: Timeouts | None = None, **fields: Any) -> Outgoing:
    return Outgoing(
        url="https://api.example.com" + PATHS[dialect],
        headers=[(b"content-type", b"application/json"), (b"authorization", b"Bearer sk-very-secret")],
        body=body_of(dialect, **fields),
        timeouts=timeouts or Timeouts(),
    )


async def post(provider: FakeProvider, dialect: str, **fields: Any) -> tuple[int, bytes]:
    exchange = await provider.send(outgoing(dialect, **fields))
    return exchange.status, await exchange.read(1_000_000)


STREAM = body_of("chat", stream=True)


class Clients:
    """Both SDKs pointed at one server."""

    def __init__(self, url: str) -> None:
        self.openai = openai.AsyncOpenAI(base_url=url + "/v1", api_key="sk-very-secret", max_retries=0)
        self.anthropic = anthropic.AsyncAnthropic(base_url=url, api_key="sk-very-secret", max_retries=0)

    async def __aenter__(self) -> Clients:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.openai.close()
        await self.anthropic.close()


Asking = Callable[..., Awaitable[Any]]


async def chat(clients: Clients, **options: Any) -> Any:
    return await clients.openai.chat.completions.create(model="echo", messages=QUESTION, **options)


async def messages(clients: Clients, **options: Any) -> Any:
    return await clients.anthropic.messages.create(model="echo", max_tokens=1000, messages=QUESTION, **options)


async def responses(clients: Clients, **options: Any) -> Any:
    return await clients.openai.responses.create(model="echo", input=QUESTION, **options)


ASK: dict[str, Asking] = {"chat": chat, "messages": messages, "responses": responses}


async def streamed(clients: Clients, dialect: str, **options: Any) -> list[Any]:
    return [event async for event in await ASK[dialect](clients, stream=True, **options)]


def said(dialect: str, reply: Any) -> str:
    if dialect == "chat":
        return reply.choices[0].message.content or ""
    if dialect == "messages":
        return "".join(block.text for block in reply.content if block.type == "text")
    return reply.output_text


def deltas(dialect: str, events: list[Any]) -> list[str]:
    """The pieces of text in a stream."""
    if dialect == "chat":
        return [e.choices[0].delta.content for e in events if e.choices and e.choices[0].delta.content]
    if dialect == "messages":
        return [e.delta.text for e in events if e.type == "content_block_delta" and e.delta.type == "text_delta"]
    return [e.delta for e in events if e.type == "response.output_text.delta"]


def error_type(dialect: str) -> type[Exception]:
    return anthropic.APIError if dialect == "messages" else openai.APIError


# --- replies, by the SDKs ------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_scripted_text_is_what_the_sdk_reads(dialect: str) -> None:
    provider = FakeProvider()
    provider.reply("Sunny, ", text("and warm."))
    with serve(provider) as url:
        async with Clients(url) as clients:
            reply = await ASK[dialect](clients)
            events = await streamed(clients, dialect)
    assert said(dialect, reply).replace("\n", "") == "Sunny, and warm."
    assert deltas(dialect, events) == ["Sunny, ", "and ", "warm."]
    assert [recorded.dialect for recorded in provider.requests] == [dialect, dialect]


async def test_tool_calls_come_in_pieces_in_a_chat_stream() -> None:
    provider = FakeProvider()
    provider.reply(
        "Let me look.", tool_call("get_weather", {"city": "Paris"}), tool_call("get_time", "{}", id="call_7")
    )
    with serve(provider) as url:
        async with Clients(url) as clients:
            reply = await chat(clients)
            chunks = await streamed(clients, "chat")
    first, second = reply.choices[0].message.tool_calls
    assert (first.function.name, json.loads(first.function.arguments)) == ("get_weather", {"city": "Paris"})
    assert (second.function.name, second.id) == ("get_time", "call_7")
    assert first.id == "call_fake_1_1"
    assert reply.choices[0].finish_reason == "tool_calls"
    pieces = [call for c in chunks if c.choices for call in c.choices[0].delta.tool_calls or ()]
    arguments = [call.function.arguments for call in pieces if call.index == 0 and call.function.arguments]
    assert len(arguments) > 1
    assert json.loads("".join(arguments)) == {"city": "Paris"}


async def test_tool_calls_are_blocks_in_messages() -> None:
    provider = FakeProvider()
    provider.reply(tool_call("get_weather", {"city": "Paris"}))
    with serve(provider) as url:
        async with Clients(url) as clients:
            reply = await messages(clients)
            async with clients.anthropic.messages.stream(model="echo", max_tokens=1000, messages=QUESTION) as stream:
                final = await stream.get_final_message()
    assert reply.content[0].input == final.content[0].input == {"city": "Paris"}
    assert reply.content[0].id == "toolu_fake_1_0"
    assert reply.stop_reason == final.stop_reason == "tool_use"


async def test_tool_calls_are_items_in_responses() -> None:
    provider = FakeProvider()
    provider.reply(tool_call("get_weather", {"city": "Paris"}), custom_tool_call("run", "print(1)"))
    tools: Any = [
        {"type": "function", "name": "get_weather", "parameters": TOOL, "strict": False},
        {"type": "custom", "name": "run"},
    ]
    with serve(provider) as url:
        async with Clients(url) as clients:
            reply = await responses(clients, tools=tools)
            events = await streamed(clients, "responses", tools=tools)
    for output in (reply.output, events[-1].response.output):
        assert [item.type for item in output] == ["function_call", "custom_tool_call"]
        assert json.loads(output[0].arguments) == {"city": "Paris"}
        assert output[1].input == "print(1)"
    pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert len(pieces) > 1


async def test_thinking_keeps_its_seal_in_messages() -> None:
    provider = FakeProvider()
    provider.reply(thinking("Paris, then.", seal="sig=="), redacted_thinking("blob"), "Sunny.")
    with serve(provider) as url:
        async with Clients(url) as clients:
            reply = await messages(clients)
            async with clients.anthropic.messages.stream(model="echo", max_tokens=1000, messages=QUESTION) as stream:
                final = await stream.get_final_message()
    for message in (reply, final):
        assert [block.type for block in message.content] == ["thinking", "redacted_thinking", "text"]
        assert (message.content[0].thinking, message.content[0].signature) == ("Paris, then.", "sig==")
        assert message.content[1].data == "blob"


async def test_thinking_is_a_reasoning_item_in_responses() -> None:
    provider = FakeProvider()
    provider.reply(thinking("Paris, then.", seal="gAAA", summary=True), "Sunny.")
    with serve(provider) as url:
        async with Clients(url) as clients:
            reply = await responses(clients, include=["reasoning.encrypted_content"])
            events = await streamed(clients, "responses", include=["reasoning.encrypted_content"])
    for output in (reply.output, events[-1].response.output):
        assert [item.type for item in output] == ["reasoning", "message"]
        assert output[0].summary[0].text == "Paris, then."
        assert output[0].encrypted_content == "gAAA"


async def test_a_refusal_is_the_messages_refusal_in_chat() -> None:
    provider = FakeProvider()
    provider.reply(refusal("I would rather not."))
    with serve(provider) as url:
        async with Clients(url) as clients:
            reply = await chat(clients)
    assert reply.choices[0].message.refusal == "I would rather not."


@pytest.mark.parametrize(
    ("dialect", "reason"),
    [("chat", "length"), ("messages", "max_tokens"), ("responses", "max_output_tokens")],
)
async def test_the_finish_can_be_said(dialect: str, reason: str) -> None:
    provider = FakeProvider()
    provider.reply("And then", finish="length")
    with serve(provider) as url:
        async with Clients(url) as clients:
            reply = await ASK[dialect](clients)
    if dialect == "chat":
        assert reply.choices[0].finish_reason == reason
    elif dialect == "messages":
        assert reply.stop_reason == reason
    else:
        assert (reply.status, reply.incomplete_details.reason) == ("incomplete", reason)


def tokens(dialect: str, usage: Any) -> tuple[int, int, int]:
    if dialect == "chat":
        return usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens_details.cached_tokens
    if dialect == "messages":
        cached = usage.cache_read_input_tokens
        return usage.input_tokens + cached, usage.output_tokens, cached
    return usage.input_tokens, usage.output_tokens, usage.input_tokens_details.cached_tokens


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_usage_is_reported_as_scripted_streamed_and_not(dialect: str) -> None:
    provider = FakeProvider()
    provider.reply("Sunny.", usage=Usage(input_tokens=120, output_tokens=7, cached_tokens=100))
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if dialect == "chat" else {}
    with serve(provider) as url:
        async with Clients(url) as clients:
            reply = await ASK[dialect](clients)
            events = await streamed(clients, dialect, **options)
    assert tokens(dialect, reply.usage) == (120, 7, 100)
    if dialect == "chat":
        assert tokens(dialect, events[-1].usage) == (120, 7, 100)
    elif dialect == "messages":
        assert events[-2].usage.output_tokens == 7
    else:
        assert tokens(dialect, events[-1].response.usage) == (120, 7, 100)


async def test_a_provider_may_say_nothing_of_usage() -> None:
    provider = FakeProvider()
    provider.reply("Sunny.", usage=None, model="echo-2025", headers={"x-ratelimit-remaining-requests": "3"})
    with serve(provider) as url:
        async with Clients(url) as clients:
            raw = await clients.openai.chat.completions.with_raw_response.create(model="echo", messages=QUESTION)
    reply = raw.parse()
    assert (reply.usage, reply.model) == (None, "echo-2025")
    assert raw.headers["x-ratelimit-remaining-requests"] == "3"
    assert raw.headers["x-request-id"] == "req_fake_1"


# --- failures, by the SDKs -----------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_failure_is_the_sdks_own_error(dialect: str) -> None:
    provider = FakeProvider()
    provider.fail(429, "Slow down.", headers={"retry-after": "2"})
    provider.reply("Sunny.")
    sdk: Any = anthropic if dialect == "messages" else openai
    with serve(provider) as url:
        async with Clients(url) as clients:
            with pytest.raises(sdk.RateLimitError, match=r"Slow down\.") as caught:
                await ASK[dialect](clients)
            reply = await ASK[dialect](clients)
    assert caught.value.response.headers["retry-after"] == "2"
    assert said(dialect, reply) == "Sunny."


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_lost_connection_is_one_to_the_client(dialect: str) -> None:
    provider = FakeProvider()
    provider.breaks_after(4)
    with serve(provider) as url:
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(url + PATHS[dialect], content=body_of(dialect, stream=True))
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(url + PATHS[dialect], content=body_of(dialect))
    assert {recorded.outcome for recorded in provider.requests} == {"broken"}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_error_in_the_stream_is_raised_by_the_sdk(dialect: str) -> None:
    provider = FakeProvider()
    provider.breaks_after(4, how="error")
    with serve(provider) as url:
        async with Clients(url) as clients:
            with pytest.raises(error_type(dialect), match="overloaded"):
                await streamed(clients, dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stream_can_end_cleanly_without_its_end(dialect: str) -> None:
    provider = FakeProvider()
    provider.breaks_after(4, how="incomplete")
    with serve(provider) as url:
        async with httpx.AsyncClient() as client:
            response = await client.post(url + PATHS[dialect], content=body_of(dialect, stream=True))
    assert response.text.count("\n\n") == 4
    for end in ("[DONE]", "message_stop", "response.completed", 'finish_reason":"stop'):
        assert end not in response.text
    assert provider.last.outcome == "complete"


async def test_leaving_early_is_recorded() -> None:
    provider = FakeProvider()
    provider.reply("One two three", pause=3600)
    with serve(provider) as url:
        async with (
            httpx.AsyncClient() as client,
            client.stream("POST", url + PATHS["chat"], content=STREAM) as response,
        ):
            await anext(response.aiter_bytes())
            assert provider.last.outcome == "running"
        async with asyncio.timeout(5):
            assert await provider.last.over() == "left"


async def test_leaving_the_server_ends_what_is_still_being_answered() -> None:
    provider = FakeProvider(pause=3600)
    async with httpx.AsyncClient() as client:
        with serve(provider) as url:
            response = await client.send(client.build_request("POST", url + PATHS["chat"], content=STREAM), stream=True)
        with pytest.raises(httpx.TransportError):
            await response.aread()
    assert provider.last.outcome == "left"


async def test_giving_up_before_the_first_byte_is_recorded() -> None:
    provider = FakeProvider(delay=3600)
    asking = asyncio.create_task(provider.send(outgoing("chat")))
    await asyncio.sleep(0)
    asking.cancel()
    assert await provider.last.over() == "left"


def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    with serve(FakeProvider()) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(OSError), serve(FakeProvider(), port=port):
            pass


# --- verbatim ------------------------------------------------------------------------------------


async def test_raw_bytes_are_sent_as_they_are() -> None:
    provider = FakeProvider()
    provider.raw(418, {"content-type": "text/plain", "X-Odd": "1"}, b"\xffteapot")
    provider.raw(200, {"content-type": "text/event-stream"}, [b'data: {"a"', b":1}\n\n"])
    provider.raw(200, {"content-type": "application/json", "content-length": "100"}, b"{", lost=True)
    with serve(provider) as url:
        async with httpx.AsyncClient() as client:
            first = await client.post(url + PATHS["chat"], content=b"not json")
            second = await client.post(url + PATHS["chat"], content=b"")
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(url + PATHS["chat"], content=b"")
    assert (first.status_code, first.content, first.headers["x-odd"]) == (418, b"\xffteapot", "1")
    assert second.content == b'data: {"a":1}\n\n'
    assert [recorded.body for recorded in provider.requests] == [b"not json", b"", b""]


async def test_a_function_chooses_by_request() -> None:
    def choose(recorded: Recorded) -> Reply | Failure:
        if "bad.example.com" in recorded.url:
            return Failure(503)
        return Reply(recorded.json["model"] + " here")

    provider = FakeProvider()
    provider.script(choose)
    status, body = await post(provider, "chat")
    assert (status, json.loads(body)["choices"][0]["message"]["content"]) == (200, "echo here")
    bad = outgoing("chat")
    bad.url = bad.url.replace("api.", "bad.")
    assert (await provider.send(bad)).status == 503


async def test_what_a_function_raises_sending_raises() -> None:
    def refuse(recorded: Recorded) -> Reply:
        raise UpstreamUnavailable("Connection refused.")

    provider = FakeProvider()
    provider.script(refuse)
    with pytest.raises(UpstreamUnavailable, match="refused"):
        await post(provider, "chat")
    assert await provider.last.over() == "broken"


async def test_each_request_takes_the_next_answer_and_the_last_one_repeats() -> None:
    provider = FakeProvider()
    provider.script(Failure(500), Reply("one"), Verbatim(200, {}, b"two"))
    answers = [await post(provider, "chat") for _ in range(4)]
    assert [status for status, _ in answers] == [500, 200, 200, 200]
    assert b"one" in answers[1][1]
    assert [body for _, body in answers[2:]] == [b"two", b"two"]
    provider.fail(503)
    assert (await post(provider, "chat"))[0] == 503


# --- as a transport ------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_as_a_transport_it_answers_and_records_without_a_socket(dialect: str) -> None:
    provider = FakeProvider(clock=FakeClock(1_700_000_000.5))
    provider.reply("Sunny.")
    exchange = await provider.send(outgoing(dialect))
    assert exchange.status == 200
    assert (b"content-type", b"application/json") in exchange.headers
    body = json.loads(await exchange.read(1_000_000))
    assert body["id"].endswith("fake_1")
    assert "Sunny." in json.dumps(body)
    assert dialect == "messages" or 1_700_000_000 in (body.get("created"), body.get("created_at"))
    recorded = provider.last
    assert (recorded.method, recorded.path, recorded.operation) == ("POST", PATHS[dialect], "create")
    assert recorded.headers["host"] == "api.example.com"
    assert recorded.headers["authorization"] == "Bearer sk-very-secret"
    assert recorded.body == body_of(dialect)
    assert recorded.json["model"] == recorded.conversation.model == "echo"
    assert recorded.outcome == "complete"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stream_can_be_cut_anywhere(dialect: str) -> None:
    provider = FakeProvider(clock=FakeClock(0))
    provider.script(lambda recorded: Reply("Grüße aus Köln"), lambda recorded: Reply("Grüße aus Köln", cut=3))
    whole = await provider.send(outgoing(dialect, stream=True))
    frames = [piece async for piece in whole]
    cut = await provider.send(outgoing(dialect, stream=True))
    pieces = [piece async for piece in cut]
    assert all(frame.endswith(b"\n\n") and frame.count(b"\n\n") == 1 for frame in frames)
    assert {len(piece) for piece in pieces[:-1]} == {3}
    assert b"".join(pieces).replace(b"fake_2", b"fake_1") == b"".join(frames)


async def test_as_a_transport_a_break_is_a_broken_connection() -> None:
    provider = FakeProvider()
    provider.breaks_after(2, "One two three four five")
    exchange = await provider.send(outgoing("chat", stream=True))
    assert await anext(aiter(exchange))
    assert await anext(aiter(exchange))
    with pytest.raises(UpstreamUnavailable):
        await anext(aiter(exchange))
    assert provider.last.outcome == "broken"


async def test_a_reply_in_one_piece_breaks_in_the_middle() -> None:
    provider = FakeProvider()
    provider.breaks_after(0, "One two three", how="incomplete")
    provider.breaks_after(0, "One two three", how="error")
    status, half = await post(provider, "chat")
    with pytest.raises(json.JSONDecodeError):
        json.loads(half)
    assert status == 200
    status, error = await post(provider, "chat")
    assert (status, list(json.loads(error))) == (200, ["error"])


async def test_delays_run_into_the_transports_timeouts() -> None:
    provider = FakeProvider()
    provider.reply("One two", delay=3600)
    provider.reply("One two", pause=3600)
    with pytest.raises(UpstreamTimeout):
        await provider.send(outgoing("chat", timeouts=Timeouts(first_byte=0.001)))
    assert provider.last.outcome == "left"
    exchange = await provider.send(outgoing("chat", stream=True, timeouts=Timeouts(idle=0.001)))
    assert await anext(aiter(exchange))
    with pytest.raises(UpstreamTimeout):
        await anext(aiter(exchange))
    await exchange.aclose()
    assert provider.last.outcome == "left"


async def test_a_reply_longer_than_the_limit_is_refused() -> None:
    provider = FakeProvider()
    exchange = await provider.send(outgoing("chat"))
    with pytest.raises(UpstreamProtocolError):
        await exchange.read(10)


async def test_no_key_shows_in_a_repr() -> None:
    provider = FakeProvider()
    await post(provider, "chat")
    shown = repr(provider.requests) + repr(provider.last.headers) + f"{provider.last.headers}"
    assert "sk-very-secret" not in shown
    assert "***" in shown


# --- what it is asked wrongly, and beside ----------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_request_that_is_none_is_a_400_in_the_dialect(dialect: str) -> None:
    provider = FakeProvider()
    request = outgoing(dialect)
    request.body = b'{"model": 5}'
    exchange = await provider.send(request)
    error = json.loads(await exchange.read(10_000))["error"]
    assert (exchange.status, error["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [(b"GET", "/v1/chat/completions", 405), (b"POST", "/v1/nope", 404), (b"GET", "/v1/models/nope", 404)],
)
async def test_unknown_paths_and_methods_are_errors(method: bytes, path: str, status: int) -> None:
    request = outgoing("chat")
    request.method, request.url = method, "https://api.example.com" + path
    assert (await FakeProvider().send(request)).status == status


async def test_the_endpoints_beside_answer_the_sdks_and_take_no_script() -> None:
    provider = FakeProvider(models=("echo", "big"))
    provider.fail(500)
    with serve(provider) as url:
        async with Clients(url) as clients:
            counted = await clients.anthropic.messages.count_tokens(model="echo", messages=QUESTION)
            embedded = await clients.openai.embeddings.create(model="echo", input=["a", "b", "a"], dimensions=4)
            floats = await clients.openai.embeddings.create(
                model="echo", input="a", dimensions=4, encoding_format="float"
            )
            listed = [model.id async for model in clients.openai.models.list()]
            described = [model.display_name async for model in clients.anthropic.models.list()]
            one = await clients.openai.models.retrieve("big")
    assert counted.input_tokens > 0
    a, b, again = (item.embedding for item in embedded.data)
    assert a == again != b
    assert floats.data[0].embedding == pytest.approx(a, abs=1e-6)
    assert sum(number * number for number in a) == pytest.approx(1)
    assert listed == described == ["echo", "big"]
    assert one.id == "big"


async def test_embeddings_in_base64_are_little_endian_floats() -> None:
    request = outgoing("chat")
    request.url = "https://api.example.com/v1/embeddings"
    request.body = b'{"model":"m","input":[1,2,3],"encoding_format":"base64","dimensions":2}'
    found = json.loads(await (await FakeProvider().send(request)).read(10_000))
    assert len(found["data"]) == 1
    assert len(struct.unpack("<2f", b64decode(found["data"][0]["embedding"]))) == 2


@pytest.mark.parametrize(
    ("dimensions", "status"), [(-1, 400), (0, 400), (1, 200), (4096, 200), (4097, 400), (2_000_000, 400), (10**30, 400)]
)
async def test_an_embedding_has_no_more_dimensions_than_a_models(dimensions: int, status: int) -> None:
    request = outgoing("chat")
    request.url = "https://api.example.com/v1/embeddings"
    request.body = json.dumps({"model": "m", "input": "a", "dimensions": dimensions}).encode()
    answer = await FakeProvider().send(request)
    found = json.loads(await answer.read(1_000_000))
    assert answer.status == status
    if status == 200:
        assert len(found["data"][0]["embedding"]) == dimensions
    else:
        assert (found["error"]["type"], found["error"]["param"]) == ("invalid_request_error", "dimensions")


async def test_other_endpoints_are_scripted_by_path() -> None:
    provider = FakeProvider()
    provider.fail(404, on="/count_tokens")
    provider.raw(200, {}, b"mine", on="/embeddings")
    for path, expected in (("/v1/messages/count_tokens", 404), ("/v1/messages", 200)):
        request = outgoing("messages")
        request.url = "https://api.example.com" + path
        assert (await provider.send(request)).status == expected
    request = outgoing("chat")
    request.url = "https://api.example.com/v1/embeddings"
    assert await (await provider.send(request)).read(100) == b"mine"


# --- the demo --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_without_a_script_it_repeats_what_it_was_told_word_by_word(dialect: str) -> None:
    provider = FakeProvider()
    with serve(provider) as url:
        async with Clients(url) as clients:
            reply = await ASK[dialect](clients)
            events = await streamed(clients, dialect)
    whole = said(dialect, reply)
    assert whole.startswith("This is plano's demo provider")
    assert whole.endswith("You said: Weather in Paris?")
    assert "".join(deltas(dialect, events)) == whole
    assert len(deltas(dialect, events)) == len(whole.split())
    assert reply.usage is not None


async def test_the_demo_keeps_to_max_tokens() -> None:
    provider = FakeProvider()
    with serve(provider) as url:
        async with Clients(url) as clients:
            reply = await clients.anthropic.messages.create(model="echo", max_tokens=2, messages=QUESTION)
    assert (reply.stop_reason, said("messages", reply), reply.usage.output_tokens) == ("max_tokens", "This is ", 2)


REQUIRED: dict[str, dict[str, Any]] = {
    "chat": {
        "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": TOOL}}],
        "tool_choice": "required",
    },
    "messages": {"tools": [{"name": "get_weather", "input_schema": TOOL}], "tool_choice": {"type": "any"}},
    "responses": {
        "tools": [{"type": "function", "name": "get_weather", "parameters": TOOL, "strict": True}],
        "tool_choice": {"type": "function", "name": "get_weather"},
    },
}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_demo_calls_a_tool_when_one_must_be_called(dialect: str) -> None:
    _, body = await post(FakeProvider(), dialect, **REQUIRED[dialect])
    reply = json.loads(body)
    if dialect == "chat":
        call = reply["choices"][0]["message"]["tool_calls"][0]["function"]
        assert (call["name"], json.loads(call["arguments"])) == ("get_weather", {"city": "demo"})
    elif dialect == "messages":
        call = reply["content"][0]
        assert (call["name"], call["input"]) == ("get_weather", {"city": "demo"})
    else:
        call = reply["output"][0]
        assert (call["name"], json.loads(call["arguments"])) == ("get_weather", {"city": "demo"})


async def test_the_demo_says_what_a_tool_answered() -> None:
    history = [
        *QUESTION,
        {
            "role": "assistant",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "w", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "21 degrees"},
    ]
    _, body = await post(FakeProvider(), "chat", messages=history)
    assert json.loads(body)["choices"][0]["message"]["content"].endswith("The tool answered: 21 degrees")


async def test_the_demo_answers_in_the_form_that_the_sdk_parses() -> None:
    class Day(BaseModel):
        date: str
        degrees: float

    class Forecast(BaseModel):
        city: str
        days: list[Day]
        note: str | None

    with serve(FakeProvider()) as url:
        async with Clients(url) as clients:
            reply = await clients.openai.chat.completions.parse(
                model="echo", messages=QUESTION, response_format=Forecast
            )
            plain = await chat(clients, response_format={"type": "json_object"})
    forecast = reply.choices[0].message.parsed
    assert forecast is not None
    assert len(forecast.days) == 1
    assert json.loads(said("chat", plain)) == {"you_said": "Weather in Paris?"}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (None, {}),
        ({"type": "string", "enum": ["b", "a"]}, "b"),
        ({"const": 3}, 3),
        ({"type": ["null", "integer"], "minimum": 5}, 5),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        ({"type": "array", "items": {"type": "number"}, "minItems": 2}, [1.5, 1.5]),
        ({"properties": {"at": {"type": "string", "format": "date"}}}, {"at": "2025-01-31"}),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}}, 1),
        (True, "demo"),
    ],
)
def test_a_sample_fits_its_schema(schema: Any, value: Any) -> None:
    assert sample(None if schema is None else Raw(json.dumps(schema).encode())) == value


def test_a_sample_of_a_schema_that_refers_to_itself_ends() -> None:
    schema = {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
                "required": ["next"],
            }
        },
    }
    depth, node = 0, sample(Raw(json.dumps(schema).encode()))
    while node is not None:
        depth, node = depth + 1, node["next"]
    assert 0 < depth < 20


def test_arguments_may_be_any_text() -> None:
    assert tool_call("f", "{not json", id="x") == ToolCall(id="x", name="f", arguments="{not json")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": [], "required": [["a"], {}]},
        {"type": "object", "properties": {"a": 1, "b": None}, "required": 5},
        {"type": [["object"]], "enum": {"a": 1}, "anyOf": "x", "format": ["date"], "minItems": "many"},
        {"type": "array", "items": {"type": "array", "items": {"type": "array", "minItems": 10**9}, "minItems": 10**9}},
        {"$ref": "#/$defs/n", "$defs": {"n": {"properties": {str(i): {"$ref": "#/$defs/n"} for i in range(50)}}}},
        {"anyOf": [{"$ref": "#"}]},
        {"type": {}, "allOf": [{}]},
        [],
        7,
    ],
    ids=str,
)
def test_a_sample_of_a_wrong_or_boundless_schema_is_some_bounded_value(schema: Any) -> None:
    assert len(json.dumps(sample(Raw(json.dumps(schema).encode())))) < 50_000
