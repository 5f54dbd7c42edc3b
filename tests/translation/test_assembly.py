"""Replies put together from steps, and taken apart into them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from plano.conversation import Finished, PartStart, Refusal, Reply, Start, Text, TextDelta, ToolCall, Usage
from plano.translation.assembly import ReplyBuilder, completed, events_of


def built(*deltas: TextDelta) -> Reply:
    builder = ReplyBuilder()
    for event in (Start(id="1"), PartStart(0, Text(text="")), *deltas, Finished(finish="stop")):
        builder.feed(event)
    return builder.reply()


LOGPROBS: dict[str, tuple[list[Any], Any]] = {
    "none": ([None, None], None),
    "of one delta, as they were written": ([None, {"content": [1.50], "x": []}], {"content": [1.50], "x": []}),
    "of two": ([{"content": [1]}, {"content": [2, 3]}], {"content": [1, 2, 3]}),
    "with nulls": (
        [{"content": [1], "refusal": None}, {"content": None, "refusal": [2]}],
        {"content": [1], "refusal": [2]},
    ),
    "in no form that is known": ([{"content": [1]}, {"content": 7}, [8]], {"content": [1]}),
}


@pytest.mark.parametrize("case", LOGPROBS)
def test_logprobs_of_deltas_become_those_of_the_reply(case: str) -> None:
    given, expected = LOGPROBS[case]
    deltas = [TextDelta(0, "a", None if each is None else Raw(json.dumps(each).encode())) for each in given]
    found = built(*deltas).logprobs
    assert (None if found is None else json.loads(bytes(found))) == expected


@pytest.mark.parametrize("part", [Text(text="a"), Refusal(text="a")])
def test_a_reply_is_the_same_after_it_was_taken_apart(part: Any) -> None:
    call = ToolCall(id="c", name="f", arguments="{}")
    reply = Reply(id="1", parts=(call, part, part), finish="length", logprobs=Raw(b'{"content":[1]}'))
    builder = ReplyBuilder()
    for event in events_of(reply):
        builder.feed(event)
    assert builder.reply() == reply


CALL = ToolCall(id="", name="f", arguments="{}")
COMPLETED: list[tuple[Reply | str, Reply]] = [
    ("Hi", Reply(id="i", model="m", created=5, parts=(Text(text="Hi"),), usage=Usage())),
    (
        Reply(id="mine", model="own", created=0, usage=Usage(input_tokens=1), finish="length"),
        Reply(id="mine", model="own", created=0, usage=Usage(input_tokens=1), finish="length"),
    ),
    (
        Reply(parts=(CALL, ToolCall(id="x", name="g", arguments="{}"))),
        Reply(
            id="i",
            model="m",
            created=5,
            parts=(ToolCall(id="call_i_0", name="f", arguments="{}"), ToolCall(id="x", name="g", arguments="{}")),
            finish="tool_calls",
            usage=Usage(),
        ),
    ),
    (
        Reply(parts=(ToolCall(id="x", name="g", arguments="{}"),), finish="length"),
        Reply(
            id="i",
            model="m",
            created=5,
            parts=(ToolCall(id="x", name="g", arguments="{}"),),
            finish="length",
            usage=Usage(),
        ),
    ),
]


@pytest.mark.parametrize(("given", "expected"), COMPLETED)
def test_what_a_reply_leaves_out_is_filled_in(given: Reply | str, expected: Reply) -> None:
    assert completed(given, id="i", model="m", now=5) == expected
