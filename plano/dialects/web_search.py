"""Carries web search, which Anthropic and OpenAI both host, between their two APIs.

Sources: Anthropic, "Web search tool"; OpenAI, "Web search", and the SDKs' types. A tool is written in the other API's
words; what these do not have is reported. In a reply, Anthropic's `server_tool_use` and OpenAI's `web_search_call`
stand for each other. What a search found is encrypted for its own vendor, so it is not carried; the texts cite it. A
call that was written for a client of the other API has a marked id, by which it is found when it comes back.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from plano.conversation import Conversation, Opaque, Tool
from plano.dialects import reading
from plano.dialects.call_seals import MARK
from plano.dialects.fields import ABSENT, present, raw_of
from plano.losses import Losses

NAME = "web_search"
"""The name of Anthropic's tool, and the type of OpenAI's."""

CALL = "web_search_call"
USE = "server_tool_use"
RESULT = "web_search_tool_result"

_VERSION = "web_search_20250305"
"""The version of Anthropic's tool that all of its models have."""

_OURS = f"srvtoolu{MARK}"
_OPENAIS = ("web_search", "web_search_preview")

_FALSE = Raw(b"false")


class _Filters(Struct):
    allowed_domains: Raw = ABSENT


class _Tool(Struct):
    """The tools of both APIs."""

    type: str = ""
    user_location: dict[str, Raw] | None = None
    allowed_domains: Raw = ABSENT
    blocked_domains: Raw = ABSENT
    max_uses: Raw = ABSENT
    filters: _Filters | None = None
    search_context_size: Raw = ABSENT
    external_web_access: Raw = ABSENT


_TOOL = msgspec.json.Decoder(_Tool)


def _read(tool: Tool, dialect: str) -> _Tool | None:
    """The tool, if it is the web search of `dialect`."""
    if tool.kind != "native" or tool.dialect != dialect or tool.raw is None:
        return None
    found = reading.maybe(_TOOL, tool.raw)
    if found is None:
        return None
    known = found.type.startswith("web_search_20") if dialect == "messages" else is_openais(found.type)
    return found if known else None


def is_openais(type_: str) -> bool:
    """Whether this is a type of OpenAI's tool; some have a date at the end."""
    return type_ in _OPENAIS or type_.startswith(tuple(f"{each}_20" for each in _OPENAIS))


def withheld(conversation: Conversation, dialect: str) -> Conversation:
    """The conversation for a server of `dialect` that does not host the search. A tool of another API that cannot be
    looked into is none that can be carried."""
    tools = (
        replace(tool, raw=None) if tool.kind == "native" and tool.dialect != dialect else tool
        for tool in conversation.tools
    )
    return replace(conversation, tools=tuple(tools))


def for_responses(tool: Tool, losses: Losses) -> dict[str, Any] | None:
    """Anthropic's tool as OpenAI's; None if it is another tool."""
    found = _read(tool, "messages")
    if found is None:
        return None
    if present(found.blocked_domains):
        losses.drop("tools.blocked_domains", "the responses API leaves no domains out of a web search")
    if present(found.max_uses):
        losses.drop("tools.max_uses", "the responses API does not limit the number of web searches")
    written: dict[str, Any] = {"type": NAME}
    if present(found.allowed_domains):
        written["filters"] = {"allowed_domains": found.allowed_domains}
    return written | _location(found)


def for_messages(tool: Tool, losses: Losses) -> dict[str, Any] | None:
    """OpenAI's tool as Anthropic's; None if it is another tool, or one that may not reach the web itself."""
    found = _read(tool, "responses")
    if found is None or found.external_web_access == _FALSE:
        return None
    if present(found.search_context_size):
        losses.drop("tools.search_context_size", "the messages API does not choose how much a web search reads")
    written: dict[str, Any] = {"type": _VERSION, "name": NAME}
    if found.filters is not None and present(found.filters.allowed_domains):
        written["allowed_domains"] = found.filters.allowed_domains
    return written | _location(found)


def _location(found: _Tool) -> dict[str, Any]:
    return {} if found.user_location is None else {"user_location": {"type": "approximate"} | found.user_location}


# --- calls in replies ------------------------------------------------------------------------------


class _Input(Struct, frozen=True):
    query: str = ""


class _Use(Struct):
    name: str = ""
    id: str = ""
    input: _Input = _Input()


class _Source(Struct):
    url: str = ""


class _Action(Struct, frozen=True):
    query: str | None = None
    queries: list[str] = []
    url: str | None = None
    sources: list[_Source] | None = None


class _Call(Struct):
    id: str = ""
    action: _Action = _Action()


class _Result(Struct):
    tool_use_id: str = ""


_USE = msgspec.json.Decoder(_Use)
_CALL = msgspec.json.Decoder(_Call)
_RESULT = msgspec.json.Decoder(_Result)


def as_call(part: Opaque) -> dict[str, Any] | None:
    """Anthropic's call of a web search as OpenAI's item, still without an id; None for another part."""
    found = reading.maybe(_USE, part.raw) if part.dialect == "messages" and part.type == USE else None
    if found is None or found.name != NAME:
        return None
    return {"type": CALL, "status": "completed", "action": {"type": "search", "query": found.input.query}}


def as_blocks(part: Opaque) -> tuple[Opaque, ...]:
    """OpenAI's call of a web search as Anthropic's two blocks, the call and what it found; none for another part."""
    found = reading.maybe(_CALL, part.raw) if part.dialect == "responses" and part.type == CALL else None
    if found is None:
        return ()
    id_, action = f"{_OURS}{found.id}", found.action
    query = action.query or ", ".join(action.queries) or action.url or ""
    results = [
        {"type": "web_search_result", "url": source.url, "title": source.url, "encrypted_content": "", "page_age": None}
        for source in action.sources or ()
    ]
    use = {"type": USE, "id": id_, "name": NAME, "input": {"query": query}}
    result = {"type": RESULT, "tool_use_id": id_, "content": results}
    return _block(USE, use), _block(RESULT, result)


def _block(type_: str, block: dict[str, Any]) -> Opaque:
    return Opaque(dialect="messages", type=type_, raw=raw_of(block))


def handed_back(part: Opaque) -> tuple[Opaque, ...] | None:
    """OpenAI's call, from the block that was written for it, and nothing from that of its result; None for blocks that
    Anthropic made."""
    if part.type == USE:
        use = reading.maybe(_USE, part.raw)
        if use is None or not use.id.startswith(_OURS):
            return None
        action = {"type": "search", "query": use.input.query}
        item = {"id": use.id.removeprefix(_OURS), "type": CALL, "status": "completed", "action": action}
        return (Opaque(dialect="responses", type=CALL, raw=raw_of(item)),)
    result = reading.maybe(_RESULT, part.raw) if part.type == RESULT else None
    return () if result is not None and result.tool_use_id.startswith(_OURS) else None
