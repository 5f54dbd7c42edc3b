"""The clock of plano's waits, deadlines, rests and limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from plano.runtime.patience import Patience

T = TypeVar("T")


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> None: ...


class Clock:
    """The machine's time. Tests have one that they move, `plano.testing.FakeClock`.

    Times that are only measured, for metrics and logs, and those of connections are the machine's in any case.

    Attributes:
        now: gives seconds that never go back.
        wall: gives Unix seconds.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter, wall: Callable[[], float] = time.time) -> None:
        self.now = now
        self.wall = wall

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[Any]:
        """A context that raises TimeoutError if it takes longer."""
        return Patience(seconds)

    def call_later(self, seconds: float, call: Callable[..., object], *args: Any) -> Timer:
        """Call a function on the running event loop."""
        return asyncio.get_running_loop().call_later(seconds, call, *args)


REAL = Clock()
"""The machine's clock."""


async def done_within(clock: Clock, seconds: float, tasks: Iterable[asyncio.Future[T]]) -> set[asyncio.Future[T]]:
    """Wait until one of the tasks is done, at most for `seconds`. None of them is cancelled.

    Returns:
        The tasks that are done, if any.
    """
    try:
        async with clock.timeout(seconds):
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return done
    except TimeoutError:
        return set()
