"""A clock that tests move.

Time stands still until a test moves it, or until a sleep begins: plano sleeps before a repeat, and a fake provider with
a `delay` before its answer. As soon as the event loop has nothing else to do, the clock jumps to the next moment at
which anything is due. So everything happens in its usual order, and takes no time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from threading import RLock
from typing import Any

from plano.runtime.clock import Clock

START = 1_767_225_600.0
"""The time at which a clock begins, in Unix seconds: 2026-01-01, 00:00 UTC, a Thursday."""

_QUIET = 100
"""The turns of the event loop, with no timer set or gone, after which there is nothing else to do. An attempt at a fake
provider takes a few dozen, each of them microseconds."""


class FakeClock(Clock):
    """A clock for `Plano(..., clock=clock)`, and for the fake providers that it asks.

    These go by it: the waits before repeats; `first_output`, `deadline`, `keepalive`, `hedge`,
    `minimum_rate` and `queue_wait`; rests and ejections; limits and budgets; and the delays of fake providers. Counts
    in Redis go by the time of its server.

    Args:
        start: Unix seconds at the beginning.

    Attributes:
        now: gives the seconds that have passed since the beginning.
        wall: gives Unix seconds.
    """

    def __init__(self, start: float = START) -> None:
        super().__init__(lambda: self._passed, lambda: start + self._passed)
        self._passed = 0.0
        self._timers: list[_Timer] = []
        self._changes = 0
        self._lock = RLock()

    def advance(self, seconds: float) -> None:
        """Let time pass. Any thread may call it."""
        assert seconds >= 0, "time does not go back"
        self._go_to(self._passed + seconds)

    async def sleep(self, seconds: float) -> None:
        """Wait for some seconds, which pass as soon as there is nothing else to do."""
        due = self._passed + max(0.0, seconds)
        with self._timer(due, lambda: None) as alarm:
            while True:
                await self._quiet(due)
                if self._passed >= due:
                    return
                self._go_to(min(each.due for each in (alarm, *self._timers) if each.due > self._passed))

    @asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[None]:
        async with asyncio.timeout(None) as limit:
            with self.call_later(seconds, lambda: limit.reschedule(0)):
                yield

    def call_later(self, seconds: float, call: Callable[..., object], *args: Any) -> _Timer:
        return self._timer(self._passed + max(0.0, seconds), partial(call, *args))

    def _timer(self, due: float, call: Callable[[], object]) -> _Timer:
        with self._lock:
            self._changes += 1
            timer = _Timer(due, call, self._drop)
            self._timers.append(timer)
            return timer

    def _drop(self, timer: _Timer) -> None:
        with self._lock, suppress(ValueError):
            self._timers.remove(timer)
            self._changes += 1

    def _go_to(self, time: float) -> None:
        with self._lock:
            self._passed = max(self._passed, time)
            for timer in sorted(self._timers, key=lambda each: each.due):
                if timer.due <= self._passed:
                    self._drop(timer)
                    timer.fire()

    async def _quiet(self, due: float) -> None:
        """Wait until the event loop has nothing else to do. A sleep whose time has come waits for half as long as one
        that is to move the clock, so that it is over before the clock moves on."""
        seen, turns = self._changes, 0
        while turns < (_QUIET if self._passed < due else _QUIET // 2):
            await asyncio.sleep(0)
            turns = turns + 1 if seen == self._changes else 0
            seen = self._changes


class _Timer:
    """A call on the event loop that was running when it was made. As a context, it is cancelled at the end."""

    def __init__(self, due: float, call: Callable[[], object], drop: Callable[[_Timer], None]) -> None:
        self.due = due
        self._call: Callable[[], object] | None = call
        self._drop = drop
        self._loop = asyncio.get_running_loop()

    def fire(self) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._run)

    def cancel(self) -> None:
        self._call = None
        self._drop(self)

    def _run(self) -> None:
        if self._call is not None:
            self._call()

    def __enter__(self) -> _Timer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.cancel()
