"""Streams of the responses dialect, read and written."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from plano.conversation import (
    Audio,
    AudioDelta,
    Citation,
    CitationDelta,
    Conversation,
    Event,
    Failed,
    Finished,
    Opaque,
    Part,
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
    Tool,
    ToolCall,
    Unknown,
    Usage,
)
from plano.dialects import responses
from plano.dialects.responses.errors import CODES
from plano.errors import PlanoError, RateLimited, UpstreamProtocolError, UpstreamStatus, UpstreamUnavailable
from plano.frames import sse
from plano.translation.assembly import events_of
from tests.dialects import support
from tests.dialects.support import GOLDEN_FILES, built

STREAM = (GOLDEN_FILES / "rich_reply.responses.sse").read_bytes()
REPLY = msgspec.json.format((GOLDEN_FILES / "rich_reply.responses.json").read_bytes(), indent=-1)
WHOLE = responses.read_reply(REPLY)
ASKED = responses.read_request((GOLDEN_FILES / "rich_asked.responses.json").read_bytes())

NOTHING_ASKED = Conversation(model="m")
CUSTOM = Conversation(model="m", tools=(Tool(name="g", kind="custom"),))

SDK_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


# --- reading ---------------------------------------------------------------------------------------


def read(pieces: list[bytes]) -> list[Event]:
    return support.read_stream(responses, pieces)


def stream(*events: dict[str, Any]) -> list[bytes]:
    return [sse.frame(msgspec.json.encode(event), event.get("type")) for event in events]


def done(*output: dict[str, Any], **fields: Any) -> dict[str, Any]:
    reply = {"id": "resp_1", "model": "m", "created_at": 5, "status": "completed", "output": list(output), **fields}
    return {"type": "response.completed", "response": reply}


CREATED = {"type": "response.created", "response": {"id": "resp_1", "model": "m", "created_at": 5, "output": []}}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "hi", "annotations": []}],
}
CALL = {"id": "fc_1", "type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}'}


def test_a_rich_stream_builds_the_reply_it_repeats() -> None:
    assert built(read([STREAM])) == WHOLE


def test_the_steps_of_a_rich_stream_are_in_order() -> None:
    events = read([STREAM])
    assert isinstance(events[0], Start)
    assert (events[0].id, events[0].model, events[0].created) == ("resp_68a0", "gpt-5-2025-08-07", 1750000000)
    assert [event.index for event in events if isinstance(event, PartStart)] == list(range(6))
    assert [event.index for event in events if isinstance(event, PartStop)] == list(range(6))
    assert isinstance(events[-1], Finished)
    assert events[-1].finish == "tool_calls"
    assert events[-1].usage == Usage(
        input_tokens=100, output_tokens=50, cached_tokens=64, cache_creation_tokens=8, reasoning_tokens=20
    )
    assert {event.name for event in events if isinstance(event, Unknown)} == {
        "response.web_search_call.in_progress",
        "response.web_search_call.searching",
        "response.web_search_call.completed",
    }


def test_a_seal_comes_from_the_item_that_is_done() -> None:
    seals = [event for event in read([STREAM]) if isinstance(event, SealDelta)]
    assert seals == [SealDelta(0, "gAAAAABo+/==")]


def test_a_stream_cut_at_any_byte_is_the_same_stream() -> None:
    whole = read([STREAM])
    assert read([STREAM[at : at + 1] for at in range(len(STREAM))]) == whole
    for cut in range(0, len(STREAM), 11):
        assert read([STREAM[:cut], STREAM[cut:]]) == whole


def test_a_short_stream_cut_at_every_offset_is_the_same_stream() -> None:
    place = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
    text = "né 🐱"
    short = b"".join(
        stream(
            CREATED,
            {"type": "response.output_item.added", "output_index": 0, "item": MESSAGE | {"content": []}},
            {"type": "response.output_text.delta", **place, "delta": text},
            {"type": "response.output_text.done", **place, "text": text},
            done(),
        )
    )
    whole = read([short])
    assert [event.text for event in whole if isinstance(event, TextDelta)] == [text]
    for cut in range(len(short)):
        assert read([short[:cut], short[cut:]]) == whole


@pytest.mark.parametrize("newline", [b"\r\n", b"\r"])
def test_line_ends_make_no_difference(newline: bytes) -> None:
    assert read([STREAM.replace(b"\n", newline)]) == read([STREAM])


SAME = [
    "event names",
    "created",
    "in_progress",
    "output_item.added",
    "output_item.done",
    "content_part.added",
    "content_part.done",
    "output_text.delta",
    "output_text.done",
    "output_text.annotation.added",
    "refusal.delta",
    "refusal.done",
    "function_call_arguments.delta",
    "function_call_arguments.done",
    "custom_tool_call_input.delta",
    "custom_tool_call_input.done",
    "reasoning_summary_part.added",
    "reasoning_summary_text.delta",
    "reasoning_summary_text.done",
]


@pytest.mark.parametrize("left_out", SAME)
def test_whatever_a_server_leaves_out_is_caught_up_on(left_out: str) -> None:
    frames = sse.frames(STREAM)
    if left_out == "event names":
        pieces = [sse.frame(frame.data) for frame in frames]
    else:
        pieces = [sse.frame(frame.data, frame.event) for frame in frames if frame.event != f"response.{left_out}"]
    found = built(read(pieces))
    assert (found.id, found.finish, found.usage) == (WHOLE.id, WHOLE.finish, WHOLE.usage)
    assert len(found.parts) == len(WHOLE.parts)
    for part in found.parts:  # which may have started in another order
        assert without_phase(part) in [without_phase(known) for known in WHOLE.parts]


def test_only_the_end_is_enough() -> None:
    assert built(read(stream(done(MESSAGE, CALL)))) == responses.read_reply(
        msgspec.json.encode(done(MESSAGE, CALL)["response"])
    )


def test_a_call_that_was_sent_whole_at_its_start_is_said_once() -> None:
    pieces = stream(
        CREATED,
        {"type": "response.output_item.added", "output_index": 0, "item": CALL},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"a":1}'},
        {"type": "response.output_item.done", "output_index": 0, "item": CALL},
        done(CALL),
    )
    assert "".join(event.text for event in read(pieces) if isinstance(event, TextDelta)) == '{"a":1}'


def test_raw_reasoning_is_told_from_its_summary() -> None:
    item = {"id": "rs_1", "type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    pieces = stream(
        CREATED,
        {"type": "response.output_item.added", "output_index": 0, "item": item | {"content": []}},
        {"type": "response.reasoning_text.delta", "output_index": 0, "content_index": 0, "delta": "h"},
        {"type": "response.reasoning_text.delta", "output_index": 0, "content_index": 0, "delta": "m"},
        {"type": "response.reasoning_text.done", "output_index": 0, "content_index": 0, "text": "hm"},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        done(item),
    )
    whole = Thinking(text="hm", origin="responses", item_id="rs_1")
    assert built(read(pieces)).parts == (whole,)
    assert read(pieces)[1:5] == [
        PartStart(0, msgspec.structs.replace(whole, text="")),
        TextDelta(0, "h"),
        TextDelta(0, "m"),
        PartStop(0, whole),
    ]


def test_log_probabilities_come_with_their_delta() -> None:
    entry = {"token": "hi", "logprob": -0.5, "top_logprobs": []}
    pieces = stream(
        CREATED,
        {"type": "response.output_item.added", "output_index": 0, "item": MESSAGE | {"content": []}},
        {
            "type": "response.output_text.delta",
            "output_index": 0,
            "content_index": 0,
            "delta": "hi",
            "logprobs": [entry],
        },
        done(MESSAGE),
    )
    (delta,) = [event for event in read(pieces) if isinstance(event, TextDelta)]
    assert delta.logprobs is not None
    assert json.loads(bytes(delta.logprobs)) == {"content": [entry | {"bytes": None}]}


def test_signs_of_life_and_unknown_events_are_told_apart() -> None:
    pieces = stream(CREATED, {"type": "keepalive"}, {"type": "ping"}, {"type": "response.new", "delta": {"x": 1}})
    assert read(pieces)[1:4] == [
        Ping(),
        Ping(),
        Unknown("responses", "response.new", b'{"type":"response.new","delta":{"x":1}}'),
    ]


def test_a_done_marker_is_passed_over() -> None:
    assert read([*stream(CREATED, done()), sse.DONE])[-1] == Finished(finish="stop")


@pytest.mark.parametrize(
    ("event", "finish"),
    [
        (done(), "stop"),
        (done(CALL), "tool_calls"),
        (
            {"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}},
            "length",
        ),
        (
            {"type": "response.incomplete", "response": {"incomplete_details": {"reason": "content_filter"}}},
            "content_filter",
        ),
        ({"type": "response.incomplete", "response": {"incomplete_details": {"reason": "new"}}}, "length"),
    ],
)
def test_every_end_has_its_reason(event: dict[str, Any], finish: str) -> None:
    last = read(stream(CREATED, event))[-1]
    assert isinstance(last, Finished)
    assert last.finish == finish


FAILURES: list[tuple[dict[str, Any], int, str]] = [
    ({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "m"}}}, 502, "m"),
    ({"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded", "message": "m"}}}, 429, "m"),
    ({"type": "error", "code": "rate_limit_exceeded", "message": "m", "param": None, "sequence_number": 3}, 429, "m"),
    ({"type": "error", "error": {"type": "invalid_request_error", "message": "m"}}, 400, "m"),
    ({"error": {"message": "m"}}, 502, "m"),
    ({"error": "m"}, 502, "m"),
]


@pytest.mark.parametrize(("event", "status", "message"), FAILURES)
def test_a_failure_is_one_and_ends_the_stream(event: dict[str, Any], status: int, message: str) -> None:
    events = read(stream(CREATED, event, done()))
    assert len(events) == 2
    last = events[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, UpstreamStatus)
    assert (last.error.status, last.error.message) == (status, message)


def test_a_stream_that_ends_too_early_failed() -> None:
    for cut in range(len(sse.frames(STREAM))):
        pieces = [sse.frame(frame.data, frame.event) for frame in sse.frames(STREAM)[:cut]]
        last = read(pieces)[-1]
        assert isinstance(last, Failed)
        assert isinstance(last.error, UpstreamProtocolError)


@pytest.mark.parametrize("data", [b"{", b"[]", b"hello", b'{"choices":[]}', b'{"type":"response.completed"}'])
def test_what_is_no_event_is_the_upstreams_fault(data: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        responses.stream_reader().feed(sse.Frame(None, data))


# --- writing ---------------------------------------------------------------------------------------


def write(events: list[Event], asked: Conversation = NOTHING_ASKED) -> list[dict[str, Any]]:
    """The stream as its events; each is checked on the way: framing, numbering, and the SDK's types."""
    found = []
    for number, frame in enumerate(sse.frames(support.write_stream(responses, events, asked))):
        event = json.loads(frame.data)
        assert event["type"] == frame.event
        assert event["sequence_number"] == number
        SDK_EVENT.validate_python(event)
        found.append(event)
    return found


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


START = Start(id="resp_1", model="m", created=5)


def test_text_has_its_full_grammar() -> None:
    events = write(
        [
            START,
            PartStart(0, Text(text="")),
            TextDelta(0, "Hel"),
            TextDelta(0, ""),
            TextDelta(0, "lo \u2028🐱\n"),
            PartStop(0),
            Finished(finish="stop", usage=Usage(input_tokens=1, output_tokens=2)),
        ]
    )
    assert types(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    item = events[-2]["item"]
    assert item["content"] == [{"type": "output_text", "text": "Hello \u2028🐱\n", "annotations": []}]
    assert {event["item_id"] for event in events if "item_id" in event} == {item["id"]} == {"msg_plano_1_0"}
    assert events[-1]["response"]["output"] == [item]
    assert events[-1]["response"]["usage"]["total_tokens"] == 3
    assert {event["response"]["id"] for event in events if "response" in event} == {"resp_1"}


def test_thinking_and_calls_have_their_full_grammar() -> None:
    events = write(
        [
            START,
            PartStart(0, Thinking(text="", origin="messages")),
            TextDelta(0, "hm"),
            SealDelta(0, "SI"),
            SealDelta(0, "G"),
            PartStop(0),
            PartStart(1, ToolCall(id="call_1", name="f", arguments="")),
            TextDelta(1, "{}"),
            PartStop(1),
            Finished(finish="tool_calls"),
        ]
    )
    assert types(events)[2:-1] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]
    reasoning, call = events[-1]["response"]["output"]
    assert reasoning["encrypted_content"] == "plano-seal.messages.-.SIG"
    assert call["id"] == "fc_plano_1_1"
    assert call["call_id"] == "call_1"
    assert [event["output_index"] for event in events[2:-1]] == [0] * 6 + [1] * 4


def test_raw_reasoning_of_this_dialect_stays_raw() -> None:
    part = Thinking(text="", origin="responses", item_id="rs_1")
    events = write([START, PartStart(0, part), TextDelta(0, "hm"), PartStop(0), Finished(finish="stop")])
    assert types(events)[3:7] == [
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
    ]
    assert events[-1]["response"]["output"][0]["content"] == [{"type": "reasoning_text", "text": "hm"}]


def test_a_custom_tools_text_streams_out_of_its_json() -> None:
    deltas = ['{"inp', 'ut": "a', "b\\", 'nc"', "}"]
    events = write(
        [
            START,
            PartStart(0, ToolCall(id="call_1", name="g", arguments="")),
            *(TextDelta(0, delta) for delta in deltas),
            PartStop(0),
            Finished(finish="tool_calls"),
        ],
        CUSTOM,
    )
    assert [event["delta"] for event in events if "delta" in event] == ["a", "b", "\nc"]
    assert types(events)[-3] == "custom_tool_call_input.done"
    assert events[-3]["input"] == "ab\nc"
    assert events[-1]["response"]["output"][0]["type"] == "custom_tool_call"


def test_items_that_overlap_keep_their_indexes() -> None:
    events = write(
        [
            START,
            PartStart(0, Text(text="")),
            PartStart(1, ToolCall(id="a", name="f", arguments="")),
            PartStart(2, ToolCall(id="b", name="f", arguments="")),
            TextDelta(2, "2"),
            TextDelta(0, "hi"),
            TextDelta(1, "1"),
            PartStop(2),
            PartStop(0),
            PartStart(3, Text(text="")),
            TextDelta(3, "ho"),
            Finished(finish="tool_calls"),
        ]
    )
    deltas = [(event["output_index"], event["delta"]) for event in events if "delta" in event]
    assert deltas == [(2, "2"), (0, "hi"), (1, "1"), (3, "ho")]
    added = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    closed = [event["output_index"] for event in events if event["type"] == "response.output_item.done"]
    assert added == [0, 1, 2, 3]
    assert sorted(closed) == [0, 1, 2, 3]
    output = events[-1]["response"]["output"]
    assert [item.get("arguments") for item in output] == [None, "1", "2", None]
    assert [item["status"] for item in output] == ["completed"] * 4


def test_texts_and_refusals_in_a_row_are_one_message() -> None:
    events = write(
        [
            START,
            PartStart(0, Text(text="")),
            TextDelta(0, "a"),
            PartStop(0),
            PartStart(1, Refusal(text="")),
            TextDelta(1, "no"),
            PartStop(1),
            Finished(finish="stop"),
        ]
    )
    assert types(events)[6:-2] == [
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
    ]
    (item,) = events[-1]["response"]["output"]
    assert [part["type"] for part in item["content"]] == ["output_text", "refusal"]


def test_citations_without_a_place_wait_for_the_end_of_their_text() -> None:
    events = write(
        [
            START,
            PartStart(0, Text(text="")),
            CitationDelta(0, Citation(url="https://x", title="t")),
            TextDelta(0, "abc"),
            CitationDelta(0, Citation(url="https://y", start=0, end=1)),
            CitationDelta(0, Citation(dialect="messages", raw=Raw(b"{}"))),
            PartStop(0),
            Finished(finish="stop"),
        ]
    )
    annotations = [event for event in events if event["type"].endswith("annotation.added")]
    assert [event["annotation_index"] for event in annotations] == [0, 1]
    assert [event["annotation"]["end_index"] for event in annotations] == [1, 3]
    (item,) = events[-1]["response"]["output"]
    assert item["content"][0]["annotations"] == [event["annotation"] for event in annotations]


def test_a_reply_that_was_cut_short_is_incomplete() -> None:
    events = write([START, PartStart(0, Text(text="")), TextDelta(0, "a"), PartStop(0), Finished(finish="length")])
    assert types(events)[-1] == "incomplete"
    assert events[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert events[-1]["response"]["output"][0]["status"] == "incomplete" == events[-2]["item"]["status"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UpstreamUnavailable("gone"), "server_error"),
        (RateLimited("slow"), "rate_limit_exceeded"),
        (UpstreamStatus("bad", status=400, kind="invalid_request"), "invalid_prompt"),
        (UpstreamStatus("bad", status=400, code="image_too_large"), "image_too_large"),
    ],
)
def test_a_failure_says_what_there_was_and_what_went_wrong(error: PlanoError, code: str) -> None:
    events = write(
        [
            START,
            PartStart(0, Text(text="")),
            TextDelta(0, "par"),
            PartStart(1, ToolCall(id="c", name="f", arguments="")),
            TextDelta(1, "{"),
            Failed(error),
            TextDelta(0, "more"),
            Finished(finish="stop"),
        ]
    )
    assert types(events)[-1] == "failed"
    assert events[-1]["error"]["message"] == error.message  # OpenAI's SDKs raise for this object alone
    response = events[-1]["response"]
    assert response["error"] == {"code": code, "message": error.message}
    assert code in CODES
    assert response["status"] == "failed"
    message, call = response["output"]
    assert (message["status"], message["content"][0]["text"]) == ("incomplete", "par")
    assert (call["status"], call["arguments"]) == ("incomplete", "{")


def test_a_failure_before_there_is_a_response_is_an_error_event() -> None:
    (event,) = write([Failed(UpstreamUnavailable("gone"))])
    assert event == {
        "type": "error",
        "code": "upstream_unavailable",
        "message": "gone",
        "param": None,
        "sequence_number": 0,
        "error": {"type": "upstream_error", "code": "upstream_unavailable", "message": "gone", "param": None},
    }


@pytest.mark.parametrize(
    ("last", "number"),
    [
        ((), 0),
        ((b'event: response.created\ndata: {"type":"response.created","sequence_number":0}\n\n',), 1),
        ((b'data: {"sequence_number":7}\n\ndata: {"sequence_number":8}\n\n', b": ping\n\n"), 9),
        ((b'data: {"sequence_number":8}\n\n', b'data: {"sequence_number":7}\n\n'), 9),
        ((b'data: {"delta":"\\"sequence_number\\":99","sequence_number":4}\n\n',), 5),
        ((b'data: {"sequence_number":"x"}\n\n', b"data: [DONE]\n\n", b"data: {\n\n", b"data: [1]\n\n"), 0),
        ((b'data: {"choices":[]}\n\n',), 0),
    ],
)
def test_a_forwarded_stream_that_breaks_ends_in_an_error_event(last: tuple[bytes, ...], number: int) -> None:
    (frame,) = sse.frames(responses.write_stream_error(UpstreamUnavailable("gone"), last))
    assert frame.event == "error"
    event = json.loads(frame.data)
    assert event["sequence_number"] == number
    SDK_EVENT.validate_python(event)
    (last,) = read([sse.frame(frame.data, frame.event)])
    assert isinstance(last, Failed)
    assert last.error.message == "gone"


def test_pings_are_comments_and_foreign_parts_are_silent() -> None:
    writer = responses.stream_writer(NOTHING_ASKED)
    writer.feed(START)
    assert writer.feed(Ping()) == [b": ping\n\n"]
    silent: list[Event] = [
        PartStart(0, Opaque(dialect="messages", type="server_tool_use", raw=Raw(b"{}"))),
        PartStop(0),
        PartStart(1, Audio()),
        TextDelta(1, "a"),
        AudioDelta(1, "AAAA"),
        PartStop(1),
        Unknown("messages", "x", b"{}"),
    ]
    assert [writer.feed(event) for event in silent] == [[]] * len(silent)


def test_json_with_line_breaks_stays_on_one_line() -> None:
    asked = responses.read_request(b'{"tools": [{"type": "function",\r\n "name": "f",\n "parameters": {\n}}]}')
    events = write(events_of(Reply(id="resp_1", parts=(Text(text="a"),))), asked)
    assert events[-1]["response"]["tools"] == [
        {"type": "function", "name": "f", "description": None, "parameters": {}, "strict": None}
    ]


def test_a_rich_stream_is_written_as_it_was_read() -> None:
    written = write(read([STREAM]), ASKED)
    given = [json.loads(frame.data) for frame in sse.frames(STREAM)]
    assert written[-1]["response"] == given[-1]["response"]
    kept = [event["type"] for event in written]
    lost = {"response.web_search_call.in_progress", "response.web_search_call.searching"}
    lost |= {"response.web_search_call.completed", "response.reasoning_summary_part.added"}
    assert set(kept) | lost == {event["type"] for event in given} | {"response.reasoning_summary_part.added"}


def test_the_sdks_own_accumulator_follows() -> None:
    state: Any = ResponseStreamState(input_tools=omit, text_format=omit)
    text = ""
    for event in write(events_of(WHOLE), ASKED):
        for found in state.handle_event(SDK_EVENT.validate_python(event)):
            if found.type == "response.output_text.delta":
                text = found.snapshot
    assert text == "Grüße 🐱 says hi"
    assert state._completed_response.output_text == text


def replies() -> list[Reply]:
    return [
        WHOLE,
        Reply(
            id="chatcmpl-1",
            model="m",
            created=5,
            parts=(
                Thinking(text="hm", seal="S", origin="messages"),
                RedactedThinking(data="D"),
                Text(text="a", citations=(Citation(url="https://x"),)),
                Opaque(dialect="messages", type="x", raw=Raw(b"{}")),
                Text(text="b"),
                ToolCall(id="1", name="f", arguments=""),
                ToolCall(id="2", name="g", arguments='{"input":"x"}'),
                Text(text="c"),
            ),
            finish="length",
            usage=Usage(input_tokens=3, output_tokens=4, cached_tokens=1, reasoning_tokens=2),
        ),
    ]


@pytest.mark.parametrize("reply", replies(), ids=["own", "others"])
@pytest.mark.parametrize("asked", [ASKED, CUSTOM], ids=["rich", "custom"])
def test_a_stream_ends_in_the_reply_that_would_not_have_been_streamed(reply: Reply, asked: Conversation) -> None:
    streamed = write(events_of(reply), asked)[-1]["response"]
    whole, _ = support.write_reply(responses, reply, asked)
    assert streamed == whole
    Response.model_validate(whole)


def without_phase(part: Part) -> Part:
    """Only the start of a message item says its phase before its texts are over."""
    return msgspec.structs.replace(part, extras={}) if isinstance(part, Text) else part
