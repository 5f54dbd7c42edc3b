"""What a right configuration comes to."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import certifi
import pytest

from plano.config import Config, load
from plano.config.assemble import build_models
from plano.config.settings import Limits, Listener, ProviderEntry, Tls, Tracing
from plano.config.variables import substitute
from plano.errors import UPSTREAM_FAILURES
from plano.limits.settings import Admission, Budget, Rule, Selector, SharedState
from plano.routing.settings import ANY, AliasEntry, AliasFallback, AliasTarget
from plano.state import StateSettings
from plano.types import Caller, Secret
from plano.upstream.settings import MinimumRate, Resilience

DEMO: dict[str, Any] = {"model_providers": [{"model": "demo/echo"}]}


def loaded(tmp_path: Path, text: str, **environ: str) -> Config:
    path = tmp_path / "plano_config.yaml"
    path.write_text(dedent(text), encoding="utf-8")
    return load(path, environ)


def test_what_is_not_said_has_its_default() -> None:
    config = load(DEMO, {})
    assert config == Config(providers=(ProviderEntry(provider="demo", model="echo", name="demo/echo"),))
    assert config.listener == Listener(address="127.0.0.1", port=12000, timeout=300.0)
    assert config.limits == Limits(max_body_bytes=33_554_432, body_seconds=60.0)
    assert config.state_storage == StateSettings(type="memory")
    assert (config.log_level, config.strict_translation, config.callers, config.warnings) == ("info", False, (), ())


def test_a_file_and_a_dictionary_say_the_same(tmp_path: Path) -> None:
    config = loaded(tmp_path, "model_providers:\n- model: demo/echo\n")
    assert config.file == str(tmp_path / "plano_config.yaml")
    assert (config.providers, config.listener) == (load(DEMO, {}).providers, load(DEMO, {}).listener)


def test_every_key_of_an_entry_is_read(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        """\
        model_providers:
        - model: acme/llama/70b
          name: mine
          access_key: $ACME_KEY
          default: true
          base_url: https://${ACME_HOST:-llm.acme.example}/api/v2?team=a
          apis: [responses, chat, chat]
          provider_interface: claude
          http_host: inner.acme.example
          proxy: http://user:hunter2@proxy:3128
          headers:
            X-Org: $ORG
        """,
        ACME_KEY="sk-a",
        ORG="o-1",
    )
    assert config.providers == (
        ProviderEntry(
            provider="acme",
            model="llama/70b",
            name="mine",
            key=Secret("sk-a"),
            default=True,
            base_url="https://llm.acme.example/api/v2?team=a",
            apis=("responses", "chat"),
            interface="claude",
            http_host="inner.acme.example",
            proxy=Secret("http://user:hunter2@proxy:3128"),
            headers={"x-org": Secret("o-1")},
        ),
    )
    target = build_models(config).resolve(None)
    assert target.name == "acme/llama/70b"
    assert target.endpoints["responses", "create"].url == "https://llm.acme.example/api/v2/responses?team=a"
    assert target.headers == (("x-org", "o-1"),)
    assert (target.host_header, target.proxy) == ("inner.acme.example", "http://user:hunter2@proxy:3128")
    assert "sk-a" not in repr(config) + repr(target)
    assert "hunter2" not in repr(config) + repr(target)
    assert "o-1" not in repr(config) + repr(target)


def test_a_literal_key_works_and_a_dollar_in_it_is_written_twice() -> None:
    entry = {"model": "openai/gpt-4o", "access_key": "sk-li$$teral"}
    assert load({"model_providers": [entry]}, {}).providers[0].key == Secret("sk-li$teral")


@pytest.mark.parametrize(
    ("text", "filled", "missing"),
    [
        ("$A", "1", []),
        ("${A}", "1", []),
        ("x-${A}-$A/y", "x-1-1/y", []),
        ("${A:-2}", "1", []),
        ("${NO:-2}", "2", []),
        ("${NO:-}", "", []),
        ("${EMPTY:-2}", "2", []),
        ("$EMPTY", "", []),
        ("$NO and ${NOT}", " and ", ["NO", "NOT"]),
        ("$$A", "$A", []),
        ("5$", "5$", []),
        ("$5", "$5", []),
        ("${A", "${A", []),
        ("${}", "${}", []),
        ("$A_B", "", ["A_B"]),
    ],
)
def test_variables_are_filled_in_as_in_a_shell(text: str, filled: str, missing: list[str]) -> None:
    assert substitute(text, {"A": "1", "EMPTY": ""}) == (filled, missing)


def test_numbers_and_flags_may_come_from_variables(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        """\
        strict_translation: $STRICT
        limits: {max_body_bytes: "${BYTES:-1024}"}
        listeners: [{type: model, name: a, port: $PORT, timeout: $TIMEOUT}]
        model_providers: [{model: demo/echo}]
        """,
        STRICT="true",
        PORT="8080",
        TIMEOUT="90s",
    )
    assert config.strict_translation is True
    assert config.limits.max_body_bytes == 1024
    assert config.listener == Listener(name="a", port=8080, timeout=90.0)


@pytest.mark.parametrize("said", ["$KEY", "${KEY}", " $KEY\n", "sk-0123456789abcdef\r\n", "\tsk-0123456789abcdef"])
def test_the_blanks_around_a_key_are_not_of_it(said: str) -> None:
    config = load(
        {
            "model_providers": [{"model": "openai/gpt-4o", "access_key": said}],
            "auth": {"keys": [{"name": "a", "key": said}]},
        },
        {"KEY": " sk-0123456789abcdef\n"},
    )
    assert config.providers[0].key == Secret("sk-0123456789abcdef")
    assert config.callers == ((Caller(name="a", tenant="a"), Secret("sk-0123456789abcdef")),)


def test_an_empty_key_is_no_key() -> None:
    for said in ("", "${NO:-}", " \n", None):
        entry = {"model": "ollama/llama3", "access_key": said}
        assert load({"model_providers": [entry]}, {}).providers[0].key is None


@pytest.mark.parametrize(
    ("said", "seconds"), [("30s", 30.0), ("500ms", 0.5), ("5m", 300.0), ("1h", 3600.0), ("0.25s", 0.25), (45, 45.0)]
)
def test_a_listeners_timeout_is_for_the_first_byte_and_between_pieces(said: object, seconds: float) -> None:
    config = load(DEMO | {"listeners": [{"type": "model", "name": "a", "timeout": said}]}, {})
    assert (config.timeouts.first_byte, config.timeouts.idle) == (seconds, seconds)
    assert config.timeouts.connect == 5.0


def test_the_older_form_of_listeners_is_the_same_listener() -> None:
    said = {"egress_traffic": {"address": "0.0.0.0", "port": 9, "message_format": "openai", "timeout": "30s"}}
    assert load(DEMO | {"listeners": said}, {}).listener == Listener(
        name="egress_traffic", address="0.0.0.0", port=9, timeout=30.0
    )


def test_llm_providers_is_an_old_name() -> None:
    assert load({"llm_providers": DEMO["model_providers"]}, {}).providers == load(DEMO, {}).providers


def test_overrides_reach_the_transport(tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    authorities.write_bytes(Path(certifi.where()).read_bytes())
    said = {"upstream_connect_timeout": "10s", "upstream_tls_ca_path": str(authorities)}
    config = load(DEMO | {"overrides": said}, {})
    assert config.timeouts.connect == 10.0
    assert config.tls == Tls(ca_path=str(authorities))


def test_callers_have_a_tenant_each_unless_they_share_one() -> None:
    keys = [
        {"name": "a", "key": "$A"},
        {"name": "b", "key": "bbbbbbbbbbbbbbbbb", "tenant": "shared", "models": ["echo", "fast"]},
    ]
    config = load(
        DEMO | {"auth": {"keys": keys}, "model_aliases": {"fast": {"target": "echo"}}}, {"A": "aaaaaaaaaaaaaaaaa"}
    )
    assert config.callers == (
        (Caller(name="a", tenant="a"), Secret("aaaaaaaaaaaaaaaaa")),
        (Caller(name="b", tenant="shared", models=frozenset({"echo", "fast"})), Secret("bbbbbbbbbbbbbbbbb")),
    )


@pytest.mark.parametrize(
    ("said", "settings"),
    [
        ({}, Resilience()),
        ({"max_attempts": 5}, Resilience(max_attempts=5)),
        (
            {"deadline": "60s", "retry_budget": 0.1, "first_output": "500ms", "first_output_reasoning": "5m"},
            Resilience(deadline=60.0, retry_budget=0.1, first_output=0.5, first_output_reasoning=300.0),
        ),
        ({"keepalive": "15s", "hedge": {"after": "3s"}}, Resilience(keepalive=15.0, hedge=3.0)),
        ({"keepalive": False, "hedge": False}, Resilience()),
        ({"keepalive": "$OFF", "hedge": "$OFF"}, Resilience()),
        ({"hedge": "3s"}, Resilience(hedge=3.0)),
        ({"hedge": 3}, Resilience(hedge=3.0)),
        ({"minimum_rate": {"tokens": 5, "over": "10s"}}, Resilience(minimum_rate=MinimumRate(tokens=5, over=10.0))),
    ],
)
def test_resilience_is_the_settings_of_tries(said: dict[str, Any], settings: Resilience) -> None:
    assert load(DEMO | {"resilience": said}, {"OFF": "false"}).resilience == settings


def test_what_is_off_in_a_file_is_off(tmp_path: Path) -> None:
    text = "model_providers: [{model: demo/echo}]\nresilience: {keepalive: no, hedge: off}\n"
    assert loaded(tmp_path, text).resilience == Resilience()


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (2, 3), (None, None)])
def test_retries_of_a_listener_are_attempts_after_the_first(retries: int | None, attempts: int | None) -> None:
    listener = {"type": "model", "name": "a", "max_retries": retries}
    assert load(DEMO | {"listeners": [listener]}, {}).resilience.max_attempts == attempts


def test_a_pool_of_keys_has_weights_and_its_keys_are_secrets() -> None:
    entry = {"model": "openai/a", "access_keys": ["$A", " sk-b\n", {"key": "sk-c", "weight": 2.5}]}
    config = load({"model_providers": [entry]}, {"A": "sk-a"})
    keys = ((Secret("sk-a"), 1.0), (Secret("sk-b"), 1.0), (Secret("sk-c"), 2.5))
    assert (config.providers[0].key, config.providers[0].keys) == (None, keys)
    assert config.secrets() == [key for key, _ in keys]
    assert "sk-" not in repr(config)
    (group,) = build_models(config).groups("openai/a")
    assert [target.key for target in group.members[0].keys] == [key for key, _ in keys]
    assert group.members[0].key_weights == (1.0, 1.0, 2.5)


def test_a_pool_of_one_key_is_a_key() -> None:
    config = load({"model_providers": [{"model": "openai/a", "access_keys": [{"key": "k", "weight": 2}]}]}, {})
    assert (config.providers[0].key, config.providers[0].keys) == (Secret("k"), ())
    assert config.warnings == ()


def test_an_entrys_own_bounds_and_fields_reach_its_target() -> None:
    entry = {
        "model": "demo/echo",
        "max_in_flight": 20,
        "context_window": 128000,
        "timeout": "2m",
        "first_output": "5s",
        "defaults": {"temperature": 0.2, "stop": ["$WORD", None]},
        "overrides": {"max_tokens": 100, "extra": {"a": True}, "user": None},
    }
    target = build_models(load({"model_providers": [entry]}, {"WORD": "end"})).resolve("echo")
    assert (target.max_in_flight, target.context_window, target.timeout, target.first_output) == (
        20,
        128000,
        120.0,
        5.0,
    )
    assert target.defaults == (("temperature", b"0.2"), ("stop", b'["end",null]'))
    assert target.overrides == (("max_tokens", b"100"), ("extra", b'{"a":true}'), ("user", b"null"))


TWO = {"model_providers": [{"model": "demo/a"}, {"model": "demo/b"}]}


@pytest.mark.parametrize(
    ("words", "failures"),
    [
        (None, ANY),
        (["any"], ANY),
        (["any", "context_window"], ANY | {"context_window"}),
        (["content_filter"], {"content_filter"}),
        (["quota_exceeded"], {"rate_limit", "quota"}),
        (["timeout"], {"timeout", "connect"}),
        (["connect"], {"connect"}),
        (["server", "overloaded"], {"server", "overloaded"}),
        (["primary_and_first_fallback_failed"], ANY),
        (["primary_and_first_fallback_failed", "server"], {"server"}),
    ],
)
def test_conditions_are_classes_of_failures(words: list[str] | None, failures: set[str]) -> None:
    fallback = {"target": "b"} | ({} if words is None else {"conditions": words})
    config = load(TWO | {"model_aliases": {"c": {"target": "a", "fallbacks": [fallback]}}}, {})
    assert config.aliases["c"].fallbacks == (AliasFallback(target="b", conditions=frozenset(failures)),)  # type: ignore[arg-type]


def test_any_failure_is_all_that_another_model_may_answer_after() -> None:
    assert set(UPSTREAM_FAILURES) - {"invalid", "broken_stream", "context_window", "content_filter"} == ANY


def test_an_alias_has_targets_and_fallbacks() -> None:
    aliases = {
        "one": {"target": "a"},
        "many": {
            "targets": [{"model": "a", "weight": 80}, {"model": "b", "endpoint": "https://eu.example"}],
            "load_balance": {"algorithm": "least_connections"},
            "fallbacks": ["one", {"target": "b"}],
        },
    }
    entries = [{"model": "openai/a", "access_key": "k"}, {"model": "openai/b", "access_key": "k"}]
    config = load({"model_providers": entries, "model_aliases": aliases}, {})
    assert config.aliases == {
        "one": AliasEntry(targets=(AliasTarget(model="a"),)),
        "many": AliasEntry(
            targets=(AliasTarget(model="a", weight=80), AliasTarget(model="b", endpoint="https://eu.example")),
            algorithm="least_connections",
            fallbacks=(AliasFallback(target="one", conditions=ANY), AliasFallback(target="b", conditions=ANY)),
        ),
    }
    assert config.warnings == ()
    groups = build_models(config).groups("many")
    assert [[member.target.name for member in group.members] for group in groups] == [
        ["openai/a", "openai/b"],
        ["openai/a"],
        ["openai/b"],
    ]


def test_an_alias_that_several_lead_to_is_no_cycle() -> None:
    aliases = {
        "end": {"target": "a"},
        "left": {"target": "b", "fallbacks": ["end"]},
        "top": {"target": "left", "fallbacks": ["end"]},
    }
    config = load(TWO | {"model_aliases": aliases}, {})
    assert [group.members[0].target.model for group in build_models(config).groups("top")] == ["b", "a", "a"]


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        (
            {"model": "demo/a", "selector": {"key": "X-User-Id", "value": "*"}, "limit": {"tokens": 9, "unit": "hour"}},
            Rule(
                name="ratelimits[0]",
                selector=Selector(by="header", header="x-user-id"),
                model="demo/a",
                tokens=9,
                period=3600.0,
            ),
        ),
        (
            {"model": "a", "selector": {"key": "x", "value": 7}, "limit": {"requests": 2, "period": "90s"}},
            Rule(
                name="ratelimits[0]",
                selector=Selector(by="header", header="x", value="7"),
                model="demo/a",
                requests=2,
                period=90.0,
            ),
        ),
        (
            {"name": "n", "model": "*", "selector": {"by": "caller"}, "limit": {"in_flight": 2}},
            Rule(name="n", selector=Selector(by="caller"), in_flight=2),
        ),
        (
            {
                "model": "demo/*",
                "selector": {"by": "entry", "value": "demo/a"},
                "limit": {"input_tokens": 3, "output_tokens": 4, "unit": "second"},
            },
            Rule(
                name="ratelimits[0]",
                selector=Selector(by="entry", value="demo/a"),
                model="demo/*",
                input_tokens=3,
                output_tokens=4,
                period=1.0,
            ),
        ),
        (
            {"selector": {"key": "x"}, "limit": {"requests": 2, "in_flight": 1, "unit": "day"}, "required": True},
            Rule(
                name="ratelimits[0]",
                selector=Selector(by="header", header="x"),
                requests=2,
                in_flight=1,
                period=86400.0,
                required=True,
            ),
        ),
        (
            {"selector": {"by": "tenant", "value": "of-the-application"}, "limit": {"requests": 2, "unit": "minute"}},
            Rule(name="ratelimits[0]", selector=Selector(by="tenant", value="of-the-application"), requests=2),
        ),
    ],
)
def test_a_rule_is_read_in_the_originals_form_and_in_planos(said: dict[str, Any], rule: Rule) -> None:
    config = load(TWO | {"ratelimits": [said]}, {})
    assert (config.rules, config.warnings) == ((rule,), ())


@pytest.mark.parametrize(
    ("said", "budget"),
    [
        (
            {"selector": {"by": "tenant", "value": "lab"}, "limit": {"dollars": 0.5, "unit": "week"}, "fallback": "b"},
            Budget(name="n", selector=Selector(by="tenant", value="lab"), dollars=0.5, unit="week", fallback="b"),
        ),
        (
            {"model": "a", "selector": {"key": "X"}, "limit": {"tokens": 5, "period": "30m"}, "reserve_output": 9},
            Budget(
                name="n",
                selector=Selector(by="header", header="x"),
                model="demo/a",
                tokens=5,
                unit=None,
                period=1800.0,
                reserve_output=9,
            ),
        ),
    ],
)
def test_a_budget_is_read(said: dict[str, Any], budget: Budget) -> None:
    prices = {"models": {"demo/a": {"input": 1}, "demo/b": {"input": 0}}}
    config = load(TWO | {"budgets": [{"name": "n"} | said], "prices": prices}, {})
    assert (config.budgets, config.warnings) == ((budget,), ())


@pytest.mark.parametrize(
    ("models", "prices", "budget"),
    [
        (["demo/*"], ["demo/*"], {}),
        (["demo/*"], ["demo/a"], {"model": "demo/a"}),
        (["demo/*", "demo/a"], ["demo/a"], {"model": "demo/a"}),
        (["demo/a", "demo/b"], ["demo/a"], {"model": "a"}),
        (["demo/a", "demo/b"], ["demo/a"], {"selector": {"by": "entry", "value": "demo/a"}}),
        (["demo/a", "demo/b"], ["demo/a", "demo/b"], {"model": "demo/a", "fallback": "b"}),
        (["demo/a"], [], {"limit": {"tokens": 5, "unit": "day"}}),
    ],
)
def test_a_budget_in_dollars_needs_the_prices_of_what_it_covers(
    models: list[str], prices: list[str], budget: dict[str, Any], tmp_path: Path
) -> None:
    said = {"name": "n", "selector": {"by": "tenant"}, "limit": {"dollars": 5, "unit": "day"}} | budget
    config = {"model_providers": [{"model": model} for model in models], "budgets": [said]}
    file = tmp_path / "prices.yaml"
    file.write_text("".join(f"{name}: {{input: 1}}\n" for name in prices))
    assert load(config | {"prices": {"models": {name: {"input": 1} for name in prices}}}, {}).budgets
    assert load(config | {"prices": {"file": str(file)}}, {}).budgets


def test_admission_and_shared_state_are_read() -> None:
    said = {
        "admission": {"max_in_flight": 500, "queue": 200, "queue_wait": "3s", "per_tenant": 100},
        "shared_state": {"type": "redis", "url": "redis://:$PASS@h", "on_failure": "open"},
        "ratelimits": [{"selector": {"by": "tenant"}, "limit": {"in_flight": 2}}],
    }
    config = load(DEMO | said, {"PASS": "hunter2"})
    assert config.admission == Admission(max_in_flight=500, queue=200, queue_wait=3.0, per_tenant=100)
    assert config.shared_state == SharedState(type="redis", url=Secret("redis://:hunter2@h"), on_failure="open")
    assert config.secrets() == [Secret("redis://:hunter2@h")]
    assert config.warnings == ()
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize(
    ("said", "settings"),
    [
        ({"type": "memory", "max_bytes": 5}, StateSettings(type="memory", max_bytes=5)),
        (
            {"type": "postgres", "connection_string": "postgresql://u:$PASS@h/d"},
            StateSettings(type="postgres", connection_string=Secret("postgresql://u:p@h/d")),
        ),
        (
            {"type": "redis", "url": "redis://h", "ttl_seconds": 60, "deadline_seconds": 0.5},
            StateSettings(type="redis", url=Secret("redis://h"), ttl_seconds=60, deadline_seconds=0.5),
        ),
        ({"type": "sqlite", "path": "a.db"}, StateSettings(type="sqlite", path="a.db")),
        ({"type": "none"}, None),
    ],
)
def test_state_storage_is_the_stores_settings(said: dict[str, Any], settings: StateSettings | None) -> None:
    config = load(DEMO | {"state_storage": said}, {"PASS": "p"})
    assert config.state_storage == settings
    assert config.chat_completions_continue is True


def test_chat_completions_can_be_left_out_of_the_store() -> None:
    config = load(DEMO | {"state_storage": {"type": "memory", "chat_completions": False}}, {})
    assert config.chat_completions_continue is False


def test_tracing_is_read_as_the_original_writes_it() -> None:
    said = {
        "random_sampling": 1,
        "opentracing_grpc_endpoint": "http://h:4317",
        "span_attributes": {"header_prefixes": ["x-"], "static": {"env": "prod"}},
    }
    assert load(DEMO | {"tracing": said}, {}).tracing == Tracing(
        random_sampling=1, endpoint="http://h:4317", header_prefixes=("x-",), static={"env": "prod"}
    )


def test_filters_run_in_the_listeners_order() -> None:
    filters = [{"id": name, "use": f"m:{name}", "options": {"to": "$X", "n": 1}} for name in ("A", "B", "C")]
    listener = {"type": "model", "name": "l", "input_filters": ["C", "A"], "output_filters": ["B", "A"]}
    config = load(DEMO | {"filters": filters, "listeners": [listener]}, {"X": "x"})
    assert [entry.id for entry in config.filters] == ["C", "A", "B"]
    assert config.filters[0].options == {"to": "x", "n": 1}
    without = load(DEMO | {"filters": filters}, {"X": "x"})
    assert [entry.id for entry in without.filters] == ["A", "B", "C"]


def test_yamls_anchors_and_merges_work(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        """\
        model_providers:
        - &first {model: demo/a, headers: {X-A: "1"}}
        - <<: *first
          model: demo/b
        """,
    )
    assert [(entry.model, entry.headers) for entry in config.providers] == [
        ("a", {"x-a": Secret("1")}),
        ("b", {"x-a": Secret("1")}),
    ]


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(AttributeError):
        load(DEMO, {}).log_level = "debug"  # type: ignore[misc]
