"""The rules of servers' messages and responses APIs, where chat is not the only one that they have."""

from __future__ import annotations

from typing import Any

import pytest

from plano import Plano
from plano.testing import FakeProvider
from plano.types import ClientDialect, Dialect
from tests.asgi import Answer, ask
from tests.test_pairs import PATHS

FUNCTION = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
ANTHROPICS: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
OPENAIS: dict[str, Any] = {"type": "web_search"}


async def answered(model: str, client: ClientDialect, api: Dialect, **more: Any) -> tuple[Answer, Any]:
    """The answer, and the body that went up, if one did."""
    provider = FakeProvider()
    entry = {"model": model, "access_key": "k", "apis": [api]}
    if model.startswith("snowflake/"):
        entry["base_url"] = "https://name.snowflakecomputing.com"
    app = Plano({"model_providers": [entry]}, transport=provider)
    body: dict[str, Any] = {"model": model, "input" if client == "responses" else "messages": USER}
    if client == "messages":
        body["max_tokens"] = 16_384
    answer = await ask(app, "POST", PATHS[client], body | more)
    return answer, provider.last.json if provider.requests else None


USER = [{"role": "user", "content": "w"}]


async def sent(model: str, client: ClientDialect, api: Dialect, **more: Any) -> tuple[Any, set[str]]:
    """The body that went up, and what was reported of it."""
    answer, body = await answered(model, client, api, **more)
    assert answer.status == 200, answer.body
    dropped = answer.headers.get("x-plano-dropped", "").split(", ")
    return body, {name for name in dropped if name and not name.startswith("reply.")}


# --- thinking ---------------------------------------------------------------------------------------

ADAPTIVE = {"type": "adaptive"}
ENABLED = {"type": "enabled"}
DISABLED = {"type": "disabled"}


def budget(tokens: int) -> dict[str, Any]:
    return {"type": "enabled", "budget_tokens": tokens}


@pytest.mark.parametrize(
    ("model", "thinking", "effort", "expected", "guided", "reported"),
    [
        ("deepseek/deepseek-v4-pro", budget(8000), None, ENABLED, "high", False),
        ("deepseek/deepseek-v4-pro", budget(8000), "max", ENABLED, "max", False),
        ("deepseek/deepseek-v4-pro", ADAPTIVE, "xhigh", ENABLED, "high", True),
        ("deepseek/deepseek-v4-pro", DISABLED, "max", DISABLED, None, True),
        ("deepseek/deepseek-v4-pro", DISABLED, None, DISABLED, None, False),
        ("deepseek/deepseek-v4-pro", None, "max", None, "max", False),
        ("xiaomi/mimo-v2.5-pro", ADAPTIVE, None, ENABLED, None, False),
        ("xiaomi/mimo-v2.5-pro", ADAPTIVE, "high", ENABLED, None, True),
        ("xiaomi/mimo-v2.5-pro", budget(8000), None, ENABLED, None, False),
        ("qwen/qwen3.7-plus", budget(8000), None, budget(8000), None, False),
        ("qwen/qwen3.7-plus", ADAPTIVE, None, budget(8192), None, False),
        ("qwen/qwen3-coder-plus", budget(8000), None, None, None, True),
        ("fireworks/accounts/fireworks/models/glm-5", ADAPTIVE, "max", budget(16_383), "high", True),
        ("vercel/anthropic/claude-sonnet-4.5", ADAPTIVE, None, budget(8192), None, False),
        ("vercel/anthropic/claude-opus-4.8", budget(8000), None, ADAPTIVE, "medium", False),
        ("openrouter/anthropic/claude-opus-4.6", ADAPTIVE, "max", ADAPTIVE, "max", False),
        ("openrouter/anthropic/claude-opus-4-7", budget(8000), None, ADAPTIVE, "medium", False),
        ("openrouter/anthropic/claude-3.7-sonnet", ADAPTIVE, None, budget(8192), None, False),
        ("requesty/anthropic/claude-sonnet-4-5", ADAPTIVE, None, budget(8192), None, False),
        ("snowflake/claude-sonnet-4-5", ADAPTIVE, None, budget(8192), None, False),
        ("openrouter/google/gemini-3", ADAPTIVE, "xhigh", ADAPTIVE, "xhigh", False),
    ],
)
async def test_thinking_is_said_in_the_servers_own_words(
    model: str, thinking: Any, effort: str | None, expected: Any, guided: str | None, reported: bool
) -> None:
    more: dict[str, Any] = {} if thinking is None else {"thinking": thinking}
    if effort is not None:
        more["output_config"] = {"effort": effort}
    body, dropped = await sent_to(model, **more)
    assert (body.get("thinking"), body.get("output_config", {}).get("effort")) == (expected, guided)
    assert bool(dropped) is reported, dropped


async def sent_to(model: str, **more: Any) -> tuple[Any, set[str]]:
    return await sent(model, "messages", "messages", **more)


@pytest.mark.parametrize(
    ("client", "more", "expected"),
    [
        ("chat", {"reasoning_effort": "high"}, (ENABLED, "high")),
        ("chat", {"reasoning_effort": "medium"}, (ENABLED, "high")),
        ("chat", {"reasoning_effort": "none"}, (DISABLED, None)),
        ("responses", {"reasoning": {"effort": "low"}}, (ENABLED, "low")),
        ("responses", {}, (None, None)),
    ],
)
async def test_deepseek_is_told_an_effort_by_clients_of_other_apis(
    client: ClientDialect, more: Any, expected: tuple[Any, Any]
) -> None:
    body, _ = await sent("deepseek/deepseek-v4-pro", client, "messages", **more)
    assert (body.get("thinking"), body.get("output_config", {}).get("effort")) == expected


@pytest.mark.parametrize("thinking", [None, ADAPTIVE, budget(8000)])
@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "f"}])
async def test_deepseek_does_not_think_when_a_tool_is_forced(thinking: Any, choice: Any) -> None:
    more = {} if thinking is None else {"thinking": thinking}
    body, dropped = await sent_to("deepseek/deepseek-v4-pro", tools=[FUNCTION], tool_choice=choice, **more)
    assert (body["thinking"], body["tool_choice"]) == (DISABLED, choice)
    assert "reasoning_effort" in dropped


async def test_what_is_passed_over_is_reported() -> None:
    body, dropped = await sent_to("minimax/MiniMax-M3", top_k=5, stop_sequences=["x"])
    assert dropped == {"top_k", "stop_sequences"}
    assert not {"top_k", "stop_sequences"} & set(body)


async def test_what_no_row_is_about_passes_as_it_is() -> None:
    more = {"thinking": budget(8000), "tools": [ANTHROPICS, FUNCTION], "unknown": {"a": 1.50}}
    body, dropped = await sent_to("minimax/MiniMax-M3", **more)
    assert {name: body[name] for name in more} == more
    assert dropped == set()


# --- web search -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "client", "api", "hosted"),
    [
        ("openai/gpt-5.5", "messages", "responses", True),
        ("xai/grok-5", "messages", "responses", True),
        ("perplexity/sonar", "messages", "responses", True),
        ("qwen/qwen3.7-plus", "messages", "responses", True),
        ("openrouter/openai/gpt-5.5", "messages", "responses", True),
        ("fireworks/accounts/fireworks/models/glm-5", "messages", "responses", False),
        ("groq/openai/gpt-oss-120b", "messages", "responses", False),
        ("vllm/m", "messages", "responses", False),
        ("anthropic/claude-opus-4-8", "responses", "messages", True),
        ("vercel/anthropic/claude-opus-4.8", "responses", "messages", True),
        ("deepseek/deepseek-v4-pro", "responses", "messages", False),
        ("fireworks/accounts/fireworks/models/glm-5", "responses", "messages", False),
        ("minimax/MiniMax-M3", "responses", "messages", False),
        ("moonshotai/kimi-k3", "responses", "messages", False),
        ("qwen/qwen3.7-plus", "responses", "messages", False),
        ("xiaomi/mimo-v2.5-pro", "responses", "messages", False),
        ("zai/glm-5.2", "responses", "messages", False),
    ],
)
async def test_a_web_search_goes_where_it_is_hosted(
    model: str, client: ClientDialect, api: Dialect, hosted: bool
) -> None:
    theirs, others = (ANTHROPICS, OPENAIS) if client == "messages" else (OPENAIS, ANTHROPICS)
    body, dropped = await sent(model, client, api, tools=[theirs])
    assert (body.get("tools"), dropped) == (([others], set()) if hosted else (None, {"tools.type"}))
    choice = {"type": "tool", "name": "web_search"} if client == "messages" else {"type": "web_search"}
    answer, _ = await answered(model, client, api, tools=[theirs], tool_choice=choice)
    assert answer.status == (200 if hosted else 400), answer.body


@pytest.mark.parametrize(("client", "tool"), [("messages", ANTHROPICS), ("responses", OPENAIS)])
async def test_a_client_of_the_server_s_own_api_asks_for_what_it_likes(client: ClientDialect, tool: Any) -> None:
    body, dropped = await sent("fireworks/accounts/fireworks/models/glm-5", client, client, tools=[tool])
    assert (body["tools"], dropped) == ([tool], set())
