"""The changes to each provider's bodies, and the losses that are reported."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from plano.capabilities import Fields
from plano.losses import Losses
from plano.providers import CATALOGUE
from plano.providers.known import KNOWN
from plano.types import Dialect

MESSAGES = [{"role": "user", "content": "hi"}]


def prepared(provider: str, dialect: Dialect, model: str, body: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    fields = msgspec.json.decode(msgspec.json.encode(body), type=Fields)
    losses = Losses()
    prepare, _ = CATALOGUE[provider].preparation(dialect, model)
    if prepare is not None:
        prepare(dialect, model, fields, losses)
    return msgspec.json.decode(msgspec.json.encode(fields)), [loss.field for loss in losses]


CASES: list[tuple[str, Dialect, str, dict[str, Any], dict[str, Any], list[str]]] = [
    # OpenAI: the limit's new name, and no sampling while a model reasons
    ("openai", "chat", "gpt-5", {"max_tokens": 9}, {"max_completion_tokens": 9}, []),
    ("openai", "chat", "o3", {"max_tokens": 9, "max_completion_tokens": 5}, {"max_completion_tokens": 5}, []),
    ("openai", "chat", "gpt-6-sol", {"max_tokens": 9}, {"max_completion_tokens": 9}, []),
    ("openai", "chat", "gpt-4o", {"max_tokens": 9, "temperature": 0.2}, {"max_tokens": 9, "temperature": 0.2}, []),
    ("openai", "chat", "gpt-5-chat-latest", {"temperature": 0.2}, {"temperature": 0.2}, []),
    ("openai", "chat", "omni-own", {"max_tokens": 9, "temperature": 0.2}, {"max_tokens": 9, "temperature": 0.2}, []),
    ("openai", "chat", "gpt-5-mini", {"temperature": 0.2, "top_p": 0.5}, {}, ["temperature", "top_p"]),
    ("openai", "chat", "gpt-5-mini", {"temperature": 1, "top_p": 1.0}, {"temperature": 1, "top_p": 1.0}, []),
    ("openai", "chat", "o3", {"temperature": None}, {"temperature": None}, []),
    ("openai", "chat", "o3", {"logprobs": True, "top_logprobs": 2}, {}, ["logprobs", "top_logprobs"]),
    ("openai", "chat", "gpt-5.4", {"temperature": 0.2}, {"temperature": 0.2}, []),
    (
        "openai",
        "chat",
        "gpt-5.4",
        {"temperature": 0.2, "reasoning_effort": "low"},
        {"reasoning_effort": "low"},
        ["temperature"],
    ),
    (
        "openai",
        "chat",
        "gpt-5.6-sol",
        {"temperature": 0.2, "reasoning_effort": "none"},
        {"temperature": 0.2, "reasoning_effort": "none"},
        [],
    ),
    ("openai", "responses", "gpt-6-sol", {"temperature": 0.2}, {}, ["temperature"]),
    (
        "openai",
        "responses",
        "gpt-5.1",
        {"temperature": 0.2, "reasoning": {"effort": "high"}},
        {"reasoning": {"effort": "high"}},
        ["temperature"],
    ),
    # OpenAI: nothing is said of reasoning to models that do not reason
    ("openai", "chat", "gpt-4o", {"reasoning_effort": "high"}, {}, ["reasoning_effort"]),
    ("openai", "chat", "gpt-4.1-mini", {"reasoning_effort": "none"}, {}, []),
    ("openai", "chat", "gpt-3.5-turbo", {"reasoning_effort": None}, {}, []),
    ("openai", "chat", "ft:gpt-4o-mini:me", {"reasoning_effort": "low"}, {}, ["reasoning_effort"]),
    ("openai", "chat", "gpt-5-chat-latest", {"reasoning_effort": "low"}, {}, ["reasoning_effort"]),
    ("openai", "chat", "gpt-5", {"reasoning_effort": "low"}, {"reasoning_effort": "low"}, []),
    ("openai", "chat", "o3", {"reasoning_effort": "low"}, {"reasoning_effort": "low"}, []),
    ("openai", "responses", "gpt-4o", {"reasoning": {"effort": "high"}}, {}, ["reasoning.effort"]),
    ("openai", "responses", "gpt-4o", {"reasoning": {"effort": "none", "summary": None}}, {}, []),
    ("openai", "responses", "gpt-4o", {"reasoning": {"effort": None, "summary": "auto"}}, {}, ["reasoning"]),
    (
        "openai",
        "responses",
        "gpt-4.1",
        {"include": ["reasoning.encrypted_content", "message.output_text.logprobs"]},
        {"include": ["message.output_text.logprobs"]},
        [],
    ),
    (
        "openai",
        "responses",
        "o3",
        {"reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"]},
        {"reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"]},
        [],
    ),
    ("azure_openai", "chat", "gpt-35-turbo", {"reasoning_effort": "low"}, {}, ["reasoning_effort"]),
    ("azure_openai", "chat", "gpt-5-mini", {"max_tokens": 9}, {"max_completion_tokens": 9}, []),
    # Anthropic: budgets became efforts
    (
        "anthropic",
        "messages",
        "claude-opus-4-7",
        {"thinking": {"type": "enabled", "budget_tokens": 16000, "display": "summarized"}},
        {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}},
        [],
    ),
    (
        "anthropic",
        "messages",
        "claude-sonnet-5-5",
        {"thinking": {"type": "enabled", "budget_tokens": 1024}, "output_config": {"format": {"type": "x"}}},
        {"thinking": {"type": "adaptive"}, "output_config": {"format": {"type": "x"}, "effort": "low"}},
        [],
    ),
    (
        "anthropic",
        "messages",
        "claude-haiku-5-5",
        {"thinking": {"type": "enabled", "budget_tokens": 30000}, "output_config": {"effort": "medium"}},
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}},
        [],
    ),
    (
        "anthropic",
        "messages",
        "claude-haiku-4-5-20251001",
        {"thinking": {"type": "enabled", "budget_tokens": 2048}},
        {"thinking": {"type": "enabled", "budget_tokens": 2048}},
        [],
    ),
    (
        "anthropic",
        "messages",
        "claude-opus-4-20250514",
        {"thinking": {"type": "enabled", "budget_tokens": 2048}, "temperature": 0.1, "top_p": 0.5},
        {"thinking": {"type": "enabled", "budget_tokens": 2048}, "temperature": 0.1, "top_p": 0.5},
        [],
    ),
    (
        "anthropic",
        "messages",
        "claude-opus-5-5",
        {"thinking": {"type": "disabled"}},
        {"output_config": {"effort": "low"}},
        ["thinking"],
    ),
    (
        "anthropic",
        "messages",
        "claude-opus-5",
        {"thinking": {"type": "disabled"}},
        {"thinking": {"type": "disabled"}},
        [],
    ),
    (
        "anthropic",
        "messages",
        "claude-mythos-preview",
        {"thinking": {"type": "adaptive"}},
        {"thinking": {"type": "adaptive"}},
        [],
    ),
    (
        "anthropic",
        "messages",
        "claude-opus-5-5",
        {"temperature": 0.2, "top_p": 1, "top_k": 5},
        {"top_p": 1},
        ["temperature", "top_k"],
    ),
    (
        "anthropic",
        "messages",
        "claude-opus-5-5",
        {"tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True}},
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        ["tool_choice"],
    ),
    (
        "anthropic",
        "messages",
        "claude-fable-5-1",
        {"tool_choice": {"type": "any"}},
        {"tool_choice": {"type": "auto"}},
        ["tool_choice"],
    ),
    (
        "anthropic",
        "messages",
        "claude-opus-5",
        {"tool_choice": {"type": "any"}},
        {"tool_choice": {"type": "any"}},
        [],
    ),
    ("anthropic", "messages", "claude-sonnet-4-5", {"temperature": 1, "top_p": 0.9}, {"temperature": 1}, ["top_p"]),
    ("anthropic", "messages", "claude-sonnet-4-5", {"top_p": 0.9}, {"top_p": 0.9}, []),
    # the others
    ("xai", "chat", "grok-4", {"web_search_options": {}, "temperature": 0}, {"temperature": 0}, ["web_search_options"]),
    ("xai", "responses", "grok-4", {"web_search_options": {}}, {"web_search_options": {}}, []),
    ("xai", "chat", "grok-4-fast-reasoning", {"reasoning_effort": "none"}, {}, ["reasoning_effort"]),
    ("xai", "chat", "grok-4-fast-non-reasoning", {"reasoning_effort": "none"}, {}, []),
    ("xai", "chat", "grok-3-mini", {"reasoning_effort": "low"}, {"reasoning_effort": "low"}, []),
    ("xai", "chat", "grok-4.5", {"reasoning_effort": "low"}, {"reasoning_effort": "low"}, []),
    (
        "xai",
        "responses",
        "grok-code-fast-1",
        {"reasoning": {"effort": "low", "summary": "auto"}},
        {"reasoning": {"summary": "auto"}},
        ["reasoning.effort"],
    ),
    ("groq", "chat", "llama-3.3-70b-versatile", {"reasoning_effort": "low"}, {}, ["reasoning_effort"]),
    ("groq", "chat", "openai/gpt-oss-120b", {"reasoning_effort": "low"}, {"reasoning_effort": "low"}, []),
    ("moonshotai", "chat", "kimi-k3", {"temperature": 0.3, "top_p": 1, "n": 1}, {"n": 1}, ["temperature", "top_p"]),
    ("moonshotai", "chat", "kimi-k2.5", {"temperature": 0.3, "top_p": 0.9}, {}, ["temperature", "top_p"]),
    ("moonshotai", "chat", "kimi-k2-0905-preview", {"temperature": 0.3}, {"temperature": 0.3}, []),
    (
        "mistral",
        "chat",
        "mistral-large-latest",
        {"max_completion_tokens": 5, "seed": 1, "stream_options": {"include_usage": True}},
        {"max_tokens": 5, "random_seed": 1},
        [],
    ),
    ("ollama", "chat", "llama3", {"max_completion_tokens": 5}, {"max_tokens": 5}, []),
    ("ollama", "responses", "llama3", {"max_completion_tokens": 5}, {"max_completion_tokens": 5}, []),
    ("vllm", "chat", "llama3", {"max_completion_tokens": 5}, {"max_completion_tokens": 5}, []),
    (
        "chatgpt",
        "responses",
        "gpt-5",
        {"stream": True, "max_output_tokens": 9, "instructions": "Be brief."},
        {"stream": True, "store": False, "instructions": "Be brief."},
        ["max_output_tokens"],
    ),
]


@pytest.mark.parametrize(("provider", "dialect", "model", "sent", "expected", "lost"), CASES)
def test_a_body_is_made_such_as_the_provider_takes(
    provider: str, dialect: Dialect, model: str, sent: dict[str, Any], expected: dict[str, Any], lost: list[str]
) -> None:
    body, losses = prepared(provider, dialect, model, {"model": model, "messages": MESSAGES} | sent)
    assert body == {"model": model, "messages": MESSAGES} | expected
    assert losses == lost


@pytest.mark.parametrize("provider", ["deepseek", "gemini", "groq", "mistral", "moonshotai", "ollama", "vllm"])
def test_a_developer_message_is_a_system_message_where_the_role_is_unknown(provider: str) -> None:
    sent = [
        {"role": "developer", "content": [{"type": "text", "text": 'say "developer"', "cache_control": {"a": 1}}]},
        {"role": "user", "content": "developer"},
    ]
    body, losses = prepared(provider, "chat", "any", {"messages": sent})
    assert body["messages"] == [sent[0] | {"role": "system"}, sent[1]]
    assert losses == []


def test_openai_gets_its_developer_messages_as_they_are() -> None:
    sent = [{"role": "developer", "content": "x"}]
    assert prepared("openai", "chat", "gpt-5", {"messages": sent})[0]["messages"] == sent


def test_calls_of_other_vendors_get_ids_that_mistral_takes() -> None:
    def call(id_: Any) -> dict[str, Any]:
        return {"id": id_, "type": "function", "function": {"name": "f", "arguments": "{}"}, "index": 1.50}

    sent = [
        {"role": "user", "content": "tool_calls"},
        {"role": "assistant", "content": None, "tool_calls": [call("call_1"), call("D681PevKs"), call("call_2")]},
        {"role": "tool", "tool_call_id": "call_2", "content": "two"},
        {"role": "tool", "tool_call_id": "D681PevKs", "content": "its own"},
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
        {"role": "assistant", "content": "Done.", "tool_calls": None},
    ]
    body, losses = prepared("mistral", "chat", "mistral-large-latest", {"messages": sent})
    user, calls, two, own, one, last = body["messages"]
    first, second, third = (call["id"] for call in calls["tool_calls"])
    assert (first, second, third) == (one["tool_call_id"], own["tool_call_id"], two["tool_call_id"])
    assert second == "D681PevKs"
    assert first != third
    assert all(re.fullmatch(r"[a-zA-Z0-9]{9}", id_) for id_ in (first, third))
    assert calls["tool_calls"][0] == call(first)
    assert [user, last] == [sent[0], sent[-1]]
    assert losses == []


@pytest.mark.parametrize("calls", [7, [7], [{"id": 7}], [{}], "call_1"])
def test_calls_in_no_form_that_anybody_knows_go_to_mistral_as_they_are(calls: Any) -> None:
    sent = [{"role": "assistant", "tool_calls": calls}]
    body, _ = prepared("mistral", "chat", "mistral-large-latest", {"messages": sent})
    assert body["messages"] == sent


@pytest.mark.parametrize("provider", ["digitalocean", "openrouter", "edenai", "vercel"])
def test_cache_marks_for_claude_behind_a_chat_api_stay(provider: str) -> None:
    content = [{"type": "text", "text": "long", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    fields = msgspec.json.decode(
        msgspec.json.encode({"messages": [{"role": "system", "content": content}]}), type=Fields
    )
    before = bytes(fields["messages"])
    prepare, _ = CATALOGUE[provider].preparation("chat", "anthropic/claude-opus-5-5")
    if prepare is not None:
        prepare("chat", "anthropic/claude-opus-5-5", fields, Losses())
    assert bytes(fields["messages"]) == before


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"stream": True, "input": []}, {"input": []}),
        ({"stream": False, "input": "Hi"}, {"input": [{"type": "message", "role": "user", "content": "Hi"}]}),
        ({"store": True, "input": []}, {"input": []}),
        ({"instructions": "Be brief.", "input": []}, {"input": [], "instructions": "Be brief."}),
        ({"instructions": None}, {}),
    ],
)
def test_chatgpts_backend_is_asked_for_what_it_takes(asked: dict[str, object], sent: dict[str, object]) -> None:
    always = {"stream": True, "store": False, "instructions": "You are a helpful assistant."}
    assert prepared("chatgpt", "responses", "gpt-5", asked)[0] == always | sent


@pytest.mark.parametrize("provider", [name for name, row in CATALOGUE.items() if row.prepare is not None or row.takes])
@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
def test_a_body_of_any_shape_is_no_reason_to_fail(provider: str, dialect: Dialect) -> None:
    body = {
        "stream": True,
        "thinking": "x",
        "reasoning": 1,
        "output_config": [],
        "max_tokens": "y",
        "unknown": {"a": 1},
    }
    for model in ("gpt-5", "gpt-4o", "grok-4", "claude-opus-5-5", "kimi-k3", "any"):
        made, _ = prepared(provider, dialect, model, body)
        assert made["unknown"] == {"a": 1}


def triggered(provider: str, dialect: Dialect, model: str, fields: Fields) -> bool:
    """Whether a body of these fields is shown to the provider's quirks."""
    _, words = CATALOGUE[provider].preparation(dialect, model)
    assert words is not None
    body = msgspec.json.encode(fields)
    return any(b'"%b"' % word.encode() in body for word in words)


TRIGGERED = [name for name, row in CATALOGUE.items() if row.triggers is not None or (row.takes and row.prepare is None)]
BODIES = [case[3] for case in CASES] + [
    {"messages": [{"role": "developer", "content": "x"}], "input": [{"role": "developer", "content": "x"}]},
    {"max_completion_tokens": 5, "max_tokens": 9},
    {"reasoning": None, "reasoning_effort": None},
    {"logprobs": True, "top_logprobs": 2},
    {"presence_penalty": 1, "frequency_penalty": 1, "logit_bias": {"1": 1}, "stop": ["x"]},
    {"stream": True, "stream_options": {"include_usage": True}, "store": True, "seed": 1, "n": 2},
    {"include": ["reasoning.encrypted_content"], "thinking": {"type": "disabled"}},
]
MODELS = sorted({case[2] for case in CASES} | {"o1-mini", "deepseek-reasoner", "magistral-medium", "kimi-k2.5", "any"})


@pytest.mark.parametrize("provider", TRIGGERED)
@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
def test_a_body_that_would_be_changed_has_a_trigger_in_it(provider: str, dialect: Dialect) -> None:
    for model in {*MODELS, *KNOWN.models.get(provider, ())}:
        prepare, _ = CATALOGUE[provider].preparation(dialect, model)
        if prepare is None:
            continue
        for body in BODIES:
            sent = msgspec.json.encode({"model": model, "messages": MESSAGES} | body)
            fields, losses = msgspec.json.decode(sent, type=Fields), Losses()
            before = fields.copy()
            prepare(dialect, model, fields, losses)
            if fields != before or len(losses):
                assert triggered(provider, dialect, model, before), f"{model}: {sent!r}"


def test_a_body_without_a_trigger_is_left_alone() -> None:
    """A plain request names nothing that any provider looks for, so none of them decodes it."""
    plain = msgspec.json.decode(msgspec.json.encode({"model": "m", "messages": MESSAGES, "stream": True}), type=Fields)
    for provider in TRIGGERED:
        for model in KNOWN.models.get(provider, ()):
            assert not triggered(provider, "chat", model, plain)
