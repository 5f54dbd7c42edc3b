"""The time that a stream has for its first output."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from time import perf_counter
from types import TracebackType

from plano.runtime.deadlines import deadlines_of


class Patience:
    """Breaks off what its `with` block waits for once `seconds` are over, by up to `ROUND_SECONDS` later.

    It is `asyncio.timeout` for a third of the cost, because no timer is set for each request.

    Raises:
        TimeoutError: at the block's end, if it was broken off.
    """

    __slots__ = ("_before", "_deadlines", "_late", "_task", "due")

    def __init__(self, seconds: float) -> None:
        self.due = perf_counter() + seconds
        self._late = False
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None, "a request runs in a task"
        self._task = task
        self._before = task.cancelling()
        self._deadlines = deadlines_of(loop)

    def __enter__(self) -> None:
        self._deadlines.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._deadlines.watched.discard(self)
        if (
            self._late
            and self._task.uncancel() <= self._before
            and kind is not None
            and issubclass(kind, CancelledError)
        ):
            raise TimeoutError from error

    def overdue(self) -> None:
        """See `plano.runtime.deadlines`."""
        self._late = True
        self._task.cancel()
