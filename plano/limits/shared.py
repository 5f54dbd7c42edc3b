"""Shared counts with a deadline, and with a substitute while Redis does not answer.

    shared  --a call fails-->  doubtful  --three fail in a row-->  alone
       ^                          |                                  |
       +------- a probe, sent each second, is answered in time ------+

While it is doubtful, each request still asks Redis, at most for the deadline. Alone, no request waits: only the probe
asks. A call that fails, and every call while alone, is decided as `on_failure` says.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

from msgspec import structs

from plano.errors import StoreUnavailable
from plano.limits.cells import Cell, Lease, Sum, Verdict
from plano.limits.memory import MemoryCounts
from plano.limits.owed import Owed
from plano.limits.redis import RedisCounts
from plano.redis_client import TIMEOUTS, RedisClient, described

T = TypeVar("T")
Late: TypeAlias = Callable[[asyncio.Task[Any]], None]
OnFailure: TypeAlias = Literal["local", "open", "closed"]

log = logging.getLogger("plano.limits")

DEADLINE = 0.1
"""Seconds that a request waits for Redis."""

PATIENCE = 3
"""The calls that fail in a row before no request asks Redis any more. Calls that ran at the same time fail as one,
because a process that stood still for a moment says little about Redis."""

PROBE_SECONDS = 1.0
"""Seconds between two probes."""

PROBE_DEADLINE = 1.0
"""Seconds that a probe may take. It is more than a request's, because the connection may have to be made first."""

CHECK_SECONDS = 3.0
"""Seconds for which the result of a check is reused."""

MEMORY_SECONDS = 60.0
"""Seconds for which the counts of a process alone are kept after Redis answered again, so that a server that comes and
goes lets nobody begin anew each time."""

MOST_SUMS = 10_000
"""The most budgets whose last sum is known."""

AT_ONCE = 500
"""The most that one call tells Redis after an outage."""

_FAILURES: tuple[type[Exception], ...] = (*TIMEOUTS, *RedisClient.failures)


class _Unanswered(Exception):
    """Redis failed, or was not asked."""


def _forget(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # otherwise asyncio reports that nobody asked for it


async def _within(seconds: float, work: Coroutine[Any, Any, T], late: Late = _forget) -> T:
    """Awaits `work` for some seconds, and then leaves it.

    The work has a task of its own because a cancellation does not always reach it: before Python 3.12,
    `asyncio.wait_for`, under which redis-py sends, swallows one that comes when the sending is just done.

    Args:
        seconds: the longest wait. After it the work is cancelled.
        work: the call. It goes on if its caller is cancelled, so that it is known what it did.
        late: is given its task when that ends after it was left.

    Raises:
        TimeoutError: it took longer.
    """
    task = asyncio.create_task(work, name="plano-shared-state")
    try:
        await asyncio.wait((task,), timeout=seconds)
    except asyncio.CancelledError:
        task.add_done_callback(late)
        raise
    if task.done():
        return task.result()
    task.add_done_callback(late)
    task.cancel()
    raise TimeoutError


class SharedCounts:
    """Counts in Redis; while it does not answer, decides as `on_failure` says.

    Budgets are kept true over an outage: what was spent meanwhile is told to Redis before it counts again. Each process
    alone begins with the sums that it last knew.

    Args:
        redis: the counts in Redis.
        on_failure: `local`: the same limits for this process; `open`: everything is taken; `closed`: nothing is.
        probe_seconds: seconds between two probes.
        clock: monotonic seconds.

    Attributes:
        deadline: seconds that a call may wait for Redis.
        failures: the decisions that were made without Redis, by `on_failure`.
    """

    def __init__(
        self,
        redis: RedisCounts,
        on_failure: OnFailure,
        *,
        deadline: float = DEADLINE,
        probe_seconds: float = PROBE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failures: dict[str, int] = {on_failure: 0}
        self._redis = redis
        self._on_failure = on_failure
        self.deadline = deadline
        self._probe_seconds = probe_seconds
        self._clock = clock
        self._in_a_row = 0
        self._failed_at = float("-inf")
        self._checked_at = float("-inf")
        self._since: float | None = None
        self._recovered_at = float("-inf")
        self._sums: dict[str, tuple[Sum, float]] = {}
        self._owed = Owed()
        self._memory = MemoryCounts()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def _asks(self) -> bool:
        """Whether requests ask Redis."""
        return self._in_a_row < PATIENCE

    @property
    def degraded(self) -> bool:
        """Whether Redis failed, and no probe has been answered since."""
        return self._since is not None

    async def ready(self) -> bool:
        """Whether requests are taken; False under `closed` while Redis does not answer.

        It asks Redis at most once in `CHECK_SECONDS`, so that a process without requests notices too.
        """
        if not self.degraded and self._clock() - self._checked_at >= CHECK_SECONDS:
            self._checked_at = self._clock()
            await self._told(self._redis.ping())
        return not (self.degraded and self._on_failure == "closed")

    async def take(self, cells: Sequence[Cell]) -> Verdict:
        """Takes all cells or none.

        Raises:
            StoreUnavailable: Redis does not answer, and `on_failure` is `closed`.
        """
        try:
            verdict = await self._asked(self._redis.take(cells), partial(self._give_back, cells))
        except _Unanswered:
            return self._alone(cells)
        for cell, left in zip(cells, verdict.left, strict=True):
            if isinstance(cell, Sum):
                self._know(cell, cell.limit - left)
        return verdict

    async def settle(self, corrections: Sequence[tuple[Cell, float]]) -> None:
        """Corrects cells that were taken; those of budgets as soon as Redis answers."""
        asks = self._asks
        batch = self._redis.batch(corrections)
        if await self._told(self._redis.tell(batch)):
            return
        self._memory.settle_now(corrections)
        if asks:
            self._owed.tell_again(batch)
        else:
            self._owed.settle(corrections)

    async def release(self, leases: Sequence[Lease]) -> None:
        """Gives places back."""
        self._memory.release_now(leases)
        if not await self._told(self._redis.release(leases)):
            self._owed.release(leases)

    async def renew(self, leases: Sequence[Lease]) -> None:
        """Holds places for longer."""
        if not await self._told(self._redis.renew(leases)):
            self._memory.renew_now(leases)

    async def aclose(self) -> None:
        """Ends the probes, tells Redis what it has to know, and closes the connections. That takes seconds at most."""
        for task in self._tasks:
            task.cancel()
        await self._pay_if_possible()
        with suppress(*_FAILURES):
            await self._redis.aclose()  # without a deadline: what was not closed by then would stay open

    def _alone(self, cells: Sequence[Cell]) -> Verdict:
        """The decision of this process."""
        self.failures[self._on_failure] += 1
        if self._on_failure == "local":
            return self._memory.take_now(cells)
        if self._on_failure == "open":
            return Verdict(None, 0.0, tuple([float(cell.limit) for cell in cells]), (0.0,) * len(cells))
        raise StoreUnavailable(
            "The gateway cannot count limits now.", code="limits_unavailable", retry_after=self._probe_seconds
        )

    async def _told(self, telling: Coroutine[Any, Any, None]) -> bool:
        """Whether Redis was told."""
        try:
            await self._asked(telling)
        except _Unanswered:
            return False
        return True

    async def _asked(self, work: Coroutine[Any, Any, T], late: Late = _forget) -> T:
        """Awaits `work` for the deadline; `late` is called as `_within` says.

        Raises:
            _Unanswered: Redis failed, or is not asked now.
        """
        if not self._asks:
            work.close()
            raise _Unanswered
        started = self._clock()
        try:
            result = await _within(self.deadline, work, late)
        except _FAILURES as error:
            self._failed(error, started)
            raise _Unanswered from error
        self._in_a_row = 0
        return result

    def _failed(self, error: Exception, started: float) -> None:
        if started >= self._failed_at:
            self._in_a_row += 1
            self._failed_at = self._clock()
        if isinstance(error, TIMEOUTS):
            self._redis.reconnect()
        if self._since is None:
            self._since = self._clock()
            self._remember()
            log.warning("shared state: Redis cannot be used (%s); %s", described(error), _MEANWHILE[self._on_failure])
            self._start(self._recover(self._since))

    async def _recover(self, since: float) -> None:
        """Waits until Redis answers, and tells it what was spent meanwhile before it counts again."""
        while True:
            await asyncio.sleep(self._probe_seconds)
            try:
                await _within(PROBE_DEADLINE, self._redis.ping())
                await self._pay()
            except _FAILURES:
                self._redis.reconnect()
            else:
                break
        self._recovered_at = self._clock()
        self._in_a_row = 0
        self._since = None
        log.warning("shared state: Redis answers again, after %.1f s", self._recovered_at - since)

    async def _pay(self) -> None:
        """Tells Redis what it has not been told; what fails is kept for later."""
        while leases := self._owed.pop_leases(AT_ONCE):
            try:
                await _within(PROBE_DEADLINE, self._redis.release(leases))
            except BaseException:
                self._owed.release(leases)
                raise
        while (batch := self._owed.pop_batch(AT_ONCE, self._redis.mark())) is not None:
            try:
                await _within(PROBE_DEADLINE, self._redis.tell(batch))
            except BaseException:
                self._owed.tell_again(batch)
                raise

    async def _pay_if_possible(self) -> None:
        with suppress(*_FAILURES):
            await self._pay()

    def _give_back(self, cells: Sequence[Cell], asked: asyncio.Task[Verdict]) -> None:
        """Gives back what was taken when nobody waited for it any more."""
        if asked.cancelled() or asked.exception() is not None or asked.result().refused is not None:
            return
        self._owed.settle([(cell, -cell.cost) for cell in cells if isinstance(cell, Sum)])
        self._owed.release([cell for cell in cells if isinstance(cell, Lease)])
        self._start(self._pay_if_possible())

    def _know(self, cell: Sum, used: float) -> None:
        if cell.key not in self._sums and len(self._sums) >= MOST_SUMS:
            del self._sums[next(iter(self._sums))]
        self._sums[cell.key] = (cell, used)

    def _remember(self) -> None:
        """Begins the counts of this process alone with the last known sums."""
        if self._clock() - self._recovered_at < MEMORY_SECONDS:
            return
        self._memory = MemoryCounts()
        self._memory.settle_now([(structs.replace(cell, cost=0.0), used) for cell, used in self._sums.values()])

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="plano-shared-state")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_MEANWHILE: dict[OnFailure, str] = {
    "local": "each process keeps the limits by itself",
    "open": "no limits hold",
    "closed": "requests with limits are refused",
}
