"""Neither side can make the other hold more than a bounded amount."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from plano.errors import UpstreamTimeout
from plano.transport import AsyncBaseTransport, HTTP1Transport, Request, Sender, Timeouts
from tests.transport.wire import Peer, Server, answering, ask, reply, start

MIB = 1 << 20


async def test_a_consumer_that_does_not_read_stops_the_peer(own: Sender, server: Server) -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (64 * MIB))
        for _ in range(1024):
            await peer.send(b"x" * 65536)
            sent += 65536

    server.plays(script)
    exchange = await start(own, server)
    size = 0
    for _ in range(2):
        await settled(lambda: sent)
        assert sent - size < 20 * MIB  # what the kernel holds on both sides, and one read of ours
        async for piece in exchange:
            assert len(piece) <= 320 * 1024
            size += len(piece)
            if size > 16 * MIB:
                break
    size += len(await exchange.read(64 * MIB))
    assert size == 64 * MIB


async def settled(value: Callable[[], int]) -> None:
    """Returns when `value` no longer grows."""
    before = -1
    while value() > before:
        before = value()
        await asyncio.sleep(0.1)


async def test_a_stopped_connection_serves_the_next_request(transport: HTTP1Transport, server: Server) -> None:
    """The reply is complete while reading is paused; what comes next must be heard all the same."""

    async def script(peer: Peer) -> None:
        for size in (300_000, 5):
            await peer.request()
            await peer.send(reply(b"x" * size))

    server.plays(script)
    exchange = await start(transport, server)
    await asyncio.sleep(0.05)
    assert len(await exchange.read(MIB)) == 300_000
    assert await ask(transport, server) == (200, b"xxxxx")
    assert server.opened == 1


async def test_a_peer_that_takes_nothing_runs_into_the_write_deadline(sender: Sender, server: Server) -> None:
    async def script(peer: Peer) -> None:
        peer.pause()
        await asyncio.sleep(60)

    server.plays(script)
    hasty = Timeouts(connect=2.0, write=0.1, first_byte=60.0, idle=60.0, pool=2.0)
    with pytest.raises(UpstreamTimeout) as timeout:
        await asyncio.wait_for(ask(sender, server, body=b"x" * (32 * MIB), timeouts=hasty), 5)
    assert "did not take the request" in timeout.value.message


async def test_a_peer_that_takes_the_request_slowly_is_not_late(own: Sender, server: Server) -> None:
    """For longer than the write deadline the peer takes so little that its system's buffers stay full; but take it
    does."""
    size = 16 * MIB

    async def script(peer: Peer) -> None:
        await peer.head()
        received = 0
        for _ in range(80):
            received += len(await peer.some(16384))
            await asyncio.sleep(0.02)
        while received < size:
            received += len(await peer.some(MIB))
        await peer.send(reply(b"done"))

    server.plays(script)
    patient = Timeouts(connect=2.0, write=1.2, first_byte=5.0, idle=2.0, pool=2.0)
    assert await ask(own, server, body=b"x" * size, timeouts=patient) == (200, b"done")


async def test_a_peer_that_stops_taking_the_request_is_late(sender: Sender, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        for _ in range(20):
            await peer.some(65536)
            await asyncio.sleep(0.01)
        peer.pause()
        await asyncio.sleep(60)

    server.plays(script)
    hasty = Timeouts(connect=2.0, write=0.15, first_byte=60.0, idle=60.0, pool=2.0)
    with pytest.raises(UpstreamTimeout):
        await asyncio.wait_for(ask(sender, server, body=b"x" * (32 * MIB), timeouts=hasty), 5)


@pytest.mark.parametrize("size", [65_000, 262_144, 262_145, 3 * MIB + 1])
async def test_a_large_body_arrives_whole(sender: Sender, server: Server, size: int) -> None:
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.send(reply())

    server.plays(script)
    for _ in range(2):
        assert await ask(sender, server, body=body) == (200, b"hello")
    assert [request.partition(b"\r\n\r\n")[2] == body for request in seen] == [True, True]
    assert server.opened == 1


async def test_an_error_while_the_request_is_still_being_sent_is_heard(own: Sender, server: Server) -> None:
    """A server that has seen enough (413, 401) answers and closes. The answer counts, and the connection ends."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(reply(b"too large", b"connection: close", status=b"413 Content Too Large"))

    server.plays(script, answering(reply(b"next")))
    assert await ask(own, server, body=b"x" * (64 * MIB)) == (413, b"too large")
    assert await ask(own, server) == (200, b"next")
    assert server.opened == 2


async def test_an_early_answer_that_says_keep_alive_still_ends_the_connection(own: Sender, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        peer.pause()
        await peer.send(reply(b"no", status=b"401 Unauthorized"))
        await asyncio.sleep(0.05)
        peer.resume()

    server.plays(script, answering(reply(b"next")))
    assert await ask(own, server, body=b"x" * (64 * MIB)) == (401, b"no")
    assert await ask(own, server) == (200, b"next")
    assert server.opened == 2


async def test_a_reply_that_starts_before_the_request_was_taken_whole_does_not_lock_up(
    own: Sender, server: Server
) -> None:
    """Both sides are full: the server reads on only when its own bytes are taken."""
    body = b"x" * (8 * MIB)

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body))
        left = len(body)
        while left:
            data = await peer.some(65536)
            await peer.send(data)
            left -= len(data)

    server.plays(script)
    assert await ask(own, server, body=body) == (200, body)


async def test_an_asynchronous_body_is_pulled_as_the_peer_takes_it(server: Server) -> None:
    pulled = 0
    go = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        nonlocal pulled
        for _ in range(1024):
            pulled += 65536
            yield b"x" * 65536

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.pause()
        await go.wait()
        peer.resume()
        received = b""
        while not received.endswith(b"\r\n0\r\n\r\n"):
            received = (received + await peer.some(MIB))[-16:]
        await peer.send(reply(b"thanks"))

    server.plays(script)
    transport: AsyncBaseTransport = HTTP1Transport()
    request = Request("POST", server.url, content=body(), extensions={"timeout": {"read": 5, "write": 5}})
    sending = asyncio.ensure_future(transport.handle_async_request(request))
    await settled(lambda: pulled)
    assert pulled < 20 * MIB
    go.set()
    response = await sending
    assert await response.aread() == b"thanks"
    await transport.aclose()


async def test_the_deadline_for_the_first_byte_starts_when_the_request_is_out(own: Sender, server: Server) -> None:
    size = 32 * MIB

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.pause()
        await asyncio.sleep(0.6)
        peer.resume()
        received = 0
        while received < size:
            received += len(await peer.some(MIB))
        await peer.send(reply(b"done"))

    server.plays(script)
    timeouts = Timeouts(connect=2.0, write=5.0, first_byte=0.4, idle=0.4, pool=2.0)
    assert await ask(own, server, body=b"x" * size, timeouts=timeouts) == (200, b"done")
