"""What goes wrong at a request's edges, and must not go on from there."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import pytest
from msgspec.structs import replace

from plano import CallNext, Plano, Request, Response
from plano.errors import UpstreamError
from plano.operations import Endpoint
from plano.testing import FakeProvider
from plano.types import Caller, Message, Scope, Secret
from plano.ui.record import Record
from tests.asgi import Exchange, ask, scope
from tests.server.wire import serving

CHAT = "/v1/chat/completions"
ENTRY = {"model": "openai/m", "access_key": "k", "default": True}
HELLO = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


async def test_a_name_as_long_as_a_book_is_not_kept() -> None:
    gateway = Plano({"model_providers": [ENTRY], "ui": True}, transport=FakeProvider())
    answer = await ask(gateway, "POST", CHAT, HELLO | {"model": "x" * 100_000})
    assert answer.status == 404
    (record,) = [link.filter for link in gateway.pipeline if isinstance(link.filter, Record)]
    gateway._survivors.observing.finished_requests.flush()
    (row,) = record.rows(Caller(operator=True))
    assert len(str(row)) < 2_000


async def test_a_body_nested_deeper_than_anybody_speaks_leaves_nothing_in_flight() -> None:
    provider = FakeProvider(delay=30)
    gateway = Plano({"model_providers": [ENTRY]}, transport=provider)
    deep = json.dumps(HELLO)[:-1] + ', "x": ' + "[" * 500 + "]" * 500 + "}"
    exchange = Exchange(deep.encode())
    task = asyncio.create_task(gateway(scope("POST", CHAT), exchange.receive, exchange.send))
    while not provider.requests:  # noqa: ASYNC110 - it is the gateway's doing
        await asyncio.sleep(0.001)
    exchange.leave()
    await asyncio.wait_for(task, 5)
    text = (await ask(gateway, "GET", "/metrics")).body.decode()
    assert 'plano_requests_in_flight{client_dialect="chat"} 0' in text
    assert "plano_client_aborts_total" in text


async def test_one_closer_that_fails_keeps_no_other_from_being_called() -> None:
    called: list[str] = []

    async def watch(request: Request, call_next: CallNext) -> Response:
        request.journal.closers += (lambda _: called.append(str(1 / 0)), lambda _: called.append("second"))
        return await call_next(request)

    gateway = Plano({"model_providers": [ENTRY]}, filters=[watch], transport=FakeProvider())
    assert (await ask(gateway, "POST", CHAT, HELLO)).status == 200
    await gateway.aclose()
    assert called == ["second"]


async def test_a_target_of_a_filters_own_goes_where_it_says_each_time() -> None:
    async def by_team(request: Request, call_next: CallNext) -> Response:
        team = request.headers.get("x-team")
        target = request.require_target()
        url = f"https://{team}.example/v1/chat/completions"
        endpoints = dict.fromkeys(target.endpoints, Endpoint(url, url))
        return await call_next(request.replace(target=replace(target, endpoints=endpoints, key=Secret(f"sk-{team}"))))

    provider = FakeProvider()
    order = ("metrics", "intake", "auth", "alias", "filters", "state", "translation")
    gateway = Plano({"model_providers": [ENTRY]}, filters=[by_team], order=order, transport=provider)
    for team in ("red", "blue", "red"):
        await ask(gateway, "POST", CHAT, HELLO, {"x-team": team})
    sent = [(each.url.split("/")[2], each.headers["authorization"]) for each in provider.requests]
    assert sent == [(f"{team}.example", f"Bearer sk-{team}") for team in ("red", "blue", "red")]


async def test_the_hosts_own_authentication_may_take_longer_than_a_body() -> None:
    async def who(scope: Scope) -> Caller:
        await asyncio.sleep(0.3)
        return Caller(name="late")

    config = {"model_providers": [ENTRY], "limits": {"body_seconds": 0.05}}
    gateway = Plano(config, caller=who, transport=FakeProvider())
    assert (await ask(gateway, "POST", CHAT, HELLO)).status == 200


@pytest.mark.parametrize("first", ["breaks", "answers"])
async def test_what_an_earlier_attempt_said_is_not_taken_for_the_last_ones(first: str) -> None:
    usages: list[int] = []

    async def again(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        assert response.pieces is not None
        with suppress(UpstreamError):
            async for _ in response.pieces:
                pass
        await response.aclose()
        assert response.attempt is not None
        assert response.attempt.first_token is not None
        response = await call_next(request)
        assert response.attempt is request.journal.attempts[1]
        assert response.attempt.first_token is None
        assert response.usage is None
        request.journal.closers += (lambda over: usages.append(over.journal.usage.output_tokens),)
        return response

    provider = FakeProvider()
    if first == "breaks":
        provider.breaks_after(3)
    else:
        provider.reply("a much longer answer than the other one, so that it takes more tokens")
    provider.reply("short")
    gateway = Plano({"model_providers": [ENTRY]}, filters=[again], transport=provider)
    body = HELLO | {"stream": True, "stream_options": {"include_usage": True}}
    answer = await ask(gateway, "POST", CHAT, body)
    assert b"short" in answer.body
    await gateway.aclose()
    assert usages == [1]


TRAILED = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nx-request-id: mine\r\n"
    b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nx-request-id: theirs\r\nidempotency-key: theirs\r\n\r\n"
)


async def test_trailers_are_not_taken_for_headers() -> None:
    provider = FakeProvider()
    body = json.dumps(HELLO).encode()
    gateway = Plano({"model_providers": [ENTRY]}, transport=provider)
    async with serving(gateway) as server, server.client() as client:
        await client.send(TRAILED % (len(body), body))
        reply = await client.reply()
    assert reply.startswith(b"HTTP/1.1 200")
    assert b"x-request-id: mine\r\n" in reply
    assert "idempotency-key" not in provider.last.headers


@pytest.mark.parametrize("key", [None, "a-wrong-key-of-some-length"])
async def test_the_body_of_somebody_unknown_is_not_taken_in(key: str | None) -> None:
    config = {"model_providers": [{"model": "openai/m", "access_key": "k"}]}
    app = Plano({**config, "auth": {"keys": [{"name": "app", "key": "c" * 20}]}}, transport=FakeProvider())
    taken: list[int] = []
    sent: list[Message] = []

    async def receive() -> Message:
        taken.append(1)
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    await app(scope("POST", "/v1/chat/completions", headers=headers), receive, send)
    assert sent[0]["status"] == 401
    assert taken == []
    app._survivors.observing.finished_requests.flush()


async def test_what_on_close_asked_for_is_called_once_for_dropped_responses_too_and_may_raise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    closed: list[str] = []

    async def careless(request: Request, call_next: CallNext) -> Response:
        for number in ("dropped", "closed", "sent"):
            response = await call_next(request)
            response.on_close(lambda: 1 // 0)
            response.on_close(lambda number=number: closed.append(number))
            if number == "closed":
                await response.aclose()
        return response

    gateway = Plano({"model_providers": [ENTRY]}, filters=[careless], transport=FakeProvider())
    for body in (HELLO, HELLO | {"stream": True}):
        assert (await ask(gateway, "POST", CHAT, body)).status == 200
        assert sorted(closed) == ["closed", "dropped", "sent"]
        closed.clear()
    assert caplog.text.count("ZeroDivisionError") == 6


async def test_an_error_in_place_of_a_stream_has_the_headers_that_filters_gave_it() -> None:
    async def stamping(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.set_header("x-stamp", "yes")
        return response

    provider = FakeProvider()
    provider.breaks_after(0)
    gateway = Plano({"model_providers": [ENTRY]}, filters=[stamping], transport=provider)
    answer = await ask(gateway, "POST", CHAT, HELLO | {"stream": True})
    assert (answer.status, answer.headers["x-stamp"]) == (502, "yes")
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("stream", [True, False, None])
async def test_only_a_reply_is_streamed(stream: bool | None) -> None:
    gateway = Plano({"model_providers": [ENTRY]}, transport=FakeProvider())
    answer = await ask(gateway, "POST", "/v1/embeddings", {"model": "m", "input": "Hi", "stream": stream})
    assert (answer.status, answer.json()["object"]) == (200, "list")


async def test_a_connection_that_cannot_be_let_go_of_keeps_no_other() -> None:
    let_go: list[int] = []

    async def failing() -> None:
        raise ZeroDivisionError

    async def noting() -> None:
        let_go.append(1)

    async def holding(request: Request, call_next: CallNext) -> Response:
        request.journal.releases += (failing, noting)
        return await call_next(request)

    gateway = Plano({"model_providers": [ENTRY]}, filters=[holding], transport=FakeProvider())
    assert (await ask(gateway, "POST", CHAT, HELLO)).status == 200
    assert let_go == [1]
