"""Web search goes between Anthropic's API and OpenAI's, which both host it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message
from openai.types.responses import Response

from plano.testing import FakeProvider
from plano.types import Dialect
from tests.asgi import Answer, ask
from tests.filters.talk import gateway
from tests.test_pairs import PATHS
from tests.test_vendor_rules import sent

PLACE = {"type": "approximate", "city": "Köln", "country": "DE"}
ANTHROPICS: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
OPENAIS: dict[str, Any] = {"type": "web_search"}


# --- the tool and its choice ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "tool", "expected", "reported"),
    [
        ("messages", ANTHROPICS, OPENAIS, ""),
        (
            "messages",
            {**ANTHROPICS, "user_location": PLACE, "allowed_domains": ["a.de"], "max_uses": 5},
            {**OPENAIS, "user_location": PLACE, "filters": {"allowed_domains": ["a.de"]}},
            "tools.max_uses",
        ),
        ("messages", {**ANTHROPICS, "blocked_domains": ["b.de"]}, OPENAIS, "tools.blocked_domains"),
        ("messages", {**ANTHROPICS, "type": "web_search_20260209", "max_uses": None}, OPENAIS, ""),
        ("responses", OPENAIS, ANTHROPICS, ""),
        (
            "responses",
            {"type": "web_search_preview", "search_context_size": "low"},
            ANTHROPICS,
            "tools.search_context_size",
        ),
        ("responses", {"type": "web_search_2025_08_26", "external_web_access": True}, ANTHROPICS, ""),
        ("responses", {"type": "web_search_preview_2025_03_11"}, ANTHROPICS, ""),
        (
            "responses",
            {**OPENAIS, "user_location": {"city": "Köln"}, "filters": {"allowed_domains": ["a.de"]}},
            {**ANTHROPICS, "user_location": {"type": "approximate", "city": "Köln"}, "allowed_domains": ["a.de"]},
            "",
        ),
        ("responses", {**OPENAIS, "filters": None, "user_location": None}, ANTHROPICS, ""),
    ],
)
async def test_a_web_search_is_offered_in_the_other_api_s_words(
    client: Dialect, tool: Any, expected: Any, reported: str
) -> None:
    upstream: Dialect = "responses" if client == "messages" else "messages"
    body, losses = await sent(client, upstream, tools=[tool])
    assert (body["tools"], losses) == ([expected], reported)


@pytest.mark.parametrize(
    ("client", "upstream", "tool"),
    [
        ("messages", "chat", ANTHROPICS),
        ("responses", "chat", OPENAIS),
        ("responses", "messages", {**OPENAIS, "external_web_access": False}),
        ("responses", "messages", {"type": "file_search", "vector_store_ids": ["v"]}),
        ("messages", "responses", {"type": "web_fetch_20250910", "name": "web_fetch"}),
        ("responses", "messages", {**OPENAIS, "filters": 5}),
    ],
)
async def test_a_tool_that_the_other_side_lacks_is_left_out(client: Dialect, upstream: Dialect, tool: Any) -> None:
    body, losses = await sent(client, upstream, tools=[tool])
    assert ("tools" in body, losses) == (False, "tools.type")


CHOICES: list[Any] = [
    ("messages", ANTHROPICS, {"type": "tool", "name": "web_search"}, {"type": "web_search"}),
    ("messages", ANTHROPICS, {"type": "any"}, "required"),
    ("responses", OPENAIS, {"type": "web_search"}, {"type": "tool", "name": "web_search"}),
    ("responses", OPENAIS, {"type": "web_search_preview"}, {"type": "tool", "name": "web_search"}),
    ("responses", OPENAIS, "required", {"type": "any"}),
]


@pytest.mark.parametrize(("client", "tool", "choice", "expected"), CHOICES)
async def test_a_web_search_can_be_forced(client: Dialect, tool: Any, choice: Any, expected: Any) -> None:
    upstream: Dialect = "responses" if client == "messages" else "messages"
    body, losses = await sent(client, upstream, tools=[tool], tool_choice=choice)
    assert (body["tool_choice"], len(body["tools"]), losses) == (expected, 1, "")


@pytest.mark.parametrize(("client", "tool", "choice", "expected"), CHOICES)
async def test_a_web_search_cannot_be_forced_elsewhere(client: Dialect, tool: Any, choice: Any, expected: Any) -> None:
    provider = FakeProvider()
    async with gateway(provider) as app:
        answer = await ask(app, "POST", PATHS[client], asked(client, tool, "chat") | {"tool_choice": choice})
    assert answer.status == 400
    assert not provider.requests


async def test_a_search_that_may_not_reach_the_web_is_not_forced_to() -> None:
    provider = FakeProvider()
    async with gateway(provider) as app:
        tool = {**OPENAIS, "external_web_access": False}
        body = asked("responses", tool, "messages") | {"tool_choice": {"type": "web_search"}}
        answer = await ask(app, "POST", PATHS["responses"], body)
    assert answer.status == 400
    assert not provider.requests


# --- calls in replies -------------------------------------------------------------------------------


def asked(client: Dialect, tool: Any, upstream: str, *, stream: bool = False, items: Any = None) -> dict[str, Any]:
    turns = [{"role": "user", "content": "Weather?"}] if items is None else items
    more = {"messages": turns, "max_tokens": 100} if client == "messages" else {"input": turns}
    return {"model": f"{upstream}_server/m", "tools": [tool], "stream": stream, **more}


USE = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "weather köln"}}
RESULT = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": [
        {"type": "web_search_result", "url": "https://a.de", "title": "A", "encrypted_content": "E", "page_age": None}
    ],
}
SUNNY = {"type": "text", "text": "Sunny."}
CALL = {
    "type": "web_search_call",
    "id": "ws_1",
    "status": "completed",
    "action": {"type": "search", "query": "weather köln", "sources": [{"type": "url", "url": "https://a.de"}]},
}
SAID = {
    "type": "message",
    "id": "msg_1",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Sunny.", "annotations": []}],
}


def claude(stream: bool) -> tuple[bytes, str]:
    """A reply of Anthropic's with a web search, and its content type."""
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
    usage = {"input_tokens": 1, "output_tokens": 1}
    if not stream:
        body = {**head, "content": [USE, RESULT, SUNNY], "stop_reason": "end_turn", "usage": usage}
        return json.dumps(body).encode(), "application/json"
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**head, "content": [], "stop_reason": None, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {**USE, "input": {}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"query":'}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": '"weather köln"}'},
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": RESULT},
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "Sunny."}},
        {"type": "content_block_stop", "index": 2},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]
    return streamed(events)


def gpt(stream: bool) -> tuple[bytes, str]:
    """A reply of OpenAI's with a web search, and its content type."""
    whole = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed"}
    done = {**whole, "output": [CALL, SAID], "usage": {"input_tokens": 1, "output_tokens": 1}}
    if not stream:
        return json.dumps(done).encode(), "application/json"
    events = [
        {"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**CALL, "status": "in_progress"}},
        {"type": "response.web_search_call.completed", "output_index": 0, "item_id": "ws_1"},
        {"type": "response.output_item.done", "output_index": 0, "item": CALL},
        {"type": "response.output_item.done", "output_index": 1, "item": SAID},
        {"type": "response.completed", "response": done},
    ]
    return streamed(events)


def streamed(events: list[dict[str, Any]]) -> tuple[bytes, str]:
    frames = (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    return "".join(frames).encode(), "text/event-stream"


def events_of(answer: Answer) -> list[Any]:
    return [json.loads(line[6:]) for line in answer.body.decode().split("\n") if line.startswith("data: ")]


def content_of(answer: Answer, stream: bool) -> list[Any]:
    """The blocks that a messages client gets, put together as its SDK does it."""
    if not stream:
        return [block.to_dict() for block in Message.model_validate(answer.json()).content]
    blocks: list[Any] = []
    for event in events_of(answer):
        if event["type"] == "content_block_start":
            blocks.append(event["content_block"])
        elif event["type"] == "content_block_delta" and event["delta"]["type"] == "input_json_delta":
            blocks[event["index"]]["input"] = json.loads(event["delta"]["partial_json"])
        elif event["type"] == "content_block_delta":
            blocks[event["index"]]["text"] += event["delta"]["text"]
    return blocks


async def reply(client: Dialect, upstream: Dialect, tool: Any, wire: tuple[bytes, str], stream: bool) -> Answer:
    provider = FakeProvider()
    body, content_type = wire
    provider.raw(200, {"content-type": content_type}, body)
    async with gateway(provider) as app:
        answer = await ask(app, "POST", PATHS[client], asked(client, tool, upstream, stream=stream))
    assert answer.status == 200, answer.body
    return answer


@pytest.mark.parametrize("stream", [False, True])
async def test_claude_s_search_is_one_of_openai_s_for_its_client(stream: bool) -> None:
    answer = await reply("responses", "messages", OPENAIS, claude(stream), stream)
    found = events_of(answer)[-1]["response"] if stream else answer.json()
    Response.model_validate(found)
    call, message = found["output"]
    assert call.pop("id").startswith("ws_plano_")
    action = {"type": "search", "query": "weather köln"}
    assert call == {"type": "web_search_call", "status": "completed", "action": action}
    assert message["content"][0]["text"] == "Sunny."
    if stream:
        done = [each["item"] for each in events_of(answer) if each["type"] == "response.output_item.done"]
        assert [item["type"] for item in done] == ["web_search_call", "message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_openai_s_search_is_one_of_claude_s_for_its_client(stream: bool) -> None:
    answer = await reply("messages", "responses", ANTHROPICS, gpt(stream), stream)
    use, result, text = content_of(answer, stream)
    assert (use["type"], use["name"], use["input"]) == ("server_tool_use", "web_search", {"query": "weather köln"})
    assert result["tool_use_id"] == use["id"]
    assert [(each["type"], each["url"]) for each in result["content"]] == [("web_search_result", "https://a.de")]
    assert text["text"] == "Sunny."


async def next_turn(client: Dialect, history: list[Any], upstream: Dialect) -> tuple[dict[str, Any], Answer]:
    tool = ANTHROPICS if client == "messages" else OPENAIS
    turns = [{"role": "user", "content": "Weather?"}, *history, {"role": "user", "content": "And now?"}]
    provider = FakeProvider()
    async with gateway(provider) as app:
        answer = await ask(app, "POST", PATHS[client], asked(client, tool, upstream, items=turns))
    assert answer.status == 200, answer.body
    sent: dict[str, Any] = provider.last.json
    return sent, answer


async def test_openai_gets_its_own_search_back_and_claude_none_of_it() -> None:
    content = content_of(await reply("messages", "responses", ANTHROPICS, gpt(False), False), False)
    history = [{"role": "assistant", "content": content}]
    body, _ = await next_turn("messages", history, "responses")
    call = next(item for item in body["input"] if item["type"] == "web_search_call")
    assert (call["id"], call["action"]["query"]) == ("ws_1", "weather köln")
    body, _ = await next_turn("messages", history, "messages")
    assert body["messages"][1] == {"role": "assistant", "content": "Sunny."}
    body, _ = await next_turn("messages", history, "chat")
    assert body["messages"][1] == {"role": "assistant", "content": "Sunny."}


@pytest.mark.parametrize("upstream", ["responses", "messages", "chat"])
async def test_what_stood_for_claude_s_search_goes_nowhere(upstream: Dialect) -> None:
    found = (await reply("responses", "messages", OPENAIS, claude(False), False)).json()["output"]
    body, _ = await next_turn("responses", found, upstream)
    written = json.dumps(body)
    assert "ws_plano" not in written
    assert "web_search_call" not in written
    assert "Sunny." in written


async def test_claude_s_own_search_goes_back_to_claude_as_it_was() -> None:
    history = [{"role": "assistant", "content": [USE, RESULT, SUNNY]}]
    body, answer = await next_turn("messages", history, "messages")
    assert body["messages"][1] == history[0]
    assert "x-plano-dropped" not in answer.headers
