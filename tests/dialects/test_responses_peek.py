"""The usage, the end and the texts of forwarded replies of the responses dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plano.conversation import Usage
from plano.dialects import responses
from plano.dialects.codec import StreamEnd
from plano.frames import sse
from tests.dialects.support import GOLDEN_FILES

STREAM = (GOLDEN_FILES / "rich_reply.responses.sse").read_bytes()
REPLY = (GOLDEN_FILES / "rich_reply.responses.json").read_bytes()

USAGE = Usage(input_tokens=100, output_tokens=50, cached_tokens=64, cache_creation_tokens=8, reasoning_tokens=20)
TEXT = "Grüße 🐱 says hi"


def test_a_replys_usage_is_found() -> None:
    assert responses.peek_usage(REPLY) == USAGE


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"usage":null}', b'{"usage":{}}', b'{"usage":{"input_tokens":"x"}}']
)
def test_no_usage_is_none(body: bytes) -> None:
    assert responses.peek_usage(body) is None


def test_the_end_of_a_stream_tells_usage_and_reason() -> None:
    frames = sse.frames(STREAM)
    pieces = [sse.frame(frame.data, frame.event) for frame in frames]
    end = StreamEnd(complete=True, failed=False, usage=USAGE, finish="tool_calls")
    assert responses.peek_stream(pieces[0], pieces[-3:]) == end
    assert responses.peek_stream(STREAM, [STREAM]) == end
    assert responses.peek_stream(pieces[0], [*pieces[-2:], b": ping\n\n"]) == end


OPEN = StreamEnd(complete=False, failed=False, usage=None, finish=None)
FAILED = StreamEnd(complete=True, failed=True, usage=None, finish=None)


@pytest.mark.parametrize(
    ("last", "end"),
    [
        (b"", OPEN),
        (b"data: [DONE]\n\n", OPEN),
        (b'data: {"type":"response.output_text.delta","delta":"response.completed error"}\n\n', OPEN),
        (b'event: response.output_text.done\ndata: {"type":"response.output_text.done"}\n\n', OPEN),
        (b'data: {"type":"response.failed","response":{"error":{}}}\n\n', FAILED),
        (b'event: error\ndata: {"type":"error","message":"m"}\n\n', FAILED),
        (
            b'data: {"type":"response.incomplete","response":{"incomplete_details":{"reason":"anything"}}}\n\n',
            StreamEnd(complete=True, failed=False, usage=None, finish="length"),
        ),
        (
            b'data: {"type":"response.completed","response":{"output":[{"type":"message"}]}}\r\n\r\n',
            StreamEnd(complete=True, failed=False, usage=None, finish="stop"),
        ),
    ],
)
def test_every_end_is_known(last: bytes, end: StreamEnd) -> None:
    assert responses.peek_stream(b"", [last]) == end


def test_a_stream_that_broke_is_not_complete() -> None:
    pieces = [sse.frame(frame.data, frame.event) for frame in sse.frames(STREAM)]
    assert not responses.peek_stream(pieces[0], pieces[-4:-1]).complete


def test_the_texts_of_a_reply_can_be_rewritten() -> None:
    parsed = json.loads(REPLY)
    (slot,) = responses.reply_texts(parsed)
    assert (slot.key, slot.kind, slot.holder[slot.field]) == ((2, 0), "whole", TEXT)
    slot.holder[slot.field] = "changed"
    assert parsed["output"][2]["content"][0]["text"] == "changed"


def test_the_texts_of_a_stream_have_one_key_from_delta_to_end() -> None:
    found: list[tuple[str, str, str]] = []
    for frame in sse.frames(STREAM):
        event = json.loads(frame.data)
        for slot in responses.event_texts(event):
            assert slot.key == (2, 0)
            found.append((event["type"].removeprefix("response."), slot.kind, slot.holder[slot.field]))
    assert found == [
        ("output_text.delta", "delta", "Grü"),
        ("output_text.delta", "delta", "ße 🐱"),
        ("output_text.delta", "delta", " says hi"),
        ("output_text.done", "whole", TEXT),
        ("content_part.done", "whole", TEXT),
        ("output_item.done", "whole", TEXT),
        ("completed", "whole", TEXT),
    ]


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": "response.output_text.delta"},
        {"type": "response.output_item.done", "item": None},
        {"type": "response.output_item.done", "item": {"type": "message", "content": "x"}},
        {"type": "response.content_part.done", "part": {"type": "output_text"}},
        {"type": "response.completed", "response": {"output": [1, {"type": "message", "content": [2]}]}},
        {"output": "x"},
    ],
)
def test_odd_shapes_have_no_texts(event: dict[str, Any]) -> None:
    assert responses.event_texts(event) == []
    assert responses.reply_texts(event) == []
