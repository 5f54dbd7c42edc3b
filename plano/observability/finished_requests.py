"""Finished requests: their usage is settled, metrics and traces count them, and the access log gets its lines.

This is done in batches: back to back, sixteen cost half of what they cost interleaved with requests.
"""

from __future__ import annotations

import atexit
import logging
from asyncio import AbstractEventLoop, get_running_loop
from collections import deque
from contextlib import suppress
from time import perf_counter, time
from typing import TypeAlias
from weakref import WeakSet

from plano.errors import forget_frames
from plano.observability import access
from plano.observability.usage import settle_usage
from plano.request import Request
from plano.response import Response
from plano.types import Scope

logger = logging.getLogger("plano")

MAX_BATCH = 16
"""The most requests in a batch."""

MAX_WAIT = 0.1
"""The most seconds that the first request of a batch waits."""

_MAX_BATCH_BYTES = 1024 * 1024
"""The most bytes of bodies that a batch keeps in memory."""

_Over: TypeAlias = tuple[Request, Response | None, Scope]


class FinishedRequests:
    """The queue of finished requests. Code that reads counts of them calls `refresh` first.

    Args:
        log: whether each has a line in the access log.

    Attributes:
        at_once: whether none of them may wait.
    """

    def __init__(self, *, log: bool = True) -> None:
        self._log = log
        self.at_once = False
        self._waiting: deque[_Over] = deque()
        self._bytes = 0
        self._timed: AbstractEventLoop | None = None  # the loop that will flush
        _ALL.add(self)

    def add(self, request: Request, response: Response | None, scope: Scope, loop: AbstractEventLoop) -> None:
        """Take a request whose journal is complete but for its usage.

        Args:
            loop: the running event loop.
        """
        journal = request.journal
        if self._log or journal.closers:
            self._wait(request, response, scope, loop)
        if journal.error is not None:
            forget_frames(journal.error)

    def _wait(self, request: Request, response: Response | None, scope: Scope, loop: AbstractEventLoop) -> None:
        waiting, journal = self._waiting, request.journal
        waiting.append((request, response, scope))
        self._bytes += journal.bytes_in + journal.bytes_out
        if (
            len(waiting) >= MAX_BATCH
            or journal.error is not None  # its traceback is about to go, and closers may want to see it
            or self._bytes > _MAX_BATCH_BYTES
            or self.at_once
        ):
            self.flush()
        elif self._timed is not loop:  # a loop that ended with requests waiting must not hold up later ones
            if self._log and access.at_once():
                self.flush()
            else:
                self._timed = loop
                loop.call_later(MAX_WAIT, self._flush_waiting)

    def refresh(self) -> None:
        """Flush before counts are read. A loop in another thread flushes by itself, within `MAX_WAIT` seconds."""
        if self._timed is None or not self._timed.is_running() or self._timed is _running_loop():
            self.flush()

    def flush(self) -> bool:
        """Count and log all waiting requests. Returns whether there were any."""
        batch: list[_Over] = []
        with suppress(IndexError):  # another thread may be faster
            while self._waiting:
                batch.append(self._waiting.popleft())
        self._bytes = 0
        # Each step is done for all requests before the next step: the other order takes a seventh longer.
        for request, response, _ in batch:
            try:
                settle_usage(request, response)
            except Exception:
                logger.exception("the tokens of a request could not be determined")
        for request, _, _ in batch:
            for closer in request.journal.closers:
                try:
                    closer(request)
                except Exception:  # the others are called even if one fails
                    logger.exception("a function that was to run at the end of a request failed")
        take = access.taker() if self._log and batch else None
        if take is not None:
            try:
                take(logging.INFO, _lines(batch))
            except Exception:
                logger.exception("a request could not be logged")
        return bool(batch)

    def _flush_waiting(self) -> None:
        self._timed = None
        self.flush()


def _lines(batch: list[_Over]) -> list[tuple[float, access.Line]]:
    since = time() - perf_counter()
    lines = []
    for request, _, scope in batch:
        try:
            line = access.line_of(request, scope["method"], scope["path"])
            lines.append((since + (request.journal.ended or 0.0), line))
        except Exception:
            logger.exception("a request could not be logged")
    return lines


def _running_loop() -> AbstractEventLoop | None:
    try:
        return get_running_loop()
    except RuntimeError:
        return None


_ALL: WeakSet[FinishedRequests] = WeakSet()


@atexit.register
def _flush_all() -> None:
    """Count and log waiting requests in a process that ends without closing its gateway."""
    for each in list(_ALL):
        each.flush()
