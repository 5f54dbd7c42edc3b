"""The framing of an `httpx.Request` (RFC 9112 section 6)."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

import httpx
from msgspec import Struct

from plano.types import RawHeaders

_OWN = frozenset((b"content-length", b"transfer-encoding", b"connection", b"keep-alive"))


class Framing(Struct, frozen=True):
    """A request in the form that goes on the wire.

    Attributes:
        headers: the header fields that are not about framing.
        block: the fields about framing, a line each, and the empty line after them.
        body: the bytes on the wire.
        last: whether the connection must end with the exchange.
    """

    headers: RawHeaders
    block: bytes
    body: bytes | AsyncIterable[bytes]
    last: bool


def framed(request: httpx.Request) -> Framing:
    """The framing that an httpx request states. A body that differs from it raises `httpx.LocalProtocolError`."""
    fields = [(name.lower(), value) for name, value in request.headers.raw]
    own = {name: value for name, value in fields if name in _OWN}
    headers = [field for field in fields if field[0] not in _OWN]
    last = b"close" in own.get(b"connection", b"").lower()
    ending = b"connection: close\r\n\r\n" if last else b"\r\n"
    stream = request.stream
    if isinstance(stream, httpx.ByteStream):
        body = b"".join(stream)
        counted = b"content-length" in own or b"transfer-encoding" in own or body
        return Framing(headers, (b"content-length: %d\r\n" % len(body) if counted else b"") + ending, body, last)
    if not isinstance(stream, httpx.AsyncByteStream):
        raise httpx.LocalProtocolError("an asynchronous transport cannot send a synchronous body")
    if b"content-length" in own:
        length = own[b"content-length"]
        if not length.isdigit():
            raise httpx.LocalProtocolError("content-length is not a number")
        return Framing(headers, b"content-length: %b\r\n%b" % (length, ending), _exactly(int(length), stream), last)
    return Framing(headers, b"transfer-encoding: chunked\r\n" + ending, _chunks(stream), last)


async def _exactly(length: int, stream: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    left = length
    async for piece in stream:
        left -= len(piece)
        if left < 0:
            break
        if piece:
            yield piece
    if left:
        raise httpx.LocalProtocolError(f"the body is not as long as its content-length says: {length}")


async def _chunks(stream: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    async for piece in stream:
        if piece:
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"
