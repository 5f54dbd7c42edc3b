from __future__ import annotations

import asyncio
from contextlib import suppress
from time import perf_counter

import msgspec
import pytest

from plano.edge.body import DECIDED_ON, ClientLeft, Watch, peek, read_body
from plano.errors import InvalidRequest, PlanoError, TooLarge
from plano.types import Headers
from tests.asgi import Exchange
from tests.mutations import Deep, deepest


async def read(exchange: Exchange, *, limit: int = 100, headers: Headers | None = None) -> bytes:
    return await read_body(exchange.receive, headers or Headers(), limit=limit)


async def test_a_body_is_put_together_from_its_messages() -> None:
    assert await read(Exchange(b"one ", b"two ", b"three")) == b"one two three"


async def test_a_body_over_the_limit_is_refused_while_it_comes() -> None:
    with pytest.raises(TooLarge, match="larger than the limit of 100 bytes"):
        await read(Exchange(b"x" * 60, b"x" * 60, complete=False))


async def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    exchange = Exchange(b"x")
    with pytest.raises(TooLarge):
        await read(exchange, headers=Headers([(b"content-length", b"101")]))
    assert (await exchange.receive())["body"] == b"x"


async def test_a_client_that_leaves_before_its_body_is_complete_is_not_answered() -> None:
    exchange = Exchange(b"x", complete=False)
    exchange.leave()
    with pytest.raises(ClientLeft):
        await read(exchange)


def test_a_peek_reads_model_and_stream() -> None:
    found, _ = peek(b'{"model": "m", "stream": true, "messages": [{"any": 1}]}')
    assert (found.model, found.stream) == ("m", True)


BAD = [
    (b"", None),
    (b"   ", None),
    (b"{", None),
    (b"[]", None),
    (b'{"model": 7}', "model"),
    (b'{"stream": "yes"}', "stream"),
    (b'{"messages": "\xff"}', None),
    (b'{"model": "m"} trailing', None),
    (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
]


@pytest.mark.parametrize(("body", "param"), BAD)
def test_what_is_not_a_request_is_the_callers_fault(body: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        peek(body)
    assert (caught.value.status, caught.value.param) == (400, param)


async def watched(exchange: Exchange, *, deadline: float, arrived: bool) -> str:
    """What becomes of a task that waits for long."""
    watch = Watch(exchange.receive, perf_counter() + deadline)
    if arrived:
        watch.arrived(patience=0)
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        return "late" if watch.late else "left" if watch.gone else "cancelled"
    finally:
        watch.unwatch()
    return "answered"


async def test_a_client_that_leaves_cancels_the_task_that_answers() -> None:
    exchange = Exchange()
    task = asyncio.create_task(watched(exchange, deadline=10, arrived=True))
    await asyncio.sleep(0.01)
    exchange.leave()
    assert await asyncio.wait_for(task, 1) == "left"
    assert task.cancelling() == 0


async def test_a_body_that_never_ends_is_given_up() -> None:
    assert await asyncio.wait_for(watched(Exchange(), deadline=0.005, arrived=False), 1) == "late"


async def test_who_else_cancels_a_task_cancels_it() -> None:
    task = asyncio.create_task(watched(Exchange(), deadline=10, arrived=True))
    await asyncio.sleep(0.01)
    task.cancel()
    assert await task == "cancelled"
    assert task.cancelling() == 1


def test_what_is_let_in_can_be_read_further_down_too() -> None:
    def further_down(frames: int, body: bytes) -> object:
        return further_down(frames - 1, body) if frames else msgspec.json.decode(body)

    let_in, limit = [], deepest()
    for levels in range(limit - 360, limit + 40):
        body = b'{"x":%b}' % Deep(levels).written.encode()
        with suppress(InvalidRequest):
            peek(body)
            let_in.append(further_down(50, body))
    assert 0 < len(let_in) < 400


def test_errors_have_a_status_and_a_kind() -> None:
    def every(cls: type[PlanoError]) -> list[type[PlanoError]]:
        return [cls, *(found for sub in cls.__subclasses__() for found in every(sub))]

    for cls in every(PlanoError):
        assert 400 <= cls.default_status < 600
        assert cls.__doc__ or cls.default_code or cls.default_kind


def test_a_body_goes_on_as_it_came_unless_a_name_is_spelled_with_escapes() -> None:
    body = b'{ "model" : "m\\u0061", "messages": [] }'
    assert peek(body)[1] is body
    found, body = peek(b'{ "mod\\u0065l" : "m", "x": [1,  2.50] }')
    assert (found.model, body) == ("m", b'{"model":"m","x":[1,  2.50]}')


@pytest.mark.parametrize("name", sorted(DECIDED_ON))
def test_what_is_decided_on_is_named_once_and_exactly(name: str) -> None:
    for body in (b'{"%b":null,"%b":null}', b'{"%b":null, "x": {}, "%b":null}'):
        with pytest.raises(InvalidRequest) as caught:
            peek(body % (name.encode(), name.encode()))
        assert caught.value.param == name
    for other in {name.upper(), name.title()}:
        with pytest.raises(InvalidRequest) as caught:
            peek(b'{"%b":null}' % other.encode())
        assert caught.value.param == name


@pytest.mark.parametrize("field", ["fallbacks", "models"])
def test_an_empty_list_of_fallbacks_does_not_go_on(field: str) -> None:
    found, body = peek(b'{"model":"m","%b":[]}' % field.encode())
    assert (found.model, found.fallbacks, body) == ("m", (), b'{"model":"m"}')
