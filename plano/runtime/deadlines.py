"""The deadlines of one event loop, checked in rounds by a single timer.

A timer of its own would cost each request as much as to authenticate its caller, and each connection some 600 bytes.
"""

from __future__ import annotations

import asyncio
from math import inf
from time import perf_counter
from typing import Protocol

from plano.runtime.per_loop import PerLoop

ROUND_SECONDS = 0.1
"""Seconds between two rounds, and so the most by which a deadline is noticed late."""


class Watched(Protocol):
    """An object with a deadline.

    Attributes:
        due: the deadline on `time.perf_counter()`; infinite if there is none.
    """

    due: float

    def overdue(self) -> None:
        """Called once the deadline has passed. `due` is infinite from then on, unless this sets another."""


class Deadlines:
    """Checks deadlines, as long as there is anything to watch.

    Attributes:
        loop: the event loop.
        watched: the objects whose deadlines are checked.
        running: whether there will be another round.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.watched: set[Watched] = set()
        self.running = False

    def add(self, watched: Watched) -> None:
        self.watched.add(watched)
        if not self.running:
            self.running = True
            self.loop.call_later(ROUND_SECONDS, self._check)

    def _check(self) -> None:
        self.running = bool(self.watched)
        if not self.running:
            return
        self.loop.call_later(ROUND_SECONDS, self._check)
        now = perf_counter()
        for each in [each for each in self.watched if each.due <= now]:
            if each.due <= now:  # an earlier call may have put this deadline off
                each.due = inf
                each.overdue()


deadlines_of = PerLoop(Deadlines)
"""The deadlines of an event loop. The caller has to keep them, because they go with their last user."""
