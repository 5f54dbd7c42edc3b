"""Sends a Response as ASGI messages.

plano's own server (`plano.server.exchange.Exchange`) has verbs beside `send` and `receive` that need not be awaited:
`reply` for a whole response, `push` for a piece of a stream, `whole` for a body that has arrived. Under another server,
or if `send` is wrapped, ASGI's messages do the same.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from time import perf_counter

from plano.dialects import client_codec
from plano.edge.own_server import FastPath, fast_path
from plano.journal import Journal
from plano.response import Pieces, Response
from plano.streams.stages import Flow
from plano.types import Message, RawHeaders, Send

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
    _conclude(journal, response)


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
    _conclude(journal, response)
    return True


def _conclude(journal: Journal, response: Response) -> None:
    attempt = response.attempt
    if journal.outcome is None:
        broken = attempt is not None and attempt.failure == "broken_stream"
        failed = (broken or journal.error is not None) and journal.status < 400
        journal.outcome = "failed" if failed else "completed"


async def _send_pieces(response: Response, send: Send) -> None:
    """Send a stream; its head goes out with its first piece."""
    journal, pieces = response.journal, response.pieces
    assert pieces is not None, "asked before"
    server = fast_path(send)
    flow = pieces.run(None if server is None else server.push) if isinstance(pieces, Flow) else None
    started = closed = False
    latest = b""
    try:
        async for piece in flow or pieces:
            if flow is None and piece.__class__ is not bytes:
                await _judge(pieces, piece)
            before, latest = perf_counter(), piece
            try:
                if not started:
                    started = True
                    await send(_head_of(response))
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            except OSError:
                closed = True
                raise
            journal.bytes_out += len(piece)
            journal.sending += perf_counter() - before
    except Exception as error:
        if not started or closed:
            raise
        await _send_last_words(response, error, send, latest)
    finally:
        if flow is not None:
            await flow.aclose()
    if not started:
        await send(_head_of(response))
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def send_end(response: Response, error: Exception, send: Send) -> None:
    """End a stream that has begun with its dialect's error event."""
    await _send_last_words(response, error, send)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _judge(pieces: Pieces, piece: object) -> None:
    """Raises TypeError for a piece that is not bytes, where its generator gave it, so that the generator is named."""
    if isinstance(piece, bytes):
        return
    why = f"a piece of the stream is of type {type(piece).__name__}: give bytes"
    if isinstance(pieces, AsyncGenerator):
        await pieces.athrow(TypeError(why))
    raise TypeError(why)


def _head_of(response: Response) -> Message:
    headers = [*response.headers, *_NOT_KEPT_BACK]
    return {"type": "http.response.start", "status": response.status, "headers": headers}


async def _send_last_words(response: Response, error: Exception, send: Send, latest: bytes = b"") -> None:
    """Send the error event that ends a broken stream. `latest` is the last piece that went out here; later ones, which
    the upstream's connection pushed past this loop, are known to the attempt."""
    journal, error = response.journal, response.blame(error)
    journal.note_error(error)
    journal.outcome = "failed"
    pushed = () if response.attempt is None else response.attempt.last
    last = client_codec(response.dialect).write_stream_error(error, (latest, *pushed))
    journal.bytes_out += len(last)
    await send({"type": "http.response.body", "body": last, "more_body": True})
