"""Connections are kept, used again, bounded in number, and queued for."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from plano.errors import UpstreamTimeout, UpstreamUnavailable
from plano.transport import HTTP1Transport, Limits, Sender, Timeouts
from plano.transport.dial import Address, resolve
from tests.transport.wire import SHORT, Peer, Server, always, answering, ask, reply, start

IMPATIENT = Timeouts(connect=2.0, write=2.0, first_byte=2.0, idle=2.0, pool=0.05)


async def test_the_connection_used_last_is_used_next(transport: HTTP1Transport, server: Server) -> None:
    gates = [asyncio.Event() for _ in range(3)]
    numbers = iter(range(3))

    async def script(peer: Peer) -> None:
        number = next(numbers)
        while True:
            await peer.request()
            await gates[number].wait()
            await peer.send(reply(b"%d" % number))

    server.plays(script)
    asked = [asyncio.ensure_future(ask(transport, server)) for _ in gates]
    for number in (2, 0, 1):  # the order in which they come to rest
        await server.until(lambda: server.opened == 3)
        gates[number].set()
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        answered = next(task for task in asked if task.done())
        asked.remove(answered)
        assert answered.result() == (200, b"%d" % number)
    answers = await asyncio.gather(*(ask(transport, server) for _ in gates))
    assert [body for _, body in answers] == [b"1", b"0", b"2"]


async def test_each_origin_has_its_own_connections(own: Sender, server: Server) -> None:
    server.plays(always(reply(b"one")))
    async with Server() as other:
        other.plays(always(reply(b"two")))
        for _ in range(2):
            assert await ask(own, server) == (200, b"one")
            assert await ask(own, other) == (200, b"two")
        assert (server.opened, other.opened) == (1, 1)
        await own.aclose()


async def test_no_more_connections_than_allowed_are_open(server: Server) -> None:
    busiest = 0

    async def script(peer: Peer) -> None:
        nonlocal busiest
        while True:
            await peer.request()
            busiest = max(busiest, server.open)
            await asyncio.sleep(0.001)
            await peer.send(reply())

    server.plays(script)
    transport = HTTP1Transport(limits=Limits(max_open=4))
    answers = await asyncio.gather(*(ask(transport, server) for _ in range(60)))
    assert answers == [(200, b"hello")] * 60
    assert busiest == 4
    assert server.opened == 4
    await transport.aclose()


async def test_the_line_moves_on_when_connections_cannot_be_used_again(server: Server) -> None:
    server.plays(answering(reply(b"once", b"connection: close")))
    transport = HTTP1Transport(limits=Limits(max_open=2))
    answers = await asyncio.gather(*(ask(transport, server) for _ in range(20)))
    assert answers == [(200, b"once")] * 20
    assert server.opened == 20
    await transport.aclose()


async def test_the_line_moves_on_when_exchanges_fail(server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.close()

    server.plays(script)
    transport = HTTP1Transport(limits=Limits(max_open=2))
    answers = await asyncio.gather(*(ask(transport, server) for _ in range(20)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [UpstreamUnavailable] * 20
    server.plays(always(reply()))
    assert await ask(transport, server) == (200, b"hello")
    await transport.aclose()


async def test_the_line_moves_on_when_connecting_fails(server: Server) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        server.url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        transport = HTTP1Transport(limits=Limits(max_open=2))
        answers = await asyncio.gather(*(ask(transport, server) for _ in range(20)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [UpstreamUnavailable] * 20
    await transport.aclose()


async def test_who_waits_in_line_too_long_is_told_so(single: HTTP1Transport, server: Server) -> None:
    server.plays(always(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"))
    held = await start(single, server)
    with pytest.raises(UpstreamUnavailable) as refusal:
        await ask(single, server, timeouts=IMPATIENT)
    assert refusal.value.status == 503
    await held.aclose()


async def test_first_come_is_first_served(single: HTTP1Transport, server: Server) -> None:
    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            await peer.send(reply(request.split(b" ")[1]))

    server.plays(script)
    order: list[bytes] = []

    async def one(number: int) -> None:
        order.append((await ask(single, server, path=f"/{number}"))[1])

    await asyncio.gather(*(one(number) for number in range(10)))
    assert order == [b"/%d" % number for number in range(10)]
    assert server.opened == 1


async def test_who_leaves_the_line_does_not_stop_it(single: HTTP1Transport, server: Server) -> None:
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await release.wait()
        await peer.send(reply(b"first"))
        while True:
            await peer.request()
            await peer.send(reply(b"next"))

    server.plays(script)
    first = asyncio.ensure_future(ask(single, server))
    await asyncio.sleep(0.02)
    leaving, staying = asyncio.ensure_future(ask(single, server)), asyncio.ensure_future(ask(single, server))
    await asyncio.sleep(0.01)
    leaving.cancel()
    release.set()
    assert await first == (200, b"first")
    assert await staying == (200, b"next")
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_a_connection_handed_to_someone_who_just_left_goes_to_the_next(
    single: HTTP1Transport, server: Server
) -> None:
    """The one in line is cancelled in the very step in which its turn has come, before it can know."""
    more = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
            await more.wait()
            await peer.send(b"hello")

    server.plays(script)
    held = await start(single, server)
    leaving, staying = (asyncio.ensure_future(ask(single, server)) for _ in range(2))
    await asyncio.sleep(0)
    more.set()
    assert await held.read(100) == b"hello"
    assert single.counts()[server.url] == (1, 0, 1)  # handed over, not at rest
    leaving.cancel()
    assert await staying == (200, b"hello")
    assert leaving.cancelled()
    assert server.opened == 1


@pytest.mark.parametrize("steps", range(6))
async def test_a_right_to_connect_that_nobody_takes_up_goes_to_the_next(
    single: HTTP1Transport, server: Server, steps: int
) -> None:
    server.plays(always(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell"))
    held = await start(single, server)
    leaving, staying = (asyncio.ensure_future(start(single, server)) for _ in range(2))
    await asyncio.sleep(0)
    await held.aclose()
    for _ in range(steps):
        await asyncio.sleep(0)
    leaving.cancel()
    exchange = await staying
    assert exchange.status == 200
    await exchange.aclose()
    await asyncio.gather(leaving, return_exceptions=True)


async def test_connections_at_rest_are_bounded(server: Server) -> None:
    ready = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        if server.opened == 5:
            ready.set()
        await ready.wait()
        await peer.send(reply())

    server.plays(script)
    transport = HTTP1Transport(limits=Limits(max_idle=2))
    await asyncio.gather(*(ask(transport, server) for _ in range(5)))
    await server.until(lambda: server.open == 2)
    await asyncio.sleep(0.02)
    assert server.open == 2
    await transport.aclose()


async def test_a_connection_does_not_rest_for_ever(server: Server) -> None:
    server.plays(always(reply()))
    transport = HTTP1Transport(limits=Limits(idle_expiry=0.05))
    await ask(transport, server)
    assert server.open == 1
    await server.all_gone()
    assert await ask(transport, server) == (200, b"hello")
    assert server.opened == 2
    await transport.aclose()


async def test_an_expired_connection_is_not_used_even_if_nobody_had_time_to_close_it(server: Server) -> None:
    server.plays(always(reply()))
    transport = HTTP1Transport(limits=Limits(idle_expiry=0.01))
    await ask(transport, server)
    time.sleep(0.05)  # noqa: ASYNC251 - the loop is busy with something else
    await ask(transport, server)
    assert server.opened == 2
    await transport.aclose()


async def test_a_connection_in_use_does_not_expire(server: Server) -> None:
    server.plays(always(reply()))
    transport = HTTP1Transport(limits=Limits(idle_expiry=1.0))
    for _ in range(10):
        await ask(transport, server)
        await asyncio.sleep(0.12)
    assert server.opened == 1
    await transport.aclose()


async def test_a_connection_that_has_reached_its_age_takes_no_new_request(server: Server) -> None:
    server.plays(always(reply()))
    transport = HTTP1Transport(limits=Limits(max_age=0.0))
    for _ in range(3):
        assert await ask(transport, server) == (200, b"hello")
    assert server.opened == 3
    await server.all_gone()
    await transport.aclose()


async def test_a_connection_that_reaches_its_age_at_rest_is_not_taken_again(server: Server) -> None:
    server.plays(always(reply()))
    transport = HTTP1Transport(limits=Limits(max_age=5.0))
    await ask(transport, server)
    [pool] = transport._pools.values()
    [connection] = pool._idle
    assert connection.fit
    connection._until -= 5.0
    assert not connection.fit
    await ask(transport, server)
    assert server.opened == 2
    await transport.aclose()


async def test_a_stream_goes_on_however_old_its_connection_is(server: Server) -> None:
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst")
        await gate.wait()
        await peer.send(b"-last")

    server.plays(script)
    transport = HTTP1Transport(limits=Limits(max_age=0.0))
    exchange = await start(transport, server)
    assert await exchange.piece() == b"first"
    gate.set()
    assert await exchange.read(100) == b"-last"
    await transport.aclose()


@pytest.mark.parametrize("at_once", [1, 20])
async def test_a_host_that_moved_is_followed_in_constant_use(server: Server, at_once: int) -> None:
    async with Server() as other:
        server.plays(always(reply(b"old")))
        other.plays(always(reply(b"new")))
        there = server

        async def look_up(host: str, port: int) -> list[Address]:
            return [(int(socket.AF_INET), ("127.0.0.1", there.port))]

        transport = HTTP1Transport(resolve=look_up, limits=Limits(max_age=0.2, address_age=0.0))

        async def use() -> set[bytes]:
            return {body for _, body in await asyncio.gather(*(ask(transport, server) for _ in range(at_once)))}

        assert await use() == {b"old"}
        there = other
        async with asyncio.timeout(15):
            while await use() != {b"new"}:
                pass
        for _ in range(10):
            assert await use() == {b"new"}
        await server.all_gone()
        await transport.aclose()


async def test_connections_that_were_opened_together_do_not_end_together(server: Server) -> None:
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await gate.wait()
            await peer.send(reply())

    server.plays(script)
    transport = HTTP1Transport()
    asked = [asyncio.ensure_future(ask(transport, server)) for _ in range(50)]
    await server.until(lambda: server.opened == 50)
    gate.set()
    await asyncio.gather(*asked)
    [pool] = transport._pools.values()
    ends = [connection._until - time.perf_counter() for connection in pool._idle]
    assert max(ends) - min(ends) > 10
    assert max(ends) <= Limits().max_age == 120
    del pool
    await transport.aclose()


async def test_the_servers_own_idea_of_how_long_to_rest_is_kept(transport: HTTP1Transport, server: Server) -> None:
    server.plays(always(reply(b"hello", b"Keep-Alive: timeout=0, max=100")))
    await ask(transport, server)
    await server.all_gone()
    await ask(transport, server)
    assert server.opened == 2


async def test_a_connection_that_the_server_closed_at_rest_is_not_used(sender: Sender, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply())
        peer.close()

    server.plays(script)
    for _ in range(5):
        assert await ask(sender, server) == (200, b"hello")
        await asyncio.sleep(0.01)
    assert server.opened == 5


async def test_an_unread_reply_ends_its_connection(sender: Sender, server: Server) -> None:
    endless = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nfirst"
    server.plays(answering(endless), answering(reply(b"second")))
    exchange = await start(sender, server)
    await exchange.aclose()
    await server.all_gone()
    assert await ask(sender, server) == (200, b"second")
    assert server.opened == 2


async def test_closing_an_exchange_late_does_not_touch_the_next_on_its_connection(own: Sender, server: Server) -> None:
    server.plays(always(reply()))
    first = await start(own, server)
    await first.read(100)
    second = await start(own, server)
    await first.aclose()
    assert await second.read(100) == b"hello"
    assert server.opened == 1


async def test_closing_the_transport_closes_what_rests(sender: Sender, server: Server) -> None:
    server.plays(always(reply()))
    await ask(sender, server)
    await sender.aclose()
    await server.all_gone()


async def test_closing_the_transport_lets_exchanges_finish(server: Server) -> None:
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
        await release.wait()
        await peer.send(b"world")

    server.plays(script)
    transport = HTTP1Transport(drain=2.0)
    exchange = await start(transport, server)
    closing = asyncio.ensure_future(transport.aclose())
    await asyncio.sleep(0.02)
    assert not closing.done()
    with pytest.raises(UpstreamUnavailable):
        await ask(transport, server)
    release.set()
    assert await exchange.read(100) == b"helloworld"
    await closing
    await server.all_gone()


async def test_closing_the_transport_does_not_wait_for_ever(server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")

    server.plays(script)
    transport = HTTP1Transport(drain=0.05)
    exchange = await start(transport, server)
    await asyncio.wait_for(transport.aclose(), 2)
    await server.all_gone()
    with pytest.raises(UpstreamUnavailable):
        await exchange.read(100)


async def test_closing_the_transport_turns_away_who_waits_in_line(server: Server) -> None:
    server.plays(always(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"))
    single = HTTP1Transport(limits=Limits(max_open=1), drain=0.05)
    await start(single, server)
    waiting = asyncio.ensure_future(ask(single, server))
    await asyncio.sleep(0)
    await single.aclose()
    with pytest.raises(UpstreamUnavailable):
        await asyncio.wait_for(waiting, 2)


async def test_a_connection_that_is_made_while_the_transport_closes_is_not_used(server: Server) -> None:
    found = asyncio.Event()

    async def slowly(host: str, port: int) -> list[Address]:
        await found.wait()
        return await resolve(host, port)

    server.plays(always(reply()))
    transport = HTTP1Transport(resolve=slowly)
    asked = asyncio.ensure_future(ask(transport, server))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(transport.aclose())
    await asyncio.sleep(0)
    found.set()
    with pytest.raises(UpstreamUnavailable):
        await asked
    await asyncio.wait_for(closing, 2)
    await server.all_gone()


async def test_a_deadline_for_connecting(server: Server) -> None:
    async def never(host: str, port: int) -> list[tuple[int, object]]:
        await asyncio.sleep(60)
        return []

    transport = HTTP1Transport(resolve=never)
    with pytest.raises(UpstreamTimeout):
        await ask(transport, server, timeouts=Timeouts(connect=0.05))
    await transport.aclose()


async def test_connections_can_be_counted(single: HTTP1Transport, server: Server) -> None:
    server.plays(always(reply()))
    origin = server.url
    assert single.counts() == {}
    asked = [asyncio.ensure_future(ask(single, server)) for _ in range(3)]
    await asyncio.sleep(0)
    assert single.counts() == {origin: (1, 0, 2)}
    await asyncio.gather(*asked)
    assert single.counts() == {origin: (1, 1, 0)}
    await single.aclose()
    assert single.counts() == {origin: (0, 0, 0)}


async def test_a_hundred_at_once_get_their_own_replies(own: Sender, server: Server) -> None:
    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            await asyncio.sleep(0)
            await peer.send(reply(request.split(b" ")[1]))

    server.plays(script)

    async def several(number: int) -> None:
        for turn in range(5):
            path = f"/{number}/{turn}"
            assert await ask(own, server, path=path, timeouts=SHORT) == (200, path.encode())

    await asyncio.gather(*(several(number) for number in range(100)))
