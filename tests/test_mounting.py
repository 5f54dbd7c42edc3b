"""plano inside somebody else's service: under any root path, several at once, with the host's own authentication."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from httpx import MockTransport, Request, Response
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from plano import Caller, Plano
from plano.testing import FakeProvider, serve
from tests.asgi import ask
from tests.clients import CLIENTS

HELLO = {"messages": [{"role": "user", "content": "Hello"}]}


def config(model: str = "openai/gpt-4o", **more: Any) -> dict[str, Any]:
    return {"model_providers": [{"model": model, "access_key": "sk-1", "default": True, **more}]}


def hosts(gateway: Plano) -> dict[str, Any]:
    fastapi = FastAPI()
    fastapi.mount("/llm", gateway)
    return {"starlette": Starlette(routes=[Mount("/llm", app=gateway)]), "fastapi": fastapi}


@pytest.mark.parametrize("host", ["starlette", "fastapi"])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/llm/v1/chat/completions", 200),
        ("POST", "/llm/v1/chat/completions/", 200),
        ("GET", "/llm/v1/models", 200),
        ("GET", "/llm/v1/models/openai/gpt-4o", 200),
        ("GET", "/llm/healthz", 200),
        ("GET", "/llm/v1/nope", 404),
        ("POST", "/llm/v1/models", 405),
    ],
)
def test_mounted_without_a_lifespan(host: str, method: str, path: str, status: int) -> None:
    provider = FakeProvider()
    client = TestClient(hosts(Plano(config(), transport=provider))[host])
    answer = client.request(method, path, json=HELLO if method == "POST" else None, follow_redirects=False)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"


async def test_mounted_two_deep_on_a_real_server_with_the_real_sdk() -> None:
    inner = Starlette(routes=[Mount("/ai", app=Plano(config(), transport=FakeProvider()))])
    outer = Starlette(routes=[Mount("/v2", app=inner)])
    with serve(outer) as url:
        for dialect in ("chat", "messages", "responses"):
            client = CLIENTS[dialect](f"{url}/v2/ai")
            got = await client.ask("gpt-4o", "Hello", stream=True)
            assert "Hello" in got.text
            await client.aclose()


async def test_several_in_one_process_share_nothing() -> None:
    providers = [FakeProvider(), FakeProvider()]
    gateways = [Plano(config(f"openai/m{i}"), transport=provider) for i, provider in enumerate(providers)]
    answers = await asyncio.gather(*(ask(gateway, "POST", "/v1/chat/completions", HELLO) for gateway in gateways))
    assert [answer.status for answer in answers] == [200, 200]
    assert [provider.last.json["model"] for provider in providers] == ["m0", "m1"]
    assert (await ask(gateways[0], "POST", "/v1/chat/completions", HELLO | {"model": "m1"})).status == 404


@pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_each_event_loop_gets_connections_of_its_own() -> None:
    """Test clients without a context manager use a new loop for each request; what the old loop kept open
    goes with it, and the interpreter says so."""
    with serve(FakeProvider()) as upstream:
        gateway = Plano(config(base_url=upstream))
        client = TestClient(gateway)
        for _ in range(3):
            assert client.post("/v1/chat/completions", json=HELLO).status_code == 200
        del gateway, client
        gc.collect()


async def test_a_lifespan_closes_connections_and_a_closed_gateway_can_go_on() -> None:
    with serve(FakeProvider()) as upstream:
        gateway = Plano(config(base_url=upstream))
        with TestClient(gateway) as client:
            assert client.post("/v1/chat/completions", json=HELLO).status_code == 200
        assert (await ask(gateway, "POST", "/v1/chat/completions", HELLO)).status == 200
        await gateway.aclose()
        assert (await ask(gateway, "POST", "/v1/chat/completions", HELLO)).status == 200
        await gateway.aclose()


async def test_the_hosts_own_authentication_says_who_is_asking() -> None:
    def caller(scope: Any) -> Caller | None:
        user = dict(scope["headers"]).get(b"x-user")
        if user is None:
            return None
        return Caller(
            name=user.decode(), tenant="acme", models=frozenset({"openai/gpt-4o"}) if user == b"eve" else None
        )

    seen: list[Caller] = []

    async def look(request: Any, call_next: Any) -> Any:
        seen.append(request.caller)
        return await call_next(request)

    entries = [{"model": "openai/gpt-4o", "access_key": "sk-1"}, {"model": "openai/o3", "access_key": "sk-1"}]
    gateway = Plano({"model_providers": entries}, caller=caller, filters=[look], transport=FakeProvider())
    body = HELLO | {"model": "gpt-4o"}
    assert (await ask(gateway, "POST", "/v1/chat/completions", body)).status == 401
    assert (await ask(gateway, "GET", "/v1/models")).status == 401
    assert (await ask(gateway, "POST", "/v1/chat/completions", body, {"x-user": "eve"})).status == 200
    assert [(found.name, found.tenant) for found in seen] == [("eve", "acme")]
    denied = await ask(gateway, "POST", "/v1/chat/completions", HELLO | {"model": "o3"}, {"x-user": "eve"})
    assert denied.status == 404
    listed = (await ask(gateway, "GET", "/v1/models", headers={"x-user": "eve"})).json()
    assert [model["id"] for model in listed["data"]] == ["openai/gpt-4o"]


async def test_the_hosts_authentication_may_be_asynchronous() -> None:
    async def caller(scope: Any) -> Caller:
        await asyncio.sleep(0)
        return Caller(name="async")

    gateway = Plano(config(), caller=caller, transport=FakeProvider())
    assert (await ask(gateway, "POST", "/v1/chat/completions", HELLO)).status == 200


async def test_any_httpx_transport_can_send() -> None:
    def answer(request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer sk-1"
        message = {"role": "assistant", "content": "From a mock"}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return Response(200, json={"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "choices": choices})

    gateway = Plano(config(), transport=MockTransport(answer))
    got = await ask(gateway, "POST", "/v1/chat/completions", HELLO)
    assert got.json()["choices"][0]["message"]["content"] == "From a mock"


@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
async def test_the_sdks_stream_in_process_over_an_asgi_transport(dialect: str) -> None:
    http_client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=Plano(config(), transport=FakeProvider())))
    client = CLIENTS[dialect]("http://plano")
    client.sdk = client.sdk.with_options(http_client=http_client)
    got = await client.ask("gpt-4o", "Hello", stream=True)
    assert "You said: Hello" in got.text
    await client.aclose()


async def test_a_websocket_is_turned_away() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/v1/responses", "headers": [], "root_path": "", "query_string": b""}
    await Plano(config(), transport=FakeProvider())(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
