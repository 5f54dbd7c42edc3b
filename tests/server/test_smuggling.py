"""Nothing is accepted that another reader could see as another request (RFC 9112 sections 5 to 7 and 11.2)."""

from __future__ import annotations

import asyncio

import pytest

from plano.server import Limits
from tests.server.wire import bodies, echo, serving

HEAD = b"POST / HTTP/1.1\r\nhost: h\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n"

REFUSED = {
    "length and chunks": HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": HEAD + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    "two lengths in one": HEAD + b"content-length: 5, 6\r\n\r\nhello",
    "the same length twice": HEAD + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello",
    "a signed length": HEAD + b"content-length: +5\r\n\r\nhello",
    "a negative length": HEAD + b"content-length: -5\r\n\r\nhello",
    "a length in hex": HEAD + b"content-length: 0x5\r\n\r\nhello",
    "a length with an underscore": HEAD + b"content-length: 1_0\r\n\r\nhello",
    "an endless length": HEAD + b"content-length: 99999999999999999999999\r\n\r\nhello",
    "an empty length": HEAD + b"content-length:\r\n\r\nhello",
    "another coding": HEAD + b"transfer-encoding: gzip\r\n\r\n0\r\n\r\n",
    "two codings": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings in two fields": HEAD + b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": HEAD + b"transfer-encoding: identity\r\n\r\n",
    "chunked with a parameter": HEAD + b"transfer-encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "a coding after a tab": HEAD + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": HEAD + b"content-length : 5\r\n\r\nhello",
    "a space before a name": b"POST / HTTP/1.1\r\n host: h\r\n\r\n",
    "a name with a space": HEAD + b"x y: z\r\n\r\n",
    "no name": HEAD + b": z\r\n\r\n",
    "no colon": HEAD + b"xyz\r\n\r\n",
    "a folded line": HEAD + b"x: 1\r\n transfer-encoding: chunked\r\n\r\n",
    "a NUL": HEAD + b"x: a\0b\r\n\r\n",
    "a control character": HEAD + b"x: a\x01b\r\n\r\n",
    "a lone CR": HEAD + b"x: a\rtransfer-encoding: chunked\r\n\r\n",
    "a lone LF": HEAD + b"x: a\ntransfer-encoding: chunked\r\n\r\n",
    "lone LFs at the end": b"POST / HTTP/1.1\nhost: h\n\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    "two hosts in HTTP/1.0": b"GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n",
    "a chunk's size in 0x": HEAD + b"transfer-encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    "a chunk's size with a space": HEAD + b"transfer-encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n",
    "a chunk's size that overflows": HEAD + b"transfer-encoding: chunked\r\n\r\n1" + b"0" * 16 + b"\r\na\r\n0\r\n\r\n",
    "a chunk that is too long": HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "a chunk with a lone LF": HEAD + b"transfer-encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nhost: h\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nhost: h\r\n\r\n",
    "a target that is no ASCII": b"GET /\xc3\xa9 HTTP/1.1\r\nhost: h\r\n\r\n",
    "no method": b"BREW / HTTP/1.1\r\nhost: h\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an unknown version": b"GET / HTTP/1.7\r\nhost: h\r\n\r\n",
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_can_be_read_in_two_ways_is_refused(case: str) -> None:
    async with serving(echo) as server:
        for pieces in ([REFUSED[case] + SMUGGLED], [REFUSED[case][:40], REFUSED[case][40:] + SMUGGLED]):
            reply = await server.talk(*pieces)
            assert reply.startswith(b"HTTP/1.1 400 Bad Request\r\n"), reply
            assert b"connection: close\r\n" in reply
            assert reply.count(b"HTTP/1.1") == 1 + reply.count(b"speaks HTTP/1.1")
            assert b"smuggled" not in reply


@pytest.mark.parametrize("target", [b"/", b"h:1", b"h", b"*", b"//h/", b"http://h/"])
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"content-length: %d\r\n" % len(SMUGGLED),
        b"transfer-encoding: chunked\r\n",
        b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: %d\r\n" % len(SMUGGLED),
    ],
    ids=["no body", "length", "chunks", "upgrade"],
)
async def test_a_tunnel_is_refused_and_what_follows_it_is_no_request(
    target: bytes, version: bytes, fields: bytes
) -> None:
    head = b"CONNECT %b %b\r\nhost: h\r\n%b\r\n" % (target, version, fields)
    status = b"400 " if version == b"HTTP/1.0" and b"chunked" in fields else b"501 "
    async with serving(echo) as server:
        for pieces in ([head + SMUGGLED], [head, SMUGGLED], [head[:40], head[40:] + SMUGGLED]):
            reply = await server.talk(*pieces)
            assert reply.startswith(b"HTTP/1.1 " + status)
            assert b"connection: close\r\n" in reply
            assert reply.count(b"HTTP/1.1") == 1
            assert b"smuggled" not in reply


@pytest.mark.parametrize("method", [b"GET", b"OPTIONS", b"TRACE", b"PROPFIND", b"M-SEARCH", b"SOURCE"])
@pytest.mark.parametrize("target", [b"/", b"*", b"http://h/"])
@pytest.mark.parametrize("fields", [b"", b"connection: upgrade\r\nupgrade: h2c\r\n"], ids=["plain", "upgrade"])
async def test_a_body_belongs_to_its_request_whatever_the_method(method: bytes, target: bytes, fields: bytes) -> None:
    head = b"%b %b HTTP/1.1\r\nhost: h\r\n%b" % (method, target, fields)
    length = head + b"content-length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED)
    chunks = head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    last = b"GET /last HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
    async with serving(echo) as server:
        for sent in (length, chunks):
            first, second = bodies(await server.talk(sent + last))
            assert first.startswith(method + b" ")
            assert first.endswith(b" " + SMUGGLED)
            assert second == b"GET /last "


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9"])
async def test_other_versions_are_named(version: bytes) -> None:
    async with serving(echo) as server:
        reply = await server.talk(b"GET / %b\r\nhost: h\r\n\r\n" % version)
        assert reply.startswith(b"HTTP/1.1 505 HTTP Version Not Supported\r\n")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nhost: h\r\n" + b"x: y\r\n" * 100 + b"\r\n",
        b"GET / HTTP/1.1\r\nhost: h\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
        b"GET /" + b"y" * 70_000 + b" HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: h\r\nx: " + b"y" * 70_000,
        b"\r\n" * 40_000,
    ],
    ids=["fields", "a field", "the target", "a head without an end", "empty lines"],
)
async def test_a_head_has_bounds(sent: bytes) -> None:
    async with serving(echo) as server:
        reply = await server.talk(sent)
        assert reply.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


async def test_the_largest_head_is_accepted() -> None:
    head = b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n" + b"x: y\r\n" * 97 + b"y: \r\n\r\n"
    head = head.replace(b"y: \r\n\r\n", b"y: " + b"z" * (65536 - len(head)) + b"\r\n\r\n")
    async with serving(echo) as server:
        assert (await server.talk(head)).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("junk", [b"1;" + b"x" * 70_000, b"0\r\n" + b"t: 1\r\n" * 12_000])
async def test_what_is_around_chunks_has_bounds(junk: bytes) -> None:
    async with serving(echo) as server:
        reply = await server.talk(HEAD + b"transfer-encoding: chunked\r\n\r\n", junk)
        assert reply.startswith(b"HTTP/1.1 400 ")


async def test_a_head_has_a_deadline() -> None:
    async with serving(echo, limits=Limits(head_seconds=0.05)) as server:
        assert (await server.talk(b"GET / HTTP/1.1\r\nho")).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


async def test_more_bytes_do_not_give_a_head_more_time() -> None:
    async with serving(echo, limits=Limits(head_seconds=0.1)) as server, server.client() as client:
        await client.send(b"GET /")
        reply = asyncio.create_task(client.rest())
        while not reply.done():
            client.writer.write(b"x")
            await asyncio.sleep(0.01)
        assert reply.result().startswith(b"HTTP/1.1 408 ")
