"""The retry budget of one target: how many of its requests may be repeated at it.

Repeats multiply an outage. Each repeat therefore costs one token of a bucket, which a share of every request and three
tokens a second fill: where the budget is 20 %, a target that is down gets 1.2 times its requests and three a second,
however often each of them might be tried. (Finagle's `RetryBudget`, whose share and reserve these are, counts the
requests of the last ten seconds instead; a full bucket of it lets a storm go on for longer.)
"""

from __future__ import annotations

from collections.abc import Callable

RESERVE = 3.0
"""The repeats a second that a target may have with hardly any requests."""

CAPACITY = 30.0
"""The most repeats that are saved: ten seconds of the reserve."""


class RetryBudget:
    """Counts requests and repeats.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tokens = CAPACITY
        self._at = clock()

    def earn(self, share: float) -> None:
        """A request came for the first time to the target, which is worth `share` of a repeat."""
        self._tokens = min(CAPACITY, self._tokens + share)

    def take(self) -> bool:
        """Whether a request may be repeated at the target; if so, the repeat is paid for."""
        now = self._clock()
        self._tokens = min(CAPACITY, self._tokens + RESERVE * (now - self._at))
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
