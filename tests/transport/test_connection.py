"""The table in `plano.transport.states`, walked: every move that it draws happens, and nothing else does."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest

from plano.transport.connection import PIECE, Connection
from plano.transport.states import Phase
from tests.transport.wire import SHORT, Peer, Server

HEAD = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n"
REPLY = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"
SMALL = 4096
"""Bytes of the buffers in the system, so that a peer which takes nothing soon has a sender waiting."""


def moves() -> list[tuple[str, str, str]]:
    """State, event and outcome of each cell of the table that can happen."""
    (_, *events), *rows = [
        line.split()
        for part in (Phase.__doc__ or "").split("=\n")[1:3]
        for line in part.splitlines()[:-1]
        if line.strip()
    ]
    assert [row[0] for row in rows] == [phase.name for phase in Phase], "a row for each state"
    cells = [(phase, event, end) for phase, *ends in rows for event, end in zip(events, ends, strict=True)]
    return [cell for cell in cells if cell[2] != "."]


class Home:
    """A pool of one connection, which writes down what becomes of it."""

    at_work = 1

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.gone = asyncio.Event()

    def release(self, connection: Connection) -> None:
        self.released.set()

    def discard(self, connection: Connection) -> None:
        connection.close()

    def lost(self, connection: Connection) -> None:
        self.gone.set()


class Scene:
    """A connection that was brought into a phase, its peer, and the task that waits, if any."""

    def __init__(self, server: Server, *, served: bool = False) -> None:
        self.home = Home()
        self.task: asyncio.Task[str] | None = None
        self._server = server
        self._served = served
        self._peer: asyncio.Future[Peer] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()

    async def __aenter__(self) -> Scene:
        async def script(peer: Peer) -> None:
            self._peer.set_result(peer)
            await self._over.wait()

        self._server.plays(script)
        loop = asyncio.get_running_loop()
        self.connection = Connection(loop, self.home, 60.0)
        sock = socket.create_connection(("127.0.0.1", self._server.port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        sock.setblocking(False)
        await loop.create_connection(lambda: self.connection, sock=sock)
        self.peer = await self._peer
        if self._served:
            await self.to("REST")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])
        self._over.set()
        self.connection.close()
        await self.home.gone.wait()
        del self.connection

    async def ask(self, body: bytes) -> str:
        """One exchange: the next state, or the name of the error."""
        try:
            exchange = await self.connection.perform(HEAD % len(body), body, SHORT)
            self.has_begun.set()
            while await exchange.piece():
                self.has_piece.set()
        except httpx.HTTPError as error:
            return type(error).__name__
        return "REST" if self.home.released.is_set() else "closed"

    async def to(self, phase: str, body: bytes = b"hi") -> None:
        self.has_begun, self.has_piece = asyncio.Event(), asyncio.Event()
        if phase == "WRITE":
            self.peer.pause()
        self.home.released.clear()
        self.task = asyncio.create_task(self.ask(body))
        if phase == "WRITE":
            async with asyncio.timeout(15):
                while not self.connection.write_paused:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
            return
        await self.peer.request()
        if phase == "BODY":
            await self.peer.send(REPLY + b"ab")
            await self.has_piece.wait()
        elif phase == "REST":
            await self.peer.send(REPLY + b"abcd")
            assert await self.task == "REST"
            self.task = None

    async def happen(self, event: str, phase: str) -> None:
        match event:
            case "bytes":
                self.has_begun.clear()
                self.has_piece.clear()
                await self.peer.send(b"c" if phase == "BODY" else REPLY + b"a")
            case "last":
                await self.peer.send(b"cd" if phase == "BODY" else REPLY + b"abcd")
            case "eof":
                self.peer.end()
            case "reset":
                self.peer.reset()
            case "overdue":
                self.connection.overdue()

    async def outcome(self, expected: str) -> str:
        async with asyncio.timeout(15):
            if expected == "BODY":
                await self.has_piece.wait()
                return "closed" if self.task is None or self.task.done() else "BODY"
            if self.task is None:
                await self.home.gone.wait()
                return "closed"
            return await self.task


SIZES = {"WRITE": (PIECE, 4 * PIECE)}
"""Bytes of a body that is handed over at once, and of one that is in pieces."""

CELLS = [(*move, size) for move in moves() for size in SIZES.get(move[0], (2,))]


@pytest.mark.parametrize(("phase", "event", "end", "size"), CELLS)
async def test_a_connection_moves_as_its_table_says(
    server: Server, phase: str, event: str, end: str, size: int
) -> None:
    async with Scene(server) as scene:
        await scene.to(phase, b"x" * size)
        await scene.happen(event, phase)
        assert await scene.outcome(end) == end
        gone = end not in ("REST", "BODY")
        if gone:
            async with asyncio.timeout(15):
                await scene.home.gone.wait()
        assert scene.connection.alive is not gone


@pytest.mark.parametrize("event", ["eof", "reset"])
async def test_a_connection_that_has_served_is_stale_when_it_ends(server: Server, event: str) -> None:
    async with Scene(server, served=True) as scene:
        await scene.to("HEAD")
        await scene.happen(event, "HEAD")
        assert await scene.outcome("Stale") == "Stale"


async def test_a_body_without_a_length_is_complete_at_the_end_of_the_connection(server: Server) -> None:
    async with Scene(server) as scene:
        await scene.to("HEAD")
        await scene.peer.send(b"HTTP/1.1 200 OK\r\n\r\nabcd")
        await scene.has_piece.wait()
        await scene.happen("eof", "BODY")
        assert await scene.outcome("closed") == "closed"
