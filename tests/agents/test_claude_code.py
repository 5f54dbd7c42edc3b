"""Claude Code: tool loops, MCP tools that it finds by a search, agents below it on the small model, compaction."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from plano.testing import tool_call
from plano.types import CLIENT_DIALECTS, Dialect
from tests.agents import mcp_server
from tests.agents.command import run
from tests.agents.scripted import DONE, PROMPT, SIDE_ANSWER, Loop, gateway, history, says, shell

pytestmark = [pytest.mark.agents, pytest.mark.parametrize("upstream", CLIENT_DIALECTS)]

NAMES = ["up/m", "fast-model", "claude-sonnet-4-5-20250929", "claude-opus-4-8"]
"""A provider's model, an alias, and names that the program knows."""

SMALL = "claude-haiku-4-5"
SHELLS = [shell("Bash", "command", turn) for turn in range(3)]
MCP = {"mcpServers": {"desk": {"command": sys.executable, "args": [mcp_server.__file__]}}}


def ask(url: str, home: Path, model: str, prompt: str = PROMPT, *more: str) -> Any:
    environment = {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "any",
        "ANTHROPIC_MODEL": model,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": SMALL,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "IS_SANDBOX": "1",  # lets root use the permission mode below
        "MAX_THINKING_TOKENS": "4000",
    }
    said = ["-p", prompt, "--output-format", "json", "--dangerously-skip-permissions", *more]
    return json.loads(run(home, "claude", *said, environment=environment))


@pytest.mark.parametrize("model", NAMES)
def test_a_tool_loop_keeps_thinking_calls_and_results(upstream: Dialect, model: str, tmp_path: Path) -> None:
    loop = Loop(upstream, *SHELLS)
    with gateway(loop, SMALL, *NAMES[1:]) as url:
        answer = ask(url, tmp_path, model)
    assert answer["result"] == DONE
    assert not answer["is_error"]
    loop.hold(*map(says, range(3)))


def test_tools_of_an_mcp_server_are_found_and_called(upstream: Dialect, tmp_path: Path) -> None:
    lookups = [tool_call("mcp__desk__lookup", {"word": word}) for word in ("sky", "sea")]
    loop = Loop(upstream, tool_call("ToolSearch", {"query": "select:mcp__desk__lookup", "max_results": 5}), *lookups)
    with gateway(loop, SMALL) as url:
        answer = ask(url, tmp_path, "up/m", PROMPT, "--mcp-config", json.dumps(MCP))
    assert answer["result"] == DONE
    names = [[tool.name for tool in turn.conversation.tools] for turn in loop.turns]
    assert ["mcp__desk__lookup" in offered for offered in names] == [False, True, True, True]
    if upstream != "messages":  # which withholds them itself
        assert not any("Placeholder" in name for offered in names for name in offered)
    loop.hold("mcp__desk__lookup", mcp_server.meaning("sky"), mcp_server.meaning("sea"))


def test_an_agent_below_it_runs_on_the_small_model(upstream: Dialect, tmp_path: Path) -> None:
    below = {"description": "Look", "prompt": "Look around.", "subagent_type": "general-purpose", "model": "haiku"}
    loop = Loop(upstream, tool_call("Agent", below | {"run_in_background": False}), SHELLS[1], SHELLS[2])
    with gateway(loop, SMALL) as url:
        answer = ask(url, tmp_path, "up/m")
    assert answer["result"] == DONE
    assert SMALL in answer["modelUsage"]
    loop.hold(SIDE_ANSWER, says(1), says(2))


def test_a_conversation_goes_on_after_it_was_compacted(upstream: Dialect, tmp_path: Path) -> None:
    loop = Loop(upstream, *SHELLS)
    with gateway(loop, SMALL) as url:
        session = ask(url, tmp_path, "up/m")["session_id"]
        ask(url, tmp_path, "up/m", "/compact", "--resume", session)
        assert history(loop.turns[-1]) == history(loop.turns[3]), "the summary is made of the whole conversation"
        answer = ask(url, tmp_path, "up/m", "Go on.", "--resume", session)
    assert answer["result"] == SIDE_ANSWER
    (last,) = [other for other in loop.others if b"Go on." in other.body]
    assert DONE.encode() in last.body, "what the model said stands for the conversation"
    assert history(last) == []
