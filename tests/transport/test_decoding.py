"""Bodies that were compressed although identity was asked for."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from functools import cache

import pytest

from plano.codings import PIECE
from plano.errors import UpstreamProtocolError
from plano.transport import HTTP1Transport, Sender
from tests.test_codings import CODINGS, FOR_NOTHING, TEXT
from tests.transport.wire import Server, answering, ask, chunked, reply, start


@pytest.mark.parametrize("name", [*CODINGS, "capitals"])
async def test_a_compressed_body_is_read_plain_and_nothing_says_otherwise(
    sender: Sender, server: Server, name: str
) -> None:
    coding, compress = CODINGS.get(name, (b" GZIP ", gzip.compress))
    server.plays(answering(reply(compress(TEXT), b"content-encoding: " + coding, b"x-kept: 1")))
    exchange = await start(sender, server)
    assert exchange.headers == [(b"x-kept", b"1")]
    assert await exchange.read(1 << 20) == TEXT


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"zstd"])
async def test_a_body_that_is_not_what_it_says_is_a_protocol_error(
    sender: Sender, server: Server, coding: bytes
) -> None:
    server.plays(answering(reply(b"\xff\xff\xff\xff plainly not", b"content-encoding: " + coding)))
    with pytest.raises(UpstreamProtocolError):
        await ask(sender, server)


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"zstd"])
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


@cache
def bomb() -> bytes:
    return gzip.compress(bytes(100 << 20))


async def test_a_small_body_that_becomes_a_large_one_stops_at_the_limit(sender: Sender, server: Server) -> None:
    server.plays(answering(reply(bomb(), b"content-encoding: gzip")))
    exchange = await start(sender, server)
    with pytest.raises(UpstreamProtocolError, match="longer than 1000000 bytes"):
        await exchange.read(1_000_000)


@pytest.mark.parametrize("name", FOR_NOTHING)
async def test_coded_data_that_decodes_to_nothing_is_ended(sender: Sender, server: Server, name: str) -> None:
    coding, data = FOR_NOTHING[name]
    server.plays(answering(reply(data, b"content-encoding: " + coding)))
    with pytest.raises(UpstreamProtocolError):
        await ask(sender, server)


@pytest.mark.parametrize("coding", [b"identity", b"aws-chunked", b"utf-8"])
async def test_what_is_no_compression_stays_as_it_is(sender: Sender, server: Server, coding: bytes) -> None:
    server.plays(answering(reply(b"as is", b"content-encoding: " + coding)))
    exchange = await start(sender, server)
    assert (b"content-encoding", coding) in exchange.headers
    assert await exchange.read(100) == b"as is"


@pytest.mark.parametrize("coding", [b"br", b"dcz", b"compress", b"gzip, gzip", b"gzip\r\ncontent-encoding: BR"])
async def test_a_reply_in_another_coding_is_refused_in_words(sender: Sender, server: Server, coding: bytes) -> None:
    server.plays(answering(reply(b"as is", b"content-encoding: " + coding)))
    exchange = await start(sender, server)
    with pytest.raises(UpstreamProtocolError, match="compressed in a way that was not asked for") as refused:
        await exchange.read(100)
    assert str(refused.value.__cause__).startswith("content-encoding ")


async def test_an_error_in_another_coding_keeps_its_status(sender: Sender, server: Server) -> None:
    server.plays(
        answering(reply(b"as is", b"content-encoding: br", b"retry-after: 1", status=b"429 Too Many Requests"))
    )
    exchange = await start(sender, server)
    assert (exchange.status, await exchange.read(100)) == (429, b"as is")
    assert (b"retry-after", b"1") in exchange.headers


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
async def test_a_stream_that_becomes_a_large_one_comes_in_pieces(
    sender: Sender, server: Server, compress: Callable[[bytes], bytes]
) -> None:
    coding = b"gzip" if compress is gzip.compress else b"deflate"
    server.plays(answering(reply(compress(bytes(10 << 20)), b"content-encoding: " + coding)))
    sizes = [len(piece) async for piece in await start(sender, server)]
    assert max(sizes) <= PIECE
    assert sum(sizes) == 10 << 20
