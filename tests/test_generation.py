"""A generation of the configuration is replaced whole, while requests of the one before it run on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from plano import CallNext, Plano, Request, Response
from plano.config import load
from plano.generation import DEFAULT_ORDER, Generation
from plano.testing import FakeProvider, Reply
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


def replace_generation(app: Plano, said: dict[str, Any], *filters: Any) -> None:
    app._generation = Generation(load(said), app._survivors, filters=filters, order=DEFAULT_ORDER, caller_of=None)


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
