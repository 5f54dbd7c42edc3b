"""Neither side can make the server hold more than a bounded amount, or wait for longer than it should."""

from __future__ import annotations

import asyncio
import gc
import ssl
from typing import Any

import pytest
import trustme

from plano.server import Connection, Limits
from plano.server.exchange import Exchange
from plano.server.reader import Reader
from plano.types import Receive, Scope, Send
from tests.server.wire import answer, bodies, echo, piece, read_body, serving, settled, start, until

GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"
MIB = 1 << 20


async def test_a_body_that_nobody_takes_stops_the_client() -> None:
    go = asyncio.Event()
    sizes: list[int] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        more = True
        while more:
            message = await receive()
            sizes.append(len(message["body"]))
            more = message["more_body"]
        await answer(send, b"%d" % sum(sizes))

    async with serving(application) as server, server.client() as client:
        sent = 0

        async def upload() -> None:
            nonlocal sent
            await client.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % (64 * MIB))
            for _ in range(64):
                await client.send(bytes(MIB))
                sent += MIB

        uploading = asyncio.create_task(upload())
        assert await settled(lambda: sent) < 20 * MIB  # what the kernel holds on both sides
        go.set()
        await uploading
        assert (await client.reply()).endswith(b"%d" % (64 * MIB))
        assert max(sizes) <= 320 * 1024


async def test_requests_that_come_early_wait_outside() -> None:
    go = asyncio.Event()
    running = 0

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal running
        running += 1
        assert running == 1, "one at a time"
        await go.wait()
        await answer(send)
        running -= 1

    async with serving(application) as server, server.client() as client:
        sent = 0

        async def ask() -> None:
            nonlocal sent
            for _ in range(2000):
                await client.send(GET * 500)
                sent += 500

        asking = asyncio.create_task(ask())
        assert await settled(lambda: sent) < 1_000_000
        assert server.tasks == 1
        go.set()
        for _ in range(1000):
            assert (await client.reply()).endswith(b"ok")
        asking.cancel()


async def test_a_client_that_does_not_read_stops_the_application() -> None:
    sent = 0

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(start())
        for _ in range(1024):
            await send(piece(bytes(65536)))
            sent += 65536
        await send(piece(b"", more=False))

    async with serving(application) as server, server.client() as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET)
        assert await settled(lambda: sent) < 20 * MIB
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        while sent < 64 * MIB:
            await client.reader.read(MIB)


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start())
    while True:
        await send(piece(bytes(65536)))


async def test_a_client_that_leaves_while_it_is_written_to_wakes_the_application() -> None:
    async with serving(endless) as server:
        async with server.client() as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await client.send(GET)
            await asyncio.sleep(0.2)
        await until(lambda: not server.tasks and not server.connections)


async def test_a_client_that_takes_nothing_is_given_up() -> None:
    async with serving(endless, limits=Limits(write_seconds=0.3)) as server, server.client() as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET)
        await until(lambda: server.tasks)
        await until(lambda: not server.tasks and not server.connections)


async def test_an_idle_connection_is_closed_in_time() -> None:
    async with serving(echo, timeout_keep_alive=0) as server, server.client() as client:
        await client.send(GET)
        assert bodies(await client.rest()) == [b"GET / "]


async def test_a_fresh_connection_has_the_time_of_a_head() -> None:
    async with serving(echo, timeout_keep_alive=0, limits=Limits(head_seconds=0.05)) as server:
        assert await server.talk(b"") == b""


async def test_who_never_stops_sending_is_cut_off() -> None:
    async with serving(echo, limits=Limits(linger_seconds=0.2)) as server, server.client() as client:

        async def talk_on() -> None:
            while True:
                await client.send(b"nonsense")
                await asyncio.sleep(0.01)

        with pytest.raises(OSError):
            await talk_on()


async def test_a_shutdown_waits_for_what_is_being_answered() -> None:
    go, begun = asyncio.Event(), asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            begun.set()
            await go.wait()
        await answer(send)

    async with serving(application) as server, server.client() as idle, server.client() as busy:
        await idle.send(GET)
        await idle.reply()
        await busy.send(b"GET /slow HTTP/1.1\r\nhost: h\r\n\r\n" + GET)
        await begun.wait()
        for connection in list(server.uvicorn.server_state.connections):
            connection.shutdown()
        assert await idle.rest() == b""
        assert server.tasks == 1
        go.set()
        reply = await busy.rest()
        assert b"connection: close\r\n" in reply
        assert bodies(reply) == [b"ok"]
        assert server.uvicorn.server_state.total_requests == 2


async def test_uvicorn_shuts_down_with_it() -> None:
    async with serving(echo) as server, server.client() as client:
        await client.send(GET)
        await client.reply()
        await server.uvicorn.shutdown()
        assert await client.rest() == b""


async def test_a_task_that_is_cancelled_ends_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async with serving(application) as server, server.client() as client:
        await client.send(GET)
        await until(lambda: server.tasks)
        for task in server.uvicorn.server_state.tasks:
            task.cancel()
        assert (await client.rest()).startswith(b"HTTP/1.1 500 ")
        assert not server.tasks


async def test_a_connection_leaves_nothing_behind() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "http.request":
            if not message["more_body"]:
                await answer(send)

    async with serving(application) as server:
        for sent in (GET, b"nonsense", GET + b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nabc"):
            async with server.client() as client:
                await client.send(sent)
                await client.until(b"\r\n\r\n")
        await until(lambda: not server.tasks and not server.connections)
        await asyncio.sleep(0)
        gc.collect()
        assert not [found for found in gc.get_objects() if type(found) in (Connection, Reader, Exchange)]


async def test_tls_is_served_too(tmp_path: Any) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    files = [str(tmp_path / name) for name in ("key", "chain")]
    certificate.private_key_pem.write_to_path(files[0])
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(files[1], append=True)
    context = ssl.create_default_context()
    authority.configure_trust(context)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"%b %d" % (scope["scheme"].encode(), len(await read_body(receive))))

    async with serving(application, ssl_keyfile=files[0], ssl_certfile=files[1]) as server:
        post = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 300000\r\n\r\n" + bytes(300_000)
        last = b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
        assert bodies(await server.talk(post, last, tls=context)) == [b"https 300000", b"https 0"]
