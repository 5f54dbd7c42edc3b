"""The protocol of counting: cells that are taken together, and the verdict on them.

A decision is one `take` over all cells of a request: it takes all of them or none. What was reserved is corrected by
`settle` when the real usage is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

LEASE_SECONDS = 15.0
"""Seconds after which a lease that nobody renewed is free again."""

RENEW_SECONDS = 5.0
"""Seconds between two renewals of the leases that are held."""


class Rate(Struct, frozen=True):
    """An amount per period, counted by GCRA; the burst is the whole limit.

    Attributes:
        key: the name of the count.
        limit: the most in a period.
        period: its seconds.
        cost: the amount that is asked for. A cost above the limit is admitted when the bucket is full; debt follows.
    """

    key: str
    limit: float
    period: float
    cost: float


class Lease(Struct, frozen=True):
    """One of `limit` places, held until it is released or until `LEASE_SECONDS` after its last renewal.

    Attributes:
        key: the name of the places.
        limit: their number.
        holder: an id of its own for each place that is held.
    """

    key: str
    limit: int
    holder: str


class Sum(Struct, frozen=True):
    """An amount in a period: a budget.

    Attributes:
        key: the name of the count; for a period of the calendar its begin is part of it.
        limit: the most in a period.
        cost: the amount that is reserved. It is admitted where it is larger than what is left, as long as something is
            left and nothing else is reserved.
        ends: Unix seconds at which a period of the calendar ends; None for a rolling one.
        period: seconds of a rolling period; None for one of the calendar.
    """

    key: str
    limit: float
    cost: float
    ends: float | None
    period: float | None


Cell: TypeAlias = Rate | Lease | Sum
"""One count that a request takes from."""


class Verdict(Struct, frozen=True):
    """The decision about all cells of a `take`.

    Attributes:
        refused: the index of the first cell that refuses; None if all were taken. A refusal takes nothing.
        retry_after: seconds until it would be taken; 0.0 if nothing was refused.
        left: what is left in each cell.
        reset: seconds until each cell is full again.
        reserved: a `Sum` was refused only because of reservations that run; it is not spent.
    """

    refused: int | None
    retry_after: float
    left: tuple[float, ...]
    reset: tuple[float, ...]
    reserved: bool = False


class Counts(Protocol):
    """A store of counts."""

    async def take(self, cells: Sequence[Cell]) -> Verdict:
        """Take all cells or none, in one decision."""
        ...

    async def settle(self, corrections: Sequence[tuple[Cell, float]]) -> None:
        """Correct cells that were taken: for each the actual amount minus the reserved one, which may be negative."""
        ...

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give places back."""
        ...

    async def renew(self, leases: Sequence[Lease]) -> None:
        """Hold places for another `LEASE_SECONDS`."""
        ...

    @property
    def degraded(self) -> bool:
        """Whether counts are at this moment not shared as the configuration says."""
        ...

    async def aclose(self) -> None: ...
