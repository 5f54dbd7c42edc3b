"""Heads that were read before: what comes of them is what the parser would say, each time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano.server import Limits
from plano.server import head_cache as known
from plano.types import Receive, Scope, Send
from tests.server.test_smuggling import REFUSED
from tests.server.wire import answer, bodies, echo, read_body, serving

POST = b"POST /a?b=%20c HTTP/1.1\r\nHost: h\r\n"
LAST = b"GET /last HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
FORGETFUL = Limits(fields=99)
"""Only heads that the usual limits allow are remembered."""


def test_a_head_is_known_whatever_the_length_in_it_says() -> None:
    heads = known.Heads()
    scope = {name: f"({name})" for name in ("http_version", "method", "path", "raw_path", "query_string")}
    headers = [(b"host", b"h"), (b"content-length", b"5"), (b"x", b"1")]
    heads.remember(POST + b"Content-Length: 5\r\nx: 1\r\n\r\nhello", scope | {"headers": headers}, 5)
    found = heads.recall(POST + b"Content-Length: 0012\r\nx: 1\r\n\r\nhel")
    assert found == (scope, [(b"host", b"h"), (b"content-length", b"0012"), (b"x", b"1")], 12, 64)
    assert headers[1] == (b"content-length", b"5")


@pytest.mark.parametrize(
    "other",
    [
        POST + b"Content-Length: 5\r\nx: 2\r\n\r\n",
        POST + b"content-length: 5\r\nx: 1\r\n\r\n",
        POST + b"Content-Length:5\r\nx: 1\r\n\r\n",
        POST + b"Content-Length: 5 \r\nx: 1\r\n\r\n",
        POST + b"Content-Length: +5\r\nx: 1\r\n\r\n",
        POST + b"Content-Length: \r\nx: 1\r\n\r\n",
        POST + b"Content-Length: 5000000000000000000\r\nx: 1\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 5\r\nx: 1\r\n\r\n",
        POST + b"Content-Length: 5\r\nx: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        POST + b"Content-Length: 5\r\nx: 1\r\n",
        b"\r\n" + POST + b"Content-Length: 5\r\nx: 1\r\n\r\n",
    ],
)
def test_another_head_is_not(other: bytes) -> None:
    heads = known.Heads()
    scope = dict.fromkeys(("http_version", "method", "path", "raw_path", "query_string"), "")
    head = POST + b"Content-Length: 5\r\nx: 1\r\n\r\n"
    heads.remember(head + b"hello", scope | {"headers": [(b"content-length", b"5")]}, 5)
    assert heads.recall(head) is not None
    assert heads.recall(other) is None


def test_what_ended_elsewhere_is_not_remembered() -> None:
    heads = known.Heads()
    scope = {"headers": [(b"content-length", b"5")]}
    heads.remember(POST + b"Content-Length: 5\r\n\r\nhello", scope, 4)
    assert not heads._known


def test_no_more_is_kept_than_a_little() -> None:
    heads = known.Heads()
    scope = dict.fromkeys(("http_version", "method", "path", "raw_path", "query_string"), "")
    scope |= {"headers": [(b"content-length", b"0")]}  # type: ignore[dict-item]
    for number in range(3 * known.MAX_HEADS):
        heads.remember(POST + b"Content-Length: 0\r\nx: %d\r\n\r\n" % number, scope, 0)
        assert len(heads._known) <= known.MAX_HEADS
    heads = known.Heads()
    heads.remember(POST + b"Content-Length: 0\r\nx: %b\r\n\r\n" % (b"a" * known.MAX_HEAD_BYTES), scope, 0)
    assert not heads._known


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_refused_is_refused_after_a_good_one_too(case: str) -> None:
    good = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello"
    async with serving(echo) as server:
        assert bodies(await server.talk(good + good + LAST)) == [b"POST / hello", b"POST / hello", b"GET /last "]
        replies = await server.talk(good + REFUSED[case])
    assert replies.count(b"HTTP/1.1 200") <= 2
    assert b"smuggled" not in replies
    assert replies.count(b"HTTP/1.1 4") + replies.count(b"HTTP/1.1 5") == 1


_HEAD = st.tuples(
    st.sampled_from([b"POST /a HTTP/1.1", b"PUT /a HTTP/1.1", b"POST /b%20c?d HTTP/1.1", b"POST /a HTTP/1.0"]),
    st.permutations(
        [b"Host: h", b"x-a: 1", b"X-B: content-length: 3", b"%(name)b%(colon)b%(length)b"],
    ),
    st.sampled_from([b"Content-Length", b"content-length", b"CONTENT-LENGTH", b"x-content-length"]),
    st.sampled_from([b": ", b":", b":  "]),
    st.sampled_from([b"", b"connection: keep-alive\r\n", b"expect: 100-continue\r\n", b"Connection: close\r\n"]),
)


def written(head: Any, body: bytes) -> bytes:
    line, fields, name, colon, more = head
    lines = b"\r\n".join(fields) % {b"name": name, b"colon": colon, b"length": b"%d" % len(body)}
    return b"%b\r\n%b\r\n%b\r\n" % (line, lines, more) + (body if b"x-content" not in name else b"")


@settings(max_examples=60)
@given(st.lists(st.tuples(_HEAD, st.binary(max_size=12)), min_size=1, max_size=3), st.data())
async def test_it_makes_no_difference_whether_a_head_is_known(asked: list[Any], data: st.DataObject) -> None:
    seen: list[Any] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        parts = {name: value for name, value in scope.items() if name not in ("client", "server")}
        seen.append((parts, await read_body(receive)))
        await answer(send)

    # The same requests several times, so that their heads become known, cut here and there.
    sent = b"".join(written(head, body) for head, body in [*asked, *asked, *asked]) + LAST
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=4)))
    pieces = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    found = []
    for limits in (None, FORGETFUL):
        async with serving(application, limits=limits) as server:
            found.append((await server.talk(*pieces), list(seen)))
            seen.clear()
    assert found[0] == found[1]


async def test_an_empty_line_after_a_known_request_is_passed_over() -> None:
    sent = POST + b"content-length: 5\r\nx: an empty line\r\n\r\nhello\r\n"
    async with serving(echo, timeout_keep_alive=1) as server, server.client() as client:
        for _ in range(3):
            await client.send(sent)
            assert (await client.reply()).endswith(b"POST /a hello")
        assert await client.rest() == b""  # closed after a second at rest, and not taken for a head that has begun
    async with serving(echo) as server:
        assert bodies(await server.talk(sent + sent + LAST)) == [b"POST /a hello", b"POST /a hello", b"GET /last "]
