"""One request and its reply: what goes out, and every way in which a good reply can come back."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from plano.errors import UpstreamProtocolError, UpstreamUnavailable
from plano.transport import HTTP1Transport, Outgoing, Sender
from tests.transport.wire import SHORT, Peer, Server, always, answering, ask, chunked, reply, start

GOOD = {
    "content-length": (reply(b"hello"), 200, b"hello"),
    "empty": (reply(b""), 200, b""),
    "chunked": (chunked(b"he", b"l", b"lo"), 200, b"hello"),
    "chunked-empty": (chunked(), 200, b""),
    "trailers": (chunked(b"hello", trailers=b"x-checksum: 1\r\nx-more: 2\r\n"), 200, b"hello"),
    "chunk-extensions": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0;last\r\n\r\n",
        200,
        b"hello",
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "304": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, b""),
    "no-reason": (b"HTTP/1.1 200 \r\ncontent-length: 5\r\n\r\nhello", 200, b"hello"),
    "404": (reply(b"no", status=b"404 Not Found"), 404, b"no"),
    "interim": (b"HTTP/1.1 100 Continue\r\n\r\n" + reply(b"hello"), 200, b"hello"),
    "interims": (
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + reply(b"hello"),
        200,
        b"hello",
    ),
    "mixed-case": (b"HTTP/1.1 200 OK\r\nCoNTeNT-LeNGTH:5\r\n\r\nhello", 200, b"hello"),
}


@pytest.mark.parametrize("name", GOOD)
async def test_a_reply_arrives_and_the_connection_serves_the_next_request(
    sender: Sender, server: Server, name: str
) -> None:
    answer, status, body = GOOD[name]
    server.plays(always(answer))
    assert await ask(sender, server) == (status, body)
    assert await ask(sender, server) == (status, body)
    assert server.opened == 1


@pytest.mark.parametrize("name", GOOD)
async def test_a_reply_may_come_byte_by_byte(own: Sender, server: Server, name: str) -> None:
    answer, status, body = GOOD[name]

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            for at in range(len(answer)):
                await peer.send(answer[at : at + 1])
                await _breathe()

    server.plays(script)
    assert await ask(own, server) == (status, body)
    assert await ask(own, server) == (status, body)
    assert server.opened == 1


@pytest.mark.parametrize("name", GOOD)
async def test_a_reply_may_be_cut_at_any_byte(transport: HTTP1Transport, server: Server, name: str) -> None:
    answer, status, body = GOOD[name]

    async def script(peer: Peer) -> None:
        for cut in range(1, len(answer)):
            await peer.request()
            await peer.send(answer[:cut])
            await _breathe()
            await peer.send(answer[cut:])

    server.plays(script)
    for _ in range(1, len(answer)):
        assert await ask(transport, server) == (status, body)
    assert server.opened == 1


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n"])
async def test_without_a_length_the_end_of_the_connection_is_the_end_of_the_body(
    sender: Sender, server: Server, head: bytes
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head + b"\r\nhel", b"lo")
        peer.close()

    server.plays(script)
    assert await ask(sender, server) == (200, b"hello")
    assert await ask(sender, server) == (200, b"hello")
    assert server.opened == 2


async def test_an_http_1_0_server_may_keep_the_connection_too(own: Sender, server: Server) -> None:
    server.plays(always(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello"))
    assert await ask(own, server) == (200, b"hello")
    assert await ask(own, server) == (200, b"hello")
    assert server.opened == 1


async def test_an_http_1_0_server_does_not_say_so_by_itself(sender: Sender, server: Server) -> None:
    server.plays(always(b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello"))
    assert await ask(sender, server) == (200, b"hello")
    assert await ask(sender, server) == (200, b"hello")
    assert server.opened == 2


async def test_connection_close_ends_the_connection(sender: Sender, server: Server) -> None:
    server.plays(answering(reply(b"one", b"connection: close")), answering(reply(b"two")))
    assert await ask(sender, server) == (200, b"one")
    assert await ask(sender, server) == (200, b"two")
    assert server.opened == 2


async def test_a_reply_to_head_has_no_body_whatever_it_announces(sender: Sender, server: Server) -> None:
    server.plays(always(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n"))
    assert await ask(sender, server, method=b"HEAD", body=b"") == (200, b"")
    assert await ask(sender, server, method=b"HEAD", body=b"") == (200, b"")


async def test_a_body_sent_in_reply_to_head_is_not_taken_for_the_next_reply(own: Sender, server: Server) -> None:
    server.plays(answering(reply(b"HTTP/1.1 666 Evil\r\n\r\n")), answering(reply(b"good")))
    assert await ask(own, server, method=b"HEAD", body=b"") == (200, b"")
    assert await ask(own, server) == (200, b"good")


async def test_the_request_is_written_as_it_was_asked_for(sender: Sender, server: Server) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.send(reply())

    server.plays(script)
    await ask(sender, server, path="/v1/a%20b?x=1&y=%2F", body=b'{"a":1}')
    head, _, body = seen[0].partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    assert line == b"POST /v1/a%20b?x=1&y=%2F HTTP/1.1"
    assert b"host: 127.0.0.1:%d" % server.port in [field.lower() for field in fields]
    assert b"content-length: 7" in [field.lower() for field in fields]
    assert b"x-test: 1" in [field.lower() for field in fields]
    assert body == b'{"a":1}'


@pytest.mark.parametrize(("method", "announced"), [(b"POST", b"content-length: 0"), (b"GET", None)])
async def test_an_empty_body_is_announced_where_one_is_expected(
    sender: Sender, server: Server, method: bytes, announced: bytes | None
) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.head())
        await peer.send(reply())

    server.plays(script)
    await ask(sender, server, method=method, body=b"")
    assert (b"content-length" in seen[0].lower()) is (announced is not None)
    assert announced is None or announced in seen[0].lower()


async def test_host_can_say_something_else_than_the_url(sender: Sender, server: Server) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append((await peer.request()).lower())
            await peer.send(reply())

    server.plays(script)
    for _ in range(2):
        headers = [(b"host", b"api.example.com"), (b"x-test", b"1")]
        exchange = await sender.send(Outgoing(url=server.url, headers=headers, body=b"{}", timeouts=SHORT))
        await exchange.read(100)
        await ask(sender, server)
    for with_override in seen[0::2]:
        assert with_override.count(b"\r\nhost:") == 1
        assert b"\r\nhost: api.example.com\r\n" in with_override
    for without in seen[1::2]:
        assert b"\r\nhost: 127.0.0.1:%d\r\n" % server.port in without


@pytest.mark.parametrize(
    "header",
    [
        (b"x-a", b"b\r\nx-smuggled: 1"),
        (b"x-a", b"b\n"),
        (b"x-a", b"b\rc"),
        (b"x-a", b"\0"),
        (b"x-a: b\r\nx-c", b"d"),
        (b"x a", b"b"),
        (b"", b"b"),
        (b"content-length", b"3"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"close"),
        (b"X-Upper", b"b"),
    ],
)
async def test_a_header_that_would_change_the_message_is_not_sent(
    transport: HTTP1Transport, server: Server, header: tuple[bytes, bytes]
) -> None:
    server.plays(always(reply()))
    with pytest.raises(UpstreamProtocolError):
        await transport.send(Outgoing(url=server.url, headers=[header], timeouts=SHORT))
    assert server.opened == 0


async def test_header_names_come_back_in_lower_case_and_values_as_they_were(sender: Sender, server: Server) -> None:
    server.plays(answering(reply(b"", b"X-Request-ID: aB \t", b"Set-Cookie: a", b"set-cookie: b", b"empty:")))
    exchange = await start(sender, server)
    assert exchange.headers[:4] == [
        (b"x-request-id", b"aB"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"empty", b""),
    ]
    await exchange.aclose()


async def test_what_an_interim_reply_says_is_not_said_of_the_reply(own: Sender, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\ncontent-encoding: gzip\r\n\r\n")
        await peer.send(b"HTTP/1.1 100 Continue\r\ncontent-length: 0\r\n\r\n")
        await peer.send(b"HTTP/1.1 200 OK\r\nx-a: b\r\n\r\nto the end")
        peer.close()

    server.plays(script)
    exchange = await start(own, server)
    assert exchange.headers == [(b"x-a", b"b")]
    assert await exchange.read(100) == b"to the end"


async def test_trailers_are_not_taken_for_headers(own: Sender, server: Server) -> None:
    server.plays(answering(chunked(b"hello", trailers=b"content-encoding: gzip\r\nx-late: 1\r\n")))
    exchange = await start(own, server)
    assert await exchange.read(100) == b"hello"
    assert exchange.headers == [(b"transfer-encoding", b"chunked")]


async def test_pieces_come_as_they_arrive(sender: Sender, server: Server) -> None:
    seen = asyncio.Event()

    async def stepwise(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in (b"one", b"two", b"three"):
            await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            await asyncio.wait_for(seen.wait(), 2)
            seen.clear()
        await peer.send(b"0\r\n\r\n")

    server.plays(stepwise)
    exchange = await start(sender, server)
    got = []
    async for piece in exchange:
        got.append(piece)
        seen.set()
    assert got == [b"one", b"two", b"three"]


async def test_what_arrives_together_is_one_piece(transport: HTTP1Transport, server: Server) -> None:
    server.plays(answering(chunked(b"a", b"b", b"c")))
    exchange = await start(transport, server)
    assert [piece async for piece in exchange] == [b"abc"]


async def test_a_body_beyond_the_limit_is_refused_and_its_connection_closed(sender: Sender, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 2000)

    server.plays(script)
    exchange = await start(sender, server)
    with pytest.raises(UpstreamProtocolError, match="longer than 1000 bytes"):
        await exchange.read(1000)
    await server.all_gone()


@pytest.mark.parametrize("coded", [False, True])
async def test_a_reply_that_was_closed_before_it_was_read_does_not_look_complete(
    sender: Sender, server: Server, coded: bool
) -> None:
    """All of it may have come already, and its connection be back in the pool."""
    server.plays(always(reply(gzip.compress(b"hello"), b"content-encoding: gzip") if coded else reply(b"hello")))
    exchange = await start(sender, server)
    await exchange.aclose()
    with pytest.raises(UpstreamUnavailable):
        await exchange.read(100)


async def test_a_reply_read_to_its_end_needs_no_closing(sender: Sender, server: Server) -> None:
    server.plays(always(chunked(b"he", b"llo")))
    for _ in range(3):
        exchange = await start(sender, server)
        assert b"".join([piece async for piece in exchange]) == b"hello"
    assert server.opened == 1


async def test_closing_a_reply_that_was_read_is_harmless(sender: Sender, server: Server) -> None:
    server.plays(always(reply()))
    exchange = await start(sender, server)
    assert await exchange.read(100) == b"hello"
    await exchange.aclose()
    await exchange.aclose()
    assert await ask(sender, server) == (200, b"hello")
    assert server.opened == 1


async def test_a_body_of_exactly_the_limit_is_read(sender: Sender, server: Server) -> None:
    server.plays(answering(reply(b"x" * 1000)))
    exchange = await start(sender, server)
    assert await exchange.read(1000) == b"x" * 1000


async def _breathe() -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("name", GOOD)
async def test_a_reply_that_is_all_here_need_not_be_awaited(own: HTTP1Transport, server: Server, name: str) -> None:
    answer, _, body = GOOD[name]
    server.plays(always(answer))
    for _ in range(2):
        exchange = await start(own, server)
        found = exchange.whole(1000)
        assert found == body if found is not None else await exchange.read(1000) == body
        assert await exchange.read(1000) == b""
    assert server.opened == 1


async def test_a_reply_that_is_not_all_here_or_too_long_is_not_taken(own: HTTP1Transport, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply(b"hello")[:-1])
        await peer.request()
        await peer.send(b"o")

    server.plays(script)
    exchange = await start(own, server)
    assert exchange.whole(1000) is None
    await exchange.aclose()
    server.plays(always(reply(b"hello")))
    exchange = await start(own, server)
    await asyncio.sleep(0.05)
    assert exchange.whole(4) is None
    with pytest.raises(UpstreamProtocolError, match="longer than 4 bytes"):
        await exchange.read(4)


async def test_a_compressed_reply_is_not_taken_as_it_is(own: HTTP1Transport, server: Server) -> None:
    server.plays(always(reply(gzip.compress(b"hello"), b"content-encoding: gzip")))
    exchange = await start(own, server)
    await asyncio.sleep(0.05)
    assert exchange.whole(1000) is None
    assert await exchange.read(1000) == b"hello"
