"""Finish reasons, read and written; docs/translation.md has the whole table."""

from __future__ import annotations

from plano.conversation import Finish

_READ: dict[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    # not OpenAI's: words that compatible servers were seen to pass through from the API behind them
    "max_tokens": "length",
    "model_length": "length",
    "tool_use": "tool_calls",
    "safety": "content_filter",
    "refusal": "refusal",
}

_WRITTEN: dict[Finish, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "context_window": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "pause": "stop",
}

BROKEN = "error"
"""The finish reason with which OpenRouter and Mistral end a reply that failed half way."""


def read_finish(reason: str | None, *, called: bool) -> Finish:
    """Read a finish reason. `called`: the reply holds tool calls; many servers say `stop` for those too."""
    finish = _READ.get((reason or "").lower(), "stop")
    return "tool_calls" if called and finish == "stop" else finish


def write_finish(finish: Finish, *, legacy: bool = False) -> str:
    """Write a finish reason. `legacy`: the client asked with `functions`, and knows only `function_call`."""
    written = _WRITTEN[finish]
    return "function_call" if legacy and written == "tool_calls" else written
