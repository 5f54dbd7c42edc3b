"""From a Response to ASGI messages."""

from __future__ import annotations

import logging
from time import perf_counter

from plano.dialects import CODECS
from plano.errors import FilterError, PlanoError
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
    journal.status = response.status
    if response.body is not None:
        await _send_body(response, response.body, send)
    else:
        await _send_pieces(response, send)
    journal.ended = perf_counter()
    if journal.outcome is None:
        journal.outcome = "completed" if journal.error is None or response.status >= 400 else "failed"


async def _send_body(response: Response, body: bytes, send: Send) -> None:
    headers: RawHeaders = [*response.headers, (b"content-length", b"%d" % len(body))]
    response.journal.bytes_out = len(body)
    before = perf_counter()
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    response.journal.sending += perf_counter() - before


async def _send_pieces(response: Response, send: Send) -> None:
    assert response.pieces is not None
    journal = response.journal
    started = False
    try:
        async for piece in response.pieces:
            before = perf_counter()
            if not started:
                started = True
                await _start_stream(response, send)
            journal.bytes_out += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            journal.sending += perf_counter() - before
    except Exception as error:
        if not started:
            raise
        last = _last_words(response, error)
        journal.bytes_out += len(last)
        await send({"type": "http.response.body", "body": last, "more_body": True})
    if not started:
        await _start_stream(response, send)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _start_stream(response: Response, send: Send) -> None:
    headers = [*response.headers, *_NOT_KEPT_BACK]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})


def _last_words(response: Response, error: Exception) -> bytes:
    """The error event that ends a broken stream."""
    if not isinstance(error, PlanoError):
        logger.error("a filter failed in the middle of a stream", exc_info=error)
        error = FilterError("stream")
    response.journal.error = error
    response.journal.outcome = "failed"
    return CODECS[response.dialect].write_stream_error(error)
