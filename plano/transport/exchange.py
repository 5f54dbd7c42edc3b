"""The reply to one request, as it comes off a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol

import httpx
from httptools import HttpResponseParser

from plano.errors import UpstreamProtocolError
from plano.transport.decoding import Decoder, plain
from plano.transport.errors import FOREIGN, to_plano
from plano.transport.states import Phase
from plano.types import RawHeaders

MOST_FIELDS = 256
"""The most header fields a reply may have; the most bytes are the connection's concern."""

# Fields that say something about the message itself, so that the transport must look at them.
_NOTED = frozenset((b"content-length", b"transfer-encoding", b"content-encoding", b"keep-alive"))


_BODY = Phase.BODY


class Line(Protocol):
    """The connection, as far as the reply that comes over it needs it."""

    def expect(self, phase: Phase, seconds: float) -> asyncio.Future[None]:
        """What to await until there is news, good or bad; after `seconds` without any, the exchange fails."""

    def drained(self) -> None:
        """The reader took all that was there."""

    def fail(self, error: Exception) -> None:
        """Breaks the exchange off, and the connection with it."""


class Incoming:
    """See `plano.transport.Exchange`; and the parser's callbacks.

    Each exchange has a parser and buffers of its own: what a connection receives for one request cannot end up in
    another. `_connection` is set as long as the reply is still being received.
    """

    __slots__ = (
        "_connection",
        "_decoder",
        "_plain",
        "chunks",
        "coded",
        "complete",
        "error",
        "framed",
        "headers",
        "idle",
        "keep_alive",
        "keep_alive_hint",
        "on_body",
        "parser",
        "sink",
        "status",
        "without_body",
    )

    def __init__(self, connection: Line, without_body: bool, idle: float) -> None:
        self._connection: Line | None = connection
        self.idle = idle
        self.coded = False
        self._decoder: Decoder | None = None
        self._plain: Iterator[bytes] = _NOTHING
        self.sink: Callable[[bytes], bool] | None = None
        self.status = 0
        self.headers: RawHeaders = []
        self.chunks: list[bytes] = []
        self.on_body = self.chunks.append
        self.without_body = without_body
        self.framed = False
        self.complete = False
        self.keep_alive = False
        self.keep_alive_hint = b""
        self.error: Exception | None = None
        self.parser: HttpResponseParser = None  # type: ignore[assignment]  # until there is something to parse

    # -- Reading: plain bytes, plano's errors --

    def whole(self, limit: int) -> bytes | None:
        if not self.complete or self._decoder is not None or self.error is not None:
            return None
        chunks = self.chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if len(body) > limit:
            return None
        chunks.clear()
        return body

    async def read(self, limit: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        async for piece in self:
            size += len(piece)
            if size > limit:
                break
            pieces.append(piece)
        if size > limit:
            self.close()
            raise UpstreamProtocolError(f"The upstream's reply is longer than {limit} bytes.")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            if self._decoder is not None:
                data = await self._piece_of_plain()
            else:
                while (found := self.take()) is None:
                    await self.news()
                data = found
        except asyncio.CancelledError:
            self.close()  # who gives up waiting will hardly come back, and nobody else would close it
            raise
        except FOREIGN as error:
            self.close()
            raise to_plano(error) from error
        if not data:
            raise StopAsyncIteration
        return data

    async def push_to(self, sink: Callable[[bytes], bool]) -> None:
        """Hands each piece to `sink` the moment it comes, without waking the task that waits here. Returns when `sink`
        says False, or when there is more to say than that a piece has come: then it is to be read on as usual.

        Args:
            sink: must not raise.
        """
        if self._connection is None or self.chunks or self._decoder is not None:
            return
        self.sink = sink
        try:
            await self._connection.expect(_BODY, self.idle)
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self.sink = None

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        """Gives up what has not been read. A connection that is in the middle of the reply goes with it, and whoever
        reads on learns that it was not the end."""
        if self._connection is not None:
            self._connection.fail(_closed())
        elif self.error is None and (self.chunks or self._decoder is not None):
            self.error = _closed()
        self.chunks.clear()
        self._plain = _NOTHING

    def why(self) -> Exception:
        """The error, to be raised. It is not kept, because the frames that it is raised through hold this, and it will
        hold them; whoever reads on all the same gets another."""
        error, self.error = self.error, _closed()
        assert error is not None, "asked before"
        return error

    def look_inside(self) -> None:
        """Makes what is read plain: the upstream coded it although it was asked not to."""
        self.headers, self._decoder = plain(self.status, self.headers)

    async def _piece_of_plain(self) -> bytes:
        assert self._decoder is not None, "only a coded body is decoded"
        while True:
            for piece in self._plain:
                return piece
            data = await self.piece()
            if not data:
                self._decoder.finish()
                return b""
            self._plain = self._decoder.feed(data)

    # -- Reading: the bytes on the wire, httpx's errors --

    async def piece(self) -> bytes:
        """All of the body that has come since the last call, at least a byte; b"" at the end."""
        try:
            while (data := self.take()) is None:
                await self.news()
        except asyncio.CancelledError:
            self.close()
            raise
        return data

    def take(self) -> bytes | None:
        """What `piece` gives, if it is there; None where `news` have to be awaited."""
        chunks = self.chunks
        connection = self._connection
        if not chunks:
            if connection is not None:
                return None
            if self.error is not None:
                raise self.why()
            return b""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        if connection is not None:
            connection.drained()
        return data

    def news(self) -> asyncio.Future[None]:
        """What to await when there is nothing to take."""
        assert self._connection is not None, "a reply that is over has no news"
        return self._connection.expect(_BODY, self.idle)

    def parse(self) -> HttpResponseParser:
        """The parser of this reply, which has begun to come."""
        self.parser = HttpResponseParser(self)
        return self.parser

    def detach(self) -> None:
        """The connection has no more to say about this exchange: it is complete, or `error` says why not."""
        self._connection = None
        self.parser = None  # type: ignore[assignment]  # it refers back to this
        if self.without_body and self.chunks:
            self.chunks.clear()
            self.keep_alive = False

    # -- The parser's callbacks --

    def on_message_begin(self) -> None:
        if self.complete:
            raise _Surplus("more than one reply to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status:
            return  # A trailer. Nobody asked for any (RFC 9110 section 6.5.1), so they may be dropped.
        name = name.lower()
        if name in _NOTED:
            self._note(name, value)
        self.headers.append((name, value.rstrip()))

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if status < 200:
            _refuse_switching(status)
            return
        if len(self.headers) > MOST_FIELDS:
            raise _Unacceptable(f"more than {MOST_FIELDS} header fields")
        self.status = status
        if self.without_body:
            # RFC 9112 section 6.3, rule 1. The parser does not know, and waits for a body if one is announced:
            # `keep_alive` then stays False, so the connection is not used again.
            self.complete = True

    def on_message_complete(self) -> None:
        if not self.status:
            self._forget_interim()
            return
        self.complete = True
        self.keep_alive = self.parser.should_keep_alive()

    def _forget_interim(self) -> None:
        """RFC 9110 section 15.2: any number of 1xx may come first; a client that did not ask for them ignores them."""
        if self.chunks:
            raise _Unacceptable("an interim reply with a body")
        self.headers.clear()
        self.framed = False
        self.coded = False

    def _note(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            self.framed = True
        elif name == b"transfer-encoding":
            # Nothing else was offered in TE (RFC 9112 section 7.4), so nothing else can be undone.
            if self.framed or value.strip().lower() != b"chunked":
                raise _Unacceptable("a transfer-encoding that was not asked for")
            if self.parser.get_http_version() != "1.1":
                # RFC 9112 section 6.1: faulty framing, for whatever passed it on cannot have understood it.
                raise _Unacceptable("a transfer-encoding in a version that has none")
            self.framed = True
        elif name == b"content-encoding":
            self.coded = True
        else:
            self.keep_alive_hint = value


class _Unacceptable(Exception):
    """Raised inside the parser to make it stop."""


class _Surplus(_Unacceptable):
    pass


def _refuse_switching(status: int) -> None:
    if status == 101:
        raise _Unacceptable("a switch of protocols that was not asked for")
    if status < 100:
        raise _Unacceptable("a status below 100")


def _closed() -> Exception:
    return httpx.ReadError("the reply was closed before its end")


_NOTHING: Iterator[bytes] = iter(())
