"""Reads the reply to one request from a connection (RFC 9112 sections 6 and 7).

httptools parses; the callbacks refuse replies that it accepts and another reader might read differently. Only the
framing ends a body: its length, the last chunk, or, if there is neither, the connection's end.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from math import inf
from typing import Protocol

import httpx
from httptools import HttpResponseParser

from plano.codings import Decoder
from plano.errors import UpstreamProtocolError
from plano.transport.decoding import plain
from plano.transport.errors import FOREIGN, to_plano
from plano.transport.states import Phase
from plano.types import RawHeaders

MAX_FIELDS = 256
"""The most header fields that a reply may have. The connection bounds their bytes."""

# The fields about the message itself, which the transport must obey.
_NOTED = frozenset((b"content-length", b"transfer-encoding", b"content-encoding", b"keep-alive"))


_BODY = Phase.BODY


class Line(Protocol):
    """The connection, as far as its reply needs it."""

    def expect(self, phase: Phase, seconds: float) -> asyncio.Future[None]:
        """A future to await until there is news, good or bad. After `seconds` without any, the exchange fails."""

    def drained(self) -> None:
        """The reader took everything."""

    def fail(self, error: Exception) -> None:
        """Breaks the exchange off, and the connection with it."""


class Incoming:
    """A `plano.transport.Exchange`, and the callbacks of its parser.

    Each exchange has a parser and buffers of its own, so bytes that a connection receives for one request cannot end up
    in another. `_connection` is set while the reply is being received.

    Attributes:
        chunks: the pieces of body that have come and were not read.
        coded: whether the reply has a content coding.
        complete: whether all of the reply has come.
        error: the reason why no more will come.
        framed: whether the end of the body can be told from the end of the connection.
        idle: the most seconds between two pieces.
        keep_alive: whether the peer lets the connection go on.
        parser: its parser, from the reply's first byte to its last.
        sink: takes each piece as it comes, while `push_to` runs.
        status: 0 until the head is complete.
        without_body: whether the reply has no body even if its head announces one, like a reply to HEAD.
    """

    __slots__ = (
        "_connection",
        "_decoder",
        "_keep_alive_hint",
        "_plain",
        "chunks",
        "coded",
        "complete",
        "error",
        "framed",
        "headers",
        "idle",
        "keep_alive",
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
        self._keep_alive_hint = b""
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
            self.close()  # the reader will hardly come back, and nothing else would close it
            raise
        except FOREIGN as error:
            self.close()
            raise to_plano(error) from error
        if not data:
            raise StopAsyncIteration
        return data

    async def push_to(self, sink: Callable[[bytes], bool]) -> None:
        """Hands each piece to `sink` the moment it comes, without waking the task that waits here.

        Returns when `sink` returns False, and at the end of the reply, good or bad. The caller then reads on as usual,
        and may find a piece that came at the end.

        Args:
            sink: takes a piece, and returns whether it can take another. It must not raise.
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
        """Gives up the unread part. A connection in the middle of the reply is closed, and a later read raises, because
        the reply is not complete."""
        if self._connection is not None:
            self._connection.fail(_closed())
        elif self.error is None and (self.chunks or self._decoder is not None):
            self.error = _closed()
        self.chunks.clear()
        self._plain = _NOTHING

    def why(self) -> Exception:
        """The error to raise. It is not kept here, because a raised error holds frames that hold this object. A later
        read raises another one."""
        error, self.error = self.error, _closed()
        assert error is not None, "asked before"
        return error

    def look_inside(self) -> None:
        """Decodes the body from now on, because the upstream coded it although it was asked not to."""
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
        """The bytes of body since the last call, at least one; b"" at the end."""
        try:
            while (data := self.take()) is None:
                await self.news()
        except asyncio.CancelledError:
            self.close()
            raise
        return data

    def take(self) -> bytes | None:
        """The same as `piece`, if it need not wait; else None, and the caller awaits `news`."""
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
        """A future to await when there is nothing to take."""
        assert self._connection is not None, "a reply that is over has no news"
        return self._connection.expect(_BODY, self.idle)

    def parse(self) -> HttpResponseParser:
        """The parser of this reply, made at its first byte."""
        self.parser = HttpResponseParser(self)
        return self.parser

    @property
    def may_rest(self) -> float:
        """The seconds of rest that `keep-alive: timeout=5, max=100` allows, less a fifth, lest the server close first.

        The field is from RFC 2068 section 19.7.1.1, and servers still send it.
        """
        hint = _KEEP_ALIVE_TIMEOUT.search(self._keep_alive_hint)
        return int(hint[1]) * 0.8 if hint else inf

    def detach(self) -> None:
        """Releases the connection. The exchange is complete, or `error` is the reason why not."""
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
            return  # A trailer. The request asked for none (RFC 9110 section 6.5.1), so it may be dropped.
        name = name.lower()
        if name in _NOTED:
            self._note(name, value)
        self.headers.append((name, value.rstrip()))

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if status < 200:
            _refuse_switching(status)
            return
        if len(self.headers) > MAX_FIELDS:
            raise _Unacceptable(f"more than {MAX_FIELDS} header fields")
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
        """Ignores a 1xx, of which any number may come before the response (RFC 9110 section 15.2)."""
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
                # RFC 9112 section 6.1: faulty framing, because a peer that passed it on cannot have understood it.
                raise _Unacceptable("a transfer-encoding in a version that has none")
            self.framed = True
        elif name == b"content-encoding":
            self.coded = True
        else:
            self._keep_alive_hint = value


class _Unacceptable(Exception):
    """Raised in a callback to stop the parser."""


class _Surplus(_Unacceptable):
    pass


def _refuse_switching(status: int) -> None:
    if status == 101:
        raise _Unacceptable("a switch of protocols that was not asked for")
    if status < 100:
        raise _Unacceptable("a status below 100")


def _closed() -> Exception:
    return httpx.ReadError("the reply was closed before its end")


_KEEP_ALIVE_TIMEOUT = re.compile(rb"(?:^|[,;\s])timeout=(\d{1,9})", re.IGNORECASE)
_NOTHING: Iterator[bytes] = iter(())
