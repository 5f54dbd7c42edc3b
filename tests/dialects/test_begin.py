"""Where a stream's real output begins, in every dialect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plano.conversation import Failed
from plano.dialects import CODECS, chat, messages, responses
from plano.errors import PlanoError, UpstreamError
from plano.frames import sse
from plano.frames.sse import Frame
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.test_fuzz import STREAMED


def delta(**fields: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def choice(**fields: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, **fields}]}


def block(**fields: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": fields}


def grows(**fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": fields}


def item(**fields: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": 0, "item": fields}


def part(**fields: Any) -> dict[str, Any]:
    return {"type": "response.content_part.added", "content_index": 0, "part": fields}


OPENS: list[tuple[Dialect, Any]] = [
    ("chat", {"choices": []}),
    ("chat", {"choices": [], "usage": {"prompt_tokens": 1}}),
    ("chat", {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
    ("chat", {"choices": None}),
    ("chat", {"usage": {"prompt_tokens": 1}}),
    ("chat", {"object": "chat.completion.chunk"}),
    ("chat", delta()),
    ("chat", delta(role="assistant")),
    ("chat", delta(role="assistant", content="", refusal=None, tool_calls=[], function_call=None, audio={})),
    ("chat", delta(content=[{"type": "text", "text": ""}])),
    ("chat", delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": ""}]}])),
    ("chat", delta(reasoning="", reasoning_details=[{"type": "reasoning.text", "text": "", "index": 0}])),
    ("chat", choice(finish_reason="", logprobs=None, content_filter_results={"hate": {"filtered": False}})),
    ("chat", choice(delta=None)),
    ("chat", choice(finish_reason="error")),
    ("chat", {"error": {"message": "m"}}),
    ("chat", {"object": "error", "message": "m"}),
    ("messages", {"type": "message_start", "message": {"id": "1", "content": [], "usage": {"input_tokens": 1}}}),
    ("messages", {"type": "message_start"}),
    ("messages", {"type": "ping"}),
    ("messages", block(type="text", text="")),
    ("messages", block(type="text", text="", citations=[])),
    ("messages", block(type="thinking", thinking="", signature="")),
    ("messages", grows(type="text_delta", text="")),
    ("messages", grows(type="signature_delta", signature="")),
    ("messages", {"type": "content_block_stop", "index": 0}),
    ("messages", {"type": "error", "error": {"type": "overloaded_error", "message": "m"}}),
    ("messages", {"error": {"message": "m"}}),
    ("responses", {"type": "response.created", "response": {"id": "1", "output": []}}),
    ("responses", {"type": "response.in_progress", "response": {}}),
    ("responses", {"type": "response.queued", "response": {}}),
    ("responses", {"type": "keepalive"}),
    ("responses", item(type="message", content=[], role="assistant")),
    ("responses", item(type="reasoning", summary=[], encrypted_content="sealed")),
    ("responses", part(type="output_text", text="", annotations=[])),
    ("responses", part(type="refusal", refusal="")),
    ("responses", {"type": "response.reasoning_summary_part.added", "part": {"type": "summary_text", "text": ""}}),
    ("responses", {"type": "response.output_text.delta", "delta": ""}),
    ("responses", {"type": "response.failed", "response": {"error": {"message": "m"}}}),
    ("responses", {"type": "error", "message": "m"}),
    ("responses", {"error": {"message": "m"}}),
]

SAYS: list[tuple[Dialect, Any]] = [
    ("chat", delta(content="a")),
    ("chat", delta(content=" ")),
    ("chat", delta(role="assistant", content="a")),
    ("chat", delta(content=[{"type": "text", "text": "a"}])),
    ("chat", delta(content=[{"type": "image_url", "image_url": {"url": "u"}}])),
    ("chat", delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}])),
    ("chat", delta(content=[{"type": "thinking", "thinking": "a"}])),
    ("chat", delta(content=["a"])),
    ("chat", delta(refusal="a")),
    ("chat", delta(reasoning="a")),
    ("chat", delta(reasoning_content="a")),
    ("chat", delta(reasoning_details=[{"type": "reasoning.text", "text": "a"}])),
    ("chat", delta(tool_calls=[{"index": 0, "function": {"name": "", "arguments": ""}}])),
    ("chat", delta(function_call={"name": "f"})),
    ("chat", delta(audio={"id": "a"})),
    ("chat", delta(something_new=1)),
    ("chat", choice(finish_reason="stop")),
    ("chat", choice(message={"content": "a"})),
    ("chat", choice(delta="a")),
    ("chat", {"choices": [{"index": 0, "delta": {}}, {"index": 1, "delta": {"content": "a"}}]}),
    ("chat", {"something": "new"}),
    ("chat", [1]),
    ("messages", {"type": "message_start", "message": {"content": [{"type": "text", "text": "a"}]}}),
    ("messages", block(type="text", text="a")),
    ("messages", block(type="thinking", thinking="", signature="s")),
    ("messages", block(type="redacted_thinking", data="")),
    ("messages", block(type="tool_use", id="1", name="f", input={})),
    ("messages", block(type="server_tool_use", id="1", name="f", input={})),
    ("messages", block(type="something_new")),
    ("messages", {"type": "content_block_start", "index": 0}),
    ("messages", grows(type="text_delta", text="a")),
    ("messages", grows(type="thinking_delta", thinking="a")),
    ("messages", grows(type="input_json_delta", partial_json="{")),
    ("messages", grows(type="something_new", value=1)),
    ("messages", {"type": "content_block_delta", "index": 0}),
    ("messages", {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
    ("messages", {"type": "message_stop"}),
    ("messages", {"type": "something_new"}),
    ("messages", {"something": "new"}),
    ("messages", [1]),
    ("responses", item(type="message", content=[{"type": "output_text", "text": "a"}])),
    ("responses", item(type="reasoning", summary=[{"type": "summary_text", "text": "a"}])),
    ("responses", item(type="function_call", name="f", arguments="")),
    ("responses", item(type="web_search_call")),
    ("responses", {"type": "response.output_item.added"}),
    ("responses", part(type="output_text", text="a")),
    ("responses", part(type="something_new")),
    ("responses", {"type": "response.output_text.annotation.added", "annotation": {"type": "url_citation"}}),
    ("responses", {"type": "response.output_text.delta", "delta": "a"}),
    ("responses", {"type": "response.reasoning_summary_text.delta", "delta": "a"}),
    ("responses", {"type": "response.audio.delta", "delta": {"data": "a"}}),
    ("responses", {"type": "response.output_text.done", "text": ""}),
    ("responses", {"type": "response.output_item.done", "item": {}}),
    ("responses", {"type": "response.completed", "response": {}}),
    ("responses", {"type": "response.incomplete", "response": {}}),
    ("responses", {"type": "response.something_new"}),
    ("responses", {"something": "new"}),
    ("responses", [1]),
]


HELD: list[tuple[str, Dialect, bytes]] = [
    (
        "Azure: annotation of the prompt",
        "chat",
        b'{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,'
        b'"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}]}',
    ),
    (
        "Azure: annotation of the output",
        "chat",
        b'{"choices":[{"content_filter_offsets":{"check_offset":44,"start_offset":44,"end_offset":198},'
        b'"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}},"finish_reason":null,"index":0}],'
        b'"created":0,"id":"","model":"","object":""}',
    ),
    (
        "OpenAI: role",
        "chat",
        b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o","service_tier":"default",'
        b'"system_fingerprint":"fp","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},'
        b'"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"aB3"}',
    ),
    (
        "OpenAI: usage",
        "chat",
        b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o","choices":[],'
        b'"usage":{"prompt_tokens":9,"completion_tokens":0,"total_tokens":9},"obfuscation":""}',
    ),
    (
        "OpenRouter: role",
        "chat",
        b'{"id":"gen-1","provider":"Acme","model":"acme/m","object":"chat.completion.chunk","created":1,"choices":[{'
        b'"index":0,"delta":{"role":"assistant","content":"","reasoning":null,"reasoning_details":[]},'
        b'"finish_reason":null,"native_finish_reason":null,"logprobs":null}]}',
    ),
    (
        "DeepSeek: role",
        "chat",
        b'{"id":"1","object":"chat.completion.chunk","created":1,"model":"deepseek-reasoner","system_fingerprint":"fp",'
        b'"choices":[{"index":0,"delta":{"role":"assistant","content":null,"reasoning_content":""},"logprobs":null,'
        b'"finish_reason":null}]}',
    ),
    (
        "Groq: role",
        "chat",
        b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"llama","system_fingerprint":"fp",'
        b'"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],'
        b'"x_groq":{"id":"req_1","seed":1}}',
    ),
    (
        "vLLM: role",
        "chat",
        b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{'
        b'"role":"assistant","content":""},"logprobs":null,"finish_reason":null,"token_ids":null}],'
        b'"prompt_token_ids":null}',
    ),
    (
        "SGLang: role",
        "chat",
        b'{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":'
        b'"assistant","content":"","reasoning_content":null,"tool_calls":null},"logprobs":null,"finish_reason":null,'
        b'"matched_stop":null}],"usage":null}',
    ),
    (
        "Anthropic: start",
        "messages",
        b'{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude",'
        b'"content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":1}}}',
    ),
    (
        "Anthropic: block",
        "messages",
        b'{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}',
    ),
    ("Anthropic: ping", "messages", b'{"type": "ping"}'),
    (
        "OpenAI: created",
        "responses",
        b'{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response",'
        b'"status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}',
    ),
    (
        "OpenAI: queued",
        "responses",
        b'{"type":"response.queued","sequence_number":1,"response":{"id":"resp_1","status":"queued","output":[]}}',
    ),
    (
        "OpenAI: reasoning",
        "responses",
        b'{"type":"response.output_item.added","output_index":0,"sequence_number":2,"item":{"id":"rs_1",'
        b'"type":"reasoning","summary":[],"encrypted_content":"gAAAA"}}',
    ),
    (
        "OpenAI: message",
        "responses",
        b'{"type":"response.output_item.added","output_index":0,"sequence_number":2,"item":{"id":"msg_1",'
        b'"type":"message","status":"in_progress","content":[],"role":"assistant"}}',
    ),
    (
        "OpenAI: part",
        "responses",
        b'{"type":"response.content_part.added","item_id":"msg_1","output_index":0,"content_index":0,'
        b'"sequence_number":3,"part":{"type":"output_text","annotations":[],"logprobs":[],"text":""}}',
    ),
]
"""The openings of real streams, as the vendors write them."""

LET_GO: list[tuple[str, Dialect, bytes]] = [
    (
        "Mistral: role and text in one",
        "chat",
        b'{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":'
        b'"assistant","content":"Hi"},"finish_reason":null}]}',
    ),
    (
        "Gemini: text and end in one",
        "chat",
        b'{"choices":[{"delta":{"content":"Hi","role":"assistant"},"finish_reason":"stop","index":0}],"created":1,'
        b'"id":"1","model":"gemini","object":"chat.completion.chunk"}',
    ),
    (
        "xAI: reasoning",
        "chat",
        b'{"id":"1","object":"chat.completion.chunk","created":1,"model":"grok","choices":[{"index":0,"delta":{'
        b'"role":"assistant","reasoning_content":"First"}}],"system_fingerprint":"fp"}',
    ),
    (
        "OpenAI: call",
        "chat",
        b'{"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,'
        b'"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]},"finish_reason":null}]}',
    ),
    (
        "OpenAI: refusal",
        "chat",
        b'{"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"refusal":"I"}}]}',
    ),
    (
        "Azure: filtered",
        "chat",
        b'{"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":'
        b'"content_filter","content_filter_results":{"hate":{"filtered":true,"severity":"high"}}}]}',
    ),
    (
        "Anthropic: call",
        "messages",
        b'{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"f",'
        b'"input":{}}}',
    ),
    (
        "Anthropic: redacted",
        "messages",
        b'{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":"x"}}',
    ),
    (
        "Anthropic: refusal",
        "messages",
        b'{"type":"message_delta","delta":{"stop_reason":"refusal","stop_sequence":null},"usage":{"output_tokens":0}}',
    ),
    (
        "OpenAI: hosted call",
        "responses",
        b'{"type":"response.output_item.added","output_index":0,"item":{"id":"ws_1","type":"web_search_call",'
        b'"status":"in_progress"}}',
    ),
    (
        "OpenAI: text",
        "responses",
        b'{"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":"Hi",'
        b'"logprobs":[],"obfuscation":"x","sequence_number":4}',
    ),
    (
        "OpenAI: end",
        "responses",
        b'{"type":"response.incomplete","response":{"id":"resp_1","status":"incomplete","incomplete_details":'
        b'{"reason":"content_filter"},"output":[]}}',
    ),
]


@pytest.mark.parametrize(("what", "dialect", "data"), HELD)
def test_the_openings_of_vendors_are_held(what: str, dialect: Dialect, data: bytes) -> None:
    assert not CODECS[dialect].begins(Frame(None, data)), what
    assert CODECS[dialect].error_in(Frame(None, data)) is None


@pytest.mark.parametrize(("what", "dialect", "data"), LET_GO)
def test_the_first_output_of_vendors_is_not_held(what: str, dialect: Dialect, data: bytes) -> None:
    assert CODECS[dialect].begins(Frame(None, data)), what
    assert CODECS[dialect].error_in(Frame(None, data)) is None


def escaped(document: Any) -> bytes:
    """The same JSON, every letter of every name and text written by its number."""
    return json.dumps(_by_number(document)).replace("\\\\u", "\\u").encode()


def _by_number(value: Any) -> Any:
    if isinstance(value, str):
        return "".join(f"\\u{ord(letter):04x}" for letter in value)
    if isinstance(value, list):
        return [_by_number(each) for each in value]
    if isinstance(value, dict):
        return {_by_number(name): _by_number(each) for name, each in value.items()}
    return value


def backwards(value: Any) -> Any:
    if isinstance(value, list):
        return [backwards(each) for each in value]
    if isinstance(value, dict):
        return {name: backwards(each) for name, each in reversed(value.items())}
    return value


def spellings(document: Any) -> Iterator[bytes]:
    yield json.dumps(document, separators=(",", ":")).encode()
    yield json.dumps(document, indent=1).replace("[]", "[ ]").replace("{}", "{ }").encode()
    yield json.dumps(backwards(document)).encode()
    yield escaped(document)


@pytest.mark.parametrize(("dialect", "document"), OPENS)
def test_what_opens_a_stream_is_no_output(dialect: Dialect, document: Any) -> None:
    for data in spellings(document):
        assert not CODECS[dialect].begins(Frame(None, data)), data


@pytest.mark.parametrize(("dialect", "document"), SAYS)
def test_what_the_model_says_is_output_and_no_error(dialect: Dialect, document: Any) -> None:
    for data in spellings(document):
        assert CODECS[dialect].begins(Frame(None, data)), data
        assert CODECS[dialect].error_in(Frame(None, data)) is None


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("data", [b"", b"{", b"no json", b'"\xff"', b"[" * 5000])
def test_what_cannot_be_read_is_output_unless_it_is_named_an_error(dialect: Dialect, data: bytes) -> None:
    assert CODECS[dialect].begins(Frame(None, data))
    assert CODECS[dialect].error_in(Frame(None, data)) is None
    assert not CODECS[dialect].begins(Frame("error", data))
    assert CODECS[dialect].error_in(Frame("error", data)) is not None


@pytest.mark.parametrize(("dialect", "output"), [("chat", True), ("messages", False), ("responses", False)])
def test_done_is_an_end_in_chat_alone(dialect: Dialect, output: bool) -> None:
    assert CODECS[dialect].begins(Frame(None, b"[DONE]")) is output


@pytest.mark.parametrize(
    ("dialect", "event", "output"),
    [
        ("messages", "message_start", False),
        ("messages", "message_stop", True),
        ("responses", "response.created", False),
        ("responses", "response.completed", True),
    ],
)
def test_an_event_without_a_type_is_what_its_frame_is_called(dialect: Dialect, event: str, output: bool) -> None:
    assert CODECS[dialect].begins(Frame(event, b"{}")) is output


SAID = {"message": "m", "type": "rate_limit_error", "code": "rate_limit_exceeded"}
ERRORS: list[tuple[Dialect, str | None, Any]] = [
    ("chat", None, {"error": SAID}),
    ("chat", None, {"choices": [], "error": SAID}),
    ("chat", "error", {"error": SAID}),
    ("chat", "error", SAID),
    ("chat", None, {"object": "error", **SAID}),
    ("chat", None, {"choices": [{"index": 0, "delta": {}, "error": SAID}]}),
    ("chat", None, {"choices": [{"delta": {}, "error": SAID}]}),
    ("messages", None, {"type": "error", "error": SAID}),
    ("messages", "error", {"error": SAID}),
    ("messages", None, {"error": SAID}),
    ("responses", None, {"type": "response.failed", "response": {"error": SAID}}),
    ("responses", "response.failed", {"response": {"error": SAID}}),
    ("responses", None, {**SAID, "type": "error"}),
    ("responses", "error", {"type": "error", "error": SAID}),
    ("responses", None, {"error": SAID}),
]


def read(dialect: Dialect, frame: Frame) -> PlanoError | None:
    """The error that the dialect's own reader finds."""
    failures = [event for event in CODECS[dialect].stream_reader().feed(frame) if isinstance(event, Failed)]
    return failures[0].error if failures else None


def told(error: PlanoError | None) -> Any:
    return None if error is None else (type(error), error.status, error.kind, error.message, error.code)


@pytest.mark.parametrize(("dialect", "event", "document"), ERRORS)
def test_an_error_is_understood_as_the_stream_reader_does(dialect: Dialect, event: str | None, document: Any) -> None:
    for data in spellings(document):
        error = CODECS[dialect].error_in(Frame(event, data))
        assert error is not None
        assert (error.status, error.message) == (429, "m")
        assert told(error) == told(read(dialect, Frame(event, data)))
        assert not CODECS[dialect].begins(Frame(event, data))


def test_a_choice_that_ends_in_an_error_says_so_without_an_error() -> None:
    frame = Frame(None, json.dumps(choice(finish_reason="error")).encode())
    assert told(chat.error_in(frame)) == told(read("chat", frame)) != None  # noqa: E711
    assert chat.error_in(Frame(None, frame.data.replace(b'"index": 0', b'"index": 1'))) is None


@pytest.mark.parametrize(
    ("dialect", "event", "data"),
    [
        ("chat", None, b'{"error":"\xff"}'),
        ("chat", "error", b'{"error":{"message":1e999}}'),
        ("messages", None, b'{"type":"error"}'),
        ("responses", "response.failed", b'{"response":[]}'),
        ("responses", "response.failed", b"{}"),
    ],
)
def test_an_error_that_cannot_be_read_is_one_all_the_same(dialect: Dialect, event: str | None, data: bytes) -> None:
    error = CODECS[dialect].error_in(Frame(event, data))
    assert isinstance(error, UpstreamError)
    assert error.status >= 500
    assert error.__traceback__ is None


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_stream_opens_with_what_is_no_output_and_then_speaks(dialect: Dialect) -> None:
    frames = sse.frames(STREAMED[dialect])
    begun = [CODECS[dialect].begins(frame) for frame in frames]
    assert not begun[0]
    assert any(begun)
    assert not any(map(CODECS[dialect].error_in, frames))


@pytest.mark.parametrize(
    ("speaks", "silent", "said"),
    [
        (chat.speaks, b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n', b'"content" : "a"'),
        (messages.speaks, b'data: {"type":"content_block_start"}\n\n', b'{"type":"content_block_delta"'),
        (responses.speaks, b'data: {"type":"response.output_text.done"}\n\n', b'"response.output_text.delta"'),
    ],
)
def test_where_the_model_first_speaks_is_found(speaks: Any, silent: bytes, said: bytes) -> None:
    assert speaks(silent) == -1
    assert len(silent) <= speaks(silent + said + said) < len(silent + said)


def test_the_golden_streams_speak_where_their_output_begins() -> None:
    for file in sorted(Path(__file__).parent.glob("*.sse")):
        codec = CODECS[file.suffixes[0][1:]]  # type: ignore[index]
        piece = file.read_bytes()
        assert codec.speaks(piece) >= 0, file.name
