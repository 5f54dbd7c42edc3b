"""Streams of the messages dialect, both ways: whole, cut anywhere, interleaved, and broken."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pydantic
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message as OracleMessage
from anthropic.types import RawMessageStreamEvent
from msgspec import Raw

from plano.conversation import (
    Audio,
    Citation,
    CitationDelta,
    Conversation,
    Event,
    Failed,
    Finished,
    Opaque,
    PartStart,
    PartStop,
    Ping,
    RedactedThinking,
    Refusal,
    Reply,
    SealDelta,
    Start,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    Unknown,
    Usage,
)
from plano.dialects import messages
from plano.errors import RateLimited, UpstreamProtocolError, UpstreamStatus
from plano.frames.sse import Frame, frames
from plano.translation.assembly import events_of
from tests.dialects import support
from tests.dialects.support import GOLDEN_FILES, built

GOLDEN = sorted(GOLDEN_FILES.glob("stream-*.messages.sse"))
ORACLE: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(RawMessageStreamEvent)
OUTSIDE_THE_UNION = {"ping", "error"}


def read(pieces: Iterable[bytes]) -> list[Event]:
    return support.read_stream(messages, pieces)


def write(events: Iterable[Event]) -> bytes:
    return support.write_stream(messages, events)


def checked(stream: bytes) -> list[Any]:
    """The events of a whole stream, held to the grammar and to the SDK's types."""
    events = []
    for frame in frames(stream):
        event = json.loads(frame.data)
        assert frame.event == event["type"]
        if event["type"] not in OUTSIDE_THE_UNION:
            ORACLE.validate_python(event)
        events.append(event)
    _hold_to_the_grammar([event for event in events if event["type"] not in OUTSIDE_THE_UNION])
    return events


def _hold_to_the_grammar(events: list[Any]) -> None:
    assert [event["type"] for event in events][:1] == ["message_start"]
    assert [event["type"] for event in events][-2:] == ["message_delta", "message_stop"]
    open_, started = None, 0
    for event in events[1:-2]:
        match event["type"]:
            case "content_block_start":
                assert open_ is None
                assert event["index"] == started
                open_, started = started, started + 1
            case "content_block_delta":
                assert event["index"] == open_
            case "content_block_stop":
                assert event["index"] == open_
                open_ = None
            case other:
                raise AssertionError(f"{other} in the midst of a stream")
    assert open_ is None


def final(stream: bytes) -> Any:
    """The message that the SDK makes of a stream."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in checked(stream):
        if event["type"] not in OUTSIDE_THE_UNION:
            parsed = ORACLE.validate_python(event)
            snapshot = accumulate_event(event=parsed, current_snapshot=snapshot, json_bufs=buffers)
    return json.loads(snapshot.to_json())


def blocks(events: Iterable[Event]) -> Any:
    """The content that the SDK reads from the stream that is written for `events`."""
    return final(write([Start(id="msg_1", model="m"), *events, Finished(finish="stop")]))["content"]


def rewritten(reply: Reply) -> Any:
    return support.write_reply(messages, reply)[0]


def line(type_: str, **fields: Any) -> bytes:
    return b"event: " + type_.encode() + b"\ndata: " + json.dumps({"type": type_, **fields}).encode() + b"\n\n"


def start(**usage: int) -> bytes:
    return line("message_start", message={"id": "msg_1", "model": "m", "content": [], "usage": usage})


def end(reason: str | None = "end_turn", **usage: int) -> bytes:
    return line("message_delta", delta={"stop_reason": reason}, usage=usage) + line("message_stop")


# --- golden streams --------------------------------------------------------------------------------


def test_there_are_golden_streams() -> None:
    assert GOLDEN


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_a_stream_reads_the_same_however_it_is_cut(path: Path) -> None:
    stream = path.read_bytes()
    whole = read([stream])
    assert read(stream[n : n + 1] for n in range(len(stream))) == whole
    assert read([stream.replace(b"\n", b"\r\n")]) == whole
    for offset in range(1, len(stream)):
        assert read([stream[:offset], stream[offset:]]) == whole


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_a_stream_that_is_read_and_written_makes_the_same_message(path: Path) -> None:
    stream = path.read_bytes()
    written = write(read([stream]))
    assert final(written) == final(stream)
    assert built(read([written])) == built(read([stream]))


def test_streamed_or_not_a_reply_is_the_same() -> None:
    streamed = rewritten(built(read([(GOLDEN_FILES / "stream-rich.messages.sse").read_bytes()])))
    whole = rewritten(messages.read_reply((GOLDEN_FILES / "reply-rich.messages.json").read_bytes()))
    assert streamed["content"][4].pop("text") == "It is “green” 😀."
    assert whole["content"][4].pop("text") == "It is green."
    assert streamed == whole


def test_a_whole_reply_as_a_stream_is_the_same_message() -> None:
    body = (GOLDEN_FILES / "reply-rich.messages.json").read_bytes()
    message = final(write(events_of(messages.read_reply(body))))
    expected = OracleMessage.model_validate_json(body)
    assert message["content"] == json.loads(expected.to_json())["content"]
    assert message["usage"] == json.loads(body)["usage"]
    assert message["stop_reason"] == "tool_use"


# --- reading ---------------------------------------------------------------------------------------

TEXT = [
    start(input_tokens=3),
    line("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    line("content_block_delta", index=0, delta={"type": "text_delta", "text": "hi"}),
    line("content_block_stop", index=0),
    end(output_tokens=2),
]


def test_usage_of_start_and_end_is_put_together() -> None:
    first = start(input_tokens=3, cache_read_input_tokens=10, cache_creation_input_tokens=100, output_tokens=1)
    events = read([first, end(output_tokens=7, input_tokens=0)])
    assert events[-1] == Finished(
        finish="stop",
        usage=Usage(input_tokens=113, output_tokens=7, cached_tokens=10, cache_creation_tokens=100),
    )
    assert read([start(), end(input_tokens=5, output_tokens=7)])[-1] == Finished(
        finish="stop", usage=Usage(input_tokens=5, output_tokens=7)
    )


def test_a_stream_without_usage_has_none() -> None:
    frames_ = line("message_start", message={"id": "msg_1"}), line("message_delta", delta={"stop_reason": "end_turn"})
    assert read([*frames_, line("message_stop")]) == [Start(id="msg_1"), Finished(finish="stop")]


def test_a_call_whose_input_comes_whole_is_whole() -> None:
    events = read(
        [
            start(),
            line(
                "content_block_start",
                index=0,
                content_block={"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
            ),
            line("content_block_stop", index=0),
            end("tool_use"),
        ]
    )
    assert events[1:4] == [
        PartStart(0, ToolCall(id="c", name="f", arguments="")),
        TextDelta(0, '{"a": 1}'),
        PartStop(0),
    ]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    golden = (GOLDEN_FILES / "stream-rich.messages.sse").read_bytes()
    assert built(read([golden])).parts[-1] == ToolCall(id="toolu_02", name="ls", arguments="{}")


def test_a_signature_in_pieces_or_at_once_is_the_same_seal() -> None:
    block = {"type": "thinking", "thinking": "t", "signature": "ab"}
    at_once = [line("content_block_start", index=0, content_block=block), line("content_block_stop", index=0)]
    pieces = [
        line("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}),
        line("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "t"}),
        line("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "a"}),
        line("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "b"}),
        line("content_block_stop", index=0),
    ]
    expected = (Thinking(text="t", seal="ab", origin="messages"),)
    assert built(read([start(), *at_once, end()])).parts == expected
    assert built(read([start(), *pieces, end()])).parts == expected


def test_a_block_only_this_dialect_has_is_put_together() -> None:
    events = read(
        [
            start(),
            line("content_block_start", index=0, content_block={"type": "compaction", "content": None}),
            line("content_block_delta", index=0, delta={"type": "compaction_delta", "content": "so "}),
            line("content_block_delta", index=0, delta={"type": "compaction_delta", "content": "far"}),
            line("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": None}),
            line("content_block_stop", index=0),
            end(),
        ]
    )
    whole = Raw(b'{"type":"compaction","content":"so far"}')
    assert events[1:3] == [PartStart(0, Opaque(dialect="messages", type="compaction", raw=whole)), PartStop(0)]


def test_new_events_are_passed_on_as_they_are() -> None:
    odd = b'{"type":"sparkle","index":"a","delta":"b"}'
    fine = b'{"type":"glitter"}'
    delta = b'{"type":"content_block_delta","index":0,"delta":{"type":"colour_delta","colour":"red"}}'
    events = read([*TEXT[:2], b"data: " + odd + b"\n\n", b"data: " + fine + b"\n\n", b"data: " + delta + b"\n\n"])
    assert events[2:5] == [
        Unknown("messages", "sparkle", odd),
        Unknown("messages", "glitter", fine),
        Unknown("messages", "content_block_delta", delta),
    ]
    assert b"event: sparkle\ndata: " + odd + b"\n\n" in write([*events[:4], Finished(finish="stop")])


def test_pings_comments_and_openai_s_end_are_fine() -> None:
    stream = [*TEXT[:3], b": keepalive\n\n", line("ping"), *TEXT[3:], b"data: [DONE]\n\n"]
    assert [event for event in read(stream) if event != Ping()] == read(TEXT)


def test_the_event_s_name_stands_in_for_a_missing_type() -> None:
    assert read([b'event: message_start\ndata: {"message":{"id":"msg_1"}}\n\n'])[0] == Start(id="msg_1")


def test_what_a_server_leaves_out_is_made_up_for() -> None:
    bare = [TEXT[1], TEXT[2], end(None)]
    assert read(bare) == [
        Start(),
        PartStart(0, Text(text="")),
        TextDelta(0, "hi"),
        PartStop(0),
        Finished(finish="stop", usage=Usage()),
    ]


def test_a_stream_that_said_why_it_ends_needs_no_message_stop() -> None:
    whole = read(TEXT)
    delta = line("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2})
    assert read([*TEXT[:4], delta]) == whole
    assert read([*TEXT[:4], delta.rstrip()]) == whole


@pytest.mark.parametrize("length", range(5))
def test_a_stream_that_ends_before_its_time_has_failed(length: int) -> None:
    events = read(TEXT[:length] if length < 5 else TEXT)
    last = events[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, UpstreamProtocolError)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, 529),
        ({"type": "error", "error": {"type": "rate_limit_error", "message": "busy"}}, 429),
        ({"type": "error", "error": {"type": "api_error", "message": "busy"}}, 502),
        ({"error": {"message": "busy"}}, 502),
        ({"error": "busy"}, 502),
    ],
)
@pytest.mark.parametrize("named", [b"event: error\n", b""])
def test_an_error_in_a_stream_is_its_end(body: Any, status: int, named: bytes) -> None:
    events = read([*TEXT[:3], named + b"data: " + json.dumps(body).encode() + b"\n\n"])
    last = events[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, UpstreamStatus)
    assert (last.error.status, last.error.message) == (status, "busy")
    assert [type(event) for event in events].count(Failed) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"oops",
        b"[]",
        b"7",
        b"{}",
        b'{"object":"chat.completion.chunk","choices":[]}',
        b'{"type":"content_block_delta","index":9,"delta":{"type":"text_delta","text":"x"}}',
        b'{"type":"content_block_delta","index":"a","delta":{}}',
        b'{"type":"content_block_start","index":0}',
        b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":7}}',
        b'{"type":"message_delta","delta":{},"usage":{"output_tokens":"many"}}',
        b'{"type":"message_start","message":{"id":7}}',
    ],
)
def test_a_frame_of_something_else_is_the_upstream_s_fault(data: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        messages.stream_reader().feed(Frame(None, data))


# --- writing ---------------------------------------------------------------------------------------


def call(n: int) -> PartStart:
    return PartStart(n, ToolCall(id=f"call_{n}", name="f", arguments=""))


def use(n: int, given: Any) -> Any:
    return {"type": "tool_use", "id": f"call_{n}", "name": "f", "input": given}


def text(text_: str) -> Any:
    return {"type": "text", "text": text_}


def test_the_frames_of_a_plain_answer() -> None:
    stream = write(
        [
            Start(id="chatcmpl-1", model="m"),
            PartStart(0, Text(text="")),
            TextDelta(0, "Grüße \u2028"),
            PartStop(0),
            Finished(finish="length", usage=Usage(input_tokens=10, output_tokens=2, cached_tokens=4)),
        ]
    )
    zeros = '"input_tokens":0,"output_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0'
    counted = '"input_tokens":6,"output_tokens":2,"cache_creation_input_tokens":0,"cache_read_input_tokens":4'
    expected = [
        '{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m",'
        '"content":[],"stop_reason":null,"stop_sequence":null,"usage":{' + zeros + "}}}",
        '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
        '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Grüße \u2028"}}',
        '{"type":"content_block_stop","index":0}',
        '{"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{' + counted + "}}",
        '{"type":"message_stop"}',
    ]
    assert [frame.data.decode() for frame in frames(stream)] == expected
    checked(stream)


INTERLEAVED: list[tuple[str, list[Event], list[Any]]] = [
    (
        "a text before a call is stopped before it",
        [PartStart(0, Text(text="")), TextDelta(0, "a"), call(1), TextDelta(1, "{}"), PartStop(0), PartStop(1)],
        [text("a"), use(1, {})],
    ),
    (
        "a text that goes on after a call goes on in a block of its own",
        [
            PartStart(0, Text(text="")),
            TextDelta(0, "a"),
            call(1),
            TextDelta(1, '{"x":'),
            TextDelta(0, "b"),
            TextDelta(1, "1}"),
            TextDelta(0, "c"),
            PartStop(1),
            PartStop(0),
        ],
        [text("a"), use(1, {"x": 1}), text("bc")],
    ),
    (
        "a call that is complete is stopped when the next begins",
        [call(0), TextDelta(0, '{"x":1}'), call(1), TextDelta(1, "{}"), PartStop(0), PartStop(1)],
        [use(0, {"x": 1}), use(1, {})],
    ),
    (
        "calls in turns come one after the other",
        [
            call(0),
            TextDelta(0, '{"x"'),
            call(1),
            TextDelta(1, '{"y"'),
            call(2),
            TextDelta(0, ":0}"),
            TextDelta(2, '{"z"'),
            TextDelta(1, ":1}"),
            TextDelta(2, ":2}"),
            PartStop(1),
            PartStop(0),
            PartStop(2),
        ],
        [use(0, {"x": 0}), use(1, {"y": 1}), use(2, {"z": 2})],
    ),
    (
        "a call without arguments is not taken for complete before it stops",
        [call(0), call(1), TextDelta(1, '{"y":1}'), TextDelta(0, '{"x":0}'), PartStop(0), PartStop(1)],
        [use(0, {"x": 0}), use(1, {"y": 1})],
    ),
    (
        "what waits goes on streaming once it is its turn",
        [
            call(0),
            TextDelta(0, "{"),
            call(1),
            TextDelta(1, '{"y"'),
            TextDelta(0, "}"),
            PartStop(0),
            TextDelta(1, ":1}"),
            PartStop(1),
        ],
        [use(0, {}), use(1, {"y": 1})],
    ),
    (
        "a part that never stops is stopped at the end",
        [call(0), TextDelta(0, "{"), call(1), TextDelta(0, "}"), TextDelta(1, "{}")],
        [use(0, {}), use(1, {})],
    ),
    (
        "a part of another dialect leaves no trace",
        [
            call(0),
            PartStart(1, Opaque(dialect="responses", type="mcp_call", raw=Raw(b"{}"))),
            TextDelta(0, "{}"),
            PartStop(1),
            PartStop(0),
        ],
        [use(0, {})],
    ),
    (
        "thinking waits for its seal",
        [
            PartStart(0, Thinking(text="", origin="messages")),
            TextDelta(0, "t"),
            PartStart(1, Text(text="")),
            TextDelta(1, "a"),
            SealDelta(0, "s"),
            PartStop(0),
            TextDelta(1, "b"),
            PartStop(1),
        ],
        [{"type": "thinking", "thinking": "t", "signature": "s"}, text("ab")],
    ),
]


@pytest.mark.parametrize(
    ("events", "expected"), [case[1:] for case in INTERLEAVED], ids=[case[0] for case in INTERLEAVED]
)
def test_blocks_never_overlap(events: list[Event], expected: list[Any]) -> None:
    assert blocks(events) == expected


def test_a_second_call_that_follows_a_complete_one_does_not_wait() -> None:
    writer = messages.stream_writer(Conversation())
    for event in (Start(id="msg_1"), call(0), TextDelta(0, "{}")):
        writer.feed(event)
    assert [frame.event for piece in writer.feed(call(1)) for frame in frames(piece)] == [
        "content_block_stop",
        "content_block_start",
    ]
    assert len(writer.feed(TextDelta(1, "{"))) == 1


@pytest.mark.parametrize(
    ("events", "block"),
    [
        ([PartStart(0, Refusal(text="")), TextDelta(0, "No."), PartStop(0)], text("No.")),
        ([PartStart(0, Text(text="")), PartStop(0, Text(text="all at the end"))], text("all at the end")),
        ([PartStart(0, Audio()), TextDelta(0, "spoken"), PartStop(0)], text("spoken")),
        (
            [PartStart(0, RedactedThinking(data="d")), PartStop(0)],
            {"type": "redacted_thinking", "data": "d"},
        ),
        (
            [
                PartStart(0, Thinking(text="", origin="responses", item_id="rs_1")),
                TextDelta(0, "t"),
                SealDelta(0, "a"),
                SealDelta(0, "b"),
                PartStop(0),
            ],
            {"type": "thinking", "thinking": "t", "signature": "plano-seal.responses.rs_1.ab"},
        ),
        (
            [
                PartStart(0, Thinking(text="")),
                TextDelta(0, "t"),
                PartStop(0, Thinking(text="t", seal="s", origin="responses", item_id="rs_1")),
            ],
            {"type": "thinking", "thinking": "t", "signature": "plano-seal.responses.rs_1.s"},
        ),
        (
            [PartStart(0, Thinking(text="", origin="chat")), TextDelta(0, "t"), PartStop(0)],
            {"type": "thinking", "thinking": "t", "signature": "plano-seal.chat.-."},
        ),
        (
            [call(0), PartStop(0, ToolCall(id="call_0", name="f", arguments='{"a":1}'))],
            use(0, {"a": 1}),
        ),
        ([call(0), PartStop(0)], use(0, {})),
        (
            [
                PartStart(0, ToolCall(id="call_0", name="f", arguments="", kind="custom")),
                TextDelta(0, 'a"b\n'),
                TextDelta(0, "c"),
                PartStop(0),
            ],
            use(0, {"input": 'a"b\nc'}),
        ),
        (
            [
                PartStart(
                    0,
                    ToolCall(id="call_0", name="f", arguments="", extras={"chat": {"extra_content": Raw(b'{"s":1}')}}),
                ),
                PartStop(0),
            ],
            use(0, {}) | {"id": "call_0_plano-seal_64339b1deyJzIjoxfQ"},
        ),
    ],
)
def test_each_part_becomes_its_block(events: list[Event], block: Any) -> None:
    assert blocks(events) == [block]


def test_a_citation_by_url_is_written_and_another_is_not() -> None:
    foreign = CitationDelta(0, Citation(dialect="responses", raw=Raw(b"{}")))
    ours = CitationDelta(0, Citation(url="https://x", title="X"))
    (block,) = blocks([PartStart(0, Text(text="")), TextDelta(0, "t"), foreign, ours, PartStop(0)])
    assert [citation["url"] for citation in block["citations"]] == ["https://x"]


def test_a_refusal_that_just_stops_is_a_refusal() -> None:
    stream = write([PartStart(0, Refusal(text="")), TextDelta(0, "No."), PartStop(0), Finished(finish="stop")])
    assert final(stream)["stop_reason"] == "refusal"


def test_usage_is_the_same_streamed_and_not() -> None:
    usage = Usage(input_tokens=100, output_tokens=9, cached_tokens=20, cache_creation_tokens=30, reasoning_tokens=4)
    streamed = final(write([Start(id="msg_1", model="m"), Finished(finish="stop", usage=usage)]))
    whole = rewritten(Reply(id="msg_1", model="m", usage=usage))
    assert streamed["usage"] == whole["usage"]


def test_a_stream_that_fails_ends_in_the_error_and_nothing_else() -> None:
    writer = messages.stream_writer(Conversation())
    for event in (Start(id="msg_1"), PartStart(0, Text(text="")), TextDelta(0, "a")):
        writer.feed(event)
    error = RateLimited("slow down")
    assert writer.feed(Failed(error)) == [messages.write_stream_error(error)]
    assert writer.feed(Finished(finish="stop")) == []
    assert writer.feed(Failed(error)) == []
    assert writer.feed(TextDelta(0, "late")) == []
    assert writer.finish() == []


def test_a_stream_that_fails_at_once_is_just_the_error() -> None:
    assert [frame.event for frame in frames(write([Failed(RateLimited("m"))]))] == ["error"]


def test_pings_go_out_once_the_message_has_started() -> None:
    stream = write([Ping(), Start(id="msg_1"), Ping(), Finished(finish="stop")])
    assert [event["type"] for event in checked(stream)] == ["message_start", "ping", "message_delta", "message_stop"]


def test_there_is_one_message_start_whatever_comes_first() -> None:
    stream = write([PartStart(0, Text(text="")), Start(id="msg_1"), PartStop(0), Finished(finish="stop")])
    assert [event["type"] for event in checked(stream)].count("message_start") == 1


# --- in passing ------------------------------------------------------------------------------------


def test_peeking_at_both_ends_of_a_stream_tells_what_came_of_it() -> None:
    stream = (GOLDEN_FILES / "stream-rich.messages.sse").read_bytes()
    pieces = [piece + b"\n\n" for piece in stream.split(b"\n\n") if piece]
    seen = messages.peek_stream(pieces[0], pieces[-3:])
    assert (seen.complete, seen.failed, seen.finish) == (True, False, "tool_calls")
    assert seen.usage == built(read([stream])).usage
    assert messages.peek_stream(stream, [stream]) == seen


@pytest.mark.parametrize(
    ("last", "complete", "failed"),
    [
        (TEXT[2:4], False, False),
        ([line("message_delta", delta={"stop_reason": "end_turn"})], True, False),
        ([line("message_stop")], True, False),
        ([line("error", error={"type": "api_error", "message": "m"})], True, True),
        ([b'data: {"error":{"message":"m"}}\n\n'], True, True),
        (
            [line("content_block_delta", index=0, delta={"type": "text_delta", "text": '{"error": "message_stop"}'})],
            False,
            False,
        ),
        ([b'data: {"type":"message_stop"'], False, False),
    ],
)
def test_peeking_tells_an_end_from_a_break(last: list[bytes], complete: bool, failed: bool) -> None:
    seen = messages.peek_stream(TEXT[0], last)
    assert (seen.complete, seen.failed) == (complete, failed)


def test_texts_in_events_are_found_and_may_be_changed() -> None:
    found = [slot for frame in frames(b"".join(TEXT)) for slot in messages.event_texts(json.loads(frame.data))]
    assert [(slot.key, slot.kind) for slot in found] == [(0, "delta"), (0, "delta"), (0, "end")]
    assert found[1].holder[found[1].field] == "hi"


def test_thinking_and_arguments_are_no_texts() -> None:
    for delta in ({"type": "thinking_delta", "thinking": "t"}, {"type": "input_json_delta", "partial_json": "{"}):
        assert messages.event_texts({"type": "content_block_delta", "index": 0, "delta": delta}) == []
    assert messages.event_texts({"type": "ping"}) == []
    assert messages.event_texts({}) == []
