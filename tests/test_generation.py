"""A generation of the configuration is replaced whole, while requests of the one before it run on."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from typing import Any

import pytest

from plano import CallNext, Plano, Request, Response
from plano.config import load
from plano.errors import ConfigError
from plano.generation import DEFAULT_ORDER, Generation
from plano.testing import FakeProvider, Reply, serve
from plano.testing.record import Recorded
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.asgi import Exchange, ask, scope
from tests.scraping import scrape
from tests.test_pairs import PATHS
from tests.test_vendor_rules import asked_in


def config(name: str, **more: Any) -> dict[str, Any]:
    entries = [{"model": f"openai/{model}", "access_key": f"k-{name}"} for model in (name, "both")]
    return {"model_providers": entries, "state_storage": {"type": "memory"}, **more}


def replace_generation(app: Plano, said: dict[str, Any]) -> None:
    app._generation = Generation(load(said), app._survivors, filters=(), order=DEFAULT_ORDER, caller_of=None)


class Held:
    """A filter that lets a request go on once it is told to."""

    def __init__(self) -> None:
        self.came = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        self.came.set()
        await self.go_on.wait()
        return await call_next(request)


def key_of(recorded: Recorded) -> str:
    return recorded.headers.get("authorization", "").removeprefix("Bearer ")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_runs_ends_in_its_own_generation_and_what_comes_begins_in_the_next(
    dialect: Dialect, stream: bool
) -> None:
    held, provider = Held(), FakeProvider()
    provider.script(Reply("Hello"))
    app = Plano(config("old"), filters=[held], transport=provider)
    exchange = Exchange(json.dumps(asked_in(dialect, model="openai/both", stream=stream)).encode())
    running = asyncio.create_task(app(scope("POST", PATHS[dialect]), exchange.receive, exchange.send))
    await held.came.wait()
    replace_generation(app, config("new"))
    answer = await ask(app, "POST", PATHS[dialect], asked_in(dialect, model="openai/both", stream=stream))
    held.go_on.set()
    await running
    assert (answer.status, exchange.answer.status) == (200, 200)
    assert [key_of(recorded) for recorded in provider.requests] == ["k-new", "k-old"]
    await app.aclose()


async def test_models_keys_and_routes_are_those_of_the_next() -> None:
    app = Plano(config("old"), transport=FakeProvider())
    replace_generation(app, config("new", auth={"keys": [{"name": "alice", "key": "sk-alice-0123456789"}]}))
    assert (await ask(app, "GET", "/v1/models")).status == 401
    listed = await ask(app, "GET", "/v1/models", headers={"x-api-key": "sk-alice-0123456789"})
    assert [model["id"] for model in listed.json()["data"]] == ["both", "new", "openai/both", "openai/new"]
    assert (await ask(app, "POST", PATHS["chat"], asked_in("chat", model="openai/new"))).status == 401


async def test_what_was_stored_can_be_continued_in_the_next() -> None:
    provider = FakeProvider()
    app = Plano(config("old"), transport=provider)
    first = await ask(app, "POST", PATHS["responses"], asked_in("responses", model="openai/old"))
    replace_generation(app, config("new"))
    more = {"model": "openai/new", "input": "And?", "previous_response_id": first.json()["id"]}
    assert (await ask(app, "POST", PATHS["responses"], more)).status == 200
    assert len(provider.requests[-1].conversation.messages) == 3
    await app.aclose()


async def test_requests_of_both_are_counted_together() -> None:
    app = Plano(config("old"), transport=FakeProvider())
    for name in ("old", "new"):
        replace_generation(app, config(name))
        assert (await ask(app, "POST", PATHS["chat"], asked_in("chat", model="openai/both"))).status == 200
    found = await scrape(app)
    assert found.of("plano_requests_total", model="openai/both", outcome="completed") == 2
    assert found.of("plano_requests_in_flight") == 0
    assert found.of("plano_filter_seconds_total", filter="upstream") > 0


async def test_a_configuration_that_is_wrong_leaves_the_old_one() -> None:
    app = Plano(config("old"), transport=FakeProvider())
    for wrong in ({"model_providers": []}, config("new", filters=[{"id": "f", "use": "no_such_module:f"}])):
        with pytest.raises(ConfigError):
            app.reload(wrong)
        assert (await ask(app, "POST", PATHS["chat"], asked_in("chat", model="openai/old"))).status == 200
    await app.aclose()


async def test_models_that_are_new_have_series_of_their_own() -> None:
    app = Plano(config("old"), transport=FakeProvider())
    app.reload(config("new"))
    for stream in (False, True):
        assert (
            await ask(app, "POST", PATHS["chat"], asked_in("chat", model="openai/new", stream=stream))
        ).status == 200
    found = await scrape(app)
    assert found.of("plano_requests_total", model="openai/new", outcome="completed") == 2
    assert found.of("gen_ai_server_request_duration_seconds_count", gen_ai_request_model="openai/new") == 2
    assert found.of("plano_requests_total", model="other") == 0
    assert found.of("plano_upstream_errors_total", model="openai/new", kind="timeout") == 0


class HoldsTheFirst(Held):
    """Holds the first request only."""

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        if self.came.is_set():
            return await call_next(request)
        return await super().__call__(request, call_next)


async def test_an_entry_that_moved_is_asked_at_its_new_place_and_what_runs_at_the_old_one() -> None:
    there, here = FakeProvider(), FakeProvider()
    with serve(there) as old, serve(here) as new:
        held = HoldsTheFirst()
        app = Plano(moved(old), filters=[held])
        running = asyncio.create_task(ask(app, "POST", PATHS["chat"], asked_in("chat", model="openai/m")))
        await held.came.wait()
        assert app.reload(moved(new)) == ()
        assert (await ask(app, "POST", PATHS["chat"], asked_in("chat", model="openai/m"))).status == 200
        assert (len(there.requests), len(here.requests)) == (0, 1)
        held.go_on.set()
        assert (await running).status == 200
        assert (len(there.requests), len(here.requests)) == (1, 1)
        await app.aclose()


def moved(url: str) -> dict[str, Any]:
    return {"model_providers": [{"model": "openai/m", "base_url": url, "access_key": "k"}]}


async def test_prices_are_replaced_and_counts_go_on() -> None:
    app = Plano(config("old"), transport=FakeProvider())
    for dollars in (1.0, 3.0):
        app.reload(config("new", prices={"models": {"openai/both": {"input": dollars * 1e6}}}))
        await ask(app, "POST", PATHS["chat"], asked_in("chat", model="openai/both"))
    found = await scrape(app)
    tokens = found.of("gen_ai_client_token_usage_sum", gen_ai_token_type="input")
    assert found.of("plano_cost_dollars_total") == pytest.approx(tokens / 2 * (1 + 3))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("state_storage", {"type": "none"}),
        ("metrics", {"stream_usage": True}),
        ("log", {"access": False}),
        ("ui", True),
        ("tracing", {"random_sampling": 0}),
        ("listeners", [{"name": "l", "type": "model", "port": 1}]),
    ],
)
async def test_settings_that_wait_for_the_next_start_are_named(key: str, value: Any) -> None:
    app = Plano(config("old"), transport=FakeProvider())
    for _ in range(2):
        assert app.reload(config("new") | {key: value}) == (key,)
    assert app.reload(config("new")) == ()
    assert (await ask(app, "GET", "/v1/models/openai/new")).status == 200


KEYS = {"old": "sk-old-0123456789", "new": "sk-new-0123456789"}


def keyed(name: str) -> dict[str, Any]:
    keys = [{"name": name, "key": KEYS[name]}]
    return config(name, auth={"keys": keys}, metrics={"port": 1, "auth": True})


@pytest.mark.parametrize("path", ["/metrics", "/v1/models", "/v1/responses/resp_1", "/v1/chat/completions"])
async def test_a_removed_key_opens_nothing_any_more_and_a_new_one_does(path: str) -> None:
    app = Plano(keyed("old"), transport=FakeProvider())
    asked = app.exposition() if path == "/metrics" else app
    method, body = ("POST", asked_in("chat", model="openai/both")) if "chat" in path else ("GET", b"")

    async def statuses() -> list[int]:
        return [(await ask(asked, method, path, body, {"x-api-key": key})).status for key in KEYS.values()]

    known, unknown = await statuses()
    assert (known != 401, unknown) == (True, 401)
    app.reload(keyed("new"))
    assert await statuses() == [unknown, known]
    await app.aclose()


async def test_a_generation_is_freed_with_its_last_request() -> None:
    held = HoldsTheFirst()
    app = Plano(keyed("old"), filters=[held], transport=FakeProvider())
    exposition, old = app.exposition(), weakref.ref(app._generation)
    body = asked_in("chat", model="openai/old")
    running = asyncio.create_task(ask(app, "POST", PATHS["chat"], body, {"x-api-key": KEYS["old"]}))
    await held.came.wait()
    app.reload(keyed("new"))
    assert (await ask(exposition, "GET", "/metrics", headers={"x-api-key": KEYS["new"]})).status == 200
    assert old() is not None, "a request still runs in it"
    held.go_on.set()
    assert (await running).status == 200
    del running
    app._survivors.observing.finished_requests.refresh()
    gc.collect()
    assert old() is None
    await app.aclose()
