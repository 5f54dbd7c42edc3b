"""Deadlines around a backend: every operation ends in time, and a store that hangs costs little."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from plano.errors import StoreUnavailable

T = TypeVar("T")

log = logging.getLogger("plano.state")

PATIENCE = 3
"""The guard shuts after this many timeouts in a row. It is more than one because a single large write on a slow link
says nothing about the store."""

PAUSE = 1.0
"""Seconds between two tries while the guard is shut."""


class Guard:
    """Runs a backend's operations under a deadline and turns a client library's errors into `StoreUnavailable`.

    A server that is frozen rather than dead makes each caller wait out the deadline. After `PATIENCE` such waits in
    a row the guard shuts: operations fail at once, except for one every `PAUSE` seconds that finds out
    whether the store answers again. The first success opens it.

    Args:
        name: the store's type, for messages.
        failures: `Backend.failures`.
        deadline: seconds for one operation, or None where nothing can hang or fail.
        renew: `Backend.renew`, called after a timeout.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        failures: tuple[type[Exception], ...],
        deadline: float | None,
        *,
        renew: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._clock = clock
        self._failures: tuple[type[Exception], ...] = (TimeoutError, *failures)
        self._deadline = deadline
        self._renew = renew
        self._slow = 0
        self._shut_until = 0.0
        self._down = False

    async def run(self, work: Coroutine[Any, Any, T], *, proves: bool = True) -> T:
        """Awaits `work` and returns its result.

        Args:
            work: the operation.
            proves: whether its success shows that the store is in order. A read does not, because a full or demoted
                server answers reads.

        Raises:
            StoreUnavailable: it failed, took longer than the deadline, or was not tried.
        """
        if self._deadline is None:  # in memory there is nothing to wait for, nor anything that fails
            return await work
        started = self._clock()
        if not self._admits(started):
            work.close()
            raise StoreUnavailable(f"The state store ({self._name}) does not answer.", retry_after=PAUSE)
        try:
            async with asyncio.timeout(self._deadline):
                result = await work
        except self._failures as error:
            raise self._failed(error, started) from error
        self._slow = 0
        if self._down and proves:
            self._down = False
            log.warning("state store %s: answers again", self._name)
        return result

    def _admits(self, now: float) -> bool:
        if self._slow < PATIENCE:
            return True
        if now < self._shut_until:
            return False
        self._shut_until = now + (self._deadline or 0.0) + PAUSE
        return True

    def _failed(self, error: Exception, started: float) -> StoreUnavailable:
        now = self._clock()
        # A client library's own timeout, by another name, may come a moment before ours.
        late = now - started >= 0.9 * (self._deadline or 0.0)
        timed_out = late or isinstance(error, TimeoutError)
        if timed_out:
            self._renew()
            self._slow += 1
            self._shut_until = now + PAUSE
        if not self._down:
            self._down = True
            log.warning("state store %s: unavailable (%s)", self._name, _shown(error))
        if timed_out:
            return StoreUnavailable(f"The state store ({self._name}) did not answer in time.", retry_after=PAUSE)
        return StoreUnavailable(f"The state store ({self._name}) cannot be used now.", retry_after=PAUSE)


def _shown(error: Exception) -> str:
    """An error's class, and SQLite's message: a locked file, a full disk. Other messages may hold a password."""
    kind = type(error)
    return f"{kind.__name__}: {error}" if kind.__module__ == "sqlite3" else kind.__name__
