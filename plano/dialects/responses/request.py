"""Reads a client's request.

Source: API reference, "Create a model response"; openai.types.responses.ResponseCreateParams.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Raw
from msgspec.structs import replace

from plano.conversation import (
    NO_EXTRAS,
    Conversation,
    Extras,
    Message,
    Opaque,
    Part,
    Refusal,
    System,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from plano.dialects import reading
from plano.dialects.fields import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    OBJECT,
    RAW_CONTENT,
    RAWS,
    STRING,
    STRINGS,
    Fields,
    Object,
    object_at,
    raw_of,
)
from plano.dialects.responses.items import Item, read_item
from plano.dialects.responses.settings import read_reasoning, read_text
from plano.dialects.responses.summaries import TRIGGER, is_note
from plano.dialects.responses.tool_search import Known, loaded
from plano.dialects.responses.tools import read_choice, read_tools
from plano.errors import InvalidRequest

LOGPROBS = "message.output_text.logprobs"
SEALS = "reasoning.encrypted_content"

_DEFAULTS = {"background": b"false", "truncation": b'"disabled"'}
"""The defaults of fields that only this API has. A default is neither kept nor reported as lost."""


def read_request(body: bytes) -> Conversation:
    """Read a request's body; see `plano.dialects.codec.Codec`."""
    fields = Fields(_object(body), "")
    include = fields.take("include", STRINGS) or []
    offered = read_tools(fields.take("tools", RAWS) or [], "tools")
    system, messages, tools = _read_input(fields, offered)
    response_format, verbosity, text_left = read_text(fields.nested("text"))
    choice = fields.raw("tool_choice")
    return Conversation(
        dialect="responses",
        model=fields.take("model", STRING),
        system=system,
        messages=messages,
        tools=tools,
        tool_choice=None if choice is None else read_choice(choice, "tool_choice"),
        parallel_tool_calls=fields.take("parallel_tool_calls", BOOLEAN),
        max_tokens=fields.take("max_output_tokens", INTEGER),
        temperature=fields.take("temperature", NUMBER),
        top_p=fields.take("top_p", NUMBER),
        logprobs=True if LOGPROBS in include else None,
        top_logprobs=fields.take("top_logprobs", INTEGER),
        reasoning=read_reasoning(fields.nested("reasoning")),
        response_format=response_format,
        verbosity=verbosity,
        service_tier=fields.take("service_tier", STRING),
        user=fields.take("user", STRING),
        safety_identifier=fields.take("safety_identifier", STRING),
        metadata=fields.raw_object("metadata"),
        store=fields.take("store", BOOLEAN),
        prompt_cache_key=fields.take("prompt_cache_key", STRING),
        stream=fields.take("stream", BOOLEAN) or False,
        include_seals=SEALS in include,
        extras=_extras(fields, include, text_left),
    )


def _object(body: bytes) -> Object:
    found = reading.request(OBJECT, body)
    try:
        body.decode()  # otherwise the fields that are kept unread could hold broken text
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}") from None
    return found


def _extras(fields: Fields, include: list[str], text_left: Object) -> Extras:
    """The fields that are left, with those of `include` and `text` that only this API has."""
    left = {name: raw for name, raw in fields.rest().items() if _DEFAULTS.get(name) != bytes(memoryview(raw)[:16])}
    others = [entry for entry in include if entry not in (LOGPROBS, SEALS)]
    if others:
        left["include"] = raw_of(others)
    if text_left:
        left["text"] = raw_of(text_left)
    return {"responses": left} if left else NO_EXTRAS


def _read_input(
    fields: Fields, tools: tuple[Tool, ...]
) -> tuple[tuple[System, ...], tuple[Message, ...], tuple[Tool, ...]]:
    """The instructions, the messages, and the tools. Items of the input add to these: `additional_tools`, and what a
    search found."""
    system = []
    instructions = fields.take("instructions", STRING)
    if instructions is not None:
        system.append(System(text=instructions))
    given = fields.take("input", RAW_CONTENT)
    if given is None:
        return tuple(system), (), tools
    if isinstance(given, str):
        return tuple(system), (Message(role="user", parts=(Text(text=given),)),), tools
    items: list[Item] = []
    for index, raw in enumerate(given):
        item = read_item(raw, path := f"input[{index}]")
        if item.kind == "tools":
            tools += _tools_in(raw, path)
            continue
        items.append(item)
        if item.kind == "result" and isinstance(found := item.parts[0], ToolResult) and found.kind == "search":
            known = Known(tools)
            added = (known.new(tool) for tool in _tools_in(raw, path, whole=True))
            tools += tuple(loaded(tool, found.call_id) for tool in added if tool is not None)
    items = _after_compaction(items)
    leading = 0
    while leading < len(items) and _is_instruction(items[leading]):
        system += _systems(items[leading])
        leading += 1
    return tuple(system), _messages(items[leading:]), tools


def _after_compaction(items: list[Item]) -> list[Item]:
    """The items without those that were compacted: a summary that was asked for by an item stands for all before it,
    but for instructions. So a stored response that is a compaction can be continued."""
    for at in range(len(items) - 2, -1, -1):
        if _is_trigger(items[at]) and is_note(items[at + 1].parts):
            return [*filter(_is_instruction, items[:at]), *items[at + 1 :]]
    return items


def _is_trigger(item: Item) -> bool:
    return any(isinstance(part, Opaque) and part.type == TRIGGER for part in item.parts)


def _tools_in(raw: Raw, path: str, *, whole: bool = False) -> tuple[Tool, ...]:
    """The tools in an item of the input; `whole`: with the JSON of each, as which it is written into such an item."""
    raws = object_at(raw, path).take("tools", RAWS) or []
    tools = read_tools(raws, f"{path}.tools")
    return tuple(replace(tool, raw=each) for tool, each in zip(tools, raws, strict=True)) if whole else tools


def _is_instruction(item: Item) -> bool:
    return item.role in ("system", "developer") and all(isinstance(part, Text) for part in item.parts)


def _systems(item: Item) -> list[System]:
    """One instruction for each text of a leading item."""
    role: Literal["system", "developer"] = "developer" if item.role == "developer" else "system"
    own = item.extras.get("responses", {})
    return [
        System(text=part.text, role=role, extras={"responses": {**own, **part.extras.get("responses", {})}})
        for part in item.parts
        if isinstance(part, Text)
    ]


def _messages(items: list[Item]) -> tuple[Message, ...]:
    """Put items into one message for each turn: the assistant's items in a row, then the results of its calls."""
    messages: list[Message] = []
    turn: list[Part] = []
    side: str | None = None
    for item in items:
        item_side = _side(item)
        if turn and (item_side is None or item_side != side or _splits(turn, item)):
            messages.append(Message(role="assistant" if side == "assistant" else "user", parts=tuple(turn)))
            turn = []
        if item_side is None:
            messages.append(Message(role=item.role, parts=item.parts, extras=item.extras))
        else:
            turn += item.parts
        side = item_side
    if turn:
        messages.append(Message(role="assistant" if side == "assistant" else "user", parts=tuple(turn)))
    return tuple(messages)


def _side(item: Item) -> str | None:
    """The side whose items merge with their neighbours: the assistant's, or results. None for messages of others."""
    if item.role == "assistant":
        return "assistant"
    return None if item.kind == "message" else "results"


def _splits(turn: list[Part], item: Item) -> bool:
    """Whether `item` begins another message of the assistant: it is a message item, and the turn ends in a text.

    That is not so after a call, because the chat API wants a call's result directly after the message that made it.
    """
    last = turn[-1]
    return (
        item.kind == "message"
        and item.role == "assistant"
        and isinstance(last, Text | Refusal)
        and not any(isinstance(part, ToolCall | Opaque) for part in turn)
    )
