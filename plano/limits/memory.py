"""Counts in the memory of one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, TypeAlias

from plano.limits.budgets import Purse
from plano.limits.cells import Cell, Lease, Rate, Sum, Verdict
from plano.limits.concurrency import Places
from plano.limits.rates import Bucket

CLIENT_MADE = "~"
"""The first character of keys whose subjects clients make up. They are bounded apart from all others, so that a client
who makes up many pushes out no count of a caller or tenant."""

MOST_KEYS = 50_000
"""The most counts of each kind of key that are kept; the oldest one makes room for another."""

_TIDIED = 2
"""The oldest counts that are looked at whenever one is added. Those that are full again go, so that the number stays
near that of the counts in use, and no request pays for many."""

_State: TypeAlias = Bucket | Places | Purse


class MemoryCounts:
    """Counts in memory. A decision is made in one step without an await, so that no other comes between.

    Args:
        clock: seconds that never go back, because a step of the machine's clock would hold limits up or let go of them.
        wall: Unix seconds, in which periods of the calendar end; the same as `clock` if only that is given.
    """

    degraded: bool = False

    def __init__(self, clock: Callable[[], float] | None = None, wall: Callable[[], float] | None = None) -> None:
        self._clock = clock or time.monotonic
        self._wall = wall or clock or time.time
        self._made: dict[str, _State] = {}
        self._known: dict[str, _State] = {}

    def take_now(self, cells: Sequence[Cell]) -> Verdict:
        """Take all cells or none."""
        now = self._clock()
        if len(cells) == 1:
            return self._take_one(cells[0], now)
        states: list[Any] = []
        refused, retry_after = None, 0.0
        for index, cell in enumerate(cells):
            state: Any = self._state(cell)
            states.append(state)
            wait = state.wait(cell, now)
            if wait > 0.0:
                refused = index if refused is None else refused
                retry_after = max(retry_after, wait)
        looks = []
        for cell, state in zip(cells, states, strict=True):
            if refused is None:
                looks.append(state.take(cell, now))
                if cell.key not in self._known:
                    self._keep(cell.key, state, now)
            else:
                looks.append(state.look(cell, now))
        lefts, resets = zip(*looks, strict=True)
        reserved = refused is not None and _is_reserved(states[refused], cells[refused])
        return Verdict(refused, retry_after, lefts, resets, reserved)

    def _take_one(self, cell: Cell, now: float) -> Verdict:
        """The same for one cell, in half the time."""
        known = self._known.get(cell.key)
        state: Any = self._state(cell) if known is None else known
        wait = state.wait(cell, now)
        if wait > 0.0:
            left, reset = state.look(cell, now)
            return Verdict(0, wait, (left,), (reset,), _is_reserved(state, cell))
        left, reset = state.take(cell, now)
        if known is None:
            self._keep(cell.key, state, now)
        return Verdict(None, 0.0, (left,), (reset,))

    def settle_now(self, corrections: Sequence[tuple[Cell, float]]) -> None:
        """Correct cells that were taken."""
        now = self._clock()
        for cell, correction in corrections:
            state: Any = self._state(cell)
            state.settle(cell, correction, now)
            if cell.key not in self._known:
                self._keep(cell.key, state, now)

    def release_now(self, leases: Sequence[Lease]) -> None:
        """Give places back."""
        for lease in leases:
            state = self._shelf(lease.key).get(lease.key)
            if isinstance(state, Places):
                state.release(lease.holder)

    def renew_now(self, leases: Sequence[Lease]) -> None:
        """Hold places for longer."""
        now = self._clock()
        for lease in leases:
            state: Any = self._state(lease)
            state.renew(lease, now)
            self._keep(lease.key, state, now)

    async def take(self, cells: Sequence[Cell]) -> Verdict:
        return self.take_now(cells)

    async def settle(self, corrections: Sequence[tuple[Cell, float]]) -> None:
        self.settle_now(corrections)

    async def release(self, leases: Sequence[Lease]) -> None:
        self.release_now(leases)

    async def renew(self, leases: Sequence[Lease]) -> None:
        self.renew_now(leases)

    async def aclose(self) -> None:
        """There is nothing to close; the counts stay, because they outlive a configuration."""

    def __len__(self) -> int:
        return len(self._made) + len(self._known)

    def _shelf(self, key: str) -> dict[str, _State]:
        return self._made if key[0] == CLIENT_MADE else self._known

    def _state(self, cell: Cell) -> _State:
        """The state of a cell, or a new one that is not kept yet."""
        key = cell.key
        state = self._known.get(key) or self._made.get(key)
        if state is not None:
            return state
        if isinstance(cell, Rate):
            return Bucket()
        return Places() if isinstance(cell, Lease) else Purse(self._wall() - self._clock())

    def _keep(self, key: str, state: _State, now: float) -> None:
        shelf = self._shelf(key)
        if key in shelf:
            return
        shelf[key] = state
        for oldest in list(islice(shelf, _TIDIED)):
            its = shelf.pop(oldest)
            if not its.is_idle(now):
                shelf[oldest] = its
        if len(shelf) > MOST_KEYS:
            del shelf[next(iter(shelf))]


def _is_reserved(state: _State, cell: Cell) -> bool:
    return isinstance(state, Purse) and isinstance(cell, Sum) and not state.is_spent(cell)
