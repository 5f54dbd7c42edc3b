"""The prices that budgets in dollars need."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from plano.config.aliases import reached
from plano.config.names import Names
from plano.config.problems import Problems
from plano.config.providers import where
from plano.config.reading import Section
from plano.config.settings import Config, ProviderEntry
from plano.limits.settings import ANY, Budget
from plano.observability.prices import Price, PriceOf, Prices
from plano.routing.models import WILDCARD

_MOST_NAMED = 3
_UNSURE = re.compile(r"prices|(model|llm)_providers")


def check_prices(
    sections: Sequence[Section],
    entries: Sequence[Section],
    config: Config,
    names: Names,
    package: PriceOf | None,
    problems: Problems,
) -> None:
    """Reports each budget in dollars that covers an entry without a price, because its requests would cost nothing.

    Nothing is reported while something is wrong with prices or entries, because they would count as missing.

    Args:
        sections: the budgets as they were read.
        entries: the entries as they were read.
        config: the configuration.
        names: its models.
        package: the prices of a package; a wildcard then counts as priced, because its models may be in there.
        problems: receives the reports.
    """
    budgets = [budget for budget in config.budgets if budget.dollars is not None]
    if not budgets or any(problem.severity == "error" and _UNSURE.match(problem.path) for problem in problems.found):
        return
    known = Prices(config.prices, config.prices_file).known
    limits: dict[str, Section] = {each["name"]: each["limit"] for each in sections if each.keys() >= {"name", "limit"}}
    places = {each.get("name") or each["model"]: where(each) for each in entries}
    for budget in budgets:
        found = [each for each in _covered(budget, config, names) if not _priced(*each, known, package)]
        if found:
            limit = limits[budget.name]
            problems.error(limit.line_of("dollars"), limit.path_of("dollars"), _message(found, places))


def _message(found: Sequence[tuple[ProviderEntry, str]], places: Mapping[str, str]) -> str:
    without = list(dict.fromkeys(entry.name for entry, _ in found))
    more = f" and {len(without) - _MOST_NAMED} more" if len(without) > _MOST_NAMED else ""
    named = ", ".join(f"`{name}` ({places[name]})" for name in without[:_MOST_NAMED])
    return (
        f"needs a price of each model that the budget covers, but there is none of {named}{more}; add it under "
        "`prices.models` (0 if it is free), or give the budget a `model`"
    )


def _covered(budget: Budget, config: Config, names: Names) -> list[tuple[ProviderEntry, str]]:
    """The entries whose requests count for a budget, each with the model that is asked for, or "" for any."""
    entries = {entry.name: entry for entry in config.providers}
    found = [(each, budget.model or "") for each in entries.values() if _covers(budget, each, config.providers)]
    for model in sorted(reached(budget.fallback, config.aliases)) if budget.fallback is not None else ():
        target = names.find(model)
        if target is not None and target.entry in entries:
            found.append((entries[target.entry], target.name))
    return found


def _priced(entry: ProviderEntry, asked: str, known: Mapping[str, Price], package: PriceOf | None) -> bool:
    """Whether there is a price for an entry, or for the one model of a wildcard that is asked for."""
    only = asked.partition("/")[2]
    model = only if entry.model == WILDCARD and only else entry.model
    if entry.name in known or f"{entry.provider}/{model}" in known:
        return True
    return package is not None and (model == WILDCARD or package(entry.provider, model) is not None)


def _covers(budget: Budget, entry: ProviderEntry, entries: Sequence[ProviderEntry]) -> bool:
    """Whether requests to an entry count for a budget."""
    if budget.selector.by == "entry" and budget.selector.value not in (ANY, entry.name):
        return False
    own = f"{entry.provider}/{entry.model}"
    if budget.model in (None, own, f"{entry.provider}/{WILDCARD}"):
        return True
    exact = any(budget.model == f"{each.provider}/{each.model}" for each in entries)
    return not exact and entry.model == WILDCARD and str(budget.model).partition("/")[0] == entry.provider
