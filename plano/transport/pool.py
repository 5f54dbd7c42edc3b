"""The connections to one origin, and the line of requests that wait for one."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from math import inf

import httpx
from msgspec import Struct

from plano.transport.connection import Connection
from plano.transport.dial import Directory, Resolve, open_socket
from plano.transport.sender import Timeouts


class Limits(Struct, frozen=True, kw_only=True):
    """The bounds on connections to one origin.

    Attributes:
        max_open: connections at work, at rest and being made. Beyond that, requests wait in line.
        max_idle: connections at rest. The one that rested longest makes room.
        idle_expiry: seconds that a connection rests, unless the server's `keep-alive` field says fewer.
        max_age: seconds after which a connection takes no new request, so that the host's addresses are looked up again
            in constant use too. A quarter less for some, so that they do not all end at once.
        address_age: seconds for which looked-up addresses are used. It is enough for a burst of connections, and too
            short to matter if a host moves.
    """

    max_open: int = 4096
    max_idle: int = 512
    idle_expiry: float = 60.0
    max_age: float = 120.0
    address_age: float = 5.0


class Origin(Struct, frozen=True):
    """A server: scheme, host as DNS has it (without brackets) and port (RFC 9110 section 4.3.1)."""

    tls: bool
    host: str
    port: int


class Pool:
    """Hands out connections to `origin`: the last used one, else a new one, else one after a wait in line."""

    def __init__(
        self, origin: Origin, limits: Limits, resolve: Resolve, tls: Callable[[], Awaitable[ssl.SSLContext]]
    ) -> None:
        self._origin = origin
        self._limits = limits
        self._directory = Directory(origin.host, origin.port, resolve, limits.address_age)
        self._tls = tls
        self._idle: deque[Connection] = deque()
        self._connections: set[Connection] = set()
        self._open = 0  # includes connections being made, and those promised to a request in line
        self._line: deque[asyncio.Future[Connection | None]] = deque()
        self._closing = False
        self._empty: asyncio.Future[None] | None = None

    # -- Getting one --

    def take(self) -> Connection | None:
        """The last used connection that is fit for use, or None."""
        while self._idle:
            connection = self._idle.pop()
            if connection.fit:
                return connection
            connection.close()
        return None

    async def acquire(self, timeouts: Timeouts) -> Connection:
        """A new connection, or one that came free during a wait in line. Raises httpx's errors."""
        self._check_open()
        if self._open < self._limits.max_open:
            self._open += 1
        else:
            connection = await self._wait_in_line(timeouts.pool)
            if connection is not None:
                return connection
        try:
            connection = await self._connect(timeouts.connect)
            self._check_open(connection)
        except BaseException:
            self._freed()
            raise
        self._connections.add(connection)
        connection.watch()
        return connection

    def _check_open(self, connection: Connection | None = None) -> None:
        if self._closing:
            if connection is not None:
                connection.close()
            raise httpx.ConnectError("the transport is closed")
        if connection is not None and not connection.alive:
            raise httpx.ConnectError("the server closed the connection at once")

    async def _wait_in_line(self, seconds: float) -> Connection | None:
        """A connection, or None for the right to make one."""
        loop = asyncio.get_running_loop()
        place: asyncio.Future[Connection | None] = loop.create_future()
        self._line.append(place)
        timer = None if seconds == inf else loop.call_later(seconds, _give_up, place)
        try:
            return await place
        except BaseException:
            self._leave_line(place)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _leave_line(self, place: asyncio.Future[Connection | None]) -> None:
        if place in self._line:
            self._line.remove(place)
        if place.cancelled() or not place.done() or place.exception() is not None:
            return
        # It was cancelled after its turn had come.
        connection = place.result()
        if connection is None:
            self._freed()
        else:
            self.release(connection)

    async def _connect(self, seconds: float) -> Connection:
        connection = Connection(asyncio.get_running_loop(), self, self._limits.idle_expiry, self._limits.max_age)
        try:
            async with asyncio.timeout(None if seconds == inf else seconds):
                addresses = await self._directory.addresses()
                await self._attach(connection, await open_socket(addresses), seconds)
        except TimeoutError as error:
            self._directory.forget()
            raise httpx.ConnectTimeout("no connection in time") from error
        except (OSError, UnicodeError) as error:
            self._directory.forget()
            raise httpx.ConnectError(str(error)) from error
        return connection

    async def _attach(self, connection: Connection, sock: socket.socket, seconds: float) -> None:
        """Puts `connection` on `sock`, through TLS where the origin has it."""
        loop = asyncio.get_running_loop()
        try:
            context = await self._tls() if self._origin.tls else None
        except BaseException:
            sock.close()
            raise
        # From here on, the event loop owns the socket.
        if context is None:
            await loop.create_connection(lambda: connection, sock=sock)
        else:
            await loop.create_connection(
                lambda: connection,
                sock=sock,
                ssl=context,
                server_hostname=self._origin.host,
                # uvloop keeps a cancelled handshake for this long. plano's own deadline is sooner.
                ssl_handshake_timeout=min(seconds, 60.0) + 1.0,
                ssl_shutdown_timeout=1.0,
            )

    # -- Giving one back --

    def release(self, connection: Connection) -> None:
        """`connection` is free, and fit for another exchange."""
        if self._closing:
            connection.close()
            return
        while self._line:
            place = self._line.popleft()
            if not place.done():
                place.set_result(connection)
                return
        self._idle.append(connection)
        if len(self._idle) > self._limits.max_idle:
            self._idle.popleft().close()

    def discard(self, connection: Connection) -> None:
        """`connection` must not be used again. It may be at rest, or promised to a request in line."""
        if connection in self._idle:
            self._idle.remove(connection)
        connection.close()

    def lost(self, connection: Connection) -> None:
        """`connection` is gone."""
        if connection in self._idle:
            self._idle.remove(connection)
        if connection in self._connections:
            self._connections.remove(connection)
            self._freed()

    def _freed(self) -> None:
        """One more connection may be made: the next in line makes it."""
        while self._line and not self._closing:
            place = self._line.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._open -= 1
        if self._open == 0 and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    # -- The end --

    @property
    def counts(self) -> tuple[int, int, int]:
        """The numbers of connections open (at rest and being made too), of those at rest, and of requests in line."""
        return self._open, len(self._idle), sum(not place.done() for place in self._line)

    @property
    def at_work(self) -> int:
        """Connections that are not at rest, those being made included."""
        return self._open - len(self._idle)

    @property
    def unused(self) -> bool:
        return self._open == 0

    async def aclose(self, seconds: float) -> None:
        """Refuses new exchanges, and breaks off those that have not ended in `seconds`."""
        self._closing = True
        for place in self._line:
            if not place.done():
                place.set_exception(httpx.ConnectError("the transport is closed"))
        while self._idle:
            self._idle.pop().close()
        try:
            await self._until_empty(seconds)
        finally:
            for connection in list(self._connections):
                connection.fail(httpx.ReadError("the transport was closed"))
        await self._until_empty(1.0)

    async def _until_empty(self, seconds: float) -> None:
        if self._open:
            self._empty = asyncio.get_running_loop().create_future()
            await asyncio.wait((self._empty,), timeout=seconds)


def _give_up(place: asyncio.Future[Connection | None]) -> None:
    if not place.done():
        place.set_exception(httpx.PoolTimeout("no connection came free in time"))
