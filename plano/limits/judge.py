"""Judges requests and attempts by the rules and budgets: one decision over everything that one counts for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import chain
from math import ceil
from typing import NoReturn

from plano.dialects import CLIENT_CODECS
from plano.dialects.codec import Gauge
from plano.errors import BudgetSpent, RateLimited
from plano.journal import Journal, LimitedFor
from plano.limits.cells import Cell, Counts, Verdict
from plano.limits.grants import NOTHING, Grant
from plano.limits.measures import Family, Measure, families
from plano.limits.memory import MemoryCounts
from plano.limits.needs import Need, Prices
from plano.limits.settings import Budget, Rule
from plano.limits.upkeep import Upkeep
from plano.limits.used import Used
from plano.operations import operation_of
from plano.provider import Target
from plano.request import Request
from plano.runtime.per_loop import PerLoop

_MOST_TARGETS = 1024
"""The most targets whose rules are remembered."""

_ROUNDING = 0.001
"""The part of a unit by which sums of floating point numbers may be off."""


class Judge:
    """Decides whether a request, and each attempt of it, may go on.

    Rules that name no model are judged once for a request. Rules that name one, rules by entry and budgets are judged
    for each target that it goes to.

    Args:
        rules, budgets: as the configuration has them.
        counts: where they are counted.
        prices: the prices of targets, for budgets in dollars.
        clock: Unix seconds, which decide the periods of the calendar.
        settle: settles requests that are over, and tells whether there were any. It is called before a refusal,
            because they are settled in batches.

    Attributes:
        concerns_requests: whether any rule is judged for requests. Without one, `for_request` need not be called.
        concerns_targets: whether any rule or budget is judged for targets.
        at_once: whether `for_request_now` may be called, because the counts are in memory.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        budgets: Sequence[Budget],
        counts: Counts,
        prices: Prices,
        *,
        clock: Callable[[], float] = time.time,
        settle: Callable[[], bool] = lambda: False,
    ) -> None:
        self._counts = counts
        self._settle = settle
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
        self._of_target: dict[tuple[str, str], tuple[Family, ...]] = {}
        self.concerns_requests = bool(self._of_requests)
        self.concerns_targets = bool(self._by_model)
        self.at_once = self._memory is not None
        self._used = Used()

    def concerns(self, target: Target) -> bool:
        """Whether anything is judged for this target. If not, `for_target` need not be called."""
        return self.concerns_targets and bool(self._families(target))

    def for_request(self, request: Request) -> Awaitable[Grant]:
        """Take what the rules for all requests count.

        Raises:
            RateLimited: a rule refuses. Nothing was taken.
            InvalidRequest: a header that a rule requires is absent.
            StoreUnavailable: the shared counts do not answer, and are to be obeyed.
        """
        return self._decide(request, None, self._of_requests, None)

    def for_request_now(self, request: Request) -> Grant:
        """The same as `for_request` without waiting, which takes half the time."""
        assert self._memory is not None, "see `at_once`"
        return self._decide_now(request, None, self._of_requests, None, self._memory)

    def for_target(self, request: Request, target: Target, *, over: Budget | None = None) -> Awaitable[Grant]:
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
        return self._decide(request, target, self._families(target), over)

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
        found = self._of_target.get((target.name, target.entry))
        if found is None:
            names = dict.fromkeys((None, target.name, target.entry, f"{target.provider.name}/*"))
            found = tuple(chain.from_iterable(self._by_model.get(name, ()) for name in names))
            if len(self._of_target) >= _MOST_TARGETS:  # wildcards have as many as clients make up
                self._of_target.clear()
            self._of_target[target.name, target.entry] = found
        return found

    async def _decide(
        self, request: Request, target: Target | None, concerned: Sequence[Family], over: Budget | None
    ) -> Grant:
        if self._memory is not None:
            return self._decide_now(request, target, concerned, over, self._memory)
        need = Need(request, target, self._prices, self._clock(), self._new_holder)
        measures, cells = self._asked(request, target, concerned, over, need)
        if not cells:
            return NOTHING
        verdict = await self._counts.take(cells)
        if _waits_for_settlement(verdict, measures) and (self._settle() or self._upkeep().busy):
            await self.flush()
            verdict = await self._counts.take(cells)
        return self._granted(request, need, measures, cells, verdict)

    def _decide_now(
        self,
        request: Request,
        target: Target | None,
        concerned: Sequence[Family],
        over: Budget | None,
        counts: MemoryCounts,
    ) -> Grant:
        need = Need(request, target, self._prices, self._clock(), self._new_holder)
        measures, cells = self._asked(request, target, concerned, over, need)
        if not cells:
            return NOTHING
        verdict = counts.take_now(cells)
        if _waits_for_settlement(verdict, measures) and self._settle():
            verdict = counts.take_now(cells)
        return self._granted(request, need, measures, cells, verdict)

    def _new_holder(self) -> str:
        return self._upkeep().holder()

    def _asked(
        self,
        request: Request,
        target: Target | None,
        concerned: Sequence[Family],
        over: Budget | None,
        need: Need,
        *,
        refuses: bool = True,
    ) -> tuple[list[Measure], list[Cell]]:
        """The cells that a request takes, and the measure of each. Those of a budget that is charged over its limit do
        not refuse. Where it counts by entry, the entry that was asked for pays."""
        asked: list[Measure] = []
        cells: list[Cell] = []
        for family in concerned:
            measures, subject = family.measures(request, target)
            for measure in measures:
                if measure.uses_tokens and not operation_of(request.operation).uses_tokens:
                    continue
                if over is not None and measure.of == over:
                    continue
                cell = measure.cell(subject, need, refuses=refuses)
                if cell is not None:
                    asked.append(measure)
                    cells.append(cell)
        if over is not None:
            its = tuple(chain.from_iterable(self._of_budget[over.name].values()))
            more, charged = self._asked(request, request.target or target, its, None, need, refuses=False)
            asked += more
            cells += charged
        return asked, cells

    def _granted(
        self, request: Request, need: Need, measures: Sequence[Measure], cells: Sequence[Cell], verdict: Verdict
    ) -> Grant:
        """The grant of what was taken. Raises the error of the limit that refused."""
        journal = request.journal
        self._tell(journal, need, measures, cells, verdict)
        if verdict.refused is not None:
            _refuse(journal, measures[verdict.refused], verdict)
        held = None
        for measure, cell in zip(measures, cells, strict=True):
            if measure.counts != "requests":
                held = held or []
                held.append((measure, cell))
        return NOTHING if held is None else Grant(held, journal, self._upkeep(), need.price)

    def _tell(
        self, journal: Journal, need: Need, measures: Sequence[Measure], cells: Sequence[Cell], verdict: Verdict
    ) -> None:
        """Note the headers for the client, and how much of the budgets is used."""
        gauges: list[Gauge] = []
        for measure, cell, left, reset in zip(measures, cells, verdict.left, verdict.reset, strict=True):
            if measure.told is not None:
                left = int(left + _ROUNDING)
                gauges.append(Gauge(measure.told, int(measure.limit), left if left > 0 else 0, reset))
            elif measure.of.__class__ is Budget and cell.limit == measure.limit:
                share = 1.0 - left / measure.limit
                self._used.note(measure.of.name, cell.key, share, now=need.now, until=need.now + reset)
        if need.target is None:
            journal.gauges = gauges
        elif journal.gauges:
            gauges = [*journal.gauges, *gauges]
        journal.told = ()
        if gauges and not self._counts.degraded:
            told = gauges if len(gauges) == 1 else _tightest(gauges)
            journal.told = CLIENT_CODECS[journal.dialect].write_limits(told, need.now)


def _waits_for_settlement(verdict: Verdict, measures: Sequence[Measure]) -> bool:
    """Whether a refusal may be due to what requests have reserved that are over and not settled yet."""
    return verdict.refused is not None and measures[verdict.refused].uses_tokens


def _tightest(gauges: Sequence[Gauge]) -> Sequence[Gauge]:
    """The gauge with the least left of each kind."""
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
    raise RateLimited(f"{said} Please try again in {seconds}s.", retry_after=seconds, rule=rule.name)


_SAID: dict[LimitedFor, str] = {
    "requests": "Rate limit reached: {:g} requests in {:g} seconds",
    "tokens": "Rate limit reached: {:g} tokens in {:g} seconds",
    "input_tokens": "Rate limit reached: {:g} input tokens in {:g} seconds",
    "output_tokens": "Rate limit reached: {:g} output tokens in {:g} seconds",
    "in_flight": "Too many requests at once: at most {:g} may run",
}
