"""Requests at once: who is let in, how the others are told, and that every place is free after every end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import anthropic
import openai
import pytest
from msgspec.structs import replace

from plano import Plano
from plano.config import load
from plano.filters.admission import Admission
from plano.limits.admission import Slots
from plano.limits.settings import Admission as Settings
from plano.request import Request
from plano.response import Response
from plano.testing import Failure, FakeProvider, Reply, serve
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Caller, Dialect
from tests.asgi import Exchange, Leaving, ask, scope
from tests.clients import CLIENTS
from tests.server.wire import Client, serving, until
from tests.test_promises import MINIMAL, PATHS

KEYS = [{"name": name, "tenant": name, "key": f"sk-{name}"} for name in ("lab", "shop")]


def gateway(provider: FakeProvider, *, keys: Sequence[Any] = (), filters: Sequence[Any] = (), **said: Any) -> Plano:
    entries = [
        {
            "model": f"{dialect}_server/m",
            "provider_interface": "openai",
            "base_url": "http://upstream.test",
            "apis": [dialect],
            "access_key": "k",
        }
        for dialect in DIALECTS
    ]
    config = load({"model_providers": entries, **({"auth": {"keys": list(keys)}} if keys else {})})
    return Plano(replace(config, admission=Settings(**said)), transport=provider, filters=filters)


def slots_of(app: Plano) -> Slots:
    return app._survivors.slots


def body(dialect: Dialect, **more: Any) -> bytes:
    return json.dumps(MINIMAL[dialect] | {"model": f"{dialect}_server/m"} | more).encode()


class Asking:
    """A request that goes on until its answer is there or its client leaves."""

    def __init__(self, app: Plano, dialect: Dialect = "chat", tenant: str | None = None, **more: Any) -> None:
        self.exchange = Exchange(body(dialect, **more))
        headers = {} if tenant is None else {"authorization": f"Bearer sk-{tenant}"}
        self.task = asyncio.create_task(
            app(scope("POST", PATHS[dialect], headers), self.exchange.receive, self.exchange.send)
        )

    async def answer(self) -> Any:
        async with asyncio.timeout(20):
            await self.task
        return self.exchange.answer


def test_a_gateway_without_limits_has_no_such_link() -> None:
    assert "admission" not in [link.name for link in gateway(FakeProvider()).pipeline]


@pytest.mark.parametrize("order", [None, ("metrics", "intake", "auth", "filters", "alias", "state", "translation")])
def test_it_stands_after_auth_and_before_the_users_filters(order: Any) -> None:
    async def own(request: Request, call_next: Any) -> Response:
        return await call_next(request)

    config = replace(load({"model_providers": [{"model": "demo/echo"}]}), admission=Settings(max_in_flight=1))
    app = Plano(config, filters=[own], **({} if order is None else {"order": order}))
    names = [link.name for link in app.pipeline]
    assert names[names.index("auth") :][:3] == ["auth", "admission", "own"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_full_gateway_says_so_in_the_words_of_each_dialect(dialect: Dialect, stream: bool) -> None:
    provider = FakeProvider()
    with serve(gateway(provider, max_in_flight=0)) as url:
        client = CLIENTS[dialect](url)
        expected = anthropic.OverloadedError if dialect == "messages" else openai.InternalServerError
        with pytest.raises(expected) as caught:
            await client.ask(f"{dialect}_server/m", "Hi", stream=stream)
        await client.aclose()
    error = caught.value
    assert error.status_code == (529 if dialect == "messages" else 503)
    assert error.response.headers["retry-after"] in {"1", "2", "3"}
    said = error.response.json()["error"]
    assert said["type"] == "overloaded_error"
    assert said.get("code") == (None if dialect == "messages" else "gateway_busy")
    assert not provider.requests


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/v1/models"])
async def test_a_full_gateway_still_tells_how_it_is(path: str) -> None:
    answer = await ask(gateway(FakeProvider(), max_in_flight=0), "GET", path)
    assert answer.status == 200


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/messages/count_tokens"])
async def test_other_operations_need_a_place_too(path: str) -> None:
    model = "chat_server/m" if path == "/v1/embeddings" else "messages_server/m"
    asked = {"model": model, "input": "one", "messages": [{"role": "user", "content": "one"}]}
    answer = await ask(gateway(FakeProvider(), max_in_flight=0), "POST", path, asked)
    assert answer.status == (503 if path == "/v1/embeddings" else 529)


async def fails(request: Request, call_next: Any) -> Response:
    await call_next(request)
    raise RuntimeError("a filter with a bug")


async def answers(request: Request, call_next: Any) -> Response:
    return Response.of(request, "from the filter")


ENDS: dict[str, tuple[Any, dict[str, Any], Sequence[Any]]] = {
    "a reply": (Reply("fine"), {}, ()),
    "a stream": (Reply("one two three"), {"stream": True}, ()),
    "an upstream's error": (Failure(500), {}, ()),
    "an upstream's error, streamed": (Failure(429), {"stream": True}, ()),
    "a reply that breaks": (Reply("one two", breaks_after=1), {}, ()),
    "a stream that breaks": (Reply("one two three", breaks_after=3), {"stream": True}, ()),
    "a bug in a filter": (Reply("fine"), {}, (fails,)),
    "a filter's own answer": (Reply("fine"), {}, (answers,)),
    "an unknown model": (Reply("fine"), {"model": "nowhere/x"}, ()),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_place_is_free_after_every_end(dialect: Dialect, end: str) -> None:
    script, more, filters = ENDS[end]
    provider = FakeProvider()
    provider.script(script)
    app = gateway(provider, filters=filters, max_in_flight=1, per_tenant=1)
    for _ in range(2):
        answer = await Asking(app, dialect, **more).answer()
        assert answer.status not in {503, 529}
        assert (slots_of(app).in_flight, slots_of(app)._held) == (0, {})


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("when", ["before the reply", "within a stream", "while it is cancelled"])
async def test_a_place_is_free_when_the_client_has_left(dialect: Dialect, when: str) -> None:
    provider = FakeProvider()
    provider.script(Reply("one two three four", delay=0.0 if when == "within a stream" else 30.0, pause=30.0))
    app = gateway(provider, max_in_flight=1)
    exchange = Leaving(1, body(dialect, stream=when == "within a stream"))
    task = asyncio.create_task(app(scope("POST", PATHS[dialect]), exchange.receive, exchange.send))
    await until(lambda: provider.requests)
    assert slots_of(app).in_flight == 1
    if when == "before the reply":
        exchange.leave()
    elif when == "while it is cancelled":
        task.cancel()
    await asyncio.wait([task], timeout=20)
    assert slots_of(app).in_flight == 0


async def test_a_place_is_held_to_the_last_byte_of_a_stream() -> None:
    provider = FakeProvider()
    provider.script(Reply("one two three four"))
    app = gateway(provider, max_in_flight=1)
    held = []

    class Watching(Exchange):
        async def send(self, message: Any) -> None:
            held.append(slots_of(app).in_flight)
            await super().send(message)

    exchange = Watching(body("chat", stream=True))
    await app(scope("POST", PATHS["chat"]), exchange.receive, exchange.send)
    assert len(held) > 3
    assert set(held) == {1}
    assert slots_of(app).in_flight == 0


async def test_those_who_wait_are_let_in_as_places_come_free() -> None:
    provider, waited = FakeProvider(), []
    provider.script(Reply("fine", delay=0.01))
    app = gateway(provider, max_in_flight=2, queue=8, queue_wait=20.0)
    link = next(link.filter for link in app.pipeline if link.name == "admission")
    assert isinstance(link, Admission)
    link._waited = waited.append
    answers = await asyncio.gather(*(Asking(app).answer() for _ in range(12)))
    assert sorted(answer.status for answer in answers) == [200] * 10 + [503] * 2
    assert len(waited) == 10
    assert all(0.0 <= seconds < 20.0 for seconds in waited)
    assert (slots_of(app).in_flight, slots_of(app).waiting) == (0, 0)


async def test_a_request_that_waits_too_long_is_refused() -> None:
    provider = FakeProvider()
    provider.script(Reply("fine", delay=30.0))
    app = gateway(provider, max_in_flight=1, queue=1, queue_wait=0.01)
    first = Asking(app)
    await until(lambda: provider.requests)
    answer = await Asking(app).answer()
    assert (answer.status, answer.headers["retry-after"] in {"1", "2", "3"}) == (503, True)
    assert slots_of(app).waiting == 0
    first.exchange.leave()
    await first.answer()


async def test_a_client_that_leaves_the_queue_gives_its_place_in_it_to_another() -> None:
    provider = FakeProvider()
    provider.script(Reply("late", delay=30.0))
    provider.script(Reply("fine"))
    app = gateway(provider, max_in_flight=1, queue=1, queue_wait=20.0)
    first, second = Asking(app), Asking(app)
    await until(lambda: slots_of(app).waiting == 1)
    second.exchange.leave()
    await second.answer()
    assert slots_of(app).waiting == 0
    third = Asking(app)
    await until(lambda: slots_of(app).waiting == 1)
    first.exchange.leave()
    assert (await third.answer()).status == 200
    assert len(provider.requests) == 2
    assert slots_of(app).in_flight == 0


async def test_a_tenant_over_its_share_waits_and_others_pass_it() -> None:
    provider = FakeProvider()
    provider.script(Reply("fine", delay=30.0))
    app = gateway(provider, keys=KEYS, max_in_flight=3, queue=9, queue_wait=20.0, per_tenant=2)
    lab = [Asking(app, tenant="lab") for _ in range(4)]
    await until(lambda: slots_of(app).waiting == 2)
    shop = Asking(app, tenant="shop")
    await until(lambda: len(provider.requests) == 3)
    assert (slots_of(app).in_flight, slots_of(app).waiting) == (3, 2)
    for each in [*lab, shop]:
        each.exchange.leave()
        await each.answer()
    assert (slots_of(app).in_flight, slots_of(app).waiting) == (0, 0)


async def test_the_tenant_is_the_callers_whom_the_host_names() -> None:
    provider = FakeProvider()
    provider.script(Reply("fine", delay=30.0))

    def caller(scope: Any) -> Caller:
        return Caller(tenant=dict(scope["headers"])[b"authorization"].decode())

    app = Plano(gateway(provider, per_tenant=1).config, transport=provider, caller=caller)
    asked = [Asking(app, tenant=tenant) for tenant in ("one", "two")]
    await until(lambda: len(provider.requests) == 2)
    assert (await Asking(app, tenant="one").answer()).status == 503
    for each in asked:
        each.exchange.leave()
        await each.answer()


async def test_places_outlive_a_reload_with_other_limits() -> None:
    provider = FakeProvider()
    provider.script(Reply("fine", delay=30.0))
    app = gateway(provider, max_in_flight=1)
    first = Asking(app)
    await until(lambda: provider.requests)
    app.reload(replace(app.config, admission=Settings(max_in_flight=2)))
    second = Asking(app)
    await until(lambda: len(provider.requests) == 2)
    assert (await Asking(app).answer()).status == 503
    app.reload(replace(app.config, admission=Settings()))
    third = Asking(app)
    await until(lambda: len(provider.requests) == 3)
    for each in (first, second, third):
        each.exchange.leave()
        await each.answer()
    assert slots_of(app).in_flight == 0


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_hundreds_at_once_at_a_full_gateway_are_told_at_once(dialect: Dialect) -> None:
    """Through plano's own server: 300 come to 20 places and a queue of 10 that nobody leaves."""
    provider = FakeProvider()
    provider.script(Reply("fine", delay=30.0))
    app = gateway(provider, max_in_flight=20, queue=10, queue_wait=600.0)
    asked = body(dialect)
    head = f"POST {PATHS[dialect]} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(asked)}\r\n\r\n".encode()
    refused: list[bytes] = []

    async def one(client: Client) -> None:
        await client.send(head + asked)
        refused.append(await client.reply())

    async with serving(app, backlog=512) as server:
        clients = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(300)]
        tasks = [asyncio.create_task(one(Client(*each))) for each in clients]
        await until(lambda: len(refused) == 270)
        assert len(provider.requests) == 20
        assert (slots_of(app).in_flight, slots_of(app).waiting) == (20, 10)
        status = b"529" if dialect == "messages" else b"503"
        assert all(each.startswith(b"HTTP/1.1 %b " % status) and b"\r\nretry-after: " in each for each in refused)
        for _, writer in clients:
            writer.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        await until(lambda: not slots_of(app).in_flight and not slots_of(app).waiting)
