"""One connection to an upstream (RFC 9112), and the exchange that is on it, if any.

A reply answers only the request that was sent before it (section 9.2), so any doubt about that ends the connection:
bytes without a request, bytes after a reply, a request that was not sent to its end. The states and moves are drawn in
`plano.transport.states`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from math import inf
from random import random
from time import perf_counter
from typing import Protocol, cast

import httpx
from httptools import HttpParserError, HttpParserUpgrade

from plano.runtime.deadlines import deadlines_of
from plano.runtime.outbox import outbox_of
from plano.runtime.unacknowledged import still_taking, unacknowledged, untaken
from plano.transport.arrivals import arrivals
from plano.transport.errors import Disconnected, Stale
from plano.transport.exchange import Incoming
from plano.transport.sender import Timeouts
from plano.transport.states import Phase

HEAD_LIMIT = 64 * 1024
"""The most bytes of head, trailer or chunk framing without any body in between."""

UNREAD_LIMIT = 64 * 1024
"""Reading pauses when more bytes than this wait for the reader. One more read may be on top: 256 KiB on either loop."""

MAX_HELD_BYTES = 16 * 1024
"""The most bytes of a request that waits for the end of a turn of the event loop, to be written with others. Systems
take that many from a connection at rest at once, so no task has to wait until they are written."""

PIECE = 256 * 1024
"""Bytes in a piece. A larger body is handed over piece by piece, each when the one before is out, so that it is never
copied."""

UNCHECKED_REST = 0.001
"""Seconds of rest after which a connection is checked before it is used again. Under load none rests so long, and the
check would cost a twentieth of a request."""


# To look a member up on its class costs a few times as much as a global.
_REST, _WRITE, _HEAD, _BODY = Phase.REST, Phase.WRITE, Phase.HEAD, Phase.BODY


class Home(Protocol):
    """The pool, as far as its connections need it."""

    @property
    def at_work(self) -> int:
        """The number of connections that are not at rest."""

    def release(self, connection: Connection) -> None:
        """`connection` is free, and fit for another exchange."""

    def discard(self, connection: Connection) -> None:
        """`connection` is at rest, and must not be used again."""

    def lost(self, connection: Connection) -> None:
        """`connection` is gone."""


class Connection(asyncio.Protocol):
    """Carries one exchange after another and never two.

    One task at a time waits for a connection, through one future.

    Attributes:
        alive: whether there is a socket.
        due: see `plano.runtime.deadlines`.
        write_paused: whether the peer takes less than it is sent.
    """

    __slots__ = (
        "_arrivals",
        "_deadlines",
        "_exchange",
        "_expiry",
        "_held",
        "_loop",
        "_outbox",
        "_phase",
        "_pool",
        "_quiet",
        "_read_paused",
        "_reusable",
        "_sent",
        "_served",
        "_transport",
        "_unread",
        "_until",
        "_waiter",
        "_write_left",
        "_write_seconds",
        "due",
        "write_paused",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, pool: Home, expiry: float, max_age: float = inf) -> None:
        self._loop = loop
        self._pool = pool
        self._expiry = expiry  # the most seconds of rest
        # Connections that were opened together must not all be replaced together.
        self._until = perf_counter() + max_age * (1.0 - random() / 4)
        self._transport: asyncio.Transport | None = None
        self._exchange: Incoming | None = None
        self._phase = _REST
        self._waiter: asyncio.Future[None] | None = None
        self.due = inf
        self._deadlines = deadlines_of(loop)
        self._outbox = outbox_of(loop)
        self._held = b""  # a request that is to be written at the end of this turn of the loop
        self._served = False
        self._sent = 0  # bytes of this request
        self._reusable = True  # for the rest after this exchange, unless the reply sets fewer
        self._quiet = 0  # bytes received since the last byte of body
        self._unread = 0  # bytes received since the reader last took everything
        self._read_paused = False
        self.write_paused = False
        self._write_left = 0
        self._write_seconds = inf

    # -- For the transport --

    async def perform(
        self,
        head: bytes,
        body: bytes | AsyncIterable[bytes],
        timeouts: Timeouts,
        *,
        without_body: bool = False,
        last: bool = False,
    ) -> Incoming:
        """Sends a request and returns its reply once the head is there.

        When this is cancelled or fails, the connection is gone.

        Args:
            body: the whole body, or an iterator over the bytes on the wire, chunk framing included.
            without_body: whether the reply has no body, like one to HEAD.
            last: whether the connection must not be used again.

        Raises:
            Stale, and other errors of httpx.
        """
        if isinstance(body, bytes) and len(body) <= PIECE:
            exchange = self.start(head, body, timeouts.idle, without_body, last)
            body = b""
        else:
            exchange = self.start(b"", b"", timeouts.idle, without_body, last)
        try:
            if body:
                await self._upload(exchange, head, body, timeouts.write)
            if self.write_paused:
                await self.room(exchange, timeouts.write)
            while not exchange.status:
                if exchange.error is not None:
                    raise exchange.why()
                await self.expect(_HEAD, timeouts.first_byte)
        except BaseException:
            exchange.close()
            raise
        return exchange

    def start(self, head: bytes, body: bytes, idle: float, without_body: bool = False, last: bool = False) -> Incoming:
        """Begins an exchange like `perform`, with a body of at most a `PIECE`.

        The caller does the rest: it waits for room if writing is paused, then for the head, and closes the exchange if
        either fails.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise Stale(untouched=True)
        assert self._exchange is None, "a connection carries one exchange at a time"
        exchange = self._exchange = Incoming(self, without_body, idle)
        self._phase = _HEAD
        self._quiet = self._unread = 0
        self.due = inf
        self._reusable = not last
        self._sent = len(head) + len(body)
        if head and self._sent <= MAX_HELD_BYTES and self._pool.at_work > 1:
            self._held = head + body
            self._outbox.add(self, first=True)
        elif head:
            transport.write(head + body)
        return exchange

    def flush(self) -> None:
        """See `plano.runtime.outbox`."""
        if self._held and self._transport is not None:
            held, self._held = self._held, b""
            self._transport.write(held)

    async def _upload(
        self, exchange: Incoming, head: bytes, body: bytes | AsyncIterable[bytes], seconds: float
    ) -> None:
        transport = self._transport
        assert transport is not None, "asked before"
        reusable, self._reusable = self._reusable, False
        self._hand_over(transport, head)
        async for piece in _pieces(body) if isinstance(body, bytes) else body:
            if exchange.status >= 400 or exchange.complete or exchange.error is not None:
                # RFC 9112 section 9.5: a client that sees an error while it sends may stop, and then has to close.
                return
            self._hand_over(transport, piece)
            if self.write_paused:
                await self.room(exchange, seconds)
        self._reusable = reusable

    def _hand_over(self, transport: asyncio.Transport, data: bytes | memoryview) -> None:
        self._sent += len(data)
        transport.write(data)

    async def room(self, exchange: Incoming, seconds: float) -> None:
        """Waits until the peer has taken the request or has answered. A peer that answers may take no more."""
        self._write_seconds = seconds
        while self.write_paused and not exchange.status and exchange.error is None:
            assert self._transport is not None, "an exchange without an error has a connection"
            self._write_left = untaken(self._transport)
            await self.expect(_WRITE, seconds)

    @property
    def alive(self) -> bool:
        return self._transport is not None

    def watch(self) -> None:
        """Has its deadlines checked until the connection is lost.

        `connection_made` is too early: uvloop does not report the loss of a connection whose making was called off.
        """
        self._deadlines.add(self)

    def close(self) -> None:
        """Ends the connection properly. An exchange on it breaks."""
        if self._exchange is not None:
            self.fail(httpx.ReadError("the connection was closed"))
        elif self._transport is not None:
            if self._transport.get_write_buffer_size():
                self._transport.abort()
            else:
                self._transport.close()

    # -- For the exchange --

    def expect(self, phase: Phase, seconds: float) -> asyncio.Future[None]:
        """A future to await until there is news, good or bad. After `seconds` without any, the exchange fails."""
        assert self._waiter is None or self._waiter.done(), "one task at a time waits on a connection"
        waiter = self._waiter = self._loop.create_future()
        self._phase = phase
        self.due = perf_counter() + seconds
        return waiter

    def drained(self) -> None:
        """The reader took everything."""
        self._unread = 0
        if self._read_paused and self._transport is not None:
            self._read_paused = False
            self._transport.resume_reading()

    def fail(self, error: Exception) -> None:
        """Breaks the connection off. The waiting task gets `error`."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.error = error
            exchange.detach()
            self._wake()
        if self._transport is not None:
            self._transport.abort()

    def _finish(self, exchange: Incoming) -> None:
        """The reply is complete. The exchange holds its unread part."""
        self._exchange = None
        exchange.detach()
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        self._unread = 0
        if self._read_paused:
            self.drained()
        assert self._transport is not None, "a reply came over a transport"
        now = perf_counter()
        if exchange.keep_alive and self._reusable and now < self._until and not self._transport.get_write_buffer_size():
            if not self._served:
                self._served = True
                self._expiry = min(self._expiry, exchange.may_rest)
            self._phase = _REST
            self.due = now + self._expiry
            self._pool.release(self)
        else:
            self.due = inf
            self.close()

    # -- Deadlines --

    @property
    def fit(self) -> bool:
        """Whether a connection at rest may be used: it has not expired, and no bytes have come. They could only be its
        end or a reply to no request, and the event loop may not have noticed either yet."""
        now = perf_counter()
        left = self.due - now
        return left > 0 and now < self._until and (left > self._expiry - UNCHECKED_REST or not self._arrivals(0))

    def overdue(self) -> None:
        """See `plano.runtime.deadlines`."""
        if self._phase is _REST:
            self._pool.discard(self)
        elif self._phase is _WRITE:
            self._judge_writing()
        else:
            self.fail(httpx.ReadTimeout(f"waited too long for {self._phase.value}"))

    def _judge_writing(self) -> None:
        assert self._transport is not None, "writing needs a transport"
        left = still_taking(self._transport, self._write_left)
        if left is None:
            self.fail(httpx.WriteTimeout(f"waited too long for {self._phase.value}"))
        else:
            self._write_left = left
            self.due = perf_counter() + self._write_seconds

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self.due = inf
            if not waiter.done():
                waiter.set_result(None)

    # -- From the event loop --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._arrivals = arrivals(self._transport)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            # RFC 9112 section 9.2: there was no request, so this is no answer, and later bytes cannot be trusted.
            self._pool.discard(self)
            return
        if self._held:
            self.flush()
        try:
            (exchange.parser or exchange.parse()).feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not exchange.complete:
                self.fail(httpx.RemoteProtocolError(f"not a valid reply: {error.__context__ or error}"))
                return
            exchange.keep_alive = False  # because of the bytes after the reply
        chunks, sink = exchange.chunks, exchange.sink
        if sink is not None and chunks and not exchange.complete:
            self._quiet = 0
            self.due = perf_counter() + exchange.idle
            piece = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            chunks.clear()
            if not sink(piece):
                exchange.sink = None
                self._wake()
            return
        size = len(data)
        self._quiet += size
        self._unread += size
        if self._quiet > HEAD_LIMIT and self._head_too_large(exchange):
            self.fail(httpx.RemoteProtocolError(f"more than {HEAD_LIMIT} bytes of header or trailer"))
        elif exchange.complete:
            self._finish(exchange)
        elif chunks:
            self._quiet = 0
            if self._unread > UNREAD_LIMIT and not self._read_paused:
                self._pause_reading()
            self._wake()
        elif exchange.status and self._phase is not _BODY:
            self._wake()

    def eof_received(self) -> None:
        exchange = self._exchange
        if exchange is None:
            self._pool.discard(self)
        elif exchange.status and not exchange.framed:
            # RFC 9112 section 6.3, rule 8: without a length, the end of the connection is the end of the body.
            exchange.complete = True
            exchange.keep_alive = False
            self._finish(exchange)
        else:
            self.fail(self._broken_off(exchange, may_retry=True))

    def connection_lost(self, error: Exception | None) -> None:
        self._deadlines.watched.discard(self)
        exchange = self._exchange
        if exchange is None:
            pass
        elif error is None:
            self.fail(self._broken_off(exchange, may_retry=False))
        elif self._phase is _WRITE:
            self.fail(httpx.WriteError(str(error)))
        elif self._unheard(exchange):
            self.fail(Stale(untouched=bool(self._held)))
        else:
            self.fail(httpx.ReadError(str(error)))
        self._transport = None
        self._pool.lost(self)

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._phase is _WRITE:
            self._wake()

    def _pause_reading(self) -> None:
        assert self._transport is not None, "data came over a transport"
        self._read_paused = True
        self._transport.pause_reading()

    def _head_too_large(self, exchange: Incoming) -> bool:
        if not (exchange.chunks or exchange.complete):
            return True
        return sum(len(name) + len(value) for name, value in exchange.headers) > HEAD_LIMIT

    def _unheard(self, exchange: Incoming) -> bool:
        """Whether a connection that has served before ended before the first byte of this reply."""
        return self._served and not exchange.status and self._quiet == 0

    def _broken_off(self, exchange: Incoming, *, may_retry: bool) -> Disconnected:
        if not self._unheard(exchange):
            return Disconnected("the server closed the connection before the reply was complete")
        if self._held:
            return Stale(untouched=True)
        assert self._transport is not None, "it was only just lost"
        missing = unacknowledged(self._transport) if may_retry else None
        return Stale(untouched=missing is not None and missing >= self._sent)


async def _pieces(body: bytes) -> AsyncIterator[memoryview]:
    view = memoryview(body)
    for start in range(0, len(body), PIECE):
        yield view[start : start + PIECE]
