from __future__ import annotations

import json
import re
from typing import Any

import pytest

from plano import Plano
from plano.credentials.headers import credential_of
from plano.testing import FakeProvider
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect, Headers
from tests.asgi import Answer, Exchange, ask, scope
from tests.test_promises import MINIMAL, PATHS

KEYS = [
    {"name": "app", "key": "sk-app"},
    {"name": "limited", "key": "sk-limited", "tenant": "acme", "models": ["openai/gpt-4o", "fast"]},
]


def gateway(*filters: Any, provider: FakeProvider | None = None) -> Plano:
    config = {
        "model_providers": [
            {"model": "openai/gpt-4o", "access_key": "sk-up"},
            {"model": "openai/o3", "access_key": "sk-up"},
            {"model": "groq/llama", "access_key": "sk-up"},
        ],
        "model_aliases": {"fast": {"target": "groq/llama"}, "hidden": {"target": "openai/o3"}},
        "auth": {"keys": KEYS},
    }
    return Plano(config, filters=filters, transport=provider or FakeProvider())


async def create(app: Plano, dialect: Dialect, model: str, headers: dict[str, str]) -> Answer:
    return await ask(app, "POST", PATHS[dialect], MINIMAL[dialect] | {"model": model}, headers)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer sk-app"},
        {"authorization": "bearer  sk-app "},
        {"x-api-key": "sk-app"},
        {"api-key": "sk-app"},
        {"X-Api-Key": "sk-app"},
    ],
)
async def test_a_known_key_may_ask(dialect: Dialect, headers: dict[str, str]) -> None:
    assert (await create(gateway(), dialect, "gpt-4o", headers)).status == 200


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer "},
        {"authorization": "Basic sk-app"},
        {"authorization": "sk-app"},
        {"x-api-key": "sk-app\u00e9"},
        {"cookie": "key=sk-app"},
    ],
)
async def test_anybody_else_is_told_in_their_dialect(dialect: Dialect, headers: dict[str, str]) -> None:
    provider = FakeProvider()
    answer = await create(gateway(provider=provider), dialect, "gpt-4o", headers)
    assert answer.status == 401
    assert answer.json()["error"]["type"] == "authentication_error"
    assert provider.requests == []
    listed = await ask(gateway(), "GET", "/v1/models", headers=headers)
    assert listed.status == 401


@pytest.mark.parametrize(
    ("model", "status"),
    [("openai/gpt-4o", 200), ("fast", 200), ("gpt-4o", 200), ("groq/llama", 404), ("o3", 404), ("hidden", 404)],
)
async def test_a_key_may_be_limited_to_models(model: str, status: int) -> None:
    answer = await create(gateway(), "chat", model, {"x-api-key": "sk-limited"})
    assert answer.status == status


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "names",
    [
        '"model":"gpt-4o","model":"o3"',
        '"model":"o3","model":"gpt-4o"',
        '"model":"gpt-4o","mod\\u0065l":"o3"',
        '"model":"gpt-4o","Model":"o3"',
        '"MODEL":"o3"',
        '"model":"gpt-4o","\uff4dodel":"o3"',
    ],
)
async def test_a_limited_key_cannot_name_a_model_that_only_the_provider_reads(dialect: Dialect, names: str) -> None:
    provider = FakeProvider()
    rest = json.dumps(MINIMAL[dialect]).replace('"model"', '"metadata"').replace("{", "", 1)
    rest = re.sub(r'"metadata": "[^"]*", ', "", rest)
    body = f"{{{names},{rest}".encode()
    answer = await ask(gateway(provider=provider), "POST", PATHS[dialect], body, {"x-api-key": "sk-limited"})
    assert answer.status == 400
    said = answer.json()["error"]
    assert "`model`" in said["message"]
    assert said["type"] == "invalid_request_error"
    assert said.get("param", "model") == "model"
    assert provider.requests == []


async def test_a_limited_key_sees_only_its_models() -> None:
    listed = await ask(gateway(), "GET", "/v1/models", headers={"x-api-key": "sk-limited"})
    assert [model["id"] for model in listed.json()["data"]] == ["fast", "gpt-4o", "openai/gpt-4o"]
    assert (await ask(gateway(), "GET", "/v1/models/hidden", headers={"x-api-key": "sk-limited"})).status == 404
    everything = await ask(gateway(), "GET", "/v1/models", headers={"x-api-key": "sk-app"})
    assert len(everything.json()["data"]) == 8


async def test_filters_see_who_is_asking_and_never_a_key() -> None:
    seen: list[Any] = []

    async def look(request: Any, call_next: Any) -> Any:
        seen.append(request.caller)
        return await call_next(request)

    app = gateway(look)
    await create(app, "chat", "gpt-4o", {"x-api-key": "sk-limited"})
    await create(app, "chat", "gpt-4o", {"x-api-key": "sk-app"})
    assert [(caller.name, caller.tenant) for caller in seen] == [("limited", "acme"), ("app", "app")]
    assert "sk-" not in repr(seen)
    assert "sk-" not in repr(app.config)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        ([(b"authorization", b"Bearer one")], "one"),
        ([(b"x-api-key", b"two")], "two"),
        ([(b"x-api-key", b"two"), (b"authorization", b"Bearer one")], "one"),
        ([(b"x-api-key", b"two"), (b"authorization", b"Basic one")], "two"),
    ],
)
def test_where_a_key_is_looked_for(headers: Any, expected: str | None) -> None:
    assert credential_of(Headers(headers)) == expected


BOTH = [
    ([("authorization", "Bearer sk-app"), ("authorization", "Bearer sk-limited")], 401),
    ([("authorization", "Bearer sk-limited"), ("authorization", "Bearer sk-app")], 401),
    ([("authorization", "Bearer sk-app"), ("authorization", "Bearer sk-app")], 401),
    ([("authorization", "Bearer sk-app"), ("authorization", "Basic x")], 401),
    ([("x-api-key", "sk-app"), ("x-api-key", "sk-limited")], 401),
    ([("authorization", "Bearer sk-app"), ("x-api-key", "sk-1"), ("x-api-key", "sk-2")], 401),
    ([("authorization", "Bearer sk-app"), ("x-api-key", "sk-limited")], 401),
    ([("authorization", "Bearer sk-app"), ("api-key", "sk-limited")], 401),
    ([("x-api-key", "sk-app"), ("api-key", "sk-limited")], 401),
    ([("authorization", "Bearer sk-app"), ("x-api-key", "sk-app")], 200),
    ([("authorization", "Bearer sk-app"), ("x-api-key", "sk-ant-of-the-provider")], 200),
    ([("authorization", "Bearer unknown"), ("x-api-key", "sk-app")], 401),
    ([("authorization", "Basic x"), ("x-api-key", "sk-app")], 200),
    ([("accept", "a"), ("accept", "b"), ("x-api-key", "sk-app")], 200),
]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("headers", "status"), BOTH)
async def test_headers_that_name_two_callers_name_none(
    dialect: Dialect, headers: list[tuple[str, str]], status: int
) -> None:
    provider = FakeProvider()
    app = gateway(provider=provider)
    raw = [(name.encode(), value.encode()) for name, value in headers]
    for method, path, body in (
        ("POST", PATHS[dialect], MINIMAL[dialect] | {"model": "gpt-4o"}),
        ("GET", "/v1/models", {}),
    ):
        exchange = Exchange(json.dumps(body).encode())
        await app(scope(method, path) | {"headers": raw}, exchange.receive, exchange.send)
        assert exchange.answer.status == status
        if status == 401:
            assert exchange.answer.json()["error"]["type"] == "authentication_error"
            assert "sk-" not in exchange.answer.body.decode()
    assert len(provider.requests) == (1 if status == 200 else 0)


async def test_a_caller_s_own_key_goes_to_its_provider_only_if_it_is_one() -> None:
    provider = FakeProvider()
    app = Plano({"model_providers": [{"model": "openai/gpt-4o", "passthrough_auth": True}]}, transport=provider)
    exchange = Exchange(json.dumps(MINIMAL["chat"] | {"model": "gpt-4o"}).encode())
    raw = [(b"authorization", b"Bearer sk-one"), (b"authorization", b"Bearer sk-two")]
    await app(scope("POST", PATHS["chat"]) | {"headers": raw}, exchange.receive, exchange.send)
    assert exchange.answer.status == 401
    assert provider.requests == []
