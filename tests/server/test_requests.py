"""What the application sees of a request, however it was cut, and how the connection goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano.types import Receive, Scope, Send
from tests.server.wire import PROTOCOLS, answer, bodies, echo, piece, read_body, serving, start

POST = b"POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nt: 1\r\n\r\n"
)
LAST = b"GET /last HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
H2C = b"POST /u HTTP/1.1\r\nhost: h\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"

BOTH: dict[str, tuple[bytes, list[bytes]]] = {
    "a length": (POST, [b"POST /a hello"]),
    "chunks": (CHUNKED, [b"POST /c abcde"]),
    "no body": (b"GET / HTTP/1.1\r\nhost: h\r\n\r\n", [b"GET / "]),
    "a body of nothing": (b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n", [b"PUT / "]),
    "an escaped path": (b"GET /a%20b%2Fc?q=%20 HTTP/1.1\r\nhost: h\r\n\r\n", [b"GET /a b/c "]),
    "a whole URL": (b"GET http://h/p?q HTTP/1.1\r\nhost: h\r\n\r\n", [b"GET /p "]),
    "a fragment": (b"GET /p#f HTTP/1.1\r\nhost: h\r\n\r\n", [b"GET /p "]),
    "an unusual method": (b"PROPFIND /p HTTP/1.1\r\nhost: h\r\n\r\n", [b"PROPFIND /p "]),
    "empty lines before": (b"\r\n\r\n" + POST, [b"POST /a hello"]),
    "several": (POST + CHUNKED + POST + b"\r\n", [b"POST /a hello", b"POST /c abcde", b"POST /a hello"]),
}

OWN = {
    "websocket": (
        b"GET /w HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n",
        [b"GET /w "],
    ),
    "h2c with a length": (H2C + b"content-length: 3\r\n\r\nabc", [b"POST /u abc"]),
    "h2c with chunks": (H2C + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", [b"POST /u abc"]),
    "h2c, and more": (H2C + b"content-length: 3\r\n\r\nabc" + POST, [b"POST /u abc", b"POST /a hello"]),
    "any server": (b"OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n", [b"OPTIONS * "]),
    "an end in the chunks": (
        b"POST /c HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n6\r\n\r\n\r\n\r\n\r\n0\r\n\r\n" + POST,
        [b"POST /c \r\n\r\n\r\n", b"POST /a hello"],
    ),
}


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
@pytest.mark.parametrize("case", BOTH)
async def test_requests_are_answered_in_order(case: str, protocol: Any) -> None:
    """By uvicorn's own protocol too: what holds for both may be relied on by an application."""
    sent, expected = BOTH[case]
    async with serving(echo, protocol) as server:
        assert bodies(await server.talk(sent + LAST)) == [*expected, b"GET /last "]


@pytest.mark.parametrize("case", OWN)
async def test_what_uvicorn_gets_wrong_is_answered_too(case: str) -> None:
    sent, expected = OWN[case]
    async with serving(echo) as server:
        assert bodies(await server.talk(sent + LAST)) == [*expected, b"GET /last "]


@pytest.mark.parametrize("case", BOTH | OWN)
async def test_requests_may_come_in_any_pieces(case: str) -> None:
    sent, expected = (BOTH | OWN)[case]
    whole = sent + LAST
    async with serving(echo) as server:
        cuts = [server.talk(whole[:cut], whole[cut:]) for cut in range(1, len(whole))]
        single = server.talk(*(whole[index : index + 1] for index in range(len(whole))))
        for replies in await asyncio.gather(*cuts, single):
            assert bodies(replies) == [*expected, b"GET /last "]


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
async def test_the_scope_is_what_asgi_says(protocol: Any) -> None:
    seen: dict[str, Any] = {}

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.update(scope)
        await answer(send)

    async with serving(application, protocol, root_path="/root") as server:
        await server.talk(b"GET /%C3%A9?a=%20b HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nConnection: close\r\n\r\n")
    assert seen["server"][0] == seen["client"][0] == "127.0.0.1"
    assert seen["headers"] == [(b"host", b"h"), (b"x-a", b"1"), (b"x-a", b"2"), (b"connection", b"close")]
    wanted = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "root_path": "/root",
        "path": "/root/é",
        "raw_path": b"/root/%C3%A9",
        "query_string": b"a=%20b",
        "state": {},
    }
    assert {key: seen[key] for key in wanted} == wanted
    assert seen["asgi"]["version"] == "3.0"


async def test_http_1_0_is_closed_after_the_reply() -> None:
    async with serving(echo) as server:
        reply = await server.talk(b"GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        assert reply == b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\nGET /a "


async def test_continue_is_said_when_the_application_reads() -> None:
    async with serving(echo) as server, server.client() as client:
        await client.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\nexpect: 100-Continue\r\n\r\n")
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"hi")
        assert (await client.reply()).endswith(b"POST / hi")


async def test_continue_is_not_said_to_whom_is_turned_away() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"no", 403)

    async with serving(application) as server:
        reply = await server.talk(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")
        assert reply.startswith(b"HTTP/1.1 403 ")
        assert b"connection: close\r\n" in reply


@pytest.mark.parametrize("sent", [POST, CHUNKED])
async def test_a_body_that_is_not_read_is_not_taken_for_a_request(sent: bytes) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, scope["path"].encode())

    async with serving(application) as server:
        assert bodies(await server.talk(sent + LAST))[-1] == b"/last"
        cut = sent.index(b"\r\n\r\n") + 6
        assert len(bodies(await server.talk(sent[:cut]))) == 1  # the rest may never come


async def test_a_client_that_still_sends_sees_the_reply() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await answer(send, b"too large", 413)

    async with serving(application) as server, server.client() as client:
        size = 8 << 20
        await client.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % size)
        await client.send(b"x" * size)
        assert (await client.rest()).endswith(b"\r\n\r\ntoo large")


async def test_a_stream_is_read_while_it_is_answered() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            await send(piece(message["body"], more=more))

    async with serving(application) as server, server.client() as client:
        await client.send(b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
        for part in (b"one", b"three"):
            await client.send(b"%x\r\n%b\r\n" % (len(part), part))
            await client.until(b"%x\r\n%b\r\n" % (len(part), part))
        await client.send(b"0\r\n\r\n")
        assert await client.until(b"0\r\n\r\n")


_TOKEN = st.text("abcdefghijklmnopqrstuvwxyz-_", min_size=1, max_size=12)
_FIELD = st.tuples(_TOKEN.map(lambda name: f"x-{name}"), st.text('abc XYZ019;,="é', max_size=20).map(str.strip))
_REQUEST = st.tuples(
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    st.text("abc/%?=&.~", max_size=20).map(lambda rest: "/" + rest),
    st.lists(_FIELD, max_size=5),
    st.one_of(st.none(), st.binary(max_size=60)),
    st.booleans(),
)


@settings(max_examples=40)
@given(requests=st.lists(_REQUEST, min_size=1, max_size=4), data=st.data())
async def test_random_requests_are_what_h11_says_they_are(requests: list[Any], data: st.DataObject) -> None:
    sent, expected = b"", []
    for method, target, fields, body, in_chunks in requests:
        headers = [("host", "h"), *fields]
        if body is not None:
            headers.append(("transfer-encoding", "chunked") if in_chunks else ("content-length", str(len(body))))
        client = h11.Connection(h11.CLIENT)
        encoded = [(name, value.encode("latin-1")) for name, value in headers]
        sent += client.send(h11.Request(method=method, target=target, headers=encoded)) or b""
        sent += (client.send(h11.Data(body)) or b"") if body else b""
        sent += client.send(h11.EndOfMessage()) or b""
        expected.append((method, target.encode(), encoded, body or b""))
    seen: list[Any] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        query = b"?" + scope["query_string"] if b"?" in scope["raw_path"] or scope["query_string"] else b""
        headers = [(name.decode(), value) for name, value in scope["headers"]]
        seen.append((scope["method"], scope["raw_path"] + query, headers, await read_body(receive)))
        await answer(send)

    size = data.draw(st.integers(1, len(sent)))
    async with serving(application) as server:
        await server.talk(*(sent[at : at + size] for at in range(0, len(sent), size)), LAST)
    assert len(seen) == len(expected) + 1
    for (method, target, headers, body), wanted in zip(seen, expected, strict=False):
        assert (method, headers, body) == (wanted[0], wanted[2], wanted[3])
        assert target == wanted[1] or target == wanted[1].rstrip(b"?")
