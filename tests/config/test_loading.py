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
from plano.state import StateSettings
from plano.types import Caller, Secret

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
