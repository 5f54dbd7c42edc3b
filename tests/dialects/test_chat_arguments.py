"""A call's arguments are known to be whole after the right piece, and not before."""

from __future__ import annotations

import json

import pytest

from plano.conversation import PartStart, PartStop, Text, ToolCall
from plano.dialects import reading
from plano.dialects.chat.arguments import Arguments
from plano.dialects.chat.stream_reader import ChatStreamReader
from plano.frames import sse

WRITTEN = [
    "{}",
    ' {"a": 1} \n',
    '{"a": "}", "b": ["\\"]", {"c\\\\": "\\u007d"}]}',
    '{"a": "ends in a backslash \\\\"}',
    '{"a": 1}{"b": 2}',
    '{"a": 1} x',
    '{"a": [1}',
    "[1]",
    "12",
    '"{}"',
    "}{",
    '{"a": "unfinished',
    "",
]


@pytest.mark.parametrize("written", WRITTEN)
def test_they_are_whole_when_a_parser_says_so(written: str) -> None:
    for step in (1, 2, 3, len(written) or 1):
        arguments = Arguments()
        for start in range(0, len(written), step):
            arguments.pieces.append(written[start : start + step])
            assert arguments.whole() == reading.is_object("".join(arguments.pieces))
        assert arguments.whole() == reading.is_object(written)


@pytest.mark.parametrize("written", WRITTEN)
def test_it_does_not_matter_how_often_it_was_asked(written: str) -> None:
    for cut in range(len(written) + 1):
        arguments = Arguments()
        arguments.pieces += [written[:cut], written[cut:]]
        assert arguments.whole() == reading.is_object(written)


def test_a_whole_call_without_a_name_takes_no_other_parts_place() -> None:
    reader, events = ChatStreamReader(), []
    nameless = {"tool_calls": [{"index": 0, "id": "a", "function": {"arguments": "{}"}}]}
    named = {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "n", "arguments": "{}"}}]}
    for delta in ({"content": "Hi"}, nameless, named, {}):
        choice = {"index": 0, "delta": delta, "finish_reason": None if delta else "tool_calls"}
        events += reader.feed(sse.Frame(None, json.dumps({"id": "i", "choices": [choice]}).encode()))
    events += reader.feed(sse.Frame(None, b"[DONE]"))
    started = {event.index: event.part for event in events if isinstance(event, PartStart)}
    assert [type(started[index]) for index in range(3)] == [Text, ToolCall, ToolCall]
    assert sorted(event.index for event in events if isinstance(event, PartStop)) == [0, 1, 2]
