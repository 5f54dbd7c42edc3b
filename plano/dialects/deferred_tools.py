"""Withholds tools whose loading is deferred, for APIs that cannot do it, until a search of the client's has found them.

A client may send all its tools and mark some with `defer_loading`. The model does not see those before a search names
them, by a `tool_reference` in its result (Anthropic, "Tool search tool", sections "Deferred tool loading" and "Custom
tool search implementation") or as a tool in its output (OpenAI, "Tool search"). If the API itself was to do the search,
nobody else can, so the tools are offered at once, and the mark is reported.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Raw, Struct
from msgspec.json import Decoder
from msgspec.structs import replace

from plano.conversation import Conversation, Text, Tool, ToolCall, ToolResult
from plano.dialects import reading

FIELD = "defer_loading"

REFERENCE = "tool_reference"
"""The type of a block that names a tool, and the field of the extras that keeps the whole block."""

_SERVER_SEARCH = "tool_search_tool_"
"""The beginning of the types of Anthropic's own searches."""


_TRUE = Raw(b"true")


class _Reference(Struct):
    tool_name: str = ""


class _Typed(Struct):
    type: str = ""


_REFERENCE = Decoder(_Reference)
_TYPED = Decoder(_Typed)


def is_deferred(tool: Tool) -> bool:
    return any(fields.get(FIELD) == _TRUE for fields in tool.extras.values())


def loaded(tool: Tool) -> Tool:
    """A tool that was found. That its loading was deferred asks for nothing any more."""
    extras = {
        dialect: {name: raw for name, raw in own.items() if name != FIELD} for dialect, own in tool.extras.items()
    }
    return replace(tool, extras={dialect: own for dialect, own in extras.items() if own})


def without_deferred(conversation: Conversation) -> Conversation:
    """The conversation without the tools that its model shall not see yet."""
    tools = conversation.tools
    if not any(map(is_deferred, tools)) or not _is_searched_by_client(conversation):
        return conversation
    at_once = {tool.name for tool in tools if not is_deferred(tool)}
    found = set(_named(conversation)) - at_once
    kept = tuple(loaded(tool) for tool in tools if tool.name in found or not is_deferred(tool))
    return replace(conversation, tools=kept) if kept else conversation


def _is_searched_by_client(conversation: Conversation) -> bool:
    if conversation.dialect == "responses":
        return any(tool.kind == "search" for tool in conversation.tools)
    return not any(map(_searches, conversation.tools))


def _searches(tool: Tool) -> bool:
    """Whether this is Anthropic's own search."""
    found = None if tool.raw is None else reading.maybe(_TYPED, tool.raw)
    return found is not None and found.type.startswith(_SERVER_SEARCH)


def _named(conversation: Conversation) -> Iterator[str]:
    """The names of tools that were found, called or chosen."""
    choice = conversation.tool_choice
    if choice is not None:
        yield from (choice.name or "", *choice.names)
    for message in conversation.messages:
        for part in message.parts:
            if isinstance(part, ToolCall):
                yield part.name
            elif isinstance(part, ToolResult):
                yield from (referred(each) for each in part.parts if isinstance(each, Text))


def referred(part: Text) -> str:
    """The tool that a text stands for; "" for any other text."""
    raw = part.extras.get("messages", {}).get(REFERENCE)
    found = None if raw is None else reading.maybe(_REFERENCE, raw)
    return "" if found is None else found.tool_name
