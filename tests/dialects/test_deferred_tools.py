"""Tools whose loading is deferred: models behind other APIs see them once a search of the client's has named them."""

from __future__ import annotations

from typing import Any

import pytest

from plano.testing import FakeProvider
from plano.types import Dialect
from tests.asgi import Answer, ask
from tests.filters.talk import PATHS, gateway

SEARCH = {"name": "ToolSearch", "input_schema": {"type": "object"}}
HELLO = {"role": "user", "content": "Weather?"}


def deferred(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "description": "…", "input_schema": {"type": "object"}, "defer_loading": True, **more}


def found(*names: str) -> list[dict[str, Any]]:
    """What a client's own search found."""
    content = [{"type": "tool_reference", "tool_name": name} for name in names]
    return [
        HELLO,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "ToolSearch", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": content}]},
    ]


CALLED = [
    HELLO,
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "a", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "Sun."}]},
]


async def sent(upstream: Dialect, client: Dialect = "messages", **fields: Any) -> tuple[list[str], Any, Answer]:
    """The names of the tools that went up, the body, and the answer."""
    provider = FakeProvider()
    async with gateway(provider) as app:
        answer = await ask(app, "POST", PATHS[client], {"model": f"{upstream}_server/m", "max_tokens": 99, **fields})
    assert answer.status == 200, answer.body
    tools = provider.last.json.get("tools", [])
    return [tool.get("function", tool)["name"] for tool in tools], provider.last.json, answer


@pytest.mark.parametrize(
    ("messages", "more", "offered"),
    [
        ([HELLO], {}, ["ToolSearch", "plain"]),
        (found("a"), {}, ["ToolSearch", "a", "plain"]),
        (found("a", "b"), {}, ["ToolSearch", "a", "b", "plain"]),
        (found("unknown"), {}, ["ToolSearch", "plain"]),
        (CALLED, {}, ["ToolSearch", "a", "plain"]),
        ([HELLO], {"tool_choice": {"type": "tool", "name": "b"}}, ["ToolSearch", "b", "plain"]),
    ],
)
@pytest.mark.parametrize("upstream", ["chat", "responses"])
async def test_a_deferred_tool_is_offered_once_it_was_found(
    upstream: Dialect, messages: Any, more: Any, offered: list[str]
) -> None:
    plain = deferred("plain") | {"defer_loading": False}
    names, body, answer = await sent(
        upstream, messages=messages, tools=[SEARCH, deferred("a"), deferred("b"), plain], **more
    )
    assert names == offered
    assert "defer_loading" not in str(body)
    assert "tools.defer_loading" not in answer.headers.get("x-plano-dropped", "")


@pytest.mark.parametrize("kind", ["tool_search_tool_regex_20251119", "tool_search_tool_bm25_20251119"])
@pytest.mark.parametrize("upstream", ["chat", "responses"])
async def test_tools_that_only_anthropic_could_find_are_offered_at_once(upstream: Dialect, kind: str) -> None:
    tools = [{"type": kind, "name": "tool_search_tool_regex"}, deferred("a")]
    names, _, answer = await sent(upstream, messages=[HELLO], tools=tools)
    assert names == ["a"]
    assert {"tools.type", "tools.defer_loading"} <= set(answer.headers["x-plano-dropped"].split(", "))


@pytest.mark.parametrize("upstream", ["chat", "responses"])
async def test_tools_are_offered_at_once_if_there_are_no_others(upstream: Dialect) -> None:
    names, _, answer = await sent(upstream, messages=[HELLO], tools=[deferred("a")])
    assert names == ["a"]
    assert "tools.defer_loading" in answer.headers["x-plano-dropped"]


async def test_a_server_of_the_messages_api_gets_all_of_them() -> None:
    tools = [SEARCH, deferred("a")]
    _, body, _ = await sent("messages", messages=[HELLO], tools=tools)
    assert body["tools"] == tools


async def test_an_estimate_counts_what_is_offered() -> None:
    async with gateway(FakeProvider()) as app:
        counts = []
        for tools in ([SEARCH], [SEARCH, deferred("a")], [SEARCH, deferred("a") | {"defer_loading": False}]):
            body = {"model": "chat_server/m", "messages": [HELLO], "tools": tools}
            counts.append((await ask(app, "POST", "/v1/messages/count_tokens", body)).json()["input_tokens"])
    assert counts[0] == counts[1] < counts[2]


# --- with the search of OpenAI's clients ------------------------------------------------------------

RESPONSES_SEARCH = {"type": "tool_search", "execution": "client", "parameters": {"type": "object"}}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}
DEFERRED_FUNCTION = FUNCTION | {"defer_loading": True}
FOUND = [
    {"type": "tool_search_call", "call_id": "c1", "execution": "client", "status": "completed", "arguments": {}},
    {"type": "tool_search_output", "call_id": "c1", "execution": "client", "tools": [DEFERRED_FUNCTION]},
]


@pytest.mark.parametrize(
    ("items", "offered"), [([], ["tool_search"]), (FOUND, ["tool_search", "f"])], ids=["not found", "found"]
)
@pytest.mark.parametrize("upstream", ["chat", "messages"])
async def test_a_function_that_is_deferred_is_offered_once_it_was_found(
    upstream: Dialect, items: list[Any], offered: list[str]
) -> None:
    tools, input = [RESPONSES_SEARCH, DEFERRED_FUNCTION], [HELLO, *items]
    names, body, answer = await sent(upstream, "responses", input=input, tools=tools, max_tokens=None)
    assert names == offered
    assert "defer_loading" not in str(body)
    assert "tools.defer_loading" not in answer.headers.get("x-plano-dropped", "")
