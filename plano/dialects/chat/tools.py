"""Reads and writes tools and the choice among them.

Source: API reference, Chat, `tools`, `tool_choice`, and the deprecated `functions`, `function_call`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from plano.conversation import NO_EXTRAS, Conversation, Extras, Tool, ToolChoice
from plano.dialects import reading, tool_schema
from plano.dialects.chat.write_content import add_extras
from plano.dialects.custom_tools import SCHEMA
from plano.dialects.fields import BOOLEAN, STRING, Fields, Object, raw_of
from plano.losses import Losses, refuse

# --- reading ---


def read_tools(body: Fields) -> tuple[Tool, ...]:
    """The tools in `tools` and in the deprecated `functions`."""
    tools = tuple(_read_tool(tool) for tool in body.each("tools"))
    return tools + tuple(_read_function(function, legacy=True) for function in body.each("functions"))


def _read_tool(tool: Fields) -> Tool:
    whole = dict(tool.found)
    type_ = tool.take("type", STRING) or "function"
    if type_ not in ("function", "custom"):
        raw = raw_of(whole)
        return Tool(name=type_, kind="native", dialect="chat", raw=raw)
    inner = tool.need_nested(type_)
    read = _read_function(inner) if type_ == "function" else _read_custom(inner)
    cache, rest = tool.raw("cache_control"), tool.rest()
    if within := read.extras.get("chat"):
        rest[type_] = raw_of(within)
    # The empty extras say that the tool came in a chat body, so that its cache mark may go out in one.
    extras: Extras = {"chat": rest} if rest or cache is not None else NO_EXTRAS
    return msgspec.structs.replace(read, cache=cache, extras=extras)


def _read_function(function: Fields, *, legacy: bool = False) -> Tool:
    return Tool(
        name=function.need("name", STRING),
        description=function.take("description", STRING),
        parameters=function.raw("parameters"),
        strict=function.take("strict", BOOLEAN),
        dialect="chat" if legacy else None,
        extras=function.extras("chat"),
    )


def _read_custom(custom: Fields) -> Tool:
    return Tool(
        name=custom.need("name", STRING),
        kind="custom",
        description=custom.take("description", STRING),
        format=custom.raw("format"),
        dialect="chat",
        extras=custom.extras("chat"),
    )


def asks_for_functions(asked: Conversation) -> bool:
    """Whether the client asked with the deprecated `functions`, and so only reads `function_call`."""
    return any(tool.kind == "function" and tool.dialect == "chat" for tool in asked.tools)


_CHOICE = msgspec.json.Decoder(str | Object)


def read_choice(body: Fields) -> ToolChoice | None:
    """The choice in `tool_choice` or in the deprecated `function_call`."""
    raw = body.found.get("tool_choice")
    given = body.take("tool_choice", _CHOICE)
    if given is None:
        return _read_function_call(body)
    if isinstance(given, str):
        return _mode(given, raw)
    choice = Fields(given, body.at("tool_choice"))
    type_ = choice.take("type", STRING) or "function"
    if type_ == "allowed_tools" and (allowed := choice.nested("allowed_tools")) is not None:
        names = [_name_in(tool) for tool in allowed.each("tools")]
        if None not in names:  # otherwise it allows tools that only this API has
            required = allowed.take("mode", STRING) == "required"
            return ToolChoice(mode="allowed", names=tuple(name for name in names if name), required=required)
    if type_ == "function" and (function := choice.nested("function")) is not None:
        return ToolChoice(mode="named", name=function.need("name", STRING))
    if type_ == "custom" and (custom := choice.nested("custom")) is not None:
        return ToolChoice(mode="named", name=custom.need("name", STRING), kind="custom")
    return ToolChoice(mode="native", dialect="chat", raw=raw)


def _mode(given: str, raw: Raw | None) -> ToolChoice:
    """A choice that is one word; one that only this API has is `native`."""
    if given == "auto":
        return ToolChoice(mode="auto")
    if given == "none":
        return ToolChoice(mode="none")
    if given in ("required", "any"):  # Mistral's word
        return ToolChoice(mode="required")
    return ToolChoice(mode="native", dialect="chat", raw=raw)


def _name_in(tool: Fields) -> str | None:
    """The name of a tool that `allowed_tools` lists; None for one that only this API has."""
    type_ = tool.take("type", STRING) or "function"
    inner = tool.nested(type_) if type_ in ("function", "custom") else None
    return inner.need("name", STRING) if inner is not None else None


def _read_function_call(body: Fields) -> ToolChoice | None:
    raw = body.found.get("function_call")
    given = body.take("function_call", _CHOICE)
    if given is None:
        return None
    if isinstance(given, str):
        return _mode(given, raw)
    return ToolChoice(mode="named", name=Fields(given, body.at("function_call")).need("name", STRING))


# --- writing ---


def native_customs(conversation: Conversation) -> frozenset[str]:
    """The names of the custom tools that may be written as custom tools. Few compatible servers know those, so only
    tools that came in a chat body are."""
    return frozenset(tool.name for tool in conversation.tools if tool.kind == "custom" and tool.dialect == "chat")


def write_tools(conversation: Conversation, fields: dict[str, Any], losses: Losses) -> None:
    """Add `tools`, `tool_choice` and `parallel_tool_calls` to `fields`.

    Raises:
        UnsupportedConversion: a tool is forced that this API cannot be given.
    """
    foreign = conversation.is_foreign_to("chat")
    written = [tool for tool in (_write_tool(tool, losses, foreign) for tool in conversation.tools) if tool is not None]
    if written:
        fields["tools"] = written
    choice = conversation.tool_choice
    if choice is not None and choice.mode == "required" and conversation.tools and not written:
        raise refuse("tool_choice", "it asks for a tool call, and there is no tool that the chat API can be given")
    if choice is not None and not (choice.mode in ("auto", "none") and not written):
        fields["tool_choice"] = _write_choice(choice, conversation)
    if conversation.parallel_tool_calls is not None and written:  # the API refuses it without tools
        fields["parallel_tool_calls"] = conversation.parallel_tool_calls


def _write_tool(tool: Tool, losses: Losses, foreign: bool) -> Any:
    if tool.kind == "native":
        if tool.dialect == "chat":
            return tool.raw
        losses.drop("tools.type", f"only the {tool.dialect} API has `{tool.name}`")
        return None
    losses.drop_extras(tool.extras, "chat", "tools.")
    custom = tool.kind == "custom" and tool.dialect == "chat"
    kind = "custom" if custom else "function"
    inner = _write_custom(tool) if custom else _write_function(tool, losses, foreign)
    written: dict[str, Any] = {"type": kind, kind: inner}
    add_extras(written, tool.extras.get("chat", {}))
    if tool.cache is not None:
        if "chat" in tool.extras:
            written["cache_control"] = tool.cache
        else:
            losses.drop("tools.cache_control", "the chat API has no cache marks")
    return written


def _write_function(tool: Tool, losses: Losses, foreign: bool) -> dict[str, Any]:
    """Write a function. The schema of a `foreign` request becomes one object: OpenAI refuses others, and so do many."""
    parameters = tool.parameters
    if parameters is not None and foreign:
        parameters = tool_schema.reported(parameters, losses)
    if tool.kind == "custom":
        parameters = SCHEMA
        if tool.format is not None and _type_of(tool.format) != "text":
            losses.drop("tools.format", "a grammar cannot be carried by a tool with JSON arguments")
    function: dict[str, Any] = {"name": tool.name}
    for name, value in (("description", tool.description), ("parameters", parameters), ("strict", tool.strict)):
        if value is not None:
            function[name] = value
    return function


def _write_custom(tool: Tool) -> dict[str, Any]:
    custom: dict[str, Any] = {"name": tool.name}
    for name, value in (("description", tool.description), ("format", tool.format)):
        if value is not None:
            custom[name] = value
    return custom


class _Typed(msgspec.Struct):
    type: str | None = None


def _type_of(raw: Raw) -> str | None:
    try:
        return msgspec.json.decode(raw, type=_Typed).type
    except reading.UNREADABLE:
        return None


def _write_choice(choice: ToolChoice, conversation: Conversation) -> Any:
    if choice.mode == "named":
        tool = next((tool for tool in conversation.tools if tool.name == choice.name), None)
        if tool is not None and tool.kind == "native" and tool.dialect != "chat":
            raise refuse("tool_choice", f"it forces a tool that only the {tool.dialect} API has")
        return _choice_of(choice.name, conversation)
    if choice.mode == "allowed":
        tools = [_choice_of(name, conversation) for name in choice.names]
        mode = "required" if choice.required else "auto"
        return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}
    if choice.mode == "native":
        if choice.dialect != "chat":
            raise refuse("tool_choice", f"only the {choice.dialect} API has this choice")
        return choice.raw
    return choice.mode


def _choice_of(name: str | None, conversation: Conversation) -> dict[str, Any]:
    """A choice of one tool, by its kind and name."""
    kind = "custom" if name in native_customs(conversation) else "function"
    return {"type": kind, kind: {"name": name}}
