"""Measures: what rules and budgets count, and the subjects that they count for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Literal, TypeAlias

from msgspec import Struct

from plano.conversation import Usage
from plano.errors import InvalidRequest
from plano.limits.budgets import calendar_period
from plano.limits.cells import Cell, Lease, Rate, Sum
from plano.limits.memory import CLIENT_MADE
from plano.limits.needs import Need, Price
from plano.limits.settings import ANY, Budget, Rule, SelectBy
from plano.provider import Target
from plano.request import Request

Counted: TypeAlias = Literal["requests", "tokens", "input_tokens", "output_tokens", "in_flight", "dollars"]

WITHOUT_LIMIT = 1e18
"""The limit of a budget that is charged and refuses nothing. It is a number that every store of counts can hold."""

_LONGEST_SUBJECT = 64
"""The most characters of a header's value that stand in a key; a longer value is hashed."""


class Measure(Struct, frozen=True, kw_only=True):
    """One thing that a rule or a budget counts.

    Attributes:
        of: the rule or the budget.
        counts: what is counted.
        limit: the most of it.
        prefix: the beginning of its keys; the subject follows.
        uses_tokens: whether it counts what a request uses, and not the request itself.
        told: the name by which clients are told in headers what is left of it; None if they are not.
    """

    of: Rule | Budget
    counts: Counted
    limit: float
    prefix: str
    uses_tokens: bool
    told: Literal["requests", "tokens", "input_tokens", "output_tokens"] | None

    def cell(self, subject: str, need: Need, *, refuses: bool = True) -> Cell | None:
        """The cell that a request takes; None if it needs none of this. With `refuses=False`, a budget takes anything.

        Raises:
            PermissionDenied: dollars are counted, and the target has no price.
        """
        rule = self.of
        if isinstance(rule, Budget):
            return self._sum(rule, subject, need, self.limit if refuses else WITHOUT_LIMIT)
        key = self.prefix + subject
        if self.counts == "requests":
            return Rate(key, self.limit, rule.period, 1.0)
        if self.counts == "in_flight":
            return Lease(key, int(self.limit), need.holder())
        return Rate(key, self.limit, rule.period, self.amount(need.usage(), None))

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

    def _sum(self, budget: Budget, subject: str, need: Need, limit: float) -> Sum | None:
        cost = need.dollars(budget) if self.counts == "dollars" else self.amount(need.usage_for(budget), None)
        if not cost:
            return None  # a model that costs nothing may be used when the budget is spent
        if budget.unit is None:
            return Sum(self.prefix + subject, limit, cost, None, budget.period)
        period = calendar_period(budget.unit, need.now)
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
        yield Measure(
            of=rule,
            counts=counts,
            limit=limit,
            prefix=prefix,
            uses_tokens=counts not in ("requests", "in_flight"),
            told=None if isinstance(rule, Budget) or counts == "in_flight" or counts == "dollars" else counts,
        )


_COUNTED: tuple[Counted, ...] = ("in_flight", "requests", "tokens", "input_tokens", "output_tokens", "dollars")
"""The order in which measures refuse: places first, because they come free soonest."""


def _within(tenant: str, subject: str) -> str:
    """A subject of a tenant. The length keeps any two pairs apart, also those of tenants with odd names."""
    return f"{len(tenant)}:{tenant}:{subject}"


def _bounded(value: str) -> str:
    if len(value) <= _LONGEST_SUBJECT and value.isascii() and value.isprintable() and not value.startswith("#"):
        return value
    return "#" + blake2b(value.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
