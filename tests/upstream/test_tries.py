"""What a try holds: it is let go of whatever ends the try, and no two of them are taken for one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
import pytest

from plano import CallNext, Plano, Request, Response
from plano.runtime.clock import REAL
from plano.testing import Failure, FakeHosts, Reply, ask
from plano.upstream.tries import Try, hedged
from tests.asgi import Exchange, scope
from tests.upstream.test_attempts import Net, config, entry


def held(gateway: Plano) -> dict[str, int]:
    """The requests in flight by entry, as slots and health count them."""
    choosing = gateway._survivors.choosing
    found = {each.entry: each.in_flight for each in choosing.health.snapshot()}
    found |= {f"slots of {name}": each.in_flight for name, each in choosing.slots._slots.items()}
    return {name: number for name, number in found.items() if number}


async def post(gateway: Plano, path: str, **fields: Any) -> Exchange:
    exchange = Exchange(msgspec.json.encode({"model": "smart", **fields}))
    await asyncio.wait_for(gateway(scope("POST", path), exchange.receive, exchange.send), 30)
    return exchange


async def test_a_request_that_cannot_be_read_holds_nothing_of_a_fallback() -> None:
    net = Net(config(entry("a"), entry("b", max_in_flight=1)))
    net.hosts["a"].fail(503)
    said = [{"role": "assistant", "content": 5, "id": "x"}, {"role": "user", "content": "Hello"}]
    exchange = await post(net.gateway, "/v1/chat/completions", messages=said)
    assert exchange.answer.status == 503
    assert held(net.gateway) == {}


async def test_a_reply_that_cannot_be_read_holds_nothing() -> None:
    listed = {"target": "b", "conditions": ["any", "content_filter"]}
    net = Net(config(entry("a", max_in_flight=1), entry("b"), fallbacks=(listed,)))
    odd = (
        b'{"object":"chat.completion","choices":[{"message":{"role":"assistant","content":5},"finish_reason":"stop"}]}'
    )
    net.hosts["a"].raw(200, {"content-type": "application/json"}, odd)
    exchange = await post(net.gateway, "/v1/chat/completions", messages=[{"role": "user", "content": "Hello"}])
    assert exchange.answer.body == odd, "it is the client's, as it is without fallbacks"
    assert held(net.gateway) == {}


async def test_a_stream_that_a_filter_drops_holds_nothing_any_more() -> None:
    async def twice(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        await response.aclose()
        return await call_next(request)

    hosts = FakeHosts("a", "b")
    said = config(
        entry("a", max_in_flight=1), entry("b"), fallbacks=(), admission={"max_in_flight": 9, "queue_wait": 0.1}
    )
    gateway = Plano(said, transport=hosts, filters=[twice])
    hosts["a"].reply("here")
    answer = await ask(gateway, "chat", "Hello", stream=True, model="smart")
    assert answer.text == "here"
    assert held(gateway) == {}


async def test_a_filter_that_asks_again_has_the_headers_of_the_last_time() -> None:
    async def again(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        return response if response.ok else await call_next(request)

    heads: list[tuple[bytes, bytes]] = []

    class Listening(Exchange):
        async def send(self, message: Any) -> None:
            heads.extend(message.get("headers", ()))
            await super().send(message)

    hosts = FakeHosts("a", "b")
    gateway = Plano(config(entry("a"), entry("b"), resilience={"max_attempts": 2}), transport=hosts, filters=[again])
    hosts["a"].fails(1)
    hosts["a"].reply("here")
    hosts["b"].fail(503)
    exchange = Listening(msgspec.json.encode({"model": "smart", "messages": [{"role": "user", "content": "Hello"}]}))
    await gateway(scope("POST", "/v1/chat/completions"), exchange.receive, exchange.send)
    assert exchange.answer.status == 200
    told = [each for each in heads if each[0] in (b"x-plano-attempts", b"x-plano-fallback", b"x-should-retry")]
    assert told == [(b"x-plano-attempts", b"1")]


async def test_a_try_of_two_calls_is_judged_by_the_second() -> None:
    net = Net(config(entry("a"), entry("b")))
    net.hosts["a"].fail(500)
    net.hosts["b"].reply("The summary.")
    exchange = await post(net.gateway, "/v1/responses/compact", input="Hello")
    assert exchange.answer.headers["x-plano-fallback"] == "server"
    assert {each.state for each in net.gateway._survivors.choosing.health.snapshot()} == {"in"}


async def test_a_slow_reader_is_no_slow_stream() -> None:
    net = Net(config(fallbacks=(), resilience={"minimum_rate": {"tokens": 20, "over": "0.5s"}}))
    net.hosts["a"].script(Reply("word " * 100))

    class Slow(Exchange):
        async def send(self, message: Any) -> None:
            await super().send(message)
            if len(self.answer.chunks) in (2, 3):
                await asyncio.sleep(0.6)

    said = {"model": "smart", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    exchange = Slow(msgspec.json.encode(said))
    await asyncio.wait_for(net.gateway(scope("POST", "/v1/chat/completions"), exchange.receive, exchange.send), 30)
    assert b"broken off" not in exchange.answer.body
    assert exchange.answer.body.endswith(b"data: [DONE]\n\n")


# --- two at once ---


class Fake:
    """The part of a try that a hedge looks at."""

    def __init__(self, *, answers: bool = True) -> None:
        self.answers = answers
        self.dropped = 0

    async def drop(self) -> None:
        self.dropped += self.answers


async def after(ready: asyncio.Event, outcome: Fake | Exception) -> Fake:
    await ready.wait()
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def two(first: Awaitable[Fake], second: Callable[[], Awaitable[Awaitable[Fake] | None]]) -> list[Fake]:
    return cast(list[Fake], await hedged(cast(Awaitable[Try], first), cast(Any, second), 0.01, REAL))


@pytest.fixture
def ready() -> asyncio.Event:
    found = asyncio.Event()
    found.set()
    return found


async def test_a_loser_that_fails_while_it_is_closed_costs_the_winner_nothing(ready: asyncio.Event) -> None:
    winner = Fake()

    async def loser() -> Fake:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("it could not be closed")

    async def second() -> Awaitable[Fake]:
        return after(ready, winner)

    assert await two(loser(), second) == [winner]
    assert winner.dropped == 0


@pytest.mark.parametrize("error", [OSError("broken"), asyncio.InvalidStateError()])
async def test_one_that_raises_when_the_other_answers_is_passed_over(error: Exception) -> None:
    winner, ready = Fake(), asyncio.Event()

    async def second() -> Awaitable[Fake]:
        asyncio.get_running_loop().call_later(0.01, ready.set)
        return after(ready, winner)

    assert await two(after(ready, error), second) == [winner]


async def test_of_two_that_answer_one_is_dropped() -> None:
    both, ready = [Fake(), Fake()], asyncio.Event()

    async def second() -> Awaitable[Fake]:
        asyncio.get_running_loop().call_later(0.01, ready.set)
        return after(ready, both[1])

    (winner,) = await two(after(ready, both[0]), second)
    assert [each.dropped for each in both if each is not winner] == [1]
    assert winner.dropped == 0


async def test_a_client_that_leaves_while_the_loser_is_closed_has_left(ready: asyncio.Event) -> None:
    winner, closing, may_end = Fake(), asyncio.Event(), asyncio.Event()
    late = Fake()

    async def loser() -> Fake:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            closing.set()
            await may_end.wait()
        return late

    async def second() -> Awaitable[Fake]:
        return after(ready, winner)

    task = asyncio.create_task(two(loser(), second))
    await asyncio.wait_for(closing.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (winner.dropped, late.dropped) == (1, 0)
    may_end.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert (winner.dropped, late.dropped) == (1, 1), "both are let go of, once"


async def test_a_second_target_that_is_full_leaves_the_third_for_later() -> None:
    said = config(
        entry("a"),
        entry("b", max_in_flight=1),
        entry("c"),
        fallbacks=("b", "c"),
        resilience={"hedge": {"after": "0.05s"}, "max_attempts": 4},
    )
    net = Net(said, "a", "b", "c")
    net.hosts["a"].fail(503, delay=0.3)
    net.hosts["c"].reply("here")
    slots = net.gateway._survivors.choosing.slots.of(net.gateway.models.resolve("b"))
    assert slots is not None
    assert slots.try_take()
    answer = await net.ask("chat", False)
    assert answer.text == "here"
    assert net.hosts.calls == ["a", "c"]


# --- clients that leave at any moment ---

RULE = {"selector": {"by": "tenant"}, "limit": {"tokens": 10_000_000, "in_flight": 50, "unit": "day"}}
ENDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "hedge": {"resilience": {"hedge": {"after": "0.001s"}}},
    "keepalive": {"resilience": {"keepalive": "0.001s"}},
    "both": {"resilience": {"keepalive": "0.002s", "hedge": {"after": "0.001s"}}},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", ENDS)
async def test_nothing_is_held_for_a_client_that_left_at_any_moment(case: str, stream: bool) -> None:
    said = config(
        entry("a", max_in_flight=50),
        entry("b", max_in_flight=50),
        ratelimits=[RULE, {**RULE, "model": "openai/a"}, {**RULE, "model": "openai/b"}],
        admission={"max_in_flight": 50},
        **ENDS[case],
    )
    net = Net(said)
    net.hosts["a"].script(
        lambda recorded: Failure(500, delay=0.003) if len(net.hosts.calls) % 2 else Reply("word " * 5)
    )
    net.hosts["b"].script(Reply("word " * 5, delay=0.002, pause=0.001))
    body = msgspec.json.encode({"model": "smart", "stream": stream, "messages": [{"role": "user", "content": "Hi"}]})
    await net.ask("chat", stream)  # some tasks of the gateway stay
    known = asyncio.all_tasks()
    for steps in range(0, 100, 2):
        exchange = Exchange(body)
        task = asyncio.create_task(net.gateway(scope("POST", "/v1/chat/completions"), exchange.receive, exchange.send))
        for _ in range(steps):
            await asyncio.sleep(0.0001 if steps > 60 else 0)
        task.cancel()
        await asyncio.wait([task], timeout=20)
        assert task.done()
    for _ in range(100):
        if not held(net.gateway) and asyncio.all_tasks() <= known:
            break
        await asyncio.sleep(0.02)
    assert held(net.gateway) == {}
    assert net.gateway._survivors.slots.in_flight == 0
    counts = cast(Any, net.gateway._survivors.counts)
    assert not [key for key, state in counts._known.items() if "in_flight" in key and state._expiries]
    assert {each.get_coro() for each in asyncio.all_tasks() - known} == set()
