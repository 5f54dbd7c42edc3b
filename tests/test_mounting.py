"""plano inside somebody else's service: under any root path, several at once, with the host's own authentication."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from httpx import MockTransport, Request, Response
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.routing import Mount
from starlette.testclient import TestClient

from plano import Caller, Plano
from plano.errors import PermissionDenied
from plano.testing import FakeProvider, serve
from tests.asgi import ask
from tests.clients import CLIENTS
from tests.documents import examples

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
    assert [model["id"] for model in listed["data"]] == ["gpt-4o", "openai/gpt-4o"]


async def test_the_hosts_authentication_may_be_asynchronous() -> None:
    async def caller(scope: Any) -> Caller:
        await asyncio.sleep(0)
        return Caller(name="async")

    gateway = Plano(config(), caller=caller, transport=FakeProvider())
    assert (await ask(gateway, "POST", "/v1/chat/completions", HELLO)).status == 200


class Gone(Exception):
    """What the host's own database raises."""


def broken(scope: Any) -> Caller:
    raise Gone("the user's row")


async def broken_later(scope: Any) -> Caller:
    await asyncio.sleep(0)
    raise Gone("the user's row")


def unreachable(scope: Any) -> Caller:
    raise ConnectionRefusedError("the directory of users")


def mistaken(scope: Any) -> Any:
    return "eve"


CHAT_ERROR = {"error": {"message": "The gateway failed on this request.", "type": "server_error"}}
MESSAGES_ERROR = {"type": "error", "error": {"message": "The gateway failed on this request.", "type": "api_error"}}


@pytest.mark.parametrize("caller", [broken, broken_later, unreachable, mistaken])
@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/chat/completions", CHAT_ERROR),
        ("POST", "/v1/messages", MESSAGES_ERROR),
        ("POST", "/v1/responses", CHAT_ERROR),
        ("GET", "/v1/models", CHAT_ERROR),
        ("GET", "/v1/models/openai/gpt-4o", CHAT_ERROR),
        ("GET", "/v1/responses/resp_1", CHAT_ERROR),
        ("GET", "/ui/data", CHAT_ERROR),
    ],
)
async def test_the_hosts_authentication_breaks(
    caller: Any, method: str, path: str, expected: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    gateway = Plano(config() | {"ui": True}, caller=caller, transport=FakeProvider())
    with caplog.at_level(logging.DEBUG):  # what the page asks is said on that level
        answer = await ask(gateway, method, path, HELLO if method == "POST" else b"")
    assert (answer.status, answer.headers["content-type"]) == (500, "application/json")
    error = answer.json()
    assert {name: error["error"][name] for name in ("message", "type")} == expected["error"]
    assert error.get("type") == expected.get("type")
    (said,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert said.exc_info is not None
    assert isinstance(said.exc_info[1], Gone | ConnectionRefusedError | AssertionError)
    (line,) = [record for record in caplog.records if record.name == "plano.access"]
    assert f"{method} {path} 500 " in line.getMessage()


async def test_a_request_whose_caller_could_not_be_told_is_counted() -> None:
    gateway = Plano(config(), caller=broken, transport=FakeProvider())
    await ask(gateway, "POST", "/v1/chat/completions", HELLO)
    await gateway.aclose()
    counts = [
        (sample.labels["status"], sample.value)
        for family in gateway.metrics.collect()
        for sample in family.samples
        if sample.name == "plano_requests_total" and sample.value
    ]
    assert counts == [("5xx", 1)]


async def test_the_hosts_authentication_may_refuse_in_plano_s_own_words(caplog: pytest.LogCaptureFixture) -> None:
    def caller(scope: Any) -> Caller:
        raise PermissionDenied("Your trial is over.")

    gateway = Plano(config(), caller=caller, transport=FakeProvider())
    for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models")):
        answer = await ask(gateway, method, path, HELLO)
        assert (answer.status, answer.json()["error"]["message"]) == (403, "Your trial is over.")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


class ByHeader(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        name = conn.headers.get("x-user")
        return None if name is None else (AuthCredentials(), SimpleUser(name))


def test_who_is_signed_in_with_starlette_as_the_readme_has_it() -> None:
    names: dict[str, Any] = {}
    exec(examples("README.md", "py")[0], names)
    gateway = Plano(config(), caller=names["signed_in"], transport=FakeProvider())
    host = AuthenticationMiddleware(Starlette(routes=[Mount("/llm", app=gateway)]), backend=ByHeader())
    client = TestClient(host)
    for headers, status in (({"x-user": "eve"}, 200), ({}, 401)):
        assert client.post("/llm/v1/chat/completions", json=HELLO, headers=headers).status_code == status
        assert client.get("/llm/v1/models", headers=headers).status_code == status


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


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_request_that_the_host_refuses_is_logged_with_what_came_of_it(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "plano.access")
    config = {"model_providers": [{"model": "openai/m", "access_key": "k"}]}
    gateway = Plano(config, caller=lambda scope: None, transport=FakeProvider())
    answer = await ask(gateway, method, "/v1/chat/completions", HELLO)
    await gateway.aclose()
    (line,) = [record.msg for record in caplog.records if record.name == "plano.access"]
    assert (answer.status, line.bytes_in > 0) == ((401, True) if method == "POST" else (405, False))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "plano"]


@pytest.mark.parametrize("host", ["starlette", "fastapi"])
def test_mounted_without_keys_it_says_once_that_nobody_guards_it(host: str, caplog: pytest.LogCaptureFixture) -> None:
    client = TestClient(hosts(Plano(config(), transport=FakeProvider()))[host])
    assert client.post("/llm/v1/chat/completions", json=HELLO).status_code == 200
    assert client.get("/llm/v1/models").status_code == 200
    (said,) = warnings(caplog)
    for word in ("callers' keys", "`dependencies`", "auth: {keys: [...]}", "caller=", "open=True"):
        assert word in said


@pytest.mark.parametrize(
    "guarded",
    [
        {"config": config() | {"auth": {"keys": [{"name": "app", "key": "sk-app-0123456789abcdef"}]}}},
        {"config": config(), "caller": lambda scope: Caller(name="host")},
        {"config": config(), "open": True},
    ],
    ids=["keys", "caller", "open"],
)
def test_mounted_and_guarded_or_open_on_purpose_it_says_nothing(
    guarded: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    client = TestClient(hosts(Plano(**guarded, transport=FakeProvider()))["fastapi"])
    client.get("/llm/v1/models", headers={"x-api-key": "sk-app-0123456789abcdef"})
    assert warnings(caplog) == []


async def test_not_mounted_it_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    await ask(Plano(config(), transport=FakeProvider()), "GET", "/v1/models")
    assert warnings(caplog) == []


@pytest.mark.parametrize("kind", ["http", "lifespan"])
def test_another_event_loop_than_asyncios_is_refused_with_a_sentence(kind: str) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": f"{kind}.startup" if kind == "lifespan" else "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": kind, "method": "GET", "path": "/v1/models", "headers": [], "query_string": b"", "root_path": ""}
    running = Plano(config(), transport=FakeProvider())(scope, receive, send)
    with pytest.raises(RuntimeError, match="plano needs asyncio"):
        running.send(None)  # as any loop but asyncio's would
    if kind == "lifespan":  # a server takes an exception alone for an application that has no lifespan
        assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
        assert "plano needs asyncio" in sent[0]["message"]
    else:
        assert sent == []
