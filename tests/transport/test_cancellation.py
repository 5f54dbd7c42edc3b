"""Whoever waits may be cancelled, at any point, and nothing stays behind: no socket, no task, no place in line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from plano.errors import UpstreamUnavailable
from plano.transport import HTTP1Transport, HTTPXSender, Limits, Sender
from plano.transport.connection import Connection
from tests.transport.wire import Peer, Server, always, ask, reply, start


async def cancel(waiting: asyncio.Task[Any]) -> None:
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def silent(peer: Peer) -> None:
    await peer.request()


async def slow(peer: Peer) -> None:
    while True:
        await peer.request()
        for byte in reply(b"hello"):
            await peer.send(bytes((byte,)))
            await asyncio.sleep(0)


async def test_cancelled_while_waiting_for_the_head(sender: Sender, server: Server) -> None:
    server.plays(silent, always(reply()))
    waiting = asyncio.ensure_future(ask(sender, server))
    await server.until(lambda: server.open == 1)
    await asyncio.sleep(0.01)
    await cancel(waiting)
    await server.all_gone()
    assert await ask(sender, server) == (200, b"hello")


async def test_cancelled_while_waiting_for_the_body(sender: Sender, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")

    server.plays(script, always(reply()))
    exchange = await start(sender, server)
    waiting = asyncio.ensure_future(exchange.read(100))
    await asyncio.sleep(0.02)
    await cancel(waiting)
    await server.all_gone()
    assert await ask(sender, server) == (200, b"hello")


async def test_cancelled_while_sending(sender: Sender, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        peer.pause()
        await asyncio.sleep(0.1)
        peer.resume()

    server.plays(script, always(reply()))
    waiting = asyncio.ensure_future(ask(sender, server, body=b"x" * (32 << 20)))
    await server.until(lambda: server.open == 1)
    await asyncio.sleep(0.05)
    await cancel(waiting)
    await server.all_gone()
    assert await ask(sender, server) == (200, b"hello")


async def test_cancelled_while_looking_the_name_up(server: Server) -> None:
    async def never(host: str, port: int) -> list[tuple[int, object]]:
        await asyncio.sleep(60)
        return []

    transport = HTTP1Transport(resolve=never, limits=Limits(max_open=1))
    waiting = asyncio.ensure_future(ask(transport, server))
    await asyncio.sleep(0.01)
    await cancel(waiting)
    await transport.aclose()
    assert server.opened == 0


async def test_cancelled_while_waiting_in_line(single: HTTP1Transport, server: Server) -> None:
    server.plays(silent, always(reply()))
    holding = asyncio.ensure_future(ask(single, server))
    await server.until(lambda: server.open == 1)
    waiting = asyncio.ensure_future(ask(single, server))
    await asyncio.sleep(0.01)
    await cancel(waiting)
    await cancel(holding)
    assert await ask(single, server) == (200, b"hello")


async def test_closed_by_another_task_while_one_reads(own: Sender, server: Server) -> None:
    """A watcher that sees the client leave closes the exchange; the reader learns of it."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")

    server.plays(script)
    exchange = await start(own, server)
    reading = asyncio.ensure_future(exchange.read(100))
    await asyncio.sleep(0.01)
    await exchange.aclose()
    with pytest.raises(UpstreamUnavailable):
        await asyncio.wait_for(reading, 2)
    await server.all_gone()


MAKERS: dict[str, Callable[[], Sender]] = {
    "own": lambda: HTTP1Transport(limits=Limits(max_open=2), drain=0.2),
    "own-as-httpx": lambda: HTTPXSender(HTTP1Transport(limits=Limits(max_open=2), drain=0.2)),
}


@pytest.mark.parametrize("maker", MAKERS)
async def test_cancelled_after_any_number_of_steps(server: Server, maker: str) -> None:
    """Some exchanges share two connections; one of them is cancelled after 0, 1, 2, … steps of the loop. The others
    get their own replies, and the transport is as good as new."""
    server.plays(slow)
    sender = MAKERS[maker]()
    steps = 0
    finished = False
    while not finished:
        victim, *others = [asyncio.ensure_future(ask(sender, server)) for _ in range(4)]
        for _ in range(steps):
            await asyncio.sleep(0)
        finished = victim.done()
        victim.cancel()
        assert await asyncio.gather(*others) == [(200, b"hello")] * 3
        await asyncio.gather(victim, return_exceptions=True)
        assert server.open <= 3  # two, and one that is just going
        steps += 1 if steps < 40 else 7
    assert steps > 20
    await sender.aclose()
    await server.all_gone()


async def test_called_off_in_the_moment_a_connection_is_made(
    transport: HTTP1Transport, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop then closes the connection without saying that it is lost."""
    server.plays(silent)
    connection_made = Connection.connection_made

    def called_off(connection: Connection, made: asyncio.BaseTransport) -> None:
        connection_made(connection, made)
        asking.cancel()

    monkeypatch.setattr(Connection, "connection_made", called_off)
    asking = asyncio.ensure_future(start(transport, server))
    with pytest.raises(asyncio.CancelledError):
        await asking
    await server.all_gone()
    assert transport.counts()[server.url] == (0, 0, 0)


async def test_cancelling_everybody_at_once_leaves_nothing(server: Server) -> None:
    server.plays(silent)
    transport = HTTP1Transport(limits=Limits(max_open=5))
    waiting = [asyncio.ensure_future(ask(transport, server)) for _ in range(50)]
    await server.until(lambda: server.open == 5)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await server.all_gone()
    server.plays(always(reply()))
    assert await ask(transport, server) == (200, b"hello")
    await transport.aclose()


async def test_a_transport_that_is_closed_while_cancelled_still_closes(server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")

    server.plays(script)
    transport = HTTP1Transport(drain=60.0)
    await start(transport, server)
    closing = asyncio.ensure_future(transport.aclose())
    await asyncio.sleep(0.01)
    await cancel(closing)
    await server.all_gone()
