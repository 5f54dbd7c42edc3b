"""Requests of the messages dialect, both ways, against the SDK's own types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest
from anthropic.types import MessageCreateParams
from msgspec import Raw
from msgspec.structs import replace

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
from plano.dialects import chat, messages, responses
from plano.errors import InvalidRequest, UnsupportedConversion
from plano.losses import Losses
from tests.dialects import support
from tests.dialects.support import GOLDEN_FILES

GOLDEN = sorted(GOLDEN_FILES.glob("request-*.messages.json"))
ORACLE: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(MessageCreateParams)

USER = Message(role="user", parts=(Text(text="hi"),))
F = Tool(name="f", parameters=Raw(b'{"type":"object"}'))


def read(body: Any) -> Conversation:
    return support.read_request(messages, body)


def write(conversation: Conversation) -> tuple[dict[str, Any], dict[str, str]]:
    """The body, checked by the SDK's types, and the losses by field."""
    body, losses = support.write_request(messages, conversation)
    ORACLE.validate_python(body)
    return body, losses


def said(**fields: Any) -> Conversation:
    return Conversation(**{"model": "m", "messages": (USER,), "max_tokens": 5000, **fields})


def content(*parts: Part, role: Any = "user") -> tuple[Any, dict[str, str]]:
    body, losses = write(said(messages=(USER, Message(role=role, parts=parts), USER)))
    written = [message for message in body["messages"] if message["content"] != "hi"]
    return written[0]["content"] if written else None, losses


# --- in this dialect and back ----------------------------------------------------------------------


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_nothing_is_lost_between_reading_and_writing(path: Path) -> None:
    body = path.read_bytes()
    assert write(messages.read_request(body)) == (json.loads(body), {})


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_a_conversation_written_and_read_again_is_the_same(path: Path) -> None:
    once = messages.read_request(path.read_bytes())
    again = messages.read_request(messages.write_request(once, Losses()))
    assert again == once


def test_there_are_golden_requests() -> None:
    assert len(GOLDEN) >= 2


def test_schemas_and_arguments_stay_as_they_were_written() -> None:
    body = (GOLDEN_FILES / "request-agent.messages.json").read_bytes()
    written = messages.write_request(messages.read_request(body), Losses())
    for kept in (
        b'{"path": "notes", "a_first": 1.50, "list": [1, 2]}',
        b'{"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "number", "minimum": 1.0}}',
    ):
        assert kept in body
        assert kept in written


def test_absent_stays_absent() -> None:
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
    assert write(read(body)) == (body, {})


@pytest.mark.parametrize(
    ("shorthand", "full"),
    [
        ({"system": "s"}, {"system": [{"type": "text", "text": "s"}]}),
        ({"system": "", "stream": None, "tools": None, "thinking": None, "metadata": None}, {}),
        (
            {"messages": [{"role": "user", "content": "hi"}]},
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "r"}]}]},
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "r"}]}
                        ],
                    }
                ]
            },
        ),
        (
            {"tools": [{"name": "f", "input_schema": {"type": "object"}}]},
            {"tools": [{"type": "custom", "name": "f", "input_schema": {"type": "object"}}]},
        ),
        (
            {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]},
            {"system": "s"},
        ),
        (
            {"output_format": {"type": "json_schema", "schema": {}}},
            {"output_config": {"format": {"type": "json_schema", "schema": {}}}},
        ),
    ],
)
def test_a_shorthand_says_the_same_as_the_full_form(shorthand: Any, full: Any) -> None:
    common = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
    assert read({**common, **shorthand}) == read({**common, **full})


def test_what_is_read_is_in_the_neutral_words() -> None:
    conversation = messages.read_request((GOLDEN_FILES / "request-agent.messages.json").read_bytes())
    assert conversation.user == "user-7"
    assert conversation.service_tier == "default"
    assert conversation.parallel_tool_calls is False
    assert conversation.stop == ("END", "\n\nHuman:")
    assert conversation.reasoning is not None
    assert (conversation.reasoning.mode, conversation.reasoning.budget) == ("enabled", 10000)
    assert set(conversation.extras["messages"]) == {"container", "cache_control", "inference_geo"}
    assert [tool.kind for tool in conversation.tools] == ["function", "function", "native", "native"]
    assert conversation.messages[1].parts[0] == Thinking(
        text="Let me look.", seal="EqQBCkYIBxgCKkC+/==", origin="messages"
    )


def test_a_search_result_is_a_document_with_its_text() -> None:
    conversation = messages.read_request((GOLDEN_FILES / "request-documents.messages.json").read_bytes())
    document = conversation.messages[0].parts[6]
    assert isinstance(document, Document)
    assert (document.name, document.text) == ("KB", "The sky\nis blue.")


@pytest.mark.parametrize("number", [2, 6])
def test_a_document_that_a_filter_changed_is_not_written_as_it_was(number: int) -> None:
    conversation = messages.read_request((GOLDEN_FILES / "request-documents.messages.json").read_bytes())
    document = msgspec.structs.replace(conversation.messages[0].parts[number], text="***")
    message = msgspec.structs.replace(conversation.messages[0], parts=(document,))
    body, _ = write(msgspec.structs.replace(conversation, messages=(message,)))
    (written,) = body["messages"][0]["content"]
    assert "***" in json.dumps(written)
    assert "blue" not in json.dumps(written)
    assert "two" not in json.dumps(written)


@pytest.mark.parametrize("thinking", [{"type": "disabled"}, {"type": "between_tools"}, {"type": "adaptive"}])
def test_every_form_of_thinking_goes_through(thinking: Any) -> None:
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}], "thinking": thinking}
    assert write(read(body)) == (body, {})


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "auto"},
        {"type": "any", "disable_parallel_tool_use": False},
        {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        {"type": "none"},
    ],
)
def test_every_form_of_tool_choice_goes_through(choice: Any) -> None:
    body = {
        "model": "m",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "tool_choice": choice,
    }
    assert write(read(body)) == (body, {})


# --- what is wrong with a request ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [1]}, "messages[0]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 7}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}]},
            "messages[0].content[0].source.url",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": 5}]}]},
            "messages[0].content[0].content",
        ),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"stop_sequences": [1]}, "stop_sequences[0]"),
        ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"system": 5}, "system"),
        ({"tools": [{"description": "nameless"}]}, "tools[0].name"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"budget_tokens": 5}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": "5"}}, "thinking.budget_tokens"),
        ({"output_config": {"effort": 5}}, "output_config.effort"),
        ({"metadata": {"user_id": 5}}, "metadata.user_id"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_a_field_of_the_wrong_type_is_said_with_its_path(change: Any, param: str) -> None:
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    with pytest.raises(InvalidRequest) as raised:
        read({**body, **change})
    assert raised.value.param == param
    assert raised.value.status == 400


@pytest.mark.parametrize(
    "body",
    [b"", b"  ", b"{", b"[]", b"7", b"null", b'"hi"', b"{}", b'{"messages":[{"role":"user","content":"\xff"}]}'],
)
def test_a_body_that_is_no_request_is_the_caller_s_fault(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        messages.read_request(body)


def test_nesting_without_end_is_the_caller_s_fault() -> None:
    deep = b'{"messages":[{"role":"user","content":[{"type":"tool_use","id":"a","name":"b","input":' + b"[" * 100_000
    with pytest.raises(InvalidRequest):
        messages.read_request(deep)


# --- from other dialects ---------------------------------------------------------------------------


def test_max_tokens_is_always_written() -> None:
    assert write(said(max_tokens=None))[0]["max_tokens"] == 4096


@pytest.mark.parametrize(
    ("fields", "written", "lost"),
    [
        ({"temperature": 1.5}, {"temperature": 1.0}, {"temperature"}),
        ({"temperature": 0.0, "top_p": 0.5, "top_k": 3}, {"temperature": 0.0, "top_p": 0.5, "top_k": 3}, set()),
        ({"stop": ("a", " ")}, {"stop_sequences": ["a"]}, {"stop"}),
        ({"n": 1}, {}, set()),
        ({"seed": 0}, {}, {"seed"}),
        ({"presence_penalty": 0.0, "frequency_penalty": 0.1}, {}, {"frequency_penalty"}),
        ({"logprobs": False}, {}, set()),
        ({"logprobs": True, "top_logprobs": 2}, {}, {"logprobs", "top_logprobs"}),
        ({"verbosity": "low", "prompt_cache_key": "k"}, {}, {"verbosity", "prompt_cache_key"}),
        ({"metadata": Raw(b'{"a":"b"}')}, {}, {"metadata"}),
        ({"user": "u", "safety_identifier": "s"}, {"metadata": {"user_id": "u"}}, set()),
        ({"safety_identifier": "s"}, {"metadata": {"user_id": "s"}}, set()),
        ({"service_tier": "default"}, {"service_tier": "standard_only"}, set()),
        ({"service_tier": "auto"}, {"service_tier": "auto"}, set()),
        ({"service_tier": "flex"}, {}, {"service_tier"}),
        ({"store": False}, {}, set()),
        ({"store": True}, {}, set()),
        ({"stream": True, "include_usage": True}, {"stream": True}, set()),
        ({"response_format": ResponseFormat(type="text")}, {}, set()),
        ({"response_format": ResponseFormat(type="json_object")}, {}, {"response_format"}),
        (
            {"response_format": ResponseFormat(type="json_schema", name="x", strict=True, schema=Raw(b'{"b":1}'))},
            {"output_config": {"format": {"type": "json_schema", "schema": {"b": 1}}}},
            set(),
        ),
        ({"extras": {"chat": {"logit_bias": Raw(b"{}")}}}, {}, {"logit_bias"}),
    ],
)
def test_settings_are_carried_or_reported(fields: Any, written: Any, lost: set[str]) -> None:
    body, losses = write(said(**fields))
    plain = {"model": "m", "max_tokens": 5000, "messages": [{"role": "user", "content": "hi"}]}
    assert body == {**plain, **written}
    assert set(losses) == lost


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"extras": {"chat": {"modalities": Raw(b'["text","audio"]')}}}, "modalities"),
        ({"messages": (Message(role="user", parts=(Audio(data="x", format="wav"),)),)}, "messages.audio"),
        ({"messages": (Message(role="user", parts=(Image(file_id="file-1"),)),)}, "messages.file_id"),
        ({"messages": (Message(role="user", parts=(Document(file_id="file-1"),)),)}, "messages.file_id"),
        (
            {"messages": (Message(role="user", parts=(Document(data="eA==", media_type="application/msword"),)),)},
            "messages.file",
        ),
        ({"tool_choice": ToolChoice(mode="named", name="gone"), "tools": (F,)}, "tool_choice"),
        ({"tool_choice": ToolChoice(mode="required")}, "tool_choice"),
        (
            {
                "tools": (Tool(name="w", kind="native", dialect="responses", raw=Raw(b"{}")),),
                "tool_choice": ToolChoice(mode="native", dialect="responses", raw=Raw(b"{}")),
            },
            "tool_choice",
        ),
    ],
)
def test_what_would_change_the_meaning_is_refused(fields: Any, param: str) -> None:
    with pytest.raises(UnsupportedConversion) as raised:
        messages.write_request(said(**fields), Losses())
    assert raised.value.param == param


def test_instructions_become_system_blocks() -> None:
    cache = Raw(b'{"type":"ephemeral"}')
    one = said(system=(System(text="a", role="developer"),))
    two = said(system=(System(text="a", role="system"), System(text=""), System(text="b", cache=cache)))
    assert write(one)[0]["system"] == "a"
    assert write(two)[0]["system"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}},
    ]


def test_an_instruction_alone_is_said_as_the_user_s() -> None:
    body, losses = write(said(messages=(), system=(System(text="Be brief."), System(text="Tell a joke."))))
    assert body["system"] == "Be brief."
    assert body["messages"] == [{"role": "user", "content": "Tell a joke."}]
    assert set(losses) == {"messages.role"}


def test_neighbours_of_one_role_become_one_turn_with_results_first() -> None:
    body, losses = write(
        said(
            messages=(
                USER,
                Message(role="assistant", parts=(Text(text="a"),)),
                Message(role="assistant", parts=(ToolCall(id="c", name="f", arguments="{}"),)),
                Message(role="developer", parts=(Text(text="Careful."),)),
                Message(role="user", parts=(ToolResult(call_id="c", parts=(Text(text="r"),)),)),
                Message(role="assistant", parts=(Text(text=""),)),
                Message(role="user", parts=(Text(text="more"),), name="ann"),
            )
        )
    )
    assert body["messages"] == [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "a"}, {"type": "tool_use", "id": "c", "name": "f", "input": {}}],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c", "content": "r"},
                {"type": "text", "text": "Careful."},
                {"type": "text", "text": "more"},
            ],
        },
    ]
    assert set(losses) == {"messages.role", "messages.name"}


@pytest.mark.parametrize(
    ("part", "written", "lost"),
    [
        (Image(url="https://x/a.png", detail="auto"), {"type": "url", "url": "https://x/a.png"}, set()),
        (
            Image(data="eA==", media_type="image/gif", detail="low"),
            {"type": "base64", "media_type": "image/gif", "data": "eA=="},
            {"messages.detail"},
        ),
        (
            Document(data="eA=="),
            {"type": "base64", "media_type": "application/pdf", "data": "eA=="},
            set(),
        ),
        (
            Document(data="eMO8", media_type="text/markdown"),
            {"type": "text", "media_type": "text/plain", "data": "xü"},
            set(),
        ),
        (Document(url="https://x/a.pdf"), {"type": "url", "url": "https://x/a.pdf"}, set()),
    ],
)
def test_images_and_documents_become_sources(part: Part, written: Any, lost: set[str]) -> None:
    blocks, losses = content(Text(text="look"), part, role="assistant")
    assert blocks[1]["source"] == written
    assert set(losses) == lost


@pytest.mark.parametrize(
    ("part", "written", "lost"),
    [
        (
            ToolCall(id="functions.f:0", name="f", arguments='{"b":1,  "a":2}'),
            {"type": "tool_use", "id": "functions_f_0", "name": "f", "input": {"b": 1, "a": 2}},
            set(),
        ),
        (
            ToolCall(id="c", name="f", arguments=""),
            {"type": "tool_use", "id": "c", "name": "f", "input": {}},
            set(),
        ),
        (
            ToolCall(id="c", name="f", arguments='{"a":'),
            {"type": "tool_use", "id": "c", "name": "f", "input": {"_raw": '{"a":'}},
            {"messages.tool_calls.arguments"},
        ),
        (
            ToolCall(id="c", name="f", arguments="[1]"),
            {"type": "tool_use", "id": "c", "name": "f", "input": {"_raw": "[1]"}},
            {"messages.tool_calls.arguments"},
        ),
        (
            ToolCall(id="c", name="f", arguments='say "hi"', kind="custom"),
            {"type": "tool_use", "id": "c", "name": "f", "input": {"input": 'say "hi"'}},
            set(),
        ),
        (Refusal(text="No."), {"type": "text", "text": "No."}, set()),
        (RedactedThinking(data="d"), {"type": "redacted_thinking", "data": "d"}, set()),
        (
            Thinking(text="t", seal="s", origin="messages"),
            {"type": "thinking", "thinking": "t", "signature": "s"},
            set(),
        ),
        (Thinking(text="t", seal="s", origin="responses"), None, {"messages.thinking"}),
        (Thinking(text="t"), None, {"messages.thinking"}),
        (Opaque(dialect="responses", type="mcp_call", raw=Raw(b"{}")), None, {"messages.content"}),
        (
            Text(text="t", citations=(Citation(url="https://x"),)),
            {"type": "text", "text": "t"},
            {"messages.citations"},
        ),
    ],
)
def test_an_assistant_s_parts_become_blocks(part: Part, written: Any, lost: set[str]) -> None:
    blocks, losses = content(Text(text="a"), part, role="assistant")
    assert blocks == ("a" if written is None else [{"type": "text", "text": "a"}, written])
    assert set(losses) == lost


def test_a_result_keeps_its_images_and_its_error_flag() -> None:
    result = ToolResult(call_id="functions.f:0", parts=(Text(text="r"), Image(url="https://x/a.png")), is_error=True)
    body, losses = write(said(messages=(Message(role="user", parts=(result,)),)))
    assert body["messages"][0]["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "functions_f_0",
            "content": [
                {"type": "text", "text": "r"},
                {"type": "image", "source": {"type": "url", "url": "https://x/a.png"}},
            ],
            "is_error": True,
        }
    ]
    assert losses == {}


def test_a_custom_tool_becomes_a_function_with_one_string() -> None:
    grammar = Raw(b'{"type":"grammar","syntax":"lark","definition":"start: A"}')
    body, losses = write(said(tools=(Tool(name="patch", kind="custom", description="d", format=grammar),)))
    (tool,) = body["tools"]
    assert (tool["name"], tool["description"]) == ("patch", "d")
    assert tool["input_schema"]["required"] == ["input"]
    assert set(losses) == {"tools.format"}


def test_a_function_without_parameters_takes_an_empty_object() -> None:
    body, _ = write(said(tools=(Tool(name="now"), Tool(name="then", parameters=Raw(b"{}")))))
    assert [tool["input_schema"] for tool in body["tools"]] == [{"type": "object", "properties": {}}] * 2


def test_another_dialect_s_own_tools_are_reported() -> None:
    native = Tool(name="file_search", kind="native", dialect="responses", raw=Raw(b'{"type":"file_search"}'))
    body, losses = write(said(tools=(native, F)))
    assert [tool["name"] for tool in body["tools"]] == ["f"]
    assert set(losses) == {"tools.type"}


G = Tool(name="g", parameters=Raw(b'{"type":"object"}'))


@pytest.mark.parametrize(
    ("choice", "parallel", "written", "offered"),
    [
        (None, None, None, ["f", "g"]),
        (None, True, None, ["f", "g"]),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}, ["f", "g"]),
        (ToolChoice(mode="auto"), False, {"type": "auto", "disable_parallel_tool_use": True}, ["f", "g"]),
        (ToolChoice(mode="none"), False, {"type": "none"}, ["f", "g"]),
        (ToolChoice(mode="required"), None, {"type": "any"}, ["f", "g"]),
        (ToolChoice(mode="named", name="g"), None, {"type": "tool", "name": "g"}, ["f", "g"]),
        (ToolChoice(mode="allowed", names=("g",)), None, {"type": "auto"}, ["g"]),
        (ToolChoice(mode="allowed", names=("g",), required=True), None, {"type": "any"}, ["g"]),
    ],
)
def test_tool_choices_are_translated(choice: Any, parallel: Any, written: Any, offered: list[str]) -> None:
    body, losses = write(said(tools=(F, G), tool_choice=choice, parallel_tool_calls=parallel))
    assert body.get("tool_choice") == written
    assert [tool["name"] for tool in body["tools"]] == offered
    assert losses == {}


def test_a_tool_choice_without_tools_is_not_written() -> None:
    body, losses = write(said(tool_choice=ToolChoice(mode="auto"), parallel_tool_calls=False))
    assert "tool_choice" not in body
    assert losses == {}


# --- reasoning -------------------------------------------------------------------------------------


def thinking(**fields: Any) -> tuple[Any, int, set[str]]:
    body, losses = write(said(**fields))
    return body.get("thinking"), body["max_tokens"], set(losses)


@pytest.mark.parametrize(
    ("reasoning", "max_tokens", "expected"),
    [
        (Reasoning(effort="low"), 5000, ({"type": "enabled", "budget_tokens": 2048}, 5000, set())),
        (Reasoning(effort="high"), 5000, ({"type": "enabled", "budget_tokens": 4999}, 5000, set())),
        (Reasoning(effort="high"), None, ({"type": "enabled", "budget_tokens": 16384}, 4096 + 16384, set())),
        (Reasoning(effort="high"), 1024, (None, 1024, {"reasoning_effort"})),
        (Reasoning(effort="odd"), 5000, (None, 5000, {"reasoning_effort"})),
        (Reasoning(effort="none"), 5000, ({"type": "disabled"}, 5000, set())),
        (Reasoning(budget=3000), 5000, ({"type": "enabled", "budget_tokens": 3000}, 5000, set())),
        (Reasoning(summary="auto"), 5000, (None, 5000, set())),
        (
            Reasoning(effort="low", summary="auto"),
            5000,
            ({"type": "enabled", "budget_tokens": 2048, "display": "summarized"}, 5000, set()),
        ),
        (Reasoning(effort="none", summary="auto"), 5000, ({"type": "disabled"}, 5000, set())),
        (
            Reasoning(effort="low", summary="detailed"),
            5000,
            ({"type": "enabled", "budget_tokens": 2048, "display": "summarized"}, 5000, {"reasoning.summary"}),
        ),
    ],
)
def test_an_effort_becomes_a_budget(reasoning: Reasoning, max_tokens: int | None, expected: Any) -> None:
    assert thinking(reasoning=reasoning, max_tokens=max_tokens) == expected


def test_sampling_gives_way_to_thinking() -> None:
    body, losses = write(said(reasoning=Reasoning(effort="low"), temperature=0.2, top_k=5, top_p=0.9))
    assert not {"temperature", "top_k", "top_p"} & set(body)
    assert set(losses) == {"temperature", "top_k", "top_p"}
    body, losses = write(said(reasoning=Reasoning(effort="low"), temperature=1.0, top_p=0.99))
    assert (body["temperature"], body["top_p"]) == (1.0, 0.99)
    assert losses == {}


@pytest.mark.parametrize("choice", [ToolChoice(mode="required"), ToolChoice(mode="named", name="f")])
def test_thinking_gives_way_to_a_forced_tool(choice: ToolChoice) -> None:
    found = thinking(reasoning=Reasoning(effort="low"), tools=(F,), tool_choice=choice)
    assert found == (None, 5000, {"reasoning_effort"})


@pytest.mark.parametrize(
    ("sealed", "expected"),
    [
        ((), (None, 5000, {"reasoning_effort"})),
        ((Thinking(text="t", seal="s", origin="messages"),), ({"type": "enabled", "budget_tokens": 2048}, 5000, set())),
        ((RedactedThinking(data="d"),), ({"type": "enabled", "budget_tokens": 2048}, 5000, set())),
    ],
)
def test_thinking_gives_way_where_the_calls_being_answered_were_not_thought_here(sealed: Any, expected: Any) -> None:
    history = (
        USER,
        Message(role="assistant", parts=(*sealed, ToolCall(id="c", name="f", arguments="{}"))),
        Message(role="user", parts=(ToolResult(call_id="c", parts=(Text(text="r"),)),)),
    )
    assert thinking(reasoning=Reasoning(effort="low"), messages=history) == expected


# --- seals and signatures of others ----------------------------------------------------------------


def test_a_marked_signature_is_the_other_vendor_s_seal_again() -> None:
    body = {
        "messages": [
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "t", "signature": "plano-seal.responses.rs_1.gAAA.b=="},
                    {"type": "thinking", "thinking": "u", "signature": "plano-seal.chat.-."},
                ],
            }
        ]
    }
    assert read(body).messages[0].parts == (
        Thinking(text="t", seal="gAAA.b==", origin="responses", item_id="rs_1", summary=True),
        Thinking(text="u", origin="chat"),
    )


def test_a_call_s_extra_content_is_kept_for_the_chat_upstream_that_gave_it() -> None:
    block = {"type": "tool_use", "id": "c", "name": "f", "input": {}, "extra_content": {"google": {"s": 1}}}
    conversation = read({"messages": [{"role": "assistant", "content": [block]}]})
    (call,) = conversation.messages[0].parts
    assert call.extras == {"chat": {"extra_content": Raw(b'{"google":{"s":1}}')}}


# --- references to tools ---------------------------------------------------------------------------


def referring(*names: str, **more: Any) -> dict[str, Any]:
    """A conversation in which a client's own search for tools found these."""
    found = [{"type": "tool_reference", "tool_name": name, **more} for name in names]
    return {
        "max_tokens": 10,
        "messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "ToolSearch", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": found}]},
        ],
    }


@pytest.mark.parametrize("upstream", [chat, responses])
def test_references_to_tools_reach_other_models_as_texts(upstream: Any) -> None:
    body, losses = support.write_request(upstream, read(referring("mcp__weather__now", "f")))
    result = body["messages"][-1]["content"] if upstream is chat else body["input"][-1]["output"]
    assert [part["text"] for part in result] == ["Tool: mcp__weather__now", "Tool: f"]
    assert set(losses) == {"messages.tool_reference"}


@pytest.mark.parametrize("more", [{}, {"cache_control": {"type": "ephemeral"}}])
def test_references_to_tools_are_written_as_they_were_read(more: dict[str, Any]) -> None:
    asked = referring("f", **more)
    body, losses = support.write_request(messages, read(asked))
    assert (body["messages"], losses) == (asked["messages"], {})


def test_a_reference_whose_text_was_changed_is_a_text() -> None:
    conversation = read(referring("f"))
    *before, last = conversation.messages
    (result,) = last.parts
    assert isinstance(result, ToolResult)
    (said,) = result.parts
    assert isinstance(said, Text)
    changed = replace(last, parts=(replace(result, parts=(replace(said, text="Tool: g"),)),))
    body, _ = support.write_request(messages, replace(conversation, messages=(*before, changed)))
    assert body["messages"][-1]["content"][0]["content"] == "Tool: g"
