"""Anthropic, whose generations of models take different fields for thinking and sampling."""

from __future__ import annotations

from plano.capabilities import Refused, Takes, Thinking, limits
from plano.provider import ModelList, Provider
from plano.providers.windows import WINDOWS

_SAMPLING = Refused(
    fields=("temperature", "top_p", "top_k"),
    harmless={"temperature": 1, "top_p": 1},
    reason="{model} does not take it any more",
)

_EFFORTS = ("low", "medium", "high")

_BUDGET = Takes(thinking=Thinking("asked", claude="budget"))
_EITHER = Takes(thinking=Thinking("asked", (*_EFFORTS, "max"), claude="both"))
_LATEST = Takes(thinking=Thinking("asked", (*_EFFORTS, "xhigh", "max"), claude="adaptive"), refuses=(_SAMPLING,))
_ALWAYS = Takes(thinking=Thinking("always", (*_EFFORTS, "xhigh", "max"), claude="adaptive"), refuses=(_SAMPLING,))

_FAMILIES = ("opus", "sonnet", "haiku")

# "Models", "What's new" of each; "Effort", section "Supported models"; "Adaptive thinking"; "What's new in Claude
# Opus 5.5", section "Forced tool use is not supported", which names Fable 5.1 too. From 4.1 to 4.6, temperature and
# top_p exclude each other. A family that is not known yet is not told anything.
MODELS: dict[str, Takes] = {
    "claude-3-7": _BUDGET,
    **{f"claude-{family}-4": _BUDGET for family in _FAMILIES},
    **{f"claude-{family}-4-[1-6]": Takes(excludes={"temperature": "top_p"}) for family in _FAMILIES},
    **{f"claude-{family}-4-20[0-9][0-9]": Takes(excludes={}) for family in _FAMILIES},  # the date of a 4.0
    "claude-opus-4-5": Takes(thinking=Thinking("asked", _EFFORTS, claude="budget")),
    **{f"claude-{family}-4-6": _EITHER for family in _FAMILIES},
    **{f"claude-{family}-4-[7-9]": _LATEST for family in _FAMILIES},
    **{f"claude-{family}-[5-9]": _LATEST for family in _FAMILIES},
    "claude-fable": _ALWAYS,
    "claude-mythos": _ALWAYS,
    "claude-opus-5-[5-9]": Takes(thinking=_ALWAYS.thinking, forces="never"),
    "claude-opus-[6-9]": Takes(thinking=_ALWAYS.thinking, forces="never"),
    "claude-fable-5-[1-9]": Takes(forces="never"),
    "claude-mythos-5-[1-9]": Takes(forces="never"),
}

ANTHROPIC = Provider(
    name="anthropic",
    base_url="https://api.anthropic.com",
    paths={"messages": "/messages"},
    operations={("messages", "count_tokens"): "/messages/count_tokens"},
    auth="x-api-key",
    lists=ModelList(query="limit=1000"),
    key_variables=("ANTHROPIC_API_KEY",),
    takes=limits(
        {
            "claude-3-": 4_096,
            "claude-3-5-": 8_192,
            "claude-3-7-": 64_000,
            "claude-opus-4": 32_000,
            "claude-opus-4-5": 64_000,
            "claude-opus-4-6": 128_000,
            "claude-opus-4-7": 128_000,
            "claude-opus-4-8": 128_000,
            "claude-sonnet-4": 64_000,
            "claude-haiku-4": 64_000,
            "claude-opus-5": 128_000,
            "claude-sonnet-5": 128_000,
            "claude-haiku-5": 128_000,
            "claude-fable-5": 128_000,
            "claude-mythos-": 128_000,
        },
        MODELS,
    ),
    windows=WINDOWS["anthropic"],
)
