"""What users of other gateways stumbled over, each as what must hold here: requests, replies, streams."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from plano import Plano
from plano.testing import FakeProvider, Usage, tool_call
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.asgi import Answer, ask

SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
MINIMAL: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100},
    "responses": {"input": "Hi"},
}


def gateway(provider: FakeProvider, *providers: dict[str, Any], **config: Any) -> Plano:
    entries = list(providers) or [entry(dialect) for dialect in DIALECTS]
    return Plano({"model_providers": entries, **config}, transport=provider)


def entry(dialect: Dialect, **more: Any) -> dict[str, Any]:
    return {
        "model": f"{dialect}_server/m",
        "provider_interface": "openai",
        "base_url": "https://llm.example/v1",
        "apis": [dialect],
        "access_key": "sk-upstream",
    } | more


def known(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "access_key": "sk-upstream"} | more


async def create(
    app: Plano, dialect: str, model: str | None = None, headers: dict[str, str] | None = None, **fields: Any
) -> Answer:
    body = MINIMAL[dialect] | ({"model": model} if model is not None else {}) | fields
    return await ask(app, "POST", PATHS[dialect], body, headers)


def sse(*events: Any) -> bytes:
    return b"".join(b"data: " + (e if isinstance(e, bytes) else json.dumps(e).encode()) + b"\n\n" for e in events)


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": choices,
    } | more


def events(answer: Answer) -> list[tuple[str | None, Any]]:
    found = []
    for block in answer.body.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if "data" in lines:
            data = lines["data"]
            found.append((lines.get("event"), json.loads(data) if data.startswith("{") else data))
    return found


def completion(**more: Any) -> bytes:
    message = {"role": "assistant", "content": "Hello"}
    reply = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }
    return json.dumps(reply | more).encode()


# --- names and errors -----------------------------------------------------------------------------


async def test_without_a_model_the_default_answers() -> None:
    provider = FakeProvider()
    app = gateway(provider, entry("chat"), entry("messages", default=True))
    assert (await create(app, "chat")).status == 200
    assert provider.last.dialect == "messages"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("model", ["no-such-model", "foo/m", "openai/gpt-4o", "chat_server/other"])
async def test_an_unknown_model_is_a_404_in_the_clients_dialect(dialect: Dialect, model: str) -> None:
    answer = await create(gateway(FakeProvider()), dialect, model)
    assert answer.status == 404
    error = answer.json()["error"]
    assert model in error["message"]
    if dialect == "messages":
        assert (answer.json()["type"], error["type"]) == ("error", "not_found_error")
    else:
        assert (error["code"], error["param"]) == ("model_not_found", "model")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"text"', b"null", b'{"model": 1}', b'{"model": "\xff"}', b"[" * 100_000]
)
async def test_what_is_not_json_is_a_400_in_the_clients_dialect(dialect: Dialect, body: bytes) -> None:
    answer = await ask(gateway(FakeProvider()), "POST", PATHS[dialect], body)
    assert answer.status == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nope", 404),
        ("POST", "/", 405),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/messages", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/v1/models/none", 404),
        ("GET", "/agents/v1/chat/completions", 404),
        ("POST", "/agents/v1/chat/completions", 404),
        ("GET", "/../etc/passwd", 404),
    ],
)
async def test_everything_else_is_a_404_or_405_as_json(method: str, path: str, status: int) -> None:
    headers = {"x-arch-agent-listener-name": "agents"}
    answer = await ask(gateway(FakeProvider()), method, path, b"", headers)
    assert answer.status == status
    assert answer.json()["error"]["message"]
    assert status != 405 or answer.headers["allow"]


@pytest.mark.parametrize("path", ["/v1/messages?beta=true", "/v1/messages/", "/v1/messages/?beta=true"])
async def test_query_strings_and_a_trailing_slash_are_fine(path: str) -> None:
    provider = FakeProvider()
    answer = await ask(gateway(provider), "POST", path, MINIMAL["messages"] | {"model": "messages_server/m"})
    assert answer.status == 200


@pytest.mark.parametrize("path", ["/", "/healthz"])
async def test_signs_of_life(path: str) -> None:
    app = gateway(FakeProvider())
    assert (await ask(app, "GET", path)).status == 200
    head = await ask(app, "HEAD", path)
    assert (head.status, head.body) == (200, b"")


# --- passthrough ----------------------------------------------------------------------------------

CHAT_EXTRAS: list[dict[str, Any]] = [
    {"stop": "x"},
    {
        "messages": [
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "aa", "format": "wav"}}]}
        ]
    },
    {"prompt_cache_key": "k", "verbosity": "low", "vendor_extra": {"a": [1, 2.50, None]}},
    {"messages": [{"role": "assistant", "content": "a", "reasoning_content": "hm"}, {"role": "user", "content": "b"}]},
    {
        "messages": [
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "c",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}"},
                        "extra_content": {"google": {"thought_signature": "sig"}},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        ]
    },
]
MESSAGES_EXTRAS: list[dict[str, Any]] = [
    {
        "messages": [
            {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x=="}]},
            {"role": "user", "content": "b"},
        ]
    },
    {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]},
    {"system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
    {"thinking": {"type": "enabled", "budget_tokens": 2048}, "context_management": {"edits": []}},
]
RESPONSES_EXTRAS: list[dict[str, Any]] = [
    {"reasoning": {"effort": "none", "summary": "auto"}, "include": ["reasoning.encrypted_content"], "store": False},
    {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}}},
    {"tools": [{"type": "mcp", "server_label": "l", "server_url": "https://mcp.example"}]},
    {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
]


@pytest.mark.parametrize(
    ("dialect", "fields"),
    [
        *(("chat", fields) for fields in CHAT_EXTRAS),
        *(("messages", fields) for fields in MESSAGES_EXTRAS),
        *(("responses", fields) for fields in RESPONSES_EXTRAS),
    ],
)
async def test_same_dialect_on_both_sides_forwards_every_field(dialect: Dialect, fields: dict[str, Any]) -> None:
    provider = FakeProvider()
    provider.raw(200, JSON, {"chat": completion(), "messages": MESSAGE, "responses": RESPONSE}[dialect])
    answer = await create(gateway(provider), dialect, f"{dialect}_server/m", **fields)
    assert answer.status == 200
    assert provider.last.json == MINIMAL[dialect] | {"model": "m"} | fields
    assert list(provider.last.json) == list(MINIMAL[dialect] | {"model": "m"} | fields)


async def test_a_body_whose_model_needs_no_change_is_forwarded_byte_for_byte() -> None:
    provider = FakeProvider()
    body = b'{ "model" :"m","messages":[{"role":"user","content":"Hi \\u00e9"}] , "temperature":1.0 }'
    assert (await ask(gateway(provider), "POST", "/v1/chat/completions", body)).status == 200
    assert provider.last.body == body


MESSAGE = json.dumps(
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "thinking", "thinking": "", "signature": "s+/="}, {"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 2, "service_tier": "standard", "unknown": [1]},
    }
).encode()
RESPONSE = json.dumps(
    {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "error": None,
        "model": "m",
        "reasoning": {"effort": "none"},
        "output": [{"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "l", "tools": []}],
        "usage": None,
    }
).encode()
REPLIES = [
    ("chat", completion()),
    ("chat", completion(usage=None, vendor={"a": 1})),
    (
        "chat",
        completion(
            choices=[
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "x", "reasoning_content": "hm"},
                    "finish_reason": "eos",
                }
            ]
        ),
    ),
    ("messages", MESSAGE),
    ("responses", RESPONSE),
]


def told(dialect: Dialect, said: bytes) -> bytes:
    """The upstream's reply, with the one value that messages clients are told by another name."""
    return re.sub(rb'("model": ?)"m"', rb'\1"messages_server/m"', said) if dialect == "messages" else said


@pytest.mark.parametrize(("dialect", "body"), REPLIES)
async def test_same_dialect_replies_come_back_byte_for_byte(dialect: Dialect, body: bytes) -> None:
    provider = FakeProvider()
    provider.raw(200, JSON, body)
    answer = await create(gateway(provider), dialect, f"{dialect}_server/m")
    assert (answer.status, answer.body) == (200, told(dialect, body))


STREAMS: list[tuple[Dialect, bytes]] = [
    (
        "chat",
        b": keepalive\n\n"
        + sse(chunk({"role": "assistant", "content": "a"}))
        + b": again\n\n"
        + sse(chunk({}, "stop"), b"[DONE]"),
    ),
    ("chat", sse(chunk({"content": "a"}), chunk({}, "eos"), b"[DONE]").replace(b"data: ", b"data:")),
    ("chat", sse(chunk({"content": "a"}), chunk({}, "stop"), b"[DONE]").replace(b"\n", b"\r\n")),
    ("chat", sse(chunk({"content": "a"}), {"error": {"message": "overloaded", "type": "server_error"}})),
    (
        "messages",
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message",'
        b'"role":"assistant","content":[],"model":"m","usage":{"input_tokens":1,"output_tokens":1}}}\n\n'
        b'event: ping\ndata: {"type": "ping"}\n\n'
        b'event: something_new\ndata: {"type": "something_new"}\n\n'
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
    ),
]


@pytest.mark.parametrize(("dialect", "stream"), STREAMS)
@pytest.mark.parametrize("cut", [1, 7, 10_000])
async def test_same_dialect_streams_come_back_byte_for_byte(dialect: Dialect, stream: bytes, cut: int) -> None:
    provider = FakeProvider()
    provider.raw(200, SSE, [stream[at : at + cut] for at in range(0, len(stream), cut)])
    answer = await create(gateway(provider), dialect, f"{dialect}_server/m", stream=True)
    assert (answer.status, answer.body) == (200, told(dialect, stream))


# --- translation ----------------------------------------------------------------------------------


async def test_an_upstreams_400_reaches_an_anthropic_client_in_its_form() -> None:
    provider = FakeProvider()
    provider.raw(
        400, JSON, b'{"error":{"message":"Bad tool","type":"invalid_request_error","param":"tools","code":null}}'
    )
    answer = await create(gateway(provider), "messages", "chat_server/m")
    assert answer.status == 400
    assert answer.json()["type"] == "error"
    assert answer.json()["error"] == {"type": "invalid_request_error", "message": "Bad tool"}


async def test_anthropics_529_reaches_an_openai_client_in_its_form() -> None:
    provider = FakeProvider()
    provider.raw(529, JSON, b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}')
    answer = await create(gateway(provider), "chat", "messages_server/m")
    assert answer.status == 529
    assert answer.json()["error"]["message"] == "Overloaded"


async def test_a_messages_client_gets_the_usage_of_a_chat_stream() -> None:
    provider = FakeProvider()
    provider.raw(
        200,
        SSE,
        sse(
            chunk({"role": "assistant", "content": "Hi"}),
            chunk({}, "stop"),
            chunk(usage={"prompt_tokens": 30, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 10}}),
            b"[DONE]",
        ),
    )
    answer = await create(gateway(provider), "messages", "chat_server/m", stream=True)
    assert provider.last.json["stream_options"] == {"include_usage": True}
    delta = next(data for name, data in events(answer) if name == "message_delta")
    assert delta["usage"]["input_tokens"] == 20
    assert delta["usage"]["output_tokens"] == 4
    assert delta["usage"]["cache_read_input_tokens"] == 10
    names = [name for name, _ in events(answer)]
    assert names.count("message_start") == names.count("message_stop") == 1


async def test_a_messages_client_gets_a_tool_call_that_came_in_one_chunk() -> None:
    provider = FakeProvider()
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"city":"Paris"}'}}
    provider.raw(200, SSE, sse(chunk({"role": "assistant", "tool_calls": [call]}), chunk({}, "tool_calls"), b"[DONE]"))
    answer = await create(gateway(provider), "messages", "chat_server/m", stream=True)
    deltas = [data["delta"]["partial_json"] for name, data in events(answer) if name == "content_block_delta"]
    assert json.loads("".join(deltas)) == {"city": "Paris"}


async def test_a_messages_client_gets_text_and_two_parallel_calls_as_three_blocks() -> None:
    provider = FakeProvider()
    calls = [
        {
            "index": i,
            "id": f"call_{i}",
            "type": "function",
            "function": {"name": "f", "arguments": json.dumps({"n": i})},
        }
        for i in range(2)
    ]
    provider.raw(
        200,
        SSE,
        sse(chunk({"content": "Look:"}), chunk({"tool_calls": calls}), chunk({}, "tool_calls"), b"[DONE]"),
    )
    found = events(await create(gateway(provider), "messages", "chat_server/m", stream=True))
    open_block = None
    order = []
    for name, data in found:
        if name == "content_block_start":
            assert open_block is None, "blocks overlap"
            open_block = data["index"]
            order.append((data["index"], data["content_block"]["type"]))
        elif name == "content_block_stop":
            assert open_block == data["index"]
            open_block = None
    assert order == [(0, "text"), (1, "tool_use"), (2, "tool_use")]
    assert next(data for name, data in found if name == "message_delta")["delta"]["stop_reason"] == "tool_use"


async def test_a_pdf_becomes_a_file_part() -> None:
    provider = FakeProvider()
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
    content = [document, {"type": "text", "text": "Summarize"}]
    answer = await create(
        gateway(provider), "messages", "chat_server/m", messages=[{"role": "user", "content": content}]
    )
    assert answer.status == 200
    parts = provider.last.json["messages"][0]["content"]
    assert parts[0]["type"] == "file"
    assert parts[0]["file"]["file_data"] == "data:application/pdf;base64,JVBERi0="


async def test_an_image_in_a_tool_result_follows_in_a_user_message() -> None:
    provider = FakeProvider()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0="}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "see"}, image]}
    messages = [
        {"role": "user", "content": "Draw"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "draw", "input": {}}]},
        {"role": "user", "content": [result]},
    ]
    assert (await create(gateway(provider), "messages", "chat_server/m", messages=messages)).status == 200
    roles = [message["role"] for message in provider.last.json["messages"]]
    assert roles == ["user", "assistant", "tool", "user"]
    assert provider.last.json["messages"][3]["content"][0]["image_url"]["url"] == "data:image/png;base64,iVBORw0="


async def test_a_thinking_budget_becomes_an_effort() -> None:
    provider = FakeProvider()
    thinking = {"type": "enabled", "budget_tokens": 8192}
    answer = await create(gateway(provider), "messages", "chat_server/m", thinking=thinking, max_tokens=20_000)
    assert answer.status == 200
    assert provider.last.json["reasoning_effort"] == "medium"


async def test_a_responses_clients_schema_becomes_a_response_format() -> None:
    provider = FakeProvider()
    schema = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "number"}}}
    text = {"format": {"type": "json_schema", "name": "out", "schema": schema, "strict": True}}
    assert (await create(gateway(provider), "responses", "chat_server/m", text=text)).status == 200
    format = provider.last.json["response_format"]
    assert format == {"type": "json_schema", "json_schema": {"name": "out", "schema": schema, "strict": True}}
    assert list(format["json_schema"]["schema"]["properties"]) == ["b", "a"]


async def test_a_responses_client_gets_usage_and_a_length_stop_of_a_chat_stream() -> None:
    provider = FakeProvider()
    provider.reply("So far", finish="length", usage=Usage(input_tokens=9, output_tokens=3, reasoning_tokens=1))
    found = events(await create(gateway(provider), "responses", "chat_server/m", stream=True))
    name, last = found[-1]
    assert name == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last["response"]["usage"]["total_tokens"] == 12
    assert last["response"]["usage"]["output_tokens_details"]["reasoning_tokens"] == 1
    assert [data["sequence_number"] for _, data in found] == list(range(len(found)))
    assert {data["response"]["id"] for _, data in found if "response" in data} == {last["response"]["id"]}


async def test_a_responses_clients_custom_tool_comes_back_as_a_custom_call() -> None:
    provider = FakeProvider()
    provider.reply(tool_call("run", '{"input": "print(\\"hi\\")\\n"}', id="call_1"))
    tools = [{"type": "custom", "name": "run", "description": "Runs code"}]
    for stream in (False, True):
        answer = await create(gateway(provider), "responses", "chat_server/m", tools=tools, stream=stream)
        if stream:
            output = events(answer)[-1][1]["response"]["output"]
            deltas = [d["delta"] for n, d in events(answer) if n == "response.custom_tool_call_input.delta"]
            assert "".join(deltas) == 'print("hi")\n'
        else:
            output = answer.json()["output"]
        assert output[0]["type"] == "custom_tool_call"
        assert (output[0]["call_id"], output[0]["name"], output[0]["input"]) == ("call_1", "run", 'print("hi")\n')
    assert provider.last.json["tools"][0]["function"]["parameters"]["required"] == ["input"]


async def test_a_file_by_id_is_refused_where_the_vendor_does_not_have_it() -> None:
    provider = FakeProvider()
    content = [{"type": "input_file", "file_id": "file_1"}, {"type": "input_text", "text": "Sum up"}]
    answer = await create(
        gateway(provider), "responses", "messages_server/m", input=[{"role": "user", "content": content}]
    )
    assert answer.status == 400
    assert "file" in answer.json()["error"]["message"]
    assert provider.requests == []


async def test_losses_are_named_in_a_header_and_refused_when_strict() -> None:
    provider = FakeProvider()
    app = gateway(provider)
    answer = await create(app, "chat", "messages_server/m", seed=7, logit_bias={"1": 2})
    assert answer.status == 200
    assert set(answer.headers["x-plano-dropped"].split(", ")) == {"seed", "logit_bias"}
    asked = len(provider.requests)
    strict = await create(app, "chat", "messages_server/m", headers={"x-plano-strict": "true"}, seed=7)
    assert strict.status == 400
    assert "seed" in strict.json()["error"]["message"]
    assert len(provider.requests) == asked, "something was sent"
    always = gateway(provider, strict_translation=True)
    assert (await create(always, "chat", "messages_server/m", seed=7)).status == 400
    lenient = await create(always, "chat", "messages_server/m", headers={"x-plano-strict": "false"}, seed=7)
    assert lenient.status == 200


async def test_what_would_change_the_meaning_is_refused() -> None:
    provider = FakeProvider()
    answer = await create(gateway(provider), "chat", "messages_server/m", n=2)
    assert (answer.status, answer.json()["error"]["param"]) == (400, "n")
    assert provider.requests == []


# --- a 200 is a reply, or it is an error ----------------------------------------------------------

NO_REPLIES = [
    (JSON, b'{"error": {"message": "quota", "type": "billing"}}', "quota"),
    (JSON, b'{"object": "list", "data": []}', "reply"),
    (JSON, b"[]", "reply"),
    (JSON, b"not json", "reply"),
    (JSON, b"", "reply"),
    ({"content-type": "text/html"}, b"<html>Welcome</html>", "text/html"),
]


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("headers", "body", "words"), NO_REPLIES)
async def test_a_200_that_is_no_reply_is_an_upstream_error(
    client: Dialect, stream: bool, headers: dict[str, str], body: bytes, words: str
) -> None:
    provider = FakeProvider()
    provider.raw(200, headers, body)
    answer = await create(gateway(provider), client, "chat_server/m", stream=stream)
    assert answer.status == 502
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_reply_that_was_not_streamed_is_streamed_to_a_client_that_asked_for_it(client: Dialect) -> None:
    provider = FakeProvider()
    provider.raw(200, JSON, completion())
    answer = await create(gateway(provider), client, "chat_server/m", stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "Hello" in answer.body.decode()


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_stream_nobody_asked_for_is_put_together(client: Dialect) -> None:
    provider = FakeProvider()
    provider.raw(
        200, SSE, sse(chunk({"role": "assistant", "content": "Hel"}), chunk({"content": "lo"}, "stop"), b"[DONE]")
    )
    answer = await create(gateway(provider), client, "chat_server/m")
    assert answer.headers["content-type"] == "application/json"
    assert "Hello" in answer.body.decode()


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stream_that_ends_in_the_middle_of_a_frame_ends_in_an_error_event(dialect: Dialect) -> None:
    provider = FakeProvider()
    provider.breaks_after(5, how="lost")
    answer = await create(gateway(provider), dialect, f"{dialect}_server/m", stream=True)
    name, last = events(answer)[-1]
    assert "error" in json.dumps(last)
    assert b"[DONE]" not in answer.body
    if dialect == "messages":
        assert (name, last["type"]) == ("error", "error")


# --- keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("client", DIALECTS)
async def test_an_upstream_that_refuses_the_gateways_key_is_a_502(client: Dialect, status: int) -> None:
    provider = FakeProvider()
    provider.fail(status, "Incorrect API key provided: sk-upstream")
    answer = await create(gateway(provider), client, "chat_server/m")
    assert answer.status == 502
    assert "refused the gateway's credential" in answer.json()["error"]["message"]
    assert "sk-upstream" not in answer.body.decode()


async def test_with_passthrough_auth_the_callers_credential_goes_up_and_a_401_stays_one() -> None:
    provider = FakeProvider()
    app = gateway(provider, entry("messages", access_key=None, passthrough_auth=True))
    provider.fail(401, "invalid x-api-key")
    answer = await create(app, "chat", "messages_server/m", {"authorization": "Bearer sk-callers"})
    assert answer.status == 401
    assert provider.last.headers["x-api-key"] == "sk-callers"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_callers_key_never_goes_to_a_provider(dialect: Dialect) -> None:
    provider = FakeProvider()
    headers = {
        "authorization": "Bearer sk-caller",
        "x-api-key": "sk-caller",
        "cookie": "sk-caller",
        "host": "evil.example",
        "x-forwarded-host": "evil.example",
    }
    await create(gateway(provider), dialect, f"{dialect}_server/m", headers)
    assert "sk-caller" not in str(provider.last.raw_headers)
    assert provider.last.url.startswith("https://llm.example/")
    assert "evil" not in str(provider.last.raw_headers)


async def test_anthropics_headers_go_on_as_they_came() -> None:
    provider = FakeProvider()
    headers = {"anthropic-version": "2099-01-01", "anthropic-beta": "a-1,b-2"}
    await create(gateway(provider), "messages", "messages_server/m", headers)
    assert provider.last.headers["anthropic-version"] == "2099-01-01"
    assert provider.last.headers["anthropic-beta"] == "a-1,b-2"
    await create(gateway(provider), "chat", "messages_server/m")
    assert provider.last.headers["anthropic-version"] == "2023-06-01"


# --- more than one server --------------------------------------------------------------------------


async def test_two_local_servers_of_one_kind_are_kept_apart() -> None:
    provider = FakeProvider()
    app = gateway(
        provider,
        known("openai/one", base_url="http://localhost:8001"),
        known("openai/two", base_url="http://localhost:8002/v1"),
    )
    await create(app, "chat", "one")
    assert provider.last.url == "http://localhost:8001/v1/chat/completions"
    await create(app, "chat", "openai/two")
    assert provider.last.url == "http://localhost:8002/v1/chat/completions"


async def test_one_model_at_two_providers_is_fine() -> None:
    provider = FakeProvider()
    app = gateway(
        provider, known("openai/gpt-4o"), known("azure_openai/gpt-4o", base_url="https://acme.openai.azure.com")
    )
    await create(app, "chat", "gpt-4o")
    assert provider.last.url == "https://api.openai.com/v1/chat/completions"
    await create(app, "chat", "azure_openai/gpt-4o")
    assert provider.last.url.startswith("https://acme.openai.azure.com/openai/")
    assert provider.last.headers["api-key"] == "sk-upstream"


@pytest.mark.parametrize(
    ("model", "url"),
    [
        ("groq/llama-3.3-70b", "https://api.groq.com/openai/v1/chat/completions"),
        ("gemini/gemini-2.5-pro", "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions"),
        ("zhipu/glm-4.6", "https://open.bigmodel.cn/api/paas/v4/chat/completions"),
    ],
)
@pytest.mark.parametrize("client", ["messages", "responses"])
async def test_paths_are_right_for_foreign_clients(model: str, url: str, client: str) -> None:
    provider = FakeProvider()
    assert (await create(gateway(provider, known(model)), client, model)).status == 200
    assert provider.last.url == url


# --- the calls beside -------------------------------------------------------------------------------


async def test_tokens_are_counted_by_the_upstream_or_estimated() -> None:
    provider = FakeProvider()
    app = gateway(provider, known("anthropic/claude-sonnet-4-5"), entry("chat"))
    body = {"messages": [{"role": "user", "content": "Hello there, how are you?"}]}
    counted = await ask(app, "POST", "/v1/messages/count_tokens?beta=true", body | {"model": "claude-sonnet-4-5"})
    assert provider.last.path == "/v1/messages/count_tokens"
    assert counted.json()["input_tokens"] > 0
    asked = len(provider.requests)
    estimated = await ask(app, "POST", "/v1/messages/count_tokens", body | {"model": "chat_server/m"})
    assert 5 <= estimated.json()["input_tokens"] <= 20
    assert estimated.headers["x-plano-estimated"] == "true"
    assert len(provider.requests) == asked


async def test_embeddings_pass_through() -> None:
    provider = FakeProvider()
    app = gateway(provider, known("openai/text-embedding-3-small"), known("anthropic/claude-x"))
    answer = await ask(app, "POST", "/v1/embeddings", {"model": "text-embedding-3-small", "input": "Hi", "x": 1})
    assert answer.json()["data"][0]["embedding"]
    assert (provider.last.path, provider.last.json["x"]) == ("/v1/embeddings", 1)
    refused = await ask(app, "POST", "/v1/embeddings", {"model": "claude-x", "input": "Hi"})
    assert refused.status == 400


async def test_models_are_listed_sorted_and_stable_in_both_shapes() -> None:
    app = gateway(
        FakeProvider(), entry("responses"), entry("chat"), model_aliases={"fast": {"target": "chat_server/m"}}
    )
    listed = (await ask(app, "GET", "/v1/models")).json()
    assert [model["id"] for model in listed["data"]] == ["chat_server/m", "fast", "m", "responses_server/m"]
    assert listed == (await ask(app, "GET", "/v1/models/")).json()
    assert (await ask(app, "GET", "/v1/models/chat_server/m")).json()["owned_by"] == "chat_server"
    headers = {"anthropic-version": "2023-06-01"}
    page = (await ask(app, "GET", "/v1/models?limit=2", headers=headers)).json()
    assert ([model["id"] for model in page["data"]], page["has_more"]) == (["chat_server/m", "fast"], True)
    rest = (await ask(app, "GET", "/v1/models?limit=1000&after_id=fast", headers=headers)).json()
    assert ([model["id"] for model in rest["data"]], rest["has_more"]) == (["m", "responses_server/m"], False)
    assert (await ask(app, "GET", "/v1/models/fast", headers=headers)).json()["type"] == "model"
