"""What one vendor takes in a conversation and another must not get: names and ids that are too long, and a header.

OpenAI takes tool names of 64 characters (API reference, Chat, `tools.function.name`); agents that speak Anthropic's API
and name an MCP server's tools after the server make longer ones. Of a call's id OpenAI takes 40 characters in chat and
64 in responses: its errors say so, its reference does not. Names are made whole again in the reply.

Claude Code puts `x-anthropic-billing-header` at the beginning of its system prompt. It says nothing to a model, and is
another one with each request, so that whoever caches by prefix would have to read every prompt anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from msgspec.structs import replace

from plano.conversation import Conversation, Losses, Part, System, ToolCall, ToolChoice, ToolResult
from plano.types import Dialect

LONGEST_NAME = 64
_LONGEST_ID: Mapping[Dialect, int] = {"chat": 40, "responses": 64}

_BILLING = "x-anthropic-billing-header:"

_DIGITS = 8
"""Of a text's SHA-256, at the end of what is left of it: the same text always becomes the same."""


def cut(text: str, longest: int) -> str:
    """At most `longest` characters that stand for `text`: itself where it is not longer."""
    if len(text) <= longest:
        return text
    digest = sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{text[: longest - _DIGITS - 1]}_{digest[:_DIGITS]}"


def fitted(conversation: Conversation, dialect: Dialect, losses: Losses) -> Conversation:
    """The conversation with nothing of this in it. One that was asked in `dialect` stays as it is."""
    longest = _LONGEST_ID.get(dialect)
    if longest is None or not conversation.is_foreign_to(dialect):
        return conversation
    if conversation.system and conversation.system[0].text.startswith(_BILLING):
        losses.drop("system.x-anthropic-billing-header", "it means something to Anthropic alone")
        conversation = replace(conversation, system=_without_first_line(conversation.system))
    if _fits(conversation, longest):
        return conversation
    choice = conversation.tool_choice
    return replace(
        conversation,
        tools=tuple(replace(tool, name=cut(tool.name, LONGEST_NAME)) for tool in conversation.tools),
        tool_choice=choice if choice is None else _choice(choice),
        messages=tuple(
            replace(message, parts=tuple(_part(part, longest) for part in message.parts))
            for message in conversation.messages
        ),
    )


def cut_names(conversation: Conversation, dialect: Dialect) -> dict[str, str]:
    """The whole names of the tools whose names are cut for `dialect`, by what is left of them."""
    if dialect not in _LONGEST_ID or not conversation.is_foreign_to(dialect):
        return {}
    return {cut(tool.name, LONGEST_NAME): tool.name for tool in conversation.tools if len(tool.name) > LONGEST_NAME}


def whole(part: Part, names: Mapping[str, str]) -> Part:
    """A part of a reply, by the name that the client knows."""
    return replace(part, name=names[part.name]) if isinstance(part, ToolCall) and part.name in names else part


def _without_first_line(system: tuple[System, ...]) -> tuple[System, ...]:
    text = system[0].text.partition("\n")[2].lstrip("\n")
    return (replace(system[0], text=text), *system[1:]) if text else system[1:]


def _fits(conversation: Conversation, longest: int) -> bool:
    if any(len(tool.name) > LONGEST_NAME for tool in conversation.tools):
        return False
    return all(_part(part, longest) is part for message in conversation.messages for part in message.parts)


def _choice(choice: ToolChoice) -> ToolChoice:
    name = None if choice.name is None else cut(choice.name, LONGEST_NAME)
    return replace(choice, name=name, names=tuple(cut(each, LONGEST_NAME) for each in choice.names))


def _part(part: Part, longest: int) -> Part:
    if isinstance(part, ToolCall) and (len(part.id) > longest or len(part.name) > LONGEST_NAME):
        return replace(part, id=cut(part.id, longest), name=cut(part.name, LONGEST_NAME))
    if isinstance(part, ToolResult) and len(part.call_id) > longest:
        return replace(part, call_id=cut(part.call_id, longest))
    return part
