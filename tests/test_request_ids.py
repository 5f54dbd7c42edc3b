"""A client may name its request in `x-request-id`, within bounds: the name goes into logs, headers and upstreams."""

from __future__ import annotations

import json
import re

import pytest

from plano.testing import FakeProvider
from tests.asgi import Exchange, scope
from tests.observability.test_logs import PATHS, body, gateway, lines, logged

MADE_HERE = re.compile(r"[0-9a-f]{32}")

TAKEN = {
    "a letter": b"a",
    "a UUID": b"8f14e45f-ceea-467f-a0e6-2d5d5e4c7b1a",
    "every kind of character": b"Az09_.:-",
    "the longest": b"x" * 128,
}
REPLACED = {
    "empty": b"",
    "one too long": b"x" * 129,
    "very long": b"x" * 60_000,
    "a space": b"a b",
    "a space at the end": b"a ",
    "a tab": b"a\tb",
    "a line end": b"a\nb",
    "a line end at the end": b"a\n",
    "a carriage return": b"a\rb",
    "a NUL": b"a\0b",
    "an escape": b"a\x1b[31mb",
    "a delete": b"a\x7fb",
    "UTF-8": "é".encode(),
    "a digit of another script": "٣".encode(),
    "Latin-1": b"\xe9",
    "a header of its own": b"a\r\nset-cookie: b",
    "markup": b"<b>",
    "a path": b"../a",
    "JSON": b'{"a"}',
}


async def asked(headers: list[tuple[bytes, bytes]]) -> tuple[dict[str, str], str, str]:
    """The reply's headers, and the id that the upstream and the log have."""
    provider = FakeProvider()
    provider.reply("Hello", headers={"x-request-id": "of-the-upstream"})
    app = gateway(provider)
    exchange = Exchange(json.dumps(body("chat")).encode())
    with logged() as stream:
        await app(scope("POST", PATHS["chat"]) | {"headers": headers}, exchange.receive, exchange.send)
        await app.aclose()
    (line,) = lines(stream)
    return exchange.answer.headers, provider.last.headers["x-request-id"], line["id"]


@pytest.mark.parametrize("given", TAKEN)
async def test_an_id_within_bounds_is_the_requests_everywhere(given: str) -> None:
    headers, upstream, log = await asked([(b"x-request-id", TAKEN[given])])
    assert headers["x-request-id"].encode() == upstream.encode() == log.encode() == TAKEN[given]
    assert headers["x-plano-upstream-request-id"] == "of-the-upstream"


@pytest.mark.parametrize("given", REPLACED)
async def test_an_id_out_of_bounds_is_replaced_everywhere(given: str) -> None:
    headers, upstream, log = await asked([(b"x-request-id", REPLACED[given])])
    assert MADE_HERE.fullmatch(upstream)
    assert headers["x-request-id"] == upstream == log
    assert headers["x-plano-upstream-request-id"] == "of-the-upstream"


async def test_without_one_the_reply_has_the_upstreams() -> None:
    headers, upstream, log = await asked([])
    assert headers["x-request-id"] == "of-the-upstream"
    assert "x-plano-upstream-request-id" not in headers
    assert MADE_HERE.fullmatch(upstream)
    assert log == upstream


async def test_no_two_requests_have_the_same_id() -> None:
    ids = {(await asked([]))[1] for _ in range(20)}
    assert len(ids) == 20
