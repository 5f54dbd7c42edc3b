"""Breaks off streams that bring less output than they should."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from time import perf_counter

from plano.errors import UpstreamError, UpstreamTimeout
from plano.observability.usage import tokens_in
from plano.streams.events import each
from plano.upstream.settings import MinimumRate


class Pace:
    """A stage that lets a stream pass as long as it is fast enough.

    It looks when a piece comes; for a stream that brings nothing at all there is the listener's timeout.

    Args:
        least: the least output.
        clock: gives seconds.
    """

    def __init__(self, least: MinimumRate, clock: Callable[[], float] = perf_counter) -> None:
        self._least = least
        self._clock = clock
        self._since = clock()
        self._tokens = 0

    def feed(self, piece: bytes) -> bytes:
        """Pass a piece on. Raises UpstreamTimeout if the last period brought too little."""
        now = self._clock()
        if now - self._since >= self._least.over:
            if self._tokens < self._least.tokens:
                raise UpstreamTimeout(
                    f"The upstream's stream was broken off, because it brought {self._tokens} tokens in "
                    f"{now - self._since:.0f} seconds."
                )
            self._since, self._tokens = now, 0
        self._tokens += tokens_in(piece)
        return piece

    def finish(self) -> AsyncGenerator[bytes, None]:
        return each(())

    def fail(self, error: UpstreamError) -> bytes | None:
        return None
