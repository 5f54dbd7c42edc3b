"""Requests that grow in one respect each, through every pair of dialects."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from msgspec import Raw

from plano.conversation import (
    Citation,
    Conversation,
    Image,
    Message,
    Part,
    Role,
    System,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from plano.dialects import CLIENT_CODECS
from plano.edge.body import peek
from plano.losses import Losses
from plano.translation.estimate import estimate_tokens
from plano.translation.translate import translate_request
from plano.types import CLIENT_DIALECTS, ClientDialect

Work = Callable[[], object]
Make = Callable[[int], Work]

_MARK = Raw(b'{"type":"ephemeral"}')
_SCHEMA = Raw(b'{"type":"object","properties":{"a":{"type":"string"}}}')
_CHOICES = Raw(b'{"anyOf":[{"type":"object","properties":{"a":{}}},{"type":"object","properties":{"b":{}}}]}')
_LONG = "a_name_that_goes_on_and_on_until_it_is_longer_than_what_any_vendor_takes_for_a_tool_"


def _asked(*messages: Message, **fields: Any) -> Conversation:
    return Conversation(model="m", max_tokens=100, messages=(_said("user", Text(text="Hi")), *messages), **fields)


def _said(role: Role, *parts: Part) -> Message:
    return Message(role=role, parts=parts)


def _text(number: int, **fields: Any) -> Text:
    return Text(text=f"text {number}", **fields)


def _call(number: int, *, id: str = "call_%d", name: str = "tool") -> ToolCall:
    return ToolCall(id=id.replace("%d", str(number)), name=name, arguments=f'{{"a":{number}}}')


def _result(number: int, *, id: str = "call_%d") -> ToolResult:
    return ToolResult(call_id=id.replace("%d", str(number)), parts=(_text(number),))


def _turns(n: int, *, id: str = "call_%d", name: str = "tool") -> list[Message]:
    """A tool loop of n turns; `%d` in the name is the turn's number."""
    turns = []
    for number in range(n):
        call = _call(number, id=id, name=name.replace("%d", str(number)))
        thought = Thinking(text="Hm.", seal=f"seal{number}", origin="messages")
        turns += [_said("assistant", thought, call), _said("user", _result(number, id=id))]
    return turns


def _tools(n: int, name: str, schema: Raw = _SCHEMA) -> tuple[Tool, ...]:
    return tuple(Tool(name=name.replace("%d", str(number)), parameters=schema) for number in range(n))


def _details(n: int) -> str:
    return json.dumps([{"type": "reasoning.text", "text": f"d{i}", "signature": "s", "index": i} for i in range(n)])


def _wide(n: int) -> Raw:
    names = [f"p{number}" for number in range(n)]
    properties = {name: {"type": "string"} for name in names}
    return Raw(json.dumps({"type": "object", "properties": properties, "required": names}).encode())


def _deep(n: int) -> Raw:
    depth = min(n // 20, 150)  # readers refuse what is nested much deeper
    return Raw(b'{"type":"object","properties":{"a":' * depth + b"{}" + b"}}" * depth)


def _cited(number: int) -> Citation:
    return Citation(url="https://example.com", title="t", start=number, end=number + 1)


REQUESTS: dict[str, Callable[[int], Conversation]] = {
    "messages in turns": lambda n: _asked(*(_said("user" if i % 2 else "assistant", _text(i)) for i in range(n))),
    "messages of one role": lambda n: _asked(*(_said("user", _text(i)) for i in range(n))),
    "system messages in between": lambda n: _asked(*(_said("user" if i % 2 else "system", _text(i)) for i in range(n))),
    "system messages": lambda n: _asked(system=tuple(System(text=f"s{i}") for i in range(n))),
    "developer messages": lambda n: _asked(system=tuple(System(text=f"s{i}", role="developer") for i in range(n))),
    "parts": lambda n: _asked(_said("user", *map(_text, range(n)))),
    "images": lambda n: _asked(_said("user", *(Image(url=f"https://example.com/{i}") for i in range(n)))),
    "cache marks": lambda n: _asked(_said("user", *(_text(i, cache=_MARK) for i in range(n)))),
    "citations": lambda n: _asked(
        _said("assistant", Text(text="x" * n, citations=tuple(map(_cited, range(n))))), _said("user", _text(0))
    ),
    "tools": lambda n: _asked(tools=_tools(n, "tool_%d")),
    "tools with odd names": lambda n: _asked(tools=_tools(n, "tool.ü/%d", _CHOICES)),
    "tools with long names, called": lambda n: _asked(*_turns(n, name=_LONG + "%d"), tools=_tools(n, _LONG + "%d")),
    "a wide schema": lambda n: _asked(tools=_tools(1, "tool", _wide(n))),
    "a deep schema": lambda n: _asked(tools=_tools(1, "tool", _deep(n))),
    "turns of a tool loop": lambda n: _asked(*_turns(n)),
    "turns with odd ids": lambda n: _asked(*_turns(n, id="an id: %d " + "x" * 80)),
    "turns with one id": lambda n: _asked(*_turns(n, id="same")),
    "calls at once": lambda n: _asked(
        _said("assistant", *map(_call, range(n))), _said("user", *map(_result, range(n)))
    ),
    "results that come late": lambda n: _asked(
        _said("assistant", *map(_call, range(n))),
        *(_said("user", _text(i)) for i in range(n)),
        _said("user", *map(_result, reversed(range(n)))),
    ),
    "reasoning details": lambda n: _asked(
        _said("assistant", Thinking(text="t", seal=_details(n), origin="chat"), _text(0)), _said("user", _text(1))
    ),
    "thinking parts": lambda n: _asked(
        _said("assistant", *(Thinking(text=f"t{i}", seal=f"s{i}", origin="messages") for i in range(n)), _call(0)),
        _said("user", _result(0)),
    ),
    "stop sequences": lambda n: _asked(stop=tuple(f"s{i}" for i in range(n))),
    "unknown fields": lambda n: _asked(
        extras={dialect: {f"field_{i}": Raw(b"1") for i in range(n)} for dialect in CLIENT_DIALECTS}
    ),
}


def works() -> Iterator[tuple[str, Make]]:
    for name in REQUESTS:
        for client in CLIENT_DIALECTS:
            for upstream in CLIENT_DIALECTS:
                yield f"request: {name}, {client} over {upstream}", partial(_translated, name, client, upstream)


def _translated(name: str, client: ClientDialect, upstream: ClientDialect, n: int) -> Work:
    codec = CLIENT_CODECS[client]
    body = codec.write_request(REQUESTS[name](n), Losses())

    def work() -> None:
        peek(body)
        conversation = codec.read_request(body)
        estimate_tokens(conversation)
        translate_request(conversation, upstream)

    return work
