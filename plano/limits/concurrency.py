"""Counts requests that run at the same time, by leases that expire.

A lease is given back when its request is over. One whose process was killed expires, because nobody renews it.
"""

from __future__ import annotations

from plano.limits.cells import LEASE_SECONDS, Lease

_SECONDS_UNTIL_NEXT = 1.0
"""Seconds after which it is worth asking again for a place, because nobody knows how long the requests take."""


class Places:
    """The state of a `Lease`: the moments at which its holders' places expire, the soonest first."""

    __slots__ = ("_expiries",)

    def __init__(self) -> None:
        self._expiries: dict[str, float] = {}

    def wait(self, cell: Lease, now: float) -> float:
        """Seconds until it is worth asking again; 0.0 if a place is free."""
        if len(self._expiries) < cell.limit:
            return 0.0
        self._expire(now)
        if len(self._expiries) < cell.limit:
            return 0.0
        return min(_SECONDS_UNTIL_NEXT, next(iter(self._expiries.values())) - now)

    def take(self, cell: Lease, now: float) -> tuple[float, float]:
        """Take a place, and look at what is left then."""
        self._expiries[cell.holder] = now + LEASE_SECONDS
        return self.look(cell, now)

    def release(self, holder: str) -> None:
        self._expiries.pop(holder, None)

    def renew(self, cell: Lease, now: float) -> None:
        self._expiries.pop(cell.holder, None)  # it moves to the end, so that the order stays that of the moments
        self.take(cell, now)

    def look(self, cell: Lease, now: float) -> tuple[float, float]:
        """The places that are free, below zero after the limit was lowered, and the seconds until all of them are, if
        none is renewed."""
        latest = next(reversed(self._expiries.values()), now)
        return float(cell.limit - len(self._expiries)), max(0.0, latest - now)

    def is_idle(self, now: float) -> bool:
        """Whether nothing would be lost without it."""
        self._expire(now)
        return not self._expiries

    def _expire(self, now: float) -> None:
        while self._expiries:
            holder, expiry = next(iter(self._expiries.items()))
            if expiry > now:
                return
            del self._expiries[holder]
