"""What waits for the end of a turn of the loop, because other requests run, goes out in order, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest

from plano.edge.own_server import fast_path
from plano.server.exchange import Application
from plano.types import Receive, Scope, Send
from tests.server.wire import Server, bodies, piece, read_body, serving, start, until

GET = b"GET /%b HTTP/1.1\r\nhost: h\r\n\r\n"
LONG = bytes(200_000)


@asynccontextmanager
async def beside(company: int, application: Application) -> AsyncIterator[Server]:
    """A server that has so many requests under way already, which wait."""

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        await (asyncio.Event().wait() if scope["path"] == "/waits" else application(scope, receive, send))

    async with serving(waiting) as server, AsyncExitStack() as stack:
        for _ in range(company):
            other = await stack.enter_async_context(server.client())
            await other.send(GET % b"waits")
        await until(lambda: server.tasks == company)
        yield server
        for task in list(server.uvicorn.server_state.tasks):
            task.cancel()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    body = await read_body(receive)
    exchange = fast_path(send, receive)
    assert exchange is not None
    match scope["path"]:
        case "/long":
            assert exchange.reply(200, [], LONG)
        case "/streams":
            await send(start())
            for part in b"a", b"b", LONG, b"c":
                assert exchange.push(part) or await send(piece(part)) is None
            await send(piece(b"", more=False))
        case "/breaks":
            await send(start())
            await send(piece(b"some"))
            raise ValueError
        case path:
            assert exchange.reply(200, [], path.encode() + body)


ASKED: dict[str, tuple[bytes, Callable[[bytes], Any]]] = {
    "one after another": (
        GET % b"a" + GET % b"long" + GET % b"b" + (GET % b"c")[:-2] + b"connection: close\r\n\r\n",
        lambda said: bodies(said) == [b"/a", LONG, b"/b", b"/c"],
    ),
    "what is no request, after one": (
        GET % b"a" + b"nonsense\r\n\r\n",
        lambda said: said.startswith(b"HTTP/1.1 200 ") and b"\r\n\r\n/aHTTP/1.1 400 " in said,
    ),
    "a stream, and what is no request": (
        GET % b"streams" + b"nonsense\r\n\r\n",
        lambda said: b"\r\n1\r\na\r\n1\r\nb\r\n30d40\r\n%b\r\n1\r\nc\r\n0\r\n\r\nHTTP/1.1 400 " % LONG in said,
    ),
    "a stream that breaks": (
        GET % b"a" + GET % b"breaks",
        lambda said: said.endswith(b"transfer-encoding: chunked\r\n\r\n4\r\nsome\r\n"),
    ),
    "a body that comes late": (
        b"POST /a HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 1\r\nconnection: close\r\n\r\n",
        lambda said: said.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ") and said.endswith(b"/a!"),
    ),
}


@pytest.mark.parametrize("what", ASKED)
@pytest.mark.parametrize("company", [0, 1, 3])
async def test_what_is_said_keeps_its_order(what: str, company: int) -> None:
    """Beside other requests, and alone: then nothing waits."""
    asked, expected = ASKED[what]
    async with beside(company, application) as server, server.client() as client:
        await client.send(asked)
        if b"expect" in asked:
            await asyncio.sleep(0.01)
            await client.send(b"!")
        said = await client.rest()
    assert expected(said), said[:400]


async def test_what_came_before_a_response_broke_without_an_end_goes_out() -> None:
    """In HTTP/1.0 only a reset says that it is not whole."""
    async with beside(1, application) as server, server.client() as client:
        await client.send(b"GET /breaks HTTP/1.0\r\n\r\n")
        assert (await client.until(b"some")).startswith(b"HTTP/1.1 200 ")
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_what_waits_is_bounded() -> None:
    """However much is sent in one turn, sooner or later there is no room."""
    sent: list[int] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = fast_path(send)
        assert exchange is not None
        await send(start())
        await send(piece(b"first"))
        while len(sent) < 100_000 and exchange.push(LONG[:1000]):
            sent.append(1000)
        await send(piece(b"", more=False))

    async with beside(1, application) as server, server.client() as client:
        await client.send(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        assert (await client.rest()).count(b"\r\n3e8\r\n") == len(sent)
    assert 100 < len(sent) < 100_000


async def test_who_has_left_is_not_written_to() -> None:
    """A client that is lost before the turn ends; another, whose turn it is too, is written to all the same."""
    lost = asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Any = fast_path(send)
        if scope["path"] == "/stays":
            await lost.wait()
        else:
            lost.set()
            exchange._connection.transport.abort()
        assert exchange.reply(200, [], b"late")

    async with beside(1, application) as server, server.client() as leaver, server.client() as client:
        await client.send(GET % b"stays")
        await until(lambda: server.tasks == 2)
        await leaver.send(GET % b"leaves")
        assert (await client.reply()).endswith(b"late")
        with suppress(ConnectionError):
            assert not await leaver.rest()
