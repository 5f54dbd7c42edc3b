"""Codex's own search for tools, in front of models that know only functions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import Response

from plano.dialects import responses
from plano.testing import FakeProvider, tool_call
from plano.types import Dialect
from tests.asgi import Answer, ask
from tests.dialects import support
from tests.filters.talk import gateway, respond

QUERY = {"type": "object", "properties": {"query": {"type": "string"}}}
PLACE = {"type": "object", "properties": {"place": {"type": "string"}}}
SEARCH: dict[str, Any] = {
    "type": "tool_search",
    "execution": "client",
    "description": "Search tools",
    "parameters": QUERY,
}
HELLO = {"type": "message", "role": "user", "content": "Weather?"}
CALL: dict[str, Any] = {
    "type": "tool_search_call",
    "call_id": "ts1",
    "execution": "client",
    "status": "completed",
    "arguments": {"query": "weather", "limit": 2},
}
PLAIN: dict[str, Any] = {"type": "function", "name": "f", "description": "F", "parameters": PLACE, "strict": False}


def namespace(*names: str) -> dict[str, Any]:
    tools = [{"type": "function", "name": name, "parameters": PLACE, "strict": False} for name in names]
    return {"type": "namespace", "name": "mcp__weather", "description": "Weather", "tools": tools}


def output(*tools: Any, call_id: str = "ts1", **more: Any) -> dict[str, Any]:
    found = {"type": "tool_search_output", "call_id": call_id, "execution": "client", "status": "completed"}
    return found | {"tools": [*tools], **more}


def offered(body: dict[str, Any]) -> list[str]:
    return [(tool.get("function") or tool)["name"] for tool in body["tools"]]


async def sent(upstream: Dialect, items: list[Any], **more: Any) -> tuple[dict[str, Any], Answer]:
    provider = FakeProvider()
    provider.reply("ok")
    async with gateway(provider) as app:
        answer = await respond(app, items, server=upstream, **{"tools": [SEARCH], **more})
    assert answer.status == 200, answer.body
    found: dict[str, Any] = provider.last.json
    return found, answer


async def test_a_chat_model_is_asked_with_a_function_and_its_history() -> None:
    body, answer = await sent("chat", [HELLO, CALL, output(PLAIN, namespace("now"))])
    assert [tool["function"] for tool in body["tools"]] == [
        {"name": "tool_search", "description": "Search tools", "parameters": QUERY},
        {"name": "f", "description": "F", "parameters": PLACE, "strict": False},
        {"name": "mcp__weather__now", "parameters": PLACE, "strict": False},
    ]
    _, assistant, result = body["messages"]
    (call,) = assistant["tool_calls"]
    assert (call["id"], call["type"], call["function"]["name"]) == ("ts1", "function", "tool_search")
    assert json.loads(call["function"]["arguments"]) == CALL["arguments"]
    assert (result["role"], result["tool_call_id"]) == ("tool", "ts1")
    assert json.loads(result["content"]) == {"tools": ["f", "mcp__weather__now"]}
    assert "x-plano-dropped" not in answer.headers


async def test_claude_is_asked_with_a_tool_and_its_history() -> None:
    body, answer = await sent("messages", [HELLO, CALL, output(PLAIN, namespace("now"))])
    assert [(tool["name"], tool["input_schema"]) for tool in body["tools"]] == [
        ("tool_search", QUERY),
        ("f", PLACE),
        ("mcp__weather__now", PLACE),
    ]
    _, assistant, user = body["messages"]
    assert assistant["content"] == [
        {"type": "tool_use", "id": "ts1", "name": "tool_search", "input": CALL["arguments"]}
    ]
    (result,) = user["content"]
    assert (result["type"], result["tool_use_id"]) == ("tool_result", "ts1")
    assert json.loads(result["content"]) == {"tools": ["f", "mcp__weather__now"]}
    assert "x-plano-dropped" not in answer.headers


@pytest.mark.parametrize("upstream", ["chat", "messages"])
async def test_a_tool_that_is_found_again_is_offered_once(upstream: Dialect) -> None:
    again = {**CALL, "call_id": "ts2"}
    items = [
        HELLO,
        CALL,
        output(PLAIN, namespace("now", "then")),
        again,
        output(PLAIN, namespace("then", "soon"), call_id="ts2"),
    ]
    body, _ = await sent(upstream, items, tools=[SEARCH, {**PLAIN, "name": "g"}])
    weather = [f"mcp__weather__{name}" for name in ("now", "then", "soon")]
    assert offered(body) == ["tool_search", "g", "f", *weather]


@pytest.mark.parametrize("upstream", ["chat", "messages"])
async def test_a_search_that_finds_nothing_has_a_result(upstream: Dialect) -> None:
    body, _ = await sent(upstream, [HELLO, CALL, output()])
    assert offered(body) == ["tool_search"]
    assert '{\\"tools\\":[]}' in json.dumps(body["messages"][2])


def items_of(answer: Answer, stream: bool) -> list[Any]:
    """The output of a reply; of a stream, that of its last event, which must be what the items' own events said."""
    if not stream:
        reply = answer.json()
    else:
        events = [json.loads(line[6:]) for line in answer.body.decode().split("\n") if line.startswith("data: ")]
        done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
        added = [event["item"]["id"] for event in events if event["type"] == "response.output_item.added"]
        reply = events[-1]["response"]
        assert (done, added) == (reply["output"], [item["id"] for item in done])
        assert not [event for event in events if event["type"].startswith("response.function_call")]
    Response.model_validate(reply)
    assert reply["tools"] == [SEARCH]
    return list(reply["output"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("upstream", ["chat", "messages"])
@pytest.mark.parametrize(
    ("written", "arguments"),
    [
        ('{"query": "weather", "limit": 2}', {"query": "weather", "limit": 2}),
        ("", {}),
        ('{"query": "wea', '{"query": "wea'),
    ],
)
async def test_a_call_comes_back_as_a_search(upstream: Dialect, stream: bool, written: str, arguments: Any) -> None:
    provider = FakeProvider()
    provider.reply("Let me look.", tool_call("tool_search", written, id="c1"))
    async with gateway(provider) as app:
        answer = await respond(app, [HELLO], server=upstream, tools=[SEARCH], stream=stream)
    if upstream == "messages" and isinstance(arguments, str):
        arguments = {"_raw": arguments} if not stream else arguments
    _, item = items_of(answer, stream)
    assert item.pop("id").startswith("tsc_plano_")
    assert item == {
        "type": "tool_search_call",
        "call_id": "c1",
        "execution": "client",
        "status": "completed",
        "arguments": arguments,
    }


@pytest.mark.parametrize("upstream", ["chat", "messages", "responses"])
async def test_a_search_goes_on_from_a_stored_reply(upstream: Dialect) -> None:
    provider = FakeProvider()
    provider.reply(tool_call("tool_search", {"query": "weather"}, id="c1"))
    provider.reply("ok")
    async with gateway(provider, {"type": "memory"}) as app:
        first = (await respond(app, [HELLO], server="chat", tools=[SEARCH])).json()
        found = output(PLAIN, call_id="c1")
        answer = await respond(app, [found], server=upstream, tools=[SEARCH], previous_response_id=first["id"])
    assert answer.status == 200, answer.body
    body = provider.last.json
    if upstream == "responses":
        assert [item["type"] for item in body["input"]] == ["message", "tool_search_call", "tool_search_output"]
        assert (body["input"][2], body["tools"]) == (found, [SEARCH])
        assert "id" not in body["input"][1]
    else:
        assert offered(body) == ["tool_search", "f"]
        assert len(body["messages"]) == 3


@pytest.mark.parametrize("upstream", ["chat", "messages"])
async def test_that_a_found_tool_was_deferred_is_no_loss(upstream: Dialect) -> None:
    deferred = {**PLAIN, "defer_loading": True}
    body, answer = await sent(upstream, [HELLO, CALL, output(deferred)])
    assert offered(body) == ["tool_search", "f"]
    assert "x-plano-dropped" not in answer.headers
    _, answer = await sent(upstream, [HELLO], tools=[deferred])
    assert answer.headers["x-plano-dropped"] == "tools.defer_loading"


def test_the_items_are_written_as_they_were_read() -> None:
    items = [HELLO, CALL, output({**PLAIN, "defer_loading": True}, namespace("now"))]
    conversation = support.read_request(responses, {"input": items, "tools": [SEARCH]})
    body, losses = support.write_request(responses, conversation)
    assert body["input"][1:] == items[1:]
    assert (body["tools"], losses) == ([SEARCH], {})


@pytest.mark.parametrize("execution", ["server", None])
async def test_a_search_of_openai_s_own_is_no_function(execution: str | None) -> None:
    tool = {"type": "tool_search"} if execution is None else {"type": "tool_search", "execution": execution}
    ran = [{**CALL, "execution": "server", "call_id": None}, output(PLAIN, call_id=None, execution="server")]  # type: ignore[arg-type]
    body, answer = await sent("chat", [HELLO, *ran], tools=[tool])
    assert "tools" not in body
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert set(answer.headers["x-plano-dropped"].split(", ")) == {"tools.type", "messages.content"}


async def test_a_search_is_taken_out_of_nothing_towards_responses() -> None:
    body, answer = await sent("responses", [HELLO, CALL, output(PLAIN)])
    assert (body["input"], body["tools"]) == ([HELLO, CALL, output(PLAIN)], [SEARCH])
    assert "x-plano-dropped" not in answer.headers


@pytest.mark.parametrize(
    "item",
    [
        {**CALL, "arguments": 1},
        {**CALL, "arguments": None},
        {**CALL, "arguments": '{"query":"w"}'},
        {**CALL, "execution": 1},
        {**CALL, "call_id": 1},
        output(1),
        output({"type": "function"}),
        output({"type": "namespace", "name": "n", "tools": [1]}),
        {**output(), "tools": 1},
        {**output(), "tools": None},
    ],
)
async def test_odd_items_are_the_client_s_fault_or_are_taken_as_they_are(item: Any) -> None:
    provider = FakeProvider()
    async with gateway(provider) as app:
        body = {"model": "chat_server/m", "input": [HELLO, item], "tools": [SEARCH]}
        answer = await ask(app, "POST", "/v1/responses", body)
    assert answer.status in (200, 400), answer.body
