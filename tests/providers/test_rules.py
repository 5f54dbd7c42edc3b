"""The rules of vendors, through the whole gateway: the body that goes up, and the losses that are reported."""

from __future__ import annotations

from typing import Any

import pytest

from plano import Plano
from plano.testing import FakeProvider
from plano.types import Dialect
from tests.asgi import ask
from tests.test_pairs import PATHS

ABSENT = object()
SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}}
SEAL = "plano-seal.chat.-."


def tools(client: Dialect) -> list[dict[str, Any]]:
    """One function, as a client writes it."""
    if client == "messages":
        return [{"name": "f", "input_schema": SCHEMA}]
    function = {"name": "f", "parameters": SCHEMA}
    return [{"type": "function", "function": function}] if client == "chat" else [{"type": "function", **function}]


async def sent(model: str, client: Dialect, **more: Any) -> tuple[str, dict[str, Any], list[str]]:
    """The path and the body that the upstream got, and the names of what was reported."""
    provider = FakeProvider()
    app = Plano({"model_providers": [{"model": model, "access_key": "k"}]}, transport=provider)
    body: dict[str, Any] = {"model": model, "input" if client == "responses" else "messages": USER}
    if client == "messages":
        body["max_tokens"] = 16_000
    answer = await ask(app, "POST", PATHS[client], body | more)
    assert answer.status == 200, answer.body
    dropped = answer.headers.get("x-plano-dropped", "").split(", ")
    return provider.last.path, provider.last.json, [name for name in dropped if name and not name.startswith("reply.")]


USER = [{"role": "user", "content": "w"}]
HISTORY: dict[Dialect, dict[str, Any]] = {
    "chat": {
        "messages": [
            *USER,
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "Look.",
                "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "t1", "content": "x"},
        ]
    },
    "messages": {
        "messages": [
            *USER,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Look.", "signature": SEAL},
                    {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "x"}]},
        ]
    },
    "responses": {
        "input": [
            *USER,
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [],
                "content": [{"type": "reasoning_text", "text": "Look."}],
            },
            {"type": "function_call", "call_id": "t1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "t1", "output": "x"},
        ]
    },
}
THINKING_PART = {"type": "thinking", "thinking": [{"type": "text", "text": "Look."}]}


# --- where reasoning goes back ----------------------------------------------------------------------


@pytest.mark.parametrize("client", ["chat", "messages", "responses"])
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("groq/openai/gpt-oss-120b", {"reasoning": "Look."}),
        ("vllm/qwen3.6", {"reasoning": "Look."}),
        ("together_ai/openai/gpt-oss-120b", {"reasoning": "Look."}),
        ("ollama/qwen3", {"reasoning": "Look."}),
        ("deepseek/deepseek-v4-pro", {"reasoning_content": "Look."}),
        ("moonshotai/kimi-k3", {"reasoning_content": "Look."}),
        ("zhipu/glm-5", {"reasoning_content": "Look."}),
        ("qwen/qwen3-max", {"reasoning_content": "Look."}),
        ("xiaomi/mimo-v2-flash", {"reasoning_content": "Look."}),
        ("mistral/mistral-medium-latest", {"content": [THINKING_PART]}),
        ("openai/gpt-4o", {}),
        ("cerebras/gpt-oss-120b", {}),
        ("nvidia/nemotron", {}),
        ("gemini/gemini-2.5-pro", {}),
    ],
)
async def test_reasoning_goes_back_in_the_servers_own_field(
    client: Dialect, model: str, expected: dict[str, Any]
) -> None:
    path, body, dropped = await sent(model, client, tools=tools(client), **HISTORY[client])
    if path == "/v1/responses":  # OpenAI's own, where nothing has to be said in another form
        assert body["input"] == HISTORY["responses"]["input"]
        return
    said = body["messages"][1]
    found = {name: said[name] for name in ("reasoning_content", "reasoning", "reasoning_details") if name in said}
    if isinstance(said.get("content"), list):
        found["content"] = said["content"]
    assert found == expected
    assert ("messages.thinking" in dropped) == (not expected)


@pytest.mark.parametrize("client", ["chat", "messages", "responses"])
@pytest.mark.parametrize("model", ["deepseek/deepseek-v4-pro", "moonshotai/kimi-k3", "moonshotai/kimi-k2.6"])
async def test_calls_that_another_vendor_made_get_a_placeholder_for_their_reasoning(
    client: Dialect, model: str
) -> None:
    history = {name: [dict(item) for item in items] for name, items in HISTORY[client].items()}
    if client == "chat":
        del history["messages"][1]["reasoning_content"]
    elif client == "messages":
        history["messages"][1]["content"] = history["messages"][1]["content"][1:]
    else:
        del history["input"][1]
    _, body, dropped = await sent(model, client, tools=tools(client), **history)
    assert body["messages"][1]["reasoning_content"]
    assert "messages.thinking" in dropped
    _, body, dropped = await sent(model, client, **history)  # without tools nothing is missing
    assert "reasoning_content" not in body["messages"][1]
    assert "messages.thinking" not in dropped


# --- OpenAI's own fields ----------------------------------------------------------------------------

CODEX: dict[str, Any] = {
    "store": False,
    "prompt_cache_key": "k",
    "text": {"verbosity": "low"},
    "metadata": {"a": "b"},
    "safety_identifier": "s",
}


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("gemini/gemini-2.5-flash", set()),
        ("mistral/mistral-large-latest", {"prompt_cache_key", "metadata"}),
        ("groq/openai/gpt-oss-120b", set()),
        ("moonshotai/kimi-k3", {"prompt_cache_key", "safety_identifier"}),
        ("zhipu/glm-5", set()),
        ("openai/gpt-5.2", {"store", "prompt_cache_key", "verbosity", "metadata", "safety_identifier"}),
        ("openrouter/openai/gpt-5.2", {"store", "prompt_cache_key", "verbosity", "metadata", "safety_identifier"}),
    ],
)
async def test_openais_own_fields_go_where_they_are_known(model: str, known: set[str]) -> None:
    names = {"store", "prompt_cache_key", "verbosity", "metadata", "safety_identifier"}
    flat = {**CODEX, "verbosity": "low"}
    del flat["text"]
    _, body, dropped = await sent(model, "chat", **flat)
    assert names & set(body) == known
    assert set(dropped) == names - known - {"store"}
    if not model.startswith("openai/"):  # it speaks responses too, and gets those natively
        _, body, dropped = await sent(model, "responses", **CODEX)
        assert names & set(body) == known
        assert set(dropped) == names - known - {"store"}


async def test_claude_codes_user_goes_where_it_is_known() -> None:
    user = {"metadata": {"user_id": "u"}}
    assert (await sent("openai/gpt-4o", "messages", **user))[1]["user"] == "u"
    _, body, dropped = await sent("mistral/mistral-large-latest", "messages", **user)
    assert "user" not in body
    assert dropped == ["user"]


# --- tools and reasoning in OpenAI's chat API ----------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "client", "more", "path"),
    [
        ("openai/gpt-5.5", "messages", {"output_config": {"effort": "high"}, "tools": tools("messages")}, "responses"),
        ("openai/gpt-5.4", "messages", {}, "responses"),
        ("openai/gpt-5.2", "messages", {"output_config": {"effort": "high"}, "tools": tools("messages")}, "chat"),
        ("openai/gpt-5.6-sol", "chat", {"tools": tools("chat")}, "responses"),
        ("openai/gpt-6.2-sol", "chat", {"tools": tools("chat")}, "responses"),
        ("openai/gpt-5.6-sol", "chat", {"tools": tools("chat"), "reasoning_effort": "none"}, "chat"),
        ("openai/gpt-5.6-sol", "chat", {"reasoning_effort": "high"}, "chat"),
        ("openai/gpt-5.4", "chat", {"tools": tools("chat")}, "chat"),
        ("openai/gpt-5.4", "chat", {"tools": tools("chat"), "reasoning_effort": "low"}, "responses"),
        ("openai/gpt-5.5", "chat", {"tools": tools("chat"), "reasoning_effort": "low", "stream": True}, "responses"),
        ("openai/gpt-5.2", "chat", {"tools": tools("chat"), "reasoning_effort": "low"}, "chat"),
        ("openai/gpt-4o", "chat", {"tools": tools("chat")}, "chat"),
    ],
)
async def test_tools_and_reasoning_meet_where_the_model_takes_both(
    model: str, client: Dialect, more: dict[str, Any], path: str
) -> None:
    assert (await sent(model, client, **more))[0] == {"chat": "/v1/chat/completions", "responses": "/v1/responses"}[
        path
    ]


# --- system messages --------------------------------------------------------------------------------

DEVELOPER = {"role": "developer", "content": "Permissions"}


@pytest.mark.parametrize("model", ["vllm/qwen3.6", "mistral/mistral-large-latest", "deepseek/deepseek-v4-pro"])
@pytest.mark.parametrize(
    ("client", "body"),
    [
        ("responses", {"instructions": "You are", "input": [DEVELOPER, *USER]}),
        ("chat", {"messages": [{"role": "system", "content": "You are"}, DEVELOPER, *USER]}),
        ("messages", {"system": [{"type": "text", "text": "You are"}, {"type": "text", "text": "Permissions"}]}),
    ],
)
async def test_leading_instructions_are_one_system_message(model: str, client: Dialect, body: dict[str, Any]) -> None:
    _, got, dropped = await sent(model, client, **body)
    assert got["messages"] == [{"role": "system", "content": "You are\n\nPermissions"}, *USER]
    assert dropped == []


@pytest.mark.parametrize(
    ("client", "role"),
    [
        ("chat", "system"),
        ("chat", "developer"),
        ("messages", "system"),
        ("responses", "system"),
        ("responses", "developer"),
    ],
)
async def test_a_later_instruction_is_told_as_the_users_where_one_may_stand(client: Dialect, role: str) -> None:
    name = "input" if client == "responses" else "messages"
    turns = [*USER, {"role": role, "content": "Types: x"}, {"role": "assistant", "content": "ok"}, *USER]
    lead = {"instructions": "You"} if client == "responses" else {"system": "You"} if client == "messages" else {}
    if client == "chat":
        turns = [{"role": "system", "content": "You"}, *turns]
    _, body, dropped = await sent("vllm/qwen3.6", client, **lead, **{name: turns})
    assert [message["role"] for message in body["messages"]] == ["system", "user", "user", "assistant", "user"]
    assert body["messages"][2]["content"] == "Types: x"
    assert dropped == ["messages.role"]
    _, body, dropped = await sent("openai/gpt-4o", "chat", messages=turns)
    assert role in [message["role"] for message in body["messages"]]
    assert dropped == []


# --- efforts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "asked", "expected"),
    [
        ("openai/gpt-5.1", "max", {"reasoning_effort": "high"}),
        ("openai/gpt-5.1", "minimal", {"reasoning_effort": "low"}),
        ("openai/gpt-5.2", "max", {"reasoning_effort": "xhigh"}),
        ("openai/gpt-5", "none", {"reasoning_effort": "minimal"}),
        ("openai/gpt-5", "minimal", {"reasoning_effort": "minimal"}),
        ("openai/o3", "xhigh", {"reasoning_effort": "high"}),
        ("openai/o3", "max", {"reasoning_effort": "high"}),
        ("groq/openai/gpt-oss-120b", "max", {"reasoning_effort": "high"}),
        ("groq/llama-guard", "high", {"reasoning_effort": ABSENT}),
        ("mistral/mistral-medium-latest", "low", {"reasoning_effort": "high"}),
        ("mistral/mistral-medium-latest", "none", {"reasoning_effort": "none"}),
        ("mistral/codestral-latest", "high", {"reasoning_effort": ABSENT}),
        ("gemini/gemini-3-flash", "max", {"reasoning_effort": "high"}),
        ("gemini/gemini-2.5-flash", "none", {"reasoning_effort": "none"}),
        ("gemini/gemini-2.5-pro", "none", {"reasoning_effort": "minimal"}),
        ("moonshotai/kimi-k3", "none", {"reasoning_effort": "low"}),
        ("moonshotai/kimi-k3", "minimal", {"reasoning_effort": "low"}),
        ("moonshotai/kimi-k3", "medium", {"reasoning_effort": "high"}),
        ("moonshotai/kimi-k2.6", "none", {"reasoning_effort": ABSENT, "thinking": {"type": "disabled"}}),
        ("moonshotai/kimi-k2.6", "high", {"reasoning_effort": ABSENT, "thinking": ABSENT}),
        ("deepseek/deepseek-v4-pro", "medium", {"reasoning_effort": "high"}),
        ("deepseek/deepseek-v4-pro", "xhigh", {"reasoning_effort": "high"}),
        ("deepseek/deepseek-v4-pro", "none", {"reasoning_effort": ABSENT, "thinking": {"type": "disabled"}}),
        ("zhipu/glm-5", "high", {"reasoning_effort": ABSENT}),
        ("zhipu/glm-5.2", "xhigh", {"reasoning_effort": "high"}),
        ("qwen/qwen3-max", "low", {"reasoning_effort": ABSENT, "enable_thinking": True, "thinking_budget": 2048}),
        ("qwen/qwen3-max", "none", {"reasoning_effort": ABSENT, "enable_thinking": False}),
        ("together_ai/deepseek-ai/V4", "none", {"reasoning_effort": ABSENT, "reasoning": {"enabled": False}}),
        ("xai/grok-4.5", "xhigh", {"reasoning_effort": "high"}),
        ("xai/grok-4.3", "none", {"reasoning_effort": "none"}),
        ("xai/grok-4.5", "none", {"reasoning_effort": "low"}),
        ("openrouter/anthropic/claude-opus-5", "max", {"reasoning_effort": "max"}),
        ("vllm/qwen3.6", "max", {"reasoning_effort": "max"}),
    ],
)
async def test_an_effort_is_said_in_the_models_own_words(model: str, asked: str, expected: dict[str, Any]) -> None:
    _, body, dropped = await sent(model, "chat", reasoning_effort=asked)
    assert {name: body.get(name, ABSENT) for name in expected} == expected
    told = expected.get("reasoning_effort", ABSENT) == asked or any(
        value is not ABSENT for name, value in expected.items() if name != "reasoning_effort"
    )
    assert dropped == ([] if told else ["reasoning_effort"])


@pytest.mark.parametrize(
    ("model", "expected", "lost"),
    [
        ("deepseek/deepseek-v4-pro", {"thinking": {"type": "disabled"}}, []),
        ("zhipu/glm-5", {"thinking": {"type": "disabled"}}, []),
        ("moonshotai/kimi-k2.6", {"thinking": {"type": "disabled"}}, []),
        ("xiaomi/mimo-v2-flash", {"thinking": {"type": "disabled"}}, []),
        ("qwen/qwen3-max", {"enable_thinking": False}, []),
        ("gemini/gemini-2.5-flash", {"reasoning_effort": "none"}, []),
        ("openai/gpt-5.2", {"reasoning_effort": "none"}, []),
        ("openai/gpt-5", {"reasoning_effort": "minimal"}, ["reasoning_effort"]),
        ("openai/gpt-5.6-sol", {"reasoning": {"effort": "none"}}, []),
        ("openai/gpt-4o", {"reasoning_effort": ABSENT}, []),
        ("moonshotai/kimi-k3", {"reasoning_effort": "low"}, ["reasoning_effort"]),
        ("minimax/MiniMax-M2.5", {"reasoning_effort": ABSENT}, ["reasoning_effort"]),
        ("vllm/qwen3.6", {"reasoning_effort": ABSENT}, ["thinking"]),
    ],
)
async def test_thinking_that_is_disabled_is_said_in_the_models_own_words(
    model: str, expected: dict[str, Any], lost: list[str]
) -> None:
    _, body, dropped = await sent(model, "messages", thinking={"type": "disabled"})
    assert {name: body.get(name, ABSENT) for name in expected} == expected
    assert dropped == lost


async def test_a_budget_is_told_as_a_number_where_the_model_takes_one() -> None:
    _, body, dropped = await sent("qwen/qwen3-max", "messages", thinking={"type": "enabled", "budget_tokens": 3000})
    assert (body["enable_thinking"], body["thinking_budget"], dropped) == (True, 3000, [])


# --- sampling, and what else is refused --------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "more", "gone"),
    [
        ("moonshotai/kimi-k2.6", {"temperature": 0.2, "top_p": 0.9}, ["temperature", "top_p"]),
        ("moonshotai/kimi-k2.7-code", {"temperature": 0.2}, ["temperature"]),
        ("xai/grok-4.5", {"stop": ["x"], "presence_penalty": 1}, ["presence_penalty", "stop"]),
        ("xai/grok-4.20-0309-reasoning", {"frequency_penalty": 1}, ["frequency_penalty"]),
        ("xai/grok-4.20-0309-non-reasoning", {"stop": ["x"], "presence_penalty": 1}, []),
        ("xai/grok-4.3", {"stop": ["x"], "reasoning_effort": "none"}, []),
        ("openai/gpt-5.2", {"temperature": 0.2}, []),
        ("openai/gpt-5.2", {"temperature": 0.2, "reasoning_effort": "low"}, ["temperature"]),
    ],
)
async def test_what_a_model_refuses_is_left_out(model: str, more: dict[str, Any], gone: list[str]) -> None:
    _, body, dropped = await sent(model, "chat", **more)
    assert sorted(dropped) == sorted(gone)
    assert {name for name in more if name in body} == set(more) - set(gone)


@pytest.mark.parametrize(
    ("model", "choice", "expected"),
    [
        ("zhipu/glm-5", "required", {"tool_choice": "auto"}),
        ("zhipu/glm-5", {"type": "function", "function": {"name": "f"}}, {"tool_choice": "auto"}),
        ("qwen/qwen3-max", "required", {"tool_choice": "required", "enable_thinking": False}),
        ("deepseek/deepseek-v4-pro", "required", {"tool_choice": "required", "thinking": {"type": "disabled"}}),
        ("moonshotai/kimi-k3", "required", {"tool_choice": "auto"}),
        ("moonshotai/kimi-k2-0905-preview", "required", {"tool_choice": "required"}),
        ("groq/openai/gpt-oss-120b", "required", {"tool_choice": "required"}),
        ("zhipu/glm-5", "auto", {"tool_choice": "auto"}),
    ],
)
async def test_a_forced_tool_where_thinking_and_force_exclude_each_other(
    model: str, choice: Any, expected: dict[str, Any]
) -> None:
    _, body, _ = await sent(model, "chat", tools=tools("chat"), tool_choice=choice)
    assert {name: body.get(name) for name in expected} == expected


@pytest.mark.parametrize("client", ["messages", "responses"])
async def test_minimax_is_asked_to_keep_thinking_out_of_the_answer(client: Dialect) -> None:
    assert (await sent("minimax/MiniMax-M2.5", client))[1]["reasoning_split"] is True


# --- Claude -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "left"),
    [
        ("claude-sonnet-4-5", "high", {"type": "enabled", "budget_tokens": 15999}, ABSENT),
        ("claude-haiku-4-5-20251001", "low", {"type": "enabled", "budget_tokens": 2048}, ABSENT),
        ("claude-opus-4-1", None, {"type": "enabled", "budget_tokens": 8192}, ABSENT),
        ("claude-opus-4-5", "high", {"type": "enabled", "budget_tokens": 15999}, {"effort": "high"}),
        ("claude-opus-4-5", "max", {"type": "enabled", "budget_tokens": 15999}, {"effort": "high"}),
        ("claude-opus-4-6", "xhigh", {"type": "adaptive"}, {"effort": "high"}),
        ("claude-sonnet-4-6", "max", {"type": "adaptive"}, {"effort": "max"}),
        ("claude-opus-4-7", "xhigh", {"type": "adaptive"}, {"effort": "xhigh"}),
        ("claude-opus-5-5", "max", {"type": "adaptive"}, {"effort": "max"}),
    ],
)
async def test_adaptive_thinking_becomes_what_a_generation_of_claude_takes(
    model: str, effort: str | None, thinking: dict[str, Any], left: Any
) -> None:
    config = {} if effort is None else {"output_config": {"effort": effort}}
    _, body, _ = await sent(f"anthropic/{model}", "messages", thinking={"type": "adaptive"}, **config)
    assert (body["thinking"], body.get("output_config", ABSENT)) == (thinking, left)


async def test_a_budget_leaves_room_for_the_answer() -> None:
    body = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}
    _, got, _ = await sent("anthropic/claude-sonnet-4-5", "messages", **body, max_tokens=4000)
    assert got["thinking"] == {"type": "enabled", "budget_tokens": 3999}
    _, got, dropped = await sent("anthropic/claude-sonnet-4-5", "messages", **body, max_tokens=500)
    assert ("thinking" in got, dropped) == (False, ["thinking"])


@pytest.mark.parametrize("client", ["chat", "responses"])
@pytest.mark.parametrize(
    ("model", "thinking", "effort"),
    [
        ("claude-opus-4-7", {"type": "adaptive"}, "high"),
        ("claude-sonnet-4-6", {"type": "adaptive"}, "high"),
        ("claude-sonnet-4-5", None, None),
    ],
)
@pytest.mark.parametrize("loop", [False, True])
async def test_an_effort_reaches_claude_with_forced_tools_and_in_tool_loops(
    client: Dialect, model: str, thinking: Any, effort: str | None, loop: bool
) -> None:
    said: dict[str, Any] = {"reasoning_effort": "high"} if client == "chat" else {"reasoning": {"effort": "high"}}
    more = HISTORY[client] if loop else {"tool_choice": "required"}
    _, body, dropped = await sent(f"anthropic/{model}", client, tools=tools(client), **said, **more)
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort
    assert ("reasoning_effort" in dropped) == (effort is None)
    assert loop or body["tool_choice"] == {"type": "any"}


@pytest.mark.parametrize("client", ["chat", "responses"])
@pytest.mark.parametrize(("model", "most"), [("claude-opus-4-1", 32_000), ("claude-3-5-haiku-20241022", 8_192)])
async def test_a_limit_above_claudes_is_sent_as_its_most(client: Dialect, model: str, most: int) -> None:
    limit = {"max_completion_tokens" if client == "chat" else "max_output_tokens": 100_000}
    _, body, dropped = await sent(f"anthropic/{model}", client, **limit)
    assert (body["max_tokens"], dropped) == (most, ["max_tokens"])


# --- order ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "roles"),
    [
        (["call", "user", "result"], ["user", "assistant", "tool", "user"]),
        (["call", "result", "user"], ["user", "assistant", "tool", "user"]),
        (["call", "user", "user", "result"], ["user", "assistant", "tool", "user", "user"]),
        (["call", "system", "result", "user"], ["user", "assistant", "tool", "user", "user"]),
    ],
)
async def test_results_follow_their_calls_in_chat(items: list[str], roles: list[str]) -> None:
    parts: dict[str, dict[str, Any]] = {
        "call": HISTORY["responses"]["input"][-2],
        "result": HISTORY["responses"]["input"][-1],
        "user": {"role": "user", "content": "hurry"},
        "system": {"role": "system", "content": "note"},
    }
    _, body, _ = await sent("deepseek/deepseek-v4-pro", "responses", input=[*USER, *(parts[name] for name in items)])
    assert [message["role"] for message in body["messages"]] == roles
