"""Adapts any httpx transport to a `Sender`: a mock in tests, httpx's own for proxies and HTTP/2."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from math import inf
from traceback import clear_frames
from types import AsyncGeneratorType
from typing import cast

import httpx

from plano.errors import UpstreamProtocolError
from plano.transport.decoding import plain
from plano.transport.errors import FOREIGN, to_plano
from plano.transport.sender import Outgoing, Timeouts
from plano.types import RawHeaders


class HTTPXSender:
    """Sends over `transport`, which it owns: closing the sender closes it."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def send(self, request: Outgoing) -> HTTPXExchange:
        limits = httpx_timeouts(request.timeouts)
        try:
            with _letting_go():
                response = await self._transport.handle_async_request(_request(request, limits))
        except FOREIGN as error:
            raise to_plano(error) from error
        # httpx knows one deadline for reading, and its transports look it up afresh for the body.
        limits["read"] = _seconds(request.timeouts.idle)
        return HTTPXExchange(response)

    async def aclose(self) -> None:
        await self._transport.aclose()


class HTTPXExchange:
    """See `Exchange`."""

    status: int
    headers: RawHeaders

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        headers = [(name.lower(), value) for name, value in response.headers.raw]
        self.headers, self._decoder = plain(response.status_code, headers)
        self._coded = aiter(cast(httpx.AsyncByteStream, response.stream))
        self._plain: Iterator[bytes] = iter(())
        self._ended = False
        self._closed = False

    def whole(self, limit: int) -> bytes | None:
        return None

    async def read(self, limit: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        async for piece in self:
            size += len(piece)
            if size > limit:
                await self.aclose()
                raise UpstreamProtocolError(f"The upstream's reply is longer than {limit} bytes.")
            pieces.append(piece)
        return b"".join(pieces)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            with _letting_go():
                return await self._next()
        except FOREIGN as error:
            await self.aclose()
            raise to_plano(error) from error

    async def _next(self) -> bytes:
        if self._closed and not self._ended:
            raise httpx.ReadError("the reply was closed before its end")
        while True:
            for piece in self._plain:
                return piece
            try:
                data = await anext(self._coded)
            except StopAsyncIteration:
                if self._decoder:
                    self._decoder.finish()
                self._ended = True
                await self.aclose()  # httpx's pools take a connection back only after that
                raise
            if data:
                self._plain = self._decoder.feed(data) if self._decoder else iter((data,))

    async def aclose(self) -> None:
        self._closed = True
        with _letting_go():
            # The event loop ends an abandoned generator only some time later, in a task of its own.
            if isinstance(self._coded, AsyncGeneratorType) and not self._coded.ag_running:
                await self._coded.aclose()
            await cast(httpx.AsyncByteStream, self._response.stream).aclose()


@contextmanager
def _letting_go() -> Iterator[None]:
    """Has a call of httpx that is cancelled hold nothing any more.

    A lock of anyio's holds the error that cancelled its wait, and the error holds the lock's frame: a ring, with the
    request in it, that only the cycle collector would find.
    """
    try:
        yield
    except CancelledError as error:
        clear_frames(error.__traceback__)
        raise


def httpx_timeouts(timeouts: Timeouts) -> dict[str, float | None]:
    """The value of httpx's `timeout` extension."""
    return {
        "connect": _seconds(timeouts.connect),
        "read": _seconds(timeouts.first_byte),
        "write": _seconds(timeouts.write),
        "pool": _seconds(timeouts.pool),
    }


def _request(request: Outgoing, timeouts: dict[str, float | None]) -> httpx.Request:
    return httpx.Request(
        request.method.decode("ascii"),
        request.url,
        headers=request.all_headers,
        content=request.body,
        extensions={"timeout": timeouts},
    )


def _seconds(limit: float) -> float | None:
    return None if limit == inf else limit
