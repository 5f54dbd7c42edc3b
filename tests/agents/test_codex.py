"""Codex: tool loops, MCP tools behind its `tool_search`, compressed requests, compaction on both sides."""

from __future__ import annotations

import base64
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from plano.testing import tool_call
from plano.types import CLIENT_DIALECTS, Dialect
from tests.agents import mcp_server
from tests.agents.command import run
from tests.agents.scripted import (
    COMPACTED,
    DONE,
    PROMPT,
    SIDE_ANSWER,
    Loop,
    Step,
    gateway,
    history,
    says,
    shell,
    stream_of,
)

pytestmark = [pytest.mark.agents, pytest.mark.parametrize("upstream", CLIENT_DIALECTS)]

NAMES = ["up/m", "fast-model", "gpt-5.5"]
"""A provider's model, an alias, and a name that the program knows, so that it offers MCP tools by `tool_search`."""

SHELLS = [shell("exec_command", "cmd", turn) for turn in range(3)]

KEY = """
model_provider = "plano"
[model_providers.plano]
name = "plano"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "PLANO_KEY"
"""
"""The way in which this gateway's users configure it."""

CHATGPT = """
openai_base_url = "{url}/v1"
chatgpt_base_url = "{url}/nowhere/"
"""
"""OpenAI's own provider, with the credentials of a ChatGPT account, at another address."""

MCP = f"""
[mcp_servers.desk]
command = {json.dumps(sys.executable)}
args = [{json.dumps(mcp_server.__file__)}]
"""


def ask(url: str, home: Path, model: str, *, provider: str = KEY, top: str = "", below: str = "") -> list[Any]:
    """The events that the program prints."""
    folder = home / ".codex"
    folder.mkdir()
    common = f'model = "{model}"\nmodel_reasoning_effort = "high"\ncheck_for_update_on_startup = false\n{top}\n'
    (folder / "config.toml").write_text(common + provider.format(url=url) + below)
    if provider == CHATGPT:
        (folder / "auth.json").write_text(json.dumps(signed_in()))
    arguments = ["exec", "--skip-git-repo-check", "--sandbox", "danger-full-access", "--json", PROMPT]
    out = run(home, "codex", *arguments, environment={"PLANO_KEY": "any"})
    return [json.loads(line) for line in out.splitlines()]


def signed_in() -> dict[str, Any]:
    """Credentials of a ChatGPT account, which nobody but OpenAI's own server checks."""
    claims = {"chatgpt_plan_type": "pro", "chatgpt_account_id": "acc-1", "chatgpt_user_id": "user-1"}
    payload = {"email": "a@example.com", "exp": 4_102_444_800, "https://api.openai.com/auth": claims}
    token = ".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=").decode()
        for part in (b'{"alg":"none","typ":"JWT"}', json.dumps(payload).encode(), b"sig")
    )
    tokens = {"id_token": token, "access_token": token, "refresh_token": "r", "account_id": "acc-1"}
    return {
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": None,
        "tokens": tokens,
        "last_refresh": datetime.now(UTC).isoformat(),
    }


def messages_of(events: list[Any]) -> list[str]:
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    return [item["text"] for item in items if item["type"] == "agent_message"]


@pytest.mark.parametrize("model", NAMES)
def test_a_tool_loop_keeps_thinking_calls_and_results(upstream: Dialect, model: str, tmp_path: Path) -> None:
    loop = Loop(upstream, *SHELLS)
    with gateway(loop, *NAMES[1:]) as url:
        events = ask(url, tmp_path, model)
    assert messages_of(events) == [DONE]
    loop.hold(*map(says, range(3)))


def test_tools_of_an_mcp_server_are_called(upstream: Dialect, tmp_path: Path) -> None:
    loop = Loop(upstream, *(lookup(upstream, word) for word in ("sky", "sea", "sun")))
    with gateway(loop) as url:
        events = ask(url, tmp_path, "up/m", below=MCP)
    assert messages_of(events) == [DONE]
    assert results(loop)[-3:] == [mcp_server.meaning(word) for word in ("sky", "sea", "sun")]


def test_tools_of_an_mcp_server_are_found_by_a_search_and_called(upstream: Dialect, tmp_path: Path) -> None:
    query = {"query": "look a word up in the dictionary", "limit": 5}
    search: Step = tool_call("tool_search", query)
    if upstream == "responses":
        item = {"id": "ts_1", "type": "tool_search_call", "call_id": "call_s", "execution": "client"}
        whole = stream_of(item | {"status": "completed", "arguments": query})
        search = lambda recorded: whole  # noqa: E731
    loop = Loop(upstream, search, *(lookup(upstream, word) for word in ("sky", "sea")))
    with gateway(loop, "gpt-5.5") as url:
        events = ask(url, tmp_path, "gpt-5.5", below=MCP)
    assert messages_of(events) == [DONE]
    assert b"Looks a word up in the dictionary" in loop.turns[1].body, "what was found is offered to the model"
    assert results(loop)[-2:] == [mcp_server.meaning(word) for word in ("sky", "sea")]


def lookup(upstream: Dialect, word: str) -> Step:
    """A call of the MCP server's tool. Over responses, the tool stands in a namespace."""
    if upstream != "responses":
        return tool_call("mcp__desk__lookup", {"word": word})
    item = {"id": f"fc_{word}", "type": "function_call", "call_id": f"call_{word}", "status": "completed"}
    named = {"name": "lookup", "namespace": "mcp__desk", "arguments": json.dumps({"word": word})}
    whole = stream_of(item | named)
    return lambda recorded: whole


def results(loop: Loop) -> list[str]:
    """The sentences of the MCP server in the last request, in order."""
    words = [mcp_server.meaning(word) for word in ("sky", "sea", "sun")]
    said = [said for kind, said in history(loop.turns[-1]) if kind == "result"]
    return [next((word for word in words if word in each), each) for each in said]


def test_a_turn_goes_on_after_its_history_was_compacted(upstream: Dialect, tmp_path: Path) -> None:
    loop = Loop(upstream, *SHELLS, full_after=1)
    with gateway(loop) as url:
        events = ask(url, tmp_path, "up/m", top="model_auto_compact_token_limit = 100000")
    assert messages_of(events) == [DONE]
    hold_compacted(loop)


def hold_compacted(loop: Loop, summary: str = SIDE_ANSWER) -> None:
    """The model was asked for a summary of two turns, which then stood for them."""
    (asked,) = loop.others
    kinds = ["thinking", "call", "result"]
    assert [kind for kind, _ in history(asked)] == kinds * 2
    assert says(1) in history(asked)[-1][1]
    after, last = loop.turns[2:]
    assert history(after) == []
    assert summary.encode() in after.body
    assert summary.encode() in last.body
    assert [kind for kind, _ in history(last)] == kinds
    assert says(2) in history(last)[-1][1]


def test_requests_of_a_chatgpt_account_are_compressed(upstream: Dialect, tmp_path: Path) -> None:
    loop = Loop(upstream, *SHELLS)
    with gateway(loop, "gpt-5.5") as url:
        events = ask(url, tmp_path, "gpt-5.5", provider=CHATGPT)
    assert messages_of(events) == [DONE]
    posts = [arrived for arrived in loop.arrived if arrived[:2] == ("POST", "/v1/responses")]
    assert [coding for _, _, coding in posts] == ["zstd"] * 4
    loop.hold(*map(says, range(3)))


def test_a_turn_goes_on_after_the_server_compacted_its_history(upstream: Dialect, tmp_path: Path) -> None:
    loop = Loop(upstream, *SHELLS, full_after=1)
    with gateway(loop, "gpt-5.5") as url:
        events = ask(url, tmp_path, "gpt-5.5", provider=CHATGPT, top="model_auto_compact_token_limit = 100000")
    assert messages_of(events) == [DONE]
    hold_compacted(loop, COMPACTED if upstream == "responses" else SIDE_ANSWER)
