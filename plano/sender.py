"""From a Response to ASGI messages."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from time import perf_counter

from plano.dialects import CODECS
from plano.errors import FilterError, PlanoError, UpstreamError
from plano.relay import Relay
from plano.response import Response
from plano.types import RawHeaders, Send

logger = logging.getLogger("plano")

_NOT_KEPT_BACK = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
"""Asks caches and proxies in front (nginx: the latter) to pass a stream on as it comes."""


async def send_response(response: Response, send: Send) -> None:
    """Send it all. A stream that breaks ends in its dialect's error event.

    Nothing is sent of a stream before its first piece is there.

    Raises:
        PlanoError: the stream broke before its first piece; an error can still be answered.
    """
    journal = response.journal
    journal.status = status = response.status
    body = response.body
    if body is None:
        await _send_pieces(response, send)
        journal.ended = perf_counter()
    else:
        headers: RawHeaders = [*response.headers, (b"content-length", b"%d" % len(body))]
        journal.bytes_out = len(body)
        before = perf_counter()
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        journal.ended = now = perf_counter()
        journal.sending += now - before
    if journal.outcome is None:
        journal.outcome = "completed" if journal.error is None or status >= 400 else "failed"


async def _send_pieces(response: Response, send: Send) -> None:
    out = _Outlet(response, send)
    assert response.pieces is not None, "asked before"
    try:
        if isinstance(response.pieces, Relay):
            await _send_relay(response.pieces, out)
        else:
            async for piece in response.pieces:
                await out.send(piece)
    except Exception as error:
        if not out.started or out.closed:
            raise
        await out.send(_last_words(response, error))
    await out.end()


async def _send_relay(relay: Relay, out: _Outlet) -> None:
    """What iterating over it and `out.send` would do, in one loop: nothing else is done as often as this."""
    send, feed = out.message, relay.feed
    waiting = sending = 0.0
    size = 0
    asked = perf_counter()
    try:
        async for chunk in relay.source:
            now = perf_counter()
            waiting += now - asked
            piece = feed(chunk)
            if not isinstance(piece, bytes) or not out.started:
                await out.send_all(piece)
                asked = perf_counter()
            elif piece:
                size += len(piece)
                before = perf_counter()
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                asked = perf_counter()
                sending += asked - before
            else:
                asked = now
    except UpstreamError:
        relay.broke()
        raise
    except OSError:
        out.closed = True
        raise
    finally:
        journal = relay.journal
        journal.waited_in_stream += waiting
        journal.sending += sending
        journal.bytes_out += size
    async for piece in relay.finish():
        await out.send(piece)


class _Outlet:
    """Where a stream goes out. It is opened by its first piece.

    Attributes:
        message: ASGI's `send`.
        started: something is out.
        closed: nobody takes more.
    """

    __slots__ = ("_response", "closed", "message", "started")

    def __init__(self, response: Response, send: Send) -> None:
        self.message = send
        self.started = False
        self.closed = False
        self._response = response

    async def send_all(self, pieces: bytes | AsyncIterator[bytes]) -> None:
        if not isinstance(pieces, bytes):
            async for piece in pieces:
                await self.send(piece)
        elif pieces:
            await self.send(pieces)

    async def send(self, piece: bytes) -> None:
        before = perf_counter()
        try:
            if not self.started:
                await self._open()
            await self.message({"type": "http.response.body", "body": piece, "more_body": True})
        except OSError:
            self.closed = True
            raise
        journal = self._response.journal
        journal.bytes_out += len(piece)
        journal.sending += perf_counter() - before

    async def end(self) -> None:
        if not self.started:
            await self._open()
        await self.message({"type": "http.response.body", "body": b"", "more_body": False})

    async def _open(self) -> None:
        self.started = True
        headers = [*self._response.headers, *_NOT_KEPT_BACK]
        await self.message({"type": "http.response.start", "status": self._response.status, "headers": headers})


def _last_words(response: Response, error: Exception) -> bytes:
    """The error event that ends a broken stream."""
    if not isinstance(error, PlanoError):
        logger.error("a filter failed in the middle of a stream", exc_info=error)
        error = FilterError("stream")
    response.journal.error = error
    response.journal.outcome = "failed"
    return CODECS[response.dialect].write_stream_error(error)
