"""Replies and errors of the messages dialect, read, written, and peeked at while they are forwarded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from anthropic.types import Message as OracleMessage
from msgspec import Raw

from plano.conversation import (
    Audio,
    Citation,
    Conversation,
    Opaque,
    Part,
    RedactedThinking,
    Refusal,
    Reply,
    Text,
    Thinking,
    ToolCall,
    Usage,
)
from plano.dialects import messages
from plano.errors import (
    BodyTimeout,
    InvalidRequest,
    ModelNotFound,
    PermissionDenied,
    PlanoError,
    RateLimited,
    StoreUnavailable,
    TooLarge,
    Unauthenticated,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatus,
    UpstreamTimeout,
)
from tests.dialects import support
from tests.dialects.support import GOLDEN_FILES

GOLDEN = sorted(GOLDEN_FILES.glob("reply-*.messages.json"))
ASKED = Conversation()


def write(reply: Reply) -> tuple[dict[str, Any], set[str]]:
    """The body, checked by the SDK's types, and the fields lost."""
    body, losses = support.write_reply(messages, reply)
    OracleMessage.model_validate(body)
    return body, set(losses)


def read(**fields: Any) -> Reply:
    return messages.read_reply(json.dumps({"type": "message", "content": [], **fields}).encode())


# --- replies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_nothing_is_lost_between_reading_and_writing(path: Path) -> None:
    body = json.loads(path.read_bytes())
    assert write(messages.read_reply(path.read_bytes())) == (body, set())


def test_there_are_golden_replies() -> None:
    assert GOLDEN


def test_a_reply_is_read_in_the_neutral_words() -> None:
    reply = messages.read_reply((GOLDEN_FILES / "reply-rich.messages.json").read_bytes())
    assert [type(part) for part in reply.parts] == [
        Thinking,
        RedactedThinking,
        Opaque,
        Opaque,
        Text,
        ToolCall,
        ToolCall,
    ]
    assert reply.finish == "tool_calls"
    text = reply.parts[4]
    assert isinstance(text, Text)
    assert [(citation.url, citation.quote) for citation in text.citations] == [
        ("https://example.com", "green"),
        (None, "green"),
    ]
    call = reply.parts[5]
    assert isinstance(call, ToolCall)
    assert call.arguments == '{"z": 1.50, "a": [true, null]}'


USAGES = [
    (
        {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 100},
        Usage(input_tokens=111, output_tokens=2, cached_tokens=10, cache_creation_tokens=100),
    ),
    (
        {
            "input_tokens": 1,
            "output_tokens": 5,
            "cache_read_input_tokens": 0,
            "cache_creation_input_tokens": 0,
            "output_tokens_details": {"thinking_tokens": 3},
            "service_tier": "priority",
        },
        Usage(
            input_tokens=1,
            output_tokens=5,
            reasoning_tokens=3,
            extras={"messages": {"service_tier": Raw(b'"priority"')}},
        ),
    ),
]


@pytest.mark.parametrize(("wire", "neutral"), USAGES)
def test_usage_both_ways(wire: Any, neutral: Usage) -> None:
    assert read(usage=wire).usage == neutral
    assert write(Reply(usage=neutral))[0]["usage"] == wire
    assert messages.peek_usage(json.dumps({"type": "message", "usage": wire}).encode()) == neutral


def test_unknown_usage_is_written_as_zeros_and_read_as_unknown() -> None:
    assert set(write(Reply())[0]["usage"].values()) == {0}
    assert read().usage is None
    assert read(usage=None).usage is None


FINISHES = [
    ("stop", "end_turn"),
    ("stop_sequence", "stop_sequence"),
    ("length", "max_tokens"),
    ("context_window", "model_context_window_exceeded"),
    ("tool_calls", "tool_use"),
    ("refusal", "refusal"),
    ("pause", "pause_turn"),
]


@pytest.mark.parametrize(("finish", "stop_reason"), FINISHES)
def test_finish_reasons_both_ways(finish: Any, stop_reason: str) -> None:
    assert read(stop_reason=stop_reason).finish == finish
    assert write(Reply(finish=finish))[0]["stop_reason"] == stop_reason


def test_finish_reasons_of_one_way() -> None:
    assert write(Reply(finish="content_filter"))[0]["stop_reason"] == "refusal"
    assert read(stop_reason="", content=[{"type": "text", "text": "a"}]).finish == "stop"
    assert read(stop_reason=None).finish == "stop"
    call = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    assert read(stop_reason="end_turn", content=[call]).finish == "tool_calls"
    assert read(stop_reason="max_tokens", content=[call]).finish == "length"


def test_the_stop_sequence_is_kept() -> None:
    reply = read(stop_reason="stop_sequence", stop_sequence="END")
    assert reply.stop_sequence == "END"
    assert write(reply)[0]["stop_sequence"] == "END"


@pytest.mark.parametrize(
    ("id_", "written"),
    [
        ("msg_1", "msg_1"),
        ("chatcmpl-1", "msg_1"),
        ("resp_1", "msg_1"),
        ("other", "msg_other"),
    ],
)
def test_the_id_has_this_dialect_s_prefix(id_: str, written: str) -> None:
    assert write(Reply(id=id_))[0]["id"] == written


@pytest.mark.parametrize(
    ("part", "block", "lost"),
    [
        (Text(text=""), None, set()),
        (
            Text(text="t", citations=(Citation(url="https://x", title="X", start=0, end=1),)),
            {
                "type": "text",
                "text": "t",
                "citations": [
                    {
                        "type": "web_search_result_location",
                        "url": "https://x",
                        "title": "X",
                        "cited_text": "",
                        "encrypted_index": "",
                    }
                ],
            },
            set(),
        ),
        (
            Text(text="t", citations=(Citation(dialect="responses", raw=Raw(b'{"type":"file_path"}')),)),
            {"type": "text", "text": "t", "citations": []},
            {"reply.annotations"},
        ),
        (Refusal(text="No."), {"type": "text", "text": "No."}, set()),
        (
            ToolCall(id="call_1", name="f", arguments=""),
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {}},
            set(),
        ),
        (
            ToolCall(id="call_1", name="f", arguments="{oops"),
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {"_raw": "{oops"}},
            {"reply.tool_calls.arguments"},
        ),
        (
            ToolCall(
                id="call_1",
                name="f",
                arguments="{}",
                extras={"chat": {"extra_content": Raw(b'{"google":{"thought_signature":"s"}}')}},
            ),
            {
                "type": "tool_use",
                "id": "call_1_plano-seal_705e06afeyJnb29nbGUiOnsidGhvdWdodF9zaWduYXR1cmUiOiJzIn19",
                "name": "f",
                "input": {},
            },
            set(),
        ),
        (
            Thinking(text="t", seal="gAAA", origin="responses", item_id="rs_1"),
            {"type": "thinking", "thinking": "t", "signature": "plano-seal.responses.rs_1.gAAA"},
            set(),
        ),
        (
            Thinking(text="t", origin="chat"),
            {"type": "thinking", "thinking": "t", "signature": "plano-seal.chat.-."},
            set(),
        ),
        (Opaque(dialect="responses", type="mcp_call", raw=Raw(b"{}")), None, {"reply.content"}),
        (Audio(data="eA==", transcript="hello"), {"type": "text", "text": "hello"}, {"reply.audio"}),
    ],
)
def test_parts_of_other_dialects_become_blocks(part: Part, block: Any, lost: set[str]) -> None:
    body, losses = write(Reply(id="chatcmpl-1", parts=(part,)))
    assert body["content"] == ([] if block is None else [block])
    assert losses == lost


def test_a_refusal_that_just_stops_is_a_refusal() -> None:
    assert write(Reply(parts=(Refusal(text="No."),)))[0]["stop_reason"] == "refusal"


def test_what_only_another_dialect_says_of_a_reply_is_reported() -> None:
    reply = Reply(logprobs=Raw(b"{}"), extras={"chat": {"system_fingerprint": Raw(b'"fp"')}})
    assert write(reply)[1] == {"reply.logprobs", "reply.system_fingerprint"}


def test_a_reply_with_gaps_is_still_a_reply() -> None:
    reply = messages.read_reply(
        b'{"content":[{"type":"text","text":null},{"type":"tool_use","name":"f"},{"type":"thinking","thinking":"t"},'
        b'{"type":"hologram","x":1},{"type":"text","text":"t","citations":null,"new":1}],"role":"assistant"}'
    )
    assert reply.parts == (
        Text(text=""),
        ToolCall(id="", name="f", arguments="{}"),
        Thinking(text="t", origin="messages"),
        Opaque(dialect="messages", type="hologram", raw=Raw(b'{"type":"hologram","x":1}')),
        Text(text="t", extras={"messages": {"new": Raw(b"1")}}),
    )
    assert (reply.id, reply.model, reply.finish) == ("", "", "tool_calls")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b'{"type":"message"}',
        b'{"object":"chat.completion","choices":[]}',
        b'{"type":"message","content":"text"}',
        b'{"type":"message","content":[7]}',
        b'{"type":"message","content":[{"type":"text","text":7}]}',
        b'{"type":"message","content":[],"usage":{"input_tokens":"many"}}',
        b'{"type":"message","content":[{"type":"text","text":"\xff"}]}',
    ],
)
def test_what_is_no_reply_is_the_upstream_s_fault(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError) as raised:
        messages.read_reply(body)
    assert raised.value.status == 502


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}', 529),
        (b'{"type":"error","error":{"type":"api_error","message":"busy"}}', 502),
        (b'{"error":{"message":"busy"}}', 502),
        (b'{"error":"busy"}', 502),
    ],
)
def test_an_error_in_a_reply_s_place_is_the_upstream_s_error(body: bytes, status: int) -> None:
    with pytest.raises(UpstreamStatus) as raised:
        messages.read_reply(body)
    assert (raised.value.status, raised.value.message) == (status, "busy")


# --- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "type_"),
    [
        (InvalidRequest("m"), "invalid_request_error"),
        (Unauthenticated("m"), "authentication_error"),
        (PermissionDenied("m"), "permission_error"),
        (ModelNotFound("m"), "not_found_error"),
        (BodyTimeout("m"), "timeout_error"),
        (TooLarge("m"), "request_too_large"),
        (RateLimited("m"), "rate_limit_error"),
        (UpstreamError("m"), "api_error"),
        (UpstreamTimeout("m"), "timeout_error"),
        (StoreUnavailable("m"), "overloaded_error"),
        (PlanoError("m"), "api_error"),
    ],
)
def test_every_kind_of_error_has_its_type(error: PlanoError, type_: str) -> None:
    body = json.loads(messages.write_error(error))
    assert body == {"type": "error", "error": {"type": type_, "message": error.message}}
    event = messages.write_stream_error(error)
    assert event == b"event: error\ndata: " + messages.write_error(error) + b"\n\n"


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (
            529,
            b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
            "overloaded",
            "Overloaded",
        ),
        (
            413,
            b'{"type":"error","error":{"type":"request_too_large","message":"m"},"request_id":"r"}',
            "too_large",
            "m",
        ),
        (500, b'{"type":"error","error":{"type":"api_error","message":"m"}}', "upstream", "m"),
        (402, b'{"type":"error","error":{"type":"billing_error","message":"m"}}', "billing", "m"),
        (429, b'{"type":"error","error":{"type":"brand_new","message":"m"}}', "rate_limit", "m"),
        (400, b'{"error":{"message":"m","code":"c"}}', "invalid_request", "m"),
        (404, b'{"message":"nope"}', "not_found", "nope"),
        (502, b"<html>Bad gateway</html>", "upstream", "Bad gateway"),
        (503, b"", "overloaded", "The upstream answered with status 503."),
        (500, b'{"type":"error","error":null}', "upstream", "The upstream answered with status 500."),
        (500, b"\xff\xfe", "upstream", "��"),
    ],
)
def test_an_upstream_s_error_keeps_status_and_message(status: int, body: bytes, kind: str, message: str) -> None:
    error = messages.read_error(status, body)
    assert (error.status, error.kind, error.message) == (status, kind, message)


def test_the_machine_readable_reason_is_kept() -> None:
    body = b'{"type":"error","error":{"type":"invalid_request_error","message":"m","details":{"error_code":"c"}}}'
    assert messages.read_error(400, body).code == "c"


# --- in passing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b'{"usage":7}', b'{"usage":{"input_tokens":"x"}}', b"{}"])
def test_peeking_at_what_has_no_usage_finds_none(body: bytes) -> None:
    assert messages.peek_usage(body) is None


def test_the_texts_of_a_reply_can_be_changed_in_place() -> None:
    reply = json.loads((GOLDEN_FILES / "reply-rich.messages.json").read_bytes())
    (slot,) = messages.reply_texts(reply)
    assert (slot.key, slot.kind, slot.holder[slot.field]) == (4, "whole", "It is green.")
    slot.holder[slot.field] = "***"
    assert reply["content"][4]["text"] == "***"


@pytest.mark.parametrize("reply", [{}, {"content": None}, {"content": "x"}, {"content": [7, {"type": "text"}]}])
def test_a_reply_without_texts_has_none(reply: Any) -> None:
    assert messages.reply_texts(reply) == []
