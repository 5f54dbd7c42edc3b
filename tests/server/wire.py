"""A real server in this process, and a client that speaks raw bytes."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from plano.server import Connection, Limits
from plano.testing.server import listening_socket
from plano.types import Message, Receive, Scope, Send

PROTOCOLS: dict[str, Any] = {"own": Connection, "uvicorn": HttpToolsProtocol}
PATIENCE = 20.0
"""Seconds. Longer than anything takes that goes well."""


class Server:
    """A server that is up, and what it was asked.

    Attributes:
        asked: the scope of each request, with its body as `body` once it was read whole.
    """

    def __init__(self, server: uvicorn.Server, port: int) -> None:
        self.uvicorn = server
        self.port = port

    @property
    def connections(self) -> int:
        return len(self.uvicorn.server_state.connections)

    @property
    def tasks(self) -> int:
        return len(self.uvicorn.server_state.tasks)

    async def talk(self, *pieces: bytes, tls: ssl.SSLContext | None = None) -> bytes:
        """Sends the pieces, each on its own, and gives what comes back until the server closes."""
        async with self.client(tls=tls) as client:
            for piece in pieces:
                await client.send(piece)
                await asyncio.sleep(0)
            return await client.rest()

    @asynccontextmanager
    async def client(self, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
        name = "localhost" if tls else None
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=tls, server_hostname=name)
        try:
            yield Client(reader, writer)
        finally:
            writer.transport.abort()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(end)

    async def rest(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    async def reply(self) -> bytes:
        """One reply with a length."""
        head = await self.until(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        async with asyncio.timeout(PATIENCE):
            return head + await self.reader.readexactly(int(length[1]) if length else 0)

    def leave(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def serving(
    application: Any, protocol: Any = Connection, *, limits: Limits | None = None, **options: Any
) -> AsyncIterator[Server]:
    """A uvicorn.Server with one of the protocols, on a port of its own. All it holds is gone at the end."""
    if limits is not None:
        protocol = partial(protocol, limits=limits)
    listening = listening_socket("127.0.0.1", 0)
    settings: dict[str, Any] = {"lifespan": "off", "date_header": False, "timeout_graceful_shutdown": 5} | options
    config = uvicorn.Config(
        application,
        http=protocol,
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        **settings,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve([listening]))
    await until(lambda: server.started)
    try:
        yield Server(server, listening.getsockname()[1])
    finally:
        task.cancel()  # uvicorn's own way to end takes its time
        for accepting in server.servers:
            accepting.close()
        for connection in list(server.server_state.connections):
            connection.shutdown()
        await until(lambda: not server.server_state.connections and not server.server_state.tasks)


async def until(condition: Callable[[], object]) -> None:
    """Returns when it holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def settled(value: Callable[[], int]) -> int:
    """The value once it no longer grows."""
    before = -1
    while (now := value()) > before:
        before = now
        await asyncio.sleep(0.2)
    return now


async def read_body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        assert message["type"] == "http.request", "the client left"
        body += message["body"]
        more = message["more_body"]
    return body


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Says what was asked: method, path and body."""
    body = b"%b %b %b" % (scope["method"].encode(), scope["path"].encode(), await read_body(receive))
    await answer(send, body)


async def answer(send: Send, body: bytes = b"ok", status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    fields = [(b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def piece(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def bodies(replies: bytes) -> list[bytes]:
    """The bodies of replies with lengths, one after another; nothing may be left over."""
    found = []
    while replies:
        head, _, replies = replies.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert head.startswith(b"HTTP/1.1 "), head
        assert length is not None, head
        found.append(replies[: int(length[1])])
        replies = replies[int(length[1]) :]
    return found
