"""The state store of one `Plano`, on any event loop."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable

from plano.errors import StoreUnavailable
from plano.state import StateSettings, Store, open_store

CHECK_SECONDS = 3.0
"""Seconds for which the result of a check is reused."""


class Stores:
    """Opens the store at once, to find out whether its settings can work, and connects on first use.

    Connections to a server belong to the event loop they were opened on. An application that is called on
    another loop than before, as test clients do, gets a new store there; state in memory or in a file stays.

    Attributes:
        operations: `Store.operations`, summed over all the stores that this has opened.

    Raises:
        ConfigError: see `plano.state.open_store`.
    """

    def __init__(self, settings: StateSettings) -> None:
        self._settings = settings
        self._bound = settings.type in ("redis", "postgres")
        self.operations: defaultdict[tuple[str, bool], int] = defaultdict(int)
        self._store = self._open()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self) -> Store:
        """The store of the running loop."""
        if self._bound:
            loop = asyncio.get_running_loop()
            if loop is not self._loop:
                if self._loop is not None:
                    self._store = self._open()
                self._loop = loop
        return self._store

    async def aclose(self) -> None:
        """Closes the connections and drops the state in memory. A later request opens the store again.

        Connections of another loop are left alone: they ended with it."""
        if not self._bound or self._loop is asyncio.get_running_loop():
            await self._store.aclose()
        self._store, self._loop = self._open(), None

    def _open(self) -> Store:
        store = open_store(self._settings)
        store.operations = self.operations
        return store


class StoreCheck:
    """Finds out whether the store can be written to, at most once per `CHECK_SECONDS` however often it is called."""

    def __init__(self, stores: Stores, clock: Callable[[], float] = time.monotonic) -> None:
        self._stores = stores
        self._clock = clock
        self._check: asyncio.Task[bool] | None = None
        self._until = 0.0

    async def __call__(self) -> bool:
        check = self._check
        stale = check is None or (check.done() and self._clock() >= self._until)
        if check is None or stale or check.get_loop() is not asyncio.get_running_loop():
            self._check = check = asyncio.create_task(self._writes(), name="plano-state-check")
        return await asyncio.shield(check)  # other calls may wait for it too

    async def _writes(self) -> bool:
        try:
            await self._stores().ping()
        except StoreUnavailable:
            return False
        finally:
            self._until = self._clock() + CHECK_SECONDS
        return True
