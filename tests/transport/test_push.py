"""A reply that is handed over by the connection itself, piece by piece, while the task that asked for it sleeps."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable

import pytest
from msgspec.structs import replace

from plano.errors import UpstreamProtocolError, UpstreamTimeout, UpstreamUnavailable
from plano.transport import HTTP1Transport
from plano.transport.exchange import Incoming
from tests.transport.wire import SHORT, Peer, Server, answering, ask, chunked, reply, start

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


async def begun(transport: HTTP1Transport, server: Server, *, idle: float = SHORT.idle) -> Incoming:
    exchange = await start(transport, server, timeouts=replace(SHORT, idle=idle))
    assert isinstance(exchange, Incoming)
    return exchange


async def all_of(exchange: Incoming, refuses: Callable[[int], bool] = lambda number: False) -> tuple[list[bytes], int]:
    """What a reply says, pushed where that goes; and how much of it was. `refuses` says of which pieces the sink
    will have no more after them, by number."""
    pieces: list[bytes] = []
    through_sink = 0

    def sink(piece: bytes) -> bool:
        nonlocal through_sink
        pieces.append(piece)
        through_sink += 1
        return not refuses(through_sink)

    async for piece in exchange:
        pieces.append(piece)
        await exchange.push_to(sink)
    return pieces, through_sink


class Stepwise:
    """Says each piece when it was asked for the next, then `end`; again for each request."""

    def __init__(self, *pieces: bytes, end: bytes = END) -> None:
        self.pieces = pieces
        self.end = end
        self.next = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(HEAD)
            for piece in self.pieces:
                await peer.send(chunk(piece))
                await asyncio.wait_for(self.next.wait(), 2)
                self.next.clear()
            await peer.send(self.end)


async def stepped(exchange: Incoming, step: asyncio.Event, refuses: Callable[[int], bool]) -> AsyncIterator[bytes]:
    """The pieces of a stepwise reply, each one step before the next is asked for."""
    pieces: list[bytes] = []
    number = 0

    def sink(piece: bytes) -> bool:
        nonlocal number
        pieces.append(piece)
        step.set()
        number += 1
        return not refuses(number)

    async for piece in exchange:
        pieces.append(piece)
        step.set()
        await exchange.push_to(sink)
        for found in pieces:
            yield found
        pieces.clear()


@pytest.mark.parametrize("every", [1, 2, 3, 1000])
async def test_pieces_come_in_order_and_the_connection_serves_the_next_request(
    transport: HTTP1Transport, server: Server, every: int
) -> None:
    """Whether the sink takes them all or hands over after every piece, or now and then."""
    pieces = [b"piece %d" % number for number in range(20)]
    script = Stepwise(*pieces)
    server.plays(script)
    for _ in range(3):
        exchange = await begun(transport, server)
        got = [piece async for piece in stepped(exchange, script.next, lambda number: number % every == 0)]
        assert got == pieces
    assert server.opened == 1


async def test_the_sink_has_a_piece_as_it_comes(transport: HTTP1Transport, server: Server) -> None:
    """The server waits for each to be seen before it goes on, and nobody but the sink is there to see it."""
    script = Stepwise(b"one", b"two", b"three")
    server.plays(script)
    exchange = await begun(transport, server)
    assert await anext(exchange) == b"one"
    got: list[bytes] = []

    def sink(piece: bytes) -> bool:
        got.append(piece)
        script.next.set()
        return True

    script.next.set()
    await exchange.push_to(sink)
    assert got == [b"two", b"three"]
    assert [piece async for piece in exchange] == []


@pytest.mark.parametrize("every", [1, 2, 1000])
async def test_a_reply_may_be_cut_at_any_byte_while_it_is_pushed(
    transport: HTTP1Transport, server: Server, every: int
) -> None:
    answer = chunked(b"he", b"l", b"lo", trailers=b"x-checksum: 1\r\n")

    async def script(peer: Peer) -> None:
        for cut in range(1, len(answer)):
            await peer.request()
            await peer.send(answer[:cut], answer[cut:])

    server.plays(script)
    for _ in range(1, len(answer)):
        pieces, _ = await all_of(await begun(transport, server), lambda number: number % every == 0)
        assert b"".join(pieces) == b"hello"
    assert server.opened == 1


@pytest.mark.parametrize("every", [1, 7, 1 << 30])
async def test_much_at_once_is_neither_lost_nor_held(transport: HTTP1Transport, server: Server, every: int) -> None:
    said = [b"%d " % number * 4000 for number in range(200)]
    server.plays(answering(chunked(*said), reply()))
    pieces, _ = await all_of(await begun(transport, server), lambda number: number % every == 0)
    assert b"".join(pieces) == b"".join(said)
    assert await ask(transport, server) == (200, b"hello")
    assert server.opened == 1


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_a_body_may_be_framed_otherwise(transport: HTTP1Transport, server: Server, head: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head, b"ab", b"cd", b"ef")
        peer.close()

    server.plays(script)
    pieces, _ = await all_of(await begun(transport, server))
    assert b"".join(pieces) == b"abcdef"


async def test_what_has_to_be_decoded_is_not_pushed(transport: HTTP1Transport, server: Server) -> None:
    server.plays(answering(reply(gzip.compress(b"hello"), b"content-encoding: gzip")))
    assert await all_of(await begun(transport, server)) == ([b"hello"], 0)


async def test_what_is_there_already_is_read_first(transport: HTTP1Transport, server: Server) -> None:
    server.plays(answering(reply(b"hello")))
    exchange = await begun(transport, server)
    await exchange.push_to(lambda piece: pytest.fail("there is nothing to wait for"))
    assert await exchange.read(100) == b"hello"


@pytest.mark.parametrize("pushed", [0, 1, 3])
async def test_an_upstream_that_falls_silent_is_given_up(
    transport: HTTP1Transport, server: Server, pushed: int
) -> None:
    script = Stepwise(*[b"piece"] * (pushed + 1))
    server.plays(script)
    exchange = await begun(transport, server, idle=0.1)
    got: list[bytes] = []

    def sink(piece: bytes) -> bool:
        got.append(piece)
        if len(got) < pushed:
            script.next.set()
        return True

    assert await anext(exchange) == b"piece"
    if pushed:
        script.next.set()
    await exchange.push_to(sink)
    assert got == [b"piece"] * pushed
    with pytest.raises(UpstreamTimeout):
        await anext(exchange)
    script.next.set()
    await server.all_gone()


async def test_each_piece_that_is_pushed_puts_the_deadline_off(transport: HTTP1Transport, server: Server) -> None:
    """All of them together take longer than one may."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD)
        for _ in range(8):
            await peer.send(chunk(b"x"))
            await asyncio.sleep(0.15)
        await peer.send(END)

    server.plays(script)
    pieces, pushed = await all_of(await begun(transport, server, idle=1.0))
    assert pieces == [b"x"] * 8
    assert pushed == 7


BREAKS: dict[str, Callable[[Peer], None]] = {"ends": Peer.end, "closes": Peer.close, "resets": Peer.reset}


@pytest.mark.parametrize("how", BREAKS)
async def test_a_reply_that_breaks_off_is_not_taken_for_a_whole_one(
    transport: HTTP1Transport, server: Server, how: str
) -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"one"))
        await asyncio.wait_for(go.wait(), 2)
        BREAKS[how](peer)

    server.plays(script)
    exchange = await begun(transport, server)
    assert await anext(exchange) == b"one"
    go.set()
    await exchange.push_to(lambda piece: True)
    with pytest.raises(UpstreamUnavailable):
        await anext(exchange)
    await server.all_gone()


async def test_what_came_before_nonsense_is_still_read(transport: HTTP1Transport, server: Server) -> None:
    script = Stepwise(b"one", end=chunk(b"two") + b"nonsense\r\n")
    server.plays(script)
    exchange = await begun(transport, server)
    assert await anext(exchange) == b"one"
    script.next.set()
    got: list[bytes] = []
    await exchange.push_to(lambda piece: got.append(piece) is None)

    async def read_on() -> None:
        async for piece in exchange:
            got.append(piece)

    with pytest.raises(UpstreamProtocolError, match="not valid HTTP"):
        await read_on()
    assert got == [b"two"]
    await server.all_gone()


@pytest.mark.parametrize("pushed", [0, 2])
async def test_a_task_that_is_cancelled_while_it_pushes_closes_the_connection(
    transport: HTTP1Transport, server: Server, pushed: int
) -> None:
    script = Stepwise(*[b"piece"] * (pushed + 1))
    server.plays(script)
    exchange = await begun(transport, server)
    assert await anext(exchange) == b"piece"
    left, there = pushed, asyncio.Event()

    def sink(piece: bytes) -> bool:
        nonlocal left
        left -= 1
        (script.next if left else there).set()
        return True

    pushing = asyncio.create_task(exchange.push_to(sink))
    await asyncio.sleep(0)
    if pushed:
        script.next.set()
        await asyncio.wait_for(there.wait(), 2)
    pushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pushing
    script.next.set()
    await server.all_gone()
    with pytest.raises(UpstreamUnavailable):
        await anext(exchange)


async def test_closing_a_reply_ends_its_push(transport: HTTP1Transport, server: Server) -> None:
    script = Stepwise(b"one")
    server.plays(script)
    exchange = await begun(transport, server)
    assert await anext(exchange) == b"one"
    pushing = asyncio.create_task(exchange.push_to(lambda piece: True))
    await asyncio.sleep(0)
    await exchange.aclose()
    await pushing
    with pytest.raises(UpstreamUnavailable):
        await anext(exchange)
    script.next.set()
    await server.all_gone()


async def test_what_comes_after_the_sink_gave_up_waits_its_turn(transport: HTTP1Transport, server: Server) -> None:
    """The sink says so once, and is not asked again before somebody pushes anew."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"one"))
        await asyncio.wait_for(go.wait(), 2)
        await peer.send(chunk(b"two"), chunk(b"three"), chunk(b"four") + END)

    server.plays(script)
    exchange = await begun(transport, server)
    got = [await anext(exchange)]

    def sink(piece: bytes) -> bool:
        got.append(piece)
        return False

    go.set()
    await exchange.push_to(sink)
    assert len(got) == 2
    rest = b"".join([piece async for piece in exchange])
    assert b"".join(got) + rest == b"onetwothreefour"


async def test_the_sink_that_gave_up_is_not_called_before_its_task_wakes(
    transport: HTTP1Transport, server: Server
) -> None:
    """A loop may have more to hand over in the same turn."""
    script = Stepwise(b"one")
    server.plays(script)
    exchange = await begun(transport, server)
    assert await anext(exchange) == b"one"
    got: list[bytes] = []
    pushing = asyncio.create_task(exchange.push_to(lambda piece: got.append(piece) is not None))
    await asyncio.sleep(0)
    connection = exchange._connection
    assert connection is not None
    for piece in (b"two", b"three", b"four"):
        connection.data_received(chunk(piece))
    await pushing
    assert got == [b"two"]
    script.next.set()
    assert b"".join([piece async for piece in exchange]) == b"threefour"
