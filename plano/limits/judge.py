"""Judges requests and attempts by the rules and budgets: one decision over everything that one counts for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from math import ceil
from typing import NoReturn, Protocol

from plano.conversation import Usage
from plano.dialects import client_codec
from plano.dialects.codec import Gauge
from plano.errors import BudgetSpent, PermissionDenied, RateLimited
from plano.journal import Journal, LimitedFor
from plano.limits.cells import Cell, Counts, Verdict
from plano.limits.grants import Grant
from plano.limits.measures import Family, Measure, Need, Price, families
from plano.limits.memory import MemoryCounts
from plano.limits.needs import size_of
from plano.limits.settings import Budget, Rule
from plano.limits.upkeep import Upkeep
from plano.limits.used import Used
from plano.operations import operation_of
from plano.provider import Target
from plano.request import Request
from plano.runtime.per_loop import PerLoop


class Prices(Protocol):
    """Finds the prices of targets; `plano.observability.prices.Prices` is one."""

    def of(self, target: Target) -> Price | None:
        """The price of a target, None if it is not known."""
        ...


_NOTHING = Grant((), Journal(), None)

_EVERYTHING = Usage(input_tokens=3, output_tokens=1, cached_tokens=1, cache_creation_tokens=1)
"""A usage that costs something unless all prices are zero."""


class Judge:
    """Decides whether a request, and each attempt of it, may go on.

    Rules that name no model are judged once for a request. Rules that name one, rules by entry and budgets are judged
    for each target that it goes to.

    Args:
        rules, budgets: as the configuration has them.
        counts: where they are counted.
        prices: the prices of targets, for budgets in dollars.
        clock: Unix seconds, which decide the periods of the calendar.

    Attributes:
        concerns_requests: whether any rule is judged for requests. Without one, `for_request` need not be called.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        budgets: Sequence[Budget],
        counts: Counts,
        prices: Prices,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._counts = counts
        self._memory = counts if isinstance(counts, MemoryCounts) else None
        self._prices = prices
        self._clock = clock
        self._upkeeps = PerLoop(lambda loop: Upkeep(counts, loop))
        self._latest: Upkeep | None = None
        of_requests = [rule for rule in rules if rule.model is None and rule.selector.by != "entry"]
        self._of_requests = families(of_requests).get(None, ())
        self._by_model = families(rule for rule in rules if rule not in of_requests)
        for model, found in families(budgets).items():
            self._by_model[model] = (*self._by_model.get(model, ()), *found)
        self._of_budget = {budget.name: families([budget]) for budget in budgets}
        self.concerns_requests = bool(self._of_requests)
        self._used = Used()

    def concerns(self, target: Target) -> bool:
        """Whether anything is judged for this target. If not, `for_target` need not be called."""
        return bool(self._by_model) and bool(self._families(target))

    async def for_request(self, request: Request) -> Grant:
        """Take what the rules for all requests count.

        Raises:
            RateLimited: a rule refuses. Nothing was taken.
            InvalidRequest: a header that a rule requires is absent.
            StoreUnavailable: the shared counts do not answer, and are to be obeyed.
        """
        return await self._decide(request, None, self._of_requests, None)

    async def for_target(self, request: Request, target: Target, *, over: Budget | None = None) -> Grant:
        """Take what the rules for a target and the budgets count.

        Args:
            over: a budget that is charged and does not refuse: the spent one whose fallback the target is.

        Raises:
            RateLimited: a rule refuses, or a budget that other requests have reserved at this moment. Nothing was
                taken.
            BudgetSpent: nothing is left of a budget. Nothing was taken.
            PermissionDenied: a budget in dollars pays for a target whose price is not known.
            InvalidRequest: a header that a rule requires is absent.
            StoreUnavailable: the shared counts do not answer, and are to be obeyed.
        """
        return await self._decide(request, target, self._families(target), over)

    @property
    def used(self) -> Mapping[str, float]:
        """The share of each budget that is spent or reserved, as the last decisions found it, by its name. Of the
        subjects of a budget, it is the one that has used most."""
        return self._used.shares(self._clock())

    async def flush(self) -> None:
        """Wait until the counts have all corrections of this event loop."""
        await self._upkeep().flush()

    def _upkeep(self) -> Upkeep:
        """The upkeep of the running event loop."""
        loop = asyncio.get_running_loop()
        if self._latest is None or self._latest.loop is not loop:
            self._latest = self._upkeeps(loop)
        return self._latest

    def _families(self, target: Target) -> tuple[Family, ...]:
        names = dict.fromkeys((None, target.name, target.entry, f"{target.provider.name}/*"))
        return tuple(chain.from_iterable(self._by_model.get(name, ()) for name in names))

    async def _decide(
        self, request: Request, target: Target | None, concerned: Sequence[Family], over: Budget | None
    ) -> Grant:
        measures = self._measures(request, target, concerned, over)
        price = None
        if target is not None and any(measure.counts == "dollars" for measure, _ in measures):
            measures, price = self._priced(target, measures)
        if not measures:
            return _NOTHING
        upkeep, now = self._upkeep(), self._clock()
        need = self._need(request, target, measures, upkeep.holder(), price)
        cells = [
            measure.cell(subject, need, now, refuses=over is None or measure.of != over)
            for measure, subject in measures
        ]
        verdict = await self._counts.take(cells) if self._memory is None else self._memory.take_now(cells)
        taken = [(measure, cell) for (measure, _), cell in zip(measures, cells, strict=True)]
        self._tell(request.journal, taken, verdict, now, whole=target is None)
        if verdict.refused is not None:
            _refuse(request.journal, taken[verdict.refused][0], verdict)
        return Grant(taken, request.journal, upkeep, price)

    def _measures(
        self, request: Request, target: Target | None, concerned: Sequence[Family], over: Budget | None
    ) -> list[tuple[Measure, str]]:
        """Everything that is counted, with the subjects it is counted for."""
        found = []
        for family in concerned:
            measures, subject = family.measures(request, target)
            found += [(measure, subject) for measure in measures]
        if over is not None:
            found = [(measure, subject) for measure, subject in found if measure.of != over]
            # Where it counts by entry, the entry that was asked for pays.
            for family in chain.from_iterable(self._of_budget[over.name].values()):
                measures, subject = family.measures(request, request.target or target)
                found += [(measure, subject) for measure in measures]
        if not operation_of(request.operation).uses_tokens:
            found = [(measure, subject) for measure, subject in found if not measure.needs_tokens]
        return found

    def _priced(
        self, target: Target, measures: list[tuple[Measure, str]]
    ) -> tuple[list[tuple[Measure, str]], Price | None]:
        """The measures, without dollars if the target is free of charge, and its price."""
        price = self._prices.of(target)
        if price is None:
            raise PermissionDenied(
                f"The model `{target.name}` is paid from a budget and has no price.", code="price_unknown"
            )
        if not price.of(_EVERYTHING):
            measures = [(measure, subject) for measure, subject in measures if measure.counts != "dollars"]
        return measures, price

    def _need(
        self,
        request: Request,
        target: Target | None,
        measures: list[tuple[Measure, str]],
        holder: str,
        price: Price | None,
    ) -> Need:
        if not any(measure.needs_tokens for measure, _ in measures):
            return Need(input=0, output=0, budget_output=0, holder=holder, price=None)
        size = size_of(request)
        most = None if target is None else target.max_tokens
        return Need(
            input=size.input,
            output=size.output(most),
            budget_output=size.most_output(most),
            holder=holder,
            price=price,
        )

    def _tell(
        self, journal: Journal, taken: Sequence[tuple[Measure, Cell]], verdict: Verdict, now: float, *, whole: bool
    ) -> None:
        """Note the headers for the client, and how much of the budgets is used."""
        gauges: list[Gauge] = []
        for (measure, cell), left, reset in zip(taken, verdict.left, verdict.reset, strict=True):
            if isinstance(measure.of, Budget):
                if cell.limit == measure.limit:
                    share = 1.0 - left / measure.limit
                    self._used.note(measure.of.name, cell.key, share, now=now, until=now + reset)
            elif measure.counts in ("requests", "tokens", "input_tokens", "output_tokens"):
                gauges.append(Gauge(measure.counts, int(measure.limit), max(0, int(left)), reset))
        if whole:
            journal.gauges = tuple(gauges)
        if self._counts.degraded or not (gauges or journal.gauges):
            journal.told = ()
        else:
            journal.told = client_codec(journal.dialect).write_limits(_tightest((*journal.gauges, *gauges)), now)


def _tightest(gauges: Sequence[Gauge]) -> Sequence[Gauge]:
    """Of each kind the gauge with the least left."""
    if len(gauges) == 1:
        return gauges
    found: dict[str, Gauge] = {}
    for gauge in gauges:
        other = found.get(gauge.counts)
        if other is None or (gauge.left, -gauge.reset) < (other.left, -other.reset):
            found[gauge.counts] = gauge
    return list(found.values())


def _refuse(journal: Journal, measure: Measure, verdict: Verdict) -> NoReturn:
    """Raise the error that says which limit refuses, and until when."""
    rule = measure.of
    seconds = max(1, ceil(verdict.retry_after))
    if isinstance(rule, Budget):
        journal.limit(rule.name, "budget_reserved" if verdict.reserved else "budget_spent")
        if not verdict.reserved:
            raise BudgetSpent(f"The budget `{rule.name}` is spent.", budget=rule, retry_after=seconds)
        said = f"Running requests have reserved what is left of the budget `{rule.name}`."
    else:
        assert measure.counts != "dollars", "only budgets count dollars"
        journal.limit(rule.name, measure.counts)
        said = f"{_SAID[measure.counts].format(measure.limit, rule.period)} (`{rule.name}`)."
    error = RateLimited(f"{said} Please try again in {seconds}s.", retry_after=seconds)
    error.rule = rule.name
    raise error


_SAID: dict[LimitedFor, str] = {
    "requests": "Rate limit reached: {:g} requests in {:g} seconds",
    "tokens": "Rate limit reached: {:g} tokens in {:g} seconds",
    "input_tokens": "Rate limit reached: {:g} input tokens in {:g} seconds",
    "output_tokens": "Rate limit reached: {:g} output tokens in {:g} seconds",
    "in_flight": "Too many requests at once: at most {:g} may run",
}
