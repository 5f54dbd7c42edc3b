"""Every row of the catalogue: where it is asked, with which header, in which dialect."""

from __future__ import annotations

from datetime import date
from urllib.parse import urlsplit

import pytest

from plano.credentials.headers import credential
from plano.provider import Provider, Target
from plano.providers import CATALOGUE
from plano.providers.known import KNOWN
from plano.routing.models import Entry, ModelIndex
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect, Secret

BEARER, X_API_KEY, API_KEY = ("authorization", "Bearer k"), ("x-api-key", "k"), ("api-key", "k")

ENDPOINTS: list[tuple[str, Dialect, str, tuple[str, str] | None]] = [
    ("openai", "chat", "https://api.openai.com/v1/chat/completions", BEARER),
    ("openai", "responses", "https://api.openai.com/v1/responses", BEARER),
    ("anthropic", "messages", "https://api.anthropic.com/v1/messages", X_API_KEY),
    ("azure_openai", "chat", "https://base.test/openai/v1/chat/completions", API_KEY),
    ("azure_openai", "responses", "https://base.test/openai/v1/responses", API_KEY),
    ("chatgpt", "responses", "https://chatgpt.com/backend-api/codex/responses", BEARER),
    ("mistral", "chat", "https://api.mistral.ai/v1/chat/completions", BEARER),
    ("moonshotai", "chat", "https://api.moonshot.ai/v1/chat/completions", BEARER),
    ("moonshotai", "messages", "https://api.moonshot.ai/anthropic/v1/messages", X_API_KEY),
    ("xai", "chat", "https://api.x.ai/v1/chat/completions", BEARER),
    ("xai", "responses", "https://api.x.ai/v1/responses", BEARER),
    ("gemini", "chat", "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions", BEARER),
    ("groq", "chat", "https://api.groq.com/openai/v1/chat/completions", BEARER),
    ("groq", "responses", "https://api.groq.com/openai/v1/responses", BEARER),
    ("deepseek", "chat", "https://api.deepseek.com/v1/chat/completions", BEARER),
    ("deepseek", "messages", "https://api.deepseek.com/anthropic/v1/messages", X_API_KEY),
    ("together_ai", "chat", "https://api.together.ai/v1/chat/completions", BEARER),
    ("together_ai", "responses", "https://api.together.ai/v1/responses", BEARER),
    ("openrouter", "chat", "https://openrouter.ai/api/v1/chat/completions", BEARER),
    ("openrouter", "responses", "https://openrouter.ai/api/v1/responses", BEARER),
    ("openrouter", "messages", "https://openrouter.ai/api/v1/messages", BEARER),
    ("vercel", "chat", "https://ai-gateway.vercel.sh/v1/chat/completions", BEARER),
    ("vercel", "responses", "https://ai-gateway.vercel.sh/v1/responses", BEARER),
    ("vercel", "messages", "https://ai-gateway.vercel.sh/v1/messages", X_API_KEY),
    ("zhipu", "chat", "https://open.bigmodel.cn/api/paas/v4/chat/completions", BEARER),
    ("zhipu", "messages", "https://open.bigmodel.cn/api/anthropic/v1/messages", X_API_KEY),
    ("qwen", "chat", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions", BEARER),
    ("qwen", "responses", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/responses", BEARER),
    ("qwen", "messages", "https://dashscope-intl.aliyuncs.com/apps/anthropic/v1/messages", X_API_KEY),
    ("xiaomi", "chat", "https://api.xiaomimimo.com/v1/chat/completions", BEARER),
    ("xiaomi", "messages", "https://api.xiaomimimo.com/anthropic/v1/messages", X_API_KEY),
    ("digitalocean", "chat", "https://inference.do-ai.run/v1/chat/completions", BEARER),
    ("digitalocean", "responses", "https://inference.do-ai.run/v1/responses", BEARER),
    ("digitalocean", "messages", "https://inference.do-ai.run/v1/messages", BEARER),
    ("edenai", "chat", "https://api.edenai.run/v3/chat/completions", BEARER),
    ("edenai", "responses", "https://api.edenai.run/v3/responses", BEARER),
    ("edenai", "messages", "https://api.edenai.run/v3/messages", BEARER),
    ("meta", "chat", "https://api.meta.ai/v1/chat/completions", BEARER),
    ("meta", "responses", "https://api.meta.ai/v1/responses", BEARER),
    ("meta", "messages", "https://api.meta.ai/v1/messages", X_API_KEY),
    ("minimax", "chat", "https://api.minimax.io/v1/chat/completions", BEARER),
    ("minimax", "messages", "https://api.minimax.io/anthropic/v1/messages", X_API_KEY),
    ("perplexity", "responses", "https://api.perplexity.ai/v1/responses", BEARER),
    ("fireworks", "chat", "https://api.fireworks.ai/inference/v1/chat/completions", BEARER),
    ("fireworks", "responses", "https://api.fireworks.ai/inference/v1/responses", BEARER),
    ("fireworks", "messages", "https://api.fireworks.ai/inference/v1/messages", X_API_KEY),
    ("cerebras", "chat", "https://api.cerebras.ai/v1/chat/completions", BEARER),
    ("nvidia", "chat", "https://integrate.api.nvidia.com/v1/chat/completions", BEARER),
    ("ollama", "chat", "http://127.0.0.1:11434/v1/chat/completions", BEARER),
    ("ollama", "responses", "http://127.0.0.1:11434/v1/responses", BEARER),
    ("ollama", "messages", "http://127.0.0.1:11434/v1/messages", BEARER),
    ("vllm", "chat", "http://127.0.0.1:8000/v1/chat/completions", BEARER),
    ("vllm", "responses", "http://127.0.0.1:8000/v1/responses", BEARER),
    ("vllm", "messages", "http://127.0.0.1:8000/v1/messages", BEARER),
    ("lmstudio", "chat", "http://127.0.0.1:1234/v1/chat/completions", BEARER),
    ("lmstudio", "responses", "http://127.0.0.1:1234/v1/responses", BEARER),
    ("lmstudio", "messages", "http://127.0.0.1:1234/v1/messages", BEARER),
    ("plano", "chat", "https://base.test/v1/chat/completions", BEARER),
    ("demo", "chat", "http://demo.invalid/v1/chat/completions", None),
    ("demo", "responses", "http://demo.invalid/v1/responses", None),
    ("demo", "messages", "http://demo.invalid/v1/messages", None),
    ("baseten", "chat", "https://inference.baseten.co/v1/chat/completions", BEARER),
    ("cloudflare", "chat", "https://base.test/v1/chat/completions", BEARER),
    ("cloudflare", "responses", "https://base.test/v1/responses", BEARER),
    ("cohere", "chat", "https://api.cohere.ai/compatibility/v1/chat/completions", BEARER),
    ("databricks", "chat", "https://base.test/serving-endpoints/chat/completions", BEARER),
    ("databricks", "responses", "https://base.test/serving-endpoints/responses", BEARER),
    ("databricks", "messages", "https://base.test/serving-endpoints/anthropic/v1/messages", BEARER),
    ("deepinfra", "chat", "https://api.deepinfra.com/v1/openai/chat/completions", BEARER),
    ("deepinfra", "messages", "https://api.deepinfra.com/anthropic/v1/messages", X_API_KEY),
    ("huggingface", "chat", "https://router.huggingface.co/v1/chat/completions", BEARER),
    ("huggingface", "responses", "https://router.huggingface.co/v1/responses", BEARER),
    ("nebius", "chat", "https://api.tokenfactory.nebius.com/v1/chat/completions", BEARER),
    ("novita", "chat", "https://api.novita.ai/openai/v1/chat/completions", BEARER),
    ("ovhcloud", "chat", "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1/chat/completions", BEARER),
    ("qwen_cn", "chat", "https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions", BEARER),
    ("qwen_cn", "responses", "https://dashscope.aliyuncs.com/compatible-mode/v1/responses", BEARER),
    ("qwen_cn", "messages", "https://dashscope.aliyuncs.com/apps/anthropic/v1/messages", X_API_KEY),
    ("requesty", "chat", "https://router.requesty.ai/v1/chat/completions", BEARER),
    ("requesty", "messages", "https://router.requesty.ai/v1/messages", BEARER),
    ("sambanova", "chat", "https://api.sambanova.ai/v1/chat/completions", BEARER),
    ("scaleway", "chat", "https://api.scaleway.ai/v1/chat/completions", BEARER),
    ("scaleway", "responses", "https://api.scaleway.ai/v1/responses", BEARER),
    ("siliconflow", "chat", "https://api.siliconflow.com/v1/chat/completions", BEARER),
    ("snowflake", "chat", "https://base.test/api/v2/cortex/v1/chat/completions", BEARER),
    ("snowflake", "responses", "https://base.test/api/v2/cortex/v1/responses", BEARER),
    ("snowflake", "messages", "https://base.test/api/v2/cortex/v1/messages", BEARER),
    ("stepfun", "chat", "https://api.stepfun.com/v1/chat/completions", BEARER),
    ("stepfun", "responses", "https://api.stepfun.com/v1/responses", BEARER),
    ("stepfun", "messages", "https://api.stepfun.com/v1/messages", BEARER),
    ("venice", "chat", "https://api.venice.ai/api/v1/chat/completions", BEARER),
    ("venice", "responses", "https://api.venice.ai/api/v1/responses", BEARER),
    ("volcengine", "chat", "https://ark.cn-beijing.volces.com/api/v3/chat/completions", BEARER),
    ("volcengine", "responses", "https://ark.cn-beijing.volces.com/api/v3/responses", BEARER),
    ("zai", "chat", "https://api.z.ai/api/paas/v4/chat/completions", BEARER),
    ("zai", "messages", "https://api.z.ai/api/anthropic/v1/messages", X_API_KEY),
    ("llamacpp", "chat", "http://127.0.0.1:8080/v1/chat/completions", BEARER),
    ("llamacpp", "responses", "http://127.0.0.1:8080/v1/responses", BEARER),
    ("llamacpp", "messages", "http://127.0.0.1:8080/v1/messages", BEARER),
    ("sglang", "chat", "http://127.0.0.1:30000/v1/chat/completions", BEARER),
    ("sglang", "responses", "http://127.0.0.1:30000/v1/responses", BEARER),
    ("sglang", "messages", "http://127.0.0.1:30000/v1/messages", BEARER),
]


def target(name: str, model: str = "some-model", base_url: str | None = None, **more: object) -> Target:
    row = CATALOGUE[name]
    if base_url is None and row.base_url is None:
        base_url = "https://base.test"
    if base_url is not None and row.adapt is not None:
        row = row.adapt(urlsplit(base_url))
    entry = Entry(provider=row, model="*", name=f"{name}/*", base_url=base_url, **more)  # type: ignore[arg-type]
    return ModelIndex([entry]).resolve(f"{name}/{model}")


@pytest.mark.parametrize(("name", "dialect", "url", "header"), ENDPOINTS)
def test_each_dialect_is_asked_at_its_url_with_its_header(
    name: str, dialect: Dialect, url: str, header: tuple[str, str] | None
) -> None:
    row = CATALOGUE[name]
    assert target(name, apis=(dialect,)).endpoints[dialect, "create"].url == url
    assert credential(row.auth_for(dialect), Secret("k")) == header
    assert ("anthropic-version" in dict(row.headers_for(dialect))) == (dialect == "messages")


def test_the_table_above_has_every_row_and_dialect() -> None:
    assert {(name, dialect) for name, dialect, _, _ in ENDPOINTS} == {
        (name, dialect) for name, row in CATALOGUE.items() for dialect in row.paths
    }


PREFERRED: list[tuple[str, str]] = [
    # provider, and the upstream API used for clients of chat / messages / responses: C, M or R
    ("openai", "CCR"),
    ("anthropic", "MMM"),
    ("azure_openai", "CCR"),
    ("gemini", "CCC"),
    ("groq", "CCC"),
    ("mistral", "CCC"),
    ("deepseek", "CCC"),
    ("xai", "CCR"),
    ("moonshotai", "CCC"),
    ("zhipu", "CCC"),
    ("qwen", "CCC"),
    ("together_ai", "CCC"),
    ("xiaomi", "CCC"),
    ("digitalocean", "CCC"),
    ("vercel", "CMR"),
    ("openrouter", "CCC"),
    ("edenai", "CCC"),
    ("chatgpt", "RRR"),
    ("ollama", "CCC"),
    ("vllm", "CCC"),
    ("lmstudio", "CCC"),
    ("plano", "CCC"),
    ("demo", "CMR"),
    ("meta", "CMR"),
    ("perplexity", "RRR"),
    ("minimax", "CCC"),
    ("zai", "CCC"),
    ("databricks", "CCC"),
]


@pytest.mark.parametrize(("name", "used"), PREFERRED)
def test_a_client_is_served_over_its_own_dialect_or_the_preferred_one(name: str, used: str) -> None:
    found = target(name)
    assert "".join(found.dialect_for(dialect)[0].upper() for dialect in DIALECTS) == used


@pytest.mark.parametrize(
    ("model", "dialects"),
    [
        ("gpt-4o", ("chat", "responses")),
        ("gpt-5", ("chat", "responses")),
        ("gpt-5.2", ("chat", "responses")),
        ("gpt-5.4-mini", ("responses", "chat")),
        ("gpt-5.5", ("responses", "chat")),
        ("gpt-5.6-luna", ("responses", "chat")),
        ("gpt-6.2-sol", ("responses", "chat")),
        ("gpt-5-pro", ("responses",)),
        ("gpt-5.1-codex-max", ("responses",)),
        ("o3-deep-research", ("responses",)),
        ("o3", ("chat", "responses")),
        ("my-own", ("chat", "responses")),
    ],
)
def test_openais_models_are_served_over_the_apis_they_have(model: str, dialects: tuple[Dialect, ...]) -> None:
    assert target("openai", model).dialects == dialects
    assert set(target("openai", model).endpoints) >= {(dialect, "create") for dialect in dialects}


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://r.openai.azure.com", "https://r.openai.azure.com/openai/v1/chat/completions"),
        ("https://r.openai.azure.com/openai/v1/", "https://r.openai.azure.com/openai/v1/chat/completions"),
        (
            "https://r.openai.azure.com/openai/v1?api-version=preview",
            "https://r.openai.azure.com/openai/v1/chat/completions?api-version=preview",
        ),
        (
            "https://r.openai.azure.com?api-version=2024-10-21",
            "https://r.openai.azure.com/openai/deployments/d%2F1/chat/completions?api-version=2024-10-21",
        ),
        (
            "https://r.openai.azure.com/openai?api-version=2024-10-21",
            "https://r.openai.azure.com/openai/deployments/d%2F1/chat/completions?api-version=2024-10-21",
        ),
        (
            "https://r.openai.azure.com/openai/deployments",
            "https://r.openai.azure.com/openai/deployments/d%2F1/chat/completions?api-version=2025-01-01-preview",
        ),
        (
            "https://r.openai.azure.com/openai/deployments/mine",
            "https://r.openai.azure.com/openai/deployments/mine/chat/completions?api-version=2025-01-01-preview",
        ),
        (
            "https://apim.test/llm?api-version=2024-10-21",
            "https://apim.test/llm/d%2F1/chat/completions?api-version=2024-10-21",
        ),
    ],
)
def test_azures_two_kinds_of_url_are_told_apart(base_url: str, url: str) -> None:
    found = target("azure_openai", "d/1", base_url)
    assert found.endpoints["chat", "create"].url == url
    assert found.provider.name == "azure_openai"
    assert found.provider.auth_for("chat") == "api-key"
    assert found.dialects == (("chat",) if "deployments" in url or "apim" in url else ("chat", "responses"))


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("openai", "https://api.openai.com/v1/embeddings"),
        ("gemini", "https://generativelanguage.googleapis.com/v1beta/openai/embeddings"),
        ("mistral", "https://api.mistral.ai/v1/embeddings"),
        ("ollama", "http://127.0.0.1:11434/v1/embeddings"),
        ("groq", None),
        ("anthropic", None),
    ],
)
def test_embeddings_are_asked_where_there_are_any(name: str, url: str | None) -> None:
    found = target(name).endpoints.get(("chat", "embeddings"))
    assert (found and found.url) == url


def test_tokens_are_counted_where_there_is_a_count() -> None:
    assert (
        target("anthropic").endpoints["messages", "count_tokens"].url
        == "https://api.anthropic.com/v1/messages/count_tokens"
    )
    assert [name for name, row in CATALOGUE.items() if ("messages", "count_tokens") in row.operations] == [
        "anthropic",
        "demo",
    ]


@pytest.mark.parametrize("row", CATALOGUE.values(), ids=lambda row: row.name)
def test_a_row_is_in_itself_right(row: Provider) -> None:
    assert CATALOGUE[row.name] is row
    assert row.prefix == row.prefix.rstrip("/")
    assert all(path.startswith("/") for path in row.paths.values())
    assert set(row.speaks) <= set(row.paths)
    if row.base_url is not None:
        base = urlsplit(row.base_url)
        assert base.path == "", "its path is its prefix"
        assert base.scheme == ("http" if base.hostname in ("127.0.0.1", "demo.invalid") else "https")
    assert all(prefix.startswith("/") and prefix == prefix.rstrip("/") for prefix in row.prefixes.values())
    assert set(row.prefixes) <= set(row.paths)
    assert len(set(row.key_variables)) == len(row.key_variables)


def test_the_file_of_models_knows_rows_alone_and_lists_nothing_that_was_retired_by_its_date() -> None:
    assert {*KNOWN.models, *KNOWN.retired} <= set(CATALOGUE)
    for provider, models in KNOWN.models.items():
        assert len(set(models)) == len(models)
        retired = KNOWN.retired.get(provider, {})
        assert not {model for model in models if retired.get(model, date.max) <= KNOWN.dated}, provider


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("claude-3-haiku-20240307", 4_096),
        ("claude-3-5-sonnet-latest", 8_192),
        ("claude-opus-4-1-20250805", 32_000),
        ("claude-opus-4-5", 64_000),
        ("claude-opus-4-6", 128_000),
        ("claude-sonnet-4-5-20250929", 64_000),
        ("claude-haiku-5-5", 128_000),
        ("claude-something-new", None),
    ],
)
def test_the_most_that_claude_gives_is_known(model: str, tokens: int | None) -> None:
    assert target("anthropic", model).max_tokens == tokens
