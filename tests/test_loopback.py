"""A gateway on loopback without keys is for this machine, not for the web pages that its browser shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from plano import Plano
from plano.cli import reached_at
from plano.config import load
from plano.testing import FakeProvider
from plano.types import DIALECTS, Dialect
from tests.asgi import ask
from tests.test_cli import DEMO, up
from tests.test_promises import MINIMAL, PATHS
from tests.test_workers import workers

FAKE = {"model_providers": [{"model": "openai/gpt-4o", "access_key": "sk-up", "default": True}]}
KEYS = {"auth": {"keys": [{"name": "app", "key": "sk-app"}]}}

PROGRAMS = [
    "http://127.0.0.1:12000",
    "http://localhost:3000",
    "https://localhost",
    "http://app.localhost:8080",
    "http://[::1]:12000",
    "http://127.8.9.1",
    "vscode-webview://1a2b",
    "app://obsidian.md",
    "chrome-extension://abcdef",
    "file://",
]
PAGES = [
    "https://evil.example",
    "http://evil.example:12000",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "http://evil-localhost",
    "http://192.168.1.7:12000",
    "http://[::1",
    "http://127.0.0.1@evil.example",
    "//evil.example",
    "null",
    "",
]


def gateway(host: str = "127.0.0.1", **more: Any) -> tuple[Plano, FakeProvider]:
    provider = FakeProvider()
    return Plano(reached_at(load(FAKE | more), host), transport=provider), provider


@pytest.mark.parametrize("origin", PROGRAMS)
async def test_this_machines_own_pages_and_programs_may_ask(origin: str) -> None:
    app, provider = gateway()
    assert (await ask(app, "POST", PATHS["chat"], MINIMAL["chat"], {"origin": origin})).status == 200
    assert len(provider.requests) == 1


@pytest.mark.parametrize("origin", PAGES)
async def test_pages_of_elsewhere_may_not(origin: str) -> None:
    app, provider = gateway()
    answer = await ask(app, "POST", PATHS["chat"], MINIMAL["chat"], {"origin": origin})
    assert answer.status == 403
    assert provider.requests == []


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_refusal_is_in_the_clients_dialect_and_says_what_helps(dialect: Dialect) -> None:
    app, _ = gateway()
    answer = await ask(app, "POST", PATHS[dialect], MINIMAL[dialect], {"origin": "https://evil.example"})
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["type"]) == (403, "permission_error")
    assert error["message"] == (
        "A web page of https://evil.example may not use this gateway, which has no keys for callers. "
        "To serve pages, configure `auth: {keys: [...]}`."
    )


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/models"), ("GET", "/ui/data"), ("DELETE", "/v1/responses/r")]
)
async def test_nor_may_they_see_or_delete_anything(method: str, path: str) -> None:
    app, _ = gateway()
    assert (await ask(app, method, path, None, {"origin": "https://evil.example"})).status == 403
    assert (await ask(app, method, path, None, {})).status in (200, 404)


async def test_whoever_has_a_key_may_ask_from_anywhere() -> None:
    app, _ = gateway(**KEYS)
    headers = {"origin": "https://app.example", "authorization": "Bearer sk-app"}
    assert (await ask(app, "POST", PATHS["chat"], MINIMAL["chat"], headers)).status == 200


async def test_a_gateway_that_others_reach_or_that_a_host_mounts_refuses_no_origin() -> None:
    for app in (gateway("0.0.0.0")[0], Plano(FAKE, transport=FakeProvider())):
        headers = {"origin": "https://app.example"}
        assert (await ask(app, "POST", PATHS["chat"], MINIMAL["chat"], headers)).status == 200


def test_up_guards_itself(tmp_path: Path) -> None:
    (tmp_path / "plano_config.yaml").write_text(DEMO)
    with up(cwd=tmp_path) as (_, url, _):
        assert asked_by_pages(url) == {"https://evil.example": 403, url: 200}


def test_workers_guard_themselves(tmp_path: Path) -> None:
    with workers(tmp_path) as url:
        assert asked_by_pages(url) == {"https://evil.example": 403, url: 200}


def asked_by_pages(url: str) -> dict[str, int]:
    """The statuses that pages get for what they can send without asking first."""
    body = json.dumps({"model": "demo/echo", "messages": [{"role": "user", "content": "Hello"}]})
    statuses = {}
    for origin in ("https://evil.example", url):
        headers = {"origin": origin, "content-type": "text/plain"}
        statuses[origin] = httpx.post(f"{url}/v1/chat/completions", headers=headers, content=body).status_code
    return statuses
