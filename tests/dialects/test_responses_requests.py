"""Requests of the responses dialect: read, written, and both in a row."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from openai.types.responses import response_create_params
from pydantic import TypeAdapter

from plano.conversation import (
    Audio,
    Citation,
    Conversation,
    Document,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    RedactedThinking,
    Refusal,
    ResponseFormat,
    System,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from plano.dialects import responses
from plano.errors import InvalidRequest, UnsupportedConversion
from plano.losses import Losses
from tests.dialects import support
from tests.dialects.support import GOLDEN_FILES

RICH = (GOLDEN_FILES / "rich_request.responses.json").read_bytes()

PARAMS: TypeAdapter[Any] = TypeAdapter(response_create_params.ResponseCreateParams)

FROM_INPUT = {"responses": {}}


def said(text: str) -> Message:
    return Message(role="user", parts=(Text(text=text),))


def user(*parts: Part) -> Message:
    return Message(role="user", parts=parts)


def assistant(*parts: Part) -> Message:
    return Message(role="assistant", parts=parts)


def item(role: str, *content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(content)}


def text(value: str) -> dict[str, Any]:
    return {"type": "input_text", "text": value}


MCP_CALL = b'{"type":"mcp_call","id":"mcp_1","name":"n","server_label":"s","arguments":"{}"}'

HI = item("user", text("hi"))

CASES: dict[str, tuple[Conversation, dict[str, Any]]] = {
    "text": (Conversation(model="m", messages=(said("hi"),)), {"model": "m", "input": [HI]}),
    "instructions": (
        Conversation(model="m", system=(System(text="Be brief."),), messages=(said("hi"),)),
        {"model": "m", "instructions": "Be brief.", "input": [HI]},
    ),
    "leading developer message": (
        Conversation(
            model="m", system=(System(text="a", role="developer", extras=FROM_INPUT),), messages=(said("hi"),)
        ),
        {"model": "m", "input": [item("developer", text("a")), HI]},
    ),
    "system message in the middle": (
        Conversation(model="m", messages=(said("hi"), Message(role="system", parts=(Text(text="a"),)))),
        {"model": "m", "input": [HI, item("system", text("a"))]},
    ),
    "image by URL": (
        Conversation(model="m", messages=(user(Image(url="https://x/a.png", detail="low")),)),
        {
            "model": "m",
            "input": [item("user", {"type": "input_image", "image_url": "https://x/a.png", "detail": "low"})],
        },
    ),
    "image as data": (
        Conversation(model="m", messages=(user(Image(data="AAAA", media_type="image/webp")),)),
        {"model": "m", "input": [item("user", {"type": "input_image", "image_url": "data:image/webp;base64,AAAA"})]},
    ),
    "file as data": (
        Conversation(model="m", messages=(user(Document(data="AAAA", media_type="application/pdf", name="a.pdf")),)),
        {
            "model": "m",
            "input": [
                item(
                    "user",
                    {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
                )
            ],
        },
    ),
    "file as bare base64": (
        Conversation(model="m", messages=(user(Document(data="AAAA", name="a.pdf")),)),
        {"model": "m", "input": [item("user", {"type": "input_file", "filename": "a.pdf", "file_data": "AAAA"})]},
    ),
    "audio": (
        Conversation(model="m", messages=(user(Audio(data="AAAA", format="mp3")),)),
        {
            "model": "m",
            "input": [item("user", {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}})],
        },
    ),
    "one assistant turn of many items": (
        Conversation(
            model="m",
            messages=(
                assistant(
                    Thinking(text="a", summary=True, seal="S", origin="responses", item_id="rs_1"),
                    Text(text="b", item_id="msg_1"),
                    Refusal(text="c", item_id="msg_1"),
                    ToolCall(id="call_1", name="f", arguments="{ }", item_id="fc_1"),
                    ToolCall(id="call_2", name="g", arguments="free\n", kind="custom", item_id="ctc_1"),
                ),
                user(
                    ToolResult(call_id="call_1", parts=(Text(text="1"),)),
                    ToolResult(call_id="call_2", parts=(Text(text="2"),), kind="custom"),
                ),
            ),
        ),
        {
            "model": "m",
            "input": [
                {
                    "id": "rs_1",
                    "type": "reasoning",
                    "summary": [{"type": "summary_text", "text": "a"}],
                    "encrypted_content": "S",
                },
                {
                    "id": "msg_1",
                    "type": "message",
                    "status": "completed",
                    "role": "assistant",
                    "content": [
                        {"type": "output_text", "text": "b", "annotations": []},
                        {"type": "refusal", "refusal": "c"},
                    ],
                },
                {
                    "id": "fc_1",
                    "type": "function_call",
                    "call_id": "call_1",
                    "name": "f",
                    "arguments": "{ }",
                    "status": "completed",
                },
                {"id": "ctc_1", "type": "custom_tool_call", "call_id": "call_2", "name": "g", "input": "free\n"},
                {"type": "function_call_output", "call_id": "call_1", "output": "1"},
                {"type": "custom_tool_call_output", "call_id": "call_2", "output": "2"},
            ],
        },
    ),
    "two assistant messages in a row": (
        Conversation(model="m", messages=(assistant(Text(text="a")), assistant(Text(text="b")))),
        {
            "model": "m",
            "input": [
                {"type": "message", "role": "assistant", "content": "a"},
                {"type": "message", "role": "assistant", "content": "b"},
            ],
        },
    ),
    "raw reasoning": (
        Conversation(model="m", messages=(assistant(Thinking(text="a", item_id="rs_1")),)),
        {
            "model": "m",
            "input": [
                {
                    "id": "rs_1",
                    "type": "reasoning",
                    "summary": [],
                    "content": [{"type": "reasoning_text", "text": "a"}],
                }
            ],
        },
    ),
    "sealed reasoning without an id": (
        Conversation(
            model="m",
            messages=(
                assistant(
                    Thinking(text="a", summary=True, seal="S", origin="responses"),
                    Thinking(text="b", seal="T", origin="responses"),
                ),
            ),
        ),
        {
            "model": "m",
            "input": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}], "encrypted_content": "S"},
                {
                    "type": "reasoning",
                    "summary": [],
                    "content": [{"type": "reasoning_text", "text": "b"}],
                    "encrypted_content": "T",
                },
            ],
        },
    ),
    "citations": (
        Conversation(
            model="m",
            messages=(
                assistant(
                    Text(
                        text="a",
                        item_id="msg_1",
                        citations=(
                            Citation(url="https://x", title="t", start=0, end=1),
                            Citation(dialect="responses", raw=Raw(b'{"type":"file_path","file_id":"f","index":0}')),
                        ),
                    )
                ),
            ),
        ),
        {
            "model": "m",
            "input": [
                {
                    "id": "msg_1",
                    "type": "message",
                    "status": "completed",
                    "role": "assistant",
                    "content": [
                        {
                            "type": "output_text",
                            "text": "a",
                            "annotations": [
                                {
                                    "type": "url_citation",
                                    "url": "https://x",
                                    "title": "t",
                                    "start_index": 0,
                                    "end_index": 1,
                                },
                                {"type": "file_path", "file_id": "f", "index": 0},
                            ],
                        }
                    ],
                }
            ],
        },
    ),
    "hosted tool's call and a reference": (
        Conversation(
            model="m",
            messages=(
                assistant(
                    Opaque(dialect="responses", type="mcp_call", raw=Raw(MCP_CALL)),
                    Opaque(dialect="responses", type="item_reference", raw=Raw(b'{"id":"msg_1"}')),
                ),
            ),
        ),
        {"model": "m", "input": [json.loads(MCP_CALL), {"id": "msg_1"}]},
    ),
    "settings": (
        Conversation(
            model="m",
            messages=(said("hi"),),
            parallel_tool_calls=False,
            max_tokens=10,
            temperature=0.0,
            top_p=1.0,
            logprobs=True,
            top_logprobs=3,
            reasoning=Reasoning(effort="low", summary="concise"),
            response_format=ResponseFormat(type="json_object"),
            verbosity="high",
            service_tier="priority",
            user="u",
            safety_identifier="s",
            metadata=Raw(b'{"a":"b"}'),
            store=True,
            prompt_cache_key="k",
            stream=True,
            include_seals=True,
        ),
        {
            "model": "m",
            "input": [HI],
            "parallel_tool_calls": False,
            "max_output_tokens": 10,
            "temperature": 0.0,
            "top_p": 1.0,
            "top_logprobs": 3,
            "reasoning": {"effort": "low", "summary": "concise"},
            "text": {"format": {"type": "json_object"}, "verbosity": "high"},
            "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
            "service_tier": "priority",
            "user": "u",
            "safety_identifier": "s",
            "metadata": {"a": "b"},
            "store": True,
            "prompt_cache_key": "k",
            "stream": True,
        },
    ),
    "tools": (
        Conversation(
            model="m",
            messages=(said("hi"),),
            tools=(
                Tool(name="f", parameters=Raw(b'{"type":"object"}'), strict=True, description="d"),
                Tool(name="g", kind="custom", format=Raw(b'{"type":"text"}')),
                Tool(name="web_search", kind="native", dialect="responses", raw=Raw(b'{"type":"web_search"}')),
            ),
        ),
        {
            "model": "m",
            "input": [HI],
            "tools": [
                {
                    "type": "function",
                    "name": "f",
                    "description": "d",
                    "parameters": {"type": "object"},
                    "strict": True,
                },
                {"type": "custom", "name": "g", "format": {"type": "text"}},
                {"type": "web_search"},
            ],
        },
    ),
    "json schema": (
        Conversation(
            model="m",
            messages=(said("hi"),),
            response_format=ResponseFormat(type="json_schema", name="n", schema=Raw(b'{"b":15,"a":2}'), strict=True),
        ),
        {
            "model": "m",
            "input": [HI],
            "text": {"format": {"type": "json_schema", "name": "n", "schema": {"b": 15, "a": 2}, "strict": True}},
        },
    ),
}

CHOICES: list[tuple[ToolChoice, Any]] = [
    (ToolChoice(mode="auto"), "auto"),
    (ToolChoice(mode="none"), "none"),
    (ToolChoice(mode="required"), "required"),
    (ToolChoice(mode="named", name="f"), {"type": "function", "name": "f"}),
    (ToolChoice(mode="named", name="g", kind="custom"), {"type": "custom", "name": "g"}),
    (
        ToolChoice(mode="allowed", names=("f",)),
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    ),
    (
        ToolChoice(mode="native", dialect="responses", raw=Raw(b'{"type":"mcp","server_label":"w"}')),
        {"type": "mcp", "server_label": "w"},
    ),
    (
        ToolChoice(
            mode="native",
            dialect="responses",
            raw=Raw(b'{"type":"allowed_tools","mode":"auto","tools":[{"type":"file_search"}]}'),
        ),
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "file_search"}]},
    ),
]


@pytest.mark.parametrize("case", CASES)
def test_a_request_is_read(case: str) -> None:
    neutral, wire = CASES[case]
    assert responses.read_request(msgspec.json.encode(wire)) == msgspec.structs.replace(neutral, dialect="responses")


@pytest.mark.parametrize("case", CASES)
def test_a_request_is_written(case: str) -> None:
    neutral, wire = CASES[case]
    assert support.write_request(responses, neutral) == (wire, {})


UNTYPED = ("audio", "file as bare base64", "sealed reasoning without an id")
"""Cases that the API takes and the SDK's types refuse: they do not know them, or require an id."""


@pytest.mark.parametrize("case", [case for case in CASES if case not in UNTYPED])
def test_the_sdk_knows_what_is_written(case: str) -> None:
    wire, _ = support.write_request(responses, CASES[case][0])
    for tool in wire.get("tools", []):
        if tool["type"] == "function":
            tool.setdefault("strict", None)  # required by the SDK, not by the API
    for part in _parts(wire):
        if part["type"] == "input_image":
            part.setdefault("detail", "auto")  # likewise
    PARAMS.validate_python(wire, strict=True)


@pytest.mark.parametrize(("choice", "wire"), CHOICES, ids=lambda value: str(value)[:40])
def test_a_tool_choice_is_read_and_written(choice: ToolChoice, wire: Any) -> None:
    body = msgspec.json.encode({"input": "hi", "tool_choice": wire})
    assert responses.read_request(body).tool_choice == choice
    written, _ = support.write_request(responses, Conversation(tool_choice=choice))
    assert written["tool_choice"] == wire


def test_a_rich_request_comes_back_as_it_was() -> None:
    assert support.write_request(responses, responses.read_request(RICH)) == (json.loads(RICH), {})


def test_unread_json_keeps_its_spelling_and_order() -> None:
    written = responses.write_request(responses.read_request(RICH), Losses())
    assert b'{"deep": [1, 2.50, null]}' in written
    assert b'{"type": "input_hologram", "beam": {"z": 1.50, "a": 2}}' in written
    assert b'"properties": {"z": {"type": "number"}, "at"' in written


def test_the_rich_request_is_one_that_the_sdk_can_send() -> None:
    wire = json.loads(RICH)
    for tool in wire["tools"]:
        if tool["type"] == "function":
            tool.setdefault("strict", None)
    wire["input"][1]["content"] = [
        part for part in wire["input"][1]["content"] if part["type"] not in ("input_hologram", "input_audio")
    ]
    PARAMS.validate_python(wire)


SHORTHANDS: list[tuple[dict[str, Any], tuple[Message, ...]]] = [
    ({"input": "hi"}, (said("hi"),)),
    ({"input": [{"role": "user", "content": "hi"}]}, (said("hi"),)),
    ({"input": [{"role": "user", "content": [text("hi")]}]}, (said("hi"),)),
    ({"input": [{"role": "assistant", "content": "hi"}]}, (assistant(Text(text="hi")),)),
    (
        {"input": [{"role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}]},
        (assistant(Text(text="hi")),),
    ),
    ({"input": []}, ()),
    ({}, ()),
    ({"input": None, "tools": None, "tool_choice": None, "text": None, "reasoning": None, "stream": None}, ()),
    ({"input": "hi", "background": False, "truncation": "disabled", "include": [], "x": None}, (said("hi"),)),
    (
        {
            "input": [
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "id": None, "status": None}
            ]
        },
        (assistant(ToolCall(id="c", name="f", arguments="{}")),),
    ),
]


@pytest.mark.parametrize(("wire", "messages"), SHORTHANDS, ids=lambda value: str(value)[:60])
def test_shorthands_say_the_same(wire: dict[str, Any], messages: tuple[Message, ...]) -> None:
    assert responses.read_request(msgspec.json.encode(wire)) == Conversation(dialect="responses", messages=messages)


def test_ids_that_plano_made_up_are_forgotten() -> None:
    wire = [
        {"type": "reasoning", "id": "rs_plano_1_0", "summary": [], "encrypted_content": "plano-seal.messages.-.SIG"},
        {"type": "reasoning", "id": "rs_plano_1_1", "summary": []},
        {"type": "message", "id": "msg_plano_1_2", "role": "assistant", "status": "completed", "content": "a"},
        {"type": "function_call", "id": "fc_plano_1_3", "call_id": "c", "name": "f", "arguments": "{}"},
    ]
    (message,) = responses.read_request(msgspec.json.encode({"input": wire})).messages
    assert message.parts == (
        Thinking(text="", seal="SIG", origin="messages"),
        Text(text="a"),
        ToolCall(id="c", name="f", arguments="{}"),
    )


def test_a_foreign_seal_is_unpacked_with_the_text_it_is_of() -> None:
    wire = {
        "type": "reasoning",
        "id": "rs_plano_1_0",
        "summary": [{"type": "summary_text", "text": "  hm\n\n"}],
        "encrypted_content": "plano-seal.messages.-.a.b==",
    }
    (message,) = responses.read_request(msgspec.json.encode({"input": [wire]})).messages
    assert message.parts == (Thinking(text="  hm\n\n", seal="a.b==", origin="messages"),)


def test_redacted_thinking_comes_back() -> None:
    wire = {"type": "reasoning", "summary": [], "encrypted_content": "plano-seal.messages.redacted.DATA"}
    (message,) = responses.read_request(msgspec.json.encode({"input": [wire]})).messages
    assert message.parts == (RedactedThinking(data="DATA"),)


def test_a_replayed_thought_signature_is_the_chat_upstreams() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "", "extra_content": {"google": 1}}
    (message,) = responses.read_request(msgspec.json.encode({"input": [call]})).messages
    (part,) = message.parts
    assert part.extras == {"chat": {"extra_content": Raw(b'{"google":1}')}}


MISTAKES: list[tuple[bytes, str | None]] = [
    (b"", None),
    (b"{", None),
    (b"[]", None),
    (b'{"model": "\xff"}', None),
    (b'{"x": "\xff"}', None),
    (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
    (b'{"model": 1}', "model"),
    (b'{"input": 1}', "input"),
    (b'{"input": [1]}', "input[0]"),
    (b'{"input": [{"content": "hi"}]}', "input[0].type"),
    (b'{"input": [{"role": "user"}]}', "input[0].content"),
    (b'{"input": [{"role": "robot", "content": "hi"}]}', "input[0].role"),
    (b'{"input": [{"role": "user", "content": [{"type": "input_text"}]}]}', "input[0].content[0].text"),
    (b'{"input": [{"role": "user", "content": [{"type": "input_text", "text": 1}]}]}', "input[0].content[0].text"),
    (b'{"input": [{"role": "user", "content": [{"text": "hi"}]}]}', "input[0].content[0].type"),
    (b'{"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}]}', "input[0].arguments"),
    (b'{"input": [{"type": "function_call", "call_id": "c", "arguments": ""}]}', "input[0].name"),
    (
        b'{"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": 1}]}]}',
        "input[0].output[0].type",
    ),
    (b'{"input": [{"type": "reasoning", "summary": [{"text": 1}]}]}', "input[0].summary[0].text"),
    (b'{"input": [{"type": "reasoning", "summary": "x"}]}', "input[0].summary"),
    (b'{"tools": {}}', "tools"),
    (b'{"tools": [{"name": "f"}]}', "tools[0].type"),
    (b'{"tools": [{"type": "function"}]}', "tools[0].name"),
    (b'{"tools": [{"type": "function", "name": "f", "parameters": 1}]}', "tools[0].parameters"),
    (b'{"tools": [{"type": "function", "name": "f", "strict": "yes"}]}', "tools[0].strict"),
    (b'{"tool_choice": "maybe"}', "tool_choice"),
    (b'{"tool_choice": {"type": "function"}}', "tool_choice.name"),
    (b'{"tool_choice": {"type": "allowed_tools", "tools": [1]}}', "tool_choice.tools[0]"),
    (b'{"text": {"format": {"type": "json_schema", "name": "n"}}}', "text.format.schema"),
    (b'{"text": {"verbosity": 1}}', "text.verbosity"),
    (b'{"reasoning": {"effort": 1}}', "reasoning.effort"),
    (b'{"reasoning": "high"}', "reasoning"),
    (b'{"include": [1]}', "include[0]"),
    (b'{"metadata": "x"}', "metadata"),
    (b'{"max_output_tokens": "x"}', "max_output_tokens"),
    (b'{"stream": 1}', "stream"),
]


@pytest.mark.parametrize(("body", "param"), MISTAKES, ids=lambda value: str(value)[:50])
def test_a_mistake_is_told_with_its_place(body: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        responses.read_request(body)
    assert caught.value.status == 400
    assert caught.value.param == param


def chat(**fields: bytes) -> dict[Any, dict[str, Raw]]:
    return {"chat": {name: Raw(value) for name, value in fields.items()}}


LOST: list[tuple[Conversation, list[str]]] = [
    (Conversation(top_k=5), ["top_k"]),
    (Conversation(stop=("x",)), ["stop"]),
    (
        Conversation(seed=1, presence_penalty=0.0, frequency_penalty=1.0),
        ["seed", "presence_penalty", "frequency_penalty"],
    ),
    (Conversation(n=1, include_usage=True), []),
    (Conversation(reasoning=Reasoning(mode="disabled", effort="high")), ["output_config.effort"]),
    (Conversation(extras=chat(logit_bias=b"{}", moderation=b"{}")), ["logit_bias"]),
    (Conversation(system=(System(text="a", cache=Raw(b"{}")),)), ["system.cache_control"]),
    (Conversation(tools=(Tool(name="f", cache=Raw(b"{}")),)), ["tools.cache_control"]),
    (Conversation(tools=(Tool(name="w", kind="native", dialect="messages", raw=Raw(b"{}")),)), ["tools.type"]),
    (Conversation(messages=(user(Text(text="a", cache=Raw(b"{}"))),)), ["messages.cache_control"]),
    (Conversation(messages=(Message(role="user", parts=(Text(text="a"),), name="Ann"),)), ["messages.name"]),
    (Conversation(messages=(assistant(Thinking(text="a", seal="S", origin="messages")),)), ["messages.thinking"]),
    (Conversation(messages=(assistant(Thinking(text="a")),)), ["messages.thinking"]),
    (Conversation(messages=(assistant(RedactedThinking(data="a")),)), ["messages.thinking"]),
    (Conversation(messages=(user(ToolResult(call_id="c", parts=(), is_error=True)),)), ["tool_result.is_error"]),
    (Conversation(messages=(user(ToolResult(call_id="c", parts=(), is_error=False)),)), []),
    (
        Conversation(messages=(assistant(Opaque(dialect="messages", type="server_tool_use", raw=Raw(b"{}"))),)),
        ["messages.content"],
    ),
    (
        Conversation(messages=(assistant(ToolCall(id="c", name="f", arguments="", extras=chat(extra_content=b"{}"))),)),
        ["messages.tool_calls.extra_content"],
    ),
    (
        Conversation(messages=(assistant(Text(text="a", citations=(Citation(dialect="messages", raw=Raw(b"{}")),))),)),
        ["messages.citations"],
    ),
]


@pytest.mark.parametrize(("conversation", "fields"), LOST, ids=lambda value: str(value)[:40])
def test_what_cannot_be_said_is_reported(conversation: Conversation, fields: list[str]) -> None:
    assert list(support.write_request(responses, conversation)[1]) == fields


REFUSED: list[tuple[Conversation, str]] = [
    (Conversation(n=2), "n"),
    (Conversation(extras=chat(modalities=b'["text","audio"]')), "modalities"),
    (Conversation(messages=(user(Image(file_id="file_011abc")),)), "messages.file_id"),
    (Conversation(messages=(user(Document(file_id="file_011abc")),)), "messages.file_id"),
    (Conversation(messages=(user(Audio(id="audio_1")),)), "messages.audio"),
    (Conversation(tool_choice=ToolChoice(mode="native", dialect="messages", raw=Raw(b"{}"))), "tool_choice"),
    (
        Conversation(
            tools=(Tool(name="w", kind="native", dialect="messages", raw=Raw(b"{}")),),
            tool_choice=ToolChoice(mode="named", name="w"),
        ),
        "tool_choice",
    ),
]


@pytest.mark.parametrize(("conversation", "field"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_would_change_the_meaning_is_refused(conversation: Conversation, field: str) -> None:
    with pytest.raises(UnsupportedConversion) as caught:
        responses.write_request(conversation, Losses())
    assert caught.value.param == field


TRANSLATED: list[tuple[Conversation, dict[str, Any]]] = [
    (Conversation(system=(System(text="a", role="system"), System(text="b"))), {"instructions": "a\n\nb", "input": []}),
    (Conversation(reasoning=Reasoning(budget=3000)), {"input": [], "reasoning": {"effort": "medium"}}),
    (Conversation(reasoning=Reasoning(mode="disabled")), {"input": []}),
    (Conversation(reasoning=Reasoning(effort="none")), {"input": [], "reasoning": {"effort": "none"}}),
    (
        Conversation(reasoning=Reasoning(mode="enabled", budget=1024)),
        {"input": [], "reasoning": {"effort": "minimal"}, "include": ["reasoning.encrypted_content"]},
    ),
    (Conversation(reasoning=Reasoning(mode="adaptive")), {"input": [], "include": ["reasoning.encrypted_content"]}),
    (Conversation(extras=chat(moderation=b'{"model":"o"}')), {"input": [], "moderation": {"model": "o"}}),
    (
        Conversation(messages=(user(Document(text="plain", name="a.txt")),)),
        {"input": [item("user", text("plain"))]},
    ),
    (
        Conversation(messages=(user(Document(data="AA", media_type="application/pdf")),)),
        {
            "input": [
                item(
                    "user",
                    {"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,AA"},
                )
            ]
        },
    ),
    (
        Conversation(messages=(user(ToolResult(call_id="c", parts=(Text(text="1"),)), Text(text="2")),)),
        {"input": [{"type": "function_call_output", "call_id": "c", "output": "1"}, item("user", text("2"))]},
    ),
    (
        Conversation(
            messages=(
                assistant(ToolCall(id="c", name="g", arguments="x", kind="custom")),
                user(ToolResult(call_id="c", parts=(Text(text="1"),))),
            )
        ),
        {
            "input": [
                {"type": "custom_tool_call", "call_id": "c", "name": "g", "input": "x"},
                {"type": "custom_tool_call_output", "call_id": "c", "output": "1"},
            ]
        },
    ),
    (
        Conversation(
            tools=(
                Tool(
                    name="g",
                    kind="custom",
                    dialect="chat",
                    format=Raw(b'{"type":"grammar","grammar":{"syntax":"lark","definition":"d"}}'),
                ),
            )
        ),
        {
            "input": [],
            "tools": [
                {"type": "custom", "name": "g", "format": {"type": "grammar", "syntax": "lark", "definition": "d"}}
            ],
        },
    ),
    (
        Conversation(messages=(user(Text(text="a", extras=chat(prompt_cache_breakpoint=b'{"mode":"explicit"}'))),)),
        {"input": [item("user", text("a") | {"prompt_cache_breakpoint": {"mode": "explicit"}})]},
    ),
    (
        Conversation(response_format=ResponseFormat(type="json_schema", schema=Raw(b"{}"))),
        {"input": [], "text": {"format": {"type": "json_schema", "name": "response", "schema": {}}}},
    ),
]


@pytest.mark.parametrize(("conversation", "wire"), TRANSLATED, ids=lambda value: str(value)[:40])
def test_what_others_say_differently_is_said_here_too(conversation: Conversation, wire: dict[str, Any]) -> None:
    assert support.write_request(responses, conversation) == (wire, {})


def test_nothing_is_written_that_was_not_said() -> None:
    assert support.write_request(responses, Conversation(model="m"))[0] == {"model": "m", "input": []}


def _parts(wire: dict[str, Any]) -> list[dict[str, Any]]:
    contents = [found.get("content") for found in wire["input"]]
    return [part for content in contents if isinstance(content, list) for part in content]
