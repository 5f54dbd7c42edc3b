"""Measures: what rules and budgets count, and the subjects that they count for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Literal, Protocol, TypeAlias

import msgspec
from msgspec import Struct

from plano.conversation import Usage
from plano.errors import InvalidRequest
from plano.limits.budgets import calendar_period
from plano.limits.cells import Cell, Lease, Rate, Sum
from plano.limits.memory import CLIENT_MADE
from plano.limits.settings import ANY, Budget, Rule, SelectBy
from plano.provider import Target
from plano.request import Request

Counted: TypeAlias = Literal["requests", "tokens", "input_tokens", "output_tokens", "in_flight", "dollars"]

WITHOUT_LIMIT = 1e18
"""The limit of a budget that is charged and refuses nothing."""

_LONGEST_SUBJECT = 64
"""The most characters of a header's value that stand in a key; a longer value is hashed."""


class Price(Protocol):
    """The price of a model; `plano.observability.prices.Price` is one."""

    def of(self, usage: Usage) -> float:
        """The cost in dollars."""
        ...


class Need(Struct, frozen=True, kw_only=True):
    """The most that a request is expected to use.

    Attributes:
        input, output: tokens for rates.
        budget_output: output tokens for budgets that reserve as many as the request may use.
        holder: an id for the places that it takes.
        price: the price of its target; None where no dollars are counted.
    """

    input: int
    output: int
    budget_output: int | None
    holder: str
    price: Price | None

    def usage_for(self, budget: Budget) -> Usage:
        """The usage that is reserved of a budget."""
        output = budget.reserve_output if self.budget_output is None else min(self.budget_output, budget.reserve_output)
        return Usage(input_tokens=self.input, output_tokens=output)


class Measure(Struct, frozen=True, kw_only=True):
    """One thing that a rule or a budget counts.

    Attributes:
        of: the rule or the budget.
        counts: what is counted.
        limit: the most of it.
        prefix: the beginning of its keys; the subject follows.
    """

    of: Rule | Budget
    counts: Counted
    limit: float
    prefix: str

    @property
    def needs_tokens(self) -> bool:
        """Whether only operations that use tokens count."""
        return self.counts not in ("requests", "in_flight")

    def cell(self, subject: str, need: Need, now: float, *, refuses: bool = True) -> Cell:
        """The cell that a request takes; `now` is in Unix seconds. With `refuses=False`, a budget takes anything."""
        rule = self.of
        if isinstance(rule, Budget):
            return self._sum(rule, subject, need, now, self.limit if refuses else WITHOUT_LIMIT)
        key = self.prefix + subject
        if self.counts == "requests":
            return Rate(key, self.limit, rule.period, 1.0)
        if self.counts == "in_flight":
            return Lease(key, int(self.limit), need.holder)
        reserved = Usage(input_tokens=need.input, output_tokens=need.output)
        return Rate(key, self.limit, rule.period, self.amount(reserved, None))

    def amount(self, usage: Usage, price: Price | None) -> float:
        """The amount of this in `usage`."""
        match self.counts:
            case "input_tokens":
                return usage.input_tokens
            case "output_tokens":
                return usage.output_tokens
            case "dollars":
                assert price is not None, "a target without a price is refused before"
                return price.of(usage)
            case _:
                return usage.input_tokens + usage.output_tokens

    def _sum(self, budget: Budget, subject: str, need: Need, now: float, limit: float) -> Sum:
        usage, price = need.usage_for(budget), need.price
        cost = self.amount(usage, price)
        if self.counts == "dollars":  # the input may be written to a cache, which some vendors charge more for
            cached = msgspec.structs.replace(usage, cache_creation_tokens=usage.input_tokens)
            cost = max(cost, self.amount(cached, price))
        if budget.unit is None:
            return Sum(self.prefix + subject, limit, cost, None, budget.period)
        period = calendar_period(budget.unit, now)
        return Sum(f"{self.prefix}{period.label}|{subject}", limit, cost, period.ends, None)


class Family:
    """The measures of one model and one kind of subject. A value of its own beats `*`.

    Args:
        members: rules, or budgets, with the same model and the same kind of subject, and their measures.
    """

    def __init__(self, members: Sequence[tuple[Rule | Budget, Sequence[Measure]]]) -> None:
        selector = members[0][0].selector
        self._by: SelectBy = selector.by
        self._header = (selector.header or "").encode()
        self._required = any(isinstance(rule, Rule) and rule.required for rule, _ in members)
        self._of_value: dict[str, tuple[Measure, ...]] = {}
        for rule, measures in members:
            value = rule.selector.value
            self._of_value[value] = (*self._of_value.get(value, ()), *measures)
        self._of_any = self._of_value.pop(ANY, ())

    def measures(self, request: Request, target: Target | None) -> tuple[tuple[Measure, ...], str]:
        """The measures that a request counts for, and its subject as it stands in their keys.

        Raises:
            InvalidRequest: the header is required and absent.
        """
        caller = request.caller
        match self._by:
            case "header":
                return self._of_header(request)
            case "caller":
                value, subject = caller.name, _within(caller.tenant, caller.name)
            case "tenant":
                value = subject = caller.tenant
            case _:
                assert target is not None, "what counts by entry is judged for a target"
                value = subject = target.entry
        return self._of_value.get(value, self._of_any), subject

    def _of_header(self, request: Request) -> tuple[tuple[Measure, ...], str]:
        found = request.headers.find(self._header)
        if not found:
            if self._required:
                raise InvalidRequest(f"The header `{self._header.decode()}` is required.")
            return (), ""
        value = found.decode("utf-8", "surrogateescape")
        return self._of_value.get(value, self._of_any), _within(request.caller.tenant, _bounded(value))


def families(
    rules: Iterable[Rule | Budget],
) -> dict[str | None, tuple[Family, ...]]:
    """Rules or budgets sorted into families, by the model that they are for; None for all models."""
    sorted_: dict[tuple[str | None, SelectBy, str | None], list[tuple[Rule | Budget, Sequence[Measure]]]] = {}
    taken: set[str] = set()
    for rule in rules:
        selector = rule.selector
        kind = (rule.model, selector.by, selector.header)
        sorted_.setdefault(kind, []).append((rule, tuple(_measures_of(rule, taken))))
    found: dict[str | None, tuple[Family, ...]] = {}
    for (model, _, _), members in sorted_.items():
        found[model] = (*found.get(model, ()), Family(members))
    return found


def _measures_of(rule: Rule | Budget, taken: set[str]) -> Iterable[Measure]:
    """The measures of a rule. Their keys say what is counted and not where it stands in the configuration, so that a
    count survives a change of the other rules. A key that is taken already gets a number."""
    selector = rule.selector
    made = CLIENT_MADE if selector.by == "header" and selector.value == ANY else ""
    if isinstance(rule, Budget):
        place = f"{made}budget|{rule.name}|"
    else:
        place = f"{made}rule|{rule.model or ANY}|{selector.by}|{selector.header or ''}|{rule.period:g}|"
    for counts in _COUNTED:
        limit = getattr(rule, counts, None)
        if limit is None:
            continue
        prefix, number = f"{place}{counts}|", 1
        while prefix + selector.value in taken:
            number += 1
            prefix = f"{place}{counts}|{number}|"
        taken.add(prefix + selector.value)
        yield Measure(of=rule, counts=counts, limit=limit, prefix=prefix)


_COUNTED: tuple[Counted, ...] = ("in_flight", "requests", "tokens", "input_tokens", "output_tokens", "dollars")
"""Whatever is refused soonest and for the shortest time comes first."""


def _within(tenant: str, subject: str) -> str:
    """A subject of a tenant. The length keeps any two pairs apart, also those of tenants with odd names."""
    return f"{len(tenant)}:{tenant}:{subject}"


def _bounded(value: str) -> str:
    if len(value) <= _LONGEST_SUBJECT and value.isascii() and value.isprintable() and not value.startswith("#"):
        return value
    return "#" + blake2b(value.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
