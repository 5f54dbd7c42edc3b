"""Converts calls for the client: a custom tool's call becomes one again, and a chat upstream's field goes with it."""

from __future__ import annotations

from msgspec.structs import replace

from plano.conversation import Conversation, Extras, ToolCall
from plano.dialects.custom_tools import unwrap

_REPLAYED = "extra_content"
"""A field of calls that a chat upstream wants back (Gemini's thought signature); the client carries it."""


class Calls:
    """The client's custom tools, by name."""

    __slots__ = ("_custom",)

    def __init__(self, asked: Conversation) -> None:
        self._custom = frozenset(tool.name for tool in asked.tools if tool.kind == "custom")

    def is_custom(self, part: ToolCall) -> bool:
        """Whether the client knows the tool as a custom one."""
        return part.kind == "custom" or part.name in self._custom

    def is_wrapped(self, part: ToolCall) -> bool:
        """Whether the call's arguments are JSON around the free text that the client expects."""
        return part.kind == "function" and part.name in self._custom

    def restored(self, part: ToolCall) -> ToolCall:
        """The call as the client knows it. A function's arguments are JSON, and so never empty."""
        if self.is_wrapped(part):
            part = replace(part, kind="custom", arguments=unwrap(part.arguments))
        elif part.kind == "function" and not part.arguments:
            part = replace(part, arguments="{}")
        extras = with_replayed(part.extras)
        return part if extras is part.extras else replace(part, extras=extras)


def with_replayed(extras: Extras) -> Extras:
    """The extras with the chat upstream's field, if it is there, among this dialect's."""
    found = extras.get("chat", {}).get(_REPLAYED)
    return extras if found is None else {"responses": {**extras.get("responses", {}), _REPLAYED: found}}
