"""The counts that the settings name, on any event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from plano.errors import ConfigError
from plano.limits.cells import Cell, Lease, Verdict
from plano.limits.memory import MemoryCounts
from plano.limits.settings import SharedState
from plano.runtime.clock import REAL, Clock

if TYPE_CHECKING:
    from plano.limits.shared import SharedCounts


def open_counts(settings: SharedState, clock: Clock = REAL) -> MemoryCounts | CountsPerLoop:
    """Makes the counts that the settings describe. Those in Redis connect on first use, and go by its server's
    time; all others by `clock`.

    Raises:
        ConfigError: the URL is missing or malformed.
    """
    if settings.type == "memory":
        return MemoryCounts(clock.now, clock.wall)
    if settings.url is None:
        raise ConfigError("shared_state.url: missing; type redis needs it, e.g. redis://localhost:6379/0")
    # redis-py is imported only where it is used, because it takes longer than all of plano.
    from plano.limits.redis import RedisCounts
    from plano.limits.shared import DEADLINE, PROBE_DEADLINE, SharedCounts
    from plano.redis_client import connect

    url = settings.url.reveal()

    def make() -> SharedCounts:
        client = connect(url, key="shared_state.url", timeout=DEADLINE, connect_timeout=PROBE_DEADLINE)
        return SharedCounts(RedisCounts(client), settings.on_failure)

    return CountsPerLoop(make)


class CountsPerLoop:
    """Shared counts on the running event loop.

    Connections to a server belong to the loop that they were opened on. An application that is called on another loop
    than before, as test clients do, gets new ones.

    Args:
        make: makes the counts for a loop. It is called once at the beginning, to find out whether it can.

    Attributes:
        failures: `SharedCounts.failures`, summed over all loops.
    """

    def __init__(self, make: Callable[[], SharedCounts]) -> None:
        self._make = make
        self._counts = make()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.failures = self._counts.failures

    def take(self, cells: Sequence[Cell]) -> Coroutine[Any, Any, Verdict]:
        return self._here().take(cells)

    def settle(self, corrections: Sequence[tuple[Cell, float]]) -> Coroutine[Any, Any, None]:
        return self._here().settle(corrections)

    def release(self, leases: Sequence[Lease]) -> Coroutine[Any, Any, None]:
        return self._here().release(leases)

    def renew(self, leases: Sequence[Lease]) -> Coroutine[Any, Any, None]:
        return self._here().renew(leases)

    def ready(self) -> Coroutine[Any, Any, bool]:
        """`SharedCounts.ready`."""
        return self._here().ready()

    @property
    def degraded(self) -> bool:
        return self._counts.degraded

    async def aclose(self) -> None:
        """Closes the connections. A later request opens new ones; those of another loop ended with it."""
        if self._loop is asyncio.get_running_loop():
            await self._counts.aclose()
        self._replace()
        self._loop = None

    def _here(self) -> SharedCounts:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._loop is not None:
                self._replace()
            self._loop = loop
        return self._counts

    def _replace(self) -> None:
        self._counts = self._make()
        self._counts.failures = self.failures
