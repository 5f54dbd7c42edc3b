"""The messages of chat bodies on their way to servers that take them in part, streamed or not, through the gateway."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from plano import CallNext, Plano, Request, Response
from plano.capabilities import Fields, Takes, Thinking
from plano.conversation import System
from plano.losses import Losses
from plano.testing import FakeProvider, Verbatim
from tests.asgi import Answer, ask

SEAL = {"google": {"thought_signature": "S"}}
STAND_IN = {"google": {"thought_signature": "skip_thought_signature_validator"}}
A = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
B = {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}
USER = {"role": "user", "content": "extra_content"}


def calling(*calls: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [*calls], **more}


def fitted(takes: Takes, body: dict[str, Any]) -> tuple[Any, set[str]]:
    """The messages as they go up to a server with this row, and what is reported."""
    fields, losses = msgspec.json.decode(json.dumps(body).encode(), type=Fields), Losses()
    before = msgspec.json.encode(fields)
    takes.fit("m", fields, losses)
    after = msgspec.json.encode(fields)
    if after != before:
        assert any(b'"%b"' % word.encode() in before for word in takes.words())
    return json.loads(after)["messages"], {loss.field for loss in losses}


def written(messages: Any, seals: Any) -> tuple[Any, set[str]]:
    return fitted(Takes(call_seals=seals), {"messages": messages})


@pytest.mark.parametrize(
    ("messages", "expected", "reported"),
    [
        ([USER, calling(A | {"extra_content": SEAL}, B)], [USER, calling(A, B)], {"messages.tool_calls.extra_content"}),
        ([calling(A, B | {"extra_content": SEAL})], [calling(A, B)], {"messages.tool_calls.extra_content"}),
        (
            [calling(A | {"extra_content": SEAL}), calling(B | {"extra_content": SEAL})],
            [calling(A), calling(B)],
            {"messages.tool_calls.extra_content"},
        ),
        (
            [{"role": "assistant", "content": "t", "extra_content": SEAL}],
            [{"role": "assistant", "content": "t"}],
            {"messages.extra_content"},
        ),
        ([USER, calling(A)], None, set()),
    ],
)
def test_a_seal_is_taken_out_and_reported(messages: Any, expected: Any, reported: set[str]) -> None:
    assert written(messages, "refused") == (messages if expected is None else expected, reported)
    assert written(messages, "kept") == written(messages, None) == (messages, set())


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([USER, calling(A, B)], [USER, calling(A | {"extra_content": STAND_IN}, B)]),
        (
            [calling(A), calling(B)],
            [calling(A | {"extra_content": STAND_IN}), calling(B | {"extra_content": STAND_IN})],
        ),
        (
            [calling(A, B | {"extra_content": SEAL})],
            [calling(A | {"extra_content": STAND_IN}, B | {"extra_content": SEAL})],
        ),
        ([calling(A | {"extra_content": SEAL}, B)], None),
    ],
)
def test_a_call_of_another_model_gets_a_text_in_place_of_its_seal(messages: Any, expected: Any) -> None:
    assert written(messages, "needed") == (messages if expected is None else expected, set())


# --- reasoning --------------------------------------------------------------------------------------

ENTRY = {"type": "reasoning.text", "text": "Look.", "signature": "s"}
DETAILS = {"reasoning_details": [ENTRY]}
THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "Look."}]}
GONE = {"messages.thinking"}


@pytest.mark.parametrize(
    ("thoughts", "said", "expected", "reported"),
    [
        (None, {"reasoning_content": "Look."}, None, set()),
        ("", {"reasoning_content": "Look."}, {}, GONE),
        ("", {"reasoning": "Look.", **DETAILS}, {}, GONE),
        ("", {"reasoning_content": "", "reasoning": None, "reasoning_details": []}, {}, set()),
        ("reasoning", {"reasoning": "Look."}, None, set()),
        ("reasoning", {"reasoning_content": "Look."}, {"reasoning": "Look."}, set()),
        ("reasoning", {"reasoning_details": [ENTRY, ENTRY]}, {"reasoning": "Look.Look."}, set()),
        ("reasoning", {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}, {}, GONE),
        ("reasoning_content", {"reasoning_content": "Look."}, None, set()),
        ("reasoning_content", {"reasoning": "Look.", **DETAILS}, {"reasoning_content": "Look."}, set()),
        ("reasoning_details", {"reasoning": "Look.", **DETAILS}, None, set()),
        ("reasoning_details", {"reasoning_content": "Look."}, {"reasoning": "Look."}, set()),
        ("parts", {"reasoning": "Look."}, {"content": [THINKING, {"type": "text", "text": "t"}]}, set()),
        ("parts", {"content": None, "reasoning": "Look."}, {"content": [THINKING]}, set()),
        ("parts", {"content": [{"type": "x"}], "reasoning": "Look."}, {"content": [THINKING, {"type": "x"}]}, set()),
        ("parts", {"content": {"odd": 1}, "reasoning": "Look."}, None, set()),
    ],
)  # fmt: skip
def test_reasoning_goes_back_in_the_field_that_the_row_names(
    thoughts: Any, said: dict[str, Any], expected: dict[str, Any] | None, reported: set[str]
) -> None:
    message = {"role": "assistant", "content": "t", "prefix": True} | said
    kept = {"role": "assistant", "content": "t", "prefix": True}
    user = {"role": "user", "content": "t", "reasoning_content": "of no message of the assistant"}
    found, lost = fitted(Takes(thoughts=thoughts), {"messages": [user, message]})
    assert found == [user, message if expected is None else kept | expected]
    assert lost == reported


@pytest.mark.parametrize(
    ("more", "missing"),
    [
        ({"tools": [{}]}, True),
        ({"tools": []}, False),
        ({}, False),
        ({"tools": [{}], "reasoning_effort": "none"}, False),
        ({"tools": [{}], "thinking": {"type": "disabled"}}, False),
    ],
)
def test_reasoning_that_a_server_misses_is_made_up_only_where_it_is_missed(more: dict[str, Any], missing: bool) -> None:
    takes = Takes(thinking=Thinking("default", switch="thinking"), thoughts="reasoning_content", needs_thoughts=True)
    messages = [calling(A), calling(B, reasoning_content="own"), calling(B, reasoning_content="")]
    found, lost = fitted(takes, {"messages": messages, **more})
    assert found == [calling(A, reasoning_content="(not recorded)") if missing else calling(A), *messages[1:]]
    assert lost == (GONE if missing else set())


# --- instructions -----------------------------------------------------------------------------------


def system(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "system", "content": content, **more}


MARKED = {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([system("a"), USER], None),
        ([system("a"), system("b"), USER], [system("a\n\nb"), USER]),
        ([system(""), system(None), system("b"), USER], [system("b"), USER]),
        ([{"role": "developer", "content": "a"}, USER], [system("a"), USER]),
        ([system("a"), system([MARKED])], [system([{"type": "text", "text": "a"}, MARKED])]),
        ([system([{"type": "text", "text": "a"}]), system("b")], [system("a\n\nb")]),
        ([system("a", name="n"), system("b", foo=1)], [system("a\n\nb", name="n", foo=1)]),
        ([USER, system("b", foo=1)], [USER, {"role": "user", "content": "b", "foo": 1}]),
        ([system("a"), system({"odd": 1})], None),
        ("system developer", None),
        ([1, "system", "developer"], None),
    ],
)
def test_one_system_message_stands_in_front(messages: Any, expected: Any) -> None:
    found, lost = fitted(Takes(systems="one"), {"messages": messages})
    assert found == (messages if expected is None else expected)
    assert lost == ({"messages.role"} if messages[0] == USER else set())


# --- the rest of the body, and the reply ------------------------------------------------------------

ODD: dict[str, Any] = {
    "n": 2,
    "max_tokens": 5,
    "logprobs": True,
    "seed": 1.5,
    "stop": None,
    "functions": [{"name": "f", "parameters": {}, "foo": 1}],
    "function_call": {"name": "f"},
    "tool_choice": {"type": "odd", "foo": None},
    "vendor": {"x": None},
}
"""Fields that the neutral model has not, or has in another form."""

MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "video_url", "video_url": {"url": "u", "fps": None}}], "name": "n"},
    {"role": "assistant", "content": None, "refusal": "r", "audio": {"id": "a"}, "function_call": {"name": "f"}},
    {"role": "function", "content": "no name"},
    {"role": "tool", "content": "no id"},
    {"role": "ipython", "content": {"a": "role and content of one vendor"}},
    {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"an": "object"}}}]},
    {"role": "assistant", "content": "x", "prefix": True},
]  # fmt: skip

REPLY = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "vendor": 1,
    "choices": [
        {"index": n, "finish_reason": "odd", "message": {"role": "assistant", "content": f"c{n}", "vendor": n}}
        for n in range(2)
    ],
}
CHUNKS = [
    b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","vendor":1,"choices":[{"index":%d,'
    b'"delta":{"content":"c","vendor":1},"finish_reason":"stop"}]}\n\n' % n
    for n in range(2)
]
STREAM = b"".join(CHUNKS) + b"data: [DONE]\n\n"


async def through(provider: FakeProvider, body: dict[str, Any], **headers: str) -> Answer:
    app = Plano({"model_providers": [{"model": "vllm/*"}]}, transport=provider)
    return await ask(app, "POST", "/v1/chat/completions", {"model": "vllm/m", **body}, headers=headers)


@pytest.mark.parametrize("streamed", [False, True])
async def test_all_that_needs_no_change_goes_on_as_it_is(streamed: bool) -> None:
    provider = FakeProvider()
    kind = "text/event-stream" if streamed else "application/json"
    provider.script(Verbatim(200, {"content-type": kind}, STREAM if streamed else json.dumps(REPLY).encode()))
    body = {**ODD, "messages": [system("a"), system("b"), *MESSAGES], "stream": streamed}
    answer = await through(provider, body)
    sent = provider.last.json
    assert sent.pop("stream_options", None) in (None, {"include_usage": True})
    assert sent == {"model": "m", **body, "messages": [system("a\n\nb"), *MESSAGES]}
    assert (answer.body == STREAM) if streamed else (answer.json() == REPLY)
    assert "x-plano-dropped" not in answer.headers


async def test_what_a_filter_adds_is_fitted_too() -> None:
    async def instructs(request: Request, call_next: CallNext) -> Response:
        asked = request.conversation
        return await call_next(request.replace(conversation=replace(asked, system=(*asked.system, System(text="b")))))

    provider = FakeProvider()
    app = Plano({"model_providers": [{"model": "vllm/*"}]}, filters=[instructs], transport=provider)
    body = {"model": "vllm/m", "messages": [system("a"), USER]}
    assert (await ask(app, "POST", "/v1/chat/completions", body)).status == 200
    assert provider.last.json["messages"] == [system("a\n\nb"), USER]


async def test_a_strict_request_is_refused_if_something_of_its_messages_is_lost() -> None:
    provider = FakeProvider()
    answer = await through(provider, {"messages": [USER, system("b")]}, **{"x-plano-strict": "true"})
    assert (answer.status, answer.json()["error"]["param"]) == (400, "messages.role")
    assert provider.requests == []
