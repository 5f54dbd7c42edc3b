"""Peers that lie, break off, stall or say too much."""

from __future__ import annotations

import asyncio
import socket

import pytest

from plano.errors import UpstreamError, UpstreamProtocolError, UpstreamTimeout, UpstreamUnavailable
from plano.transport import HTTP1Transport, Sender, Timeouts
from tests.transport.test_exchange import GOOD
from tests.transport.wire import SHORT, Peer, Server, always, answering, ask, chunked, reply, start

HASTY = Timeouts(connect=2.0, write=0.1, first_byte=0.1, idle=0.1, pool=0.1)

NOT_HTTP = {
    "garbage": b"\x00\x01\x02garbage\r\n\r\n",
    "html": b"<html>hello</html>\r\n\r\n",
    "status-letters": b"HTTP/1.1 abc OK\r\ncontent-length: 0\r\n\r\n",
    "status-below-100": b"HTTP/1.1 099 Huh\r\ncontent-length: 0\r\n\r\n",
    "switching-protocols": b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nhello",
    "no-colon": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "space-before-colon": b"HTTP/1.1 200 OK\r\nx : y\r\ncontent-length: 0\r\n\r\n",
    "nul-in-value": b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
    "bare-lf": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "length-negative": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "length-plus": b"HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello",
    "length-words": b"HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\nhello",
    "length-huge": b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\nhello",
    "lengths-differ": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    "length-and-chunked": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked-and-length": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "gzip-chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked-twice": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked-in-1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "interim-with-body": b"HTTP/1.1 199 Huh\r\ncontent-length: 3\r\n\r\nabc" + reply(),
    "fields-without-end": b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 300 + b"\r\n",
    "head-too-large": b"HTTP/1.1 200 OK\r\nx-a: " + b"b" * 70_000 + b"\r\ncontent-length: 0\r\n\r\n",
}

NOT_A_BODY = {
    "chunk-size-letters": b"xyz\r\nhello\r\n0\r\n\r\n",
    "chunk-size-negative": b"-5\r\nhello\r\n0\r\n\r\n",
    "chunk-size-huge": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "chunk-longer-than-said": b"3\r\nhello\r\n0\r\n\r\n",
    "chunk-bare-lf": b"5\nhello\n0\n\n",
    "trailers-too-large": b"5\r\nhello\r\n0\r\nx-a: " + b"b" * 200_000,
    "extension-too-large": b"5;" + b"x" * 200_000,
}


@pytest.mark.parametrize("name", NOT_HTTP)
async def test_what_is_not_a_reply_is_a_protocol_error_and_ends_the_connection(
    own: Sender, server: Server, name: str
) -> None:
    server.plays(answering(NOT_HTTP[name]), answering(reply(b"good")))
    with pytest.raises(UpstreamProtocolError):
        await ask(own, server)
    await server.all_gone()
    assert await ask(own, server) == (200, b"good")


@pytest.mark.parametrize("name", NOT_A_BODY)
async def test_what_is_not_a_body_is_a_protocol_error_and_ends_the_connection(
    own: Sender, server: Server, name: str
) -> None:
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + NOT_A_BODY[name]
    server.plays(answering(answer), answering(reply(b"good")))
    with pytest.raises(UpstreamProtocolError):
        await ask(own, server)
    await server.all_gone()
    assert await ask(own, server) == (200, b"good")


@pytest.mark.parametrize("name", [name for name in GOOD if GOOD[name][0].startswith(b"HTTP/1.1 200")])
async def test_a_reply_that_ends_early_is_never_taken_for_a_whole_one(
    transport: HTTP1Transport, server: Server, name: str
) -> None:
    answer, _, body = GOOD[name]
    cuts = list(range(len(answer)))

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer[: cuts[server.opened - 1]])
        peer.close()

    server.plays(script)
    for _ in cuts:
        with pytest.raises(UpstreamUnavailable):
            await ask(transport, server)
    assert server.opened == len(cuts)
    assert body or name in ("empty", "chunked-empty")


async def test_what_came_before_a_reply_broke_off_is_delivered_first(sender: Sender, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
        peer.close()

    server.plays(script)
    exchange = await start(sender, server)
    assert await anext(aiter(exchange)) == b"hello"
    with pytest.raises(UpstreamError):
        await anext(aiter(exchange))


async def test_a_reset_in_the_middle_is_unavailable(sender: Sender, server: Server) -> None:
    got = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
        await got.wait()
        peer.reset()

    server.plays(script)
    exchange = await start(sender, server)
    assert await anext(aiter(exchange)) == b"hello"
    got.set()
    with pytest.raises(UpstreamUnavailable):
        await anext(aiter(exchange))


async def test_a_body_without_length_that_ends_in_a_reset_is_not_complete(own: Sender, server: Server) -> None:
    got = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await got.wait()
        peer.reset()

    server.plays(script)
    exchange = await start(own, server)
    assert await anext(aiter(exchange)) == b"hello"
    got.set()
    with pytest.raises(UpstreamUnavailable):
        await anext(aiter(exchange))


@pytest.mark.parametrize("surplus", [reply(b"second"), b"garbage", b"HTTP/1.1 2"])
@pytest.mark.parametrize("answer", [reply(b"first"), chunked(b"first")])
async def test_what_follows_a_reply_is_never_taken_for_the_next(
    own: Sender, server: Server, answer: bytes, surplus: bytes
) -> None:
    server.plays(answering(answer + surplus), answering(reply(b"good")))
    assert await ask(own, server) == (200, b"first")
    assert await ask(own, server) == (200, b"good")
    assert server.opened == 2


async def test_what_comes_while_nothing_was_asked_ends_the_connection(own: Sender, server: Server) -> None:
    said = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply(b"first"))
        await said.wait()
        await peer.send(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")

    server.plays(script, answering(reply(b"good")))
    assert await ask(own, server) == (200, b"first")
    said.set()
    await server.all_gone()
    assert await ask(own, server) == (200, b"good")


async def test_a_length_that_is_too_small_does_not_poison_the_next_reply(own: Sender, server: Server) -> None:
    lie = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhello"
    server.plays(answering(lie), answering(reply(b"good")))
    assert await ask(own, server) == (200, b"hel")
    assert await ask(own, server) == (200, b"good")


async def test_a_length_that_is_too_large_runs_into_the_idle_deadline(sender: Sender, server: Server) -> None:
    server.plays(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\nhello"))
    with pytest.raises(UpstreamTimeout):
        await ask(sender, server, timeouts=HASTY)
    await server.all_gone()


async def test_silence_runs_into_the_first_byte_deadline(sender: Sender, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()

    server.plays(script)
    with pytest.raises(UpstreamTimeout):
        await ask(sender, server, timeouts=HASTY)
    await server.all_gone()


async def test_a_head_that_comes_in_drops_runs_into_the_first_byte_deadline(own: Sender, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        for number in range(1000):
            await peer.send(b"x-%d: drip\r\n" % number)
            await asyncio.sleep(0.01)

    server.plays(script)
    with pytest.raises(UpstreamTimeout):
        await ask(own, server, timeouts=HASTY)


async def test_interim_replies_do_not_stop_the_clock(own: Sender, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        for _ in range(1000):
            await peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await asyncio.sleep(0.01)

    server.plays(script)
    with pytest.raises(UpstreamTimeout):
        await ask(own, server, timeouts=HASTY)


async def test_interim_replies_without_end_are_refused(own: Sender, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        while True:
            await peer.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 100)

    server.plays(script)
    with pytest.raises(UpstreamProtocolError):
        await ask(own, server)


async def test_a_stream_may_take_longer_than_its_idle_deadline_as_long_as_it_goes_on(
    sender: Sender, server: Server
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(10):
            await asyncio.sleep(0.15)
            await peer.send(b"1\r\nx\r\n")
        await peer.send(b"0\r\n\r\n")

    server.plays(script)
    timeouts = Timeouts(connect=2.0, write=2.0, first_byte=2.0, idle=1.2, pool=2.0)
    assert await ask(sender, server, timeouts=timeouts) == (200, b"x" * 10)


async def test_the_consumers_own_pauses_do_not_count(own: Sender, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
        await asyncio.sleep(0.3)
        await peer.send(b"world")

    server.plays(script)
    exchange = await start(own, server, timeouts=HASTY)
    assert await anext(aiter(exchange)) == b"hello"
    await asyncio.sleep(0.4)
    assert await exchange.read(100) == b"world"


async def test_the_waits_of_one_exchange_do_not_shorten_the_next(transport: HTTP1Transport, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply(b"fast"))
        await peer.request()
        await asyncio.sleep(0.3)
        await peer.send(reply(b"slow"))

    server.plays(script)
    assert await ask(transport, server, timeouts=HASTY) == (200, b"fast")
    assert await ask(transport, server, timeouts=SHORT) == (200, b"slow")
    assert server.opened == 1


async def test_a_shorter_wait_after_a_longer_one_is_kept(transport: HTTP1Transport, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply(b"fast"))
        await peer.request()

    server.plays(script)
    long = Timeouts(connect=2.0, write=600.0, first_byte=600.0, idle=600.0, pool=2.0)
    assert await ask(transport, server, timeouts=long) == (200, b"fast")
    with pytest.raises(UpstreamTimeout):
        await asyncio.wait_for(ask(transport, server, timeouts=HASTY), 2)


async def test_a_refused_connection_is_unavailable(sender: Sender, server: Server) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        server.url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(UpstreamUnavailable):
            await ask(sender, server)


async def test_an_unknown_host_is_unavailable(own: Sender, server: Server) -> None:
    server.url = "http://nowhere.invalid"
    with pytest.raises(UpstreamUnavailable):
        await ask(own, server)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://", "127.0.0.1:80", "http://[::1", "http://a b/"])
async def test_a_url_that_cannot_be_used_is_unavailable(own: Sender, server: Server, url: str) -> None:
    server.url = url
    with pytest.raises(UpstreamUnavailable):
        await ask(own, server, path="")


async def test_many_headers_are_fine_as_long_as_they_are_not_too_many(own: Sender, server: Server) -> None:
    server.plays(always(reply(b"ok", *[b"x-%d: y" % number for number in range(250)])))
    assert await ask(own, server) == (200, b"ok")
