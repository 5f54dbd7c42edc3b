"""Requests that are over are counted and logged together, each once, soon, and whatever happens."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
import threading
from typing import Any

import pytest

from plano import CallNext, Plano, Request, Response
from plano.observability import finished_requests
from plano.testing import FakeProvider
from plano.types import Receive, Scope, Send
from tests.asgi import ask
from tests.server.wire import serving, until

CHAT = "/v1/chat/completions"
HELLO = {"model": "openai/m", "messages": [{"role": "user", "content": "Hello"}]}
CONFIG: dict[str, Any] = {
    "model_providers": [{"model": "openai/m", "access_key": "k"}],
    "state_storage": {"type": "none"},
}
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n%b"
BODY = b'{"model":"openai/m","messages":[{"role":"user","content":"Hello"}]}'


class Seen:
    """A filter that notes the requests that are over."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.threads: set[int] = set()

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        request.journal.closers += (self.over,)
        return await call_next(request)

    def over(self, request: Request) -> None:
        self.ids.append(request.id)
        self.threads.add(threading.get_ident())


@pytest.fixture(autouse=True)
def nobody_listens_to_the_log() -> Any:
    """A host's own handlers are told at once."""
    CONFIG["log"] = {"access": False}
    yield
    del CONFIG["log"]


def gateway(seen: Seen) -> Plano:
    return Plano(CONFIG, filters=[seen], transport=FakeProvider())


async def test_they_wait_for_each_other_but_not_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished_requests, "MAX_WAIT", 60.0)
    seen = Seen()
    app = gateway(seen)
    for _ in range(finished_requests.MAX_BATCH - 1):
        await ask(app, "POST", CHAT, HELLO)
    assert not seen.ids
    await ask(app, "POST", CHAT, HELLO)
    assert len(seen.ids) == finished_requests.MAX_BATCH
    monkeypatch.setattr(finished_requests, "MAX_WAIT", 0.1)
    await ask(gateway(seen), "POST", CHAT, HELLO)
    await until(lambda: len(seen.ids) > finished_requests.MAX_BATCH)
    assert len(seen.ids) == len(set(seen.ids)) == finished_requests.MAX_BATCH + 1


async def test_what_failed_and_what_is_large_does_not_wait() -> None:
    seen = Seen()
    app = gateway(seen)
    await ask(app, "POST", CHAT, HELLO | {"model": "nobody"})
    assert len(seen.ids) == 1
    await ask(app, "POST", CHAT, HELLO | {"user": "x" * 2_000_000})
    assert len(seen.ids) == 2


async def test_a_scrape_counts_what_waits() -> None:
    app = gateway(Seen())
    await ask(app, "POST", CHAT, HELLO)
    text = (await ask(app, "GET", "/metrics")).body.decode()
    assert 'plano_requests_in_flight{client_dialect="chat"} 0' in text


def test_a_loop_that_ended_with_requests_waiting_keeps_no_later_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen()
    app = gateway(seen)

    async def several() -> None:
        for _ in range(3):
            await ask(app, "POST", CHAT, HELLO)
        await until(lambda: len(seen.ids) == 4)

    monkeypatch.setattr(finished_requests, "MAX_WAIT", 60.0)
    asyncio.run(ask(app, "POST", CHAT, HELLO))
    assert not seen.ids
    monkeypatch.setattr(finished_requests, "MAX_WAIT", 0.1)
    asyncio.run(several())
    assert len(seen.ids) == 4


async def test_a_reader_in_another_thread_leaves_them_to_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished_requests, "MAX_WAIT", 1.0)
    seen = Seen()
    app = gateway(seen)
    await ask(app, "POST", CHAT, HELLO)
    await asyncio.to_thread(lambda: list(app.metrics.collect()))
    assert not seen.ids
    await until(lambda: seen.ids)
    assert seen.threads == {threading.get_ident()}


def test_a_reader_after_the_loop_counts_them() -> None:
    seen = Seen()
    app = gateway(seen)
    asyncio.run(ask(app, "POST", CHAT, HELLO))
    list(app.metrics.collect())
    assert len(seen.ids) == 1


async def test_tokens_that_cannot_be_told_keep_no_request_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(request: Request, response: Response | None) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(finished_requests, "settle_usage", fails)
    seen = Seen()
    app = gateway(seen)
    await ask(app, "POST", CHAT, HELLO)
    await app.aclose()
    assert len(seen.ids) == 1


PROGRAM = """
import asyncio, sys
sys.path.insert(0, {root!r})
from plano import Plano
from plano.observability import logs
from plano.testing import FakeProvider
from tests.asgi import ask

logs.setup("info", "json")
app = Plano({config!r}, transport=FakeProvider())
for _ in range(3):
    asyncio.run(ask(app, "POST", {path!r}, {body!r}))
"""


def test_a_process_that_ends_without_closing_still_logs_them(pytestconfig: pytest.Config) -> None:
    config = CONFIG | {"log": {"access": True}}
    program = PROGRAM.format(root=str(pytestconfig.rootpath), config=config, path=CHAT, body=HELLO)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.count('"path":"/v1/chat/completions"') == 3, done.stderr


@pytest.mark.parametrize("wrapped", ["receive", "send", "both"])
async def test_what_looks_like_planos_own_server_is_not_taken_for_it(wrapped: str) -> None:
    app = gateway(Seen())
    called: list[str] = []

    async def around(scope: Scope, receive: Receive, send: Send) -> None:
        @functools.wraps(receive)
        async def noting_receive() -> Any:
            called.append("receive")
            return await receive()

        @functools.wraps(send)
        async def noting_send(message: Any) -> None:
            called.append("send")
            await send(message)

        await app(
            scope,
            receive if wrapped == "send" else noting_receive,
            send if wrapped == "receive" else noting_send,
        )

    async with serving(around) as server, server.client() as client:
        await client.send(POST % (len(BODY), BODY))
        assert (await client.reply()).startswith(b"HTTP/1.1 200 ")
    assert set(called) == ({"receive", "send"} if wrapped == "both" else {wrapped})


async def test_a_reply_that_cannot_be_sent_is_counted_as_what_the_client_sees() -> None:
    statuses: list[int] = []

    async def spoils(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.headers.append((b"x-bad", b"a\nb"))
        request.journal.closers += (lambda over: statuses.append(over.journal.status),)
        return response

    app = Plano(CONFIG, filters=[spoils], transport=FakeProvider())
    async with serving(app) as server, server.client() as client:
        await client.send(POST % (len(BODY), BODY))
        assert (await client.reply()).startswith(b"HTTP/1.1 500 ")
    await app.aclose()
    assert statuses == [500]
