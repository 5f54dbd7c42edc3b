from __future__ import annotations

import asyncio

import pytest

from plano.errors import BodyTimeout, InvalidRequest, PlanoError, TooLarge
from plano.intake import ClientLeft, Departure, peek, read_body
from plano.types import Headers
from tests.asgi import Exchange


async def read(exchange: Exchange, *, limit: int = 100, deadline: float = 5, headers: Headers | None = None) -> bytes:
    return await read_body(exchange.receive, headers or Headers(), limit=limit, deadline=deadline)


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


async def test_a_body_that_never_ends_is_given_up() -> None:
    with pytest.raises(BodyTimeout) as caught:
        await read(Exchange(b"x", complete=False), deadline=0.01)
    assert caught.value.status == 408


async def test_a_client_that_leaves_before_its_body_is_complete_is_not_answered() -> None:
    exchange = Exchange(b"x", complete=False)
    exchange.leave()
    with pytest.raises(ClientLeft):
        await read(exchange)


def test_a_peek_reads_model_and_stream() -> None:
    found = peek(b'{"model": "m", "stream": true, "messages": [{"any": 1}]}')
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


async def test_a_client_that_leaves_cancels_the_task_that_answers() -> None:
    exchange = Exchange()

    async def answer() -> str:
        departure = Departure(exchange.receive, patience=0)
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            return "left" if departure.happened else "cancelled"
        finally:
            departure.stop()
        return "answered"

    task = asyncio.create_task(answer())
    await asyncio.sleep(0.01)
    exchange.leave()
    assert await asyncio.wait_for(task, 1) == "left"


async def test_a_watch_that_is_stopped_early_leaves_no_task_behind() -> None:
    before = len(asyncio.all_tasks())
    departure = Departure(Exchange().receive, patience=60)
    departure.stop()
    assert len(asyncio.all_tasks()) == before


def test_errors_have_a_status_and_a_kind() -> None:
    def every(cls: type[PlanoError]) -> list[type[PlanoError]]:
        return [cls, *(found for sub in cls.__subclasses__() for found in every(sub))]

    for cls in every(PlanoError):
        assert 400 <= cls.default_status < 600
        assert cls.__doc__ or cls.default_code or cls.default_kind
