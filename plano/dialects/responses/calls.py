"""Converts calls for the client: those of custom tools and searches become such again, and an id carries a seal."""

from __future__ import annotations

from msgspec.structs import replace

from plano.conversation import Conversation, ToolCall
from plano.dialects.call_seals import sealed_id
from plano.dialects.custom_tools import unwrap


class Calls:
    """The client's custom tools and searches, by name."""

    __slots__ = ("_custom", "_search")

    def __init__(self, asked: Conversation) -> None:
        self._custom = frozenset(tool.name for tool in asked.tools if tool.kind == "custom")
        self._search = frozenset(tool.name for tool in asked.tools if tool.kind == "search")

    def is_custom(self, part: ToolCall) -> bool:
        """Whether the client knows the tool as a custom one."""
        return part.kind == "custom" or part.name in self._custom

    def named(self, part: ToolCall) -> ToolCall:
        """The call with the kind that the client knows its tool as; its arguments are as they were."""
        if self.is_custom(part):
            return replace(part, kind="custom")
        return replace(part, kind="search") if part.name in self._search else part

    def is_wrapped(self, part: ToolCall) -> bool:
        """Whether the call's arguments are JSON around the free text that the client expects."""
        return part.kind == "function" and part.name in self._custom

    def restored(self, part: ToolCall) -> ToolCall:
        """The call as the client knows it. A function's arguments are JSON, and so never empty."""
        if self.is_wrapped(part):
            part = replace(part, arguments=unwrap(part.arguments))
        part = self.named(part)
        if part.kind == "function" and not part.arguments:
            part = replace(part, arguments="{}")
        return with_seal(part)


def with_seal(part: ToolCall) -> ToolCall:
    """The call with the id that its client gets."""
    id_ = sealed_id(part.id, part.extras)
    return part if id_ == part.id else replace(part, id=id_)
