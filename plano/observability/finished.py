"""Requests that are over: their tokens are settled, then whoever counts them is told, and a line of the log written.

That is done for several of them at once, for one after the other they take half the time that they take in between
requests.
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
from plano.observability.usage import settle
from plano.request import Request
from plano.response import Response
from plano.types import Scope

logger = logging.getLogger("plano")

TOGETHER = 16
"""Requests that wait for each other at most."""

SECONDS = 0.1
"""How long the first of them waits."""

_BYTES = 1024 * 1024
"""Of bodies, that are kept for it."""

_Over: TypeAlias = tuple[Request, Response | None, Scope]


class Finished:
    """Where requests go when they are over. Whoever reads what is counted of them calls `refresh` first.

    Args:
        log: whether each has a line in the access log.

    Attributes:
        at_once: none of them is to wait.
    """

    def __init__(self, *, log: bool = True) -> None:
        self._log = log
        self.at_once = False
        self._waiting: deque[_Over] = deque()
        self._bytes = 0
        self._timed: AbstractEventLoop | None = None  # which one will flush
        _ALL.add(self)

    def add(self, request: Request, response: Response | None, scope: Scope, loop: AbstractEventLoop) -> None:
        """Take a request whose journal is complete but for its usage.

        Args:
            loop: that this is called on.
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
            len(waiting) >= TOGETHER
            or journal.error is not None  # its traceback goes, and whoever counts may want to see it
            or self._bytes > _BYTES
            or self.at_once
        ):
            self.flush()
        elif self._timed is not loop:  # one that ended with requests waiting does not keep later ones
            if self._log and access.at_once():
                self.flush()
            else:
                self._timed = loop
                loop.call_later(SECONDS, self._flush_waiting)

    def refresh(self) -> None:
        """Flush, for somebody who reads. A loop that runs in another thread does it by itself, within SECONDS."""
        if self._timed is None or not self._timed.is_running() or self._timed is _running_loop():
            self.flush()

    def flush(self) -> None:
        """Count and log all that wait."""
        batch: list[_Over] = []
        with suppress(IndexError):  # somebody else may be faster
            while self._waiting:
                batch.append(self._waiting.popleft())
        self._bytes = 0
        # One step after the other for all of them: going from step to step for each takes a seventh longer.
        for request, response, _ in batch:
            try:
                settle(request, response)
            except Exception:
                logger.exception("the tokens of a request could not be told")
        for request, _, _ in batch:
            for closer in request.journal.closers:
                try:
                    closer(request)
                except Exception:  # one that fails does not keep the others from being called
                    logger.exception("what should have been done at a request's end failed")
        take = access.taker() if self._log and batch else None
        if take is not None:
            try:
                take(logging.INFO, _lines(batch))
            except Exception:
                logger.exception("a request could not be logged")

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


_ALL: WeakSet[Finished] = WeakSet()


@atexit.register
def _flush_all() -> None:
    """A process that ends without closing its gateway, or is stopped by force, still says what it did."""
    for each in list(_ALL):
        each.flush()
