"""Reads tools and the choice among them from a request; writes them into a request or a reply's echo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Raw

from plano.conversation import Conversation, Tool, ToolChoice
from plano.dialects import reading, tool_schema, web_search
from plano.dialects.fields import BOOLEAN, NULL, RAWS, STRING, Fields, decode, object_at
from plano.dialects.responses import tool_search
from plano.errors import InvalidRequest
from plano.losses import Losses, refuse

_MODES: dict[str, Literal["auto", "none", "required"]] = {"auto": "auto", "none": "none", "required": "required"}


def read_tools(raws: list[Raw], path: str) -> tuple[Tool, ...]:
    """Read `tools`; `path` is the list's path, for errors."""
    return tuple(_read_tool(raw, f"{path}[{index}]") for index, raw in enumerate(raws))


def _read_tool(raw: Raw, path: str) -> Tool:
    """Read one tool. Hosted tools, MCP servers and namespaces are `native`: they are kept whole, in `raw`."""
    tool = object_at(raw, path)
    type_ = tool.need("type", STRING)
    if type_ == "function":
        return _read_function(tool)
    if type_ == "custom":
        return Tool(
            name=tool.need("name", STRING),
            kind="custom",
            description=tool.take("description", STRING),
            format=tool.raw("format"),
            extras=tool.extras("responses"),
        )
    if type_ == tool_search.NAME and tool_search.by_client(tool):
        return tool_search.read_tool(tool)
    label = tool.take("name", STRING) or tool.take("server_label", STRING)
    return Tool(name=label or type_, kind="native", dialect="responses", raw=raw)


def _read_function(tool: Fields) -> Tool:
    return Tool(
        name=tool.need("name", STRING),
        description=tool.take("description", STRING),
        parameters=tool.raw_object("parameters"),
        strict=tool.take("strict", BOOLEAN),
        extras=tool.extras("responses"),
    )


def read_choice(raw: Raw, path: str) -> ToolChoice | None:
    """Read `tool_choice`; None if it is null."""
    if raw == NULL:
        return None
    if bytes(memoryview(raw)[:1]) == b'"':
        mode = _MODES.get(decode(STRING, raw, path) or "")
        if mode is None:
            raise InvalidRequest(f"Invalid `{path}`: expected one of auto, none, required.", param=path)
        return ToolChoice(mode=mode)
    choice = object_at(raw, path)
    type_ = choice.need("type", STRING)
    if type_ in ("function", "custom"):
        return ToolChoice(
            mode="named", name=choice.need("name", STRING), kind="custom" if type_ == "custom" else "function"
        )
    if type_ == "allowed_tools":
        return _read_allowed(choice, raw)
    return _native(raw)


def _read_allowed(choice: Fields, raw: Raw) -> ToolChoice:
    """Read a limit to some tools. Only this dialect can say one that names hosted tools, so that is `native`."""
    names = []
    mode = choice.take("mode", STRING)
    tools = choice.need("tools", RAWS)
    for index, entry in enumerate(tools):
        tool = object_at(entry, f"{choice.at('tools')}[{index}]")
        type_, name = tool.take("type", STRING), tool.take("name", STRING)
        if type_ not in ("function", "custom") or name is None or tool.rest():
            return _native(raw)
        names.append(name)
    return ToolChoice(mode="allowed", names=tuple(names), required=mode == "required")


def _native(raw: Raw) -> ToolChoice:
    return ToolChoice(mode="native", dialect="responses", raw=raw)


# --- writing ---------------------------------------------------------------------------------------


def write_tools(conversation: Conversation, losses: Losses) -> list[Any]:
    """The `tools` of a request.

    Raises:
        UnsupportedConversion: the model is forced to call a tool that this API does not have.
    """
    written: list[Any] = []
    for tool in conversation.tools:
        if tool.found_by is not None:
            continue  # it stands in the output of its search
        if tool.cache is not None:
            losses.drop("tools.cache_control", "the responses API caches without marks on tools")
        losses.drop_extras(tool.extras, "responses", "tools.")
        if tool.kind != "native":
            written.append(write_tool(tool, losses, foreign=conversation.is_foreign_to("responses")))
        elif tool.dialect == "responses":
            written.append(tool.raw)
        elif (searching := web_search.for_responses(tool, losses)) is not None:
            written.append(searching)
        else:
            _refuse_if_forced(tool, conversation.tool_choice)
            losses.drop("tools.type", f"only the {tool.dialect} API has `{tool.name}`")
    return written


def write_tool(tool: Tool, losses: Losses, *, foreign: bool) -> dict[str, Any]:
    """Write one tool that is not native.

    A function of a `foreign` request without `strict` gets `strict: false`, because here the default is true ("Function
    calling", section "Strict mode"). Its schema becomes one object.
    """
    if tool.kind == "search":
        return tool_search.written_tool(tool) | dict(tool.extras.get("responses", {}))
    fields: dict[str, Any] = {"type": tool.kind, "name": tool.name}
    if tool.description is not None:
        fields["description"] = tool.description
    if tool.parameters is not None:
        fields["parameters"] = tool_schema.reported(tool.parameters, losses) if foreign else tool.parameters
    if tool.strict is not None:
        fields["strict"] = tool.strict
    elif foreign and tool.kind == "function":
        fields["strict"] = False
    if tool.format is not None:
        fields["format"] = _flat(tool.format)
    return fields | dict(tool.extras.get("responses", {}))


class _NestedGrammar(msgspec.Struct):
    type: Literal["grammar"]
    grammar: dict[str, Raw]


_NESTED_GRAMMAR = msgspec.json.Decoder(_NestedGrammar)


def _flat(format_: Raw) -> Any:
    """Write a custom tool's format. The chat API nests a grammar's syntax and definition one level deeper."""
    try:
        return {"type": "grammar", **_NESTED_GRAMMAR.decode(format_).grammar}
    except reading.UNREADABLE:
        return format_


def _refuse_if_forced(tool: Tool, choice: ToolChoice | None) -> None:
    if choice is not None and choice.mode == "named" and choice.name == tool.name:
        raise refuse("tool_choice", f"it forces `{tool.name}`, a tool that only the {tool.dialect} API has")


def write_choice(conversation: Conversation) -> Any:
    """The `tool_choice` of a conversation that has one.

    Raises:
        UnsupportedConversion: only another dialect has this choice.
    """
    choice = conversation.tool_choice
    assert choice is not None, "the caller asks only for a choice that was made"
    kinds = {tool.name: tool.kind for tool in conversation.tools}
    if choice.mode == "named":
        named = (tool for tool in conversation.tools if tool.name == choice.name)
        if any(web_search.for_responses(tool, Losses()) is not None for tool in named):
            return {"type": web_search.NAME}
        return {"type": _kind(kinds, choice.name or "", choice.kind), "name": choice.name}
    if choice.mode == "allowed":
        return {
            "type": "allowed_tools",
            "mode": "required" if choice.required else "auto",
            "tools": [{"type": _kind(kinds, name, "function"), "name": name} for name in choice.names],
        }
    if choice.mode == "native":
        if choice.dialect != "responses":
            raise refuse("tool_choice", f"only the {choice.dialect} API has this choice")
        return choice.raw
    return choice.mode


def _kind(kinds: Mapping[str, str], name: str, otherwise: str) -> str:
    """The type by which a choice refers to the tool `name`."""
    kind = kinds.get(name, otherwise)
    return kind if kind in ("function", "custom") else otherwise
