"""Upkeep of what requests hold: settlements and releases go to the counts in batches, and leases are renewed.

Requests end in many places: in a coroutine, in a callback, in a batch of finished requests, at the end of the process.
None of these waits for a database. One task at a time sends everything that is due, and one timer renews all leases.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine, Sequence
from itertools import count
from typing import Any

from plano.limits.cells import RENEW_SECONDS, Cell, Counts, Lease
from plano.limits.memory import MemoryCounts

logger = logging.getLogger("plano")


class Upkeep:
    """Looks after the grants of one event loop. It knows its loop, so that `plano.runtime.per_loop.PerLoop` keeps it.

    Args:
        counts: those in memory are corrected at once, all others by a task.
    """

    def __init__(self, counts: Counts, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._counts = counts
        self._memory = counts if isinstance(counts, MemoryCounts) else None
        self._leases: dict[tuple[str, str], Lease] = {}
        self._corrections: list[tuple[Cell, float]] = []
        self._releases: list[Lease] = []
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None
        self._waking = self._renewal_due = False
        self._name = os.urandom(6).hex()
        self._numbers = count(1)

    def holder(self) -> str:
        """A new id for the holder of a lease."""
        return f"{self._name}:{next(self._numbers)}"

    def hold(self, leases: Sequence[Lease]) -> None:
        """Renew leases until they are released."""
        for lease in leases:
            self._leases[lease.key, lease.holder] = lease
        if self._timer is None:
            self._timer = self.loop.call_later(RENEW_SECONDS, self._renew)

    def settle(self, corrections: Sequence[tuple[Cell, float]]) -> None:
        """Correct cells that were taken. May be called in any thread."""
        if self._memory is not None:
            self._memory.settle_now(corrections)
        else:
            self._corrections += corrections
            self._wake()

    def release(self, leases: Sequence[Lease]) -> None:
        """Give places back."""
        for lease in leases:
            self._leases.pop((lease.key, lease.holder), None)
        if self._memory is not None:
            self._memory.release_now(leases)
        else:
            self._releases += leases
            self._wake()

    @property
    def busy(self) -> bool:
        """Whether anything is due that the counts do not know yet."""
        return bool(self._corrections or self._releases) or self._sending is not None

    async def flush(self) -> None:
        """Wait until everything that is due has been sent."""
        while self._is_due or self._sending is not None:
            self._start()
            if self._sending is not None:
                await asyncio.wait([self._sending])

    @property
    def _is_due(self) -> bool:
        return bool(self._corrections or self._releases or self._renewal_due)

    def _wake(self) -> None:
        if self._waking:
            return
        self._waking = True
        try:
            self.loop.call_soon_threadsafe(self._start)
        except RuntimeError:  # the loop is closed, and what it held is forgotten when it expires
            self._waking = False

    def _start(self) -> None:
        self._waking = False
        if self._sending is None and self._is_due:
            self._sending = self.loop.create_task(self._send())

    async def _send(self) -> None:
        try:
            while self._is_due:
                corrections, self._corrections = self._corrections, []
                releases, self._releases = self._releases, []
                if releases:
                    await _logged(self._counts.release(releases))
                if corrections:
                    await _logged(self._counts.settle(corrections))
                if self._renewal_due:
                    # One call after the other: a renewal that overtook a release would take the place again.
                    self._renewal_due = False
                    await _logged(self._counts.renew(list(self._leases.values())))
        finally:
            self._sending = None

    def _renew(self) -> None:
        self._timer = None
        if not self._leases:
            return
        self._timer = self.loop.call_later(RENEW_SECONDS, self._renew)
        if self._memory is not None:
            self._memory.renew_now(list(self._leases.values()))
        else:
            self._renewal_due = True
            self._start()


async def _logged(call: Coroutine[Any, Any, None]) -> None:
    """Await a call; the counts themselves say when they cannot be reached."""
    try:
        await call
    except Exception:
        logger.exception("limits could not be corrected")
