"""Reads and writes the search for tools that a client does itself, as Codex does.

The client offers a tool of the type `tool_search` with `execution: client`. The model calls it by an item
`tool_search_call`, and the client answers with `tool_search_output`, whose `tools` the model may call from then on (API
reference, Responses, `tools` and input items; the SDK's ToolSearchTool). In the neutral model these are a tool, a call
and a result of the kind `search`, so that models behind other APIs have a function of that name. A search that OpenAI
does itself stays what only this dialect has.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from plano.conversation import NO_EXTRAS, Tool
from plano.dialects import reading
from plano.dialects.fields import OBJECT, RAWS, STRING, Fields, raw_of

NAME = "tool_search"
CALL = "tool_search_call"
OUTPUT = "tool_search_output"

_CLIENT = "client"
_DEFERRED = "defer_loading"
_ANY = msgspec.json.Decoder(Any)


class _Named(msgspec.Struct):
    name: str = ""
    type: str | None = None
    tools: list[Raw] = []


_NAMED = msgspec.json.Decoder(_Named)


def by_client(fields: Fields) -> bool:
    """Take the field `execution` of a tool or an item, and say whether the client does the search."""
    return fields.take("execution", STRING) == _CLIENT


def read_tool(tool: Fields) -> Tool:
    """Read the tool that searches."""
    return Tool(
        name=NAME,
        kind="search",
        description=tool.take("description", STRING),
        parameters=tool.raw_object("parameters"),
        extras=tool.extras("responses"),
    )


def read_arguments(item: Fields) -> str:
    """The arguments of a search as text; here they are an object, and no text that holds one."""
    raw = item.raw("arguments")
    if raw is None:
        return "{}"
    text = reading.maybe(STRING, raw)
    return bytes(raw).decode("utf-8", "replace") if text is None else text or "{}"


def found_in(item: Fields) -> list[Raw]:
    """The tools in the output of a search, unread."""
    return item.take("tools", RAWS) or []


def summary(tools: Iterable[Raw]) -> str:
    """The result of a search in the form that models of other APIs get, who have the tools themselves beside it."""
    return msgspec.json.encode({"tools": [name for raw in tools for name in _names(raw)]}).decode()


def _names(raw: Raw) -> list[str]:
    """The names under which a found tool can be called; those in a namespace as they are sent to other APIs."""
    tool = reading.maybe(_NAMED, raw) or _Named()
    if tool.type != "namespace":
        return [tool.name]
    return [f"{tool.name}__{inner.name}" for each in tool.tools if (inner := reading.maybe(_NAMED, each)) is not None]


def loaded(tool: Tool, call_id: str) -> Tool:
    """A tool as the search with this id found it. That its loading was deferred asks for nothing any more."""
    own = {name: raw for name, raw in tool.extras.get("responses", {}).items() if name != _DEFERRED}
    return replace(tool, found_by=call_id, extras={"responses": own} if own else NO_EXTRAS)


class Known:
    """The tools that are there already, so that a search adds none of them again: other APIs refuse two of a name."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._names: set[str] = set()
        for tool in tools:
            self.new(tool)

    def new(self, tool: Tool) -> Tool | None:
        """The tool, without those in its namespace that are known; None if nothing is left of it."""
        whole = None if tool.raw is None else reading.maybe(_NAMED, tool.raw)
        if whole is None or whole.type != "namespace":
            return tool if self._adds(tool.name) else None
        inner = [each for each in whole.tools if all(map(self._adds, _names(_within(whole.name, each))))]
        if len(inner) == len(whole.tools):
            return tool
        fields = None if tool.raw is None else reading.maybe(OBJECT, tool.raw)
        return replace(tool, raw=raw_of({**fields, "tools": raw_of(inner)})) if inner and fields else None

    def _adds(self, name: str) -> bool:
        known = name in self._names
        self._names.add(name)
        return not known


def _within(namespace: str, tool: Raw) -> Raw:
    return raw_of({"type": "namespace", "name": namespace, "tools": [tool]})


# --- writing ---------------------------------------------------------------------------------------


def written_tool(tool: Tool) -> dict[str, Any]:
    """The tool that searches."""
    fields: dict[str, Any] = {"type": NAME, "execution": _CLIENT}
    if tool.description is not None:
        fields["description"] = tool.description
    if tool.parameters is not None:
        fields["parameters"] = tool.parameters
    return fields


def written_call(call_id: str, arguments: str, status: str) -> dict[str, Any]:
    """The item of a call; arguments that are not JSON are a text."""
    given = arguments.strip() or "{}"
    whole = Raw(given.encode()) if reading.maybe(_ANY, given) is not None else arguments
    return {"type": CALL, "call_id": call_id, "execution": _CLIENT, "status": status, "arguments": whole}


def written_output(call_id: str, tools: list[Any]) -> dict[str, Any]:
    """The item of a call's result."""
    return {"type": OUTPUT, "call_id": call_id, "execution": _CLIENT, "status": "completed", "tools": tools}
