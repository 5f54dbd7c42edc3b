"""HTTP/1.1 (RFC 9112) over asyncio and httptools: plano's own transport, and the default.

It has two faces: `send` for the upstream link, without httpx's objects and with plano's errors, and
`handle_async_request` for callers that speak httpx.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable, AsyncIterator
from math import inf
from typing import Any

import httpx
from msgspec import Struct

from plano.transport.connection import PIECE
from plano.transport.dial import Resolve, resolve
from plano.transport.errors import FOREIGN, Stale, to_plano
from plano.transport.exchange import Incoming
from plano.transport.fields import FieldWriter
from plano.transport.framing import framed
from plano.transport.pool import Limits, Origin, Pool
from plano.transport.sender import Outgoing, Timeouts
from plano.transport.states import Phase
from plano.transport.tls import tls_context
from plano.types import RawHeaders

MAX_ROUTES = 1024
"""The most URLs whose pool and request line are remembered. The configuration names far fewer."""

_IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
"""The methods that may be repeated (RFC 9110 section 9.2.2)."""

_KEY = b"\r\nidempotency-key: "
"""The header that makes the server do a repeated request only once (draft-ietf-httpapi-idempotency-key-header)."""

_WITH_CONTENT = frozenset((b"POST", b"PUT", b"PATCH"))
"""The methods whose requests state the length of their content even if there is none (RFC 9110 section 8.6)."""


_HEAD = Phase.HEAD


class _Route(Struct):
    """The part that all requests with one method to one URL share, and the constant headers that were sent last."""

    pool: Pool
    request_line: bytes
    with_host: bytes
    constant: RawHeaders = []
    start: bytes = b""
    names_a_host: bool = False


class HTTP1Transport(httpx.AsyncBaseTransport):
    """HTTP/1.1 to any number of origins, over connections that are kept.

    A connection that the server has closed is not used again, even if the event loop has not noticed yet. A request is
    sent a second time only when a kept connection ended before the first byte of the reply, only once, and only if (RFC
    9110 section 9.2.2) its method is idempotent, it has an `idempotency-key`, or nothing of it can have been processed.
    TCP proves the latter: the server's end of stream had arrived, and it had not acknowledged one byte of the request.
    This happens when a server closes an idle connection just as a request is sent. A reset alone proves nothing,
    because it looks the same if the request was read. Any other failure of a POST is reported, because nobody knows if
    it was done.

    Args:
        limits: the limits of each origin's pool.
        tls: made by `tls_context(...)`. By default one is made with its defaults on first use.
        drain: seconds that `aclose` gives to exchanges in progress.
        resolve: finds a host's addresses.
    """

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        drain: float = 5.0,
        resolve: Resolve = resolve,
    ) -> None:
        self._limits = limits or Limits()
        self._tls = tls
        self._making_tls = asyncio.Lock()
        self._drain = drain
        self._resolve = resolve
        self._pools: dict[Origin, Pool] = {}
        self._routes: dict[tuple[bytes, str], _Route] = {}
        self._fields = FieldWriter()

    async def send(self, request: Outgoing) -> Incoming:
        """See `plano.transport.Sender`."""
        try:
            method, body, timeouts = request.method, request.body, request.timeouts
            route = self._routes.get((method, request.url)) or self._find_route(method, request.url)
            head = self._head(route, request)
            if body or method in _WITH_CONTENT:
                head = b"%bcontent-length: %d\r\n\r\n" % (head, len(body))
            else:
                head += b"\r\n"
            connection = route.pool.take() or await route.pool.acquire(timeouts)
            try:
                if len(body) > PIECE:
                    exchange = await connection.perform(head, body, timeouts, without_body=method == b"HEAD")
                else:  # the same as `perform`, without a coroutine of its own
                    exchange = connection.start(head, body, timeouts.idle, method == b"HEAD")
                    try:
                        if connection.write_paused:
                            await connection.room(exchange, timeouts.write)
                        while not exchange.status:
                            if exchange.error is not None:
                                raise exchange.why()
                            await connection.expect(_HEAD, timeouts.first_byte)
                    except BaseException:
                        exchange.close()
                        raise
            except Stale as stale:
                repeated = await self._repeat(stale, route.pool, method, head, body, timeouts)
                if repeated is None:
                    raise
                exchange = repeated
        except FOREIGN as error:
            raise to_plano(error) from error
        if exchange.coded:
            exchange.look_inside()
        return exchange

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`.

        The only extension that it reads is `timeout`, which may have a `first_byte` beside `read`.
        """
        method = request.method.encode("ascii")
        pool, request_line = self._pool_for(request.url), _request_line(method, request.url)
        framing = framed(request)
        head = request_line + self._fields.block(framing.headers) + framing.block
        timeouts, body, last = _timeouts(request), framing.body, framing.last
        connection = pool.take() or await pool.acquire(timeouts)
        try:
            exchange = await connection.perform(head, body, timeouts, without_body=method == b"HEAD", last=last)
        except Stale as stale:
            repeated = await self._repeat(stale, pool, method, head, body, timeouts, last=last)
            if repeated is None:
                raise
            exchange = repeated
        return httpx.Response(
            exchange.status,
            headers=exchange.headers,
            stream=_Body(exchange),
            extensions={"http_version": b"HTTP/1.1"},
        )

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """The numbers of connections open, idle and waited for, by origin (`https://api.openai.com:443`)."""
        return {
            f"{'https' if origin.tls else 'http'}://{origin.host}:{origin.port}": pool.counts
            for origin, pool in self._pools.items()
        }

    async def aclose(self) -> None:
        """Waits up to `drain` seconds for exchanges in progress, and closes everything."""
        await asyncio.gather(*(pool.aclose(self._drain) for pool in self._pools.values()))

    def _head(self, route: _Route, request: Outgoing) -> bytes:
        """The head of a request without the lines that depend on the body."""
        constant = request.constant
        if constant is not route.constant or not route.start:
            block = self._fields.block(constant)
            route.names_a_host = self._fields.names_a_host(constant)
            route.start = (route.request_line if route.names_a_host else route.with_host) + block
            route.constant = constant
        block = self._fields.block(request.headers)
        if not route.names_a_host and self._fields.names_a_host(request.headers):
            return b"%b%b%b" % (route.request_line, self._fields.block(constant), block)
        return route.start + block

    async def _repeat(
        self,
        stale: Stale,
        pool: Pool,
        method: bytes,
        head: bytes,
        body: bytes | AsyncIterable[bytes],
        timeouts: Timeouts,
        *,
        last: bool = False,
    ) -> Incoming | None:
        """Send a request again, on a new connection; None if it may not be."""
        may_repeat = stale.untouched or method in _IDEMPOTENT or _KEY in head
        if not (may_repeat and isinstance(body, bytes)):
            return None
        connection = await pool.acquire(timeouts)
        return await connection.perform(head, body, timeouts, without_body=method == b"HEAD", last=last)

    def _find_route(self, method: bytes, url: str) -> _Route:
        if len(self._routes) >= MAX_ROUTES:
            self._routes.clear()
        parsed = httpx.URL(url)
        line = _request_line(method, parsed)
        route = _Route(self._pool_for(parsed), line, b"%bhost: %b\r\n" % (line, parsed.netloc))
        self._routes[method, url] = route
        return route

    def _pool_for(self, url: httpx.URL) -> Pool:
        if url.scheme not in ("http", "https") or not url.host:
            raise httpx.UnsupportedProtocol(f"not a URL of a web server: scheme {url.scheme!r}, host {url.host!r}")
        tls = url.scheme == "https"
        origin = Origin(tls, url.raw_host.decode("ascii"), url.port or (443 if tls else 80))
        pool = self._pools.get(origin)
        if pool is None:
            if len(self._pools) >= MAX_ROUTES:
                self._forget_unused()
            pool = self._pools[origin] = Pool(origin, self._limits, self._resolve, self._context)
        return pool

    def _forget_unused(self) -> None:
        self._routes.clear()
        self._pools = {origin: pool for origin, pool in self._pools.items() if not pool.unused}

    async def _context(self) -> ssl.SSLContext:
        async with self._making_tls:
            if self._tls is None:
                # Reading a few hundred certificates takes long enough for other requests to notice.
                self._tls = await asyncio.get_running_loop().run_in_executor(None, tls_context)
            return self._tls


class _Body(httpx.AsyncByteStream):
    """The body of a reply for httpx, with its content coding."""

    def __init__(self, exchange: Incoming) -> None:
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self._exchange.piece():
            yield piece

    async def aclose(self) -> None:
        self._exchange.close()


def _request_line(method: bytes, url: httpx.URL) -> bytes:
    if not method.isalpha() or method == b"CONNECT":
        raise httpx.LocalProtocolError("not a method that this transport can send")
    return b"%b %b HTTP/1.1\r\n" % (method, url.raw_path)


def _timeouts(request: httpx.Request) -> Timeouts:
    limits: dict[str, Any] = request.extensions.get("timeout", {})

    def seconds(*names: str) -> float:
        found = [limits[name] for name in names if limits.get(name) is not None]
        return float(found[0]) if found else inf

    return Timeouts(
        connect=seconds("connect"),
        write=seconds("write"),
        first_byte=seconds("first_byte", "read"),
        idle=seconds("read"),
        pool=seconds("pool"),
    )
