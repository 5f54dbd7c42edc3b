"""h11 as the judge: on random messages, valid and mutilated, both must have read the same."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any, TypeAlias

import h11
import pytest
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plano.errors import UpstreamError
from plano.transport import HTTP1Transport, Outgoing
from tests.transport.wire import SHORT, Peer, Server

Read: TypeAlias = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, header fields, body."""

RUNNERS: dict[str, Callable[[Coroutine[Any, Any, Any]], Any]] = {"asyncio": asyncio.run, "uvloop": uvloop.run}

LAWFUL = settings(max_examples=150)

names = st.from_regex(r"x-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True).map(str.encode)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=30).map(
    lambda text: text.strip().encode("latin-1").strip()
)
fields = st.lists(st.tuples(names, values), max_size=8)
pieces = st.lists(st.binary(min_size=1, max_size=300), max_size=6)
interims = st.lists(st.tuples(st.sampled_from([100, 102, 103]), fields), max_size=2)
statuses = st.sampled_from([200, 201, 204, 206, 301, 304, 400, 404, 429, 500, 503, 529])
framings = st.sampled_from(["length", "chunked", "close"])


def message(
    interim: list[tuple[int, list[tuple[bytes, bytes]]]],
    status: int,
    headers: list[tuple[bytes, bytes]],
    body: list[bytes],
    framing: str,
    trailers: list[tuple[bytes, bytes]],
) -> bytes:
    """A reply as h11 writes it."""
    server = h11.Connection(h11.SERVER)
    # To a client of the old kind it writes a body that ends with the connection.
    version = b"1.0" if framing == "close" else b"1.1"
    server.receive_data(b"POST / HTTP/%b\r\nhost: a\r\ncontent-length: 0\r\n\r\n" % version)
    while type(server.next_event()) is not h11.EndOfMessage:
        pass
    if status in (204, 304):
        body, framing = [], "none"
    own = {
        "length": [(b"content-length", b"%d" % sum(map(len, body)))],
        "chunked": [(b"transfer-encoding", b"chunked")],
        "close": [],
        "none": [],
    }[framing]
    events: list[h11.Event] = [h11.InformationalResponse(status_code=code, headers=extra) for code, extra in interim]
    events.append(h11.Response(status_code=status, headers=[*headers, *own], reason=b"Because"))
    events += [h11.Data(data=piece) for piece in body]
    events.append(h11.EndOfMessage(headers=trailers if framing == "chunked" else []))
    return b"".join(server.send(event) or b"" for event in events)


def judged(data: bytes) -> Read | None:
    """What h11 reads in `data` when the connection then ends, or None when it does not accept it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="POST", target="/", headers=[("host", "a"), ("content-length", "0")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    client.receive_data(b"")
    status, headers, body = 0, [], b""
    try:
        while True:
            event = client.next_event()
            if isinstance(event, h11.Response):
                status, headers = event.status_code, list(event.headers)
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, headers, body
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None


def tolerated(data: bytes) -> bytes:
    """What our parser passes over and h11 does not: line ends in front of the status line, and whatever the reason
    phrase may be (RFC 9112 section 4: a client should ignore it)."""
    return re.sub(rb"\A(HTTP/1\.[01] \d{3}) [^\r\n]*", rb"\1 ", data.lstrip(b"\r\n"))


async def read(data: bytes, cuts: list[int]) -> Read | None:
    """What plano reads when `data` comes cut in pieces and the connection then ends; None when it is refused."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]

    async def script(peer: Peer) -> None:
        await peer.request()
        for start, end in pairwise(edges):
            await peer.send(data[start:end])
            await asyncio.sleep(0)
        peer.close()

    transport = HTTP1Transport()
    try:
        async with Server() as server:
            server.plays(script)
            exchange = await transport.send(Outgoing(url=server.url, headers=[], timeouts=SHORT))
            return exchange.status, exchange.headers, await exchange.read(1 << 20)
    except UpstreamError:
        return None
    finally:
        await transport.aclose()


@pytest.mark.parametrize("loop", RUNNERS)
def test_every_valid_reply_is_read_as_the_judge_reads_it(loop: str) -> None:
    run = RUNNERS[loop]

    @LAWFUL
    @given(interims, statuses, fields, pieces, framings, fields, st.lists(st.integers(0, 5000), max_size=5))
    def check(
        interim: list[tuple[int, list[tuple[bytes, bytes]]]],
        status: int,
        headers: list[tuple[bytes, bytes]],
        body: list[bytes],
        framing: str,
        trailers: list[tuple[bytes, bytes]],
        cuts: list[int],
    ) -> None:
        data = message(interim, status, headers, body, framing, trailers)
        expected = judged(data)
        assert expected is not None
        assert expected[2] == (b"" if status in (204, 304) else b"".join(body))
        assert run(read(data, cuts)) == expected

    check()


@pytest.mark.parametrize("loop", RUNNERS)
def test_a_mutilated_reply_is_refused_or_read_as_the_judge_reads_it(loop: str) -> None:
    run = RUNNERS[loop]

    @LAWFUL
    @given(
        statuses,
        fields,
        pieces,
        framings,
        st.integers(0, 5000),
        st.sampled_from(["drop", "double", "replace", "cut", "insert"]),
        st.sampled_from([b"\r", b"\n", b"\0", b":", b" ", b",", b"0", b"f", b"-", b"\r\n", b"\r\n\r\n", b"\xff"]),
    )
    @example(200, [], [b"hello"], "length", 15, "replace", b"\n")
    def check(
        status: int,
        headers: list[tuple[bytes, bytes]],
        body: list[bytes],
        framing: str,
        where: int,
        how: str,
        what: bytes,
    ) -> None:
        data = message([], status, headers, body, framing, [])
        at = where % len(data)
        mutilated = {
            "drop": data[:at] + data[at + 1 :],
            "double": data[: at + 1] + data[at:],
            "replace": data[:at] + what + data[at + 1 :],
            "cut": data[:at],
            "insert": data[:at] + what + data[at:],
        }[how]
        got = run(read(mutilated, []))
        assert got is None or got == judged(tolerated(mutilated))

    check()


@pytest.mark.parametrize("loop", RUNNERS)
def test_every_request_is_read_by_the_judge_as_it_was_asked_for(loop: str) -> None:
    run = RUNNERS[loop]
    requests = st.lists(
        st.tuples(
            st.sampled_from([b"POST", b"PUT", b"GET", b"DELETE"]),
            st.from_regex(r"(/[a-z0-9_~-][a-z0-9._~-]{0,6}){0,3}/(\?[a-z0-9=&]{0,10})?", fullmatch=True),
            st.lists(st.tuples(names.map(bytes.lower), values), max_size=8),
            st.binary(max_size=2000),
        ),
        min_size=1,
        max_size=4,
    )

    async def sent(asked: list[tuple[bytes, str, list[tuple[bytes, bytes]], bytes]]) -> list[Any]:
        judge = h11.Connection(h11.SERVER)
        seen: list[Any] = []

        async def script(peer: Peer) -> None:
            body = b""
            while True:
                event = judge.next_event()
                if event is h11.NEED_DATA:
                    judge.receive_data(await peer.some())
                elif isinstance(event, h11.Request):
                    seen.append((event.method, event.target, list(event.headers)))
                    body = b""
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    seen.append(body)
                    answer = judge.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                    await peer.send((answer or b"") + (judge.send(h11.EndOfMessage()) or b""))
                    judge.start_next_cycle()
                else:
                    return

        transport = HTTP1Transport()
        async with Server() as server:
            server.plays(script)
            for method, path, headers, body in asked:
                outgoing = Outgoing(method=method, url=server.url + path, headers=headers, body=body, timeouts=SHORT)
                await (await transport.send(outgoing)).read(0)
            host = b"127.0.0.1:%d" % server.port
            await transport.aclose()
        assert server.opened == 1
        return [host, *seen]

    @LAWFUL
    @given(requests)
    def check(asked: list[tuple[bytes, str, list[tuple[bytes, bytes]], bytes]]) -> None:
        host, *seen = run(sent(asked))
        for (method, path, headers, body), head, received in zip(asked, seen[0::2], seen[1::2], strict=True):
            length = [(b"content-length", b"%d" % len(body))] if body or method in (b"POST", b"PUT") else []
            assert head == (method, path.encode(), [(b"host", host), *headers, *length])
            assert received == body

    check()
