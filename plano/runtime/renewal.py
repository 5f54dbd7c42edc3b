"""A mark in time before which connections to a store's server count as misled.

After a failover, connections stay open that lead to the old primary: it is frozen, or it answers as a replica. One bad
answer says the same about all connections of that age, so none of them is used again.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PAUSE = 1.0
"""Seconds between two renewals. A server that stays read-only for long must not cost a new connection per operation."""


class Renewal:
    """Tells connections opened before the last renewal from those opened since.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.now = clock
        self._since = float("-inf")

    def __call__(self) -> None:
        """Makes every connection that is open now outdated, at most once per `PAUSE`."""
        now = self.now()
        if now - self._since >= PAUSE:
            self._since = now

    def outdates(self, opened: float) -> bool:
        """Whether a connection that was opened at this time must not be used again."""
        return opened <= self._since
