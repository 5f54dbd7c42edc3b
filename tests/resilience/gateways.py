"""Gateways before two fake hosts, with limits and budgets that go by a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import openai

from plano import Plano
from plano.operations import OPERATIONS
from plano.testing import FakeHosts, serve
from plano.testing.client import Received
from plano.types import ClientDialect
from tests.asgi import Exchange, scope
from tests.clients import CLIENTS
from tests.server.wire import until
from tests.upstream.test_attempts import Net, body

PRICES = {"openai/a": {"input": 1000, "output": 2000}, "anthropic/b": {"input": 1000, "output": 2000}}
"""Dollars for a million tokens: a tenth of a cent for one of the input."""


def rule(by: str = "tenant", *, model: str | None = None, value: str = "*", **limit: Any) -> dict[str, Any]:
    """One of `ratelimits`, by the day unless it has a period. A `by` with a dash is a header."""
    selector = {"key": by} if "-" in by else {"by": by}
    unit = {} if "period" in limit else {"unit": "day"}
    said = {"selector": selector | {"value": value}, "limit": unit | limit}
    return said if model is None else said | {"model": model}


def budget(*, fallback: str | None = None, **limit: Any) -> dict[str, Any]:
    """A budget of each tenant for a day."""
    said = {"name": "lab", "selector": {"by": "tenant"}, "limit": {"unit": "day", **limit}}
    return said if fallback is None else said | {"fallback": fallback}


class Patient(Net):
    """The same by the machine's clock, for targets that do not answer."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.hosts = FakeHosts("a", "b")
        self.gateway = Plano(said, transport=self.hosts)


class Held:
    """A request that goes on until its client leaves."""

    def __init__(self, app: Plano, dialect: ClientDialect, stream: bool, **more: Any) -> None:
        self.exchange = Exchange(body(dialect, stream, **more))
        path = OPERATIONS["create"].paths[dialect]
        self.task = asyncio.create_task(app(scope("POST", path), self.exchange.receive, self.exchange.send))

    async def begun(self) -> None:
        """Returns when the first piece of its reply is there."""
        await until(lambda: self.exchange.answer.chunks)

    async def leave(self) -> None:
        self.exchange.leave()
        async with asyncio.timeout(20):
            await self.task


async def settled(app: Plano) -> None:
    """Returns when limits and budgets know what all requests have used."""
    app._survivors.observing.finished_requests.flush()
    await app._generation.settle_limits()


def left(answer: Received, counts: str) -> int:
    """The amount of a limit that a client is told is left."""
    if answer.dialect == "messages":
        return int(answer.headers[f"anthropic-ratelimit-{counts}-remaining"])
    return int(answer.headers[f"x-ratelimit-remaining-{counts}"])


def of_the_budget(app: Plano) -> float:
    """The dollars or tokens that are spent of the only budget."""
    counts: Any = app._survivors.counts
    (purse,) = [state for key, state in {**counts._known, **counts._made}.items() if "lab" in key]
    return float(purse.spent)


class Counted:
    """An application, and the number of requests that it got."""

    def __init__(self, app: Plano) -> None:
        self.app = app
        self.requests = 0

    async def __call__(self, asked: Any, receive: Any, send: Any) -> None:
        self.requests += asked["type"] == "http"
        await self.app(asked, receive, send)


@contextmanager
def served(app: Plano) -> Iterator[tuple[str, Counted]]:
    counted = Counted(app)
    with serve(counted) as url:
        yield url, counted


def patient(dialect: ClientDialect, url: str) -> Any:
    """A client on the real SDK, with the retries that it has by default."""
    client = CLIENTS[dialect](url)
    library = anthropic if dialect == "messages" else openai
    client.sdk = client.sdk.with_options(max_retries=library.DEFAULT_MAX_RETRIES)
    assert client.sdk.max_retries == 2
    return client
