"""The keys of `resilience`, `admission`, `ratelimits`, `budgets` and `shared_state`."""

from __future__ import annotations

from collections.abc import Mapping

from plano.config.keys import SECRET, Key, boolean, duration, either, integer, mapping, number, text

RESILIENCE: Mapping[str, Key] = {
    "max_attempts": integer(least=1),
    "deadline": duration(120.0),
    "retry_budget": number(default=0.2, least=0, most=1),
    "first_output": duration(30.0),
    "first_output_reasoning": duration(120.0),
    "keepalive": duration(or_off=True),
    "hedge": either(duration(or_off=True), mapping({"after": duration(required=True)})),
    "minimum_rate": mapping({"tokens": integer(least=1, required=True), "over": duration(required=True)}),
}

ADMISSION: Mapping[str, Key] = {
    "max_in_flight": integer(least=1),
    "queue": integer(0),
    "queue_wait": duration(2.0),
    "per_tenant": integer(least=1),
}

_SELECTOR = mapping(
    {"key": text(), "by": text(choices=("caller", "tenant", "entry")), "value": text("*")}, required=True
)

RATELIMIT: Mapping[str, Key] = {
    "name": text(),
    "model": text(),
    "selector": _SELECTOR,
    "limit": mapping(
        {
            "requests": integer(least=1),
            "tokens": integer(least=1),
            "input_tokens": integer(least=1),
            "output_tokens": integer(least=1),
            "in_flight": integer(least=1),
            "unit": text(choices=("second", "minute", "hour", "day")),
            "period": duration(),
        },
        required=True,
    ),
    "required": boolean(),
}

BUDGET: Mapping[str, Key] = {
    "name": text(required=True),
    "model": text(),
    "selector": _SELECTOR,
    "limit": mapping(
        {
            "dollars": number(least=0),
            "tokens": integer(least=1),
            "unit": text(choices=("day", "week", "month")),
            "period": duration(),
        },
        required=True,
    ),
    "reserve_output": integer(4096, least=1),
    "fallback": text(),
}

SHARED_STATE: Mapping[str, Key] = {
    "type": text(required=True, choices=("memory", "redis")),
    "url": SECRET,
    "on_failure": text("local", choices=("local", "open", "closed")),
}
