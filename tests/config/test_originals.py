"""The shapes of configurations that katanemo's Plano (Apache-2.0) has in its demos, documents and tests.

Each case says which file of katanemo/plano has these keys together, or of katanemo/archgw, as it was called before. A
case either loads, and then every one of its models and aliases answers in every API; or it is refused, with a sentence
for each key that plano does not support yet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plano import Plano
from plano.config import load
from plano.errors import ConfigError
from plano.testing import FakeProvider
from plano.types import CLIENT_DIALECTS, Dialect
from tests.asgi import ask

PATHS: dict[Dialect, str] = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}

ENVIRON = dict.fromkeys(
    (
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "MISTRAL_API_KEY",
        "DEEPSEEK_API_KEY",
        "GROQ_API_KEY",
        "GROK_API_KEY",
        "GEMINI_API_KEY",
        "TOGETHER_API_KEY",
        "MOONSHOT_API_KEY",
        "AZURE_API_KEY",
        "AWS_BEARER_TOKEN_BEDROCK",
        "CUSTOM",
        "CUSTOM_API_KEY",
    ),
    "key-of-a-test",
)

LISTENER = "listeners: [{type: model, name: llms, address: 0.0.0.0, port: 12000}]\n"
OLD_LISTENER = "listeners: {egress_traffic: {address: 0.0.0.0, port: 12000, message_format: openai, timeout: 30s}}\n"

LOADING = [
    pytest.param(
        "version: v0.3.0\n"
        + LISTENER
        + """\
        model_providers:
        - {model: openai/gpt-4o-mini, access_key: $OPENAI_API_KEY}
        - {model: openai/gpt-4o, access_key: $OPENAI_API_KEY, default: true}
        - {model: anthropic/claude-sonnet-4-6, access_key: $ANTHROPIC_API_KEY}
        """,
        [],
        id="tests/e2e/config_native_smoke.yaml",
    ),
    pytest.param(
        "version: v0.3.0\n"
        + LISTENER
        + """\
        model_providers:
        - {model: openai/*, access_key: $OPENAI_API_KEY}
        - {model: anthropic/*, access_key: $ANTHROPIC_API_KEY}
        - {model: xai/*, access_key: $GROK_API_KEY}
        - {model: ollama/*, base_url: https://llm.internal.example}
        """,
        [],
        id="demos/use_cases/wildcard_providers/config.yaml",
    ),
    pytest.param(
        "version: v0.4.0\n"
        + LISTENER
        + """\
        model_providers:
        - {model: anthropic/*, access_key: $ANTHROPIC_API_KEY}
        - {model: anthropic/claude-opus-4-5, access_key: $ANTHROPIC_API_KEY}
        - {model: anthropic/*, access_key: $ANTHROPIC_API_KEY}
        """,
        ["model_providers[2].model"],
        id="docs/source/concepts/llm_providers/supported_providers.rst",
    ),
    pytest.param(
        "version: v0.3.0\n"
        + LISTENER
        + """\
        model_providers:
        - {model: my_llm_provider/llama3.2, provider_interface: openai, base_url: 'http://localhost:11434'}
        tracing: {random_sampling: 0, trace_arch_internal: true}
        """,
        ["tracing.trace_arch_internal"],
        id="demos/integrations/ollama/config.yaml",
    ),
    pytest.param(
        "version: v0.3.0\n"
        + LISTENER
        + """\
        model_providers:
        - model: openai/gpt-5-2025-08-07
          access_key: $OPENAI_API_KEY
          routing_preferences: [{name: code generation, description: generating code}]
        - {model: anthropic/claude-sonnet-4-6, access_key: $ANTHROPIC_API_KEY, default: true}
        - {model: anthropic/claude-haiku-4-5, access_key: $ANTHROPIC_API_KEY}
        - {model: ollama/llama3.1, base_url: 'http://localhost:11434'}
        model_aliases: {arch.claude.code.small.fast: {target: claude-haiku-4-5}}
        """,
        ["model_providers[0].routing_preferences"],
        id="demos/llm_routing/claude_code_router/config.yaml",
    ),
    pytest.param(
        "version: v0.4.0\n"
        + LISTENER
        + """\
        model_providers:
        - {model: anthropic/gpt-5.6-sol, base_url: 'http://127.0.0.1:8317', access_key: $CUSTOM_API_KEY}
        - {model: anthropic/gpt-5.6-terra, base_url: 'http://127.0.0.1:8317', access_key: $CUSTOM_API_KEY}
        routing_preferences:
        - {name: reasoning, description: diagnosis, models: [anthropic/gpt-5.6-sol]}
        model_aliases:
          claude-fable-5: {target: anthropic/gpt-5.6-sol}
          claude-opus-4-8: {target: anthropic/gpt-5.6-terra}
        """,
        ["routing_preferences"],
        id="demos/llm_routing/claude_code_cliproxy/config.yaml",
    ),
    pytest.param(
        "version: v0.1.0\noverrides: {router_model: Arch-Router}\n"
        + OLD_LISTENER
        + """\
        llm_providers:
        - model: openai/kimi-k2.5
          access_key: $MOONSHOT_API_KEY
          base_url: https://api.moonshot.ai/v1
          default: true
          routing_preferences: [{name: conversation, description: chat}]
        - {model: anthropic/claude-sonnet-4-5, access_key: $ANTHROPIC_API_KEY}
        """,
        ["overrides.router_model", "llm_providers[0].routing_preferences"],
        id="demos/llm_routing/openclaw_routing/config.yaml",
    ),
    pytest.param(
        "version: v0.3.0\n"
        + LISTENER
        + """\
        model_providers:
        - {model: openai/gpt-4o-mini, access_key: $OPENAI_API_KEY, default: true}
        model_metrics_sources: [{type: cost, provider: models.dev, refresh_interval: 86400}]
        prompt_caching: {enabled: true}
        routing: {routing_budget: {max_switch_spend_pct: 20, record_counterfactual: true}}
        """,
        ["model_metrics_sources", "prompt_caching", "routing"],
        id="demos/llm_routing/routing_budget/config.yaml",
    ),
    pytest.param(
        "version: v0.4.0\n"
        + LISTENER
        + """\
        model_providers:
        - {model: openai/gpt-4o-mini, access_key: $OPENAI_API_KEY, default: true}
        - {model: openai/gpt-5.2, access_key: $OPENAI_API_KEY}
        routing_preferences:
        - {name: fast, description: short questions, models: [openai/gpt-4o-mini]}
        - {name: deep, description: reasoning, models: [openai/gpt-5.2], selection_policy: {prefer: cheapest}}
        routing: {session_ttl_seconds: 300, session_cache: {type: redis, url: 'redis://localhost:6379'}}
        """,
        ["routing_preferences", "routing"],
        id="demos/llm_routing/session_affinity_redis/config.yaml",
    ),
    pytest.param(
        """\
        version: v0.4.0
        overrides: {llm_routing_model: plano/Plano-Orchestrator, agent_orchestration_model: plano/Plano-Orchestrator}
        listeners: [{type: model, name: model_listener, port: 12000}]
        model_providers:
        - {model: plano/Plano-Orchestrator, base_url: 'http://plano-orchestrator:10001', passthrough_auth: true}
        model_metrics_sources:
        - {type: latency, provider: prometheus, url: 'http://prometheus:9090', query: up, refresh_interval: 300}
        """,
        ["overrides.agent_orchestration_model", "overrides.llm_routing_model", "model_metrics_sources"],
        id="demos/llm_routing/model_routing_service/config_metrics.yaml",
    ),
    pytest.param(
        "version: v0.3.0\n"
        + LISTENER
        + """\
        model_providers:
        - {model: openai/gpt-4o-mini, access_key: $OPENAI_API_KEY}
        - {model: openai/gpt-4o, access_key: $OPENAI_API_KEY, default: true}
        model_aliases:
          gpt-4-mini: {target: openai/gpt-4o-mini}
          gpt-4o: {target: openai/gpt-4o}
        """,
        [],
        id="demos/use_cases/vercel-ai-sdk/config.yaml",
    ),
    pytest.param(
        "version: v0.1\n"
        + OLD_LISTENER
        + """\
        llm_providers:
        - {model: openai/gpt-5-mini-2025-08-07, access_key: $OPENAI_API_KEY, default: true}
        - {model: openai/o3, access_key: $OPENAI_API_KEY}
        - {model: anthropic/claude-3-haiku-20240307, access_key: $ANTHROPIC_API_KEY}
        - {model: azure_openai/gpt-5-mini, access_key: $AZURE_API_KEY, base_url: 'https://acme.openai.azure.com'}
        - {model: ollama/llama3.1, base_url: 'http://host.docker.internal:11434'}
        - {model: xai/grok-4-0709, access_key: $GROK_API_KEY}
        model_aliases:
          arch.summarize.v1: {target: gpt-5-mini-2025-08-07}
          arch.v1: {target: o3}
          arch.fast.v1: {target: claude-3-haiku-20240307}
          arch.grok.v1: {target: grok-4-0709}
        """,
        [],
        id="katanemo/archgw: demos/use_cases/model_alias_routing/arch_config_with_aliases.yaml, without Bedrock",
    ),
    pytest.param(
        "version: v0.3.0\n"
        + LISTENER
        + """\
        model_providers:
        - {access_key: $MISTRAL_API_KEY, model: mistral/ministral-3b-latest}
        - {access_key: $DEEPSEEK_API_KEY, model: deepseek/deepseek-reasoner}
        - {access_key: $GROQ_API_KEY, model: groq/llama-3.1-8b-instant}
        - {access_key: $GEMINI_API_KEY, model: gemini/gemini-1.5-pro-latest}
        - {model: together_ai/openai/gpt-oss-20b, access_key: $TOGETHER_API_KEY}
        - {model: custom/test-model, base_url: 'http://host.docker.internal:11223', provider_interface: openai}
        """,
        [],
        id="katanemo/archgw: demos/use_cases/llm_routing/arch_config.yaml",
    ),
    pytest.param(
        """\
        version: v0.3.0
        listeners: {egress_traffic: {port: 12000}}
        model_providers:
        - {name: openai-passthrough, model: openai/gpt-4o, passthrough_auth: true}
        """,
        [],
        id="demos/native_run/config_passthrough.yaml",
    ),
    pytest.param(
        "version: v0.4.0\n"
        + LISTENER
        + """\
        model_providers:
        - {model: openai/gpt-4o, access_key: $OPENAI_API_KEY, default: true}
        - {model: openai/gpt-4o-litellm, base_url: 'https://litellm.example.com', passthrough_auth: true}
        - {model: openai/llama-3.3-70b, base_url: 'https://a.example', http_host: b.example, access_key: $CUSTOM}
        - model: moonshotai/kimi-for-coding
          access_key: $MOONSHOT_API_KEY
          base_url: https://api.kimi.com/coding/v1
          headers: {User-Agent: KimiCLI/1.3}
        - model: openai/llama-3.3-70b-vision
          base_url: https://a.example
          access_key: $CUSTOM_API_KEY
          capabilities: {context_window: 128000, supports_vision: true}
        ratelimits:
        - {model: openai/gpt-4o, selector: {key: x-user-id, value: "*"}, limit: {tokens: 100000, unit: hour}}
        overrides: {upstream_connect_timeout: 10s, optimize_context_window: true, disable_signals: false}
        state_storage: {type: memory}
        tracing: {opentracing_grpc_endpoint: 'http://localhost:4317', random_sampling: 0}
        """,
        [
            "model_providers[4].capabilities",
            "overrides.disable_signals",
            "overrides.optimize_context_window",
        ],
        id="docs/source/resources/includes/plano_config_full_reference.yaml, models",
    ),
    pytest.param(
        """\
        version: v0.4.0
        listeners: [{type: model, name: llms, port: 12000, max_retries: 3}]
        model_providers:
        - {model: openai/gpt-4o-mini, access_key: $OPENAI_API_KEY}
        - {model: openai/gpt-4o, access_key: $OPENAI_API_KEY, default: true}
        - {model: anthropic/claude-3-5-sonnet, access_key: $ANTHROPIC_API_KEY}
        model_aliases:
          smart-model:
            target: gpt-4o
            fallbacks:
            - {target: claude-3-5-sonnet, conditions: [quota_exceeded, timeout]}
            - {target: gpt-4o-mini, conditions: [primary_and_first_fallback_failed]}
          load-balanced-model:
            targets: [{model: gpt-4o, weight: 70}, {model: claude-3-5-sonnet, weight: 30}]
            load_balance: {algorithm: round_robin}
          safe-model:
            target: gpt-4o
            guardrails: [toxicity]
        """,
        ["model_aliases.safe-model.guardrails"],
        id="docs/source/concepts/llm_providers/model_aliases.rst, its plans",
    ),
]


@pytest.mark.parametrize(("text", "without_effect"), LOADING)
async def test_a_configuration_of_the_original_answers_by_every_name(
    text: str, without_effect: list[str], tmp_path: Path
) -> None:
    config = load(written(tmp_path, text), ENVIRON)
    assert sorted(warning.path for warning in config.warnings) == sorted(without_effect)
    provider = FakeProvider()
    app = Plano(config, transport=provider)
    names = [info.id.replace("/*", "/any") for info in app.models.listing()]
    assert set(config.aliases) <= set(names)
    for name in names:
        for dialect in CLIENT_DIALECTS:
            answer = await ask(app, "POST", PATHS[dialect], body(dialect, name))
            assert answer.status == 200, answer.body
            assert b"Hello" in answer.body
            groups = app.models.groups(name)
            assert provider.requests[-1].json["model"] in {member.target.model for member in groups[0].members}
    assert len(provider.requests) == len(names) * len(CLIENT_DIALECTS)


def body(dialect: Dialect, model: str) -> dict[str, Any]:
    if dialect == "responses":
        return {"model": model, "input": "Hello"}
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}


def written(folder: Path, text: str) -> Path:
    """Writes a configuration, without the indentation of the lines that the cases have."""
    path = folder / "plano_config.yaml"
    path.write_text("".join(line.removeprefix("        ") for line in text.splitlines(keepends=True)))
    return path


REFUSED = [
    pytest.param(
        """\
        agents: [{id: weather_agent, url: 'http://localhost:10510'}]  #! agents: `agents` is not supported yet
        model_providers: [{model: openai/gpt-4o, access_key: $OPENAI_API_KEY, default: true}]
        listeners:
        - type: agent  #! listeners[0].type: `agent` listeners are not supported yet; only `model` is
          name: travel_booking_service
          port: 8001
          router: plano_orchestrator_v1
          agents: [{id: weather_agent, description: weather}]  #! listeners[0].agents: `agents` is not supported yet
        """,
        id="demos/agent_orchestration/travel_agents/config.yaml",
    ),
    pytest.param(
        """\
        agents: [{id: rag_agent, url: 'http://localhost:10505'}]  #! agents: `agents` is not supported yet; take it out
        filters:
        - id: input_guards  #! filters[0].type: `mcp` filters are not supported yet; only `python` ones are
          url: http://localhost:10500
        - id: query_rewriter
          url: http://localhost:10501
          type: mcp  #! filters[1].type: `mcp` filters are not supported yet; only `python` ones are
        model_providers: [{model: openai/gpt-4o, access_key: $OPENAI_API_KEY}]
        listeners:
        - type: agent  #! listeners[0].type: `agent` listeners are not supported yet; only `model` is
          name: agent_1
          agents:  #! listeners[0].agents: `agents` is not supported yet; take it out
          - {id: rag_agent, description: retrieval, input_filters: [input_guards, query_rewriter]}
        """,
        id="demos/filter_chains/mcp_filter/config.yaml",
    ),
    pytest.param(
        """\
        filters:
        - id: pii_anonymizer
          url: http://localhost:10501/anonymize
          type: http  #! filters[0].type: `http` filters are not supported yet; only `python` ones are
        model_providers: [{model: openai/gpt-4o-mini, access_key: $OPENAI_API_KEY, default: true}]
        listeners:
        - {type: model, name: llm_gateway, port: 12000, input_filters: [pii_anonymizer]}
        """,
        id="demos/filter_chains/pii_anonymizer/config.yaml",
    ),
    pytest.param(
        """\
        model_providers: [{model: openai/gpt-4o-mini, access_key: $OPENAI_API_KEY, default: true}]
        listeners:
        - type: model
          name: llm_gateway
          filter_chain: []  #! listeners[0].filter_chain: is not a valid key here. Did you mean `input_filters`?
        """,
        id="demos/filter_chains/model_listener_filter/config.yaml, before v0.4.0",
    ),
    pytest.param(
        """\
        listeners:
        - {type: prompt, name: prompt_listener, port: 10000}  #! listeners[0].type: `prompt` listeners are not supported
        - {type: model, name: model_listener, port: 12000}
        endpoints: {service: {endpoint: 'localhost:18083'}}  #! endpoints: `endpoints` is not supported yet; take it out
        model_providers: [{model: openai/gpt-4o, access_key: $OPENAI_API_KEY, default: true}]
        system_prompt: You are helpful.  #! system_prompt: `system_prompt` is not supported yet; take it out
        prompt_targets:  #! prompt_targets: `prompt_targets` is not supported yet; take it out
        - {name: weather, description: weather, endpoint: {name: service, path: /weather}}
        """,
        id="demos/getting_started/weather_forecast/config.yaml",
    ),
    pytest.param(
        """\
        llm_providers:
        - model: openai/gpt-4o
          access_key: $OPENAI_API_KEY
        - model: amazon_bedrock/us.amazon.nova-pro-v1:0  #! llm_providers[1].model: `amazon_bedrock` is not supported in
          access_key: $AWS_BEARER_TOKEN_BEDROCK
          base_url: https://bedrock-runtime.us-west-2.amazonaws.com
        model_aliases:
          coding-model: {target: us.amazon.nova-pro-v1:0}
        """,
        id="katanemo/archgw: demos/use_cases/model_alias_routing/arch_config_with_aliases.yaml",
    ),
    pytest.param(
        """\
        model_providers:
        - model: claude-cli/*  #! model_providers[0].model: `claude-cli` is not supported, because plano starts no
        """,
        id="demos/integrations/claude_cli/config.yaml",
    ),
    pytest.param(
        """\
        listeners:
        - type: model_listener  #! listeners[0].type: must be `model`, `prompt` or `agent`, not `model_listener`.
          name: model_listener_1
        model_providers: [{model: openai/gpt-4o, access_key: $OPENAI_API_KEY}]
        """,
        id="katanemo/archgw: demos/use_cases/llm_routing/arch_config.yaml, as it was",
    ),
]


@pytest.mark.parametrize("text", REFUSED)
def test_a_configuration_of_the_original_is_refused_by_what_is_not_supported(text: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path, ENVIRON)
    lines = enumerate(text.splitlines(), 1)
    said = [f"{path}:{number}: {mark}" for number, line in lines for mark in line.split("  #! ")[1:]]
    assert [problem[: len(mark)] for problem, mark in zip(caught.value.problems, said, strict=True)] == said
