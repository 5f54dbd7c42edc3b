"""Requests that may be sent a second time, and those that may not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plano import Request
from plano.types import Dialect
from plano.upstream.repeatable import may_hedge, repeatable
from tests.test_vendor_rules import asked_in

FUNCTION = {"type": "function", "name": "shell", "parameters": {}}

TABLE: list[tuple[Dialect, dict[str, Any], str, bool]] = [
    ("chat", {}, "any", True),
    ("messages", {}, "any", True),
    ("responses", {}, "any", True),
    ("responses", {"background": True}, "unsent", False),
    ("responses", {"background": False}, "any", True),
    ("responses", {"background": None}, "any", True),
    ("responses", {"store": True}, "any", False),
    ("chat", {"store": True}, "any", False),
    ("responses", {"store": False}, "any", True),
    ("responses", {"store": None}, "any", True),
    ("responses", {"tools": [{"type": "mcp", "server_label": "a", "server_url": "https://a.test"}]}, "unsent", False),
    ("chat", {"tools": [{"type": "mcp", "server_label": "a"}]}, "unsent", False),
    ("messages", {"mcp_servers": [{"type": "url", "url": "https://a.test", "name": "a"}]}, "unsent", False),
    ("messages", {"mcp_servers": []}, "any", True),
    ("messages", {"tools": [{"type": "mcp_toolset", "mcp_server_name": "a"}]}, "unsent", False),
    ("responses", {"tools": [FUNCTION, {"type": "computer_use_preview"}]}, "unsent", False),
    ("responses", {"tools": [{"type": "computer"}]}, "unsent", False),
    ("responses", {"tools": [{"type": "computer-preview"}]}, "unsent", False),
    ("messages", {"tools": [{"type": "computer_20250124", "name": "computer"}]}, "unsent", False),
    ("responses", {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, "unsent", False),
    ("messages", {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}, "unsent", False),
    ("responses", {"tools": [{"type": "shell"}]}, "unsent", False),
    ("responses", {"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}, "unsent", False),
    ("responses", {"tools": [{"type": "shell", "environment": {"type": "local"}}]}, "any", True),
    ("responses", {"tools": [{"type": "local_shell"}]}, "any", True),
    ("responses", {"tools": [{"type": "image_generation"}]}, "unsent", False),
    ("messages", {"tools": [{"type": "bash_20250124", "name": "bash"}]}, "any", True),
    ("messages", {"tools": [{"type": "text_editor_20250728", "name": "a"}]}, "any", True),
    ("messages", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "any", True),
    ("responses", {"tools": [{"type": "web_search"}, {"type": "file_search"}]}, "any", True),
    ("responses", {"tools": [FUNCTION]}, "any", True),
    ("messages", {"tools": [{"name": "mcp__github__search", "input_schema": {}}]}, "any", True),
    ("chat", {"tools": [{"type": "function", "function": {"name": "image_generation"}}]}, "any", True),
    ("chat", {"metadata": {"background": "true", "store": "true"}}, "any", True),
    ("chat", {"tools": "mcp", "x": {"mcp": 1}}, "unsent", False),  # not understood
]


@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize(("dialect", "fields", "again", "hedged"), TABLE)
def test_effects_beside_the_reply_forbid_repetition(
    dialect: Dialect, fields: dict[str, Any], again: str, hedged: bool, spaced: bool
) -> None:
    separators = (" , ", " : ") if spaced else (",", ":")
    raw = json.dumps(asked_in(dialect, **fields), separators=separators).encode()
    request = Request(dialect=dialect, raw=raw)
    assert (repeatable(request), may_hedge(request)) == (again, hedged)


def test_only_replies_have_effects() -> None:
    raw = json.dumps(asked_in("messages", tools=[{"type": "mcp_toolset"}])).encode()
    counting = Request(dialect="messages", raw=raw, operation="count_tokens")
    assert (repeatable(counting), may_hedge(counting)) == ("any", False)


def test_a_text_that_speaks_of_effects_has_none() -> None:
    text = json.dumps({"tools": [{"type": "mcp"}], "background": True, "store": True})
    request = Request(dialect="chat", raw=json.dumps({"messages": [{"role": "user", "content": text}]}).encode())
    assert (repeatable(request), may_hedge(request)) == ("any", True)
