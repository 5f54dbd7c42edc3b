"""HTTP/2 to an upstream, which goes through httpx's own transport, against a server made with `h2`."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import httpx
import psutil
import pytest

from plano import Plano
from plano.errors import UpstreamError, UpstreamUnavailable
from plano.transport import Limits, Outgoing, Sender, Timeouts, Transports, tls_context
from tests.asgi import ask
from tests.transport.test_tls import Authority
from tests.transport.wire import Server, always, probing, reply
from tests.transport.wire import ask as ask_upstream

Script = Callable[["H2Server", int, dict[str, str], bytes], None]
"""What answers: the server, the stream's number, its header fields and its body."""


class H2Server(asyncio.Protocol):
    """One connection. What it was asked is noted in `site`."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.asked: dict[int, tuple[dict[str, str], bytearray]] = {}

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.site.connections.append(self)
        self.h2.initiate_connection()
        self.flush()

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            match event:
                case h2.events.RequestReceived():
                    fields = {str(name): str(value) for name, value in event.headers or []}
                    self.asked[event.stream_id] = fields, bytearray()
                case h2.events.DataReceived():
                    self.asked[event.stream_id][1].extend(event.data or b"")
                    self.h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
                case h2.events.StreamEnded():
                    fields, body = self.asked[event.stream_id]
                    self.site.requests.append((fields, bytes(body)))
                    self.site.script(self, event.stream_id, fields, bytes(body))
        self.flush()

    def head(self, stream: int, status: int = 200, kind: str = "application/json") -> None:
        self.h2.send_headers(stream, [(":status", str(status)), ("content-type", kind)])
        self.flush()

    def data(self, stream: int, data: bytes, *, end: bool = False) -> None:
        self.h2.send_data(stream, data, end_stream=end)
        self.flush()

    def flush(self) -> None:
        self.transport.write(self.h2.data_to_send())


class Site:
    """A server on a loopback port; each request is answered by `script`."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.connections: list[H2Server] = []
        self.url = ""


@asynccontextmanager
async def serving(authority: Authority, script: Script) -> AsyncIterator[Site]:
    site = Site(script)
    tls = authority.server("localhost")
    tls.set_alpn_protocols(["h2"])
    server = await asyncio.get_running_loop().create_server(lambda: H2Server(site), "127.0.0.1", 0, ssl=tls)
    site.url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
    try:
        yield site
    finally:
        server.close()
        for connection in site.connections:
            connection.transport.abort()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def sender(authority: Authority) -> AsyncIterator[Sender]:
    transports = Transports(tls=lambda: tls_context(ca_path=authority.ca_path), environ={})
    yield transports.sender("https://localhost", http2=True)
    await transports.aclose()


def post(site: Site, body: bytes = b"{}") -> Outgoing:
    timeouts = Timeouts(first_byte=5, idle=5)
    return Outgoing(url=f"{site.url}/v1", headers=[(b"x-a", b"b")], body=body, timeouts=timeouts)


def whole(server: H2Server, stream: int, fields: dict[str, str], body: bytes) -> None:
    server.head(stream)
    server.data(stream, b"got " + body, end=True)


async def test_requests_share_one_connection(sender: Sender, authority: Authority) -> None:
    async with serving(authority, whole) as site:

        async def one(number: int) -> bytes:
            exchange = await sender.send(post(site, b"%d" % number))
            assert exchange.status == 200
            return await exchange.read(1000)

        first = await one(0)
        assert [first, *await asyncio.gather(*(one(number) for number in range(1, 20)))] == [
            b"got %d" % number for number in range(20)
        ]
        assert len(site.connections) == 1
    fields, _ = site.requests[0]
    assert (fields[":method"], fields[":path"], fields["x-a"]) == ("POST", "/v1", "b")


async def test_pieces_of_a_stream_come_as_they_are_sent(sender: Sender, authority: Authority) -> None:
    sending: list[tuple[H2Server, int]] = []

    def begun(server: H2Server, stream: int, fields: dict[str, str], body: bytes) -> None:
        server.head(stream, kind="text/event-stream")
        sending.append((server, stream))

    async with serving(authority, begun) as site:
        exchange = await sender.send(post(site))
        pieces = aiter(exchange)
        ((server, stream),) = sending
        for number in range(3):
            server.data(stream, b"data: %d\n\n" % number)
            assert await anext(pieces) == b"data: %d\n\n" % number
        server.data(stream, b"", end=True)
        assert [piece async for piece in pieces] == []


async def test_a_reply_larger_than_the_window_is_read_to_its_end(sender: Sender, authority: Authority) -> None:
    """The server has to wait for room several times."""
    size = 3_000_000

    def large(server: H2Server, stream: int, fields: dict[str, str], body: bytes) -> None:
        server.head(stream)
        asyncio.get_running_loop().create_task(fill(server, stream))

    async def fill(server: H2Server, stream: int) -> None:
        left = size
        while left:
            room = min(left, server.h2.local_flow_control_window(stream), 16384)
            if room:
                server.data(stream, b"x" * room, end=room == left)
            left -= room
            await asyncio.sleep(0 if room else 0.001)

    async with serving(authority, large) as site:
        assert len(await (await sender.send(post(site))).read(size)) == size


async def test_a_stream_that_is_reset_is_a_broken_one(sender: Sender, authority: Authority) -> None:
    def resets(server: H2Server, stream: int, fields: dict[str, str], body: bytes) -> None:
        server.head(stream)
        server.data(stream, b"some")
        server.h2.reset_stream(stream, error_code=2)
        server.flush()

    async with serving(authority, resets) as site:
        exchange = await sender.send(post(site))
        with pytest.raises(UpstreamError):
            await exchange.read(1000)
        site.script = whole
        assert await (await sender.send(post(site))).read(1000) == b"got {}"


@pytest.mark.parametrize("politely", [True, False], ids=["GOAWAY", "closed"])
async def test_a_connection_that_ends_fails_what_is_on_it_and_nothing_after(
    sender: Sender, authority: Authority, politely: bool
) -> None:
    def ends(server: H2Server, stream: int, fields: dict[str, str], body: bytes) -> None:
        server.head(stream)
        server.data(stream, b"some")
        if politely:
            server.h2.close_connection()
            server.flush()
        server.transport.close()

    async with serving(authority, ends) as site:
        exchange = await sender.send(post(site))
        with pytest.raises(UpstreamError):
            await exchange.read(1000)
        site.script = whole
        assert await (await sender.send(post(site))).read(1000) == b"got {}"
        assert len(site.connections) == 2


async def test_a_connection_that_was_idle_too_long_is_not_used(authority: Authority) -> None:
    """httpx does not see that it was closed, so it must be given up before the server does."""
    tls = tls_context(ca_path=authority.ca_path)
    transports = Transports(tls=lambda: tls, limits=Limits(idle_expiry=0.05), environ={})
    sender = transports.sender("https://localhost", http2=True)
    async with serving(authority, whole) as site:
        await (await sender.send(post(site))).read(1000)
        site.connections[0].transport.close()
        await asyncio.sleep(0.1)
        assert await (await sender.send(post(site))).read(1000) == b"got {}"
    await transports.aclose()


async def test_a_host_is_looked_up_again_in_constant_use(authority: Authority) -> None:
    """A connection that has reached its age takes no new request, and the reply on it goes on."""
    streams: list[tuple[H2Server, int]] = []

    def begins(server: H2Server, stream: int, fields: dict[str, str], body: bytes) -> None:
        server.head(stream)
        streams.append((server, stream))

    tls = tls_context(ca_path=authority.ca_path)
    transports = Transports(tls=lambda: tls, limits=Limits(max_age=0.0), environ={})
    sender = transports.sender("https://localhost", http2=True)
    async with serving(authority, begins) as site:
        exchange = await sender.send(post(site))
        site.script = whole
        assert await (await sender.send(post(site))).read(1000) == b"got {}"
        assert len(site.connections) == 2
        server, stream = streams[0]
        server.data(stream, b"to the end", end=True)
        assert await exchange.read(1000) == b"to the end"
    await transports.aclose()


async def test_a_silent_network_is_noticed_within_a_minute_or_two(sender: Sender, authority: Authority) -> None:
    async with serving(authority, whole) as site:
        await (await sender.send(post(site))).read(1000)
        port = httpx.URL(site.url).port
        connections = psutil.Process().net_connections("tcp")
        [descriptor] = [found.fd for found in connections if found.raddr and found.raddr.port == port]
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            assert probing(sock) == (True, 30, 10, 3)


async def test_who_leaves_his_stream_ends_no_other(sender: Sender, authority: Authority) -> None:
    waiting: list[tuple[H2Server, int]] = []

    def waits(server: H2Server, stream: int, fields: dict[str, str], body: bytes) -> None:
        server.head(stream)
        server.data(stream, b"some ")
        waiting.append((server, stream))

    async with serving(authority, waits) as site:
        leaving, staying = await sender.send(post(site)), await sender.send(post(site))
        assert await anext(aiter(leaving)) == b"some "
        await leaving.aclose()
        server, stream = waiting[1]
        server.data(stream, b"more", end=True)
        assert await staying.read(1000) == b"some more"
        assert len(site.connections) == 1


async def test_a_request_that_is_cancelled_leaves_the_connection_usable(sender: Sender, authority: Authority) -> None:
    asked = asyncio.Event()

    def silent(server: H2Server, stream: int, fields: dict[str, str], body: bytes) -> None:
        asked.set()

    async with serving(authority, silent) as site:
        task = asyncio.create_task(sender.send(post(site)))  # type: ignore[arg-type]
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        site.script = whole
        assert await (await sender.send(post(site))).read(1000) == b"got {}"


async def test_a_server_that_speaks_no_http2_is_spoken_to_in_http1(
    sender: Sender, authority: Authority, server: Server
) -> None:
    server.plays(always(reply()))
    await server.listen(tls=authority.server("localhost"))
    assert await ask_upstream(sender, server) == (200, b"hello")


async def test_nobody_there_is_an_upstream_that_cannot_be_reached(sender: Sender, authority: Authority) -> None:
    async with serving(authority, whole) as site:
        pass
    with pytest.raises(UpstreamUnavailable):
        await sender.send(post(site))


COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
}


async def test_an_entry_of_the_configuration_chooses_it(authority: Authority) -> None:
    def completes(server: H2Server, stream: int, fields: dict[str, str], body: bytes) -> None:
        server.head(stream)
        server.data(stream, json.dumps(COMPLETION).encode(), end=True)

    async with serving(authority, completes) as site:
        app = Plano(
            {
                "model_providers": [
                    {"model": "openai/m", "access_key": "k", "base_url": f"{site.url}/v1", "http2": True},
                ],
                "overrides": {"upstream_tls_ca_path": authority.ca_path},
            }
        )
        body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
        answer = await ask(app, "POST", "/v1/chat/completions", body)
        assert answer.status == 200
        assert json.loads(answer.body)["choices"][0]["message"]["content"] == "Hi"
        await app.aclose()
    ((fields, sent),) = site.requests
    assert (fields[":path"], fields["authorization"]) == ("/v1/chat/completions", "Bearer k")
    assert json.loads(sent)["model"] == "m"
