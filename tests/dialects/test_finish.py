"""Finish reasons in vendors' own words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plano.conversation import Failed, Finish, Finished
from plano.dialects import chat, messages, responses
from plano.dialects.codec import StreamEnd
from plano.dialects.finish import FAILURES, fails, failure, is_unknown, read_finish
from plano.errors import UpstreamStatus
from plano.frames import sse
from plano.frames.sse import Frame
from tests.dialects.support import read_stream

WORDS: list[tuple[str | None, Finish]] = [
    (None, "stop"),
    ("", "stop"),
    ("stop", "stop"),
    ("STOP", "stop"),
    ("eos", "stop"),
    ("end_turn", "stop"),
    ("stop_sequence", "stop_sequence"),
    ("length", "length"),
    ("MAX_TOKENS", "length"),
    ("max_output_tokens", "length"),
    ("repetition", "length"),
    ("time_limit", "length"),
    ("model_length", "context_window"),
    ("model_context_window_exceeded", "context_window"),
    ("tool_calls", "tool_calls"),
    ("function_call", "tool_calls"),
    ("tool_use", "tool_calls"),
    ("content_filter", "content_filter"),
    ("content_filter: RECITATION", "content_filter"),
    ("sensitive", "content_filter"),
    ("SAFETY", "content_filter"),
    ("guardrail_intervened", "content_filter"),
    ("refusal", "refusal"),
    ("pause_turn", "pause"),
]


@pytest.mark.parametrize(("word", "finish"), WORDS)
def test_a_word_is_read(word: str | None, finish: Finish) -> None:
    assert read_finish(word, called=False) == finish
    assert read_finish(word, called=True) == ("tool_calls" if finish == "stop" else finish)
    assert not is_unknown(word)
    assert failure(word) is None


@pytest.mark.parametrize("word", [*FAILURES, "ERROR", "function_call_filter: MALFORMED_FUNCTION_CALL"])
def test_a_failure_is_an_error_of_the_upstream(word: str) -> None:
    assert fails(word)
    assert not is_unknown(word)
    error = failure(word)
    assert isinstance(error, UpstreamStatus)
    assert error.status in (502, 503)
    assert error.kind == ("overloaded" if error.status == 503 else "upstream")


@pytest.mark.parametrize("word", ["brand_new", "other", "finish_reason_unspecified", "brand_new: WITH_MORE"])
def test_a_word_that_nobody_knows_is_told_apart(word: str) -> None:
    assert is_unknown(word)
    assert read_finish(word, called=False) == "stop"


# --- the end of a stream, as it is forwarded --------------------------------------------------------


def chunk(delta: Any, reason: Any = None, **choice: Any) -> bytes:
    return sse.frame(
        json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": reason, **choice}]}).encode()
    )


SAID = chunk({"content": "a"})
CALL = {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}
WHOLE = {"message": {"role": "assistant", "content": "a"}}


@pytest.mark.parametrize(
    ("frames", "complete", "failed", "finish"),
    [
        ([SAID, chunk({}, "")], False, False, None),
        ([SAID, chunk({}, ""), sse.DONE], True, False, None),
        ([SAID, chunk({}, "stop")], True, False, "stop"),
        ([SAID, chunk({}, "stop"), chunk({"content": ""}, "")], True, False, "stop"),
        ([chunk({"content": "a"}, "stop"), chunk({"content": "b"}, "stop")], True, False, "stop"),
        ([SAID, chunk({}, "stop"), SAID], False, False, "stop"),
        ([SAID, chunk({}, "stop"), chunk(CALL)], False, False, "tool_calls"),
        ([SAID, chunk({}, "stop"), chunk(CALL), sse.DONE], True, False, "tool_calls"),
        ([chunk(None, "stop", **WHOLE)], True, False, "stop"),
        ([chunk(None, "stop", message=CALL)], True, False, "tool_calls"),
        ([SAID, chunk({}, "network_error")], True, True, None),
        ([SAID, chunk({}, "sensitive")], True, False, "content_filter"),
        ([SAID, chunk({}, "brand_new")], True, False, None),
        ([chunk({}, None), sse.frame(b'{"choices":[],"error":{}}'), sse.DONE], True, False, None),
    ],
)
@pytest.mark.parametrize("joined", [False, True])
def test_a_peek_at_the_end_of_chunks(
    frames: list[bytes], joined: bool, complete: bool, failed: bool, finish: Finish | None
) -> None:
    pieces = [b"".join(frames)] if joined else frames
    assert chat.peek_stream(pieces[0], pieces[-4:]) == StreamEnd(complete, failed, None, finish)


@pytest.mark.parametrize(
    ("codec", "frame", "begins"),
    [
        (chat, chunk({}, ""), False),
        (chat, chunk({}, "stop"), True),
        (chat, chunk({"role": "", "content": "", "tool_calls": []}, "", error={}), False),
        (chat, chunk(None, None, message={"role": "assistant", "content": ""}), False),
        (chat, chunk(None, None, **WHOLE), True),
        (chat, chunk({}, "insufficient_system_resource"), False),
        (messages, sse.frame(b'{"type":"message_delta","delta":{"stop_reason":"end_turn"}}'), True),
        (messages, sse.frame(b'{"type":"message_delta","delta":{"stop_reason":"abort"}}'), False),
        (messages, sse.frame(b'{"type":"","delta":{"stop_reason":"end_turn"}}', "message_delta"), True),
    ],
)
def test_a_frame_is_output_or_an_error_or_neither(codec: Any, frame: bytes, begins: bool) -> None:
    (found,) = sse.frames(frame)
    assert codec.begins(found) is begins
    error = codec.error_in(found)
    assert (error is not None) == (b"insufficient" in frame or b"abort" in frame)


def test_texts_end_with_a_reason_that_says_something() -> None:
    event = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": ""}]}
    assert [slot.kind for slot in chat.event_texts(event)] == ["delta"]
    event = {"choices": [{"index": 0, **WHOLE, "finish_reason": "stop"}]}
    assert [(slot.kind, slot.field) for slot in chat.event_texts(event)] == [
        ("delta", "content"),
        ("end", "finish_reason"),
    ]


@pytest.mark.parametrize(
    ("codec", "body", "fault"),
    [
        (chat, {"choices": [{"message": {}, "finish_reason": "stop"}]}, None),
        (chat, {"choices": [{"message": {}, "finish_reason": "length"}]}, None),
        (chat, {"choices": [{"message": {}, "finish_reason": "network_error"}]}, "failed"),
        (chat, {"choices": [{"message": {"content": '"finish_reason":"error"'}, "finish_reason": "length"}]}, None),
        (chat, {"choices": [{"message": {"role": "assistant", "content": None}, "finish_reason": None}]}, "silent"),
        (chat, {"choices": [{"message": {"content": ""}}, {"message": {"content": "a"}}]}, None),
        (chat, {"choices": [{"message": {"tool_calls": [{"id": "1"}]}}]}, None),
        (chat, {"choices": []}, "silent"),
        (chat, {"choices": [1]}, None),
        (messages, {"content": [], "stop_reason": "end_turn"}, None),
        (messages, {"content": [], "stop_reason": "network_error"}, "failed"),
        (messages, {"content": [], "stop_reason": None}, "silent"),
        (messages, {"content": []}, "silent"),
        (messages, {"content": [{"type": "text", "text": "a"}], "stop_reason": None}, None),
        (messages, {"content": [], "stop_reason": 1}, None),
        (responses, {"output": [], "status": "failed"}, "failed"),
        (responses, {"output": [], "status": "in_progress"}, None),
        (responses, {"output": []}, "silent"),
        (responses, {"output": [], "status": ""}, None),
    ],
)
def test_a_look_at_a_whole_reply_tells_its_fault(codec: Any, body: Any, fault: str | None) -> None:
    written = json.dumps(body, separators=(",", ":")).encode()
    assert codec.look(written).fault(written) == fault


# --- responses --------------------------------------------------------------------------------------


def ended(type_: str, **fields: Any) -> list[bytes]:
    response = {
        "id": "resp_1",
        "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]}],
        **fields,
    }
    return [sse.frame(json.dumps({"type": type_, "response": response}).encode(), "response.completed")]


@pytest.mark.parametrize(
    ("type_", "fields", "finish"),
    [
        ("response.completed", {"status": "completed"}, "stop"),
        ("response.completed", {"status": ""}, "stop"),
        ("", {"status": "", "incomplete_details": None}, "stop"),
        ("response.incomplete", {"status": ""}, "length"),
        (
            "response.completed",
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            "length",
        ),
        ("response.completed", {"incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ("response.completed", {"status": "completed", "incomplete_details": {"reason": ""}}, "stop"),
        ("response.incomplete", {"incomplete_details": {"reason": "model_context_window_exceeded"}}, "context_window"),
        ("response.incomplete", {"incomplete_details": {"reason": "brand_new"}}, "length"),
    ],
)
def test_responses_end_as_their_status_says(type_: str, fields: dict[str, Any], finish: Finish) -> None:
    events = read_stream(responses, ended(type_, **fields))
    assert isinstance(events[-1], Finished)
    assert events[-1].finish == finish
    assert responses.peek_stream(b"", ended(type_, **fields)) == StreamEnd(True, False, None, finish)


def test_a_completed_response_that_failed_is_a_failure() -> None:
    frames = ended("response.completed", status="failed", error={"code": "server_error", "message": "no"})
    assert isinstance(read_stream(responses, frames)[-1], Failed)
    assert responses.peek_stream(b"", frames).failed


def test_reasoning_is_read_under_its_other_name() -> None:
    data = [
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {"type": "reasoning", "id": "rs_1", "summary": []},
        },
        {"type": "response.reasoning.delta", "output_index": 0, "content_index": 0, "delta": "Hm."},
        {"type": "response.reasoning.done", "output_index": 0, "content_index": 0, "text": "Hm."},
    ]
    frames = [Frame(None, json.dumps(each).encode()) for each in data]
    reader = responses.stream_reader()
    found = [event for frame in frames for event in reader.feed(frame)]
    assert "".join(event.text for event in found if hasattr(event, "text")) == "Hm."
