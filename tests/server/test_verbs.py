"""The two verbs beside `send` do what it does, to the byte, or say that they did not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from plano.edge.sender import send_response
from plano.journal import Journal
from plano.request import Request
from plano.response import Response
from plano.types import RawHeaders, Receive, Scope, Send
from tests.server.wire import piece, read_body, serving, start, until

GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
REQUESTS: dict[str, bytes] = {
    "GET": GET + CLOSE,
    "GET that closes": CLOSE,
    "POST": b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi" + CLOSE,
    "POST in chunks": b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" + CLOSE,
    "HEAD": b"HEAD / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "HTTP/1.0 that is kept": b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n" + CLOSE,
}
TYPE = (b"content-type", b"text/plain")
HEADERS: dict[str, RawHeaders] = {
    "none": [],
    "some": [TYPE, (b"x-request-id", b"1"), (b"x-odd-Case", b"2")],
    "closing": [(b"Connection", b"Close"), TYPE],
    "chunked": [(b"transfer-encoding", b"chunked")],
    "kept": [TYPE, (b"connection", b"keep-alive")],
}
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def exchange_of(send: Send) -> Any:
    return send.__self__  # type: ignore[attr-defined]


def by_messages(status: int, headers: RawHeaders, body: bytes) -> Application:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return application


def by_reply(status: int, headers: RawHeaders, body: bytes) -> Application:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        usual = scope["method"] != "HEAD" and status not in (204, 304) and headers in (HEADERS["none"], HEADERS["some"])
        taken = exchange_of(send).reply(status, headers, body)
        assert taken is usual, "what is usual need not wait"
        if not taken:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return application


@pytest.mark.parametrize("status", [200, 204, 304, 404])
@pytest.mark.parametrize("asked", REQUESTS)
@pytest.mark.parametrize("headers", HEADERS)
@pytest.mark.parametrize("body", [b"", b"ok", b"x" * 5000])
async def test_a_whole_reply_is_the_same_on_the_wire(asked: str, status: int, headers: str, body: bytes) -> None:
    wire = []
    for make in (by_messages, by_reply):
        async with serving(make(status, HEADERS[headers], body)) as server:
            wire.append(await server.talk(REQUESTS[asked]))
    assert wire[0].startswith(b"HTTP/1.1 %d " % status)
    assert wire[1] == wire[0]


class Wrapped:
    """As any layer around `send` makes it: nothing but a function."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def plain(message: Any) -> None:
            await send(message)

        await self.application(scope, receive, plain)


def responding(status: int, headers: RawHeaders, body: bytes) -> Application:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        request = Request(dialect="chat", journal=Journal())
        await send_response(Response(request, status=status, headers=list(headers), body=body), send)

    return application


@pytest.mark.parametrize("status", [200, 204, 404])
@pytest.mark.parametrize(
    "asked",
    list(REQUESTS),
)
@pytest.mark.parametrize("body", [b"", b"ok"])
async def test_a_response_is_the_same_with_something_around_send(asked: str, status: int, body: bytes) -> None:
    wire = []
    application = responding(status, [TYPE], body)
    for made in (application, Wrapped(application)):
        async with serving(made) as server:
            wire.append(await server.talk(REQUESTS[asked]))
    assert wire[0] == wire[1]


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("asked", REQUESTS)
@pytest.mark.parametrize(
    "pieces",
    [
        [b"a", b"bc"],
        [b"", b"x"],
        [b"x" * 1023, b"x" * 1024, b"x" * 1025, b"x" * 70_000],
        [b"%d" % n for n in range(99)],
    ],
)
async def test_a_stream_is_the_same_on_the_wire(asked: str, status: int, pieces: Sequence[bytes]) -> None:
    """A piece that is not passed on is sent; the first always is."""
    passed: list[bool] = []

    def sending(passing: bool) -> Application:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await read_body(receive)
            await send(start(TYPE, status=status))
            await send(piece(b"first"))
            for body in pieces:
                done = passing and exchange_of(send).push(body)
                if passing:
                    passed.append(done)
                if not done:
                    await send(piece(body))
            await send(piece(b"", more=False))

        return application

    wire = []
    for passing in (False, True):
        async with serving(sending(passing)) as server:
            wire.append(await server.talk(REQUESTS[asked]))
    assert wire[1] == wire[0]
    may = [bool(body) for body in pieces]
    if asked in ("HEAD", "HTTP/1.0"):
        assert not any(passed)
    elif asked != "HTTP/1.0 that is kept":
        assert passed[: len(may)] == may


# -- When they say that they did not --

Ask = Callable[[Any, Send], Awaitable[None]]


async def nothing(exchange: Any, send: Send) -> None:
    pass


async def head(exchange: Any, send: Send) -> None:
    await send(start())


async def begun(exchange: Any, send: Send) -> None:
    await send(start())
    await send(piece(b"x"))


async def begun_with_a_length(exchange: Any, send: Send) -> None:
    await send(start((b"content-length", b"3")))
    await send(piece(b"x"))


async def answered(exchange: Any, send: Send) -> None:
    await begun(exchange, send)
    await send(piece(b"", more=False))


async def replied(exchange: Any, send: Send) -> None:
    assert exchange.reply(200, [], b"ok")


MOMENTS: list[tuple[Ask, bool, bool]] = [
    # before, whether there can be a whole reply, and whether a piece
    (nothing, True, False),
    (head, False, False),
    (begun, False, True),
    (begun_with_a_length, False, False),
    (answered, False, False),
    (replied, False, False),
]


@pytest.mark.parametrize(("before", "whole", "some"), MOMENTS)
@pytest.mark.parametrize("verb", ["reply", "push"])
async def test_each_has_its_time_in_a_response(verb: str, before: Ask, whole: bool, some: bool) -> None:
    said: list[bool] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(send)
        await before(exchange, send)
        said.append(exchange.reply(200, [], b"no") if verb == "reply" else exchange.push(b"no"))
        if before in (head, begun):
            await send(piece(b"", more=False))
        elif before is begun_with_a_length:
            await send(piece(b"yz", more=False))
        elif before is nothing and not said[0]:
            exchange.reply(200, [], b"ok")

    async with serving(application) as server:
        wire = await server.talk(CLOSE)
    assert said == [whole if verb == "reply" else some]
    assert wire.count(b"HTTP/1.1") == 1
    assert (b"no" in wire) is said[0]


async def test_a_stream_cannot_be_passed_on_before_its_head_is_out() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        assert not exchange_of(send).push(b"early")
        await send(piece(b"x", more=False))

    async with serving(application) as server:
        assert (await server.talk(CLOSE)).endswith(b"content-length: 1\r\nconnection: close\r\n\r\nx")


@pytest.mark.parametrize("verb", ["reply", "push"])
async def test_a_client_that_is_gone_gets_nothing(verb: str) -> None:
    said: list[bool] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(send)
        if verb == "push":
            await begun(exchange, send)
        while (await receive())["type"] != "http.disconnect":
            pass
        said.append(exchange.reply(200, [], b"no") if verb == "reply" else exchange.push(b"no"))
        with pytest.raises(ConnectionResetError):
            await send(start() if verb == "reply" else piece(b"no"))
        said.append(True)

    async with serving(application) as server, server.client() as client:
        await client.send(GET)
        await until(lambda: server.tasks)
        client.leave()
        await until(lambda: not server.tasks)
    assert said == [False, True]


async def test_a_client_that_does_not_read_is_passed_nothing_more_until_it_does() -> None:
    """Every piece arrives once, in order, sent or passed on."""
    count, clogged = 2000, asyncio.Event()
    refused: list[int] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(send)
        await begun(exchange, send)
        for number in range(count):
            body = b"%07d" % number * 2000
            if not exchange.push(body):
                refused.append(number)
                assert not exchange.reply(200, [], b"no")
                clogged.set()
                await send(piece(body))
        await send(piece(b"", more=False))

    async with serving(application) as server, server.client() as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(CLOSE)
        await asyncio.wait_for(clogged.wait(), 20)
        assert 0 < refused[0] < count - 1
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        wire = await client.rest()
    body = b"".join(line for line in wire.partition(b"\r\n\r\n")[2].split(b"\r\n")[1::2])
    assert body == b"x" + b"".join(b"%07d" % number * 2000 for number in range(count))


async def test_a_whole_reply_is_not_given_to_a_client_that_takes_nothing() -> None:
    """It asked for two things, and has not taken the first."""
    said: list[bool] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(send)
        if scope["path"] == "/":
            assert exchange.reply(200, [], bytes(32 << 20))
            return
        said.append(exchange.reply(200, [], b"ok"))
        if not said[-1]:
            await send(start((b"content-length", b"2")))
            await send(piece(b"ok", more=False))

    async with serving(application) as server, server.client() as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET + b"GET /2 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        await until(lambda: said or not server.tasks)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        wire = await client.rest()
    assert said == [False]
    assert wire.endswith(b"\r\n\r\nok")
    assert wire.count(b"HTTP/1.1 200 ") == 2


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (99, []),
        (200, [(b"content-length", b"3")]),
        (200, [(b"content-length", b"x")]),
        (200, [(b"transfer-encoding", b"gzip")]),
        (200, [(b"x-a", b"b\r\nx-smuggled: 1")]),
        (200, [(b"x a", b"b")]),
    ],
)
async def test_what_makes_no_response_is_refused_alike(status: int, headers: RawHeaders) -> None:
    wire = []
    for make in (by_messages, by_reply):
        async with serving(make(status, headers, b"ok")) as server:
            wire.append(await server.talk(CLOSE))
    assert wire[0].startswith(b"HTTP/1.1 500 ")
    assert wire[1] == wire[0]
