"""Anthropic, whose generations of models take different fields for thinking and sampling."""

from __future__ import annotations

import re

from plano.capabilities import Fields, decoded, encoded, limits, strip, strip_unless
from plano.dialects.effort import effort_of
from plano.losses import Losses
from plano.provider import ModelList, Provider
from plano.types import UpstreamDialect

_FAMILY = re.compile(r"claude-(opus|sonnet|haiku|fable|mythos)-(\d{1,2}|preview)(?:-(\d{1,2})(?!\d))?")
"""`claude-opus-4-7`, `claude-sonnet-5`, `claude-haiku-4-5-20251001`, `claude-mythos-preview`."""


def prepare(dialect: UpstreamDialect, model: str, fields: Fields, losses: Losses) -> None:
    """Rewrite or drop the fields that a generation of models no longer takes (Models, "What's new" of each)."""
    generation = _generation(model)
    if generation is None:
        return
    family, version = generation
    if version >= (4, 7):
        _adaptive_thinking(model, fields, losses, always=_always_thinks(family, version))
        strip_unless(
            fields, {"temperature": 1, "top_p": 1, "top_k": None}, losses, f"{model} does not take it any more"
        )
        if _refuses_force(family, version):
            _free_choice(model, fields, losses)
    elif version >= (4, 1) and "temperature" in fields:
        strip(fields, ("top_p",), losses, f"{model} takes temperature or top_p, not both")


def triggers(dialect: UpstreamDialect, model: str) -> tuple[str, ...]:
    """The names of the fields that `prepare` looks for."""
    generation = _generation(model)
    if generation is None:
        return ()
    words = ("thinking", "temperature", "top_p", "top_k")
    return (*words, "tool_choice") if _refuses_force(*generation) else words


def _generation(model: str) -> tuple[str, tuple[int, int]] | None:
    """The family and version of a model; None for older models, which are named otherwise and take every field."""
    found = _FAMILY.match(model)
    if found is None:
        return None
    family, major, minor = found.groups()
    if major == "preview":
        return family, (4, 7)
    return family, (int(major), int(minor or 0))


def _always_thinks(family: str, version: tuple[int, int]) -> bool:
    """Whether a model cannot be told not to think."""
    return family in ("fable", "mythos") or (family == "opus" and version >= (5, 5))


def _refuses_force(family: str, version: tuple[int, int]) -> bool:
    """Whether a model cannot be forced to call a tool ("What's new in Claude Opus 5.5", section "Forced tool use is not
    supported", which names Fable 5.1 too)."""
    return version >= {"opus": (5, 5), "fable": (5, 1), "mythos": (5, 1)}.get(family, (99, 0))


def _free_choice(model: str, fields: Fields, losses: Losses) -> None:
    """Let the model choose among its tools, if the request forces one."""
    choice = decoded(fields.get("tool_choice"))
    if isinstance(choice, dict) and choice.get("type") in ("any", "tool"):
        choice.pop("name", None)
        fields["tool_choice"] = encoded(choice | {"type": "auto"})
        losses.drop("tool_choice", f"{model} cannot be made to call a tool; it is left to choose")


def _adaptive_thinking(model: str, fields: Fields, losses: Losses, *, always: bool) -> None:
    """Replace thinking that the model refuses.

    From 4.7 on, `enabled` with a budget is a 400, so the budget becomes an effort. Models that always think refuse
    `disabled` as well, so they get the least effort.
    """
    thinking = decoded(fields.get("thinking"))
    if not isinstance(thinking, dict):
        return
    if thinking.get("type") == "enabled":
        budget = thinking.pop("budget_tokens", None)
        fields["thinking"] = encoded(thinking | {"type": "adaptive"})
        if isinstance(budget, int):
            _default_effort(fields, effort_of(budget).replace("minimal", "low").replace("none", "low"))
    elif thinking.get("type") == "disabled" and always:
        strip(fields, ("thinking",), losses, f"{model} always thinks")
        _default_effort(fields, "low")


def _default_effort(fields: Fields, effort: str) -> None:
    """Set an effort, unless the request has one."""
    config = decoded(fields.get("output_config"))
    if not isinstance(config, dict):
        config = {}
    if config.get("effort") is None:
        fields["output_config"] = encoded(config | {"effort": effort})


ANTHROPIC = Provider(
    name="anthropic",
    base_url="https://api.anthropic.com",
    paths={"messages": "/messages"},
    operations={("messages", "count_tokens"): "/messages/count_tokens"},
    auth="x-api-key",
    lists=ModelList(query="limit=1000"),
    key_variables=("ANTHROPIC_API_KEY",),
    prepare=prepare,
    triggers=triggers,
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
        }
    ),
)
