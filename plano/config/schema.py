"""Every key that a configuration may have: its type, its default, and whether it has an effect.

`docs/configuration.md` says the same in words, and a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from plano.types import UPSTREAM_DIALECTS

Kind: TypeAlias = Literal[
    "text", "secret", "boolean", "integer", "number", "duration", "anything", "list", "map", "object", "either"
]

Effect: TypeAlias = Literal["used", "none", "refused"]
"""`none`: accepted with a warning that it has no effect yet. `refused`: katanemo's Plano has it and plano does not."""


class Key(Struct, frozen=True, kw_only=True):
    """The rules for the value of one key.

    Attributes:
        kind: its type.
        default: the value of a missing key; None for none.
        required: the key must be there.
        choices: the only allowed texts; empty if any text is allowed.
        least, most: the bounds of a number, both included.
        item: the rules for a list's items or a map's values.
        keys: the rules for an object's keys.
        open: an object may have other keys too.
        other: the rules for a mapping where the kind is `either`; `item` then has those for a list.
        in_header: the secret goes into a header: outer blanks are removed, and it must be ASCII.
        never_empty: the advice against an empty value, where that would be dangerous.
        effect: whether plano uses it.
    """

    kind: Kind
    default: Any = None
    required: bool = False
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    item: Key | None = None
    keys: Mapping[str, Key] = {}
    open: bool = False
    other: Key | None = None
    in_header: bool = False
    never_empty: str | None = None
    effect: Effect = "used"


def paths(keys: Mapping[str, Key], prefix: str = "") -> Iterator[tuple[str, Key]]:
    """Every key with its path: `model_providers[].name`, `model_aliases.<name>.target`."""
    for name, key in keys.items():
        yield from _paths(f"{prefix}{name}", key)


def _paths(path: str, key: Key) -> Iterator[tuple[str, Key]]:
    if key.kind == "either":
        assert key.item is not None, "`either` has rules for a list"
        assert key.other is not None, "`either` has rules for a mapping"
        yield path, key
        yield from list(_paths(path, key.item))[1:]
        yield from list(_paths(path, key.other))[1:]
        return
    yield path, key
    if key.item is not None and key.item.keys:
        yield from paths(key.item.keys, f"{path}{'[]' if key.kind == 'list' else '.<name>'}.")
    yield from paths(key.keys, f"{path}.")


def _text(default: str | None = None, **more: Any) -> Key:
    return Key(kind="text", default=default, **more)


def _boolean(default: bool = False, **more: Any) -> Key:
    return Key(kind="boolean", default=default, **more)


def _integer(default: int | None = None, *, least: int = 0, **more: Any) -> Key:
    return Key(kind="integer", default=default, least=least, **more)


def _number(**more: Any) -> Key:
    return Key(kind="number", **more)


def _duration(default: float, **more: Any) -> Key:
    return Key(kind="duration", default=default, **more)


def _list(item: Key, **more: Any) -> Key:
    return Key(kind="list", item=item, default=(), **more)


def _map(item: Key, **more: Any) -> Key:
    return Key(kind="map", item=item, default={}, **more)


def _object(keys: Mapping[str, Key], **more: Any) -> Key:
    return Key(kind="object", keys=keys, **more)


_SECRET = Key(kind="secret")
_ANYTHING = Key(kind="anything")
_PREFERENCE = {"name": _text(required=True), "description": _text(required=True)}

PROVIDER: Mapping[str, Key] = {
    "model": _text(required=True),
    "name": _text(),
    "access_key": Key(kind="secret", in_header=True),
    "default": _boolean(),
    "base_url": _text(),
    "apis": _list(_text(choices=UPSTREAM_DIALECTS)),
    "passthrough_auth": _boolean(),
    "provider_interface": _text(),
    "headers": _map(_SECRET),
    "http_host": _text(),
    "proxy": _SECRET,
    "http2": _boolean(),
    "routing_preferences": _list(_object(_PREFERENCE), effect="none"),
    "capabilities": Key(kind="anything", effect="none"),
}

LISTENER: Mapping[str, Key] = {
    "name": _text(required=True),
    "type": _text(required=True, choices=("model", "prompt", "agent")),
    "address": _text("127.0.0.1"),
    "port": _integer(12000, least=0, most=65535),
    "timeout": _duration(300.0),
    "max_retries": _integer(effect="none"),
    "input_filters": _list(_text()),
    "output_filters": _list(_text()),
    "router": _text(choices=("plano_orchestrator_v1",), effect="none"),
    "agents": Key(kind="anything", effect="refused"),
}

_LEGACY = _object(
    {
        "address": LISTENER["address"],
        "port": LISTENER["port"],
        "timeout": LISTENER["timeout"],
        "message_format": _text(choices=("openai",)),
    }
)

FILTER: Mapping[str, Key] = {
    "id": _text(required=True),
    "type": _text(choices=("python", "mcp", "http")),
    "use": _text(),
    "options": _map(_ANYTHING),
    "url": _text(),
    "transport": _text(),
    "tool": _text(),
}

CALLER: Mapping[str, Key] = {
    "name": _text(required=True),
    "key": Key(kind="secret", required=True, in_header=True),
    "tenant": _text(),
    "models": _list(_text(), never_empty="name models, or leave `models` out to allow every one"),
    "operator": _boolean(),
}

STATE_STORAGE: Mapping[str, Key] = {
    "type": _text(required=True, choices=("memory", "sqlite", "redis", "postgres", "none")),
    "connection_string": _SECRET,
    "url": _SECRET,
    "path": _text("plano-state.sqlite3"),
    "ttl_seconds": _number(least=1),
    "max_item_bytes": _integer(16 * 1024 * 1024, least=1),
    "max_chain_bytes": _integer(64 * 1024 * 1024, least=1),
    "max_bytes": _integer(16 * 1024 * 1024, least=1),
    "deadline_seconds": _number(default=2.0, least=0.001),
    "import_tenant": _text("default"),
    "chat_completions": _boolean(True),
    "upstream_store": Key(kind="boolean"),
}

PRICE: Mapping[str, Key] = {
    "input": _number(required=True, least=0),
    "output": _number(default=0.0, least=0),
    "cached_input": _number(least=0),
    "cache_creation": _number(least=0),
    "tiers": _list(
        _object(
            {
                "above": _integer(required=True),
                "input": _number(least=0),
                "output": _number(least=0),
                "cached_input": _number(least=0),
                "cache_creation": _number(least=0),
            }
        )
    ),
}

TRACING: Mapping[str, Key] = {
    "random_sampling": _integer(100, most=100),
    "opentracing_grpc_endpoint": _text(),
    "span_attributes": _object({"header_prefixes": _list(_text()), "static": _map(_text())}),
    "trace_arch_internal": _boolean(effect="none"),
    "exporters": _list(
        _object(
            {
                "type": _text(required=True, choices=("posthog",)),
                "url": _text(required=True),
                "api_key": Key(kind="secret", required=True),
                "enabled": _boolean(True),
                "distinct_id_header": _text(),
                "capture_messages": _boolean(),
            }
        ),
        effect="none",
    ),
}

ROOT: Mapping[str, Key] = {
    "version": _text(choices=("v0.1", "v0.1.0", "0.1-beta", "0.2.0", "v0.3.0", "v0.4.0")),
    "listeners": Key(
        kind="either",
        item=_list(_object(LISTENER)),
        other=_object({"egress_traffic": _LEGACY, "ingress_traffic": _LEGACY}),
    ),
    "model_providers": _list(_object(PROVIDER)),
    "llm_providers": _list(_object(PROVIDER)),
    "model_aliases": _map(_object({"target": _text(required=True)})),
    "auth": _object(
        {"keys": _list(_object(CALLER), required=True)},
        never_empty="name callers under `keys`, or leave `auth` out to let everybody in",
    ),
    "filters": _list(_object(FILTER)),
    "ui": Key(kind="boolean"),
    "strict_translation": _boolean(),
    "limits": _object(
        {
            "max_body_bytes": _integer(32 * 1024 * 1024, least=1),
            "body_seconds": _duration(60.0),
        }
    ),
    "drain": _object({"delay": _duration(0.0), "timeout": _duration(30.0)}),
    "log_level": _text("info", choices=("debug", "info", "warning", "error")),
    "overrides": _object(
        {
            "upstream_connect_timeout": _duration(5.0),
            "upstream_tls_ca_path": _text(),
            "upstream_tls_certificate": _text(),
            "upstream_tls_key": _text(),
            "prompt_target_intent_matching_threshold": _number(effect="none"),
            "optimize_context_window": _boolean(effect="none"),
            "use_agent_orchestrator": _boolean(effect="none"),
            "disable_signals": _boolean(effect="none"),
            "llm_routing_model": _text(effect="none"),
            "agent_orchestration_model": _text(effect="none"),
            "orchestrator_model_context_length": _integer(effect="none"),
        },
        open=True,
    ),
    "state_storage": _object(STATE_STORAGE),
    "metrics": _object(
        {
            "enabled": _boolean(True),
            "address": _text(),
            "port": _integer(most=65535),
            "auth": _boolean(),
            "stream_usage": _boolean(),
        }
    ),
    "log": _object(
        {"format": _text("auto", choices=("auto", "json", "text")), "access": _boolean(True), "bodies": _boolean()}
    ),
    "prices": _object({"file": _text(), "models": _map(_object(PRICE)), "package": _boolean()}),
    "tracing": _object(TRACING),
    "prompt_caching": _object(
        {
            "enabled": _boolean(),
            "session_affinity": _boolean(True),
            "inject_cache_control": _boolean(True),
            "min_prefix_tokens": _integer(1024, least=1),
            "session_ttl_seconds": _integer(least=1),
        },
        effect="none",
    ),
    "routing": _object(
        {
            "llm_provider": _text(),
            "model": _text(),
            "session_ttl_seconds": _integer(600, least=1),
            "session_max_entries": _integer(10000, least=1, most=10000),
            "session_cache": _object(
                {"type": _text("memory", choices=("memory", "redis")), "url": _SECRET, "tenant_header": _text()}
            ),
            "routing_budget": _object(
                {
                    "max_switch_spend_pct": _number(required=True, least=0, most=100),
                    "replenish_on_rebind": _boolean(True),
                    "cache_read_discount": _number(default=0.1, least=0, most=1),
                    "record_counterfactual": _boolean(),
                }
            ),
            "route_on_user_only": _boolean(),
        },
        effect="none",
    ),
    "routing_preferences": _list(
        _object(
            {
                **_PREFERENCE,
                "models": _list(_text(), required=True),
                "selection_policy": _object({"prefer": _text(required=True)}),
            }
        ),
        effect="none",
    ),
    "ratelimits": _list(
        _object(
            {
                "model": _text(required=True),
                "selector": _object({"key": _text(required=True), "value": _text(required=True)}, required=True),
                "limit": _object(
                    {
                        "tokens": _integer(required=True),
                        "unit": _text(required=True, choices=("second", "minute", "hour", "day")),
                    },
                    required=True,
                ),
            }
        ),
        effect="none",
    ),
    "model_metrics_sources": _list(
        _object(
            {
                "type": _text(required=True, choices=("cost", "latency")),
                "provider": _text(required=True, choices=("digitalocean", "models.dev", "prometheus")),
                "url": _text(),
                "query": _text(),
                "refresh_interval": _integer(least=1),
                "model_aliases": _map(_text()),
            }
        ),
        effect="none",
    ),
    "prompt_targets": Key(kind="anything", effect="refused"),
    "prompt_guards": Key(kind="anything", effect="refused"),
    "mode": Key(kind="anything", effect="refused"),
    "system_prompt": Key(kind="anything", effect="refused"),
    "endpoints": Key(kind="anything", effect="refused"),
    "agents": Key(kind="anything", effect="refused"),
}
"""The keys of a configuration's root."""

ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    "filter_chain": ("input_filters",),
    "api_key": ("access_key",),
    "key": ("access_key",),
    "models": ("model", "model_providers"),
    "providers": ("model_providers",),
    "aliases": ("model_aliases",),
    "api_base": ("base_url",),
    "url": ("base_url",),
}
"""Wrong names that people write, with the right keys, where those are too different to be found by similarity."""
