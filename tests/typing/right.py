"""Filters as their authors write them; mypy, strict, finds nothing here."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable

from msgspec.structs import replace

from plano import Caller, CallNext, Filter, Plano, PlanoError, Request, Response
from plano.conversation import Conversation, Event, Reply, Text, TextDelta, Usage
from plano.errors import RateLimited, UpstreamError
from plano.testing import WAYS, Failure, FakeClock, FakeHosts, FakeProvider, Received, ask


async def passes(request: Request, call_next: CallNext) -> Response:
    return await call_next(request)


async def answers(request: Request, call_next: CallNext) -> Response:
    if request.operation == "create" and request.caller.name == "anonymous":
        return Response.of(request, Reply(parts=(Text(text="Hello"),), usage=Usage(output_tokens=1)))
    return Response.of(request, "Hello")


class Shouts:
    def __init__(self, *, window: int = 0) -> None:
        self._window = window

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        conversation: Conversation = replace(request.conversation, temperature=0.0)
        response = await call_next(request.replace(conversation=conversation, model="other"))
        response.set_header("x-shouted", "yes")
        response.set_header(b"x-shouted", b"yes")
        response.headers.append((b"x-more", b"1"))
        return response.rewrite_text(str.upper, window=self._window)


async def dashes(request: Request, call_next: CallNext) -> Response:
    async def changed(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        async for event in events:
            yield replace(event, text="-") if isinstance(event, TextDelta) else event

    response = await call_next(request)
    if not response.ok:
        return response
    return response.with_events(changed(response.events()))


async def reads(request: Request, call_next: CallNext) -> Response:
    try:
        response = await call_next(request)
        reply: Reply = await response.read()
    except UpstreamError as error:
        raise RateLimited(error.message, retry_after=1.0) from error
    assert isinstance(reply.parts, tuple)
    return response


async def at_the_end(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)

    def closed() -> None:
        usage: Usage | None = response.usage
        assert usage is None or usage.input_tokens >= 0

    async def closed_later() -> None:
        raise PlanoError("too late")

    response.on_close(closed)
    response.on_close(closed_later)
    return response


def forwards(request: Request, call_next: CallNext) -> Awaitable[Response]:
    return call_next(request)


async def with_a_setting(request: Request, call_next: CallNext, *, limit: int) -> Response:
    return await call_next(request)


FILTERS: list[Filter] = [
    passes,
    answers,
    Shouts(window=3),
    dashes,
    reads,
    at_the_end,
    forwards,
    functools.partial(with_a_setting, limit=3),
]


async def tested() -> None:
    app = Plano({}, filters=FILTERS, transport=FakeProvider(), caller=lambda scope: Caller(name="me"))
    for dialect, stream in WAYS:
        answer: Received = await ask(app, dialect, "Hello", stream=stream)
        assert answer.text == answer.text.upper()
        assert answer.error is None or answer.error.status == 500


async def tested_with_failures() -> None:
    clock = FakeClock()
    hosts = FakeHosts("api.openai.com", "api.anthropic.com", clock=clock)
    app = Plano({}, transport=hosts, clock=clock)
    hosts.down.add("api.anthropic.com")
    hosts["api.openai.com"].fails(2, 429, retry_after=30)
    hosts["api.openai.com"].fail(500, "Oh.", code="oh", retry_after=0.5)
    hosts["api.openai.com"].breaks_after(0, how="error")
    hosts["api.openai.com"].breaks_after(3, "Hello", how=Failure(529))
    clock.advance(30)
    answer = await ask(app, "chat", "Hello")
    attempts: int = answer.attempts
    fallback: str | None = answer.fallback
    assert (attempts, fallback, answer.model, clock.now(), clock.wall()) is not None
    assert hosts.calls == ["api.openai.com"]
    assert FakeProvider(clock=clock).requests == []
