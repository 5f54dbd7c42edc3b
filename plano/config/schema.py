"""Every key that a configuration may have: its type, its default, and whether it has an effect.

`docs/configuration.md` says the same in words, and a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping

from plano.config.keys import (
    ANYTHING,
    SECRET,
    Key,
    boolean,
    duration,
    either,
    integer,
    list_of,
    map_of,
    mapping,
    number,
    text,
)
from plano.config.limits_schema import ADMISSION, BUDGET, RATELIMIT, RESILIENCE, SHARED_STATE
from plano.routing.settings import ALGORITHMS, CONDITIONS
from plano.types import UPSTREAM_DIALECTS

_PREFERENCE = {"name": text(required=True), "description": text(required=True)}

_POOLED = Key(kind="secret", required=True, in_header=True)

PROVIDER: Mapping[str, Key] = {
    "model": text(required=True),
    "name": text(),
    "access_key": Key(kind="secret", in_header=True),
    "access_keys": list_of(
        either(_POOLED, mapping({"key": _POOLED, "weight": number(default=1.0, least=0)})),
        never_empty="name keys, or leave `access_keys` out",
    ),
    "default": boolean(),
    "base_url": text(),
    "apis": list_of(text(choices=UPSTREAM_DIALECTS)),
    "passthrough_auth": boolean(),
    "provider_interface": text(),
    "headers": map_of(SECRET),
    "http_host": text(),
    "proxy": SECRET,
    "http2": boolean(),
    "max_in_flight": integer(least=1),
    "context_window": integer(least=1),
    "timeout": duration(),
    "first_output": duration(),
    "defaults": map_of(ANYTHING),
    "overrides": map_of(ANYTHING),
    "routing_preferences": list_of(mapping(_PREFERENCE), effect="none"),
    "capabilities": Key(kind="anything", effect="none"),
}

LISTENER: Mapping[str, Key] = {
    "name": text(required=True),
    "type": text(required=True, choices=("model", "prompt", "agent")),
    "address": text("127.0.0.1"),
    "port": integer(12000, least=0, most=65535),
    "timeout": duration(300.0),
    "max_retries": integer(),
    "input_filters": list_of(text()),
    "output_filters": list_of(text()),
    "router": text(choices=("plano_orchestrator_v1",), effect="none"),
    "agents": Key(kind="anything", effect="refused"),
}

_LEGACY = mapping(
    {
        "address": LISTENER["address"],
        "port": LISTENER["port"],
        "timeout": LISTENER["timeout"],
        "message_format": text(choices=("openai",)),
    }
)

ALIAS: Mapping[str, Key] = {
    "target": text(),
    "targets": list_of(
        mapping({"model": text(required=True), "weight": number(default=1.0, least=0), "endpoint": text()}),
        never_empty="name models",
    ),
    "load_balance": mapping({"algorithm": text("weighted", choices=ALGORITHMS)}),
    "fallbacks": list_of(
        either(
            text(),
            mapping(
                {
                    "target": text(required=True),
                    "conditions": list_of(
                        text(choices=tuple(CONDITIONS)), never_empty="name failures, or leave it out for `any`"
                    ),
                }
            ),
        )
    ),
    "guardrails": Key(kind="anything", effect="none"),
}

FILTER: Mapping[str, Key] = {
    "id": text(required=True),
    "type": text(choices=("python", "mcp", "http")),
    "use": text(),
    "options": map_of(ANYTHING),
    "url": text(),
    "transport": text(),
    "tool": text(),
}

CALLER: Mapping[str, Key] = {
    "name": text(required=True),
    "key": Key(kind="secret", required=True, in_header=True),
    "tenant": text(),
    "models": list_of(text(), never_empty="name models, or leave `models` out to allow every one"),
    "operator": boolean(),
}

STATE_STORAGE: Mapping[str, Key] = {
    "type": text(required=True, choices=("memory", "sqlite", "redis", "postgres", "none")),
    "connection_string": SECRET,
    "url": SECRET,
    "path": text("plano-state.sqlite3"),
    "ttl_seconds": number(least=1),
    "max_item_bytes": integer(16 * 1024 * 1024, least=1),
    "max_chain_bytes": integer(64 * 1024 * 1024, least=1),
    "max_bytes": integer(16 * 1024 * 1024, least=1),
    "deadline_seconds": number(default=2.0, least=0.001),
    "import_tenant": text("default"),
    "chat_completions": boolean(True),
    "upstream_store": Key(kind="boolean"),
}

PRICE: Mapping[str, Key] = {
    "input": number(required=True, least=0),
    "output": number(default=0.0, least=0),
    "cached_input": number(least=0),
    "cache_creation": number(least=0),
    "tiers": list_of(
        mapping(
            {
                "above": integer(required=True),
                "input": number(least=0),
                "output": number(least=0),
                "cached_input": number(least=0),
                "cache_creation": number(least=0),
            }
        )
    ),
}

TRACING: Mapping[str, Key] = {
    "random_sampling": integer(100, most=100),
    "opentracing_grpc_endpoint": text(),
    "span_attributes": mapping({"header_prefixes": list_of(text()), "static": map_of(text())}),
    "trace_arch_internal": boolean(effect="none"),
    "exporters": list_of(
        mapping(
            {
                "type": text(required=True, choices=("posthog",)),
                "url": text(required=True),
                "api_key": Key(kind="secret", required=True),
                "enabled": boolean(True),
                "distinct_id_header": text(),
                "capture_messages": boolean(),
            }
        ),
        effect="none",
    ),
}

ROOT: Mapping[str, Key] = {
    "version": text(choices=("v0.1", "v0.1.0", "0.1-beta", "0.2.0", "v0.3.0", "v0.4.0")),
    "listeners": Key(
        kind="either",
        item=list_of(mapping(LISTENER)),
        other=mapping({"egress_traffic": _LEGACY, "ingress_traffic": _LEGACY}),
    ),
    "model_providers": list_of(mapping(PROVIDER)),
    "llm_providers": list_of(mapping(PROVIDER)),
    "model_aliases": map_of(mapping(ALIAS)),
    "auth": mapping(
        {"keys": list_of(mapping(CALLER), required=True)},
        never_empty="name callers under `keys`, or leave `auth` out to let everybody in",
    ),
    "filters": list_of(mapping(FILTER)),
    "ui": Key(kind="boolean"),
    "strict_translation": boolean(),
    "limits": mapping(
        {
            "max_body_bytes": integer(32 * 1024 * 1024, least=1),
            "body_seconds": duration(60.0),
        }
    ),
    "drain": mapping({"delay": duration(0.0), "timeout": duration(30.0)}),
    "log_level": text("info", choices=("debug", "info", "warning", "error")),
    "overrides": mapping(
        {
            "upstream_connect_timeout": duration(5.0),
            "upstream_tls_ca_path": text(),
            "upstream_tls_certificate": text(),
            "upstream_tls_key": text(),
            "prompt_target_intent_matching_threshold": number(effect="none"),
            "optimize_context_window": boolean(effect="none"),
            "use_agent_orchestrator": boolean(effect="none"),
            "disable_signals": boolean(effect="none"),
            "llm_routing_model": text(effect="none"),
            "agent_orchestration_model": text(effect="none"),
            "orchestrator_model_context_length": integer(effect="none"),
        },
        open=True,
    ),
    "resilience": mapping(RESILIENCE),
    "admission": mapping(ADMISSION),
    "ratelimits": list_of(mapping(RATELIMIT)),
    "budgets": list_of(mapping(BUDGET)),
    "shared_state": mapping(SHARED_STATE),
    "state_storage": mapping(STATE_STORAGE),
    "metrics": mapping(
        {
            "enabled": boolean(True),
            "address": text(),
            "port": integer(most=65535),
            "auth": boolean(),
            "stream_usage": boolean(),
        }
    ),
    "log": mapping(
        {"format": text("auto", choices=("auto", "json", "text")), "access": boolean(True), "bodies": boolean()}
    ),
    "prices": mapping({"file": text(), "models": map_of(mapping(PRICE)), "package": boolean()}),
    "tracing": mapping(TRACING),
    "prompt_caching": mapping(
        {
            "enabled": boolean(),
            "session_affinity": boolean(True),
            "inject_cache_control": boolean(True),
            "min_prefix_tokens": integer(1024, least=1),
            "session_ttl_seconds": integer(least=1),
        },
        effect="none",
    ),
    "routing": mapping(
        {
            "llm_provider": text(),
            "model": text(),
            "session_ttl_seconds": integer(600, least=1),
            "session_max_entries": integer(10000, least=1, most=10000),
            "session_cache": mapping(
                {"type": text("memory", choices=("memory", "redis")), "url": SECRET, "tenant_header": text()}
            ),
            "routing_budget": mapping(
                {
                    "max_switch_spend_pct": number(required=True, least=0, most=100),
                    "replenish_on_rebind": boolean(True),
                    "cache_read_discount": number(default=0.1, least=0, most=1),
                    "record_counterfactual": boolean(),
                }
            ),
            "route_on_user_only": boolean(),
        },
        effect="none",
    ),
    "routing_preferences": list_of(
        mapping(
            {
                **_PREFERENCE,
                "models": list_of(text(), required=True),
                "selection_policy": mapping({"prefer": text(required=True)}),
            }
        ),
        effect="none",
    ),
    "model_metrics_sources": list_of(
        mapping(
            {
                "type": text(required=True, choices=("cost", "latency")),
                "provider": text(required=True, choices=("digitalocean", "models.dev", "prometheus")),
                "url": text(),
                "query": text(),
                "refresh_interval": integer(least=1),
                "model_aliases": map_of(text()),
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
    "keys": ("access_keys",),
    "api_keys": ("access_keys",),
    "num_retries": ("max_retries", "max_attempts"),
    "retries": ("max_retries", "max_attempts"),
    "max_parallel_requests": ("max_in_flight",),
    "stream_timeout": ("first_output",),
    "rpm": ("requests",),
    "tpm": ("tokens",),
    "max_budget": ("dollars",),
    "models": ("model", "model_providers"),
    "providers": ("model_providers",),
    "aliases": ("model_aliases",),
    "api_base": ("base_url",),
    "url": ("base_url",),
}
"""Wrong names that people write, with the right keys, where those are too different to be found by similarity."""

_FALLBACKS = "Fallbacks stand at an alias: `model_aliases.<name>.fallbacks`."
_ATTEMPTS = "Repeated attempts are `max_retries` of a listener, or `resilience.max_attempts`."
_RATES = "Rates are `ratelimits`, such as `{selector: {by: entry}, limit: {%s: 60, unit: minute}}`."
_BUDGETS = "Budgets are `budgets`, such as `{name: a, selector: {by: caller}, limit: {dollars: 10, unit: month}}`."
_POOLS = "Several models of one name are an alias with `targets`, each of which has a `weight`."
_EJECTION = "plano decides by itself when a failing model is asked again; `resilience` has what can be set."

ADVICE: Mapping[str, str] = {
    "fallbacks": _FALLBACKS,
    "default_fallbacks": _FALLBACKS,
    "context_window_fallbacks": f"{_FALLBACKS} Their `conditions` are `[context_window]`.",
    "content_policy_fallbacks": f"{_FALLBACKS} Their `conditions` are `[content_filter]`.",
    "num_retries": _ATTEMPTS,
    "max_retries": _ATTEMPTS,
    "max_fallbacks": _ATTEMPTS,
    "network_config": _ATTEMPTS,
    "retry_policy": _ATTEMPTS,
    "rpm": _RATES % "requests",
    "rpm_limit": _RATES % "requests",
    "tpm": _RATES % "tokens",
    "tpm_limit": _RATES % "tokens",
    "max_parallel_requests": "It is `max_in_flight`, of an entry, of `admission` or of a rule of `ratelimits`.",
    "max_budget": _BUDGETS,
    "budget_duration": _BUDGETS,
    "cooldown_time": _EJECTION,
    "allowed_fails": _EJECTION,
    "order": "The order is that of `fallbacks` of an alias in `model_aliases`.",
    "weight": _POOLS,
    "routing_strategy": "It is `load_balance: {algorithm: ...}` of an alias with `targets`.",
    "stream_timeout": "It is `first_output`, of an entry or of `resilience`.",
    "router_settings": f"{_FALLBACKS} {_ATTEMPTS}",
}
"""Words of other gateways that are no key here, with advice about the keys that stand for them: LiteLLM (documentation,
"Proxy: all settings", "Reliability") and Bifrost ("Provider configuration")."""
