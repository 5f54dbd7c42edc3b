"""A gateway on loopback without keys is for this machine, not for the web pages that its browser shows."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from plano import Plano
from plano.config import load
from plano.process.launch import reached_at
from plano.testing import FakeProvider
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.asgi import ask
from tests.scraping import Scrape
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
    "vscode-file://vscode-app",
    "app://obsidian.md",
    "tauri://localhost",
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
    "chrome-extension://abcdef",
    "moz-extension://1a2b",
    "safari-web-extension://1A2B",
    "app.evil.example",
    "null",
    "",
]
OWN_NAMES = [
    "127.0.0.1:12000",
    "127.0.0.1",
    "localhost",
    "LocalHost:3000",
    "app.localhost:80",
    "127.8.9.1:1",
    "[::1]:12000",
    "[::1]",
    "host.docker.internal:12000",
    "host.containers.internal",
]
OTHER_NAMES = [
    "evil.example",
    "evil.example:12000",
    "localhost.evil.example:12000",
    "127.0.0.1.evil.example",
    "evil-localhost",
    "evil.host.docker.internal",
    "192.168.1.7:12000",
    "0.0.0.0:12000",
    "127.0.0.1@evil.example",
    "[::1",
    "[::2]:12000",
    "",
]
ALL_PATHS = [
    ("GET", "/"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/ui"),
    ("GET", "/ui/main.js"),
    ("GET", "/ui/data"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/openai/gpt-4o"),
    ("GET", "/v1/responses/r"),
    ("DELETE", "/v1/responses/r"),
    ("GET", "/v1/chat/completions/c"),
    ("POST", "/v1/conversations"),
    ("OPTIONS", "/v1/messages"),
    ("GET", "/nowhere"),
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


@pytest.mark.parametrize("host", OWN_NAMES)
async def test_this_machines_own_names_are_answered(host: str) -> None:
    app, _ = gateway()
    assert (await ask(app, "POST", PATHS["chat"], MINIMAL["chat"], {"host": host})).status == 200
    assert (await ask(app, "GET", "/ui/data", headers={"host": host})).status == 200


@pytest.mark.parametrize("host", OTHER_NAMES)
async def test_other_names_are_not_for_they_may_be_a_pages_that_point_here(host: str) -> None:
    app, provider = gateway()
    assert (await ask(app, "POST", PATHS["chat"], MINIMAL["chat"], {"host": host})).status == 403
    assert (await ask(app, "GET", "/ui/data", headers={"host": host})).status == 403
    assert provider.requests == []


@pytest.mark.parametrize(("method", "path"), [*ALL_PATHS, *(("POST", path) for path in PATHS.values())])
@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"host": "localhost", "origin": "https://evil.example"}])
async def test_nothing_is_seen_or_deleted_on_any_path(method: str, path: str, headers: dict[str, str]) -> None:
    app, _ = gateway()
    assert (await ask(app, method, path, b"{}", headers)).status == 403
    assert (await ask(app, method, path, b"{}", {"host": "localhost"})).status != 403


async def test_the_refusal_of_a_name_says_what_helps() -> None:
    app, _ = gateway()
    answer = await ask(app, "GET", "/v1/models", headers={"host": "evil.example"})
    assert answer.json()["error"]["message"] == (
        "This gateway has no keys for callers, so it only answers to names of this machine (localhost, 127.0.0.1), "
        "and not to evil.example. To use another name, configure `auth: {keys: [...]}`; a proxy on this machine may "
        "send `Host: localhost` instead."
    )


async def test_what_is_refused_is_counted() -> None:
    app, _ = gateway()
    await ask(app, "GET", "/v1/models", headers={"host": "evil.example"})
    scrape = Scrape((await ask(app, "GET", "/metrics")).body.decode())
    assert scrape.of("plano_other_requests_total", route="other", status="4xx") == 1


@pytest.mark.parametrize(
    ("metrics", "status"),
    [
        ({"port": 1}, 403),
        ({"port": 1, "address": "::1"}, 403),
        ({"port": 1, "address": "0.0.0.0"}, 200),
    ],
)
async def test_a_port_for_metrics_on_loopback_is_guarded_as_well(metrics: dict[str, Any], status: int) -> None:
    app = gateway(metrics=metrics)[0].exposition()
    assert (await ask(app, "GET", "/metrics", headers={"host": "evil.example:9100"})).status == status
    assert (await ask(app, "GET", "/metrics", headers={"host": "localhost:9100"})).status == 200


async def test_whoever_has_a_key_may_ask_from_anywhere() -> None:
    app, _ = gateway(**KEYS)
    headers = {"host": "llm.example", "origin": "https://app.example", "authorization": "Bearer sk-app"}
    assert (await ask(app, "POST", PATHS["chat"], MINIMAL["chat"], headers)).status == 200


async def test_a_gateway_that_others_reach_or_that_a_host_mounts_refuses_nothing() -> None:
    for app in (gateway("0.0.0.0")[0], Plano(FAKE, transport=FakeProvider())):
        headers = {"host": "llm.example", "origin": "https://app.example"}
        assert (await ask(app, "POST", PATHS["chat"], MINIMAL["chat"], headers)).status == 200


def test_up_guards_itself(tmp_path: Path) -> None:
    (tmp_path / "plano_config.yaml").write_text(DEMO)
    with up(cwd=tmp_path) as (_, url, _):
        assert asked_by_pages(url) == {"https://evil.example": 403, url: 200}
        assert httpx.get(f"{url}/ui/data", headers={"host": "evil.example"}).status_code == 403


def test_a_client_too_old_to_say_a_name_is_no_browser(tmp_path: Path) -> None:
    (tmp_path / "plano_config.yaml").write_text(DEMO)
    with (
        up(cwd=tmp_path) as (_, url, _),
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=20) as client,
    ):
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b" 200 " in client.recv(100)


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
