"""Requests that wait for the end of a turn of the loop, because other connections are at work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from plano.errors import UpstreamUnavailable
from plano.runtime.outbox import Outbox
from plano.transport import HTTP1Transport
from plano.transport.connection import MAX_HELD_BYTES, Connection
from tests.transport.wire import Peer, Server, always, ask, reply


async def busy(transport: HTTP1Transport, server: Server) -> asyncio.Task[Any]:
    """One request under way, and a connection at rest."""
    asks = [asyncio.ensure_future(ask(transport, server)) for _ in range(2)]
    done, waiting = await asyncio.wait(asks, return_when=asyncio.FIRST_COMPLETED)
    assert [await task for task in done] == [(200, b"hello")]
    await server.until(lambda: server.opened == 2)
    return waiting.pop()


async def stays(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


def eof(connection: Connection) -> None:
    connection.eof_received()


def lost(connection: Connection) -> None:
    connection.connection_lost(None)


def reset(connection: Connection) -> None:
    connection.connection_lost(ConnectionResetError("reset"))


@pytest.mark.parametrize("end", [eof, lost, reset])
async def test_a_request_that_had_not_gone_out_is_sent_on_another_connection(
    end: Callable[[Connection], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Outbox.add

    def ended(outbox: Outbox, held: Any, *, first: bool) -> None:
        add(outbox, held, first=first)
        if isinstance(held, Connection):
            monkeypatch.undo()
            transport = held._transport
            end(held)
            assert transport is not None
            transport.abort()

    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.send(reply())

    async with Server() as server:
        server.plays(always(reply()), stays, script)
        transport = HTTP1Transport(drain=0.2)
        waiting = await busy(transport, server)
        monkeypatch.setattr(Outbox, "add", ended)
        assert await ask(transport, server, body=b"once") == (200, b"hello")
        assert [request.endswith(b"once") for request in seen] == [True]
        assert server.opened == 3
        waiting.cancel()
        await transport.aclose()


async def test_what_comes_before_a_request_went_out_does_not_mix_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    add = Outbox.add
    written: list[bool] = []

    def answered(outbox: Outbox, held: Any, *, first: bool) -> None:
        add(outbox, held, first=first)
        if isinstance(held, Connection) and not written:
            held.data_received(reply(b"early"))
            written.append(not held._held)

    async with Server() as server:
        server.plays(always(reply()), stays, always(reply()))
        transport = HTTP1Transport(drain=0.2)
        waiting = await busy(transport, server)
        monkeypatch.setattr(Outbox, "add", answered)
        assert await ask(transport, server) == (200, b"early")  # as when it came a moment later
        assert written == [True]
        assert await ask(transport, server) == (200, b"hello")
        waiting.cancel()
        await transport.aclose()


@pytest.mark.parametrize("size", [0, 1, MAX_HELD_BYTES - 500, MAX_HELD_BYTES, MAX_HELD_BYTES + 1, 300_000])
async def test_requests_of_any_size_go_out_beside_others(size: int) -> None:
    seen: list[int] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append((await peer.request()).count(b"#"))
            await peer.send(reply())

    async with Server() as server:
        server.plays(script)
        transport = HTTP1Transport(drain=0.2)
        asks: list[Awaitable[Any]] = [ask(transport, server, body=b"#" * size) for _ in range(4)]
        assert await asyncio.gather(*asks) == [(200, b"hello")] * 4
        assert seen == [size] * 4
        await transport.aclose()


async def test_a_request_that_was_broken_off_does_not_go_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """And those that were to go out with it do."""
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.send(reply())

    add = Outbox.add

    def broken_off(outbox: Outbox, held: Any, *, first: bool) -> None:
        add(outbox, held, first=first)
        if b"/off" in held._held:
            held.fail(httpx.ReadError("broken off"))

    async with Server() as server:
        server.plays(script)
        transport = HTTP1Transport(drain=0.2)
        await asyncio.gather(*(ask(transport, server) for _ in range(3)))
        monkeypatch.setattr(Outbox, "add", broken_off)
        asks = [asyncio.ensure_future(ask(transport, server, path=path)) for path in ("/on", "/off", "/on")]
        done = await asyncio.gather(*asks, return_exceptions=True)
        assert [done[0], done[2]] == [(200, b"hello")] * 2
        assert isinstance(done[1], UpstreamUnavailable)
        await asyncio.sleep(0.01)
        assert not any(b"/off" in request for request in seen)
        await transport.aclose()
