"""Reads a client's request.

Source: API reference, "Create a Message". The fields that the neutral model does not have (`container`,
`mcp_servers`, the top-level `cache_control`, ...) are kept in its extras.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Raw, Struct

from plano.conversation import (
    NO_EXTRAS,
    Conversation,
    Extras,
    Message,
    Reasoning,
    ResponseFormat,
    System,
    Text,
    Tool,
    ToolChoice,
)
from plano.dialects import reading
from plano.dialects.fields import BOOLEAN, CONTENT, INTEGER, OBJECT, STRING, Fields, Object, raw_of
from plano.dialects.messages.read_content import FROM_MESSAGES, read_parts
from plano.errors import InvalidRequest

_SERVICE_TIERS = {"standard_only": "default"}
_MODES: dict[str, Literal["enabled", "adaptive", "disabled"]] = {
    "enabled": "enabled",
    "adaptive": "adaptive",
    "disabled": "disabled",
}


class _Request(Struct):
    """The top-level fields, whose types are checked in one go; the objects in them are read field by field."""

    messages: list[Object]
    model: str | None = None
    max_tokens: int | None = None
    system: str | list[Object] | None = None
    tools: list[Object] | None = None
    tool_choice: Object | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    thinking: Object | None = None
    output_config: Object | None = None
    output_format: Object | None = None
    metadata: Object | None = None
    service_tier: str | None = None


_DECODER = msgspec.json.Decoder(_Request)


def read_request(body: bytes) -> Conversation:
    """Read a request's body; see `plano.dialects.codec.Codec`."""
    found = reading.request(_DECODER, body)
    extras = {name: raw for name, raw in OBJECT.decode(body).items() if name not in _Request.__struct_fields__}
    system, messages = _leading(_read_system(found.system), _read_messages(found.messages))
    reasoning, response_format = _read_output(found, extras)
    metadata = Fields(found.metadata or {}, "metadata")
    user = metadata.take("user_id", STRING)
    if metadata.found:
        extras["metadata"] = raw_of(metadata.found)
    choice = Fields(found.tool_choice or {}, "tool_choice")
    serial = choice.take("disable_parallel_tool_use", BOOLEAN)
    return Conversation(
        dialect="messages",
        model=found.model,
        system=system,
        messages=messages,
        tools=tuple(_read_tool(Fields(tool, f"tools[{n}]")) for n, tool in enumerate(found.tools or ())),
        tool_choice=_read_choice(choice) if found.tool_choice is not None else None,
        parallel_tool_calls=None if serial is None else not serial,
        max_tokens=found.max_tokens,
        temperature=found.temperature,
        top_p=found.top_p,
        top_k=found.top_k,
        stop=tuple(found.stop_sequences or ()),
        reasoning=reasoning,
        response_format=response_format,
        service_tier=_SERVICE_TIERS.get(found.service_tier or "", found.service_tier),
        user=user,
        stream=bool(found.stream),
        extras={"messages": extras} if extras else NO_EXTRAS,
    )


def _read_system(found: str | list[Object] | None) -> tuple[System, ...]:
    if not found:
        return ()
    if isinstance(found, str):
        return (System(text=found),)
    return tuple(_system_block(Fields(block, f"system[{n}]")) for n, block in enumerate(found))


def _system_block(block: Fields) -> System:
    type_ = block.need("type", STRING)
    if type_ != "text":
        raise InvalidRequest(f"Invalid `{block.at('type')}`: a system block is a text block.", param=block.at("type"))
    return System(text=block.need("text", STRING), cache=block.raw("cache_control"), extras=block.extras("messages"))


def _read_messages(found: list[Object]) -> tuple[Message, ...]:
    return tuple(_read_message(Fields(message, f"messages[{n}]")) for n, message in enumerate(found))


def _read_message(message: Fields) -> Message:
    role = message.need("role", STRING)
    parts = read_parts(message.need("content", CONTENT), message.at("content"))
    if role == "user" or role == "assistant":
        return Message(role="user" if role == "user" else "assistant", parts=parts, extras=message.extras("messages"))
    if role == "system":
        return Message(role="system", parts=parts, extras=message.extras("messages") or FROM_MESSAGES)
    param = message.at("role")
    raise InvalidRequest(f"Invalid `{param}`: it is one of `user`, `assistant` and `system`.", param=param)


def _leading(
    system: tuple[System, ...], messages: tuple[Message, ...]
) -> tuple[tuple[System, ...], tuple[Message, ...]]:
    """The leading instructions and the messages after them. A system message in front of all others means the same as
    `system`."""
    leading = list(system)
    for n, message in enumerate(messages):
        if message.role != "system" or not all(isinstance(part, Text) for part in message.parts):
            return tuple(leading), messages[n:]
        leading += [
            System(text=part.text, cache=part.cache, extras=part.extras)
            for part in message.parts
            if isinstance(part, Text)
        ]
    return tuple(leading), ()


def _read_tool(tool: Fields) -> Tool:
    whole = dict(tool.found)
    type_ = tool.take("type", STRING)
    name = tool.take("name", STRING)
    if type_ is not None and type_ != "custom":
        return Tool(name=name or type_, kind="native", dialect="messages", raw=raw_of(whole))
    if name is None:
        raise tool.missing("name")
    return Tool(
        name=name,
        description=tool.take("description", STRING),
        parameters=tool.raw("input_schema"),
        strict=tool.take("strict", BOOLEAN),
        cache=tool.raw("cache_control"),
        extras=tool.extras("messages"),
    )


def _read_choice(choice: Fields) -> ToolChoice:
    whole = raw_of(choice.found)
    type_ = choice.need("type", STRING)
    if type_ == "auto" or type_ == "none":
        return ToolChoice(mode="auto" if type_ == "auto" else "none")
    if type_ == "any":
        return ToolChoice(mode="required")
    if type_ == "tool":
        return ToolChoice(mode="named", name=choice.need("name", STRING))
    return ToolChoice(mode="native", dialect="messages", raw=whole)


def _read_output(found: _Request, extras: dict[str, Raw]) -> tuple[Reasoning | None, ResponseFormat | None]:
    """Read `thinking` and `output_config`; unknown fields of the latter go into `extras`."""
    config = Fields(found.output_config or {}, "output_config")
    effort = config.take("effort", STRING)
    form = config.nested("format") or Fields(found.output_format or {}, "output_format")
    response_format = None
    if form.found:
        whole = raw_of(form.found)
        if form.need("type", STRING) == "json_schema":
            response_format = ResponseFormat(type="json_schema", schema=form.raw("schema"))
        else:
            config.found["format"] = whole
    if config.found:
        extras["output_config"] = raw_of(config.found)
    return _read_reasoning(found.thinking, effort), response_format


def _read_reasoning(found: Object | None, effort: str | None) -> Reasoning | None:
    if found is None:
        return None if effort is None else Reasoning(effort=effort, extras=FROM_MESSAGES)
    thinking = Fields(found, "thinking")
    kind = thinking.need("type", STRING)
    budget = thinking.take("budget_tokens", INTEGER)
    mode = _MODES.get(kind)
    if mode is None:
        thinking.found["type"] = raw_of(kind)  # a type that is not neutral, such as `between_tools`
    extras: Extras = {"messages": thinking.found}
    return Reasoning(effort=effort, budget=budget, mode=mode, extras=extras)
