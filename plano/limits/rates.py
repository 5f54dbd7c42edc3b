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
        behind = self.full_at - now
        excess = (behind if behind > 0.0 else 0.0) + (min(cell.cost, cell.limit) - cell.limit) * unit
        return excess if excess > _TOLERANCE * unit else 0.0

    def take(self, cell: Rate, now: float) -> None:
        self._move(cell, cell.cost, now)

    def settle(self, cell: Rate, correction: float, now: float) -> None:
        """Take more, or give some back."""
        self._move(cell, correction, now)

    def left(self, cell: Rate, now: float) -> float:
        """The amount that is left; below zero there is debt."""
        return cell.limit - self.reset(cell, now) * cell.limit / cell.period

    def reset(self, cell: Rate, now: float) -> float:
        """Seconds until the bucket is full."""
        return max(0.0, self.full_at - now)

    def is_idle(self, now: float) -> bool:
        """Whether nothing would be lost without it."""
        return self.full_at <= now

    def _move(self, cell: Rate, amount: float, now: float) -> None:
        self.full_at = max(self.full_at, now) + amount * cell.period / cell.limit
