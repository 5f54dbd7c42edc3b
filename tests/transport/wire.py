"""A server that speaks raw bytes by script, so that every way in which a peer can misbehave can be played."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import socket
import ssl
import struct
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from plano.transport import Exchange, Outgoing, Sender, Timeouts

SHORT = Timeouts(connect=9.0, write=9.0, first_byte=9.0, idle=9.0, pool=9.0)
"""Longer than `Server.until` waits, so that no deadline does what a test is about."""


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def request(self) -> bytes:
        """The next request, whole. Raises `asyncio.IncompleteReadError` when the client closes instead."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
            return head + await self._reader.readuntil(b"0\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        body = await self._reader.readexactly(int(length[1])) if length else b""
        return head + body

    async def head(self) -> bytes:
        return await self._reader.readuntil(b"\r\n\r\n")

    async def some(self, most: int = 65536) -> bytes:
        return await self._reader.read(most)

    async def send(self, *pieces: bytes) -> None:
        """Each piece as a segment of its own, as far as the system allows."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            if len(pieces) > 1:
                await asyncio.sleep(0.001)

    async def gone(self) -> None:
        """Returns when the client has closed."""
        try:
            while await self._reader.read(65536):
                pass
        except ConnectionError:
            pass

    def end(self) -> None:
        """No more will be sent; reading goes on."""
        self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        """Ends the connection with a RST."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def pause(self) -> None:
        """Takes no more bytes from the client."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    def resume(self) -> None:
        self._writer.transport.resume_reading()  # type: ignore[attr-defined]

    def certificate(self) -> object:
        return self._writer.get_extra_info("peercert")

    def tls(self) -> ssl.SSLObject:
        found: ssl.SSLObject = self._writer.get_extra_info("ssl_object")
        return found


Script: TypeAlias = Callable[[Peer], Awaitable[None]]


class Server:
    """Plays `scripts`, one for each connection in the order they come; the last one repeats. Without scripts, it closes
    each connection.

    Attributes:
        opened: connections there have been.
        open: connections there are.
    """

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.opened = 0
        self.open = 0
        self.url = ""
        self.port = 0
        self.failure: BaseException | None = None
        self._changed = asyncio.Condition()
        self._playing: set[asyncio.Task[None]] = set()

    def plays(self, *scripts: Script) -> Server:
        self.scripts = list(scripts)
        return self

    async def __aenter__(self) -> Server:
        await self.listen()
        return self

    async def listen(self, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        if self.url:
            self._server.close()
        self._server = await asyncio.start_server(self._serve, host, 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{'localhost' if tls else host}:{self.port}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._playing:
            task.cancel()
        await asyncio.gather(*self._playing, return_exceptions=True)
        if self.failure is not None:
            raise self.failure

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns when a condition on the connections holds; fails if that does not come about."""
        async with asyncio.timeout(15), self._changed:
            await self._changed.wait_for(condition)

    async def all_gone(self) -> None:
        await self.until(lambda: self.open == 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if not self.scripts:
            writer.close()
            return
        self._playing.add(task)
        script = self.scripts[min(self.opened, len(self.scripts) - 1)]
        self.opened += 1
        self.open += 1
        peer = Peer(reader, writer)
        try:
            async with self._changed:
                self._changed.notify_all()
            await script(peer)
            await peer.gone()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as failure:
            self.failure = failure
        finally:
            writer.close()
            self._playing.discard(task)
            async with self._changed:
                self.open -= 1
                self._changed.notify_all()


def probing(sock: socket.socket) -> tuple[bool, int, int, int]:
    """Whether TCP probes a silent connection; after how many seconds, how many apart, and how many may be lost."""
    idle = socket.TCP_KEEPALIVE if sys.platform == "darwin" else socket.TCP_KEEPIDLE
    seconds = [sock.getsockopt(socket.IPPROTO_TCP, name) for name in (idle, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)]
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)), seconds[0], seconds[1], seconds[2]


@contextmanager
def no_descriptors() -> Iterator[None]:
    """For its time this process can open no file and no socket."""
    lowest = os.dup(0)
    os.close(lowest)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def reply(body: bytes = b"hello", *fields: bytes, status: bytes = b"200 OK") -> bytes:
    return b"\r\n".join((b"HTTP/1.1 " + status, *fields, b"content-length: %d" % len(body), b"", body))


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


def answering(*answers: bytes) -> Script:
    """Answers one request after another; then reads on until the client closes."""

    async def script(peer: Peer) -> None:
        for answer in answers:
            await peer.request()
            await peer.send(answer)

    return script


def always(answer: bytes) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer)

    return script


async def ask(
    sender: Sender,
    server: Server,
    *,
    method: bytes = b"POST",
    path: str = "/v1",
    body: bytes = b"{}",
    timeouts: Timeouts = SHORT,
) -> tuple[int, bytes]:
    """A whole exchange: status and body."""
    exchange = await start(sender, server, method=method, path=path, body=body, timeouts=timeouts)
    return exchange.status, await exchange.read(1 << 30)


async def start(
    sender: Sender,
    server: Server,
    *,
    method: bytes = b"POST",
    path: str = "/v1",
    body: bytes = b"{}",
    timeouts: Timeouts = SHORT,
) -> Exchange:
    """An exchange up to the head of its reply."""
    return await sender.send(
        Outgoing(
            method=method,
            url=server.url + path,
            headers=[(b"accept-encoding", b"identity"), (b"x-test", b"1")],
            body=body,
            timeouts=timeouts,
        )
    )
