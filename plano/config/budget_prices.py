"""The prices that budgets in dollars need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TypeAlias

from plano.config.aliases import reached
from plano.config.names import Names
from plano.config.problems import Problems
from plano.config.reading import Section
from plano.config.settings import Config, ProviderEntry
from plano.limits.settings import ANY, Budget
from plano.observability.prices import Price, Prices
from plano.routing.models import WILDCARD

PriceOf: TypeAlias = Callable[[str, str], Price | None]
"""A function that knows the price of a provider's model."""

_MOST_NAMED = 3


def package_prices() -> PriceOf | None:
    """The prices of the package `genai-prices`; None if they are not installed."""
    try:
        found: PriceOf = import_module("plano.observability.price_package").price_of
    except ImportError:
        return None
    return found


def check_prices(
    sections: Sequence[Section],
    config: Config,
    names: Names,
    places: Mapping[str, str],
    package: PriceOf | None,
    problems: Problems,
) -> None:
    """Reports each budget in dollars that covers an entry without a price, because its requests would cost nothing.

    Args:
        sections: the budgets as they were read.
        config: the configuration.
        names: its models.
        places: the place of each entry in the file, by the entry's name.
        package: the prices of a package; a wildcard then counts as priced, because its models may be in there.
        problems: receives the reports.
    """
    prices = Prices(config.prices, config.prices_file)
    limits = {section.get("name"): section["limit"] for section in sections if section.get("limit") is not None}
    for budget in config.budgets:
        found = [] if budget.dollars is None else _unpriced(budget, config, names, prices.known, package)
        if found:
            limit: Section = limits[budget.name]
            named = [f"`{name}` ({places[name]})" for name in found[:_MOST_NAMED]]
            more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
            problems.error(
                limit.line_of("dollars"),
                limit.path_of("dollars"),
                f"needs a price of each model that the budget covers, but there is none of {', '.join(named)}{more}; add "
                "it under `prices.models` (0 if it is free), or give the budget a `model`",
            )


def _unpriced(
    budget: Budget, config: Config, names: Names, known: Mapping[str, Price], package: PriceOf | None
) -> list[str]:
    """The names of the entries without a price, among those that a budget covers."""
    entries = {entry.name: entry for entry in config.providers}
    asked = [(entry, budget.model or "") for entry in entries.values() if _covers(budget, entry, config.providers)]
    targets = (
        [names.find(model) for model in sorted(reached(budget.fallback, config.aliases))] if budget.fallback else []
    )
    asked += [(entries[each.entry], each.name) for each in targets if each is not None and each.entry in entries]
    return list(dict.fromkeys(entry.name for entry, model in asked if not _priced(entry, model, known, package)))


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
