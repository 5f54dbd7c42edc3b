"""Plays a rendered response, as a transport's exchange or to an ASGI server's client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from plano.errors import UpstreamProtocolError, UpstreamTimeout, UpstreamUnavailable
from plano.runtime.clock import Clock
from plano.testing.record import Recorded
from plano.testing.wire import Wire
from plano.types import RawHeaders, Receive, Send


class FakeExchange:
    """A response whose head has arrived; see `plano.transport.Exchange`."""

    status: int
    headers: RawHeaders

    def __init__(self, wire: Wire, recorded: Recorded, *, idle: float, clock: Clock) -> None:
        self.status = wire.status
        self.headers = wire.headers
        self._wire = wire
        self._recorded = recorded
        self._idle = idle
        self._clock = clock
        self._next = 0

    def whole(self, limit: int) -> bytes | None:
        return None

    async def read(self, limit: int) -> bytes:
        body = b"".join([piece async for piece in self])
        if len(body) > limit:
            raise UpstreamProtocolError(f"The upstream's reply is longer than {limit} bytes.")
        return body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        wire, position = self._wire, self._next
        if position:
            await within(self._clock, self._idle, wire.pause or 0.0)
        if position < len(wire.pieces):
            self._next += 1
            return wire.pieces[position]
        if wire.lost:
            self._recorded.end("broken")
            raise UpstreamUnavailable("The upstream closed the connection before its reply was complete.")
        self._recorded.end("complete")
        raise StopAsyncIteration

    async def aclose(self) -> None:
        everything = self._next == len(self._wire.pieces) and not self._wire.lost
        self._recorded.end("complete" if everything else "left")


async def within(clock: Clock, limit: float, seconds: float) -> None:
    """Sleep for `seconds`; raises UpstreamTimeout after `limit` seconds (or inf) if that is shorter."""
    if seconds <= 0.0:
        await asyncio.sleep(0)
        return
    await clock.sleep(min(limit, seconds))
    if seconds > limit:
        raise UpstreamTimeout("The upstream did not answer in time.")


async def play(wire: Wire, recorded: Recorded, receive: Receive, send: Send, clock: Clock) -> None:
    """Send it to an ASGI server's client, until that leaves."""
    sending = asyncio.create_task(_send(wire, send, clock))
    leaving = asyncio.create_task(_departure(receive))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            await sending
            recorded.end("broken" if wire.lost else "complete")
    finally:
        recorded.end("left")
        sending.cancel()
        leaving.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)


async def _send(wire: Wire, send: Send, clock: Clock) -> None:
    if wire.delay:
        await clock.sleep(wire.delay)
    await send({"type": "http.response.start", "status": wire.status, "headers": wire.headers})
    for position, piece in enumerate(wire.pieces):
        if position and wire.pause:
            await clock.sleep(wire.pause)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    if not wire.lost:  # a server closes the connection of an application that returns without the last message
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
