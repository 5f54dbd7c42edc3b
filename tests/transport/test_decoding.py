"""Bodies that were compressed although identity was asked for."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import httpx
import pytest

from plano.errors import UpstreamProtocolError
from plano.transport import HTTP1Transport, Sender
from plano.transport.decoding import PIECE, Deflate, Foreign, Gzip, decoder_for, plain
from tests.transport.wire import Server, answering, ask, chunked, reply, start

TEXT = b"The quick brown fox. " * 500


def bare_deflate(data: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeeze.compress(data) + squeeze.flush()


CODINGS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "gzip": (b"gzip", gzip.compress),
    "x-gzip": (b"x-gzip", gzip.compress),
    "capitals": (b" GZIP ", gzip.compress),
    "gzip-members": (b"gzip", lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:])),
    "deflate": (b"deflate", zlib.compress),
    "deflate-bare": (b"deflate", bare_deflate),
}


@pytest.mark.parametrize("name", CODINGS)
async def test_a_compressed_body_is_read_plain_and_nothing_says_otherwise(
    sender: Sender, server: Server, name: str
) -> None:
    coding, compress = CODINGS[name]
    server.plays(answering(reply(compress(TEXT), b"content-encoding: " + coding, b"x-kept: 1")))
    exchange = await start(sender, server)
    assert exchange.headers == [(b"x-kept", b"1")]
    assert await exchange.read(1 << 20) == TEXT


@pytest.mark.parametrize("name", CODINGS)
def test_a_compressed_body_may_be_cut_at_any_byte(name: str) -> None:
    coding, compress = CODINGS[name]
    data = compress(TEXT)
    for cut in range(len(data)):
        decoder = decoder_for(coding)
        assert decoder is not None
        pieces = [*decoder.feed(data[:cut]), *decoder.feed(data[cut:])]
        decoder.finish()
        assert b"".join(pieces) == TEXT
        assert all(pieces)


@pytest.mark.parametrize("name", CODINGS)
def test_a_compressed_body_that_ends_early_is_an_error(name: str) -> None:
    coding, compress = CODINGS[name]
    data = compress(TEXT)
    decoder = decoder_for(coding)
    assert decoder is not None
    list(decoder.feed(data[:-1]))
    with pytest.raises(httpx.DecodingError):
        decoder.finish()


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
async def test_a_body_that_is_not_what_it_says_is_a_protocol_error(
    sender: Sender, server: Server, coding: bytes
) -> None:
    server.plays(answering(reply(b"\xff\xff\xff\xff plainly not", b"content-encoding: " + coding)))
    with pytest.raises(UpstreamProtocolError):
        await ask(sender, server)


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
async def test_no_body_needs_no_decoding(sender: Sender, server: Server, coding: bytes) -> None:
    server.plays(answering(reply(b"", b"content-encoding: " + coding)))
    assert await ask(sender, server) == (200, b"")


async def test_a_compressed_stream_gives_what_each_flush_completes(transport: HTTP1Transport, server: Server) -> None:
    squeeze = zlib.compressobj(wbits=31)
    parts = [squeeze.compress(b"data: one\n\n") + squeeze.flush(zlib.Z_SYNC_FLUSH)]
    parts.append(squeeze.compress(b"data: two\n\n") + squeeze.flush(zlib.Z_FINISH))
    whole = chunked(*parts).replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n", 1)
    server.plays(answering(whole))
    exchange = await start(transport, server)
    assert b"".join([piece async for piece in exchange]) == b"data: one\n\ndata: two\n\n"


async def test_a_small_body_that_becomes_a_large_one_stops_at_the_limit(sender: Sender, server: Server) -> None:
    bomb = gzip.compress(bytes(100 << 20))
    server.plays(answering(reply(bomb, b"content-encoding: gzip")))
    exchange = await start(sender, server)
    with pytest.raises(UpstreamProtocolError, match="longer than 1000000 bytes"):
        await exchange.read(1_000_000)


@pytest.mark.parametrize("make", [Gzip, Deflate])
def test_no_step_inflates_without_bound(make: type[Gzip] | type[Deflate]) -> None:
    data = (gzip.compress if make is Gzip else zlib.compress)(bytes(10 << 20))
    sizes = [len(piece) for piece in make().feed(data)]
    assert max(sizes) <= PIECE
    assert sum(sizes) == 10 << 20


@pytest.mark.parametrize("coding", [b"identity", b"aws-chunked", b"compress"])
async def test_other_codings_stay_as_they_are(sender: Sender, server: Server, coding: bytes) -> None:
    server.plays(answering(reply(b"as is", b"content-encoding: " + coding)))
    exchange = await start(sender, server)
    assert (b"content-encoding", coding) in exchange.headers
    assert await exchange.read(100) == b"as is"


def test_a_list_of_codings_stays_as_it_is() -> None:
    headers = [(b"content-encoding", b"gzip"), (b"content-encoding", b"br")]
    assert plain(headers) == (headers, None)


def test_an_optional_package_is_used_through_the_same_two_verbs() -> None:
    inner = zlib.decompressobj()
    decoder = Foreign(inner.decompress, lambda: inner.eof, zlib.error)
    data = zlib.compress(TEXT)
    pieces = [*decoder.feed(data[:50]), *decoder.feed(data[50:-1])]
    with pytest.raises(httpx.DecodingError, match="ends early"):
        decoder.finish()
    pieces += decoder.feed(data[-1:])
    decoder.finish()
    assert b"".join(pieces) == TEXT
    broken = zlib.decompressobj()
    with pytest.raises(httpx.DecodingError, match="not what"):
        list(Foreign(broken.decompress, lambda: broken.eof, zlib.error).feed(b"nonsense"))
