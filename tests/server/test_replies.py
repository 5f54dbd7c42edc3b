"""What goes out for what an application sends, right or wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from plano.types import Message, Receive, Scope, Send
from tests.server.wire import PROTOCOLS, Server, answer, echo, piece, read_body, serving, start, until

GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
ENDING = b"connection: close\r\n\r\n"
LENGTH = (b"content-length", b"2")


def sending(*messages: Message) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        for message in messages:
            await send(message)

    return application


BOTH: dict[str, tuple[bytes, list[Message], bytes]] = {
    "a length": (CLOSE, [start(LENGTH), piece(b"ok", more=False)], b"content-length: 2\r\n" + ENDING + b"ok"),
    "a length in pieces": (
        CLOSE,
        [start(LENGTH), piece(b"o"), piece(b""), piece(b"k"), piece(b"", more=False)],
        b"content-length: 2\r\n" + ENDING + b"ok",
    ),
    "HEAD with a length": (HEAD, [start(LENGTH), piece(b"", more=False)], b"content-length: 2\r\n" + ENDING),
    "HEAD with a body": (HEAD, [start(LENGTH), piece(b"ok", more=False)], b"content-length: 2\r\n" + ENDING),
    "HEAD of a stream": (HEAD, [start(), piece(b"ok"), piece(b"", more=False)], ENDING),
    "nothing to say": (CLOSE, [start(status=204), piece(b"", more=False)], ENDING),
    "nothing new": (CLOSE, [start(status=304), piece(b"", more=False)], ENDING),
}

OWN: dict[str, tuple[bytes, list[Message], bytes]] = {
    "a stream": (
        CLOSE,
        [start(), piece(b"ok"), piece(b"x" * 2000), piece(b""), piece(b"", more=False)],
        b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\nok\r\n7d0\r\n" + b"x" * 2000 + b"\r\n0\r\n\r\n",
    ),
    "a stream that the application calls one": (
        CLOSE,
        [start((b"transfer-encoding", b"chunked")), piece(b"ok"), piece(b"!", more=False)],
        b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n",
    ),
    "a whole body without a length": (
        CLOSE,
        [start(), piece(b"ok", more=False)],
        b"content-length: 2\r\n" + ENDING + b"ok",
    ),
    "a stream to an old client": (OLD, [start(), piece(b"ok"), piece(b"!", more=False)], ENDING + b"ok!"),
    "the application closes": (
        GET,
        [start((b"Connection", b"Close"), LENGTH), piece(b"ok", more=False)],
        b"content-length: 2\r\n" + ENDING + b"ok",
    ),
    "a length where none may be": (CLOSE, [start(LENGTH, status=204), piece(b"", more=False)], ENDING),
    "a name in capitals": (
        CLOSE,
        [start((b"X-A", b"b"), LENGTH), piece(b"ok", more=False)],
        b"x-a: b\r\ncontent-length: 2\r\n" + ENDING + b"ok",
    ),
}


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
@pytest.mark.parametrize("case", BOTH)
async def test_replies_go_out_as_http(case: str, protocol: Any) -> None:
    """As with uvicorn's own protocol."""
    sent, messages, expected = BOTH[case]
    async with serving(sending(*messages), protocol) as server:
        _, _, reply = (await server.talk(sent)).partition(b"\r\n")
        assert reply == expected


@pytest.mark.parametrize("case", OWN)
async def test_replies_are_framed_better_than_by_uvicorn(case: str) -> None:
    sent, messages, expected = OWN[case]
    async with serving(sending(*messages)) as server:
        _, _, reply = (await server.talk(sent)).partition(b"\r\n")
        assert reply == expected


WRONG: dict[str, list[Message]] = {
    "a line end in a value": [start((b"x", b"a\r\nset-cookie: b"), LENGTH), piece(b"ok", more=False)],
    "a lone LF in a value": [start((b"x", b"a\nb"), LENGTH), piece(b"ok", more=False)],
    "a lone CR in a value": [start((b"x", b"a\rb"), LENGTH), piece(b"ok", more=False)],
    "a NUL in a value": [start((b"x", b"a\0b"), LENGTH), piece(b"ok", more=False)],
    "a line end in a name": [start((b"x\r\ny", b"a"), LENGTH), piece(b"ok", more=False)],
    "a space in a name": [start((b"x y", b"a"), LENGTH), piece(b"ok", more=False)],
    "an empty name": [start((b"", b"a"), LENGTH), piece(b"ok", more=False)],
    "a line end in the length": [start((b"content-length", b"2\r\nx: y")), piece(b"ok", more=False)],
    "two lengths": [start(LENGTH, (b"content-length", b"3")), piece(b"ok", more=False)],
    "another coding": [start((b"transfer-encoding", b"gzip")), piece(b"ok", more=False)],
    "no status": [start(status=99), piece(b"", more=False)],
    "an interim status": [start(status=101), piece(b"", more=False)],
    "a body before the head": [piece(b"ok", more=False)],
    "two heads": [start(), start()],
    "another message": [start(), {"type": "http.response.trailers"}],
    "too long at once": [start(LENGTH), piece(b"long", more=False)],
    "too short at once": [start(LENGTH), piece(b"", more=False)],
    "nothing at all": [],
    "a head alone": [start(LENGTH)],
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_wrong_response_is_a_500(case: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(sending(*WRONG[case])) as server:
        reply = await server.talk(GET)
    assert reply.startswith(b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain; charset=utf-8\r\n")
    assert reply.endswith(b"connection: close\r\n\r\nInternal Server Error")
    assert [record.levelno for record in caplog.records if record.name == "plano.server"] == [logging.ERROR]


BROKEN: dict[str, list[Message]] = {
    "no end": [start(), piece(b"ok")],
    "an end too soon": [start(LENGTH), piece(b"o"), piece(b"", more=False)],
    "too much": [start(LENGTH), piece(b"ok"), piece(b"!", more=False)],
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_response_that_breaks_does_not_look_whole(case: str) -> None:
    async with serving(sending(*BROKEN[case])) as server:
        reply = await server.talk(GET)
        assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
        assert not reply.endswith(b"0\r\n\r\n")
        assert b"500" not in reply


async def test_a_response_without_a_length_that_breaks_ends_in_a_reset() -> None:
    async with serving(sending(start(), piece(b"ok"))) as server:
        with pytest.raises(ConnectionResetError):
            await server.talk(OLD)


async def test_an_application_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("a bug")

    async with serving(application) as server:
        assert (await server.talk(GET)).startswith(b"HTTP/1.1 500 ")
        assert (await server.talk(HEAD)).endswith(b"connection: close\r\n\r\n")
    assert "a bug" in caplog.text


async def test_what_an_application_does_after_its_response_does_not_disturb_the_next() -> None:
    late: list[Any] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, scope["path"].encode())
        late.append(await receive())
        with pytest.raises(RuntimeError):
            await send(piece(b"more"))
        raise KeyError("too late to matter")

    async with serving(application) as server:
        first, second = (b"GET /%b HTTP/1.1\r\nhost: h\r\n\r\n" % name for name in (b"a", b"b"))
        async with server.client() as client:
            await client.send(first + second)
            assert (await client.reply()).endswith(b"/a")
            assert (await client.reply()).endswith(b"/b")
            await until(lambda: len(late) == 2 and not server.tasks)
            await client.send(first)
            assert (await client.reply()).endswith(b"/a")
    assert late == [{"type": "http.disconnect"}] * 3


async def leaving(server: Server, sent: bytes) -> None:
    async with server.client() as client:
        await client.send(sent)
        await until(lambda: server.tasks)
    await until(lambda: not server.tasks and not server.connections)


@pytest.mark.parametrize("sent", [GET, GET[:-2] + b"content-length: 9\r\n\r\nabc"])
async def test_who_waits_for_a_client_that_leaves_is_told(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        async def wait() -> None:
            while (message := await receive())["type"] != "http.disconnect":
                pass
            seen.append(message)

        await asyncio.gather(wait(), wait())
        with pytest.raises(OSError):
            await send(start())
        await send(start())

    async with serving(application) as server:
        await leaving(server, sent)
    assert seen == [{"type": "http.disconnect"}] * 2
    assert not caplog.records  # a client may leave: nothing to tell anybody about


async def test_a_bug_that_a_client_leaves_behind_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await receive()
        raise KeyError("a bug")

    async with serving(application) as server:
        await leaving(server, GET)
    assert "a bug" in caplog.text


async def test_too_many_at_once_are_turned_away() -> None:
    async with serving(echo, limit_concurrency=2) as server, server.client() as first:
        await first.send(GET)
        assert (await first.reply()).startswith(b"HTTP/1.1 200 ")
        assert (await server.talk(CLOSE)).startswith(b"HTTP/1.1 503 ")
