"""Deadlines that are gone over in rounds: one timer for all that an event loop has to watch.

A timer for each would cost a request as much as finding out who is asking does, and each connection some 600 bytes.
"""

from __future__ import annotations

import asyncio
from math import inf
from time import perf_counter
from typing import Protocol

from plano.runtime.per_loop import PerLoop

EVERY = 0.1
"""Seconds between two rounds; a deadline is noticed so much later at most."""


class Watched(Protocol):
    """What has a deadline.

    Attributes:
        due: when it has passed, by `time.perf_counter()`; infinite if there is none.
    """

    due: float

    def overdue(self) -> None:
        """It has passed, and `due` is infinite from now on, unless this sets another."""


class Rounds:
    """Goes round while there is anything to watch.

    Attributes:
        loop: the event loop.
        watched: all that is looked after.
        running: there will be another round.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.watched: set[Watched] = set()
        self.running = False

    def add(self, watched: Watched) -> None:
        self.watched.add(watched)
        if not self.running:
            self.running = True
            self.loop.call_later(EVERY, self._go)

    def _go(self) -> None:
        self.running = bool(self.watched)
        if not self.running:
            return
        self.loop.call_later(EVERY, self._go)
        now = perf_counter()
        for each in [each for each in self.watched if each.due <= now]:
            if each.due <= now:  # still, after what came of the others
                each.due = inf
                each.overdue()


rounds_of = PerLoop(Rounds)
"""The rounds of an event loop, for whoever holds on to them."""
