"""Whatever the neutral model says is written in every dialect, or reported as dropped; nothing is lost in silence."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from msgspec import Raw
from msgspec.structs import replace

from plano.conversation import (
    Audio,
    Citation,
    Conversation,
    Document,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    RedactedThinking,
    Refusal,
    ResponseFormat,
    System,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from plano.dialects import CODECS
from plano.errors import UnsupportedConversion
from plano.losses import Losses
from plano.types import UPSTREAM_DIALECTS, UpstreamDialect

TOOL = Tool(name="f", parameters=Raw(b'{"type":"object"}'))
ASKED = Conversation(
    model="m", max_tokens=5000, tools=(TOOL,), messages=(Message(role="user", parts=(Text(text="Hello"),)),)
)
OTHERS = {dialect: {"new_field": Raw(b"1")} for dialect in UPSTREAM_DIALECTS}

OF_CONVERSATION: dict[str, Any] = {
    "model": "other",
    "system": (System(text="Be brief."),),
    "messages": (Message(role="user", parts=(Text(text="Goodbye"),)),),
    "tools": (TOOL, Tool(name="g", parameters=Raw(b"{}"))),
    "tool_choice": ToolChoice(mode="required"),
    "parallel_tool_calls": False,
    "max_tokens": 6000,
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "stop": ("end",),
    "n": 2,
    "seed": 1,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "logprobs": True,
    "top_logprobs": 2,
    "reasoning": Reasoning(effort="high"),
    "response_format": ResponseFormat(type="json_schema", name="x", schema=Raw(b'{"type":"object"}')),
    "verbosity": "low",
    "service_tier": "flex",
    "user": "u",
    "safety_identifier": "s",
    "metadata": Raw(b'{"a":"b"}'),
    "store": True,
    "prompt_cache_key": "k",
    "stream": True,
    "extras": OTHERS,
}
"""A value of each field of a conversation."""

NOT_SENT = {
    "dialect": "where the request came from, which no upstream is told",
    "include_usage": "the other dialects send it always; chat's upstreams are asked in every stream",
    "include_seals": "the other dialects send them always",
}

HARMLESS = {
    ("messages", "store"): "nothing is kept there, so there is nothing to ask",
}
"""What is neither written nor reported, and why that loses nothing."""


def outcome(conversation: Conversation, dialect: UpstreamDialect) -> tuple[bytes, int] | str:
    """The body and the number of losses, or why it is refused."""
    losses = Losses()
    try:
        return CODECS[dialect].write_request(conversation, losses), len(losses)
    except UnsupportedConversion as error:
        return error.message


@pytest.mark.parametrize("dialect", UPSTREAM_DIALECTS)
@pytest.mark.parametrize("name", OF_CONVERSATION)
def test_a_field_of_a_conversation_is_written_or_reported(name: str, dialect: UpstreamDialect) -> None:
    told = outcome(replace(ASKED, **{name: OF_CONVERSATION[name]}), dialect) != outcome(ASKED, dialect)
    assert told != ((dialect, name) in HARMLESS)


def test_no_field_of_a_conversation_is_left_out() -> None:
    assert set(OF_CONVERSATION) | set(NOT_SENT) == set(Conversation.__struct_fields__)


# --- parts ------------------------------------------------------------------------------------------

RAW = Raw(b'{"type":"x"}')
CACHE = Raw(b'{"type":"ephemeral"}')
BOTH: dict[str, Any] = {"cache": CACHE, "extras": OTHERS}
PARTS: list[tuple[Part, dict[str, Any]]] = [
    (Text(text="a"), {"text": "b", "citations": (Citation(url="https://x.test", title="t"),), **BOTH}),
    (Image(url="https://x.test/a.png"), {"url": "https://x.test/b.png", "detail": "low", **BOTH}),
    (Image(data="AAAA", media_type="image/png"), {"data": "BBBB", "media_type": "image/gif"}),
    (Image(file_id="f"), {"file_id": "g"}),
    (Document(url="https://x.test/a.pdf"), {"url": "https://x.test/b.pdf", "name": "n"}),
    (
        Document(data="AAAA", media_type="application/pdf"),
        {"data": "BBBB", "media_type": "text/x", "name": "n", **BOTH},
    ),
    (Document(text="a"), {"text": "b"}),
    (Document(file_id="f"), {"file_id": "g"}),
    (Audio(data="AAAA", format="wav"), {"data": "BBBB", "format": "mp3", **BOTH}),
    (
        ToolCall(id="1", name="f", arguments="{}"),
        {"id": "2", "name": "g", "arguments": '{"a":1}', "kind": "custom", **BOTH},
    ),
    (
        ToolResult(call_id="1", parts=(Text(text="a"),)),
        {"parts": (Text(text="b"),), "call_id": "2", "is_error": True, **BOTH},
    ),
    (Thinking(text="t"), {"text": "u", **BOTH}),
    (Thinking(text="t", seal='[{"type":"x","data":"s"}]', origin="chat"), {"seal": '[{"type":"x","data":"z"}]'}),
    (Thinking(text="t", seal="s", origin="messages"), {"seal": "z"}),
    (Thinking(text="t", seal="s", origin="responses"), {"seal": "z"}),
    (RedactedThinking(data="d"), {"data": "e", **BOTH}),
    (Refusal(text="no"), {"text": "never", **BOTH}),
    *((Opaque(dialect=dialect, type="x", raw=RAW), {"raw": Raw(b'{"type":"y"}')}) for dialect in UPSTREAM_DIALECTS),
]
"""A part, and other values of the fields that say something in it."""

SAYS_NOTHING = {
    "item_id": "an id of one API, which goes back into it alone",
    "id": "an id of one API, where it is a reply's audio",
    "transcript": "of a reply; a request has the audio itself",
    "summary": "says what kind of text it is",
    "origin": "says whose seal it is, which is then marked or kept",
    "dialect": "says whose part it is",
    "type": "stands in `raw` as well",
    "kind": "says what kind of call it answers",
    "cache": "of a part that is written as it came",
    "extras": "of a part that is written as it came",
}


SILENT: dict[tuple[type, str, UpstreamDialect], str] = {
    (Text, "citations", "responses"): "of what a user says; a reply's go back",
    (Thinking, "cache", "chat"): "no API has a cache mark on reasoning",
    (Thinking, "extras", "chat"): "what a vendor adds to its reasoning means something to that vendor alone",
    (RedactedThinking, "cache", "messages"): "no API has a cache mark on reasoning",
    (Refusal, "cache", "chat"): "no API has a cache mark on a refusal",
    (Refusal, "cache", "messages"): "no API has a cache mark on a refusal",
    (Refusal, "extras", "chat"): "chat's refusal is a text, and what others add to theirs says nothing to it",
}
"""What is neither written nor reported, and why that loses nothing."""


def conversation_with(part: Part) -> Conversation:
    """One in which the part stands where such a part does."""
    if isinstance(part, ToolResult):
        call = Message(role="assistant", parts=(ToolCall(id="1", name="f", arguments="{}"),))
        messages = (*ASKED.messages, call, Message(role="user", parts=(part,)))
    elif isinstance(part, Text | Image | Document | Audio):
        messages = (Message(role="user", parts=(part,)),)
    else:
        messages = (*ASKED.messages, Message(role="assistant", parts=(part,)))
    return replace(ASKED, messages=messages)


@pytest.mark.parametrize("dialect", UPSTREAM_DIALECTS)
@pytest.mark.parametrize(("part", "others"), PARTS, ids=lambda value: type(value).__name__)
def test_a_field_of_a_part_is_written_or_reported(part: Part, others: dict[str, Any], dialect: UpstreamDialect) -> None:
    before = outcome(conversation_with(part), dialect)
    if isinstance(before, str) or before[1]:
        return  # it is refused, or reported as a whole
    changed = {name: conversation_with(replace(part, **{name: value})) for name, value in others.items()}
    silent = {name for name, conversation in changed.items() if outcome(conversation, dialect) == before}
    assert silent == set(others) & {name for kind, name, where in SILENT if (kind, where) == (type(part), dialect)}


def test_every_field_of_every_part_says_something() -> None:
    varied = {(type(part), name) for part, others in PARTS for name in others}
    every = {(kind, name) for kind in get_args(Part) for name in kind.__struct_fields__}
    assert {name for kind, name in every - varied} <= set(SAYS_NOTHING)
    assert {kind for kind, _ in varied} == set(get_args(Part))
