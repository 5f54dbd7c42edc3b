"""Complete replies and errors of the chat dialect, both ways, against the SDK's own types."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from msgspec import Raw
from openai.types.chat import ChatCompletion

from plano.conversation import (
    Audio,
    Citation,
    Conversation,
    Finish,
    Opaque,
    Part,
    Refusal,
    Reply,
    Text,
    Thinking,
    Tool,
    ToolCall,
    Usage,
)
from plano.dialects import chat
from plano.errors import ModelNotFound, RateLimited, UpstreamError, UpstreamProtocolError, UpstreamStatus
from plano.losses import Losses
from tests.dialects import support
from tests.dialects.support import GOLDEN_FILES, case_id

ASKED = Conversation()
FUNCTIONS = Conversation(tools=(Tool(name="f", dialect="chat"),))
CUSTOM = Conversation(tools=(Tool(name="patch", kind="custom"),))


def written(reply: Reply, asked: Conversation = ASKED) -> tuple[dict[str, Any], list[str]]:
    """The body, checked by the SDK's types, and the losses."""
    body, losses = unchecked(reply, asked)
    ChatCompletion.model_validate(body)
    return body, losses


def unchecked(reply: Reply, asked: Conversation = ASKED) -> tuple[dict[str, Any], list[str]]:
    return support.write_reply(chat, reply, asked)


def message(reply: Reply, asked: Conversation = ASKED) -> dict[str, Any]:
    found: dict[str, Any] = written(reply, asked)[0]["choices"][0]["message"]
    return found


def body_of(reason: Any = "stop", usage: Any = None, **fields: Any) -> bytes:
    """An upstream's reply with these fields in its message."""
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **fields}, "finish_reason": reason}
    found = {"id": "chatcmpl-1", "object": "chat.completion", "created": 5, "model": "m", "choices": [choice]}
    return msgspec.json.encode(found if usage is None else {**found, "usage": usage})


def read(reason: Any = "stop", usage: Any = None, **fields: Any) -> Reply:
    return chat.read_reply(body_of(reason, usage, **fields))


def test_a_rich_reply_comes_out_as_it_went_in() -> None:
    golden = (GOLDEN_FILES / "reply-rich.chat.json").read_bytes()
    body, losses = written(chat.read_reply(golden))
    assert body == json.loads(golden)
    assert losses == []


PARTS: list[tuple[tuple[Part, ...], dict[str, Any]]] = [
    ((), {"content": ""}),
    ((Text(text="hi"),), {"content": "hi"}),
    ((Refusal(text="no"),), {"refusal": "no"}),
    ((Thinking(text="hm", origin="chat"), Text(text="hi")), {"content": "hi", "reasoning_content": "hm"}),
    (
        (Thinking(text="hm", seal='[{"type":"reasoning.encrypted","data":"Zw=="}]', origin="chat"), Text(text="hi")),
        {
            "content": "hi",
            "reasoning_content": "hm",
            "reasoning_details": [{"type": "reasoning.encrypted", "data": "Zw=="}],
        },
    ),
    (
        (
            Thinking(
                text="",
                seal='[{"type":"reasoning.encrypted","data":"eA==","format":"anthropic-claude-v1"}]',
                origin="chat",
            ),
            Text(text="hi"),
        ),
        {
            "content": "hi",
            "reasoning_details": [{"type": "reasoning.encrypted", "data": "eA==", "format": "anthropic-claude-v1"}],
        },
    ),
    (
        (ToolCall(id="c", name="f", arguments='{"a": 1}'),),
        {"tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]},
    ),
    (
        (Text(text="hi", citations=(Citation(dialect="chat", raw=Raw(b'{"type":"odd"}')),)),),
        {"content": "hi", "annotations": [{"type": "odd"}]},
    ),
    (
        (Audio(id="a", data="AAAA", transcript="hi", extras={"chat": {"expires_at": Raw(b"9")}}),),
        {"audio": {"id": "a", "data": "AAAA", "transcript": "hi", "expires_at": 9}},
    ),
    (
        (Opaque(dialect="chat", type="images", raw=Raw(b'[{"type":"image_url"}]')),),
        {"images": [{"type": "image_url"}]},
    ),
]


@pytest.mark.parametrize(("parts", "fields"), PARTS, ids=case_id)
def test_parts_read_and_write(parts: tuple[Part, ...], fields: dict[str, Any]) -> None:
    called = any(isinstance(part, ToolCall) for part in parts)
    reply = Reply(id="chatcmpl-1", model="m", created=5, parts=parts, finish="tool_calls" if called else "stop")
    found, _ = unchecked(reply)
    assert found["choices"][0]["message"] == {"role": "assistant", "content": None, "refusal": None, **fields}
    assert chat.read_reply(body_of("tool_calls" if called else "stop", **fields)) == reply


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
        ("MAX_TOKENS", "length"),
        (None, "stop"),
    ],
)
def test_finish_reasons_are_read_whatever_they_are(reason: str | None, finish: Finish) -> None:
    assert read(reason, content="hi").finish == finish


def test_a_reply_with_calls_did_not_just_stop() -> None:
    calls = [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]
    assert read("stop", tool_calls=calls).finish == "tool_calls"
    assert read("length", tool_calls=calls).finish == "length"


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "stop"),
        ("stop_sequence", "stop"),
        ("length", "length"),
        ("context_window", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
        ("refusal", "content_filter"),
        ("pause", "stop"),
    ],
)
def test_every_way_to_finish_has_a_reason(finish: Finish, reason: str) -> None:
    body, _ = written(Reply(parts=(Text(text="hi"),), finish=finish))
    assert body["choices"][0]["finish_reason"] == reason


USAGE: list[tuple[Any, Usage | None]] = [
    ({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}, Usage(input_tokens=5, output_tokens=2)),
    (
        {
            "prompt_tokens": 5,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 1},
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
        Usage(input_tokens=5, output_tokens=2, cached_tokens=3, cache_creation_tokens=1, reasoning_tokens=1),
    ),
    (
        {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": None, "completion_tokens_details": None},
        Usage(input_tokens=5, output_tokens=2),
    ),
    (
        {"prompt_tokens": 5, "completion_tokens": 2, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 1},
        Usage(input_tokens=5, output_tokens=2, cached_tokens=4),
    ),
    (
        {
            "prompt_tokens": 5,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 0},
            "cache_read_input_tokens": 4,
            "cache_creation_input_tokens": 1,
        },
        Usage(input_tokens=5, output_tokens=2, cached_tokens=4, cache_creation_tokens=1),
    ),
    ({"prompt_tokens": None, "completion_tokens": 2.0}, Usage(output_tokens=2)),
    ({}, None),
    ([], None),
    ("many", None),
]


@pytest.mark.parametrize(("found", "usage"), USAGE, ids=case_id)
def test_usage_is_read_in_every_spelling(found: Any, usage: Usage | None) -> None:
    assert read(usage=found, content="hi").usage == usage
    assert chat.peek_usage(body_of(usage=found, content="hi")) == usage


def test_usage_that_is_not_known_is_not_written() -> None:
    assert "usage" not in written(Reply(parts=(Text(text="hi"),)))[0]


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b'{"choices":[{"index":0}]}'])
def test_a_peek_at_what_has_no_usage_finds_none(body: bytes) -> None:
    assert chat.peek_usage(body) is None


@pytest.mark.parametrize(
    ("id_", "shown"),
    [("chatcmpl-1", "chatcmpl-1"), ("msg_1", "chatcmpl-1"), ("resp_1", "chatcmpl-1"), ("gen-1", "chatcmpl-1")],
)
def test_ids_have_the_prefix_of_the_dialect(id_: str, shown: str) -> None:
    assert written(Reply(id=id_, parts=(Text(text="hi"),)))[0]["id"] == shown


def test_calls_without_ids_get_some_of_their_own() -> None:
    calls = [{"function": {"name": "f", "arguments": "{}"}}, {"function": {"name": "g"}}]
    first, second = read(tool_calls=calls).parts
    assert isinstance(first, ToolCall)
    assert isinstance(second, ToolCall)
    assert (first.id, second.id) == ("call_1_0", "call_1_1")
    assert (second.name, second.arguments) == ("g", "")


def test_arguments_sent_as_an_object_are_read_as_text() -> None:
    reply = read(tool_calls=[{"id": "c", "function": {"name": "f", "arguments": {"b": 1, "a": [2]}}}])
    assert reply.parts == (ToolCall(id="c", name="f", arguments='{"b":1,"a":[2]}'),)


def test_a_time_that_says_nothing_is_none() -> None:
    for created in (b"0", b"null", b"1e99", b"-1"):
        body = b'{"created":' + created + b',"choices":[{"message":{"content":"hi"}}]}'
        assert chat.read_reply(body).created is None


GOLDEN = (GOLDEN_FILES / "reply-rich.chat.json").read_bytes()


@seed(1)
@settings(max_examples=300, database=None, deadline=None)
@given(st.data())
def test_a_reply_cut_or_changed_anywhere_is_read_or_the_upstreams_fault(data: st.DataObject) -> None:
    at, skip = data.draw(st.integers(0, len(GOLDEN))), data.draw(st.integers(0, 6))
    put = data.draw(st.sampled_from([b"", b"null", b"1", b'"', b"{", b"[]", b"\xff", b"\\ud800", b"1e999"]))
    body = GOLDEN[:at] + put + GOLDEN[at + skip :]
    chat.peek_usage(body)
    try:
        reply = chat.read_reply(body)
    except UpstreamError:
        return
    assert isinstance(json.loads(chat.write_reply(reply, ASKED, Losses())), dict)


def test_a_reply_in_parts_is_read() -> None:
    content = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "hi"},
        {"type": "reference", "reference_ids": [1]},
    ]
    assert read(content=content).parts == (Thinking(text="hm", origin="chat"), Text(text="hi"))


def test_citations_of_a_reply_in_parts_stand_on_its_first_text() -> None:
    cited = {"type": "url_citation", "url_citation": {"url": "https://c.test"}}
    reply = read(content=[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], annotations=[cited])
    assert reply.parts == (Text(text="a", citations=(Citation(url="https://c.test"),)), Text(text="b"))


def test_ids_that_are_made_up_are_short_enough_for_every_api() -> None:
    body = body_of(tool_calls=[{"function": {"name": "f"}}]).replace(b"chatcmpl-1", b"chatcmpl-" + b"x" * 200)
    [call] = chat.read_reply(body).parts
    assert isinstance(call, ToolCall)
    assert len(call.id) <= 64


def test_a_legacy_function_call_is_read() -> None:
    reply = read("function_call", function_call={"name": "f", "arguments": "{}"})
    assert reply.parts == (ToolCall(id="call_1_0", name="f", arguments="{}"),)
    assert reply.finish == "tool_calls"


def test_who_asked_with_functions_gets_a_function_call() -> None:
    calls = (ToolCall(id="a", name="f", arguments="{}"), ToolCall(id="b", name="f", arguments="{}"))
    body, losses = written(Reply(parts=calls, finish="tool_calls"), FUNCTIONS)
    choice = body["choices"][0]
    assert choice["message"]["function_call"] == {"name": "f", "arguments": "{}"}
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "function_call"
    assert losses == ["reply.tool_calls"]


@pytest.mark.parametrize(
    ("arguments", "text"), [('{"input":"a\\nb"}', "a\nb"), ("free", "free"), ('{"other":1}', '{"other":1}'), ("", "")]
)
def test_calls_of_free_text_tools_are_given_back_as_such(arguments: str, text: str) -> None:
    reply = Reply(parts=(ToolCall(id="c", name="patch", arguments=arguments),), finish="tool_calls")
    assert message(reply, CUSTOM)["tool_calls"] == [
        {"id": "c", "type": "custom", "custom": {"name": "patch", "input": text}}
    ]


def test_citations_count_in_the_whole_text() -> None:
    texts = (
        Text(text="One. "),
        Text(text="Two.", citations=(Citation(url="https://a.test"), Citation(url="https://b.test", start=1, end=2))),
    )
    found = message(Reply(parts=texts))
    places = [(a["url_citation"]["start_index"], a["url_citation"]["end_index"]) for a in found["annotations"]]
    assert found["content"] == "One. Two."
    assert places == [(5, 9), (6, 7)]


LOST: list[tuple[Reply, str]] = [
    (Reply(parts=(Opaque(dialect="messages", type="server_tool_use", raw=Raw(b"{}")),)), "reply.content"),
    (Reply(parts=(Text(text="x", citations=(Citation(dialect="messages", raw=Raw(b"{}")),)),)), "reply.citations"),
    (Reply(parts=(Text(text="x"),), finish="stop_sequence", stop_sequence="END"), "reply.stop_sequence"),
    (Reply(parts=(Text(text="x"),), extras={"responses": {"truncation": Raw(b"1")}}), "reply.truncation"),
]


@pytest.mark.parametrize(("reply", "field"), LOST, ids=lambda value: value if isinstance(value, str) else "")
def test_what_chat_cannot_say_is_left_out_and_reported(reply: Reply, field: str) -> None:
    assert written(reply)[1] == [field]


# --- what is no reply ---


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b'{"error":{"message":"slow down","type":"rate_limit_error"}}', 429, "slow down"),
        (b'{"error":{"message":"busy","code":529}}', 529, "busy"),
        (b'{"error":{"message":"busy","code":"503"}}', 503, "busy"),
        (b'{"error":{"message":"who?","code":401}}', 502, "who?"),
        (b'{"error":"broken"}', 502, "broken"),
        (b'{"object":"error","message":"too long","code":400}', 400, "too long"),
        (b'{"choices":[{"message":{"content":"ha"},"finish_reason":"error"}]}', 502, None),
        (b'{"choices":[{"error":{"message":"died","code":502}}]}', 502, "died"),
    ],
)
def test_an_error_with_status_200_is_an_error(body: bytes, status: int, text: str | None) -> None:
    with pytest.raises(UpstreamStatus) as caught:
        chat.read_reply(body)
    assert caught.value.status == status
    assert text is None or caught.value.message == text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"choices":[]}',
        b'{"choices":null}',
        b'{"choices":[{}]}',
        b'{"type":"message","content":[]}',
        b'{"id":"x","choices":[{"message":{"content":"cut',
        b'{"choices":[{"message":{"content":"\xff"}}]}',
    ],
)
def test_what_is_no_chat_completion_is_no_reply(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        chat.read_reply(body)


def test_a_reply_with_next_to_nothing_is_read() -> None:
    assert chat.read_reply(b'{"choices":[{"message":{"content":"hi"}}]}') == Reply(parts=(Text(text="hi"),))


def test_errors_are_written_and_read() -> None:
    body = chat.write_error(ModelNotFound("gpt-9"))
    error = json.loads(body)["error"]
    assert (error["code"], error["param"], error["type"]) == ("model_not_found", "model", "invalid_request_error")
    found = chat.read_error(404, body)
    assert (found.status, found.code, found.param, found.kind) == (404, "model_not_found", "model", "not_found")


def test_an_error_in_a_stream_is_a_frame_with_an_error() -> None:
    frame = chat.write_stream_error(RateLimited("slow down"))
    assert frame.startswith(b'data: {"error":{')
    assert frame.endswith(b"}\n\n")


# --- the texts in it ---


def test_texts_of_a_reply_are_found_and_may_be_changed() -> None:
    body: dict[str, Any] = {
        "choices": [
            {"index": 0, "message": {"content": "one", "reasoning_content": "hm", "refusal": None}},
            {"index": 1, "message": {"content": [{"type": "text", "text": "two"}, {"type": "image_url"}]}},
            {"index": 2, "message": {"content": None, "refusal": "no"}},
        ]
    }
    slots = chat.reply_texts(body)
    assert [slot.holder[slot.field] for slot in slots] == ["one", "two"]
    assert {slot.kind for slot in slots} == {"whole"}
    slots[0].holder[slots[0].field] = "changed"
    assert body["choices"][0]["message"]["content"] == "changed"


@pytest.mark.parametrize("body", [{}, {"choices": None}, {"choices": [None, 1]}, {"choices": [{"message": "x"}]}])
def test_a_body_of_another_shape_has_no_texts(body: dict[str, Any]) -> None:
    assert chat.reply_texts(body) == []
