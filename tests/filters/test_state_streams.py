"""Streams of stored turns: what is held back and what is not, and what is not stored."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from plano import Plano
from plano.attempt import Attempt
from plano.errors import StoreUnavailable
from plano.filters.state import State
from plano.request import Request
from plano.response import Pieces, Response
from plano.state import StateSettings, Store, Turn, open_store
from plano.testing import FakeProvider
from plano.testing.script import Reply, Verbatim
from tests.asgi import Exchange, ask, scope
from tests.filters.talk import JSON, PATHS, SSE, complete, events, frames, gateway, id_of, message, native, respond

RESPONSE = native("resp_abc", message("msg_1", "Hello response.completed [DONE] you"))
CHUNKS = [
    b'data: {"id":"chatcmpl-9","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
    b'"delta":{"role":"assistant","content":"Hi [DONE]"},"finish_reason":null}]}\n\n',
    b'data: {"id":"chatcmpl-9","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
    b'"delta":{},"finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
]


class Watched:
    """A store that notes what had gone out when it was asked to put something, and may fail at it."""

    at_once = False
    max_item_bytes = 1_000_000
    max_chain_bytes = 1_000_000

    def __init__(self, *, fails: bool = False) -> None:
        self.out: list[bytes] = []
        self.seen: list[bytes] = []
        self.turns: list[Turn] = []
        self._fails = fails

    async def put(self, tenant: str, turn: Turn, *, after: Turn | None = None) -> Turn:
        self.seen.append(b"".join(self.out))
        if self._fails:
            raise StoreUnavailable("The store is not there.")
        self.turns.append(turn)
        return turn


async def passed(dialect: str, store: Watched, *pieces: bytes) -> Response:
    """What comes through the filter of these pieces, each noted when it is there."""
    async with gateway(FakeProvider()) as app:
        target = app.models.resolve(f"{dialect}_server/m")
    body = {"responses": b'{"input":"Hi"}', "chat": b'{"messages":[]}'}[dialect]
    request = Request(dialect=dialect, raw=body, model="m", raw_model="m", target=target, stream=True)  # type: ignore[arg-type]

    async def upstream(request: Request) -> Response:
        async def each() -> Pieces:
            for piece in pieces:
                yield piece

        return Response(request, pieces=each(), attempt=Attempt(target, request.dialect))

    response = await State(lambda: store)(request, upstream)  # type: ignore[arg-type,return-value]
    assert response.pieces is not None
    async for piece in response.pieces:
        store.out.append(piece)
    return response


WHOLE = b"".join(frames(RESPONSE))
LAST = frames(RESPONSE)[-1]


@pytest.mark.parametrize(
    "pieces",
    [
        frames(RESPONSE),
        [WHOLE],
        [WHOLE[: -len(LAST)], LAST + b": bye\n\n"],
        [frame.replace(b"\n", b"\r\n") for frame in frames(RESPONSE)],
    ],
    ids=["frame by frame", "all at once", "with more behind", "with carriage returns"],
)
async def test_only_the_last_event_of_a_response_waits_for_the_store(pieces: list[bytes]) -> None:
    store = Watched()
    await passed("responses", store, *pieces)
    assert b"".join(store.out) == b"".join(pieces)
    (seen,) = store.seen
    assert b"response.output_item.done" in seen
    assert b"event: response.completed" not in seen
    assert [turn.id for turn in store.turns] == ["resp_abc"]


@pytest.mark.parametrize("pieces", [CHUNKS, [b"".join(CHUNKS)], [CHUNKS[0], CHUNKS[1] + CHUNKS[2]]])
async def test_only_done_of_a_completion_waits_for_the_store(pieces: list[bytes]) -> None:
    store = Watched()
    await passed("chat", store, *pieces)
    assert b"".join(store.out) == b"".join(pieces)
    assert store.seen == [CHUNKS[0] + CHUNKS[1]]
    (turn,) = store.turns
    assert turn.id == "chatcmpl-9"
    assert turn.payload.endswith(b'{"messages":[]}' + b"".join(CHUNKS))


async def test_a_completion_that_never_says_done_is_stored_at_its_end() -> None:
    store = Watched()
    await passed("chat", store, *CHUNKS[:2])
    assert [turn.id for turn in store.turns] == ["chatcmpl-9"]


@pytest.mark.parametrize(
    ("dialect", "pieces", "last"),
    [("responses", frames(RESPONSE), LAST), ("chat", CHUNKS, CHUNKS[-1]), ("responses", [WHOLE], LAST)],
)
async def test_a_stream_that_could_not_be_stored_says_so_before_its_last_event(
    dialect: str, pieces: list[bytes], last: bytes
) -> None:
    store = Watched(fails=True)
    response = await passed(dialect, store, *pieces)
    whole = b"".join(pieces)
    assert b"".join(store.out) == whole[: -len(last)] + b": plano-stored false\n\n" + last
    assert response.journal.store_failed


async def test_a_stream_that_is_longer_than_a_turn_may_be_passes_and_says_that_it_is_not_stored() -> None:
    store = Watched()
    store.max_item_bytes = 300
    response = await passed("chat", store, *[CHUNKS[0]] * 3, *CHUNKS[1:])
    assert b"".join(store.out) == CHUNKS[0] * 3 + CHUNKS[1] + b": plano-stored false\n\n" + CHUNKS[2]
    assert store.turns == []
    assert response.journal.store_failed


async def test_items_that_the_last_event_does_not_repeat_are_stored_all_the_same() -> None:
    provider = FakeProvider()
    provider.raw(200, SSE, frames(RESPONSE, repeated=False))
    async with gateway(provider) as app:
        await respond(app, "Hi", server="responses", stream=True)
        found = await ask(app, "GET", "/v1/responses/resp_abc")
        assert found.json()["output"] == RESPONSE["output"]


FAILURES: list[tuple[str, Any]] = [
    ("chat", lambda recorded: Reply("Some words of it", breaks_after=2)),
    ("chat", lambda recorded: Reply("Some words of it", breaks_after=2, how="incomplete")),
    ("chat", lambda recorded: Reply("Some words of it", breaks_after=2, how="error")),
    ("messages", lambda recorded: Reply("Some words of it", breaks_after=3, how="error")),
    ("responses", lambda recorded: Reply("Some words of it", breaks_after=3)),
    ("responses", lambda recorded: Reply("Some words of it", breaks_after=3, how="error")),
    ("responses", lambda recorded: Verbatim(200, SSE, frames(native("resp_abc", status="failed")))),
]


@pytest.mark.parametrize("client", ["chat", "responses"])
@pytest.mark.parametrize(("server", "answer"), FAILURES)
async def test_a_stream_that_failed_is_not_stored(client: str, server: str, answer: Any) -> None:
    provider = FakeProvider()
    provider.script(answer)
    async with gateway(provider) as app:
        asked = respond if client == "responses" else complete
        broken = await asked(app, "Hi", server=server, stream=True)
        first = next(iter(events(broken)), {})
        id_ = first.get("id") or first.get("response", {}).get("id") or "resp_abc"
        path = "/v1/responses/" if client == "responses" else "/v1/chat/completions/"
        assert (await ask(app, "GET", path + id_)).status == 404


@pytest.mark.parametrize("client", ["chat", "responses"])
@pytest.mark.parametrize("server", ["chat", "messages", "responses"])
async def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(client: str, server: str) -> None:
    provider = FakeProvider(pause=0.05)
    provider.reply("word " * 200)
    async with gateway(provider) as app:
        fields: dict[str, Any] = (
            {"input": "Hi"} if client == "responses" else {"messages": [{"role": "user", "content": "Hi"}]}
        )
        body = json.dumps({"model": f"{server}_server/m", "stream": True, **fields}).encode()
        exchange = Exchange(body)
        running = asyncio.create_task(app(scope("POST", PATHS[client]), exchange.receive, exchange.send))
        async with asyncio.timeout(20):
            while len(exchange.answer.chunks) < 6:
                exchange.progress.clear()
                await exchange.progress.wait()
            exchange.leave()
            await running
            assert await provider.last.over() == "left"
        id_ = events(exchange.answer)[0]
        id_ = id_.get("id") or id_["response"]["id"]
        path = "/v1/responses/" if client == "responses" else "/v1/chat/completions/"
        assert (await ask(app, "GET", path + id_)).status == 404
        assert not _tree_of(app), "not even a part of it"


def _tree_of(app: Plano) -> Any:
    assert app._survivors.stores is not None
    return app._survivors.stores()._backend._turns  # type: ignore[attr-defined]


async def test_an_incomplete_reply_is_stored_as_what_it_is() -> None:
    provider = FakeProvider()
    provider.script(Reply("Half of", finish="length"))
    async with gateway(provider) as app:
        for stream in (False, True):
            one = await respond(app, "Hi", stream=stream)
            found = (await ask(app, "GET", f"/v1/responses/{id_of(one)}")).json()
            assert (found["status"], found["incomplete_details"]["reason"]) == ("incomplete", "max_output_tokens")
            await respond(app, "Go on", previous_response_id=id_of(one))
            assert provider.last.json["messages"][1] == {"role": "assistant", "content": "Half of"}


@pytest.mark.parametrize("stream", [False, True])
async def test_what_continues_nothing_reaches_a_server_of_its_own_api_byte_for_byte(stream: bool) -> None:
    provider = FakeProvider()
    if stream:
        provider.raw(200, SSE, frames(RESPONSE))
    else:
        provider.raw(200, JSON, json.dumps(RESPONSE).encode())
    flag = b"true" if stream else b"false"
    body = b'{ "model" :"m","input":"Hi \\u00e9", "stream": ' + flag + b', "store":true, "x":[1.50] }'
    async with gateway(provider) as app:
        # The bare name means the first entry, which is the chat server; the full one has to be put in.
        for name, exact in ((b"responses_server/m", False), (b"m", True)):
            sent = body.replace(b':"m"', b':"' + name + b'"')
            if exact:
                app = Plano(
                    {
                        "model_providers": [
                            {
                                "model": "responses_server/m",
                                "provider_interface": "openai",
                                "base_url": "https://x.example/v1",
                                "apis": ["responses"],
                            }
                        ]
                    },
                    transport=provider,
                )
            answer = await ask(app, "POST", "/v1/responses", sent)
            assert answer.body == (b"".join(frames(RESPONSE)) if stream else json.dumps(RESPONSE).encode())
            if exact:
                assert provider.last.body == sent


async def test_messages_are_none_of_its_business() -> None:
    store: Store = open_store(StateSettings())
    calls: list[int] = []

    def counted() -> Store:
        calls.append(1)
        return store

    async with gateway(FakeProvider()) as app:
        target = app.models.resolve("messages_server/m")
    request = Request(dialect="messages", raw=b"not even JSON", target=target)
    response = Response(request, body=b"{}")

    async def upstream(given: Request) -> Response:
        assert given is request
        return response

    assert await State(counted)(request, upstream) is response
    assert calls == []
