"""Every test here runs on both event loops, and those that ask for `sender` over every way to send."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from plano.transport import AsyncHTTPTransport, HTTP1Transport, HTTPXSender, Limits, Sender
from plano.transport.connection import Connection
from tests.transport.wire import Server

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For plain connections: loading the usual authorities once per test takes longer than the test."""

MAKERS: dict[str, Callable[[], Sender]] = {
    "own": HTTP1Transport,
    "own-as-httpx": lambda: HTTPXSender(HTTP1Transport()),
    "httpx": lambda: HTTPXSender(AsyncHTTPTransport(verify=NO_TLS)),
}


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=MAKERS)
async def sender(request: pytest.FixtureRequest) -> AsyncIterator[Sender]:
    """plano's transport, the same behind httpx's interface, and httpx's own."""
    made = MAKERS[request.param]()
    yield made
    await made.aclose()


@pytest.fixture(params=("own", "own-as-httpx"))
async def own(request: pytest.FixtureRequest) -> AsyncIterator[Sender]:
    """plano's transport, both faces."""
    made = MAKERS[request.param]()
    yield made
    await made.aclose()


@pytest.fixture
async def transport() -> AsyncIterator[HTTP1Transport]:
    """plano's transport, which leaves nothing behind."""
    made = HTTP1Transport(drain=0.2)
    yield made
    await made.aclose()


@pytest.fixture
async def single() -> AsyncIterator[HTTP1Transport]:
    """One that may have a single connection."""
    made = HTTP1Transport(limits=Limits(max_open=1), drain=0.2)
    yield made
    await made.aclose()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    async with made:
        yield made


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    """Set up first and torn down last: by then no task may go on and nothing hold a connection, timers included.

    Sockets and transports warn when they are collected unclosed, and warnings are errors.
    """
    yield
    await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not left, f"tasks that go on: {left}"
    for _ in range(80):
        gc.collect()
        held = sum(type(found) is Connection for found in gc.get_objects())
        if not held:
            break
        await asyncio.sleep(0.05)  # a look-up's thread, or uvloop's timer for a handshake, may take a moment to let go
    assert not held, f"{held} connections are held by something"


@pytest.fixture(autouse=True, scope="session")
def what_is_imported_need_not_be_collected() -> None:
    """Otherwise collecting takes longer than the tests."""
    gc.collect()
    gc.freeze()
