"""Streams of the chat dialect, read and written, against the SDK's own types."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from msgspec import Raw
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from plano.conversation import (
    Audio,
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
    Start,
    Text,
    TextDelta,
    Thinking,
    Tool,
    ToolCall,
    Unknown,
    Usage,
)
from plano.dialects import chat
from plano.dialects.codec import StreamEnd
from plano.errors import RateLimited, UpstreamProtocolError, UpstreamStatus
from plano.frames import sse
from plano.losses import Losses
from plano.translation.assembly import events_of
from tests.dialects import support
from tests.dialects.support import GOLDEN_FILES, built, case_id

GOLDEN = (GOLDEN_FILES / "stream-rich.chat.sse").read_bytes()
ASKED = Conversation()
WITH_USAGE = Conversation(include_usage=True)
CUSTOM = Conversation(tools=(Tool(name="patch", kind="custom"),))
FUNCTIONS = Conversation(tools=(Tool(name="f", dialect="chat"),))

RICH = Reply(
    id="chatcmpl-1",
    model="gpt-x",
    created=1726000000,
    parts=(
        Thinking(text="Rome or Oslo?", origin="chat"),
        Text(text="Grüße 漢字 🎉", citations=(Citation(url="https://w.test", title="W", start=0, end=5),)),
        ToolCall(
            id="call_1",
            name="look",
            arguments='{"city":"Rome"}',
            extras={"chat": {"extra_content": Raw(b'{"google":{"thought_signature":"c2ln"}}')}},
        ),
        ToolCall(id="call_2", name="look", arguments='{"city":"Oslo"}'),
    ),
    finish="tool_calls",
    usage=Usage(input_tokens=100, output_tokens=20, cached_tokens=64, reasoning_tokens=12),
    extras={"chat": {"prompt_filter_results": Raw(b'[{"prompt_index":0}]'), "system_fingerprint": Raw(b'"fp_1"')}},
)


def events_in(pieces: Iterable[bytes]) -> list[Event]:
    return support.read_stream(chat, pieces)


def chunk(delta: Any = None, *, reason: Any = None, **fields: Any) -> bytes:
    """A frame with one choice; without a delta and a reason, one without choices."""
    choices = [] if delta is None and reason is None else [{"index": 0, "delta": delta or {}, "finish_reason": reason}]
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "m", "choices": choices}
    return sse.frame(msgspec.json.encode({**body, **fields}))


def stream_of(*deltas: Any, reason: str = "stop") -> bytes:
    return b"".join([*(chunk(delta) for delta in deltas), chunk({}, reason=reason), sse.DONE])


def parts_of(*deltas: Any) -> tuple[Part, ...]:
    return built(events_in([stream_of(*deltas)])).parts


def call(index: int | None, id_: str | None = None, name: str | None = None, arguments: str | None = None) -> Any:
    """A delta of a tool call, with the fields that are given."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {
        key: value
        for key, value in (("index", index), ("id", id_), ("function", function or None))
        if value is not None
    }


def calls(*deltas: Any) -> Any:
    return {"tool_calls": list(deltas)}


# --- reading, cut anywhere ---


def test_a_rich_stream_is_read_whole() -> None:
    assert built(events_in([GOLDEN])) == RICH


def test_a_rich_stream_is_read_byte_by_byte() -> None:
    assert built(events_in(GOLDEN[n : n + 1] for n in range(len(GOLDEN)))) == RICH


def test_a_rich_stream_is_read_cut_at_every_offset() -> None:
    whole = events_in([GOLDEN])
    for n in range(len(GOLDEN)):
        assert events_in([GOLDEN[:n], GOLDEN[n:]]) == whole


def test_line_ends_of_every_kind_are_read() -> None:
    whole = events_in([GOLDEN])
    assert events_in([GOLDEN.replace(b"\n", b"\r\n")]) == whole
    assert events_in([GOLDEN.replace(b"\n", b"\r")]) == whole
    assert events_in([GOLDEN.replace(b"data: ", b"data:")]) == whole


def test_streamed_and_not_are_the_same_reply() -> None:
    body = chat.write_reply(RICH, ASKED, Losses())
    assert chat.read_reply(body) == RICH


# --- tool calls in every spelling ---

A = ToolCall(id="a", name="f", arguments='{"x":1}')
B = ToolCall(id="b", name="g", arguments='{"y":2}')

SPELLINGS: list[tuple[str, list[Any]]] = [
    (
        "as OpenAI",
        [
            calls(call(0, "a", "f", "")),
            calls(call(0, None, None, '{"x"')),
            calls(call(0, None, None, ":1}")),
            calls(call(1, "b", "g", "")),
            calls(call(1, None, None, '{"y":2}')),
        ],
    ),
    ("both in one chunk, whole", [calls(call(0, "a", "f", '{"x":1}'), call(1, "b", "g", '{"y":2}'))]),
    ("whole, one a chunk", [calls(call(0, "a", "f", '{"x":1}')), calls(call(1, "b", "g", '{"y":2}'))]),
    ("every index 0", [calls(call(0, "a", "f", '{"x":1}')), calls(call(0, "b", "g", '{"y":2}'))]),
    ("no index", [calls(call(None, "a", "f", '{"x":1}')), calls(call(None, "b", "g", '{"y":2}'))]),
    ("no index, one chunk", [calls(call(None, "a", "f", '{"x":1}'), call(None, "b", "g", '{"y":2}'))]),
    (
        "no index, in pieces",
        [
            calls(call(None, "a", "f", "")),
            calls(call(None, None, None, '{"x":')),
            calls(call(None, None, None, "1}")),
            calls(call(None, "b", "g")),
            calls(call(None, "b", None, '{"y":2}')),
        ],
    ),
    (
        "id and name repeated",
        [
            calls(call(0, "a", "f", '{"x":')),
            calls(call(0, "a", "f", "1}")),
            calls(call(1, "b", "g", '{"y":')),
            calls(call(1, "b", "g", "2}")),
        ],
    ),
    (
        "empty id and name afterwards",
        [
            calls(call(0, "a", "f", "")),
            calls(call(0, "", "", '{"x":1}')),
            calls(call(1, "b", "g", "")),
            calls(call(1, "", "", '{"y":2}')),
        ],
    ),
    (
        "in turns",
        [
            calls(call(0, "a", "f", ""), call(1, "b", "g", "")),
            calls(call(0, None, None, '{"x"'), call(1, None, None, '{"y"')),
            calls(call(1, None, None, ":2}")),
            calls(call(0, None, None, ":1}")),
        ],
    ),
    (
        "the name after the arguments",
        [
            calls(call(0, "a", None, '{"x"')),
            calls(call(0, None, "f", ":1}")),
            calls(call(1, "b")),
            calls(call(1, None, "g", '{"y":2}')),
        ],
    ),
    (
        "every character by itself",
        [
            calls(call(0, "a", "f")),
            *(calls(call(0, None, None, c)) for c in '{"x":1}'),
            calls(call(1, "b", "g")),
            *(calls(call(1, None, None, c)) for c in '{"y":2}'),
        ],
    ),
]


@pytest.mark.parametrize(("spelling", "deltas"), SPELLINGS, ids=lambda value: value if isinstance(value, str) else "")
def test_two_calls_are_read_in_every_spelling(spelling: str, deltas: list[Any]) -> None:
    assert parts_of(*deltas) == (A, B)
    reply = built(events_in([stream_of(*deltas)]))
    assert reply.finish == "tool_calls"


def test_calls_without_ids_get_some_of_their_own() -> None:
    deltas = [calls(call(0, None, "f", '{"x":1}')), calls(call(0, None, "f", '{"x":2}'))]
    assert parts_of(*deltas) == (
        ToolCall(id="call_1_0", name="f", arguments='{"x":1}'),
        ToolCall(id="call_1_1", name="f", arguments='{"x":2}'),
    )


def test_a_call_that_is_whole_stops_when_the_next_one_begins() -> None:
    events = events_in([stream_of(calls(call(0, "a", "f", "{}")), calls(call(1, "b", "g", "")))])
    kinds = [(type(event).__name__, event.index) for event in events if isinstance(event, PartStart | PartStop)]
    assert kinds == [("PartStart", 0), ("PartStop", 0), ("PartStart", 1), ("PartStop", 1)]


def test_what_came_with_a_call_before_its_name_is_kept() -> None:
    deltas = [calls({"index": 0, "id": "a", "extra_content": 1}), calls(call(0, None, "f", "{}"))]
    assert parts_of(*deltas) == (
        ToolCall(id="a", name="f", arguments="{}", extras={"chat": {"extra_content": Raw(b"1")}}),
    )


def test_all_parts_stop_with_the_stream() -> None:
    frames = sse.frames(chunk({"content": "a"}) + chunk(calls(call(0, "a", "f"))) + chunk({}, reason="stop"))
    reader = chat.stream_reader()
    events = [event for frame in frames for event in reader.feed(frame)]
    assert [event.index for event in events if isinstance(event, PartStop)] == [0]
    assert [type(event) for event in reader.finish()] == [PartStop, Finished]


def test_text_between_calls_is_a_part_of_its_own() -> None:
    found = parts_of({"content": "one"}, calls(call(0, "a", "f", "{}")), {"content": "two"}, {"content": "!"})
    assert found == (Text(text="one"), ToolCall(id="a", name="f", arguments="{}"), Text(text="two!"))


def test_text_and_calls_in_one_chunk_are_both_read() -> None:
    found = parts_of({"content": "one", **calls(call(0, "a", "f", "{}"))})
    assert found == (Text(text="one"), ToolCall(id="a", name="f", arguments="{}"))


def test_a_custom_call_is_read() -> None:
    deltas = [
        calls({"index": 0, "id": "c", "type": "custom", "custom": {"name": "patch", "input": "a"}}),
        calls({"index": 0, "custom": {"input": "b"}}),
    ]
    assert parts_of(*deltas) == (ToolCall(id="c", name="patch", arguments="ab", kind="custom"),)


def test_a_legacy_function_call_is_read() -> None:
    deltas = [{"function_call": {"name": "f", "arguments": ""}}, {"function_call": {"arguments": "{}"}}]
    reply = built(events_in([stream_of(*deltas, reason="function_call")]))
    assert reply.parts == (ToolCall(id="call_1_0", name="f", arguments="{}"),)
    assert reply.finish == "tool_calls"


# --- the other deltas ---

DETAIL = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
SUMMARY = {"type": "reasoning.summary", "format": "openai-responses-v1", "index": 0}


def sealed(*entries: dict[str, Any]) -> str:
    return json.dumps(entries, separators=(",", ":"))


DELTAS: list[tuple[list[Any], tuple[Part, ...]]] = [
    ([{"role": "assistant"}, {"content": None}, {"content": ""}], ()),
    ([{"content": "a"}, {"content": ""}, {"content": "b"}], (Text(text="ab"),)),
    ([{"refusal": "no"}, {"refusal": "!"}], (Refusal(text="no!"),)),
    ([{"reasoning": "h"}, {"reasoning": "m"}, {"content": "a"}], (Thinking(text="hm", origin="chat"), Text(text="a"))),
    ([{"reasoning_content": "h", "content": "a"}], (Thinking(text="h", origin="chat"), Text(text="a"))),
    ([{"reasoning_content": "", "content": "a"}], (Text(text="a"),)),
    (
        [
            {"reasoning": "h", "reasoning_details": [{**DETAIL, "text": "h"}]},
            {"reasoning": "m", "reasoning_details": [{**DETAIL, "text": "m"}]},
            {"reasoning_details": [{**DETAIL, "signature": "c2ln"}]},
            {"content": "a"},
        ],
        (
            Thinking(text="hm", seal=sealed({**DETAIL, "text": "hm", "signature": "c2ln"}), origin="chat"),
            Text(text="a"),
        ),
    ),
    (
        [
            {"reasoning_details": [{**DETAIL, "text": "a"}, {**DETAIL, "signature": "1"}]},
            {"reasoning_details": [{**DETAIL, "text": "b"}, {**DETAIL, "text": "", "signature": "2"}]},
        ],
        (
            Thinking(
                text="ab",
                seal=sealed({**DETAIL, "text": "a", "signature": "1"}, {**DETAIL, "text": "b", "signature": "2"}),
                origin="chat",
            ),
        ),
    ),
    (
        [{"reasoning_details": [{**DETAIL, "text": "h"}]}, {"reasoning_details": [{**DETAIL, "text": "m"}]}],
        (Thinking(text="hm", origin="chat"),),
    ),
    (
        [{"reasoning_details": [{"type": "reasoning.encrypted", "data": "eA==", "format": "anthropic-claude-v1"}]}],
        (
            Thinking(
                text="",
                seal=sealed({"type": "reasoning.encrypted", "data": "eA==", "format": "anthropic-claude-v1"}),
                origin="chat",
            ),
        ),
    ),
    (
        [
            {"reasoning_details": [{**SUMMARY, "summary": "s"}]},
            {"reasoning_details": [{**SUMMARY, "summary": "t"}]},
            {"reasoning_details": [{**SUMMARY, "type": "reasoning.encrypted", "data": "eA=="}]},
        ],
        (
            Thinking(
                text="st",
                seal=sealed({**SUMMARY, "summary": "st"}, {**SUMMARY, "type": "reasoning.encrypted", "data": "eA=="}),
                origin="chat",
            ),
        ),
    ),
    (
        [
            {"reasoning": "h", "reasoning_details": [{"type": "reasoning.text", "text": "h", "format": "x"}]},
            {"reasoning_details": [{"type": "reasoning.encrypted", "data": "1"}]},
            {"reasoning_details": [{"type": "odd", "v": 2}]},
            {"content": "a"},
        ],
        (
            Thinking(
                text="h",
                seal=sealed(
                    {"type": "reasoning.text", "text": "h", "format": "x"},
                    {"type": "reasoning.encrypted", "data": "1"},
                    {"type": "odd", "v": 2},
                ),
                origin="chat",
            ),
            Text(text="a"),
        ),
    ),
    (
        [{"reasoning": "h"}, {"reasoning_details": [{**DETAIL, "text": "h", "signature": "c2ln"}]}],
        (Thinking(text="h", seal=sealed({**DETAIL, "text": "h", "signature": "c2ln"}), origin="chat"),),
    ),
    ([{"reasoning_details": [{**DETAIL, "text": ""}]}, {"content": "a"}], (Text(text="a"),)),
    (
        [
            {"audio": {"id": "a", "transcript": "h"}},
            {"audio": {"data": "AA"}},
            {"audio": {"transcript": "i", "data": "BB"}},
            {"audio": {"expires_at": 9}},
        ],
        (Audio(id="a", transcript="hi", data="AABB"),),
    ),
    (
        [
            {"content": [{"type": "thinking", "thinking": [{"text": "h"}]}]},
            {"content": [{"type": "text", "text": "a"}]},
        ],
        (Thinking(text="h", origin="chat"), Text(text="a")),
    ),
    ([{"images": [{"n": 1}]}], (Opaque(dialect="chat", type="images", raw=Raw(b'[{"n":1}]')),)),
    ([{"vendor": {"x": 1}, "content": "a"}], (Text(text="a"),)),
]


@pytest.mark.parametrize(("deltas", "parts"), DELTAS, ids=case_id)
def test_deltas_are_read(deltas: list[Any], parts: tuple[Part, ...]) -> None:
    assert parts_of(*deltas) == parts


def test_logprobs_stay_with_their_text() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -1}], "refusal": None}
    frame = chunk(choices=[{"index": 0, "delta": {"content": "a"}, "logprobs": logprobs}])
    deltas = [event for event in events_in([frame]) if isinstance(event, TextDelta)]
    assert deltas == [TextDelta(0, "a", Raw(msgspec.json.encode(logprobs)))]


def test_of_several_choices_the_first_is_read() -> None:
    first = {"index": 0, "delta": {"content": "a"}}
    second = {"index": 1, "delta": {"content": "b"}, "finish_reason": "length"}
    frames = [chunk(choices=[second, first]), chunk(choices=[second]), chunk({}, reason="stop"), sse.DONE]
    reply = built(events_in(frames))
    assert (reply.parts, reply.finish) == ((Text(text="a"),), "stop")


# --- the end ---

TOTALS = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
HALF = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}

ENDS: list[tuple[str, list[bytes]]] = [
    ("in a chunk of its own", [chunk({}, reason="stop"), chunk(usage=TOTALS), sse.DONE]),
    ("in the finish chunk", [chunk({}, reason="stop", usage=TOTALS), sse.DONE]),
    ("in every chunk", [chunk({"content": ""}, usage=HALF), chunk({}, reason="stop", usage=TOTALS), sse.DONE]),
    ("null elsewhere", [chunk({}, reason="stop", usage=None), chunk(usage=TOTALS), chunk(usage=None), sse.DONE]),
    ("without [DONE]", [chunk({}, reason="stop"), chunk(usage=TOTALS)]),
    ("with a choice of no words", [chunk({}, reason="stop"), chunk({"content": ""}, usage=TOTALS), sse.DONE]),
]


@pytest.mark.parametrize(("where", "end"), ENDS, ids=lambda value: value if isinstance(value, str) else "")
def test_usage_is_found(where: str, end: list[bytes]) -> None:
    reply = built(events_in([chunk({"content": "a"}), *end]))
    assert reply.usage == Usage(input_tokens=3, output_tokens=2)
    assert (reply.parts, reply.finish) == ((Text(text="a"),), "stop")


def test_finished_comes_last_and_once() -> None:
    pieces = [chunk({"content": "a"}, reason="stop"), chunk(usage=TOTALS), sse.DONE, sse.DONE, chunk({"content": "b"})]
    events = events_in(pieces)
    assert [type(event) for event in events].count(Finished) == 1
    assert isinstance(events[-1], Finished)


def test_a_reason_that_nobody_knows_is_a_stop() -> None:
    assert built(events_in([chunk({"content": "a"}, reason="eos"), sse.DONE])).finish == "stop"


def test_done_without_a_reason_is_an_end() -> None:
    assert built(events_in([chunk({"content": "a"}), sse.DONE])).finish == "stop"


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b": nothing\n\n"],
        [sse.DONE],
        [chunk({"content": "a"})],
        [chunk({"role": "assistant"})],
        [chunk(calls(call(0, "a", "f", '{"x"')))],
        [chunk(usage=TOTALS)],
        [b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n'],
    ],
    ids=case_id,
)
def test_a_stream_that_ends_before_its_time_failed(pieces: list[bytes]) -> None:
    *_, last = events_in(pieces)
    assert isinstance(last, Failed)
    assert isinstance(last.error, UpstreamProtocolError)
    assert last.error.message == "The upstream's stream ended before the reply was complete."


@pytest.mark.parametrize(
    ("frame", "status", "text"),
    [
        (b'data: {"error":{"message":"slow","type":"rate_limit_error"}}\n\n', 429, "slow"),
        (b'data: {"error":{"message":"busy","type":"overloaded_error"}}\n\n', 529, "busy"),
        (b'data: {"error":{"message":"died","code":500}}\n\n', 500, "died"),
        (b'data: {"id":"x","choices":[],"error":"died"}\n\n', 502, "died"),
        (b'data: {"object":"error","message":"long","code":400}\n\n', 400, "long"),
        (b'event: error\ndata: {"message":"died"}\n\n', 502, "died"),
        (chunk({"content": ""}, reason="error", error={"code": 502, "message": "died"}), 502, "died"),
        (chunk({"content": ""}, reason="error"), 502, None),
    ],
)
def test_an_error_in_the_stream_is_its_end(frame: bytes, status: int, text: str | None) -> None:
    events = events_in([chunk({"content": "a"}), frame, chunk({}, reason="stop"), sse.DONE])
    assert isinstance(events[-1], Failed)
    assert [type(event) for event in events].count(Failed) == 1
    assert isinstance(events[-1].error, UpstreamStatus)
    assert events[-1].error.status == status
    assert text is None or events[-1].error.message == text


@pytest.mark.parametrize("data", [b"nonsense", b"[]", b'"x"', b'{"choices":[{"delta":{"content":"\xff"}}]}', b"{"])
def test_a_frame_that_is_no_chunk_is_the_upstreams_fault(data: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        chat.stream_reader().feed(sse.Frame(None, data))


@seed(1)
@settings(max_examples=200, database=None, deadline=None)
@given(st.data())
def test_a_stream_changed_anywhere_is_read_or_the_upstreams_fault(data: st.DataObject) -> None:
    at, skip = data.draw(st.integers(0, len(GOLDEN))), data.draw(st.integers(0, 6))
    put = data.draw(st.sampled_from([b"", b"null", b"1", b'"', b"{", b"[]", b"\xff", b"\n", b"1e999"]))
    try:
        events = events_in([GOLDEN[:at] + put + GOLDEN[at + skip :]])
    except UpstreamProtocolError:
        return
    assert isinstance(events[-1], Finished | Failed)
    write(events)


def test_a_keep_alive_of_another_shape_is_passed_over() -> None:
    frames = [b"event: ping\ndata: {}\n\n", chunk({"content": "a"}, reason="stop"), sse.DONE]
    assert built(events_in(frames)).parts == (Text(text="a"),)


# --- writing ---


def write(events: Iterable[Event], asked: Conversation = ASKED) -> bytes:
    return support.write_stream(chat, events, asked)


def chunks(stream: bytes) -> list[dict[str, Any]]:
    """The chunks, checked by the SDK's types; the last frame must be `[DONE]`."""
    *frames, done = sse.frames(stream)
    assert done.data == b"[DONE]"
    for frame in frames:
        ChatCompletionChunk.model_validate_json(frame.data)
    return [json.loads(frame.data) for frame in frames]


def deltas_of(stream: bytes) -> list[dict[str, Any]]:
    return [found["choices"][0]["delta"] for found in chunks(stream) if found["choices"]]


def as_the_sdk_reads(stream: bytes) -> ChatCompletion:
    state = ChatCompletionStreamState()
    for found in chunks(stream):
        state.handle_chunk(ChatCompletionChunk.model_validate(found))
    return state.get_final_completion()


def test_a_text_is_written_in_chunks() -> None:
    reply = Reply(id="msg_1", model="m", created=5, parts=(Text(text='a "b"\n'),), usage=Usage(input_tokens=1))
    head = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":5,"model":"m","choices":[{"index":0,'
    assert write(events_of(reply)) == b"".join(
        [
            head + b'"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n',
            head + rb'"delta":{"content":"a \"b\"\n"},"finish_reason":null}]}' + b"\n\n",
            head + b'"delta":{},"finish_reason":"stop"}]}\n\n',
            b"data: [DONE]\n\n",
        ]
    )


def test_usage_is_a_chunk_of_its_own_where_it_was_asked_for() -> None:
    usage = Usage(input_tokens=3, output_tokens=2, cached_tokens=1)
    events = events_of(Reply(id="x", model="m", created=5, parts=(Text(text="a"),), usage=usage))
    *others, last = chunks(write(events, WITH_USAGE))
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 5
    assert last["usage"]["prompt_tokens_details"] == {"cached_tokens": 1}
    assert all(found["usage"] is None for found in others)
    assert all("usage" not in found for found in chunks(write(events)))


def test_usage_that_is_not_known_gets_no_chunk() -> None:
    found = chunks(write(events_of(Reply(id="x", parts=(Text(text="a"),))), WITH_USAGE))
    assert all(piece["choices"] for piece in found)


def test_a_rich_reply_streams_back_to_itself() -> None:
    stream = write(events_of(RICH), WITH_USAGE)
    chunks(stream)
    assert built(events_in([stream])) == RICH


def test_what_comes_out_of_the_reader_may_go_into_the_writer() -> None:
    stream = write(events_in([GOLDEN]), WITH_USAGE)
    assert built(events_in([stream])) == RICH


def test_the_sdk_puts_the_stream_together() -> None:
    found = as_the_sdk_reads(write(events_of(RICH), WITH_USAGE))
    said = found.choices[0].message
    assert said.content == "Grüße 漢字 🎉"
    assert said.tool_calls is not None
    assert [(one.id, one.function.arguments) for one in said.tool_calls if one.type == "function"] == [
        ("call_1", '{"city":"Rome"}'),
        ("call_2", '{"city":"Oslo"}'),
    ]
    assert found.choices[0].finish_reason == "tool_calls"
    assert found.usage is not None
    assert found.usage.prompt_tokens == 100


def test_every_chunk_has_the_same_head() -> None:
    found = chunks(write(events_of(RICH), WITH_USAGE))
    assert {(one["id"], one["created"], one["model"], one["system_fingerprint"]) for one in found} == {
        ("chatcmpl-1", 1726000000, "gpt-x", "fp_1")
    }
    assert found[0]["choices"][0]["delta"]["role"] == "assistant"
    assert all("role" not in delta for delta in deltas_of(write(events_of(RICH)))[1:])


OF_OPENAI = {"id": "rs_1", "format": "openai-responses-v1"}
WRITTEN: list[tuple[Part, list[dict[str, Any]]]] = [
    (Refusal(text="no"), [{"refusal": "no"}]),
    (Thinking(text="hm"), [{"reasoning_content": "hm"}]),
    (
        Thinking(text="hm", seal="c2ln", origin="messages"),
        [
            {"reasoning_content": "hm"},
            {
                "reasoning_details": [
                    {
                        "type": "reasoning.text",
                        "text": "hm",
                        "signature": "c2ln",
                        "format": "anthropic-claude-v1",
                        "index": 0,
                    }
                ]
            },
        ],
    ),
    (
        Thinking(text="s", summary=True, seal="ZW5j", origin="responses", item_id="rs_1"),
        [
            {"reasoning_content": "s"},
            {
                "reasoning_details": [
                    {"type": "reasoning.summary", "summary": "s", **OF_OPENAI, "index": 0},
                    {"type": "reasoning.encrypted", "data": "ZW5j", **OF_OPENAI, "index": 1},
                ]
            },
        ],
    ),
    (
        RedactedThinking(data="eA=="),
        [
            {
                "reasoning_details": [
                    {"type": "reasoning.encrypted", "data": "eA==", "format": "anthropic-claude-v1", "index": 0}
                ]
            }
        ],
    ),
    (
        ToolCall(id="c", name="f", arguments="{}"),
        [
            {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        ],
    ),
    (
        Text(text="ab", citations=(Citation(url="https://c.test"), Citation(dialect="messages", raw=Raw(b"{}")))),
        [
            {"content": "ab"},
            {
                "annotations": [
                    {
                        "type": "url_citation",
                        "url_citation": {"url": "https://c.test", "title": "", "start_index": 0, "end_index": 2},
                        "index": 0,
                    }
                ]
            },
        ],
    ),
    (
        Audio(id="a", transcript="hi", data="AAAA"),
        [{"audio": {"id": "a"}}, {"audio": {"transcript": "hi"}}, {"audio": {"data": "AAAA"}}],
    ),
    (Opaque(dialect="chat", type="images", raw=Raw(b"[1]")), [{"images": [1]}]),
    (Opaque(dialect="messages", type="server_tool_use", raw=Raw(b"{}")), []),
]


@pytest.mark.parametrize(("part", "deltas"), WRITTEN, ids=case_id)
def test_parts_are_written(part: Part, deltas: list[dict[str, Any]]) -> None:
    assert deltas_of(write(events_of(Reply(id="x", parts=(part,))))) == [
        {"role": "assistant", "content": ""},
        *deltas,
        {},
    ]


def test_deltas_of_a_part_that_was_not_written_are_not_either() -> None:
    part = Opaque(dialect="messages", type="server_tool_use", raw=Raw(b"{}"))
    events = [Start(id="x"), PartStart(0, part), TextDelta(0, "{}"), PartStop(0), Finished(finish="stop")]
    assert deltas_of(write(events)) == [{"role": "assistant", "content": ""}, {}]


def test_calls_that_grow_in_turns_are_written_in_turns() -> None:
    events = [
        Start(id="x"),
        PartStart(0, ToolCall(id="a", name="f", arguments="")),
        PartStart(1, ToolCall(id="b", name="g", arguments="")),
        TextDelta(0, '{"x"'),
        TextDelta(1, '{"y"'),
        TextDelta(0, ":1}"),
        TextDelta(1, ":2}"),
        PartStop(0),
        PartStop(1),
        Finished(finish="tool_calls"),
    ]
    assert built(events_in([write(events)])).parts == (A, B)


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_calls_of_free_text_tools_are_given_back_as_such_while_they_stream(size: int) -> None:
    text = 'a "b"\n\\ 🎉\n'
    arguments = json.dumps({"input": text})
    pieces = [arguments[n : n + size] for n in range(0, len(arguments), size)]
    events = [
        Start(id="x"),
        PartStart(0, ToolCall(id="c", name="patch", arguments="")),
        *(TextDelta(0, piece) for piece in pieces),
        PartStop(0),
        Finished(finish="tool_calls"),
    ]
    frames = [json.loads(frame.data) for frame in sse.frames(write(events, CUSTOM))[:-1]]
    found = [call for one in frames for call in one["choices"][0]["delta"].get("tool_calls", ())]
    assert found[0] == {"index": 0, "id": "c", "type": "custom", "custom": {"name": "patch", "input": ""}}
    assert "".join(call["custom"]["input"] for call in found) == text


def test_who_asked_with_functions_gets_a_function_call() -> None:
    reply = Reply(id="x", parts=(A, ToolCall(id="b", name="f", arguments='{"z":3}')), finish="tool_calls")
    stream = write(events_of(reply), FUNCTIONS)
    assert deltas_of(stream)[1:-1] == [
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": '{"x":1}'}},
    ]
    assert chunks(stream)[-1]["choices"][0]["finish_reason"] == "function_call"


def test_logprobs_are_written_beside_their_delta() -> None:
    logprobs = Raw(b'{"content":[],"refusal":null}')
    events = [Start(id="x"), PartStart(0, Text(text="")), TextDelta(0, "a", logprobs), Finished(finish="stop")]
    found = chunks(write(events))[1]["choices"][0]
    assert found == {
        "index": 0,
        "delta": {"content": "a"},
        "logprobs": {"content": [], "refusal": None},
        "finish_reason": None,
    }


def test_citations_without_a_place_stand_for_the_whole_of_their_text() -> None:
    events = [
        Start(id="x"),
        PartStart(0, Text(text="")),
        TextDelta(0, "One. "),
        PartStop(0),
        PartStart(1, Text(text="")),
        CitationDelta(1, Citation(url="https://c.test")),
        TextDelta(1, "Two."),
        PartStop(1),
        Finished(finish="stop"),
    ]
    annotations = [delta["annotations"] for delta in deltas_of(write(events)) if "annotations" in delta]
    assert [(one["url_citation"]["start_index"], one["url_citation"]["end_index"]) for [one] in annotations] == [(5, 9)]


def test_a_stream_that_failed_ends_in_an_error_and_not_in_done() -> None:
    stream = write([Start(id="x"), PartStart(0, Text(text="")), TextDelta(0, "a"), Failed(RateLimited("slow down"))])
    *_, last = sse.frames(stream)
    assert json.loads(last.data)["error"]["message"] == "slow down"
    assert b"[DONE]" not in stream


def test_a_stream_that_failed_after_its_finish_did_not_end_well() -> None:
    assert b"[DONE]" not in write([Start(id="x"), Finished(finish="stop"), Failed(RateLimited("slow down"))])


def test_a_stream_that_failed_before_it_began_is_an_error() -> None:
    [only] = sse.frames(write([Failed(RateLimited("slow down"))]))
    assert json.loads(only.data)["error"]["code"] == "rate_limit_exceeded"


def test_a_stream_that_never_finished_is_not_closed_cleanly() -> None:
    assert b"[DONE]" not in write([Start(id="x"), PartStart(0, Text(text=""))])


def test_a_ping_is_a_comment() -> None:
    stream = write([Start(id="x"), Ping(), Finished(finish="stop")])
    assert b": ping\n\n" in stream
    assert len(chunks(stream)) == 2


def test_events_that_only_one_dialect_has_go_out_in_that_one() -> None:
    writer = chat.stream_writer(ASKED)
    assert writer.feed(Unknown("chat", None, b'{"v":1}')) == [b'data: {"v":1}\n\n']
    assert writer.feed(Unknown("messages", "odd", b"{}")) == []


# --- looking in ---


def peek(*pieces: bytes) -> Any:
    return chat.peek_stream(pieces[0] if pieces else b"", pieces[-4:])


def test_a_peek_at_the_end_finds_usage_and_finish() -> None:
    end = peek(chunk({"content": "a"}), chunk({}, reason="length"), chunk(usage=TOTALS), sse.DONE)
    assert end == StreamEnd(True, False, Usage(input_tokens=3, output_tokens=2), "length")


def test_a_peek_finds_them_in_one_piece_and_without_done() -> None:
    assert peek(b"".join([chunk({"content": "a"}), chunk({}, reason="stop", usage=TOTALS)])) == StreamEnd(
        True, False, Usage(input_tokens=3, output_tokens=2), "stop"
    )


def test_a_peek_at_the_golden_stream_agrees_with_the_reader() -> None:
    pieces = [block + b"\n\n" for block in sse.blocks(GOLDEN)]
    assert peek(*pieces) == StreamEnd(True, False, RICH.usage, RICH.finish)


def test_a_peek_sees_calls_of_an_upstream_that_says_stop() -> None:
    end = peek(chunk(calls(call(0, "a", "f", "{}"))), chunk({}, reason="stop"), sse.DONE)
    assert end.finish == "tool_calls"


def test_a_peek_at_a_broken_stream_says_so() -> None:
    assert peek(chunk({"content": "a"})) == StreamEnd(False, False, None, None)
    assert peek(b'data: {"error":{"message":"died"}}\n\n') == StreamEnd(True, True, None, None)
    assert peek(chunk({}, reason="error")) == StreamEnd(True, True, None, None)
    assert peek() == StreamEnd(False, False, None, None)
    assert peek(b"data: nonsense\n\n") == StreamEnd(False, False, None, None)


FRAMES = [
    b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}],"usage":null}\n\n',
    b'data: {"choices":[{"index":0,"finish_reason":null},{"index":1,"finish_reason":null}]}\n\n',
    b'data: {"choices":[{"index":0,"finish_reason":null},{"index":1,"finish_reason":"stop"}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{}]},"finish_reason":null}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n',
    b'data: {"choices":[{"index":0,"finish_reason":null}],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"\\"finish_reason\\":null"}}]}\n\n',
    b'data: {"error":{"message":"died"}}\n\n',
    b'event: error\ndata: {"choices":[{"index":0,"finish_reason":null}]}\n\n',
    b": a comment\n\n",
    sse.DONE,
]


def test_a_piece_that_need_not_be_parsed_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [b"".join(frames) for count in (1, 2, 3) for frames in product(FRAMES, repeat=count)]
    found = [peek(FRAMES[0], piece) for piece in pieces]
    monkeypatch.setattr("plano.dialects.chat.peek._says_no_more", lambda piece: False)
    assert found == [peek(FRAMES[0], piece) for piece in pieces]


def test_texts_of_chunks_are_found_with_their_ends() -> None:
    event: dict[str, Any] = {
        "choices": [
            {"index": 0, "delta": {"content": "a", "reasoning_content": "r"}, "finish_reason": None},
            {"index": 1, "delta": {"content": "b"}, "finish_reason": "stop"},
            {"index": 2, "delta": {"content": None}, "finish_reason": "length"},
        ]
    }
    found = [(slot.key, slot.kind) for slot in chat.event_texts(event)]
    assert found == [
        (("choice", 0), "delta"),
        (("choice", 1), "delta"),
        (("choice", 1), "end"),
        (("choice", 2), "end"),
    ]
    slot = chat.event_texts(event)[0]
    slot.holder[slot.field] = "changed"
    assert event["choices"][0]["delta"]["content"] == "changed"


@pytest.mark.parametrize("event", [{}, {"choices": []}, {"choices": [{"delta": {}}]}, {"error": {"message": "x"}}])
def test_events_without_text_have_none(event: dict[str, Any]) -> None:
    assert chat.event_texts(event) == []
