"""Counts an amount per period by GCRA, the generic cell rate algorithm (ITU-T I.371), as a leaky bucket.

What was taken leaks out at limit / period, and the bucket holds the whole limit: the burst is the limit, so that a
bucket at rest gives all of it at once. The level is kept, and not the moment when the bucket is empty: at Unix times
the sums of such moments are off by more than a unit.
"""

from __future__ import annotations

from plano.limits.cells import Rate

_TOLERANCE = 1e-6
"""The part of a unit by which sums of floating point numbers may be off."""


class Bucket:
    """The state of a `Rate`. All times are seconds of one clock."""

    __slots__ = ("_at", "_used", "full_at")

    def __init__(self) -> None:
        self._used = 0.0
        self._at = 0.0
        self.full_at = 0.0

    def wait(self, cell: Rate, now: float) -> float:
        """Seconds until `cell` can be taken; 0.0 if it can be taken now. A cost above the limit waits for a full
        bucket."""
        if self.full_at <= now:
            return 0.0
        excess = self._level(cell, now)
        if cell.cost < cell.limit:
            excess -= cell.limit - cell.cost
        return excess * cell.period / cell.limit if excess > _TOLERANCE else 0.0

    def take(self, cell: Rate, now: float) -> tuple[float, float]:
        """Take what `cell` asks for, and look at what is left then."""
        return self.settle(cell, cell.cost, now)

    def settle(self, cell: Rate, correction: float, now: float) -> tuple[float, float]:
        """Take more, or give some back, and look at what is left then."""
        used = correction if self.full_at <= now else self._level(cell, now) + correction
        self._used = used = used if used > 0.0 else 0.0
        self._at = now
        reset = used * cell.period / cell.limit
        self.full_at = now + reset
        return cell.limit - used, reset

    def look(self, cell: Rate, now: float) -> tuple[float, float]:
        """The amount that is left, below zero if there is debt, and the seconds until the bucket is full."""
        used = self._level(cell, now)
        return cell.limit - used, used * cell.period / cell.limit

    def is_idle(self, now: float) -> bool:
        """Whether nothing would be lost without it."""
        return self.full_at <= now

    def _level(self, cell: Rate, now: float) -> float:
        """The amount that has not leaked out yet."""
        return 0.0 if self.full_at <= now else max(0.0, self._used - (now - self._at) * cell.limit / cell.period)
