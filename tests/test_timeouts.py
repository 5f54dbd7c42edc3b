"""What happens when an upstream is slow, gone, or cuts off, over real sockets."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from plano import Plano
from plano.testing import FakeProvider, Reply, serve
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.asgi import Answer, ask
from tests.test_promises import MINIMAL, PATHS


def gateway(url: str, dialect: Dialect, timeout: str = "0.4s", **entry: Any) -> Plano:
    provider = {"model": "fake/m", "provider_interface": "openai", "base_url": url, "apis": [dialect], "default": True}
    listener = {"name": "any", "type": "model", "timeout": timeout}
    overrides = {"upstream_connect_timeout": "1s"}
    return Plano({"model_providers": [provider | entry], "listeners": [listener], "overrides": overrides})


async def create(app: Plano, dialect: Dialect, stream: bool) -> Answer:
    answer = await ask(app, "POST", PATHS[dialect], MINIMAL[dialect] | {"stream": stream})
    await app.aclose()
    return answer


def error(answer: Answer) -> dict[str, Any]:
    return answer.json()["error"]  # type: ignore[no-any-return]


@pytest.fixture(params=[(c, u) for c in DIALECTS for u in DIALECTS], ids=lambda p: "-".join(p))
def pair(request: pytest.FixtureRequest) -> tuple[Dialect, Dialect]:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_connection_is_a_502(pair: tuple[Dialect, Dialect], stream: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    answer = await create(gateway(f"http://127.0.0.1:{port}", pair[1]), pair[0], stream)
    assert answer.status == 502
    assert error(answer)["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_name_that_does_not_exist_is_a_502(stream: bool) -> None:
    answer = await create(gateway("http://no-such-host.invalid", "chat", "5s"), "messages", stream)
    assert answer.status in (502, 504)
    assert answer.json()["type"] == "error"


@pytest.mark.parametrize("stream", [False, True])
async def test_no_first_byte_in_time_is_a_504(pair: tuple[Dialect, Dialect], stream: bool) -> None:
    provider = FakeProvider()
    provider.script(Reply("late", delay=20))
    with serve(provider) as url:
        answer = await create(gateway(url, pair[1]), pair[0], stream)
    assert answer.status == 504
    assert "sk-" not in answer.body.decode()


async def test_a_pause_between_chunks_that_is_too_long_ends_the_stream_with_an_error(
    pair: tuple[Dialect, Dialect],
) -> None:
    provider = FakeProvider()
    provider.script(Reply("one two three four five six", pause=0.0, breaks_after=None))
    provider.script(lambda recorded: Reply("one two three four five six", pause=0.7))
    with serve(provider) as url:
        app = gateway(url, pair[1])
        assert (await create(app, pair[0], True)).status == 200
        answer = await create(app, pair[0], True)
    events = [line[6:] for line in answer.body.decode().splitlines() if line.startswith("data: {")]
    last = json.loads(events[-1]) if events else answer.json()
    assert "error" in json.dumps(last)
    assert b"[DONE]" not in answer.body
    assert b"message_stop" not in answer.body
    assert b"response.completed" not in answer.body


async def test_a_stream_that_flows_is_never_cut(pair: tuple[Dialect, Dialect]) -> None:
    """Longer than the listener's time-out, in steps that are much shorter than it."""
    provider = FakeProvider()
    provider.script(Reply("one two three four five six seven eight nine ten eleven", pause=0.15))
    with serve(provider) as url:
        answer = await create(gateway(url, pair[1], "1.2s"), pair[0], True)
    assert answer.status == 200
    assert "eleven" in answer.body.decode()
    assert b"error" not in answer.body.replace(b'"error":null', b"")


async def test_a_connection_that_is_lost_before_the_reply_is_a_502(pair: tuple[Dialect, Dialect]) -> None:
    provider = FakeProvider()
    provider.raw(200, {"content-type": "application/json", "content-length": "100"}, b'{"id": "x', lost=True)
    with serve(provider) as url:
        answer = await create(gateway(url, pair[1], "5s"), pair[0], False)
    assert answer.status == 502
