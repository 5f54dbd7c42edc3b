"""Waiting for the first real output of a stream, and what becomes of the stream afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from plano import CallNext, Request, Response
from plano.conversation import Event, Usage
from plano.dialects import CODECS
from plano.errors import UpstreamError, UpstreamStatus
from plano.streams.stages import MAX_HELD_BYTES, MAX_HELD_FRAMES, Flow
from plano.testing import WAYS, FakeProvider, Reply, ask
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.scraping import scrape
from tests.test_response import ORDER_BELOW, gateway

EVERY_WAY = pytest.mark.parametrize(("dialect", "stream"), WAYS)

Change = Callable[[Response], Response]


async def same(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    async for event in events:
        yield event


CHANGES: dict[str, Change] = {
    "nothing": lambda response: response,
    "text": lambda response: response.rewrite_text(lambda text: text, window=8),
    "events": lambda response: response.with_events(same(response.events())),
}


class Waits:
    """Notes what came of waiting for the first real output, and returns the response in any case."""

    def __init__(self, change: Change = CHANGES["nothing"]) -> None:
        self.change = change
        self.found: list[type[Exception] | None] = []

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        response = self.change(await call_next(request))
        try:
            await response.begun()
        except UpstreamError as error:
            self.found.append(type(error))
        else:
            self.found.append(None)
        return response


@EVERY_WAY
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("upstream", DIALECTS)
async def test_waiting_changes_nothing_of_a_reply(
    upstream: Dialect, change: str, dialect: Dialect, stream: bool
) -> None:
    provider = FakeProvider()
    provider.reply("one two three", usage=Usage(input_tokens=7, output_tokens=3))
    inner, outer = Waits(CHANGES[change]), Waits()
    answer = await ask(gateway(outer, inner, provider=provider, upstream=upstream), dialect, "Hi", stream=stream)
    assert (answer.status, answer.text) == (200, "one two three")
    assert answer.reply.usage is not None
    assert (answer.reply.usage.input_tokens, answer.reply.usage.output_tokens) == (7, 3)
    assert inner.found == outer.found == [None]


@pytest.mark.parametrize("how", ["lost", "incomplete", "error"])
@pytest.mark.parametrize("change", ["nothing", "text"])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_who_waits_again_finds_a_failure_again(dialect: Dialect, change: str, how: Any) -> None:
    provider = FakeProvider()
    provider.breaks_after(1, how=how)
    inner, outer = Waits(CHANGES[change]), Waits()
    answer = await ask(gateway(outer, inner, provider=provider, upstream=dialect), dialect, "Hi", stream=True)
    assert len(inner.found) == len(outer.found) == 1
    assert None not in (*inner.found, *outer.found)
    assert answer.error is not None


CLASSES = {"lost": "connect", "incomplete": "protocol", "error": "overloaded"}


@pytest.mark.parametrize("how", CLASSES)
@pytest.mark.parametrize("change", CHANGES)
async def test_a_failure_is_the_attempts_however_its_stream_was_changed(change: str, how: Any) -> None:
    async def falls_back(request: Request, call_next: CallNext) -> Response:
        response = CHANGES[change](await call_next(request))
        try:
            return await response.begun()
        except UpstreamError:
            await response.aclose()
            return await call_next(request)

    provider = FakeProvider()
    provider.breaks_after(1, how=how)
    provider.reply("second")
    app = gateway(falls_back, provider=provider)
    assert (await ask(app, "chat", "Hi", stream=True)).text == "second"
    # Events that are written anew end in an error of plano's own.
    kind = "server" if change == "events" and how != "error" else CLASSES[how]
    assert (await scrape(app)).of("plano_upstream_errors_total", kind=kind) == 1


@pytest.mark.parametrize("change", ["nothing", "text"])
async def test_a_wait_that_is_given_up_never_makes_half_a_stream_look_whole(change: str) -> None:
    """A generator that is cancelled is over, and looks like one that came to its end."""
    go_on, waiting = asyncio.Event(), asyncio.Event()

    async def slow(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        return CHANGES[change](response.with_pieces(slowly(response)))

    async def slowly(response: Response) -> AsyncIterator[bytes]:
        assert response.pieces is not None
        async for piece in response.pieces:
            yield piece
            waiting.set()
            await go_on.wait()

    async def impatient(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        asking = asyncio.ensure_future(response.begun())
        await waiting.wait()
        asking.cancel()
        await asyncio.wait([asking])
        return response

    provider = FakeProvider()
    provider.reply("one two three")
    answer = await ask(gateway(impatient, slow, provider=provider), "chat", "Hi", stream=True)
    assert isinstance(answer.error, UpstreamError)
    assert answer.text == ""


async def test_a_stream_that_is_read_has_begun() -> None:
    async def reads(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        events = [event async for event in response.events()]
        await response.begun()
        return response.with_events(each(events))

    async def each(events: list[Event]) -> AsyncIterator[Event]:
        for event in events:
            yield event

    provider = FakeProvider()
    provider.reply("one")
    assert (await ask(gateway(reads, provider=provider), "chat", "Hi", stream=True)).text == "one"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_error_that_comes_together_with_the_output_can_still_be_replaced(dialect: Dialect) -> None:
    provider = FakeProvider()
    provider.script(Reply("one two three four five six", breaks_after=8, how="error", cut=1_000_000))
    waits = Waits()
    await ask(gateway(waits, provider=provider, upstream=dialect), dialect, "Hi", stream=True)
    assert waits.found == [UpstreamStatus]


@EVERY_WAY
async def test_what_a_filter_answers_has_begun(dialect: Dialect, stream: bool) -> None:
    async def answers(request: Request, call_next: CallNext) -> Response:
        return Response.of(request, "one two")

    waits = Waits()
    answer = await ask(gateway(waits, answers), dialect, "Hi", stream=stream)
    assert (answer.text, waits.found) == ("one two", [None])


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_reply_that_was_waited_for_below_the_store_is_stored(dialect: Dialect) -> None:
    """The store's stage is added after the wait."""
    provider = FakeProvider()
    config = {"state_storage": {"type": "memory"}}
    app = gateway(Waits(), provider=provider, upstream=dialect, order=ORDER_BELOW, config=config)
    first = await ask(app, "responses", "Hi", stream=True)
    second = await ask(app, "responses", "And?", previous_response_id=f"resp_{first.reply.id.partition('_')[2]}")
    assert second.status == 200
    assert len(provider.last.conversation.messages) == 3
    await app.aclose()


async def test_who_drops_a_stream_that_was_waited_for_closes_all_of_it() -> None:
    closed: list[bool] = []

    async def watched(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)

        async def pieces() -> AsyncIterator[bytes]:
            assert response.pieces is not None
            try:
                async for piece in response.pieces:
                    yield piece
            finally:
                closed.append(True)

        return response.with_pieces(pieces())

    async def drops(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        await response.begun()
        assert not closed
        await response.aclose()
        assert closed == [True]
        return Response.of(request, "mine")

    assert (await ask(gateway(drops, watched), "chat", "Hi", stream=True)).text == "mine"


PING = b'event: ping\ndata: {"type":"ping"}\n\n'


@pytest.mark.parametrize(
    ("piece", "held"), [(PING, MAX_HELD_FRAMES), (PING + b": %b\n\n" % (b"x" * (MAX_HELD_BYTES // 2)), 2)]
)
async def test_what_is_held_is_bounded(piece: bytes, held: int) -> None:
    given = 0

    async def opening() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield piece

    flow = Flow(opening(), CODECS["messages"])
    for _ in range(2):
        await flow.begun()
        assert given == held
