"""Replies of the responses dialect: the Response object."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from openai.types.responses import Response

from plano.conversation import (
    Citation,
    Conversation,
    Opaque,
    Part,
    RedactedThinking,
    Refusal,
    Reply,
    Text,
    Thinking,
    Tool,
    ToolCall,
    Usage,
)
from plano.dialects import responses
from plano.errors import InvalidRequest, RateLimited, UpstreamProtocolError, UpstreamStatus, UpstreamTimeout
from plano.losses import Losses
from tests.dialects import support
from tests.dialects.support import GOLDEN_FILES

RICH = (GOLDEN_FILES / "rich_reply.responses.json").read_bytes()
ASKED = responses.read_request((GOLDEN_FILES / "rich_asked.responses.json").read_bytes())

NOTHING_ASKED = Conversation(model="m")


def message(text: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
        **fields,
    }


def call(arguments: str = "{}") -> dict[str, Any]:
    return {
        "id": "fc_1",
        "type": "function_call",
        "call_id": "call_1",
        "name": "f",
        "arguments": arguments,
        "status": "completed",
    }


def reply(*parts: Part, **fields: Any) -> Reply:
    return Reply(**{"id": "resp_1", "model": "m", "created": 5, "parts": parts, **fields})


def written(reply: Reply, asked: Conversation = NOTHING_ASKED) -> Any:
    """The body, parsed."""
    return support.write_reply(responses, reply, asked)[0]


def wire(*output: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "resp_1", "model": "m", "created_at": 5, "status": "completed", "output": list(output), **fields}


INCOMPLETE = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
FILTERED = {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
USED = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
    "output_tokens": 4,
    "output_tokens_details": {"reasoning_tokens": 1},
    "total_tokens": 13,
}
USAGE = Usage(input_tokens=9, output_tokens=4, cached_tokens=3, cache_creation_tokens=2, reasoning_tokens=1)
HI = Text(text="hi", item_id="msg_1")

CASES: dict[str, tuple[Reply, dict[str, Any]]] = {
    "text": (reply(HI, usage=USAGE), wire(message("hi"), usage=USED)),
    "nothing": (reply(), wire()),
    "cut short": (reply(HI, finish="length"), wire(message("hi", status="incomplete"), **INCOMPLETE)),
    "filtered": (reply(HI, finish="content_filter"), wire(message("hi", status="incomplete"), **FILTERED)),
    "call": (
        reply(ToolCall(id="call_1", name="f", arguments='{"a": 1}', item_id="fc_1"), finish="tool_calls"),
        wire(call('{"a": 1}')),
    ),
    "custom call": (
        reply(ToolCall(id="c", name="g", arguments="x\n", kind="custom", item_id="ctc_1"), finish="tool_calls"),
        wire({"id": "ctc_1", "type": "custom_tool_call", "call_id": "c", "name": "g", "input": "x\n"}),
    ),
    "refusal": (
        reply(Refusal(text="no", item_id="msg_1")),
        wire(message("", content=[{"type": "refusal", "refusal": "no"}])),
    ),
    "raw reasoning": (
        reply(Thinking(text="hm", origin="responses", item_id="rs_1"), HI),
        wire(
            {
                "id": "rs_1",
                "type": "reasoning",
                "summary": [],
                "content": [{"type": "reasoning_text", "text": "hm"}],
            },
            message("hi"),
        ),
    ),
    "sealed reasoning": (
        reply(Thinking(text="", summary=True, seal="S", origin="responses", item_id="rs_1"), HI),
        wire({"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "S"}, message("hi")),
    ),
    "two message items": (
        reply(HI, Text(text="ho", item_id="msg_2")),
        wire(message("hi"), message("ho", id="msg_2")),
    ),
    "hosted tool": (
        reply(Opaque(dialect="responses", type="mcp_call", raw=Raw(b'{"type":"mcp_call","id":"mcp_1"}')), HI),
        wire({"type": "mcp_call", "id": "mcp_1"}, message("hi")),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_reply_is_read(case: str) -> None:
    neutral, body = CASES[case]
    assert responses.read_reply(msgspec.json.encode(body)) == neutral


@pytest.mark.parametrize("case", CASES)
def test_a_reply_is_written(case: str) -> None:
    neutral, body = CASES[case]
    found, losses = support.write_reply(responses, neutral, NOTHING_ASKED)
    assert {name: found[name] for name in body} == body
    assert losses == []


def test_a_rich_reply_comes_back_as_it_was() -> None:
    assert support.write_reply(responses, responses.read_reply(RICH), ASKED) == (json.loads(RICH), [])


def test_the_sdk_takes_what_is_written() -> None:
    for neutral, _ in CASES.values():
        if not any(isinstance(part, Opaque) for part in neutral.parts):
            Response.model_validate_json(responses.write_reply(neutral, NOTHING_ASKED, Losses()), strict=True)
    for asked in (ASKED, responses.read_request((GOLDEN_FILES / "rich_request.responses.json").read_bytes())):
        found = Response.model_validate_json(responses.write_reply(responses.read_reply(RICH), asked, Losses()))
        assert found.output_text == "Grüße 🐱 says hi"


def test_settings_are_echoed_and_defaults_where_there_are_none() -> None:
    found = written(reply(HI))
    del found["output"]
    assert found == {
        "id": "resp_1",
        "object": "response",
        "created_at": 5,
        "completed_at": 5,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "m",
        "usage": None,
        "background": False,
        "instructions": None,
        "frequency_penalty": 0.0,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "user": None,
    }


def test_a_request_cannot_say_what_only_a_reply_says() -> None:
    own: dict[str, Any] = {"id": "x", "status": "x", "error": "x", "output": 1, "usage": "x", "object": "x"}
    asked = responses.read_request(json.dumps({"input": "hi", "created_at": "x", **own}).encode())
    found = written(reply(Text(text="Hi")), asked)
    assert "x" not in [found[name] for name in own | {"created_at": 1}]


def test_a_conversation_is_echoed_as_an_object() -> None:
    asked = responses.read_request(b'{"input":"hi","conversation":"conv_1"}')
    assert written(reply(HI), asked)["conversation"] == {"id": "conv_1"}


@pytest.mark.parametrize("id_", ["chatcmpl-abc", "msg_abc", "abc", "resp_abc"])
def test_ids_are_made_of_the_replys_own(id_: str) -> None:
    parts = (Thinking(text="a"), Text(text="b"), ToolCall(id="c", name="f", arguments="{}"))
    found = written(reply(*parts, id=id_))
    assert found["id"] == "resp_abc"
    assert [item["id"] for item in found["output"]] == ["rs_plano_abc_0", "msg_plano_abc_1", "fc_plano_abc_2"]


def test_another_vendors_reasoning_is_a_summary_with_its_seal_marked() -> None:
    parts = (Thinking(text="hm", seal="SIG", origin="messages"), RedactedThinking(data="DATA"), Text(text="b"))
    output = written(reply(*parts))["output"]
    assert [item.get("summary") for item in output] == [[{"type": "summary_text", "text": "hm"}], [], None]
    replayed = responses.read_request(msgspec.json.encode({"input": output})).messages[0].parts
    assert replayed == parts


CUSTOM = Conversation(model="m", tools=(Tool(name="g", kind="custom"),))


@pytest.mark.parametrize(
    ("arguments", "text"), [('{"input":"a\\nb"}', "a\nb"), ("free text", "free text"), ('{"x":1}', '{"x":1}')]
)
def test_a_function_that_stood_in_for_a_custom_tool_is_one_again(arguments: str, text: str) -> None:
    called = reply(ToolCall(id="c", name="g", arguments=arguments), finish="tool_calls")
    (item,) = written(called, CUSTOM)["output"]
    assert item == {
        "id": "ctc_plano_1_0",
        "type": "custom_tool_call",
        "call_id": "c",
        "name": "g",
        "input": text,
    }


def test_a_call_without_arguments_has_an_empty_object() -> None:
    (item,) = written(reply(ToolCall(id="c", name="f", arguments="")))["output"]
    assert item["arguments"] == "{}"


def test_a_thought_signature_goes_with_its_call_and_comes_back() -> None:
    extras: Any = {"chat": {"extra_content": Raw(b'{"google":{"thought_signature":"S"}}')}}
    part = ToolCall(id="c", name="f", arguments="{}", extras=extras)
    output = written(reply(part))["output"]
    assert output[0]["call_id"].startswith("c_plano-seal_")
    assert "extra_content" not in output[0]
    assert responses.read_request(msgspec.json.encode({"input": output})).messages[0].parts == (part,)


def test_log_probabilities_are_on_the_text() -> None:
    entry = {"token": "hi", "bytes": [104, 105], "logprob": -0.5, "top_logprobs": []}
    content = [{"type": "output_text", "text": "hi", "annotations": [], "logprobs": [entry]}]
    body = wire(message("", content=content))
    found = responses.read_reply(msgspec.json.encode(body))
    assert found.logprobs is not None
    assert json.loads(bytes(found.logprobs)) == {"content": [entry]}
    assert written(found)["output"] == body["output"]


def test_a_citation_without_a_place_is_of_the_whole_text() -> None:
    part = Text(text="four", citations=(Citation(url="https://x", title=None, quote="q"),))
    (item,) = written(reply(part))["output"]
    assert item["content"][0]["annotations"] == [
        {"type": "url_citation", "url": "https://x", "title": "", "start_index": 0, "end_index": 4}
    ]


def test_what_a_reply_cannot_say_is_reported() -> None:
    parts = (
        Opaque(dialect="messages", type="server_tool_use", raw=Raw(b"{}")),
        Text(text="a", citations=(Citation(dialect="messages", raw=Raw(b"{}")),)),
    )
    found, losses = support.write_reply(responses, reply(*parts, finish="stop_sequence", stop_sequence="X"))
    assert found["status"] == "completed"
    assert len(found["output"]) == 1
    assert losses == ["reply.content", "reply.citations", "reply.stop_sequence"]


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("stop", "completed", None),
        ("stop_sequence", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("context_window", "incomplete", "max_output_tokens"),
        ("tool_calls", "completed", None),
        ("content_filter", "incomplete", "content_filter"),
        ("refusal", "incomplete", "content_filter"),
        ("pause", "completed", None),
    ],
)
def test_every_finish_reason_has_a_status(finish: Any, status: str, reason: str | None) -> None:
    found = written(reply(HI, finish=finish))
    assert found["status"] == status
    assert found["incomplete_details"] == (None if reason is None else {"reason": reason})


SPARSE: list[tuple[bytes, Reply]] = [
    (b'{"output":[]}', Reply()),
    (b'{"output":null,"usage":null,"created_at":5.9}', Reply(created=5)),
    (b'{"output":[{"type":"message","role":"assistant","content":"hi"}]}', Reply(parts=(Text(text="hi"),))),
    (b'{"output":[],"usage":{"input_tokens":3,"input_tokens_details":null}}', Reply(usage=Usage(input_tokens=3))),
    (b'{"output":[],"status":"incomplete","incomplete_details":{"reason":"new"}}', Reply(finish="length")),
    (b'{"output":[],"status":"new","what":{}}', Reply()),
    (
        b'{"output":[{"type":"function_call","id":"fc_1","name":"f","arguments":"{}"}]}',
        Reply(parts=(ToolCall(id="fc_1", name="f", arguments="{}", item_id="fc_1"),), finish="tool_calls"),
    ),
]


@pytest.mark.parametrize(("body", "found"), SPARSE, ids=lambda value: str(value)[:50])
def test_a_sparse_reply_is_read(body: bytes, found: Reply) -> None:
    assert responses.read_reply(body) == found


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"error":{"message":"m","code":"rate_limit_exceeded"}}', 429),
        (b'{"error":{"message":"m","type":"invalid_request_error"}}', 400),
        (b'{"error":"m"}', 502),
        (b'{"status":"failed","error":{"code":"server_error","message":"m"},"output":[]}', 502),
        (b'{"status":"failed","error":{"code":"invalid_image","message":"m"},"output":[]}', 400),
    ],
)
def test_a_reply_that_is_an_error_is_one(body: bytes, status: int) -> None:
    with pytest.raises(UpstreamStatus) as caught:
        responses.read_reply(body)
    assert (caught.value.status, caught.value.message) == (status, "m")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"choices":[]}',
        b'{"output":"hi"}',
        b'{"output":[{"type":"message","role":"assistant","content":[{"type":"output_text"}]}]}',
        b'{"output":[],"status":"in_progress"}',
        b'{"output":[],"status":"cancelled"}',
    ],
)
def test_what_is_no_reply_is_the_upstreams_fault(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        responses.read_reply(body)


@pytest.mark.parametrize(
    ("error", "type_"),
    [
        (InvalidRequest("no", param="input"), "invalid_request_error"),
        (RateLimited("slow"), "rate_limit_error"),
        (UpstreamTimeout("late"), "timeout_error"),
    ],
)
def test_errors_are_openais(error: Any, type_: str) -> None:
    found = json.loads(responses.write_error(error))["error"]
    assert found == {"message": error.message, "type": type_, "param": error.param, "code": error.code}
    again = responses.read_error(error.status, responses.write_error(error))
    assert (again.status, again.message, again.code, again.param) == (
        error.status,
        error.message,
        error.code,
        error.param,
    )
