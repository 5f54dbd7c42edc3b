"""Fits a conversation to the limits of another vendor: names and ids that are too long, tools in namespaces, and a
header that only one vendor understands.

OpenAI takes tool names of 64 characters (API reference, Chat, `tools.function.name`). Agents that speak Anthropic's API
and name an MCP server's tools after the server make longer ones. OpenAI takes ids of calls of 40 characters in chat and
64 in responses: its errors say so, its reference does not. In a reply the client sees its own names.

Claude Code puts `x-anthropic-billing-header` at the beginning of its system prompt. It means nothing to a model, and it
differs in each request, so that a vendor that caches by prefix would have to read every prompt anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from plano.conversation import Conversation, Part, System, Tool, ToolCall, ToolChoice, ToolResult
from plano.dialects import CODECS, deferred_tools
from plano.dialects.fields import STRING, raw_of
from plano.dialects.reading import maybe
from plano.dialects.responses import tool_search
from plano.dialects.responses.tools import read_tools
from plano.losses import Losses
from plano.types import UpstreamDialect

LONGEST_NAME = 64
"""The most characters of the names that are made up here for tools in namespaces."""

_BILLING = "x-anthropic-billing-header:"

_DIGITS = 8
"""The number of hexadecimal digits, of the whole text's SHA-256, that end a shortened text."""


def cut(text: str, longest: int) -> str:
    """Shorten `text` to `longest` characters, if it is longer. Equal texts stay equal."""
    if len(text) <= longest:
        return text
    digest = sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{text[: longest - _DIGITS - 1]}_{digest[:_DIGITS]}"


class Name(NamedTuple):
    """The name by which a client calls a tool."""

    name: str
    namespace: str | None


def fitted(
    conversation: Conversation, dialect: UpstreamDialect, losses: Losses, most_tokens: int | None = None
) -> Conversation:
    """Fit a conversation to the API of `dialect`; one that was asked in that dialect does not change.

    Vendors refuse a limit above `most_tokens`, the most that their model can give. Agents that were made for other
    models ask for more; Claude Code asks for 32 000.
    """
    if not conversation.is_foreign_to(dialect):
        return conversation
    if conversation.system and conversation.system[0].text.startswith(_BILLING):
        losses.drop("system.x-anthropic-billing-header", "it means something to Anthropic alone")
        conversation = replace(conversation, system=_without_first_line(conversation.system))
    conversation = deferred_tools.without_deferred(conversation)
    longest = CODECS[dialect].conventions.longest_id
    if most_tokens is not None and (conversation.max_tokens or 0) > most_tokens:
        losses.drop("max_tokens", f"the model gives {most_tokens} at most; sent as that")
        conversation = replace(conversation, max_tokens=most_tokens)
    if _fits(conversation, dialect, longest):
        return conversation
    choice = conversation.tool_choice
    return replace(
        conversation,
        tools=tuple(replace(tool, name=_sent(name, dialect)) for tool, name in _tools(conversation)),
        tool_choice=choice if choice is None else _choice(choice, dialect),
        messages=tuple(
            replace(message, parts=tuple(_part(part, dialect, longest) for part in message.parts))
            for message in conversation.messages
        ),
    )


def client_names(conversation: Conversation, dialect: UpstreamDialect) -> dict[str, Name]:
    """The client's names of tools by their names in `dialect`, where the two differ."""
    if not conversation.is_foreign_to(dialect):
        return {}
    named = ((_sent(name, dialect), name) for _, name in _tools(conversation))
    return {sent: name for sent, name in named if sent != name.name}


def by_client(part: Part, names: Mapping[str, Name]) -> Part:
    """A part of a reply, with the tool's name that the client knows."""
    if not isinstance(part, ToolCall) or (found := names.get(part.name)) is None:
        return part
    if found.namespace is None:
        return replace(part, name=found.name)
    own = {**part.extras.get("responses", {}), "namespace": raw_of(found.namespace)}
    return replace(part, name=found.name, extras={**part.extras, "responses": own})


def _tools(conversation: Conversation) -> Iterator[tuple[Tool, Name]]:
    """All tools, those in namespaces too, each with the client's name for it."""
    for tool in conversation.tools:
        if (found := _namespace(tool)) is None:
            yield tool, Name(tool.name, None)
        else:
            for inner in read_tools(found.tools, "tools"):
                offered = tool_search.loaded(inner, tool.found_by) if tool.found_by else inner
                yield offered, Name(inner.name, found.name)


class _Namespace(msgspec.Struct, tag_field="type", tag="namespace"):
    name: str
    tools: list[msgspec.Raw] = []


_NAMESPACE = msgspec.json.Decoder(_Namespace)


def _namespace(tool: Tool) -> _Namespace | None:
    """The namespace that `tool` is, or None: functions and custom tools under one name (API reference, Responses,
    `tools`)."""
    return maybe(_NAMESPACE, tool.raw) if tool.dialect == "responses" and tool.raw is not None else None


def _sent(name: Name, dialect: UpstreamDialect) -> str:
    """The name that the upstream gets. A tool in a namespace is named as agents usually name tools of MCP servers."""
    if name.namespace is not None:
        return cut(f"{name.namespace}__{name.name}", LONGEST_NAME)
    longest = CODECS[dialect].conventions.longest_name
    return name.name if longest is None else cut(name.name, longest)


def _without_first_line(system: tuple[System, ...]) -> tuple[System, ...]:
    """The system texts without the first line of the first one."""
    text = system[0].text.partition("\n")[2].lstrip("\n")
    return (replace(system[0], text=text), *system[1:]) if text else system[1:]


def _fits(conversation: Conversation, dialect: UpstreamDialect, longest: int | None) -> bool:
    """Whether nothing in the conversation has to be changed for `dialect`."""
    if any(
        _namespace(tool) is not None or tool.name != _sent(Name(tool.name, None), dialect)
        for tool in conversation.tools
    ):
        return False
    return all(_part(part, dialect, longest) is part for message in conversation.messages for part in message.parts)


def _choice(choice: ToolChoice, dialect: UpstreamDialect) -> ToolChoice:
    name = None if choice.name is None else _sent(Name(choice.name, None), dialect)
    return replace(choice, name=name, names=tuple(_sent(Name(each, None), dialect) for each in choice.names))


def _part(part: Part, dialect: UpstreamDialect, longest: int | None) -> Part:
    """The part with names and ids that `dialect` takes; the same object if nothing has to be changed."""
    if isinstance(part, ToolCall):
        own = dict(part.extras.get("responses", ()))
        namespace = own.pop("namespace", None)
        name = _sent(Name(part.name, None if namespace is None else maybe(STRING, namespace)), dialect)
        id_ = part.id if longest is None else cut(part.id, longest)
        if (name, id_) == (part.name, part.id):
            return part
        return replace(part, name=name, id=id_, extras={**part.extras, "responses": own})
    if isinstance(part, ToolResult) and longest is not None and len(part.call_id) > longest:
        return replace(part, call_id=cut(part.call_id, longest))
    return part
