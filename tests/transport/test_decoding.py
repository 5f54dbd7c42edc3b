"""Bodies that were compressed although identity was asked for."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import httpx
import pytest

from plano.errors import UpstreamProtocolError
from plano.transport import HTTP1Transport, Sender
from plano.transport.decoding import MAX_FOR_NOTHING, PIECE, Decoder, plain
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


def decoder_for(coding: bytes) -> Decoder:
    _, decoder = plain(200, [(b"content-encoding", coding)])
    assert decoder is not None
    return decoder


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
        pieces = [*decoder.feed(data[:cut]), *decoder.feed(data[cut:])]
        decoder.finish()
        assert b"".join(pieces) == TEXT
        assert all(pieces)


@pytest.mark.parametrize("name", CODINGS)
def test_a_compressed_body_that_ends_early_is_an_error(name: str) -> None:
    coding, compress = CODINGS[name]
    data = compress(TEXT)
    decoder = decoder_for(coding)
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


def many_members(data: bytes) -> bytes:
    """gzip with two bytes of `data` in each member."""
    return b"".join(gzip.compress(data[start : start + 2]) for start in range(0, len(data), 2))


LARGE: dict[str, tuple[bytes, Callable[[bytes], bytes], bytes]] = {
    "gzip": (b"gzip", gzip.compress, bytes(10 << 20)),
    "deflate": (b"deflate", zlib.compress, bytes(10 << 20)),
    "bare": (b"deflate", bare_deflate, bytes(10 << 20)),
    "a little more than a piece": (b"deflate", bare_deflate, bytes(PIECE + 21)),
    "exactly a piece": (b"gzip", gzip.compress, bytes(PIECE)),
    "members of a piece": (b"gzip", lambda data: gzip.compress(data[:PIECE]) * 3, bytes(3 * PIECE)),
    "small members": (b"gzip", many_members, TEXT * 4),
}


@pytest.mark.parametrize("name", LARGE)
def test_pieces_are_neither_larger_than_one_step_may_make_nor_crumbs(name: str) -> None:
    coding, compress, data = LARGE[name]
    coded = compress(data)
    decoder = decoder_for(coding)
    pieces = list(decoder.feed(coded))
    decoder.finish()
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= PIECE
    assert min(map(len, pieces[:-1]), default=1000) >= 1000


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        (b"gzip", gzip.compress(b"") * 5000),
        (b"gzip", b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 100_000),
        (b"deflate", b"\x00\x00\x00\xff\xff" * 20_000),
    ],
    ids=["empty members", "a name without end", "empty blocks"],
)
async def test_what_comes_to_nothing_ends(sender: Sender, server: Server, coding: bytes, data: bytes) -> None:
    assert len(data) > MAX_FOR_NOTHING
    server.plays(answering(reply(data, b"content-encoding: " + coding)))
    with pytest.raises(UpstreamProtocolError):
        await ask(sender, server)


@pytest.mark.parametrize("coding", [b"identity", b"aws-chunked", b"utf-8"])
async def test_what_is_no_compression_stays_as_it_is(sender: Sender, server: Server, coding: bytes) -> None:
    server.plays(answering(reply(b"as is", b"content-encoding: " + coding)))
    exchange = await start(sender, server)
    assert (b"content-encoding", coding) in exchange.headers
    assert await exchange.read(100) == b"as is"


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"compress", b"gzip, gzip", b"gzip\r\ncontent-encoding: BR"])
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
