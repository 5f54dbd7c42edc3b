"""When a request is sent a second time (RFC 9110 section 9.2.2), and when it is not."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from plano.errors import UpstreamUnavailable
from plano.transport import HTTP1Transport, Outgoing, Sender
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


class Closing:
    """A server in a thread, which closes its first connection when it is told to, whatever the event loop does."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(5)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.seen: list[bytes] = []
        self._close = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close_the_first(self) -> None:
        """Blocks the event loop too, so that it cannot notice."""
        self._close.set()
        assert self._closed.wait(5)

    def join(self) -> None:
        self._thread.join(5)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with self._listener:
            first, _ = self._listener.accept()
            self._take(first)
            first.sendall(reply(b"first"))
            assert self._close.wait(5)
            first.close()
            self._closed.set()
            try:
                second, _ = self._listener.accept()
            except TimeoutError:
                return
            with second:
                second.settimeout(5)
                self._take(second)
                second.sendall(reply(b"second"))

    def _take(self, connection: socket.socket) -> None:
        data = b""
        while not data.endswith(b"END"):
            data += connection.recv(1 << 20)
        self.seen.append(data)


@pytest.mark.parametrize("size", [0, 100_000])
async def test_a_post_that_met_a_connection_already_closed_is_repeated(own: Sender, size: int) -> None:
    """The common race: the server closes an idle connection while the request is being written. The loop had
    no chance to notice, but TCP can tell that nothing of the request was taken."""
    server = Closing()
    body = b"x" * size + b"END"
    outgoing = Outgoing(url=server.url, headers=[], body=body, timeouts=SHORT)
    assert await (await own.send(outgoing)).read(100) == b"first"
    server.close_the_first()
    assert await (await own.send(outgoing)).read(100) == b"second"
    server.join()
    assert len(server.seen) == 2


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
