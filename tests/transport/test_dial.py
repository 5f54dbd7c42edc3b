"""Happy Eyeballs: the first address that answers wins, and the others leave no trace."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from plano.errors import GatewayExhausted, UpstreamUnavailable
from plano.transport import HTTP1Transport, Sender
from plano.transport.dial import Address, call_off, interleaved, open_socket, resolve, telling
from tests.transport.wire import Server, always, ask, no_descriptors, probing, reply

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)


@contextmanager
def deaf() -> Iterator[Address]:
    """An address that never answers: its queue of connections is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            fillers.append(filler)
        try:
            yield V4, address
        finally:
            for filler in fillers:
                filler.close()


def refusing() -> Address:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return V4, sock.getsockname()


def test_families_take_turns_and_the_systems_first_choice_stays_first() -> None:
    found = [(V6, "a"), (V6, "b"), (V6, "c"), (V4, "d"), (V4, "e")]
    assert interleaved(found) == [(V6, "a"), (V4, "d"), (V6, "b"), (V4, "e"), (V6, "c")]


async def test_an_address_that_does_not_answer_delays_but_does_not_prevent(server: Server) -> None:
    with deaf() as first:
        sock = await open_socket([first, (V4, ("127.0.0.1", server.port))], delay=0.02)
        assert sock.getpeername()[1] == server.port
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        sock.close()


async def test_a_silent_network_is_noticed_within_a_minute_or_two(server: Server) -> None:
    sock = await open_socket([(V4, ("127.0.0.1", server.port))])
    assert probing(sock) == (True, 30, 10, 3)
    sock.close()


async def test_an_address_that_refuses_does_not_even_delay(server: Server) -> None:
    sock = await open_socket([refusing(), (V4, ("127.0.0.1", server.port))], delay=60)
    assert sock.getpeername()[1] == server.port
    sock.close()


async def test_when_all_refuse_the_first_refusal_is_told() -> None:
    with pytest.raises(ConnectionRefusedError):
        await open_socket([refusing(), refusing(), refusing()], delay=60)


async def test_a_host_without_an_address_cannot_be_reached() -> None:
    with pytest.raises(OSError, match="no address"):
        await open_socket([])


async def test_a_race_that_is_cancelled_leaves_no_socket_and_no_task() -> None:
    with deaf() as one, deaf() as other:
        racing = asyncio.ensure_future(open_socket([one, other], delay=0.01))
        await asyncio.sleep(0.05)
        racing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await racing
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_two_winners_are_one_too_many(server: Server) -> None:
    """Several may connect in the same step of the loop; all but one are closed."""
    address = (V4, ("127.0.0.1", server.port))
    server.plays(always(reply()))
    winner, *others = await asyncio.gather(*(open_socket([address]) for _ in range(3)))
    finished = {asyncio.ensure_future(_already(sock)) for sock in others}
    await asyncio.sleep(0)
    await call_off(finished, winner)
    assert [sock.fileno() for sock in others] == [-1, -1]
    assert winner.fileno() != -1
    winner.close()


async def _already(sock: socket.socket) -> socket.socket:
    return sock


def test_a_refusal_says_more_of_a_host_than_what_this_machine_lacks() -> None:
    here, there = OSError(errno.EADDRNOTAVAIL, "no such family here"), ConnectionRefusedError()
    assert telling([here, there, here]) is there
    assert telling([here, here]) is here


async def test_out_of_descriptors_is_not_the_upstreams_failure_and_passes(sender: Sender, server: Server) -> None:
    server.plays(always(reply()))
    with no_descriptors(), pytest.raises(GatewayExhausted):
        await ask(sender, server)
    assert await ask(sender, server) == (200, b"hello")


async def test_the_transport_tries_the_next_address(server: Server) -> None:
    async def two(host: str, port: int) -> list[Address]:
        return [refusing(), (V4, ("127.0.0.1", port))]

    server.plays(always(reply()))
    transport = HTTP1Transport(resolve=two)
    assert await ask(transport, server) == (200, b"hello")
    await transport.aclose()


async def test_a_burst_of_connections_asks_for_the_address_once(server: Server) -> None:
    asked = 0

    async def counting(host: str, port: int) -> list[Address]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)
        return [(V4, ("127.0.0.1", port))]

    server.plays(always(reply()))
    transport = HTTP1Transport(resolve=counting)
    await asyncio.gather(*(ask(transport, server) for _ in range(20)))
    assert server.opened > 1
    assert asked == 1
    await transport.aclose()


async def test_who_asks_for_an_address_and_leaves_does_not_take_the_others_along(server: Server) -> None:
    found = asyncio.Event()

    async def slowly(host: str, port: int) -> list[Address]:
        await found.wait()
        return [(V4, ("127.0.0.1", port))]

    server.plays(always(reply()))
    transport = HTTP1Transport(resolve=slowly)
    first, second = (asyncio.ensure_future(ask(transport, server)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    found.set()
    assert await second == (200, b"hello")
    assert first.cancelled()
    await transport.aclose()


async def test_an_address_that_was_no_good_is_asked_for_again(server: Server) -> None:
    answers = iter([[refusing()], [(V4, ("127.0.0.1", server.port))]])

    async def moving(host: str, port: int) -> list[Address]:
        return next(answers)

    server.plays(always(reply()))
    transport = HTTP1Transport(resolve=moving)
    with pytest.raises(UpstreamUnavailable):
        await ask(transport, server)
    assert await ask(transport, server) == (200, b"hello")
    await transport.aclose()


async def test_no_address_is_unavailable(server: Server) -> None:
    async def none(host: str, port: int) -> list[Address]:
        return []

    transport = HTTP1Transport(resolve=none)
    with pytest.raises(UpstreamUnavailable):
        await ask(transport, server)
    await transport.aclose()


async def test_names_are_looked_up() -> None:
    assert ("127.0.0.1", 80) in [address[:2] for _, address in await resolve("localhost", 80)]


async def test_an_ipv6_address_in_a_url(server: Server) -> None:
    server.plays(always(reply()))
    await server.listen(host="::1")
    server.url = f"http://[::1]:{server.port}"
    transport = HTTP1Transport()
    assert await ask(transport, server) == (200, b"hello")
    await transport.aclose()
