"""Requests of the chat dialect, both ways, against the SDK's own types."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from msgspec import Raw
from openai.types.chat import CompletionCreateParams

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
from plano.dialects import chat
from plano.errors import InvalidRequest, UnsupportedConversion
from plano.losses import Losses
from tests.dialects import support
from tests.dialects.support import GOLDEN_FILES, case_id

GOLDEN = sorted(GOLDEN_FILES.glob("request-*.chat.json"))
ORACLE: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(CompletionCreateParams)

HI = Message(role="user", parts=(Text(text="hi"),))
SAYS_HI = [{"role": "user", "content": "hi"}]
F = Tool(name="f", parameters=Raw(b'{"type":"object"}'))
CACHE = Raw(b'{"type":"ephemeral"}')
FROM_CHAT: Any = {"chat": {}}


def read(body: Any) -> Conversation:
    return support.read_request(chat, body)


def written(conversation: Conversation) -> tuple[dict[str, Any], dict[str, str]]:
    """The body, checked by the SDK's types, and the losses by field."""
    body, losses = support.write_request(chat, conversation)
    checked(body)
    return body, losses


def checked(body: Any) -> None:
    """Check a body by the SDK's types, which read iterables only when they are used."""
    exhaust(ORACLE.validate_python({"model": "m", **body}))


def exhaust(value: Any) -> None:
    if isinstance(value, Mapping):
        for item in value.values():
            exhaust(item)
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for item in value:
            exhaust(item)


def says(*parts: Part, **fields: Any) -> Conversation:
    return Conversation(messages=(Message(role="user", parts=parts),), **fields)


def answers(*parts: Part, **fields: Any) -> Conversation:
    return Conversation(messages=(HI, Message(role="assistant", parts=parts)), **fields)


# --- golden ---


def test_a_rich_request_comes_out_as_it_went_in() -> None:
    golden = (GOLDEN_FILES / "request-rich.chat.json").read_bytes()
    assert support.write_request(chat, chat.read_request(golden)) == (json.loads(golden), {})


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_reading_what_was_written_gives_the_same_conversation(path: Path) -> None:
    once = chat.write_request(chat.read_request(path.read_bytes()), Losses())
    assert chat.write_request(chat.read_request(once), Losses()) == once


def test_schemas_and_unknown_fields_keep_their_bytes() -> None:
    schema = b'{ "type":"object", "properties":{"z":{"maximum":1e3},"a":{}} }'
    body = (
        b'{"messages":[{"role":"user","content":"hi","odd":[1.0,  2]}],'
        b'"tools":[{"type":"function","function":{"name":"f","parameters":'
        + schema
        + b'}}],"vendor":{"z":1.50, "a":0}}'
    )
    out = chat.write_request(chat.read_request(body), Losses())
    assert schema in out
    assert b'"vendor":{"z":1.50, "a":0}' in out
    assert b'"odd":[1.0,  2]' in out


def test_legacy_functions_become_tools_and_their_history_calls() -> None:
    conversation = chat.read_request((GOLDEN_FILES / "request-legacy.chat.json").read_bytes())
    body, losses = written(conversation)
    first, second = body["messages"][1]["tool_calls"][0]["id"], body["messages"][3]["tool_calls"][0]["id"]
    assert first != second
    assert body == {
        "model": "gpt-x",
        "messages": [
            {"role": "user", "content": "Weather in Rome and Oslo?"},
            called(first, '{"city":"Rome"}'),
            {"role": "tool", "tool_call_id": first, "content": "sunny"},
            called(second, '{"city":"Oslo"}'),
            {"role": "tool", "tool_call_id": second, "content": "snow"},
        ],
        "max_completion_tokens": 64,
        "stop": ["END"],
        "tools": [
            {
                "type": "function",
                "function": {"name": "weather", "description": "Says the weather.", "parameters": {"type": "object"}},
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
    }
    assert losses == {}


def called(id_: str, arguments: str) -> dict[str, Any]:
    call = {"id": id_, "type": "function", "function": {"name": "weather", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


# --- tables, both ways ---

FIELDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"model": "m"}, {"model": "m"}),
    ({"system": (System(text="s", role="system"),)}, {}),
    ({"max_tokens": 5}, {"max_completion_tokens": 5}),
    ({"stop": ("a", "b")}, {"stop": ["a", "b"]}),
    ({"reasoning": Reasoning(effort="none")}, {"reasoning_effort": "none"}),
    ({"reasoning": Reasoning(effort="xhigh")}, {"reasoning_effort": "xhigh"}),
    ({"response_format": ResponseFormat(type="text")}, {"response_format": {"type": "text"}}),
    ({"response_format": ResponseFormat(type="json_object")}, {"response_format": {"type": "json_object"}}),
    (
        {"response_format": ResponseFormat(type="json_schema", name="n", schema=Raw(b"{}"))},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}},
    ),
    ({"tool_choice": ToolChoice(mode="auto")}, {"tool_choice": "auto"}),
    ({"tool_choice": ToolChoice(mode="none")}, {"tool_choice": "none"}),
    ({"tool_choice": ToolChoice(mode="required")}, {"tool_choice": "required"}),
    (
        {"tool_choice": ToolChoice(mode="named", name="f")},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
    ),
    (
        {"tool_choice": ToolChoice(mode="allowed", names=("f",))},
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            }
        },
    ),
    ({"parallel_tool_calls": True}, {"parallel_tool_calls": True}),
    ({"stream": True, "include_usage": True}, {"stream": True, "stream_options": {"include_usage": True}}),
    ({"store": True, "metadata": Raw(b'{"k":"v"}')}, {"store": True, "metadata": {"k": "v"}}),
    ({"user": "u", "safety_identifier": "s"}, {"user": "u", "safety_identifier": "s"}),
]
"""Fields to add to a conversation with one tool, and the fields that its body then has in addition."""


@pytest.mark.parametrize(("neutral", "body"), FIELDS, ids=case_id)
def test_fields_read_and_write(neutral: dict[str, Any], body: dict[str, Any]) -> None:
    system = [{"role": "system", "content": "s"}] if "system" in neutral else []
    conversation = Conversation(messages=(HI,), tools=(F,), **neutral)
    whole = {
        "messages": system + SAYS_HI,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        **body,
    }
    assert read(whole) == conversation
    assert written(conversation) == (whole, {})


PARTS: list[tuple[tuple[Part, ...], Any]] = [
    ((Text(text="hi"),), "hi"),
    ((Text(text=""),), ""),
    ((Text(text="a"), Text(text="b")), [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
    ((Image(url="https://i.test/x"),), [{"type": "image_url", "image_url": {"url": "https://i.test/x"}}]),
    (
        (Image(data="AAAA", media_type="image/webp", detail="high"),),
        [{"type": "image_url", "image_url": {"url": "data:image/webp;base64,AAAA", "detail": "high"}}],
    ),
    ((Audio(data="AAAA", format="mp3"),), [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}]),
    (
        (Document(data="AAAA", media_type="application/pdf", name="x.pdf"),),
        [{"type": "file", "file": {"filename": "x.pdf", "file_data": "data:application/pdf;base64,AAAA"}}],
    ),
    ((Document(data="AAAA", name="x.pdf"),), [{"type": "file", "file": {"filename": "x.pdf", "file_data": "AAAA"}}]),
    ((Document(file_id="file-1"),), [{"type": "file", "file": {"file_id": "file-1"}}]),
    (
        (Text(text="a", cache=CACHE, extras=FROM_CHAT),),
        [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
    ),
]


@pytest.mark.parametrize(("parts", "content"), PARTS, ids=case_id)
def test_user_content_reads_and_writes(parts: tuple[Part, ...], content: Any) -> None:
    conversation = says(*parts)
    body = {"messages": [{"role": "user", "content": content}]}
    assert read(body) == conversation
    assert written(conversation) == (body, {})


ASSISTANT: list[tuple[tuple[Part, ...], dict[str, Any]]] = [
    ((), {"content": ""}),
    ((Text(text="yes"),), {"content": "yes"}),
    ((Refusal(text="no"),), {"content": None, "refusal": "no"}),
    ((Audio(id="audio_1"),), {"content": None, "audio": {"id": "audio_1"}}),
    ((Thinking(text="hm", origin="chat"), Text(text="yes")), {"content": "yes", "reasoning_content": "hm"}),
    (
        (ToolCall(id="c", name="f", arguments="not json"),),
        {
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "not json"}}],
        },
    ),
    (
        (ToolCall(id="c", name="p", arguments="free", kind="custom", extras=FROM_CHAT),),
        {"content": None, "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "p", "input": "free"}}]},
    ),
    (
        (Thinking(text="hm", seal="c2ln", origin="messages", extras=FROM_CHAT), Text(text="yes")),
        {
            "content": "yes",
            "reasoning_content": "hm",
            "reasoning_details": [
                {"type": "reasoning.text", "text": "hm", "signature": "c2ln", "format": "anthropic-claude-v1"}
            ],
        },
    ),
    (
        (RedactedThinking(data="ZGF0YQ==", extras=FROM_CHAT), Text(text="yes")),
        {
            "content": "yes",
            "reasoning_details": [{"type": "reasoning.encrypted", "data": "ZGF0YQ==", "format": "anthropic-claude-v1"}],
        },
    ),
    (
        (
            Thinking(text="sum", summary=True, seal="ZW5j", origin="responses", item_id="rs_1", extras=FROM_CHAT),
            Text(text="yes"),
        ),
        {
            "content": "yes",
            "reasoning_content": "sum",
            "reasoning_details": [
                {"type": "reasoning.summary", "summary": "sum", "id": "rs_1", "format": "openai-responses-v1"},
                {"type": "reasoning.encrypted", "data": "ZW5j", "id": "rs_1", "format": "openai-responses-v1"},
            ],
        },
    ),
    (
        (Thinking(text="hm", seal='[{"type":"reasoning.encrypted","data":"Zw=="}]', origin="chat"), Text(text="yes")),
        {
            "content": "yes",
            "reasoning_content": "hm",
            "reasoning_details": [{"type": "reasoning.encrypted", "data": "Zw=="}],
        },
    ),
]


@pytest.mark.parametrize(("parts", "message"), ASSISTANT, ids=case_id)
def test_assistant_messages_read_and_write(parts: tuple[Part, ...], message: dict[str, Any]) -> None:
    conversation = answers(*parts)
    body = {"messages": [*SAYS_HI, {"role": "assistant", **message}]}
    assert written(conversation) == (body, {})
    assert read(body) == conversation


# --- what is short for what ---

SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"stop": "a"}, {"stop": ["a"]}),
    ({"max_tokens": 5}, {"max_completion_tokens": 5}),
    ({"max_tokens": 5, "max_completion_tokens": 9}, {"max_completion_tokens": 9}),
    ({"stop": None, "tools": None, "tool_choice": None, "temperature": None, "logit_bias": None}, {}),
    ({"tools": [], "stream": False, "stream_options": None, "modalities": ["text"]}, {}),
    ({"temperature": 1}, {"temperature": 1.0}),
    ({"function_call": "auto"}, {"tool_choice": "auto"}),
    ({"tool_choice": "any"}, {"tool_choice": "required"}),
]


@pytest.mark.parametrize(("short", "long"), SAME, ids=case_id)
def test_fields_that_say_the_same_read_the_same(short: dict[str, Any], long: dict[str, Any]) -> None:
    assert read({"messages": SAYS_HI, **short}) == read({"messages": SAYS_HI, **long})


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ({"role": "user", "content": [{"type": "text", "text": "hi"}]}, {"role": "user", "content": "hi"}),
        ({"role": "user", "content": "hi", "name": None, "tool_calls": None}, {"role": "user", "content": "hi"}),
        (
            {"role": "assistant", "content": "", "refusal": None, "annotations": [], "audio": None, "reasoning": "r"},
            {"role": "assistant", "content": None, "reasoning_content": "r"},
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "index": 0, "function": {"name": "f"}}]},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}],
            },
        ),
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            {"role": "assistant", "content": None, "refusal": "no"},
        ),
        (
            {"role": "user", "content": "hi", "cache_control": {"type": "ephemeral"}},
            {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]},
        ),
    ],
    ids=case_id,
)
def test_messages_that_say_the_same_read_the_same(short: dict[str, Any], long: dict[str, Any]) -> None:
    assert chat.write_request(read({"messages": [short]}), Losses()) == chat.write_request(
        read({"messages": [long]}), Losses()
    )


def test_only_leading_instructions_become_the_system() -> None:
    body = {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "developer", "content": "c"},
            {"role": "user", "content": "hi"},
            {"role": "system", "content": "later"},
        ]
    }
    conversation = read(body)
    assert [(system.text, system.role) for system in conversation.system] == [
        ("a", "system"),
        ("b", "system"),
        ("c", "developer"),
    ]
    assert [message.role for message in conversation.messages] == ["user", "system"]


def test_results_that_follow_each_other_are_one_message() -> None:
    body = {
        "messages": [
            {"role": "tool", "tool_call_id": "a", "content": "1"},
            {"role": "tool", "tool_call_id": "b", "content": "2"},
            {"role": "user", "content": "hi"},
        ]
    }
    assert read(body).messages == (
        Message(
            role="user",
            parts=(
                ToolResult(call_id="a", parts=(Text(text="1"),)),
                ToolResult(call_id="b", parts=(Text(text="2"),)),
            ),
        ),
        HI,
    )


def test_results_of_free_text_calls_and_marked_ones_read_and_write() -> None:
    call = {"id": "a", "type": "custom", "custom": {"name": "patch", "input": "x"}}
    results = [
        {"role": "tool", "tool_call_id": "a", "content": "1", "cache_control": {"type": "ephemeral"}},
        {"role": "tool", "tool_call_id": "b", "content": "2", "name": "f"},
    ]
    body = {"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}, *results]}
    conversation = read(body)
    kinds = [part.kind for part in conversation.messages[1].parts if isinstance(part, ToolResult)]
    assert kinds == ["custom", "function"]
    assert written(conversation) == (body, {})


def details(*ids: str | None) -> Any:
    """Summaries and seals by turns, with these ids."""
    kinds = [("reasoning.summary", "summary"), ("reasoning.encrypted", "data")]
    return [
        {"type": kinds[n % 2][0], kinds[n % 2][1]: f"{n}", "format": "openai-responses-v1", "id": id_}
        for n, id_ in enumerate(ids)
    ]


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        ((None, None), [("0", "1", None)]),
        ((None, "rs_1"), [("0", "1", "rs_1")]),
        (("rs_1", "rs_1", "rs_2", "rs_2"), [("0", "1", "rs_1"), ("2", "3", "rs_2")]),
        (("rs_1", "rs_2"), [("0", None, None), ("", "1", "rs_2")]),
    ],
    ids=case_id,
)
def test_a_summary_and_its_seal_are_one_part(ids: tuple[str | None, ...], found: Any) -> None:
    body = {"messages": [{"role": "assistant", "content": None, "reasoning_details": details(*ids)}]}
    [message] = read(body).messages
    assert [(part.text, part.seal, part.item_id) for part in message.parts if isinstance(part, Thinking)] == found


# --- wrong requests ---

WRONG: list[tuple[Any, str | None]] = [
    ([], None),
    ({}, "messages"),
    ({"messages": None}, "messages"),
    ({"messages": {}}, "messages"),
    ({"messages": ["hi"]}, "messages[0]"),
    ({"messages": [{}]}, "messages[0].role"),
    ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role"),
    ({"messages": [*SAYS_HI, {"role": "user", "content": 3}]}, "messages[1].content"),
    ({"messages": [{"role": "user", "content": [3]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].image_url"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": 1}}]}]},
        "messages[0].content[0].image_url.url",
    ),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]}, "messages[0].tool_calls[0].function"),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {}}}]}]},
        "messages[0].tool_calls[0].function.arguments",
    ),
    ({"messages": SAYS_HI, "model": 1}, "model"),
    ({"messages": SAYS_HI, "temperature": "hot"}, "temperature"),
    ({"messages": SAYS_HI, "stream": "yes"}, "stream"),
    ({"messages": SAYS_HI, "stop": [1]}, "stop[0]"),
    ({"messages": SAYS_HI, "tools": [{"type": "function"}]}, "tools[0].function"),
    ({"messages": SAYS_HI, "tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    ({"messages": SAYS_HI, "tool_choice": 1}, "tool_choice"),
    ({"messages": SAYS_HI, "response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ({"messages": SAYS_HI, "metadata": "x"}, "metadata"),
    ({"messages": SAYS_HI, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
]


@pytest.mark.parametrize(("body", "param"), WRONG, ids=case_id)
def test_a_wrong_request_is_refused_with_the_path_of_what_is_wrong(body: Any, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(body)
    assert caught.value.param == param


@pytest.mark.parametrize("body", [b"", b"  ", b"{", b"nonsense", b'{"messages":[{"role":"user","content":"\xff"}]}'])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        chat.read_request(body)


MUTANTS = [path.read_bytes() for path in GOLDEN]


@seed(1)
@settings(max_examples=300, database=None, deadline=None)
@given(st.sampled_from(MUTANTS), st.data())
def test_a_request_cut_or_changed_anywhere_is_read_or_refused(body: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(body)))
    put = data.draw(st.sampled_from([b"", b"null", b"1", b'"', b"{", b"[]", b"\xff", b"\\ud800", b"1e999"]))
    skip = data.draw(st.integers(0, 6))
    try:
        conversation = chat.read_request(body[:at] + put + body[at + skip :])
    except InvalidRequest:
        return
    assert isinstance(json.loads(chat.write_request(conversation, Losses())), dict)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "name", "id"]), inner),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in places(item, (*path, key)))]


@seed(2)
@settings(max_examples=300, database=None, deadline=None)
@given(st.sampled_from(MUTANTS), st.data())
def test_a_request_with_any_value_anywhere_is_read_or_refused(body: bytes, data: st.DataObject) -> None:
    parsed = json.loads(body)
    *way, last = data.draw(st.sampled_from(places(parsed)[1:]))
    holder = parsed
    for step in way:
        holder = holder[step]
    holder[last] = data.draw(VALUES)
    try:
        conversation = read(parsed)
    except InvalidRequest:
        return
    assert isinstance(json.loads(chat.write_request(conversation, Losses())), dict)


def test_nesting_too_deep_is_refused() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    with pytest.raises(InvalidRequest):
        chat.read_request(b'{"messages":[],"metadata":' + deep + b"}")


# --- towards chat from elsewhere ---

MINE: Any = {"messages": {"thing": Raw(b"1")}}

LOST: list[tuple[Conversation, str]] = [
    (says(Text(text="x"), top_k=5), "top_k"),
    (says(Text(text="x", cache=CACHE)), "messages.cache_control"),
    (says(Text(text="x"), system=(System(text="s", cache=CACHE),)), "system.cache_control"),
    (says(Text(text="x"), tools=(msgspec.structs.replace(F, cache=CACHE),)), "tools.cache_control"),
    (says(Text(text="x", extras=MINE)), "messages.thing"),
    (says(Text(text="x"), extras=MINE), "thing"),
    (says(Text(text="x"), tools=(msgspec.structs.replace(F, extras=MINE),)), "tools.thing"),
    (says(Text(text="x"), reasoning=Reasoning(summary="detailed")), "reasoning.summary"),
    (says(Text(text="x"), reasoning=Reasoning(extras=MINE)), "reasoning.thing"),
    (answers(Thinking(text="t", seal="s", origin="messages")), "messages.thinking"),
    (answers(Thinking(text="t", seal="s", origin="responses")), "messages.thinking"),
    (answers(RedactedThinking(data="d")), "messages.redacted_thinking"),
    (answers(Opaque(dialect="messages", type="server_tool_use", raw=Raw(b"{}"))), "messages.content"),
    (answers(Text(text="t", citations=(Citation(url="https://c.test"),))), "messages.citations"),
    (says(ToolResult(call_id="c", parts=(Text(text="x"),), is_error=True)), "tool_result.is_error"),
    (
        says(Text(text="x"), tools=(Tool(name="web", kind="native", dialect="messages", raw=Raw(b"{}")),)),
        "tools.type",
    ),
    (
        says(Text(text="x"), tools=(Tool(name="p", kind="custom", format=Raw(b'{"type":"grammar"}')),)),
        "tools.format",
    ),
]


@pytest.mark.parametrize(("conversation", "field"), LOST, ids=lambda value: value if isinstance(value, str) else "")
def test_what_chat_cannot_say_is_left_out_and_reported(conversation: Conversation, field: str) -> None:
    body, losses = written(conversation)
    assert list(losses) == [field]
    assert "thing" not in json.dumps(body)


REFUSED: list[tuple[Conversation, str]] = [
    (says(Document(url="https://d.test/x.pdf")), "messages.document"),
    (says(Document(file_id="file_1", extras={"messages": {}})), "messages.document"),
    (says(Image(file_id="file-1")), "messages.image"),
    (
        says(
            Text(text="x"),
            tools=(Tool(name="web", kind="native", dialect="messages", raw=Raw(b"{}")),),
            tool_choice=ToolChoice(mode="named", name="web"),
        ),
        "tool_choice",
    ),
    (
        says(Text(text="x"), tool_choice=ToolChoice(mode="native", dialect="responses", raw=Raw(b"{}"))),
        "tool_choice",
    ),
]


@pytest.mark.parametrize(("conversation", "field"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_what_would_change_the_meaning_is_refused(conversation: Conversation, field: str) -> None:
    with pytest.raises(UnsupportedConversion) as caught:
        chat.write_request(conversation, Losses())
    assert caught.value.param == field


def test_a_choice_among_tools_that_only_chat_has_stays_as_it_is() -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "web_search"}]}}
    conversation = read({"messages": SAYS_HI, "tools": [{"type": "web_search"}], "tool_choice": choice})
    assert conversation.tool_choice is not None
    assert (conversation.tool_choice.mode, conversation.tool_choice.dialect) == ("native", "chat")
    assert json.loads(chat.write_request(conversation, Losses()))["tool_choice"] == choice


def test_streams_are_always_asked_for_their_usage() -> None:
    body, _ = written(says(Text(text="x"), stream=True))
    assert body["stream_options"] == {"include_usage": True}
    assert "stream_options" not in written(says(Text(text="x")))[0]


def test_what_a_result_shows_follows_in_a_user_message_after_all_results() -> None:
    image = Image(data="AAAA", media_type="image/png")
    conversation = Conversation(
        messages=(
            HI,
            Message(role="assistant", parts=(ToolCall(id="a", name="f", arguments="{}"),)),
            Message(role="user", parts=(ToolResult(call_id="a", parts=(Text(text="seen"), image)),)),
            Message(role="user", parts=(ToolResult(call_id="b", parts=(image,)), Text(text="and?"))),
        )
    )
    body, losses = written(conversation)
    shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert body["messages"][2:] == [
        {"role": "tool", "tool_call_id": "a", "content": "seen"},
        {"role": "tool", "tool_call_id": "b", "content": ""},
        {"role": "user", "content": [shown, shown, {"type": "text", "text": "and?"}]},
    ]
    assert losses == {}


def test_what_a_last_result_shows_is_not_forgotten() -> None:
    image = Image(url="https://i.test/x")
    body, _ = written(says(ToolResult(call_id="a", parts=(image,))))
    assert [message["role"] for message in body["messages"]] == ["tool", "user"]


@pytest.mark.parametrize(
    "following",
    [
        Message(role="assistant", parts=(Text(text="I see."),)),
        Message(role="system", parts=(Text(text="Careful."),)),
        Message(role="user", parts=(Text(text="So?"),), name="ada"),
    ],
    ids=lambda message: message.role,
)
def test_what_a_result_shows_stands_before_what_others_say(following: Message) -> None:
    result = ToolResult(call_id="a", parts=(Image(url="https://i.test/x"),))
    body, _ = written(Conversation(messages=(Message(role="user", parts=(result,)), following)))
    assert [message["role"] for message in body["messages"]] == ["tool", "user", following.role]
    assert body["messages"][1]["content"][0]["type"] == "image_url"
    assert isinstance(body["messages"][2]["content"], str)


def test_a_plain_text_document_becomes_text() -> None:
    body, losses = written(says(Document(text="words", name="notes")))
    assert body["messages"] == [{"role": "user", "content": "words"}]
    assert losses == {}


def test_a_document_without_a_name_gets_one() -> None:
    body, _ = written(says(Document(data="AAAA", media_type="application/pdf")))
    assert body["messages"][0]["content"][0]["file"]["filename"] == "document.pdf"


def test_free_text_tools_of_other_dialects_become_functions() -> None:
    conversation = Conversation(
        messages=(
            HI,
            Message(role="assistant", parts=(ToolCall(id="c", name="patch", arguments='a "b"', kind="custom"),)),
            Message(role="user", parts=(ToolResult(call_id="c", parts=(Text(text="ok"),), kind="custom"),)),
        ),
        tools=(Tool(name="patch", kind="custom", description="Patches."),),
        tool_choice=ToolChoice(mode="named", name="patch", kind="custom"),
    )
    body, losses = written(conversation)
    function = body["tools"][0]["function"]
    assert (body["tools"][0]["type"], function["name"], function["description"]) == ("function", "patch", "Patches.")
    assert function["parameters"]["required"] == ["input"]
    call = body["messages"][1]["tool_calls"][0]
    assert call["type"] == "function"
    assert json.loads(call["function"]["arguments"]) == {"input": 'a "b"'}
    assert body["tool_choice"] == {"type": "function", "function": {"name": "patch"}}
    assert losses == {}


@pytest.mark.parametrize(
    ("reasoning", "effort"),
    [
        (Reasoning(budget=1024, mode="enabled"), "minimal"),
        (Reasoning(budget=5000, mode="enabled"), "medium"),
        (Reasoning(budget=31999, mode="enabled"), "max"),
        (Reasoning(budget=5000, effort="low"), "low"),
        (Reasoning(effort="none"), "none"),
        (Reasoning(mode="disabled"), None),
        (Reasoning(mode="adaptive"), None),
        (Reasoning(mode="adaptive", effort="high"), "high"),
    ],
    ids=case_id,
)
def test_a_thinking_budget_is_said_as_an_effort(reasoning: Reasoning, effort: str | None) -> None:
    body, losses = written(says(Text(text="x"), reasoning=reasoning))
    assert body.get("reasoning_effort") == effort
    assert losses == {}


def test_an_effort_for_a_reply_without_thinking_is_a_loss() -> None:
    body, losses = written(says(Text(text="x"), reasoning=Reasoning(mode="disabled", effort="high")))
    assert "reasoning_effort" not in body
    assert list(losses) == ["output_config.effort"]


def test_settings_of_tools_are_not_sent_without_tools() -> None:
    conversation = says(Text(text="x"), parallel_tool_calls=True, tool_choice=ToolChoice(mode="auto"))
    assert written(conversation)[0] == {"messages": [{"role": "user", "content": "x"}]}


def test_fields_that_both_of_openais_apis_have_are_carried_from_the_other() -> None:
    extras: Any = {"responses": {"prompt_cache_retention": Raw(b'"24h"'), "truncation": Raw(b'"auto"')}}
    body, losses = written(says(Text(text="x"), extras=extras))
    assert body["prompt_cache_retention"] == "24h"
    assert list(losses) == ["truncation"]


def test_a_schema_without_a_name_gets_one() -> None:
    wanted = ResponseFormat(type="json_schema", schema=Raw(b'{"type":"object"}'))
    body, _ = written(says(Text(text="x"), response_format=wanted))
    assert body["response_format"]["json_schema"] == {"name": "response", "schema": {"type": "object"}}


def test_nothing_absent_is_written() -> None:
    assert chat.write_request(Conversation(messages=(HI,)), Losses()) == (
        b'{"messages":[{"role":"user","content":"hi"}]}'
    )
