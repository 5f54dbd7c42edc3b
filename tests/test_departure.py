"""The client leaves: the upstream connection closes within a second, before and after the first token."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from plano import Plano
from plano.testing import FakeProvider, Reply, serve
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.asgi import Exchange, scope
from tests.server.wire import serving
from tests.test_promises import MINIMAL, PATHS


def config(url: str, dialect: Dialect) -> dict[str, Any]:
    entry = {"model": "fake/m", "provider_interface": "openai", "base_url": url, "apis": [dialect], "access_key": "k"}
    return {"model_providers": [entry | {"default": True}]}


async def until(condition: Any, seconds: float = 1.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - it is a thread's doing
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("when", ["before the first byte", "between two chunks", "not streamed"])
async def test_the_upstream_connection_is_closed_when_the_client_leaves(
    client: Dialect, upstream: Dialect, when: str
) -> None:
    provider = FakeProvider()
    if when == "between two chunks":
        provider.script(Reply("one two three four five six seven eight", pause=0.3))
    else:
        provider.script(Reply("late", delay=30))
    outcomes: list[str | None] = []

    async def watch(request: Any, call_next: Any) -> Any:
        request.journal.closers += (lambda over: outcomes.append(over.journal.outcome),)
        return await call_next(request)

    with serve(provider) as url:
        gateway = Plano(config(url, upstream), filters=[watch])
        body = MINIMAL[client] | {"stream": when != "not streamed"}
        exchange = Exchange(json.dumps(body).encode())
        task = asyncio.create_task(gateway(scope("POST", PATHS[client]), exchange.receive, exchange.send))
        await until(lambda: provider.requests and (when != "between two chunks" or exchange.answer.chunks), 5)
        await asyncio.sleep(0.15)
        exchange.leave()
        await until(lambda: provider.last.outcome == "left")
        async with asyncio.timeout(1):
            await task
        assert not exchange.answer.complete
        await gateway.aclose()
        assert outcomes == ["aborted"]


BESIDE: dict[str, dict[str, Any]] = {
    "/v1/embeddings": {"model": "openai/e", "input": "one"},
    "/v1/messages/count_tokens": {"model": "anthropic/c", "messages": [{"role": "user", "content": "one"}]},
    "/v1/responses/input_tokens": {"model": "openai/e", "input": "one"},
}


@pytest.mark.parametrize("path", BESIDE)
async def test_a_request_beside_replies_is_closed_too(path: str) -> None:
    provider = FakeProvider(delay=30)
    entries = [{"model": model, "access_key": "k"} for model in ("openai/e", "anthropic/c")]
    gateway = Plano({"model_providers": entries}, transport=provider)
    exchange = Exchange(json.dumps(BESIDE[path]).encode())
    task = asyncio.create_task(gateway(scope("POST", path), exchange.receive, exchange.send))
    await until(lambda: provider.requests, 5)
    exchange.leave()
    await until(lambda: provider.last.outcome == "left", 5)
    async with asyncio.timeout(5):
        await task
    assert not exchange.answer.complete


@pytest.mark.parametrize("when", ["before the first byte", "between two chunks", "not streamed"])
async def test_planos_own_server_says_at_once_that_the_client_has_left(when: str) -> None:
    provider = FakeProvider()
    provider.script(Reply("a b c d e f", pause=0.5) if when == "between two chunks" else Reply("late", delay=30))
    outcomes: list[str | None] = []

    async def watch(request: Any, call_next: Any) -> Any:
        request.journal.closers += (lambda over: outcomes.append(over.journal.outcome),)
        return await call_next(request)

    with serve(provider) as url:
        gateway = Plano(config(url, "chat"), filters=[watch])
        body = json.dumps(MINIMAL["chat"] | {"stream": when != "not streamed"}).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % len(body)
        async with serving(gateway) as server:
            async with server.client() as client:
                await client.send(head + body)
                await until(lambda: provider.requests, 5)
                if when == "between two chunks":
                    await client.until(b"a")
            await until(lambda: provider.last.outcome == "left")
            await until(lambda: not server.tasks)
        await gateway.aclose()
        assert outcomes == ["aborted"]


async def test_a_cancelled_server_task_stays_cancelled() -> None:
    provider = FakeProvider()
    provider.script(Reply("late", delay=30))
    gateway = Plano(config("http://upstream.example", "chat"), transport=provider)
    exchange = Exchange(json.dumps(MINIMAL["chat"]).encode())
    task = asyncio.create_task(gateway(scope("POST", PATHS["chat"]), exchange.receive, exchange.send))
    await until(lambda: provider.requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert provider.last.outcome == "left"
