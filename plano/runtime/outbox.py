"""Holds the writes of one turn of an event loop, and does them at the turn's end, one after the other.

A write also wakes the peer, which takes longer than the rest of the write if the peer's processor sleeps. Between two
requests it has gone back to sleep; between two writes in a row it has not.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from plano.runtime.per_loop import PerLoop


class Held(Protocol):
    """A connection with something to write."""

    def flush(self) -> None:
        """Write the bytes that it holds, if it is still open. Must not raise."""


class Outbox:
    """The connections that have something to write at the end of this turn of an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._first: list[Held] = []
        self._rest: list[Held] = []

    def add(self, held: Held, *, first: bool = False) -> None:
        """Flush `held` at the end of this turn.

        Args:
            first: flush it before all others. Connections to upstreams do so, so that upstreams work while replies are
                written.
        """
        if not (self._rest or self._first):
            self.loop.call_soon(self._flush)
        (self._first if first else self._rest).append(held)

    def _flush(self) -> None:
        first, rest, self._first, self._rest = self._first, self._rest, [], []
        for each in first:
            each.flush()
        for each in rest:
            each.flush()


outbox_of = PerLoop(Outbox)
