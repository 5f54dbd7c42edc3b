"""Sends a Response as ASGI messages.

plano's own server (`plano.server.exchange.Exchange`) has verbs beside `send` and `receive` that need not be awaited:
`reply` for a whole response, `push` for a piece of a stream, `whole` for a body that has arrived. Under another server,
or if `send` is wrapped, ASGI's messages do the same.
"""

from __future__ import annotations

import logging
from time import perf_counter

from plano.dialects import client_codec
from plano.edge.own_server import FastPath, fast_path
from plano.errors import PlanoError
from plano.journal import Journal
from plano.response import Response
from plano.streams.stages import Flow
from plano.types import RawHeaders, Send

logger = logging.getLogger("plano")

_NOT_KEPT_BACK = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
"""Headers that ask caches and proxies in front (nginx reads the second) to pass a stream on as it comes."""


async def send_response(response: Response, send: Send) -> None:
    """Send a whole response. A stream that breaks ends in its dialect's error event.

    A stream's headers wait for its first piece.

    Raises:
        PlanoError: the stream broke before its first piece, so that an error response can still be sent.
    """
    journal = response.journal
    journal.status = response.status
    body = response.body
    if body is None:
        await _send_pieces(response, send)
        journal.ended = perf_counter()
    else:
        before = perf_counter()
        journal.bytes_out = len(body)
        headers: RawHeaders = [*response.headers, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        journal.ended = now = perf_counter()
        journal.sending += now - before
    _conclude(journal)


def sent_at_once(response: Response, body: bytes, journal: Journal, server: FastPath) -> bool:
    """Do the same as `send_response` for a body, without waiting. Returns whether it was done."""
    before = perf_counter()
    journal.status = 500  # the server's answer if a filter's headers cannot be sent
    if not server.reply(response.status, response.headers, body):
        return False
    journal.status = response.status
    journal.bytes_out = len(body)
    journal.ended = now = perf_counter()
    journal.sending += now - before
    _conclude(journal)
    return True


def _conclude(journal: Journal) -> None:
    if journal.outcome is None:
        journal.outcome = "completed" if journal.error is None or journal.status >= 400 else "failed"


async def _send_pieces(response: Response, send: Send) -> None:
    out, pieces = _Outlet(response, send), response.pieces
    assert pieces is not None, "a response without a body has pieces"
    server = fast_path(send)
    flow = pieces.run(None if server is None else server.push) if isinstance(pieces, Flow) else None
    try:
        async for piece in flow or pieces:
            await out.send(piece)
    except Exception as error:
        if not out.started or out.closed:
            raise
        await out.send(_last_words(response, error))
    finally:
        if flow is not None:
            await flow.aclose()
    await out.end()


class _Outlet:
    """The way out for a stream. Its first piece opens it.

    Attributes:
        message: ASGI's `send`.
        started: whether anything was sent.
        closed: whether the client is gone.
    """

    __slots__ = ("_response", "closed", "message", "started")

    def __init__(self, response: Response, send: Send) -> None:
        self.message = send
        self.started = False
        self.closed = False
        self._response = response

    @property
    def journal(self) -> Journal:
        return self._response.journal

    async def send(self, piece: bytes) -> None:
        before = perf_counter()
        try:
            if not self.started:
                await self._open()
            await self.message({"type": "http.response.body", "body": piece, "more_body": True})
        except OSError:
            self.closed = True
            raise
        self.journal.bytes_out += len(piece)
        self.journal.sending += perf_counter() - before

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
        error = response.blame(error)
    response.journal.note_error(error)
    response.journal.outcome = "failed"
    return client_codec(response.dialect).write_stream_error(error)
