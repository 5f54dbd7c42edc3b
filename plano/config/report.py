"""Describes a configuration in words, for `plano check`."""

from __future__ import annotations

from collections.abc import Sequence

from plano.config.assemble import build_models, entry_of
from plano.config.problems import Problem
from plano.config.resilience_report import alias_lines, aligned, attempt_lines, limit_lines, pool_lines
from plano.config.settings import Config, ProviderEntry
from plano.config.verdict import bounded
from plano.operations import CREATE
from plano.provider import Target
from plano.providers.known import KNOWN
from plano.routing.models import WILDCARD, Entry, ModelIndex
from plano.types import Caller

_MOST_MODELS = 10
"""Models of a caller that are named."""


def describe(
    config: Config,
    models: ModelIndex | None = None,
    pipeline: Sequence[str] | None = None,
    metric_lines: int | None = None,
) -> str:
    """Describes providers, dialects, names, aliases, the order of the pipeline, and warnings; no credentials.

    Args:
        config: the configuration.
        models: its index; None to make it here.
        pipeline: the names of the links, outermost first; None for the configuration's own filters.
        metric_lines: the most lines that a scrape of metrics can have; None if unknown.
    """
    models = models if models is not None else build_models(config)
    links = pipeline if pipeline is not None else [entry.id for entry in config.filters]
    parts = [
        _block("configuration", [config.file or "not from a file"]),
        _block("listens on", [f"{config.listener.address}:{config.listener.port}, {_patience(config)}"]),
        _block("callers", _callers(config)),
        _block("providers", bounded(aligned([_provider(entry) for entry in config.providers]))),
        _block("names", bounded(_names(config))),
        _block("aliases", bounded(alias_lines(models))),
        _block("key pools", bounded(pool_lines(config))),
        _block("attempts", attempt_lines(config, models)),
        _block("limits", bounded(limit_lines(config))),
        _block("pipeline", [" -> ".join([*links, "upstream"])]),
        _block("metrics", [_metrics(config, metric_lines)]),
        _block("warnings", bounded([str(problem) for problem in warnings_of(config, models)])),
    ]
    return "\n".join(part for part in parts if part)


def _block(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"{title}:", *(f"  {line}" for line in lines)]) if lines else ""


def _metrics(config: Config, most: int | None) -> str:
    metrics = config.metrics
    if not metrics.enabled:
        return "none"
    place = "/metrics" if metrics.port is None else f"http://{metrics.address or '127.0.0.1'}:{metrics.port}/metrics"
    who = "with a caller's key" if metrics.auth else "for anybody who reaches it"
    return f"{place}, {who}" + ("" if most is None else f"; at most {most} series")


def _patience(config: Config) -> str:
    timeouts = config.timeouts
    return f"waits {timeouts.connect:g} s for a connection and {timeouts.first_byte:g} s for each piece of a reply"


def _callers(config: Config) -> list[str]:
    if not config.callers:
        return ["anybody (no keys are configured)"]
    return bounded([_caller(caller) for caller, _ in config.callers])


def _caller(caller: Caller) -> str:
    if caller.models is None:
        return caller.name
    models = sorted(caller.models)
    more = len(models) - _MOST_MODELS
    return f"{caller.name} ({', '.join(models[:_MOST_MODELS])}{f' and {more} more' if more > 0 else ''})"


def _provider(said: ProviderEntry) -> tuple[str, ...]:
    target = _target(entry_of(said))
    return (said.name, ", ".join(target.dialects), _url(target), _credential(said), "default" if said.default else "")


def _target(entry: Entry) -> Target:
    model = "any" if entry.model == WILDCARD else entry.model
    return ModelIndex([entry]).resolve(f"{entry.provider.name}/{model}")


def _url(target: Target) -> str:
    """The URL for the target's first dialect, without the query, which may hold a credential."""
    return target.endpoints[target.dialects[0], CREATE].url.partition("?")[0]


def _credential(said: ProviderEntry) -> str:
    if said.passthrough_auth:
        return "the caller's credential"
    if said.keys:
        return f"{len(said.keys)} keys"
    return "a key" if said.key is not None else "no key"


def _names(config: Config) -> list[str]:
    """The names of models that a request may use, besides aliases."""
    lines = [
        f"{entry.provider}/{entry.model}, {entry.model}" + (f", {entry.name}" if _has_own_name(entry) else "")
        for entry in config.providers
        if entry.model != WILDCARD
    ]
    for said in config.providers:
        if said.model == WILDCARD:
            known = ", ".join(model for model in entry_of(said).known if "/" not in model)
            lines.append(f"{said.provider}/<any>" + (f", and by their bare names: {known}" if known else ""))
    return lines


def _has_own_name(entry: ProviderEntry) -> bool:
    return entry.name not in (entry.model, f"{entry.provider}/{entry.model}")


def warnings_of(config: Config, models: ModelIndex) -> list[Problem]:
    """The configuration's warnings, and one for each name of a model that several entries have."""
    ambiguous = [
        _warning(f"`{name}` is a name of {', '.join(claims)}; {claims[0]} answers to it")
        for name, claims in models.ambiguous().items()
    ]
    others = [said for entry in config.providers for said in (_assumed(entry), _retired(entry)) if said is not None]
    return [*config.warnings, *ambiguous, *others]


def _assumed(said: ProviderEntry) -> Problem | None:
    """A warning about APIs that are assumed of somebody else's server; None if the entry says what it speaks."""
    dialects = _target(entry_of(said)).assumed
    if not dialects:
        return None
    return _warning(
        f"{said.name}: its server is asked over {' and '.join(dialects)}, and over chat if it answers 404. "
        f"If it has only chat, say so with `apis: [chat]`, else with `apis: [chat, {', '.join(dialects)}]`"
    )


def _retired(said: ProviderEntry) -> Problem | None:
    """A warning about a model that its provider retires or has retired, or None."""
    retired = KNOWN.retired.get(said.provider, {}).get(said.model) if said.base_url is None else None
    if retired is None:
        return None
    return _warning(f"{said.name}: {said.provider} does not answer for `{said.model}` from {retired.isoformat()} on")


def _warning(message: str) -> Problem:
    """A warning that belongs to no line of the file."""
    return Problem(file="", line=None, path="", message=message, severity="warning")
