"""Counts what was spent of a budget and what running requests have reserved of it, and knows the calendar's periods.

A request reserves the most that it may cost, and is charged what it did cost. So at least as much is left as it seems,
and a budget is overspent by no more than the one request that was let in with too little left.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple

from plano.limits.cells import Sum

RESERVED_SECONDS = 2.0
"""Seconds after which a request may ask again that was refused only because of running requests' reservations."""

_SLICES = 60
"""The parts in which a rolling period moves on. An amount counts for the period and up to one part longer."""


class CalendarPeriod(NamedTuple):
    """A period of the UTC calendar.

    Attributes:
        label: its first day, as `20261130`.
        ends: its end in Unix seconds.
    """

    label: str
    ends: float


def calendar_period(unit: Literal["day", "week", "month"], now: float) -> CalendarPeriod:
    """The period around `now`, which is in Unix seconds. Weeks begin on Mondays (ISO 8601)."""
    return _period_around(unit, int(now // 86400))


@lru_cache(16)
def _period_around(unit: Literal["day", "week", "month"], day: int) -> CalendarPeriod:
    begin = datetime.fromtimestamp(day * 86400, UTC)
    if unit == "day":
        end = begin + timedelta(days=1)
    elif unit == "week":
        begin -= timedelta(days=begin.weekday())
        end = begin + timedelta(days=7)
    else:
        begin = begin.replace(day=1)
        end = (begin + timedelta(days=31)).replace(day=1)
    return CalendarPeriod(f"{begin:%Y%m%d}", end.timestamp())


class Purse:
    """The state of a `Sum`.

    Args:
        offset: Unix time minus the time of the clock that `now` comes from.

    Attributes:
        spent: the amount that was spent in the period.
        reserved: the amount that running requests have reserved.
        running: their number.
    """

    __slots__ = ("_ends", "_offset", "_slices", "reserved", "running", "spent")

    def __init__(self, offset: float) -> None:
        self._offset = offset
        self.spent = 0.0
        self.reserved = 0.0
        self.running = 0
        self._slices: deque[_Slice] = deque()  # only for a rolling period
        self._ends: float | None = None

    def wait(self, cell: Sum, now: float) -> float:
        """Seconds until `cell` can be taken; 0.0 if it can be taken now."""
        self._forget(now)
        if self.spent >= cell.limit:
            return self._until_left(cell, now)
        if not self.running or self.spent + self.reserved + cell.cost <= cell.limit:
            return 0.0
        return RESERVED_SECONDS

    def take(self, cell: Sum, now: float) -> tuple[float, float]:
        """Reserve what `cell` asks for, and look at what is left then."""
        self.reserved += cell.cost
        self.running += 1
        if cell.ends is not None:
            self._ends = cell.ends - self._offset
        return self.look(cell, now)

    def settle(self, cell: Sum, correction: float, now: float) -> None:
        """Put the actual amount in the place of the one that `cell` reserved."""
        self.running = max(0, self.running - 1)
        self.reserved = self.reserved - cell.cost if self.running else 0.0
        amount = cell.cost + correction
        self.spent += amount
        if cell.period is not None and amount:
            self._note(amount, now, cell.period)

    def is_spent(self, cell: Sum) -> bool:
        """Whether nothing is left, reservations aside."""
        return self.spent >= cell.limit

    def look(self, cell: Sum, now: float) -> tuple[float, float]:
        """The amount that is neither spent nor reserved, below zero if it is overspent, and the seconds until nothing
        of it is spent any more, if nothing else is."""
        left = cell.limit - self.spent - self.reserved
        if cell.ends is not None:
            return left, max(0.0, cell.ends - self._offset - now)
        return left, max(0.0, self._slices[-1].ends - now) if self._slices else 0.0

    def is_idle(self, now: float) -> bool:
        """Whether nothing would be lost without it."""
        self._forget(now)
        if self._ends is not None and self._ends <= now:
            return True
        return not self.running and not self.spent

    def _until_left(self, cell: Sum, now: float) -> float:
        if cell.ends is not None:
            return max(_SOON, cell.ends - self._offset - now)
        rest = self.spent
        for each in self._slices:
            rest -= each.amount
            if rest < cell.limit:
                return max(_SOON, each.ends - now)
        return _SOON

    def _note(self, amount: float, now: float, period: float) -> None:
        length = period / _SLICES
        ends = (now // length + 1) * length + period
        if not self._slices or self._slices[-1].ends < ends:
            self._slices.append(_Slice(ends))
        self._slices[-1].amount += amount

    def _forget(self, now: float) -> None:
        """Forget what was spent before a rolling period."""
        while self._slices and self._slices[0].ends <= now:
            self.spent -= self._slices.popleft().amount
            if not self._slices:
                self.spent = 0.0  # whatever is left of sums of floating point numbers


_SOON = 0.001
"""The least seconds of a wait."""


class _Slice:
    __slots__ = ("amount", "ends")

    def __init__(self, ends: float) -> None:
        self.ends = ends
        self.amount = 0.0
