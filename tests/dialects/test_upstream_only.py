"""A dialect that only upstreams speak works through the whole gateway, with all that is unlike the others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import msgspec
import pytest

from plano import CallNext, Plano, Request, Response
from plano.conversation import Text
from plano.dialects import CLIENT_CODECS, CODECS, UpstreamCodec
from plano.errors import PlanoError, UpstreamTimeout
from plano.filters.translation import Translation
from plano.frames import FRAMES, Aligner, sse
from plano.journal import Journal
from plano.pipeline import Link, fold
from plano.provider import Provider
from plano.routing.models import Entry, ModelIndex
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import ClientDialect, Secret
from tests.asgi import Answer, ask
from tests.dialects.extra import ENDPOINT, Dialect, Lengths, framed
from tests.test_fuzz import PATHS, PORTABLE

ROW = Provider(name="extra", base_url="https://extra.test", paths={"extra": ENDPOINT})  # type: ignore[dict-item]
ORDER = ("metrics", "intake", "auth", "alias", "filters", "state", "translation")
STREAM = framed({"piece": "Grüße "}, {"piece": "🐱"}, {"tokens": [7, 3]})


@pytest.fixture(autouse=True)
def extra() -> Iterator[UpstreamCodec]:
    codec: UpstreamCodec = Dialect()
    aligner: Aligner = Lengths()
    assert aligner.finish() == b""
    CODECS["extra"] = codec  # type: ignore[index]
    FRAMES["lengths"] = Lengths
    yield codec
    del CODECS["extra"], FRAMES["lengths"]  # type: ignore[attr-defined]


async def to_it(request: Request, call_next: CallNext) -> Response:
    """Sends everything to the made-up provider, which no configuration knows."""
    entry = Entry(provider=ROW, model="big/1", name="extra/big", key=Secret("sk-extra"))
    return await call_next(request.replace(target=ModelIndex([entry]).resolve("extra/big")))


class Server:
    """Answers with `body`, cut into pieces of `size` bytes."""

    def __init__(self, body: bytes, size: int = 1000, status: int = 200) -> None:
        self.requests: list[httpx.Request] = []
        self._body = body
        self._size = size
        self._status = status

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        kind = "json" if self._body.startswith(b"{") else "vnd.lengths"
        return httpx.Response(self._status, headers={"content-type": f"application/{kind}"}, content=self._pieces())

    async def _pieces(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), self._size):
            yield self._body[start : start + self._size]


async def asked(server: Server, client: ClientDialect, **more: Any) -> Answer:
    config = {"model_providers": [{"model": "openai/m", "access_key": "k", "default": True}]}
    gateway = Plano(config, filters=[to_it], order=ORDER, transport=httpx.MockTransport(server))
    answer = await ask(gateway, "POST", PATHS[client], PORTABLE[client] | {"model": "m"} | more)
    await gateway.aclose()
    return answer


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_whole_reply_comes_back_in_the_clients_dialect(client: ClientDialect) -> None:
    server = Server(b'{"said":"Gr\xc3\xbc\xc3\x9fe","tokens":[7,3]}')
    answer = await asked(server, client, temperature=0.5)
    reply = CODECS[client].read_reply(answer.body)
    assert [part.text for part in reply.parts if isinstance(part, Text)] == ["Grüße"]
    assert reply.usage is not None
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (7, 3)
    assert "temperature" in answer.headers["x-plano-dropped"]
    (sent,) = server.requests
    assert str(sent.url) == "https://extra.test/v1/model/big%2F1/say"
    assert list(json.loads(sent.content)) == ["say"]
    assert sent.headers["x-extra"] == "1"
    assert "authorization" not in sent.headers


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("client", DIALECTS)
async def test_a_stream_comes_back_in_the_clients_dialect(client: ClientDialect, size: int) -> None:
    server = Server(STREAM, size)
    answer = await asked(server, client, stream=True)
    assert answer.headers["content-type"] == "text/event-stream"
    reader = CODECS[client].stream_reader()
    events = [event for frame in sse.frames(answer.body) for event in reader.feed(frame)] + reader.finish()
    assert "".join(getattr(event, "text", "") for event in events) == "Grüße 🐱"
    assert str(server.requests[0].url) == "https://extra.test/v1/model/big%2F1/speak?alt=lengths"


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_stream_that_fails_ends_in_the_clients_own_error(client: ClientDialect) -> None:
    answer = await asked(Server(framed({"piece": "a"}, {"failed": "too busy"}), 10), client, stream=True)
    assert b"too busy" in answer.body
    assert any(CODECS[client].error_in(frame) for frame in sse.frames(answer.body))


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (b"too many", 429, 429),
        (b'{"something":"else"}', 200, 502),
        (STREAM, 200, 502),  # nobody asked for a stream
    ],
)
async def test_what_is_no_reply_is_the_upstreams_error(
    client: ClientDialect, body: bytes, status: int, expected: int
) -> None:
    answer = await asked(Server(body, status=status), client)
    assert answer.status == expected
    assert "error" in msgspec.json.decode(answer.body)


async def test_a_reply_that_should_have_been_a_stream_is_the_upstreams_error() -> None:
    answer = await asked(Server(b'{"said":"a","tokens":[1,1]}'), "chat", stream=True)
    assert answer.status == 502


@pytest.mark.parametrize("client", DIALECTS)
async def test_an_error_that_meets_a_filter_below_the_translation_is_the_clients(client: ClientDialect) -> None:
    seen: list[PlanoError | None] = []

    async def looks(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        seen.append(response.error)
        return response

    async def no_answer(request: Request) -> Response:
        raise UpstreamTimeout("Too slow.")

    target = ModelIndex([Entry(provider=ROW, model="big/1", name="extra/big")]).resolve("extra/big")
    body = msgspec.json.encode(PORTABLE[client] | {"model": "m"})
    request = Request(dialect=client, raw=body, model="m", target=target, journal=Journal(client), id="r-1")
    links = [Link("translation", Translation(), trusted=True), Link("looks", looks)]
    response = await fold(links, no_answer)(request)
    assert [type(error) for error in seen] == [UpstreamTimeout]
    assert (response.status, response.dialect) == (504, client)
    assert response.body == CLIENT_CODECS[client].write_error(UpstreamTimeout("Too slow."), request_id=request.id)
