"""plano's transport as httpx's users see it: under `httpx.AsyncClient`, beside httpx's own."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from plano.transport import AsyncBaseTransport, AsyncHTTPTransport, HTTP1Transport
from tests.transport.wire import Peer, Script, Server, always, answering, chunked, reply

MAKERS: dict[str, Callable[[], AsyncBaseTransport]] = {"own": HTTP1Transport, "httpx": AsyncHTTPTransport}


@pytest.fixture(params=MAKERS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=MAKERS[request.param](), timeout=2) as made:
        yield made


def recording(seen: list[bytes]) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.send(reply())

    return script


async def several() -> AsyncIterator[bytes]:
    for piece in (b"one", b"", b"two"):
        yield piece


async def test_an_ordinary_client_works(client: httpx.AsyncClient, server: Server) -> None:
    server.plays(always(reply(b'{"a": 1}', b"content-type: application/json")))
    for _ in range(3):
        response = await client.post(server.url, json={"b": 2})
        assert response.status_code == 200
        assert response.json() == {"a": 1}
        assert response.http_version == "HTTP/1.1"
    assert server.opened == 1


async def test_a_stream_is_read_piece_by_piece(client: httpx.AsyncClient, server: Server) -> None:
    server.plays(always(chunked(b"one", b"two", b"three")))
    async with client.stream("GET", server.url) as response:
        assert b"".join([piece async for piece in response.aiter_raw()]) == b"onetwothree"


async def test_a_compressed_reply_is_httpxs_to_decode(client: httpx.AsyncClient, server: Server) -> None:
    server.plays(always(reply(gzip.compress(b"plain"), b"content-encoding: gzip")))
    response = await client.get(server.url)
    assert response.content == b"plain"
    assert response.headers["content-encoding"] == "gzip"


async def test_a_body_of_unknown_length_is_sent_in_chunks(client: httpx.AsyncClient, server: Server) -> None:
    seen: list[bytes] = []
    server.plays(recording(seen))
    await client.post(server.url, content=several())
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower()
    assert body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


async def test_a_body_of_announced_length_is_sent_as_it_is(client: httpx.AsyncClient, server: Server) -> None:
    seen: list[bytes] = []
    server.plays(recording(seen))
    await client.post(server.url, content=several(), headers={"content-length": "6"})
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert b"content-length: 6" in head.lower()
    assert b"transfer-encoding" not in head.lower()
    assert body == b"onetwo"


@pytest.mark.parametrize("length", ["5", "7", "-1", "x"])
async def test_a_body_that_is_not_as_long_as_announced_is_refused(server: Server, length: str) -> None:
    server.plays(recording([]))
    async with httpx.AsyncClient(transport=HTTP1Transport(), timeout=2) as client:
        with pytest.raises(httpx.LocalProtocolError):
            await client.post(server.url, content=several(), headers={"content-length": length})
    await server.all_gone()


async def test_connection_close_is_passed_on_and_kept(client: httpx.AsyncClient, server: Server) -> None:
    seen: list[bytes] = []
    server.plays(recording(seen))
    await client.get(server.url, headers={"connection": "close"})
    await client.get(server.url)
    assert b"connection: close" in seen[0].lower()
    assert b"connection: close" not in seen[1].lower()
    assert server.opened == 2


async def test_a_failing_body_ends_the_connection(client: httpx.AsyncClient, server: Server) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise ZeroDivisionError

    server.plays(recording([]))
    with pytest.raises(ZeroDivisionError):
        await client.post(server.url, content=broken())
    await server.all_gone()


async def test_a_request_that_was_answered_half_sent_ends_its_connection(server: Server) -> None:
    """Nothing waits to be written at that moment, but the server still expects the rest."""
    answered = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        await answered.wait()
        yield b"two"

    async def early(peer: Peer) -> None:
        await peer.head()
        await peer.send(reply(b"early"))
        await asyncio.sleep(0.02)
        answered.set()

    server.plays(early, always(reply(b"next")))
    async with httpx.AsyncClient(transport=HTTP1Transport(), timeout=2) as client:
        response = await client.post(server.url, content=body(), headers={"content-length": "6"})
        assert response.content == b"early"
        assert (await client.get(server.url)).content == b"next"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"nonsense\r\n\r\n", httpx.RemoteProtocolError),
        (b"", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello", httpx.RemoteProtocolError),
    ],
)
async def test_httpxs_own_errors_are_raised(
    client: httpx.AsyncClient, server: Server, answer: bytes, expected: type[Exception]
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        peer.close()

    server.plays(script)
    with pytest.raises(expected):
        await client.get(server.url)


async def test_a_reset_while_sending_is_a_write_error(server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        peer.pause()
        await asyncio.sleep(0.05)
        peer.reset()

    server.plays(script)
    async with httpx.AsyncClient(transport=HTTP1Transport(), timeout=2) as client:
        with pytest.raises(httpx.WriteError):
            await client.post(server.url, content=bytes(64 << 20))


async def test_httpxs_timeouts_are_kept(client: httpx.AsyncClient, server: Server) -> None:
    async def silent(peer: Peer) -> None:
        await peer.request()

    server.plays(silent)
    with pytest.raises(httpx.ReadTimeout):
        await client.get(server.url, timeout=httpx.Timeout(2, read=0.05))
    await server.all_gone()


async def test_the_first_byte_may_have_a_deadline_of_its_own(server: Server) -> None:
    async def thoughtful(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.2)
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")

    server.plays(thoughtful)
    transport = HTTP1Transport()
    request = httpx.Request("GET", server.url, extensions={"timeout": {"read": 0.05, "first_byte": 2.0}})
    response = await transport.handle_async_request(request)
    with pytest.raises(httpx.ReadTimeout):
        await response.aread()
    await transport.aclose()


async def test_no_timeouts_are_no_timeouts(server: Server) -> None:
    server.plays(answering(reply()))
    transport = HTTP1Transport()
    response = await transport.handle_async_request(httpx.Request("GET", server.url))
    assert await response.aread() == b"hello"
    await transport.aclose()


@pytest.mark.parametrize("method", ["CONNECT", "NO SUCH", "GET\r\nx:"])
async def test_a_method_that_cannot_be_sent_is_refused(server: Server, method: str) -> None:
    transport = HTTP1Transport()
    with pytest.raises(httpx.LocalProtocolError):
        await transport.handle_async_request(httpx.Request(method, server.url))
    await transport.aclose()
    assert server.opened == 0


async def test_a_synchronous_body_is_refused(server: Server) -> None:
    transport = HTTP1Transport()
    with pytest.raises(httpx.LocalProtocolError):
        await transport.handle_async_request(httpx.Request("POST", server.url, content=iter([b"x"])))
    await transport.aclose()
