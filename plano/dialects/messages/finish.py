"""Stop reasons, written; `plano.dialects.finish` reads them, and docs/translation.md has the whole table."""

from __future__ import annotations

from collections.abc import Iterable

from plano.conversation import Finish, Part, Refusal

_WRITTEN: dict[Finish, str] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "context_window": "model_context_window_exceeded",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
    "pause": "pause_turn",
}


def write_finish(finish: Finish, *, refused: bool) -> str:
    """Write a `stop_reason`. `refused`: the reply holds a Refusal, which other dialects end with a plain stop."""
    return "refusal" if refused and finish == "stop" else _WRITTEN[finish]


def refuses(parts: Iterable[Part]) -> bool:
    """Whether a reply with these parts is a refusal."""
    return any(isinstance(part, Refusal) for part in parts)
