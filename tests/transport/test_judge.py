"""h11 as the judge: of messages made by chance, valid and mutilated, both must have read the same.

What is made by chance is the same in every run. It comes over real connections, on both event loops. Mutilations are
also gone through one by one, at every byte, without a network: there are thousands of them.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Coroutine, Iterator
from itertools import pairwise
from math import inf
from random import Random
from typing import Any, TypeAlias, TypeVar

import h11
import pytest
import uvloop

from plano.errors import UpstreamError
from plano.transport import HTTP1Transport, Outgoing
from plano.transport.connection import Connection
from plano.types import RawHeaders
from tests.transport.wire import SHORT, Peer, Server

T = TypeVar("T")

Read: TypeAlias = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, header fields, body."""

RUNNERS: dict[str, Callable[[Coroutine[Any, Any, Any]], Any]] = {"asyncio": asyncio.run, "uvloop": uvloop.run}

CASES = 200
"""Messages that are made by chance, for each test and event loop."""

TOKEN = b"ABCXYZabcxyz0189!#$%&'*+.^_`|~-"
TEXT = bytes(code for code in range(0x20, 0x100) if code != 0x7F)
BREAKING = [b"\r", b"\n", b"\0", b":", b" ", b",", b"0", b"f", b"-", b"\r\n", b"\r\n\r\n", b"\xff"]
STATUSES = [200, 201, 204, 206, 301, 304, 400, 404, 429, 500, 503, 529]
FRAMINGS = ["length", "chunked", "close"]


def several(chance: Random, most: int, make: Callable[[Random], T]) -> list[T]:
    return [make(chance) for _ in range(chance.randint(0, most))]


def chosen(chance: Random, alphabet: bytes, least: int, most: int) -> bytes:
    return bytes(chance.choices(alphabet, k=chance.randint(least, most)))


def field(chance: Random) -> tuple[bytes, bytes]:
    # A value neither begins nor ends with white space (RFC 9110 section 5.5); h11 takes two characters more for such.
    value = chosen(chance, TEXT, 0, 30).decode("latin-1").strip().encode("latin-1").strip()
    return b"x-" + chosen(chance, TOKEN, 1, 12), value


def fields(chance: Random) -> RawHeaders:
    return several(chance, 8, field)


def pieces(chance: Random) -> list[bytes]:
    return several(chance, 6, lambda chance: chance.randbytes(chance.randint(1, 300)))


def interim(chance: Random) -> tuple[int, RawHeaders]:
    return chance.choice([100, 102, 103]), fields(chance)


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


async def read(server: Server, data: bytes, cuts: list[int]) -> Read | None:
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
        server.plays(script)
        exchange = await transport.send(Outgoing(url=server.url, headers=[], timeouts=SHORT))
        return exchange.status, exchange.headers, await exchange.read(1 << 20)
    except UpstreamError:
        return None
    finally:
        await transport.aclose()


@pytest.mark.parametrize("loop", RUNNERS)
def test_every_valid_reply_is_read_as_the_judge_reads_it(loop: str) -> None:
    async def check(chance: Random) -> None:
        async with Server() as server:
            for _ in range(CASES):
                status, body = chance.choice(STATUSES), pieces(chance)
                interims = several(chance, 2, interim)
                data = message(interims, status, fields(chance), body, chance.choice(FRAMINGS), fields(chance))
                expected = judged(data)
                assert expected is not None, data
                assert expected[2] == (b"" if status in (204, 304) else b"".join(body)), data
                cuts = several(chance, 5, lambda chance: chance.randrange(5000))
                assert await read(server, data, cuts) == expected, (data, cuts)

    RUNNERS[loop](check(Random(1)))


def mutilations(data: bytes, at: int) -> Iterator[bytes]:
    yield data[:at] + data[at + 1 :]
    yield data[: at + 1] + data[at:]
    yield data[:at]
    for what in BREAKING:
        yield data[:at] + what + data[at + 1 :]
        yield data[:at] + what + data[at:]


@pytest.mark.parametrize("loop", RUNNERS)
def test_a_mutilated_reply_is_refused_or_read_as_the_judge_reads_it(loop: str) -> None:
    async def check(chance: Random) -> None:
        async with Server() as server:
            for _ in range(CASES):
                framing = chance.choice(FRAMINGS)
                data = message([], chance.choice(STATUSES), fields(chance), pieces(chance), framing, [])
                mutilated = chance.choice(list(mutilations(data, chance.randrange(len(data)))))
                got = await read(server, mutilated, [])
                assert got is None or got == judged(tolerated(mutilated)), mutilated

    RUNNERS[loop](check(Random(2)))


class Nowhere(asyncio.Transport):
    """Takes what is sent, and is closed when it is told to be."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_closing()

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    abort = close


class Alone:
    """The pool of one connection that is used once."""

    at_work = 1

    def release(self, connection: Connection) -> None:
        pass

    def discard(self, connection: Connection) -> None:
        pass

    def lost(self, connection: Connection) -> None:
        pass


def read_at_once(data: bytes, sock: socket.socket) -> Read | None:
    """What `read` gives, without a network."""
    connection = Connection(asyncio.get_running_loop(), Alone(), inf)
    connection.connection_made(Nowhere({"socket": sock}))
    exchange = connection.start(b"POST / HTTP/1.1\r\n\r\n", b"", inf)
    connection.data_received(data)
    connection.eof_received()
    body = exchange.whole(1 << 20)
    connection.connection_lost(None)
    return None if body is None else (exchange.status, exchange.headers, body)


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_reply_that_is_mutilated_at_any_byte_is_refused_or_read_as_the_judge_reads_it(framing: str) -> None:
    data = message([], 200, [(b"x-a", b"b c")], [b"hello", b"world"], framing, [(b"x-t", b"d")])
    read_alike = refused = 0
    with socket.socket() as sock:
        assert read_at_once(data, sock) == judged(data) is not None
        for at in range(len(data)):
            for mutilated in mutilations(data, at):
                got = read_at_once(mutilated, sock)
                assert got is None or got == judged(tolerated(mutilated)), mutilated
                read_alike, refused = read_alike + (got is not None), refused + (got is None)
    assert read_alike > 300
    assert refused > 300


Asked: TypeAlias = tuple[bytes, str, RawHeaders, bytes]
"""Method, path, header fields and body of a request."""


def request(chance: Random) -> Asked:
    segments = several(chance, 3, lambda chance: "/" + chosen(chance, b"az09_~-", 1, 7).decode())
    query = chance.choice(["", "?" + chosen(chance, b"az09=&", 0, 10).decode()])
    headers = [(name.lower(), value) for name, value in fields(chance)]
    method = chance.choice([b"POST", b"PUT", b"GET", b"DELETE"])
    return method, "".join(segments) + "/" + query, headers, chance.randbytes(chance.choice([0, 1, 2000]))


async def sent(asked: list[Asked]) -> list[Any]:
    """The host, and then head and body of each request as the judge reads them."""
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


@pytest.mark.parametrize("loop", RUNNERS)
def test_every_request_is_read_by_the_judge_as_it_was_asked_for(loop: str) -> None:
    async def check(chance: Random) -> None:
        for _ in range(CASES):
            asked = [request(chance) for _ in range(chance.randint(1, 4))]
            host, *seen = await sent(asked)
            for (method, path, headers, body), head, received in zip(asked, seen[0::2], seen[1::2], strict=True):
                length = [(b"content-length", b"%d" % len(body))] if body or method in (b"POST", b"PUT") else []
                assert head == (method, path.encode(), [(b"host", host), *headers, *length])
                assert received == body

    RUNNERS[loop](check(Random(3)))
