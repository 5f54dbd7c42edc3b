"""Describes in words, for `plano check`, where requests may go, how often they are tried, and what limits them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from plano.candidates import Candidate, Group
from plano.config.settings import Config
from plano.config.showing import shown
from plano.errors import UPSTREAM_FAILURES, UpstreamFailure
from plano.limits.settings import ANY as ANY_SUBJECT
from plano.limits.settings import SECONDS, Admission, Budget, Rule, Selector, SharedState
from plano.operations import CREATE
from plano.routing.models import ModelIndex
from plano.routing.settings import ANY
from plano.upstream.settings import MOST_ATTEMPTS, Resilience

_ANOTHER_KEY = "rate_limit, quota, credential"
"""The failures after which another key of a pool is tried."""


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Aligns rows in columns."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def alias_lines(models: ModelIndex) -> list[str]:
    """A line for each alias, and one for each of its fallbacks with the failures that lead there."""
    rows = []
    for alias in sorted(models.aliases()):
        first, *fallbacks = models.groups(alias)
        rows.append((alias, "->", _group(first)))
        rows += [("", "then", f"{_group(each)}, after {_conditions(each.conditions or ANY)}") for each in fallbacks]
    return aligned(rows)


def pool_lines(config: Config) -> list[str]:
    """A line for each entry with several keys."""
    pools = [(entry.name, [f"{weight:g}" for _, weight in entry.keys]) for entry in config.providers if entry.keys]
    return aligned(
        (name, f"{len(weights)} keys, weights {', '.join(weights)}; another one after {_ANOTHER_KEY}")
        for name, weights in pools
    )


def attempt_lines(config: Config, models: ModelIndex) -> list[str]:
    """The bounds of attempts, where they are configured or there is more than one way to answer a request."""
    several = any(entry.keys for entry in config.providers) or any(
        len(groups) > 1 or len(groups[0].members) > 1 for groups in map(models.groups, models.aliases())
    )
    said = config.resilience
    return _attempts(said) if several or said != Resilience() else []


def limit_lines(config: Config) -> list[str]:
    """A line for each rule and each budget, and one each for admission and shared state, if they are configured."""
    lines = [f"{rule.name}: {_rule(rule)}" for rule in config.rules]
    lines += [f"{budget.name}: {_budget(budget)}" for budget in config.budgets]
    if config.admission != Admission():
        lines.append(f"admission: {_admission(config.admission)}")
    if config.shared_state != SharedState():
        lines.append(f"shared state: {_shared(config.shared_state)}")
    return lines


def _group(group: Group) -> str:
    members = ", ".join(_member(each, alone=len(group.members) == 1) for each in group.members)
    return members if len(group.members) == 1 else f"{members}; {group.algorithm}"


def _member(said: Candidate, *, alone: bool) -> str:
    target = said.target
    url = target.endpoints[target.dialects[0], CREATE].url
    elsewhere = f" at {urlsplit(url).hostname}" if target.place.startswith(f"{target.entry}@") else ""
    keys = [] if len(said.keys) == 1 else [f"{len(said.keys)} keys"]
    weight = [] if alone else [f"{said.weight:g}"]
    more = f" ({', '.join([*weight, *keys])})" if weight or keys else ""
    return f"{target.name}{elsewhere}{more}"


def _conditions(said: frozenset[UpstreamFailure]) -> str:
    """The failures after which a fallback is tried; those of `any` are one word."""
    words = ["any"] if said >= ANY else []
    return ", ".join(words + [each for each in UPSTREAM_FAILURES if each in said and not (words and each in ANY)])


def _attempts(said: Resilience) -> list[str]:
    most = f"at most {said.max_attempts}"
    if said.max_attempts is None:
        most = f"at most {MOST_ATTEMPTS} where a name has several keys, targets or fallbacks, else 1"
    lines = [
        f"{most}, begun within {said.deadline:g} s",
        f"at most {said.retry_budget * 100:g} % of a target's requests, and 3 a second, are repeated at it",
        f"a stream begins within {said.first_output:g} s, with reasoning within {said.first_output_reasoning:g} s",
    ]
    if said.keepalive is not None:
        lines.append(f"a client that waits for a stream is sent a comment every {said.keepalive:g} s")
    if said.hedge is not None:
        lines.append(f"a second target is asked too after {said.hedge:g} s without output; both are charged for")
    if said.minimum_rate is not None:
        lines.append(f"a stream brings {said.minimum_rate.tokens} tokens in any {said.minimum_rate.over:g} s")
    return lines


def _rule(rule: Rule) -> str:
    amounts = {
        "requests": rule.requests,
        "tokens": rule.tokens,
        "input tokens": rule.input_tokens,
        "output tokens": rule.output_tokens,
    }
    parts = [f"{most} {what} {_time(rule.period)}" for what, most in amounts.items() if most is not None]
    if rule.in_flight is not None:
        parts.append(f"{rule.in_flight} in flight")
    needed = "; requests without it are refused" if rule.required else ""
    return f"{', '.join(parts)} {_subject(rule.selector)}{_on(rule.model)}{needed}"


def _budget(budget: Budget) -> str:
    amount = f"{budget.tokens} tokens" if budget.dollars is None else f"{budget.dollars:g} dollars"
    period = f"a {budget.unit}" if budget.period is None else _time(budget.period)
    then = "" if budget.fallback is None else f"; when it is spent, {budget.fallback} answers"
    return f"{amount} {period} {_subject(budget.selector)}{_on(budget.model)}{then}"


def _time(seconds: float) -> str:
    unit = next((unit for unit, length in SECONDS.items() if length == seconds), None)
    return f"in {seconds:g} s" if unit is None else f"an {unit}" if unit == "hour" else f"a {unit}"


def _subject(said: Selector) -> str:
    name = said.header if said.by == "header" else said.by
    return f"for each {name}" if said.value == ANY_SUBJECT else f"for {name} {shown(said.value)}"


def _on(model: str | None) -> str:
    return "" if model is None else f", of {model}"


def _admission(said: Admission) -> str:
    parts = [] if said.max_in_flight is None else [f"at most {said.max_in_flight} requests run at once"]
    if said.per_tenant is not None:
        parts.append(f"at most {said.per_tenant} of a tenant")
    wait = f"{said.queue} more wait for at most {said.queue_wait:g} s" if said.queue else "none waits"
    return f"{', '.join(parts)}; {wait}"


def _shared(said: SharedState) -> str:
    failing = {
        "local": "while it does not answer, each process counts by itself",
        "open": "while it does not answer, nothing is limited",
        "closed": "while it does not answer, requests are refused",
    }
    return "memory" if said.type == "memory" else f"{said.type}; {failing[said.on_failure]}"
