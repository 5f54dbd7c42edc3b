"""Requests whose bodies are compressed."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from plano import CallNext, Plano, Request, Response
from plano.codings import _zstd, known
from plano.edge.coded_body import _MOST_CODINGS, _MOST_MEMBERS
from plano.operations import OPERATIONS
from plano.testing import FakeProvider
from plano.types import CLIENT_DIALECTS, ClientDialect
from tests.asgi import Answer, ask
from tests.server.wire import PROTOCOLS, serving
from tests.test_codings import CODINGS

PATHS = OPERATIONS["create"].paths
LIMIT = 100_000
zstd = _zstd()

COMPRESS: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"zstd": zstd.compress,
}


def gateway(provider: FakeProvider, *filters: Any, **more: Any) -> Plano:
    entries = [
        {"model": f"{upstream}_server/m", "base_url": "https://llm.example/v1", "access_key": "k"}
        | {"provider_interface": "anthropic" if upstream == "messages" else "openai", "apis": [upstream]}
        for upstream in CLIENT_DIALECTS
    ]
    config = {"model_providers": entries, "limits": {"max_body_bytes": LIMIT}, **more}
    return Plano(config, transport=provider, filters=filters)


def body_for(dialect: ClientDialect, upstream: str | None = None, *, size: int = 0) -> bytes:
    said = "Hi, ñ" + "." * size
    asked = {"input": said} if dialect == "responses" else {"messages": [{"role": "user", "content": said}]}
    more = {"max_tokens": 100} if dialect == "messages" else {}
    return json.dumps({"model": f"{upstream or dialect}_server/m", **asked, **more}, ensure_ascii=False).encode()


def coded(body: bytes, codings: Sequence[bytes]) -> bytes:
    for coding in codings:
        body = COMPRESS[coding](body)
    return body


async def sent(app: Plano, dialect: ClientDialect, body: bytes, coding: str, **more: str) -> Answer:
    return await ask(app, "POST", PATHS[dialect], body, {"content-encoding": coding, **more})


@pytest.mark.parametrize("upstream", CLIENT_DIALECTS)
@pytest.mark.parametrize("dialect", CLIENT_DIALECTS)
@pytest.mark.parametrize("name", CODINGS)
async def test_a_compressed_request_goes_up_plain(name: str, dialect: ClientDialect, upstream: str) -> None:
    coding, compress = CODINGS[name]
    provider = FakeProvider()
    app, body = gateway(provider), body_for(dialect, upstream, size=1000)
    assert (await sent(app, dialect, compress(body), coding.decode())).status == 200
    assert (await ask(app, "POST", PATHS[dialect], body)).status == 200
    packed, plain = provider.requests
    assert packed.body == plain.body
    assert b"Hi, \xc3\xb1....." in packed.body
    assert packed.headers.keys() == plain.headers.keys()


LISTS = {
    "zstd, gzip": [b"zstd", b"gzip"],
    "gzip, gzip": [b"gzip", b"gzip"],
    " Deflate ,, identity,ZSTD": [b"deflate", b"zstd"],
    "identity": [],
    "": [],
    ", ".join(["gzip"] * _MOST_CODINGS): [b"gzip"] * _MOST_CODINGS,
}


@pytest.mark.parametrize("said", LISTS)
async def test_several_codings_are_undone_from_the_last_to_the_first(said: str) -> None:
    provider = FakeProvider()
    answer = await sent(gateway(provider), "messages", coded(body_for("messages"), LISTS[said]), said)
    assert answer.status == 200
    assert provider.last.json["messages"] == [{"role": "user", "content": "Hi, ñ"}]


REFUSED_CODINGS = ["br", "compress", "gzip, br", "aws-chunked", "utf-8", ", ".join(["gzip"] * (_MOST_CODINGS + 1))]


@pytest.mark.parametrize("dialect", CLIENT_DIALECTS)
@pytest.mark.parametrize("coding", REFUSED_CODINGS)
async def test_another_coding_is_refused_and_the_possible_ones_are_named(coding: str, dialect: ClientDialect) -> None:
    provider = FakeProvider()
    answer = await sent(gateway(provider), dialect, body_for(dialect), coding)
    assert answer.status == 415
    assert answer.headers["accept-encoding"] == b", ".join(known()).decode() == "gzip, deflate, zstd"
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "gzip, deflate, zstd" in answer.json()["error"]["message"]
    assert provider.requests == []


@pytest.mark.parametrize("dialect", CLIENT_DIALECTS)
@pytest.mark.parametrize("coding", known())
async def test_a_corrupt_or_truncated_body_is_the_callers_fault(coding: bytes, dialect: ClientDialect) -> None:
    whole = COMPRESS[coding](body_for(dialect, size=1000))
    for wrong in (b"", b"{", body_for(dialect), whole[:-1], whole[:20], whole[:10] + b"\xff\x00\xff" + whole[13:]):
        answer = await sent(gateway(FakeProvider()), dialect, wrong, coding.decode())
        assert answer.status == 400
        assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("dialect", CLIENT_DIALECTS)
@pytest.mark.parametrize("coding", known())
async def test_the_limit_holds_for_what_a_body_becomes(coding: bytes, dialect: ClientDialect) -> None:
    overhead = len(body_for(dialect))
    for size, status in ((LIMIT - overhead, 200), (LIMIT - overhead + 1, 413)):
        body = COMPRESS[coding](body_for(dialect, size=size))
        assert len(body) < 1000
        answer = await sent(gateway(FakeProvider()), dialect, body, coding.decode())
        assert answer.status == status
    assert f"limit of {LIMIT} bytes" in answer.json()["error"]["message"]


BOMBS = {
    "gzip": (b"gzip",),
    "deflate": (b"deflate",),
    "zstd": (b"zstd",),
    "a bomb in a coding": (b"gzip", b"gzip"),
    "a bomb around a coding": (b"gzip", b"zstd", b"gzip"),
}


@pytest.mark.parametrize("name", BOMBS)
async def test_a_bomb_stops_at_the_limit(name: str) -> None:
    bomb = coded(bytes(64 << 20), BOMBS[name])
    app = gateway(FakeProvider(), limits={"max_body_bytes": 1 << 20})
    tracemalloc.start()
    try:
        answer = await sent(app, "chat", bomb, ", ".join(coding.decode() for coding in BOMBS[name]))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status == 413
    assert peak < 20 << 20


async def test_members_without_number_are_refused() -> None:
    members = b"".join(gzip.compress(b" ") for _ in range(_MOST_MEMBERS + 1))
    app = gateway(FakeProvider(), limits={"max_body_bytes": 1 << 20})
    answer = await sent(app, "chat", members, "gzip")
    assert answer.status == 400
    assert "content-encoding" in answer.json()["error"]["message"]


async def test_nothing_is_decompressed_for_a_stranger() -> None:
    app = gateway(FakeProvider(), auth={"keys": [{"name": "one", "key": "k-1"}]})
    async with serving(app) as server, server.client() as client:
        body = b"no gzip"
        for key, status in ((b"k-2", b"401"), (b"k-1", b"400")):
            await client.send(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-encoding: gzip\r\n"
                b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (key, len(body), body)
            )
            assert (await client.reply()).startswith(b"HTTP/1.1 " + status)


async def test_filters_see_a_request_that_was_never_compressed() -> None:
    seen: list[Request] = []

    async def notes(request: Request, call_next: CallNext) -> Response:
        seen.append(request)
        return await call_next(request)

    body = body_for("chat")
    answer = await sent(gateway(FakeProvider(), notes), "chat", gzip.compress(body), "gzip", **{"x-kept": "1"})
    assert answer.status == 200
    (request,) = seen
    assert list(request.headers) == [("x-kept", "1")]
    assert request.raw == body
    assert request.journal.bytes_in == len(body)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("pieces", [1, 3], ids=["at once", "in pieces"])
async def test_each_server_and_each_way_of_arriving(protocol: str, pieces: int) -> None:
    provider = FakeProvider()
    whole = zstd.compress(body_for("responses"))
    head = (
        b"POST /v1/responses HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-encoding: zstd\r\n"
        b"content-length: %d\r\n\r\n" % len(whole)
    )
    async with serving(gateway(provider), PROTOCOLS[protocol]) as server, server.client() as client:
        for _ in range(2):  # the second time, the server knows the head
            step = -(-len(whole) // pieces)
            parts = [whole[start : start + step] for start in range(0, len(whole), step)]
            await client.send(head + parts[0])
            for part in parts[1:]:
                await client.send(part)
            assert (await client.reply()).startswith(b"HTTP/1.1 200")
    assert [recorded.json["input"] for recorded in provider.requests] == ["Hi, ñ"] * 2


async def test_requests_that_ask_no_model_may_be_compressed_too() -> None:
    app = gateway(FakeProvider(), state_storage={"type": "memory"})
    items = json.dumps({"items": [{"type": "message", "role": "user", "content": "Hi"}]}).encode()
    for body, coding, status in ((zstd.compress(items), "zstd", 200), (items, "gzip", 400), (items, "br", 415)):
        answer = await ask(app, "POST", "/v1/conversations", body, {"content-encoding": coding})
        assert answer.status == status
    assert answer.headers["accept-encoding"] == "gzip, deflate, zstd"


async def test_embeddings_and_counts_take_compressed_bodies_too() -> None:
    provider = FakeProvider()
    app = gateway(provider)
    asked = {"model": "chat_server/m", "input": "Hi"}
    counted = json.loads(body_for("messages"))
    for path, body in (("/v1/embeddings", asked), ("/v1/messages/count_tokens", counted)):
        packed = gzip.compress(json.dumps(body).encode())
        answer = await ask(app, "POST", path, packed, {"content-encoding": "gzip"})
        assert answer.status == 200, answer.body
    assert [recorded.json["model"] for recorded in provider.requests] == ["m", "m"]
