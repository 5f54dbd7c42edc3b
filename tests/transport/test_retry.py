"""When a request is sent a second time (RFC 9110 section 9.2.2), and when it is not."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import httpx
import pytest
import trustme

from plano.errors import UpstreamUnavailable
from plano.transport import HTTP1Transport, Outgoing, Sender
from plano.transport.connection import UNCHECKED_REST
from tests.transport.wire import SHORT, Peer, Script, Server, answering, ask, reply, start

SAFE = [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"]
UNSAFE = [b"POST", b"PATCH"]


def dies_on_second(seen: list[bytes], *, reset: bool = False) -> Script:
    """Serves one request, takes the next, and breaks off without a word."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply(b"first"))
        seen.append(await peer.request())
        if reset:
            peer.reset()
        else:
            peer.close()

    return script


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("method", SAFE)
async def test_an_idempotent_request_is_repeated_when_a_kept_connection_dies(
    own: Sender, server: Server, method: bytes, reset: bool
) -> None:
    seen: list[bytes] = []
    server.plays(dies_on_second(seen, reset=reset), answering(reply(b"" if method == b"HEAD" else b"second")))
    assert await ask(own, server, method=b"POST") == (200, b"first")
    assert await ask(own, server, method=method, body=b"") == (200, b"" if method == b"HEAD" else b"second")
    assert len(seen) == 1
    assert server.opened == 2


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("method", UNSAFE)
async def test_a_request_that_may_have_been_processed_is_not_repeated(
    own: Sender, server: Server, method: bytes, reset: bool
) -> None:
    seen: list[bytes] = []
    server.plays(dies_on_second(seen, reset=reset), answering(reply(b"second")))
    await ask(own, server)
    with pytest.raises(UpstreamUnavailable):
        await ask(own, server, method=method)
    assert len(seen) == 1
    assert server.opened == 1


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("method", UNSAFE)
async def test_a_request_with_an_idempotency_key_is_repeated(
    own: Sender, server: Server, method: bytes, reset: bool
) -> None:
    seen: list[bytes] = []
    server.plays(dies_on_second(seen, reset=reset), answering(reply(b"second")))
    await ask(own, server)
    key = (b"idempotency-key", b"one")
    url = server.url + "/v1"
    exchange = await own.send(Outgoing(method=method, url=url, headers=[key], body=b"{}", timeouts=SHORT))
    assert await exchange.read(100) == b"second"
    assert b"idempotency-key: one" in seen[0].lower()
    assert server.opened == 2


class Closing:
    """A server in a thread, which ends its first connection when it is told to, whatever the event loop does."""

    def __init__(self, end: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> None:
        self._end = end
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(15)
        scheme, name = ("https", "localhost") if tls else ("http", "127.0.0.1")
        self.url = f"{scheme}://{name}:{self._listener.getsockname()[1]}"
        self.seen: list[bytes] = []
        self._close = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end_the_first(self) -> None:
        """Blocks the event loop too, so that it cannot notice."""
        self._close.set()
        assert self._closed.wait(15)
        time.sleep(2 * UNCHECKED_REST)

    def join(self) -> None:
        self._thread.join(15)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with self._listener:
            first = self._accept()
            self._take(first)
            first.sendall(reply(b"first"))
            assert self._close.wait(15)
            self._end(first)
            self._closed.set()
            try:
                second = self._accept()
            except TimeoutError:
                return
            with first, second:
                self._take(second)
                second.sendall(reply(b"second"))

    def _accept(self) -> socket.socket:
        connection, _ = self._listener.accept()
        connection.settimeout(15)
        return connection if self._tls is None else self._tls.wrap_socket(connection, server_side=True)

    def _take(self, connection: socket.socket) -> None:
        data = b""
        while not data.endswith((b"END", b"END\r\n0\r\n\r\n")):
            data += connection.recv(1 << 20)
        self.seen.append(data)


def says_end_of_tls(connection: socket.socket) -> None:
    """Sends TLS's own end, and leaves the connection open."""
    assert isinstance(connection, ssl.SSLSocket)
    connection.setblocking(False)
    with suppress(ssl.SSLWantReadError):
        connection.unwrap()


def resets(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def answers_unasked(connection: socket.socket) -> None:
    """As servers do that say why they close."""
    connection.sendall(reply(b"too late", b"connection: close", status=b"408 Request Timeout"))


ENDS = {"closes": socket.socket.close, "resets": resets, "answers unasked": answers_unasked}


async def second_after(own: Sender, server: Closing, body: bytes) -> bytes:
    """The answer to a POST that follows another, between which the server ended the connection."""
    outgoing = Outgoing(url=server.url, headers=[], body=body, timeouts=SHORT)
    assert await (await own.send(outgoing)).read(100) == b"first"
    server.end_the_first()
    answer = await (await own.send(outgoing)).read(100)
    server.join()
    assert len(server.seen) == 2
    return answer


@pytest.mark.parametrize("size", [0, 100_000])
@pytest.mark.parametrize("end", ENDS)
async def test_a_connection_that_has_ended_is_not_used_although_the_loop_did_not_notice(
    own: Sender, end: str, size: int
) -> None:
    assert await second_after(own, Closing(ENDS[end]), b"x" * size + b"END") == b"second"


@pytest.mark.parametrize("end", [socket.socket.close, says_end_of_tls, resets, answers_unasked])
async def test_nor_is_one_with_tls(end: Callable[[socket.socket], None]) -> None:
    authority = trustme.CA()
    serving, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(serving)
    authority.configure_trust(trusting)
    transport = HTTP1Transport(tls=trusting)
    assert await second_after(transport, Closing(end, serving), b"END") == b"second"
    await transport.aclose()


async def test_nor_for_a_body_that_could_be_sent_only_once() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"END"

    server = Closing(socket.socket.close)
    async with httpx.AsyncClient(transport=HTTP1Transport()) as client:
        assert (await client.post(server.url, content=b"END")).content == b"first"
        server.end_the_first()
        assert (await client.post(server.url, content=pieces())).content == b"second"
    server.join()


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_request_on_a_new_connection_is_not_repeated(own: Sender, server: Server, method: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.close()

    server.plays(script)
    with pytest.raises(UpstreamUnavailable):
        await ask(own, server, method=method)
    assert server.opened == 1


async def test_a_request_is_repeated_once_and_not_more(own: Sender, server: Server) -> None:
    seen: list[bytes] = []

    async def dies_at_once(peer: Peer) -> None:
        seen.append(await peer.request())
        peer.close()

    server.plays(dies_on_second(seen), dies_at_once)
    await ask(own, server)
    with pytest.raises(UpstreamUnavailable):
        await ask(own, server, method=b"GET", body=b"")
    assert len(seen) == 2
    assert server.opened == 2


@pytest.mark.parametrize("piece", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_request_is_not_repeated_once_a_byte_of_the_reply_came(
    own: Sender, server: Server, piece: bytes
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply(b"first"))
        await peer.request()
        await peer.send(piece)
        peer.close()

    server.plays(script, answering(reply(b"second")))
    await ask(own, server)
    with pytest.raises(UpstreamUnavailable):
        await ask(own, server, method=b"GET", body=b"")
    assert server.opened == 1


async def test_a_retry_takes_a_new_connection_not_another_old_one(transport: HTTP1Transport, server: Server) -> None:
    """Where one kept connection died, the others most likely did."""
    seen: list[bytes] = []
    both = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        if server.opened == 2:
            both.set()
        await both.wait()
        await peer.send(reply(b"first"))
        seen.append(await peer.request())
        peer.close()

    server.plays(script, script, answering(reply(b"third")))
    first, second = [asyncio.ensure_future(start(transport, server)) for _ in range(2)]
    await (await first).read(100)
    await (await second).read(100)
    assert await ask(transport, server, method=b"GET", body=b"") == (200, b"third")
    assert len(seen) == 1
