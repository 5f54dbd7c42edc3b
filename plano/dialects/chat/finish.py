"""Finish reasons, written; `plano.dialects.finish` reads them, and docs/translation.md has the whole table."""

from __future__ import annotations

from plano.conversation import Finish

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


def write_finish(finish: Finish, *, legacy: bool = False) -> str:
    """Write a finish reason. `legacy`: the client asked with `functions`, and knows only `function_call`."""
    written = _WRITTEN[finish]
    return "function_call" if legacy and written == "tool_calls" else written
