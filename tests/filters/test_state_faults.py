"""When things break: the gateway is killed, a store is frozen, a store is not there."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from plano import Plano
from plano.state import Item, Turn
from plano.testing import FakeProvider, serve
from tests.asgi import Answer, ask
from tests.filters.conftest import Storage
from tests.filters.talk import complete, error, gateway, id_of, respond
from tests.servers import Postgres, Proxy, Redis, free_port
from tests.test_cli import up


@contextmanager
def running(folder: Path, upstream: str, storage: Storage) -> Iterator[tuple[Any, OpenAI]]:
    """A gateway of its own process, and a client to it."""
    entry = {"model": "openai/m", "base_url": upstream, "access_key": "k", "apis": ["chat"], "default": True}
    config = {"model_providers": [entry], "state_storage": storage}
    (folder / "plano_config.yaml").write_text(json.dumps(config))
    with (
        up(cwd=folder) as (process, url, _),
        OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=20) as client,
    ):
        yield process, client


@pytest.mark.parametrize("kind", ["sqlite", "redis", "postgres"])
async def test_what_a_client_saw_the_end_of_survives_the_death_of_the_gateway(storage: Storage, tmp_path: Path) -> None:
    provider = FakeProvider()
    provider.reply("Seen.")
    question: Any = [{"role": "user", "content": "First"}]
    seen: list[str] = []
    with serve(provider) as upstream:
        with running(tmp_path, upstream, storage) as (process, client):
            whole = client.responses.create(model="m", input="First")
            seen += [whole.id, client.chat.completions.create(model="m", messages=question).id]
            for chunk in client.chat.completions.create(model="m", messages=question, stream=True):
                streamed = chunk.id
            seen.append(streamed)
            for event in client.responses.create(model="m", input="First", stream=True):
                if event.type == "response.completed":
                    process.kill()
                    seen.append(event.response.id)
                    break
            process.wait(20)
        with running(tmp_path, upstream, storage) as (process, client):
            for id_ in seen:
                client.responses.create(model="m", input="Second", previous_response_id=id_)
                texts = [message["content"] for message in provider.last.json["messages"]]
                assert texts == ["First", "Seen.", "Second"]
    assert len(set(seen)) == 4


Freeze = AbstractContextManager[None]


@pytest.fixture(params=["redis", "postgres"])
def server(request: pytest.FixtureRequest) -> Iterator[Redis | Postgres]:
    """A server of its own, for it is going to be stopped."""
    server: Redis | Postgres = Redis() if request.param == "redis" else Postgres()
    yield server
    server.stop()


@asynccontextmanager
async def before(server: Redis | Postgres, provider: FakeProvider) -> AsyncIterator[Plano]:
    where = {"url": server.url} if isinstance(server, Redis) else {"connection_string": server.url}
    kind = "redis" if isinstance(server, Redis) else "postgres"
    async with gateway(provider, {"type": kind, **where, "deadline_seconds": 2.0}) as app:
        yield app


async def continued(app: Plano, id_: str) -> Answer:
    """Once the store is tried again, which is not with every request."""
    for _ in range(200):
        answer = await respond(app, "More", previous_response_id=id_)
        if answer.status != 503:
            break
        await asyncio.sleep(0.1)
    return answer


async def test_a_frozen_store_fails_what_needs_it_and_nothing_else(server: Redis | Postgres) -> None:
    provider = FakeProvider()
    provider.reply("Hello")
    async with before(server, provider) as app:
        one = id_of(await respond(app, "Hi"))
        with server.frozen():
            provider.requests.clear()
            needs = await asyncio.gather(
                *(respond(app, "More", previous_response_id=one) for _ in range(5)),
                *(complete(app, "More", metadata={"response_id": one}) for _ in range(5)),
                respond(app, "More", conversation="conv_x"),
                ask(app, "GET", f"/v1/responses/{one}"),
                ask(app, "DELETE", f"/v1/responses/{one}"),
                ask(app, "POST", "/v1/conversations"),
            )
            for answer in needs:
                assert error(answer) == (503, "state_store_unavailable", None)
                assert answer.json()["error"]["type"] == "overloaded_error"
                assert "retry-after" in answer.headers
            assert provider.requests == [], "nothing was sent upstream"
            for asked in (respond, complete):
                answer = await asked(app, "Anew")
                assert (answer.status, answer.headers["x-plano-stored"]) == (200, "false")
                answer = await asked(app, "Anew", stream=True)
                assert answer.status == 200
                last = b"event: response.completed\n" if asked is respond else b"data: [DONE]\n\n"
                assert b"\n\n: plano-stored false\n\n" + last in answer.body
                answer = await asked(app, "Anew", store=False)
                assert (answer.status, "x-plano-stored" in answer.headers) == (200, False)
            assert (await ask(app, "GET", "/healthz")).status == 200
        assert (await continued(app, one)).status == 200
        assert [said["content"] for said in provider.last.json["messages"]] == ["Hi", "Hello", "More"]
        two = await respond(app, "Anew")
        assert "x-plano-stored" not in two.headers
        assert (await continued(app, id_of(two))).status == 200


async def test_after_a_failover_nothing_is_said_to_be_stored_that_is_not() -> None:
    old, new = Redis(), Redis()
    try:
        async with Proxy(old.port) as proxy:
            storage = {"type": "redis", "url": f"redis://127.0.0.1:{proxy.port}/0", "deadline_seconds": 2.0}
            async with gateway(FakeProvider(), storage) as app:
                assert "x-plano-stored" not in (await respond(app, "Hi")).headers
                old.command("REPLICAOF", "127.0.0.1", 1)  # its connections stay open
                answer = await respond(app, "Hi")
                assert (answer.status, answer.headers["x-plano-stored"]) == (200, "false")
                assert (await ask(app, "GET", "/readyz")).status == 503
                proxy.target = new.port
                for _ in range(200):
                    answer = await respond(app, "Hi")
                    if "x-plano-stored" not in answer.headers:
                        break
                    await asyncio.sleep(0.1)
                assert new.command("DBSIZE") == 2
                assert (await respond(app, "More", previous_response_id=id_of(answer))).status == 200
    finally:
        old.stop()
        new.stop()


async def test_a_store_that_is_not_there_leaves_the_gateway_at_work() -> None:
    storage = {"type": "redis", "url": f"redis://127.0.0.1:{free_port()}/0", "deadline_seconds": 0.5}
    async with gateway(FakeProvider(), storage) as app:
        answer = await respond(app, "Hi")
        assert (answer.status, answer.headers["x-plano-stored"]) == (200, "false")
        assert error(await respond(app, previous_response_id=id_of(answer)))[0] == 503


async def test_a_store_that_fails_at_the_last_event_is_noted_for_metrics(server: Redis | Postgres) -> None:
    provider = FakeProvider()
    noted: list[bool] = []

    async def notes(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        response.on_close(lambda: noted.append(request.journal.store_failed))
        return response

    where = {"url": server.url} if isinstance(server, Redis) else {"connection_string": server.url}
    kind = "redis" if isinstance(server, Redis) else "postgres"
    entry = {"model": "demo/echo", "default": True}
    storage = {"type": kind, **where, "deadline_seconds": 2.0}
    app = Plano({"model_providers": [entry], "state_storage": storage}, filters=[notes], transport=provider)
    body = {"input": "Hi", "stream": True}
    try:
        await ask(app, "POST", "/v1/responses", body)
        with server.frozen():
            await ask(app, "POST", "/v1/responses", body)
    finally:
        await app.aclose()
    assert noted == [False, True]


# A loop that ends takes its connections with it, unclosed, which Python remarks on.
@pytest.mark.parametrize("kind", ["redis", "postgres", "memory", "sqlite"])
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_application_that_is_called_from_another_loop_finds_what_it_stored(storage: Storage) -> None:
    provider = FakeProvider()
    entry = {"model": "demo/echo", "default": True}
    app = Plano({"model_providers": [entry], "state_storage": storage}, transport=provider)
    one = asyncio.run(ask(app, "POST", "/v1/responses", {"input": "Hi"})).json()["id"]
    body = {"input": "More", "previous_response_id": one}
    assert asyncio.run(ask(app, "POST", "/v1/responses", body)).status == 200
    asyncio.run(app.aclose())
    del app
    gc.collect()


@pytest.mark.parametrize("kind", ["sqlite", "redis", "postgres"])
async def test_what_one_process_stored_another_continues(storage: Storage) -> None:
    provider = FakeProvider()
    provider.reply("Hello")
    async with gateway(provider, storage) as one, gateway(provider, storage) as other:
        id_ = id_of(await respond(one, "Hi", stream=True))
        await respond(other, "More", previous_response_id=id_)
        assert [said["content"] for said in provider.last.json["messages"]] == ["Hi", "Hello", "More"]


# --- what is stored is damaged -----------------------------------------------------------------------------

HEAD = b'[["chat_server/m","chat",false],%d,%b,null]\n'
REPLY = b'{"id":"resp_1","object":"response","output":[]}'
COMPLETION = b'{"id":"chatcmpl-1","choices":[{"message":{"role":"assistant","content":"Hi"}}]}'

DAMAGED = [
    b"",
    b"\xff\x00garbage",
    b"[]",
    b"7\n{}",
    HEAD[:10],
    HEAD % (4000, b"false") + b'"Hi"' + REPLY,
    HEAD % (-1, b"false") + b'"Hi"' + REPLY,
    HEAD % (4, b"false") + b'"Hi"' + REPLY[:-5],
    HEAD % (4, b"false") + b'"H\xff"' + REPLY,
    HEAD % (4, b"false") + b"\x00\x01\x02\x03" + REPLY,
    HEAD % (4, b"false") + b'"Hi"' + b"\xff" * 40,
]


def reading(app: Plano, path: str, id_: str) -> Iterator[Callable[[], Awaitable[Answer]]]:
    """All that reads a turn, and one that continues it."""
    yield partial(ask, app, "GET", path)
    yield partial(ask, app, "GET", "/v1/responses/after/input_items")
    for server in ("chat", "messages", "responses"):
        for last in (id_, "after"):
            yield partial(respond, app, "More", server=server, previous_response_id=last)
            yield partial(respond, app, "More", server=server, previous_response_id=last, stream=True)
            yield partial(complete, app, "More", server=server, metadata={"response_id": last})


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis", "postgres"])
async def test_a_damaged_turn_is_a_503_that_says_so_and_is_logged_with_its_id(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    provider = FakeProvider()
    async with gateway(provider, storage) as app:
        assert app._survivors.stores is not None
        for payload in DAMAGED:
            for stored, id_ in (("responses", "resp_1"), ("chat", "chatcmpl-1")):
                store = app._survivors.stores()
                made = await store.put("default", Turn(id=id_, kind=stored, created=0.0, payload=payload))
                whole = HEAD % (4, b"false") + b'"Hi"' + REPLY
                await store.put("default", Turn(id="after", kind="responses", created=0.0, payload=whole), after=made)
                path = "responses" if stored == "responses" else "chat/completions"
                for answering in reading(app, f"/v1/{path}/{id_}", id_):
                    caplog.clear()
                    answer = await answering()
                    assert error(answer) == (503, "state_unreadable", None), (payload, answer.body)
                    assert id_ in answer.json()["error"]["message"]
                    [line] = [entry for entry in caplog.records if entry.name == "plano"]
                    assert id_ in line.getMessage()
                    assert line.exc_info is None
                assert (await ask(app, "DELETE", f"/v1/{path}/{id_}")).status == 200
                assert (await ask(app, "GET", f"/v1/{path}/{id_}")).status == 404
        assert provider.requests == []


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis", "postgres"])
@pytest.mark.parametrize("payload", [b"", b"garbage", b'["","chat",false]\n{"type":', b'["","chat",false]\n7'])
async def test_a_damaged_item_of_a_conversation_is_a_503_too(storage: Storage, payload: bytes) -> None:
    provider = FakeProvider()
    async with gateway(provider, storage) as app:
        assert app._survivors.stores is not None
        head = b'{"created_at":1}'
        await app._survivors.stores().create_conversation("default", "conv_1", head, [Item("msg_1", payload)])
        await app._survivors.stores().create_conversation("default", "conv_2", payload)
        for path in ("conv_1/items", "conv_1/items/msg_1", "conv_2"):
            answer = await ask(app, "GET", f"/v1/conversations/{path}")
            assert error(answer) == (503, "state_unreadable", None), answer.body
        for server in ("chat", "messages", "responses"):
            answer = await respond(app, "More", server=server, conversation="conv_1")
            assert error(answer) == (503, "state_unreadable", None), answer.body
        assert (await ask(app, "GET", "/v1/conversations/conv_1")).status == 200
        assert (await ask(app, "DELETE", "/v1/conversations/conv_2")).status == 200
        assert provider.requests == []
