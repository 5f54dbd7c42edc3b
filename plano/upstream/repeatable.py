"""Tells which requests may be sent a second time.

A request that the upstream may have acted on is sent again only if that does no harm. Two kinds of requests have
effects besides their reply: those that run in the background, which go on when nobody waits for them, and those whose
tools run at the vendor's and change something: remote MCP servers, computers, interpreters, shells, and generators of
images, which are billed separately. Searches only read. Tools that the client runs (functions, `bash_*`,
`text_editor_*`, `local_shell`, a `shell` whose environment is `local`) have no effect until the client acts.

Sources: OpenAI's API reference, Responses, `tools` and `background`; "Shell", section "Local shell mode"; Anthropic's
"MCP connector", "Code execution tool", "Computer use tool".
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec
from msgspec import Raw, Struct

from plano.dialects import reading
from plano.operations import CREATE
from plano.request import Request

_WORDS = (
    b'"background"',
    b'"mcp',  # tools `mcp` and `mcp_toolset`, and the field `mcp_servers`
    b'"computer',
    b'"code_',  # `code_interpreter`, and `code_execution_*`
    b'"shell"',
    b'"image_generation"',
)
"""The words of which at least one stands in every request that may not simply be repeated."""

_CONTINUES, _CONVERSES = b'"previous_response_id"', b'"conversation"'
"""The words of which one stands in every request that continues what its provider has stored."""

_HOSTED = re.compile(r"mcp(_toolset)?|computer([_-].*)?|code_(interpreter|execution.*)|image_generation")
_SHELL = "shell"


class _Environment(Struct):
    type: str | None = None


class _Tool(Struct):
    type: str | None = None
    environment: _Environment | None = None


class _Asked(Struct):
    background: bool | None = None
    store: bool | None = None
    mcp_servers: list[Raw] | None = None
    tools: list[_Tool] | None = None


class _Continued(Struct):
    previous_response_id: str | None = None
    conversation: Raw | None = None


class _Stored(Struct):
    store: bool | None = None


_asked = msgspec.json.Decoder(_Asked)
_continued = msgspec.json.Decoder(_Continued)
_stored = msgspec.json.Decoder(_Stored)


def repeatable(request: Request) -> Literal["any", "unsent"]:
    """The failures after which a request may be sent again: `any` failure, or only one which makes certain that the
    upstream has not seen the request (`unsent`)."""
    return "unsent" if request.operation == CREATE and _has_effects(request.body) else "any"


def may_hedge(request: Request) -> bool:
    """Whether two targets may be asked at the same time: the request has no effects beside its reply, and does not ask
    for its reply to be stored with the vendor."""
    return request.operation == CREATE and not _asks_to_store(request.body) and not _has_effects(request.body)


def only_there(request: Request) -> bool:
    """Whether a request continues what its provider has stored, so that no other one could answer it."""
    body = request.body
    if body.find(_CONTINUES) < 0 and body.find(_CONVERSES) < 0:
        return False
    said = reading.maybe(_continued, body)
    return said is not None and (said.previous_response_id is not None or said.conversation is not None)


def _has_effects(body: bytes) -> bool:
    find = body.find
    if all(find(word) < 0 for word in _WORDS):
        return False
    asked = reading.maybe(_asked, body)
    if asked is None:  # it is not understood, so it may be anything
        return True
    return bool(asked.background or asked.mcp_servers) or any(map(_is_hosted, asked.tools or ()))


def _is_hosted(tool: _Tool) -> bool:
    """Whether a tool runs at the vendor's and changes something."""
    kind = tool.type or ""
    if kind == _SHELL:
        return tool.environment is None or tool.environment.type != "local"
    return _HOSTED.fullmatch(kind) is not None


def _asks_to_store(body: bytes) -> bool:
    if body.find(b'"store"') < 0:
        return False
    stored = reading.maybe(_stored, body)
    return stored is None or stored.store is True
