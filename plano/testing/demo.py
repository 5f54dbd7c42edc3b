"""The answers of a fake provider without a script: enough to try plano without a key."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from plano.conversation import Conversation, Finish, Part, Text, Tool, ToolCall, ToolResult
from plano.testing.record import Recorded
from plano.testing.samples import sample
from plano.testing.script import Reply, tool_call
from plano.translation.estimate import BYTES_PER_TOKEN

_ECHO = 600
"""The most characters of the user's text that are repeated."""


def demo(recorded: Recorded) -> Reply:
    """Repeat the user's text, or call a tool if the request forces one, or answer in JSON if it requires that."""
    asked = recorded.conversation
    tool = _required_tool(asked)
    if tool is not None:
        return Reply(_call(tool))
    format = asked.response_format
    if format is not None and format.type == "json_schema":
        return Reply(msgspec.json.encode(sample(format.schema)).decode())
    if format is not None and format.type == "json_object":
        return Reply(msgspec.json.encode({"you_said": _last_words(asked)}).decode())
    said, finish = _within(_sentence(asked), asked.max_tokens)
    return Reply(said, finish=finish)


def _sentence(asked: Conversation) -> str:
    last = asked.messages[-1].parts if asked.messages else ()
    results = [part for part in last if isinstance(part, ToolResult)]
    if results:
        return f"This is plano's demo provider. The tool answered: {_shortened(_texts(results[-1].parts))}"
    words = _last_words(asked)
    if not words:
        return "This is plano's demo provider. It answers without a key or a network by repeating what you say."
    return f"This is plano's demo provider, so no model has read this. You said: {words}"


def _last_words(asked: Conversation) -> str:
    for message in reversed(asked.messages):
        if message.role == "user" and (said := _texts(message.parts)):
            return _shortened(said)
    return ""


def _texts(parts: Iterable[Part]) -> str:
    return "\n".join(part.text for part in parts if isinstance(part, Text)).strip()


def _shortened(said: str) -> str:
    return said if len(said) <= _ECHO else said[:_ECHO].rstrip() + "…"


def _within(said: str, max_tokens: int | None) -> tuple[str, Finish]:
    whole = said.encode()
    if max_tokens is None or len(whole) <= max_tokens * BYTES_PER_TOKEN:
        return said, "stop"
    return whole[: max_tokens * BYTES_PER_TOKEN].decode("utf-8", "ignore"), "length"


def _required_tool(asked: Conversation) -> Tool | None:
    """The tool that this request forces, or the first of several that it allows."""
    choice = asked.tool_choice
    if choice is None:
        return None
    callable_ = [tool for tool in asked.tools if tool.kind != "native"]
    if choice.mode == "named":
        callable_ = [tool for tool in callable_ if tool.name == choice.name]
    elif choice.mode == "allowed" and choice.required:
        callable_ = [tool for tool in callable_ if tool.name in choice.names]
    elif choice.mode != "required":
        return None
    return callable_[0] if callable_ else None


def _call(tool: Tool) -> ToolCall:
    if tool.kind == "custom":
        return ToolCall(id="", name=tool.name, arguments="demo", kind="custom")
    return tool_call(tool.name, sample(tool.parameters))
