"""Replaces an httpx transport from time to time, because httpx keeps a connection in constant use for ever.

A host that moves to another address would then never be looked up again. plano's own transport gives each connection an
age instead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from time import perf_counter
from typing import cast

import httpx


class AgingTransport(httpx.AsyncBaseTransport):
    """Sends over a transport that `make` returns, and over a new one when that is too old.

    Replies that are being read go on. The old transport is closed when the last of them ends.

    Args:
        make: called at once, and at the first request after the age is reached.
        max_age: seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self, make: Callable[[], httpx.AsyncBaseTransport], *, max_age: float, clock: Callable[[], float] = perf_counter
    ) -> None:
        self._make = make
        self._max_age = max_age
        self._clock = clock
        self._open: list[_Generation] = []
        self._renew()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._clock() >= self._until:
            await self._retire(self._renew())
        generation = self._open[-1]
        generation.at_work += 1
        try:
            response = await generation.transport.handle_async_request(request)
        except BaseException:
            await self._done(generation)
            raise
        stream = cast(httpx.AsyncByteStream, response.stream)
        response.stream = _Stream(stream, lambda: self._done(generation))
        return response

    async def aclose(self) -> None:
        for generation in self._open:
            await generation.transport.aclose()

    def _renew(self) -> list[_Generation]:
        """Starts a new generation, and returns those before it."""
        earlier = self._open[:]
        self._open.append(_Generation(self._make()))
        self._until = self._clock() + self._max_age
        return earlier

    async def _done(self, generation: _Generation) -> None:
        generation.at_work -= 1
        if generation is not self._open[-1]:
            await self._retire([generation])

    async def _retire(self, generations: list[_Generation]) -> None:
        for generation in generations:
            if not generation.at_work and generation in self._open:
                self._open.remove(generation)
                await generation.transport.aclose()


class _Generation:
    """A transport, and the number of exchanges on it."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.transport = transport
        self.at_work = 0


class _Stream(httpx.AsyncByteStream):
    """A reply's body, which says once that it was closed."""

    def __init__(self, stream: httpx.AsyncByteStream, closed: Callable[[], Awaitable[None]]) -> None:
        self._stream = stream
        self._closed: Callable[[], Awaitable[None]] | None = closed

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        closed, self._closed = self._closed, None
        try:
            await self._stream.aclose()
        finally:
            if closed is not None:
                await closed()
