"""The configurations that come with plano, and what `plano check` and the environment make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plano.config import from_environment, load
from plano.config.assemble import build_models
from plano.config.environment import DEFAULTS
from plano.config.report import describe
from plano.errors import ConfigError
from plano.providers import CATALOGUE
from plano.providers.known import KNOWN
from plano.types import Secret

FOLDER = Path(__file__).parents[2] / "config"
EXAMPLES = sorted([FOLDER / "plano_config.yaml", FOLDER / "resilience.yaml", *(FOLDER / "examples").glob("*.yaml")])
KEYS = {
    name: f"sk-planted-{name}"
    for name in (
        "OPENAI_API_KEY",
        "OPENAI_API_KEY_2",
        "ANTHROPIC_API_KEY",
        "GEMINI_API_KEY",
        "MISTRAL_API_KEY",
        "GROQ_API_KEY",
        "AZURE_OPENAI_API_KEY",
        "CUSTOM_API_KEY",
        "SEARCH_TEAM_KEY",
        "INTERN_KEY",
    )
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_loads_and_all_its_names_resolve(path: Path) -> None:
    config = load(path, KEYS)
    models = build_models(config)
    assert [models.resolve(alias).name for alias in config.aliases]
    assert models.listing()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_a_report_shows_no_key(path: Path) -> None:
    config = load(path, KEYS)
    assert "sk-planted" not in describe(config) + repr(config)


def test_the_default_configuration_needs_no_key_and_answers_by_itself() -> None:
    config = load(FOLDER / "plano_config.yaml", {})
    models = build_models(config)
    assert config.warnings == ()
    assert models.resolve(None).name == "demo/echo"
    for alias in ("fast-model", "smart-model", "dev.chat.v1", "arch.summarize.v1"):
        assert models.resolve(alias).provider.name == "demo"


def test_only_the_originals_example_has_keys_without_effect() -> None:
    found = {path.name: [problem.path for problem in load(path, KEYS).warnings] for path in EXAMPLES}
    assert {"routing_preferences", "overrides.disable_signals"} <= set(found.pop("original.yaml"))
    assert set(map(tuple, found.values())) == {()}


def test_a_report_says_what_would_happen() -> None:
    config = load(
        {
            "model_providers": [
                {"model": "openai/gpt-4o", "access_key": "sk-planted", "default": True},
                {"model": "azure_openai/gpt-4o", "base_url": "https://r.openai.azure.com?k=1", "name": "spare"},
                {"model": "anthropic/*", "passthrough_auth": True},
            ],
            "model_aliases": {"fast": {"target": "gpt-4o"}},
            "auth": {"keys": [{"name": "ci", "key": "0123456789abcdef", "models": ["fast"]}]},
            "listeners": [{"type": "model", "name": "a", "port": 8080, "timeout": "30s"}],
        },
        {},
    )
    lines = [" ".join(line.split()) for line in describe(config, pipeline=["auth", "mine", "alias"]).splitlines()]
    assert lines[:18] == [
        "configuration:",
        "not from a file",
        "listens on:",
        "127.0.0.1:8080, waits 5 s for a connection and 30 s for each piece of a reply",
        "callers:",
        "ci (fast)",
        "providers:",
        "openai/gpt-4o chat, responses https://api.openai.com/v1/chat/completions a key default",
        "spare chat, responses https://r.openai.azure.com/openai/v1/chat/completions no key",
        "anthropic/* messages https://api.anthropic.com/v1/messages the caller's credential",
        "names:",
        "openai/gpt-4o, gpt-4o",
        "azure_openai/gpt-4o, gpt-4o, spare",
        f"anthropic/<any>, and by their bare names: {', '.join(KNOWN.models['anthropic'])}",
        "aliases:",
        "fast -> openai/gpt-4o",
        "pipeline:",
        "auth -> mine -> alias -> upstream",
    ]
    assert describe(config).splitlines()[-3:] == [
        "warnings:",
        "  config: model_providers[2].passthrough_auth: sends callers' keys of `auth.keys` to this provider; "
        "give the entry an `access_key` instead",
        "  `gpt-4o` is a name of openai/gpt-4o, spare; openai/gpt-4o answers to it",
    ]


def test_a_report_says_the_candidates_of_each_name_and_what_makes_a_request_move_on() -> None:
    lines = [" ".join(line.split()) for line in describe(load(FOLDER / "resilience.yaml", KEYS)).splitlines()]
    said = lines[lines.index("aliases:") : lines.index("pipeline:")]
    assert said == [
        "aliases:",
        "cheap-model -> groq/openai/gpt-oss-20b",
        "smart-model -> openai/gpt-4o (80, 2 keys), azure_openai/gpt-4o (20); weighted",
        "then anthropic/claude-sonnet-4-5, after any, context_window",
        "then groq/openai/gpt-oss-20b, after any",
        "key pools:",
        "openai/gpt-4o 2 keys, weights 1, 2; another one after rate_limit, quota, credential",
        "attempts:",
        "at most 3, begun within 120 s",
        "at most 20 % of a target's requests, and 3 a second, are repeated at it",
        "a stream begins within 30 s, with reasoning within 120 s",
        "a client that waits for a stream is sent a comment every 15 s",
        "a stream brings 5 tokens in any 10 s",
        "limits:",
        "ratelimits[0]: 100000 tokens an hour for each x-user-id, of openai/gpt-4o",
        "tenants: 600 requests a minute, 20 in flight for each tenant",
        "lab: 500 dollars a month for tenant `lab`; when it is spent, cheap-model answers",
        "admission: at most 500 requests run at once, at most 250 of a tenant; 200 more wait for at most 2 s",
        "shared state: redis; while it does not answer, each process counts by itself",
    ]


TWO = {"model_providers": [{"model": "demo/a"}, {"model": "demo/b"}]}
BY = {"selector": {"by": "tenant"}}


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        ({}, []),
        ({"model_aliases": {"c": {"target": "a"}}}, ["aliases:", "c -> demo/a"]),
        (
            {
                "model_aliases": {
                    "c": {"target": "a", "fallbacks": [{"target": "b", "conditions": ["timeout", "quota"]}]}
                }
            },
            [
                "aliases:",
                "c -> demo/a",
                "then demo/b, after connect, timeout, quota",
                "attempts:",
                "at most 3 where a name has several keys, targets or fallbacks, else 1, begun within 120 s",
                "at most 20 % of a target's requests, and 3 a second, are repeated at it",
                "a stream begins within 30 s, with reasoning within 120 s",
            ],
        ),
        (
            {"listeners": [{"type": "model", "name": "a", "max_retries": 1}], "resilience": {"hedge": "3s"}},
            [
                "attempts:",
                "at most 2, begun within 120 s",
                "at most 20 % of a target's requests, and 3 a second, are repeated at it",
                "a stream begins within 30 s, with reasoning within 120 s",
                "a second target is asked too after 3 s without output; both are charged for",
            ],
        ),
        (
            {
                "ratelimits": [
                    {**BY, "model": "demo/*", "limit": {"input_tokens": 5, "output_tokens": 6, "period": "10s"}},
                    {"selector": {"key": "X-User", "value": "u"}, "limit": {"in_flight": 2}, "required": True},
                ],
                "budgets": [
                    {"name": "all", "selector": {"by": "entry"}, "limit": {"tokens": 7, "period": "24h"}},
                ],
                "admission": {"max_in_flight": 3},
                "shared_state": {"type": "redis", "url": "redis://:sk-planted@h", "on_failure": "closed"},
            },
            [
                "limits:",
                "ratelimits[0]: 5 input tokens in 10 s, 6 output tokens in 10 s for each tenant, of demo/*",
                "ratelimits[1]: 2 in flight for x-user `u`; requests without it are refused",
                "all: 7 tokens a day for each entry",
                "admission: at most 3 requests run at once; none waits",
                "shared state: redis; while it does not answer, requests are refused",
            ],
        ),
    ],
)
def test_a_report_says_what_is_configured_of_tries_and_limits(said: dict[str, Any], lines: list[str]) -> None:
    report = describe(load(TWO | said, {}))
    found = [" ".join(line.split()) for line in report.splitlines()]
    assert found[found.index("demo/b, b") + 1 : found.index("pipeline:")] == lines
    assert "sk-planted" not in report


def test_a_report_says_where_an_aliass_own_endpoint_is() -> None:
    alias = {"targets": [{"model": "a"}, {"model": "b", "endpoint": "https://eu.example/v1?key=sk-planted"}]}
    entries = [{"model": "openai/a", "access_key": "k"}, {"model": "openai/b", "access_key": "k"}]
    report = describe(load({"model_providers": entries, "model_aliases": {"c": alias}}, {}))
    assert "c  ->  openai/a (1), openai/b at eu.example (1); weighted" in report
    assert "sk-planted" not in report


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            {"model": "acme/m", "base_url": "http://a", "provider_interface": "openai"},
            "acme/m: its server is asked over responses, and over chat if it answers 404. If it has only chat, say so "
            "with `apis: [chat]`, else with `apis: [chat, responses]`",
        ),
        (
            {"model": "vercel/*", "base_url": "http://a", "name": "mine"},
            "mine: its server is asked over responses and messages, and over chat if it answers 404. If it has only "
            "chat, say so with `apis: [chat]`, else with `apis: [chat, responses, messages]`",
        ),
        ({"model": "acme/m", "base_url": "http://a", "provider_interface": "openai", "apis": ["chat"]}, None),
        ({"model": "openai/gpt-4o", "access_key": "k", "base_url": "https://api.openai.com/v1"}, None),
        ({"model": "azure_openai/d", "access_key": "k", "base_url": "https://r.openai.azure.com"}, None),
        ({"model": "vllm/m", "base_url": "http://a:8000"}, None),
        (
            {"model": "deepseek/deepseek-chat", "access_key": "k"},
            "deepseek/deepseek-chat: deepseek does not answer for `deepseek-chat` from 2026-07-24 on",
        ),
        (
            {"model": "openai/gpt-5", "access_key": "k"},
            "openai/gpt-5: openai does not answer for `gpt-5` from 2026-12-11 on",
        ),
        ({"model": "deepseek/deepseek-chat", "base_url": "http://a"}, None),
    ],
)
def test_a_report_warns_of_apis_that_are_assumed_and_of_models_that_are_gone(
    entry: dict[str, Any], said: str | None
) -> None:
    report = describe(load({"model_providers": [entry]}, {}))
    lines = [line.strip() for line in report.partition("warnings:")[2].splitlines() if line]
    assert lines == ([] if said is None else [said])


def test_the_environment_offers_every_provider_whose_key_is_set_and_the_demo() -> None:
    config = from_environment({"OPENAI_API_KEY": "sk-planted", "GROQ_API_KEY": "", "XAI_API_KEY": "x"})
    assert [entry.name for entry in config.providers] == [
        f"openai/{DEFAULTS['openai']}",
        "openai/*",
        "xai/*",
        "demo/*",
    ]
    models = build_models(config)
    assert models.resolve(None).provider.name == "openai"
    assert models.resolve("openai/anything").key is not None
    assert models.resolve("demo/echo").key is None
    assert "sk-planted" not in describe(config)


def test_the_blanks_around_an_environments_key_are_not_of_it() -> None:
    config = from_environment({"OPENAI_API_KEY": " sk-x\n", "GROQ_API_KEY": "\n"})
    assert {entry.name: entry.key for entry in config.providers if entry.model == "*"} == {
        "openai/*": Secret("sk-x"),
        "demo/*": None,
    }


def test_an_environments_key_that_no_header_can_carry_is_an_error_that_does_not_show_it() -> None:
    with pytest.raises(ConfigError) as caught:
        from_environment({"OPENAI_API_KEY": "sk-planted\n1", "GROQ_API_KEY": "sk-planted–1", "XAI_API_KEY": "x"})
    assert caught.value.problems == [
        "environment: GROQ_API_KEY: has a character that a header cannot carry",
        "environment: OPENAI_API_KEY: has a character that a header cannot carry",
    ]


def test_an_empty_environment_offers_the_demo() -> None:
    models = build_models(from_environment({}))
    assert models.resolve(None).name == "demo/echo"


def test_an_ollama_that_answers_is_offered() -> None:
    models = build_models(from_environment({}, ollama_answers=True))
    assert (
        models.resolve("ollama/llama3.2").endpoints["chat", "create"].url
        == "http://127.0.0.1:11434/v1/chat/completions"
    )


def test_a_variable_is_set_for_every_provider_that_could_be_offered() -> None:
    environ = {variable: "k" for row in CATALOGUE.values() for variable in row.key_variables}
    offered = {entry.provider for entry in from_environment(environ).providers}
    assert set(CATALOGUE) - offered == {
        *("azure_openai", "cloudflare", "databricks", "snowflake"),
        *("ollama", "vllm", "lmstudio", "llamacpp", "sglang", "plano"),
    }


def test_the_first_of_a_providers_variables_that_is_set_holds_its_key() -> None:
    def key(**environ: str) -> str | None:
        (entry,) = [each for each in from_environment(environ).providers if each.name == "gemini/*"]
        return entry.key and entry.key.reveal()

    assert key(GEMINI_API_KEY="a", GOOGLE_API_KEY="b") == "a"
    assert key(GEMINI_API_KEY="", GOOGLE_API_KEY="b") == "b"


@pytest.mark.parametrize(("provider", "model"), DEFAULTS.items())
def test_a_default_model_is_one_the_catalogue_knows(provider: str, model: str) -> None:
    assert model in KNOWN.models[provider]
    assert model not in KNOWN.retired.get(provider, {})
