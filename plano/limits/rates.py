"""Counts an amount per period by GCRA, the generic cell rate algorithm (ITU-T I.371): one moment per count.

The moment is when the bucket is full again. Each unit that is taken moves it on by period / limit, and the bucket holds
as much as lies between now and then. The burst is the whole limit, so that a bucket at rest gives all of it at once.
"""

from __future__ import annotations

from plano.limits.cells import Rate

_TOLERANCE = 1e-6
"""The part of a unit by which sums of floating point numbers may be off."""


class Bucket:
    """The state of a `Rate`. All times are seconds of one clock."""

    __slots__ = ("full_at",)

    def __init__(self) -> None:
        self.full_at = 0.0

    def wait(self, cell: Rate, now: float) -> float:
        """Seconds until `cell` can be taken; 0.0 if it can be taken now. A cost above the limit waits for a full
        bucket."""
        unit = cell.period / cell.limit
        excess = self.full_at - now
        if excess <= 0.0:
            return 0.0
        if cell.cost < cell.limit:
            excess -= (cell.limit - cell.cost) * unit
        return excess if excess > _TOLERANCE * unit else 0.0

    def take(self, cell: Rate, now: float) -> None:
        self.settle(cell, cell.cost, now)

    def settle(self, cell: Rate, correction: float, now: float) -> None:
        """Take more, or give some back."""
        full_at = self.full_at
        self.full_at = (full_at if full_at > now else now) + correction * cell.period / cell.limit

    def look(self, cell: Rate, now: float) -> tuple[float, float]:
        """The amount that is left, below zero if there is debt, and the seconds until the bucket is full."""
        reset = self.full_at - now
        if reset <= 0.0:
            return cell.limit, 0.0
        return cell.limit - reset * cell.limit / cell.period, reset

    def is_idle(self, now: float) -> bool:
        """Whether nothing would be lost without it."""
        return self.full_at <= now
