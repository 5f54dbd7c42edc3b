"""Remembers what shared counts have to be told as soon as they can be reached again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias, TypeVar

from msgspec import structs

from plano.limits.cells import Cell, Lease, Rate, Sum

T = TypeVar("T")

Settlement: TypeAlias = tuple[Rate | Sum, float, int]
"""A cell with the reserved amount as its cost, the actual amount minus that, and the number of takes it corrects."""

MOST_KEYS = 10_000
"""The most budgets, and the most places, that are remembered."""

MOST_BATCHES = 100
"""The most batches that are remembered as they were told. Few are, because no call is made while Redis is known not to
answer."""


class Batch(NamedTuple):
    """Settlements that are told together.

    Attributes:
        mark: a name of its own, by which a batch that is told twice counts once.
    """

    mark: str
    settlements: Sequence[Settlement]


class Owed:
    """Corrections of budgets, and places to give back.

    Rates are not remembered. A bucket that nobody could reach has filled up meanwhile.
    """

    def __init__(self) -> None:
        self._batches: list[Batch] = []
        self._sums: dict[str, tuple[Sum, float, int]] = {}
        self._leases: dict[str, Lease] = {}

    def tell_again(self, batch: Batch) -> None:
        """Remembers a batch as it was told, because nobody knows whether it arrived."""
        if len(self._batches) < MOST_BATCHES:
            self._batches.append(batch)

    def settle(self, corrections: Sequence[tuple[Cell, float]]) -> None:
        """Remembers corrections that have not been told, summed up by key."""
        for cell, difference in corrections:
            if isinstance(cell, Sum):
                self._add(cell, difference)

    def release(self, leases: Sequence[Lease]) -> None:
        """Remembers places to give back."""
        for lease in leases:
            if len(self._leases) < MOST_KEYS:
                self._leases[lease.holder + lease.key] = lease

    def pop_batch(self, most: int, mark: str) -> Batch | None:
        """Forgets what is to be told next, and returns it: a batch that was told, or a new one with this mark."""
        if self._batches:
            return self._batches.pop(0)
        sums = _pop(self._sums, most)
        return Batch(mark, sums) if sums else None

    def pop_leases(self, most: int) -> list[Lease]:
        """Forgets the oldest places, and returns them."""
        return _pop(self._leases, most)

    def _add(self, cell: Sum, difference: float) -> None:
        before = self._sums.get(cell.key)
        if before is not None:
            total = structs.replace(cell, cost=cell.cost + before[0].cost)
            self._sums[cell.key] = (total, difference + before[1], 1 + before[2])
        elif len(self._sums) < MOST_KEYS:
            self._sums[cell.key] = (cell, difference, 1)


def _pop(found: dict[str, T], most: int) -> list[T]:
    return [found.pop(key) for key in list(islice(found, most))]
