"""The endpoints below /ui: who gets them, what they say, and what they keep to themselves."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from plano import Caller, Plano
from plano.config import load
from plano.process.launch import reached_at
from plano.testing import FakeProvider
from plano.ui.pages import FILES, PAGE
from tests.asgi import ask

STATIC = Path(__file__).parents[2] / "plano" / "ui" / "static"
KEY = "sk-caller-0123456789abcdef"
HELLO = {"model": "gpt-4o", "messages": [{"role": "user", "content": "a very private prompt"}]}


def config(**more: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"model_providers": [{"model": "openai/gpt-4o", "access_key": "sk-upstream-0123456789"}]}
    return {**said, "model_aliases": {"fast": {"target": "gpt-4o"}}, "ui": True, **more}


def keys(**more: Any) -> dict[str, Any]:
    return {"keys": [{"name": "alice", "key": KEY, **more}, {"name": "bob", "key": KEY[::-1]}]}


def gateway(**more: Any) -> Plano:
    return Plano(config(**more), transport=FakeProvider())


async def data(app: Any, query: str = "", headers: dict[str, str] | None = None) -> Any:
    answer = await ask(app, "GET", f"/ui/data{query}", headers=headers)
    assert answer.status == 200
    return answer.json()


@pytest.mark.parametrize("said", [{"ui": False}, {"ui": None}])
@pytest.mark.parametrize("path", ["/ui", "/ui/", "/ui/data", "/ui/main.js"])
async def test_it_is_not_there_unless_it_is_asked_for(said: dict[str, Any], path: str) -> None:
    app = gateway(**said)
    assert (await ask(app, "GET", path)).status == 404
    assert "ui" not in [link.name for link in app.pipeline]


@pytest.mark.parametrize(
    ("said", "host", "there"),
    [
        (None, "127.0.0.1", True),
        (None, "localhost", True),
        (None, "::1", True),
        (None, "127.8.8.8", True),
        (None, "0.0.0.0", False),
        (None, "::", False),
        (None, "10.0.0.1", False),
        (None, "example.com", False),
        (None, "", False),
        (True, "0.0.0.0", True),
        (False, "127.0.0.1", False),
    ],
)
def test_without_a_word_on_it_it_is_there_on_loopback_alone(said: bool | None, host: str, there: bool) -> None:
    assert reached_at(load(config(ui=said), {}), host).ui is there


@pytest.mark.parametrize("path", ["/ui", "/ui/", "/ui/data", *(f"/ui/{name}" for name in FILES)])
async def test_everything_is_served_with_a_strict_policy(path: str) -> None:
    answer = await ask(gateway(), "GET", path)
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cache-control"] == ("no-store" if path == "/ui/data" else "no-cache")
    head = await ask(gateway(), "HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert (await ask(gateway(), "POST", path)).status == 405


def test_every_file_is_served() -> None:
    assert {path.name for path in STATIC.iterdir()} == {*FILES, PAGE}


def test_the_page_makes_no_outside_request_and_no_markup_of_what_it_is_told() -> None:
    for path in STATIC.iterdir():
        text = path.read_text()
        outside = re.findall(r"https?://[^\s\"'`)]+", text)
        assert set(outside) <= {"http://www.w3.org/2000/svg"}, f"{path.name}: {outside}"
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "localStorage",
            "@import",
        ):
            assert word not in text, f"{path.name} has {word}"
    page = (STATIC / PAGE).read_text()
    assert "<style" not in page
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"\son\w+=|style=", page) == []


@pytest.mark.parametrize(("operator", "seen"), [(True, ["gpt-4o", "other"]), (False, None)])
async def test_the_conditions_of_targets_are_for_operators(operator: bool, seen: list[str] | None) -> None:
    entries = [{"model": f"openai/{name}", "access_key": "sk-upstream-0123456789"} for name in ("gpt-4o", "other")]
    app = gateway(
        model_providers=entries,
        model_aliases={"fast": {"target": "gpt-4o", "fallbacks": ["other"]}},
        auth=keys(operator=operator),
    )
    app._survivors.observing.conditions._choosing.health.of(app.models.resolve("gpt-4o"))
    app._survivors.observing.conditions._choosing.health.of(app.models.resolve("other"))
    told = (await data(app, headers={"authorization": f"Bearer {KEY}"}))["targets"]
    assert (None if told is None else [each["model"] for each in told]) == seen
    if told:
        assert told[0] == {
            "entry": "openai/gpt-4o",
            "model": "gpt-4o",
            "key_no": 0,
            "state": "in",
            "why": None,
            "seconds": None,
            "place": "openai/gpt-4o",
            "in_flight": 0,
        }


@pytest.mark.parametrize(("path", "base"), [("/ui", "ui/"), ("/ui/", "./")])
async def test_links_are_relative_to_wherever_it_is_mounted(path: str, base: str) -> None:
    app = Starlette(routes=[Mount("/llm", app=gateway())])
    answer = await ask(app, "GET", f"/llm{path}")
    assert f'<base href="{base}">' in answer.body.decode()
    assert not re.search(r'(href|src)="/', answer.body.decode())


async def test_the_data_says_what_happened_and_then_only_what_is_new() -> None:
    app = gateway()
    first = await data(app)
    assert (first["requests"], first["counts"]) == ([], [])
    assert [(model["name"], model["alias"], model["target"]) for model in first["models"]] == [
        ("fast", True, "openai/gpt-4o"),
        ("gpt-4o", False, "openai/gpt-4o"),
        ("openai/gpt-4o", False, "openai/gpt-4o"),
    ]
    await ask(app, "POST", "/v1/chat/completions", HELLO)
    second = await data(app, f"?seen=00000000-1-1,{first['seen']}")
    assert [row["asked"] for row in second["requests"]] == ["gpt-4o"]
    assert [line[3] for line in second["counts"]] == [1]
    assert second["models"] is None
    assert second["worker"] == first["worker"]
    third = await data(app, f"?seen={second['seen']}")
    assert third["requests"] == []
    assert len((await data(app))["requests"]) == 1


@pytest.mark.parametrize("seen", ["x", "-1--1", "a" * 20_000, "0-0-0", "%00", "99999999-9999999999999999999-1"])
async def test_junk_for_what_was_seen_is_nothing_seen(seen: str) -> None:
    app = gateway()
    await ask(app, "POST", "/v1/chat/completions", HELLO)
    assert len((await data(app, f"?seen={seen}"))["requests"]) == 1


async def test_where_callers_have_keys_the_data_asks_for_one() -> None:
    app = gateway(auth=keys())
    for headers in ({}, {"authorization": "Bearer sk-wrong"}):
        answer = await ask(app, "GET", "/ui/data", headers=headers)
        assert answer.status == 401
        assert b"gpt-4o" not in answer.body
    assert (await ask(app, "GET", f"/ui/data?key={KEY}")).status == 401
    page = await ask(app, "GET", "/ui")
    assert page.status == 200
    assert b"gpt-4o" not in page.body
    assert (await data(app, headers={"authorization": f"Bearer {KEY}"}))["caller"] == "alice"


@pytest.mark.parametrize(("said", "seen"), [({}, ["alice"]), ({"operator": True}, ["bob", "alice"])])
async def test_a_caller_sees_its_own_requests_and_an_operator_all(said: dict[str, Any], seen: list[str]) -> None:
    app = gateway(auth=keys(**said))
    for key in (KEY, KEY[::-1]):
        await ask(app, "POST", "/v1/chat/completions", HELLO, {"x-api-key": key})
    found = await data(app, headers={"x-api-key": KEY})
    assert [row["caller"] for row in found["requests"]] == seen
    assert sum(line[3] for line in found["counts"]) == len(seen)
    assert found["operator"] is bool(said)
    assert (found["running"] is None) is not bool(said)


async def test_a_caller_is_told_of_the_models_it_may_use() -> None:
    app = gateway(auth=keys(models=["fast"]))
    found = await data(app, headers={"x-api-key": KEY})
    assert [model["name"] for model in found["models"]] == ["fast"]


async def test_a_hosts_own_authentication_holds_for_the_page_too() -> None:
    def caller(scope: Any) -> Caller | None:
        user = dict(scope["headers"]).get(b"x-user")
        return None if user is None else Caller(name=user.decode(), operator=user == b"root")

    app = Plano(config(), transport=FakeProvider(), caller=caller)
    assert (await ask(app, "GET", "/ui/data")).status == 401
    assert (await data(app, headers={"x-user": "eve"}))["operator"] is False
    assert (await data(app, headers={"x-user": "root"}))["operator"] is True


async def test_neither_bodies_nor_keys_are_in_it() -> None:
    app = gateway(auth=keys(operator=True))
    upstream = app._survivors.connections._override
    assert isinstance(upstream, FakeProvider)
    paths = {"/v1/chat/completions": HELLO, "/v1/messages": HELLO | {"max_tokens": 5}}
    for path, payload in paths.items():
        for stream in (False, True):
            upstream.reply("a private answer")
            await ask(app, "POST", path, payload | {"stream": stream}, {"authorization": f"Bearer {KEY}"})
        upstream.fail(400, "a private error", code="private")
        await ask(app, "POST", path, payload, {"authorization": f"Bearer {KEY}"})
    await ask(app, "POST", path, payload | {"model": KEY}, {"authorization": f"Bearer {KEY}"})
    shown = json.dumps(await data(app, headers={"authorization": f"Bearer {KEY}"}))
    assert shown.count('"caller": "alice"') == 8
    assert [secret for secret in ("private", KEY, "sk-upstream", "0123456789") if secret in shown] == []


async def test_asking_every_second_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "plano.access")
    app = gateway()
    await data(app)
    assert caplog.records == []
    await ask(app, "GET", "/ui")
    assert len(caplog.records) == 1


async def test_metrics_know_the_pages_paths_and_no_others() -> None:
    app = gateway()
    for path in ("/ui", "/ui/data", "/ui/main.js", "/ui/none.js", "/ui/../etc/passwd"):
        await ask(app, "GET", path)
    text = (await ask(app, "GET", "/metrics")).body.decode()
    routes = set(re.findall(r'plano_other_requests_total\{route="([^"]*)"', text))
    assert {"/ui", "/ui/data", "/ui/main.js", "other"} <= routes
    assert not any("none" in route or "passwd" in route for route in routes)


async def test_with_several_processes_on_one_port_each_answer_ends_its_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "connection" not in (await ask(gateway(), "GET", "/ui/data")).headers
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    assert (await ask(gateway(), "GET", "/ui/data")).headers["connection"] == "close"
