"""Stop reasons, read and written; docs/translation.md has the whole table."""

from __future__ import annotations

from collections.abc import Iterable

from plano.conversation import Finish, Part, Refusal

_READ: dict[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "max_tokens": "length",
    "model_context_window_exceeded": "context_window",
    "tool_use": "tool_calls",
    "refusal": "refusal",
    "pause_turn": "pause",
}

_WRITE: dict[Finish, str] = {finish: word for word, finish in _READ.items()} | {"content_filter": "refusal"}


def read_finish(stop_reason: str | None, *, called: bool) -> Finish:
    """Read a `stop_reason`. `called`: the reply holds tool calls; some servers say `end_turn`, or nothing, after
    them."""
    finish = _READ.get(stop_reason or "", "stop")
    return "tool_calls" if called and finish == "stop" else finish


def write_finish(finish: Finish, *, refused: bool) -> str:
    """Write a `stop_reason`. `refused`: the reply holds a Refusal, which other dialects end with a plain stop."""
    return "refusal" if refused and finish == "stop" else _WRITE[finish]


def refuses(parts: Iterable[Part]) -> bool:
    """Whether a reply with these parts is a refusal."""
    return any(isinstance(part, Refusal) for part in parts)
