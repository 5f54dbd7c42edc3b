"""A response as filters make, read and change it."""

from __future__ import annotations

import gc
import json
import logging
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from plano import CallNext, Plano, Request, Response
from plano.attempt import Attempt
from plano.conversation import Event, Failed, Finished, Reply, System, Text, TextDelta, ToolCall, Usage
from plano.errors import FilterError, GatewayFailed, InvalidRequest, PlanoError, UpstreamStatus, UpstreamUnavailable
from plano.pipeline import Link, fold
from plano.streams.relay import Relay
from plano.testing import WAYS, FakeProvider, ask, thinking, tool_call
from plano.translation.assembly import events_of
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests import oracles

EVERY_WAY = pytest.mark.parametrize(("dialect", "stream"), WAYS)
ORDER_BELOW = ("metrics", "intake", "auth", "alias", "state", "filters", "translation")
ORDER_LOWEST = ("metrics", "intake", "auth", "alias", "state", "translation", "filters")


def gateway(*filters: Any, provider: FakeProvider | None = None, upstream: Dialect = "chat", **options: Any) -> Plano:
    entry = {
        "model": "server/m",
        "provider_interface": "openai",
        "base_url": "http://upstream.example",
        "apis": [upstream],
        "access_key": "k",
        "default": True,
    }
    config = {"model_providers": [entry], **options.pop("config", {})}
    return Plano(config, filters=filters, transport=provider or FakeProvider(), **options)


# -- Answering by oneself --

WHOLE = Reply(
    parts=(Text(text="Let me look."), ToolCall(id="", name="weather", arguments='{"city":"Paris"}')),
    usage=Usage(input_tokens=7, output_tokens=3),
)


def answering(reply: Reply | str) -> Callable[[Request, CallNext], Awaitable[Response]]:
    async def answers(request: Request, call_next: CallNext) -> Response:
        return Response.of(request, reply)

    return answers


@EVERY_WAY
@pytest.mark.parametrize("order", [None, ORDER_BELOW, ORDER_LOWEST])
@pytest.mark.parametrize("upstream", DIALECTS)
async def test_a_filter_answers_by_itself(dialect: Dialect, stream: bool, order: Any, upstream: Dialect) -> None:
    """Also where the request is already in its upstream's dialect."""
    provider = FakeProvider()
    where = {} if order is None else {"order": order}
    app = gateway(answering("Hello there"), provider=provider, upstream=upstream, **where)
    answer = await ask(app, dialect, "Hi", stream=stream, model="server/m")
    assert (answer.status, answer.text, answer.reply.finish) == (200, "Hello there", "stop")
    assert answer.headers["content-type"].startswith("text/event-stream" if stream else "application/json")
    assert answer.reply.model == "server/m"
    assert answer.reply.id
    assert provider.requests == []
    if stream:
        assert oracles.stream(dialect, answer.body).clean
    else:
        oracles.reply(dialect, answer.body)


@EVERY_WAY
async def test_an_answer_is_what_the_filter_says(dialect: Dialect, stream: bool) -> None:
    answer = await ask(gateway(answering(WHOLE)), dialect, "Hi", stream=stream)
    text, call = answer.reply.parts
    assert isinstance(text, Text)
    assert isinstance(call, ToolCall)
    assert (text.text, call.name, json.loads(call.arguments)) == ("Let me look.", "weather", {"city": "Paris"})
    assert call.id
    assert answer.reply.finish == "tool_calls"
    assert answer.reply.usage is not None
    assert (answer.reply.usage.input_tokens, answer.reply.usage.output_tokens) == (7, 3)


@EVERY_WAY
async def test_what_an_answer_leaves_out_is_filled_in(dialect: Dialect, stream: bool) -> None:
    app = gateway(answering("Hello"))
    first, second = [(await ask(app, dialect, "Hi", stream=stream)).reply for _ in range(2)]
    assert first.id != second.id
    assert first.model == "plano"
    assert first.usage is not None
    assert (first.usage.input_tokens, first.usage.output_tokens) == (0, 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("upstream", DIALECTS)
async def test_an_answer_of_a_filter_is_continued_like_any(stream: bool, upstream: Dialect) -> None:
    async def greets(request: Request, call_next: CallNext) -> Response:
        first = len(request.conversation.messages) == 1
        return Response.of(request, "I am the filter") if first else await call_next(request)

    provider = FakeProvider()
    config = {"state_storage": {"type": "memory"}}
    app = gateway(greets, provider=provider, upstream=upstream, order=ORDER_BELOW, config=config)
    first = await ask(app, "responses", "Who is there?", stream=stream)
    assert first.text == "I am the filter"
    second = await ask(app, "responses", "And now?", stream=stream, previous_response_id=f"resp_{first.reply.id[5:]}")
    assert second.status == 200
    said = [
        (message.role, part.text)
        for message in provider.last.conversation.messages
        for part in message.parts
        if isinstance(part, Text)
    ]
    assert said == [("user", "Who is there?"), ("assistant", "I am the filter"), ("user", "And now?")]
    await app.aclose()


async def test_a_request_that_cannot_be_read_is_not_answered() -> None:
    answer = await ask(gateway(answering("Hello")), "chat", "Hi", messages=7)
    assert isinstance(answer.error, UpstreamStatus)
    assert (answer.status, answer.error.param) == (400, "messages")


# -- Events --


async def dashed(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    async for event in events:
        yield replace(event, text=event.text.replace(" ", "-")) if isinstance(event, TextDelta) else event


async def with_dashes(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)
    return response.with_events(dashed(response.events()))


class Sees:
    """Notes the form of the responses it sees."""

    def __init__(self) -> None:
        self.bodies: list[bool] = []

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        self.bodies.append(response.body is not None)
        return response


@EVERY_WAY
@pytest.mark.parametrize("upstream", DIALECTS)
async def test_changed_events_come_in_the_form_that_was_asked_for(
    dialect: Dialect, stream: bool, upstream: Dialect
) -> None:
    outside, provider = Sees(), FakeProvider()
    provider.reply(thinking("Hm hm", seal="c2VhbA=="), "one two three", tool_call("look", {"at": "a b"}))
    answer = await ask(
        gateway(outside, with_dashes, provider=provider, upstream=upstream), dialect, "Hi", stream=stream
    )
    assert answer.text == "one-two-three"
    assert outside.bodies == [not stream]
    assert answer.headers["content-type"].startswith("text/event-stream" if stream else "application/json")
    assert [part.arguments for part in answer.reply.parts if isinstance(part, ToolCall)] == ['{"at":"a-b"}']
    assert answer.reply.usage is not None
    assert answer.reply.usage.output_tokens > 0
    if not stream:
        oracles.reply(dialect, answer.body)
        assert int(answer.headers["content-length"]) == len(answer.body)


@EVERY_WAY
async def test_events_and_then_text_can_be_changed(dialect: Dialect, stream: bool) -> None:
    async def both(request: Request, call_next: CallNext) -> Response:
        return (await with_dashes(request, call_next)).rewrite_text(str.upper, window=4)

    provider = FakeProvider()
    provider.reply("one two three")
    answer = await ask(gateway(both, provider=provider), dialect, "Hi", stream=stream)
    assert answer.text == "ONE-TWO-THREE"


async def twice(request: Request, call_next: CallNext) -> Response:
    once = await with_dashes(request, call_next)
    return once.with_events(once.events())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("n", [None, 1, 3])
@pytest.mark.parametrize("filter_", [with_dashes, twice, answering("one-two")], ids=["events", "twice", "answer"])
async def test_choices_that_a_filters_reply_does_not_have_are_reported(
    filter_: Any, n: int | None, stream: bool
) -> None:
    """The neutral model has one choice; a chat client may have asked for several."""
    provider = FakeProvider()
    provider.reply("one two")
    fields = {} if n is None else {"n": n}
    answer = await ask(gateway(filter_, provider=provider), "chat", "Hi", stream=stream, **fields)
    assert answer.text == "one-two"
    assert answer.headers.get("x-plano-dropped") == ("n" if n == 3 else None)
    assert all(recorded.json.get("n") == n for recorded in provider.requests)


@pytest.mark.parametrize("stream", [False, True])
async def test_changed_events_repeat_what_the_client_asked_and_not_what_the_filter_made_of_it(stream: bool) -> None:
    async def with_a_rule(request: Request, call_next: CallNext) -> Response:
        asked = replace(request.conversation, system=(System(text="A secret rule."),))
        return await with_dashes(request.replace(conversation=asked), call_next)

    provider = FakeProvider()
    answer = await ask(gateway(with_a_rule, provider=provider), "responses", "Hi", stream=stream, instructions="Mine.")
    assert provider.last.conversation.system[0].text == "A secret rule."
    assert b"secret" not in answer.body
    assert b'"instructions":"Mine."' in answer.body


def breaking(after: int, error: Exception | Failed) -> Callable[[Request, CallNext], Awaitable[Response]]:
    """A filter whose events break off."""

    async def events() -> AsyncIterator[Event]:
        for event in events_of(Reply(id="1", model="m", created=1, parts=(Text(text="Hello"),)))[:after]:
            yield event
        if isinstance(error, Failed):
            yield error
        else:
            raise error

    async def breaks(request: Request, call_next: CallNext) -> Response:
        return (await call_next(request)).with_events(events())

    return breaks


BUSY = UpstreamStatus("Too much.", status=429, kind="rate_limit", code="busy")


async def no_events() -> AsyncIterator[Any]:
    return
    yield


async def texts_as_events() -> AsyncIterator[Any]:
    yield "Hello"


async def a_beginning() -> AsyncIterator[Any]:
    for event in events_of(Reply(id="1", model="m", created=1, parts=(Text(text="Hello"),)))[:-1]:
        yield event


@EVERY_WAY
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("events", [no_events, texts_as_events, a_beginning])
async def test_events_without_an_end_are_the_filters_fault_and_no_empty_reply(
    events: Callable[[], AsyncIterator[Event]],
    upstream: Dialect,
    dialect: Dialect,
    stream: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def careless(request: Request, call_next: CallNext) -> Response:
        return (await call_next(request)).with_events(events())

    answer = await ask(gateway(careless, upstream=upstream), dialect, "Hi", stream=stream)
    assert answer.status == (200 if stream and events is a_beginning else 500)
    assert answer.error is not None
    assert "`careless`" in answer.error.message
    assert "ended without a `Finished` or `Failed`" in caplog.text


async def texts_as_pieces() -> AsyncIterator[Any]:
    yield "data: 1\n\n"


async def a_text_among_pieces() -> AsyncIterator[Any]:
    yield b": 1\n\n"
    yield "data: 1\n\n"


@EVERY_WAY
@pytest.mark.parametrize("pieces", [texts_as_pieces, a_text_among_pieces])
async def test_pieces_that_are_not_bytes_are_the_filters_fault(
    pieces: Callable[[], AsyncIterator[bytes]], dialect: Dialect, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def careless(request: Request, call_next: CallNext) -> Response:
        return (await call_next(request)).with_pieces(pieces())

    answer = await ask(gateway(careless), dialect, "Hi", stream=stream)
    assert answer.status == (500 if pieces is texts_as_pieces else 200)
    assert b"`careless`" in answer.body
    assert "a piece of the stream is of type str" in caplog.text


SPOILED: dict[str, dict[str, Any]] = {
    "a text as the system": {"system": "Be brief."},
    "dictionaries as messages": {"messages": [{"role": "user", "content": "Hi"}]},
    "dictionaries as tools": {"tools": ({"name": "look"},)},
}


@EVERY_WAY
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("case", SPOILED)
async def test_a_conversation_that_nobody_can_write_is_put_down_to_the_filter_that_made_it(
    case: str, upstream: Dialect, dialect: Dialect, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def careless(request: Request, call_next: CallNext) -> Response:
        return await call_next(request.replace(conversation=replace(request.conversation, **SPOILED[case])))

    async def careful(request: Request, call_next: CallNext) -> Response:
        return await call_next(request.replace(model="server/m"))

    provider = FakeProvider()
    app = gateway(careful, careless, careful, provider=provider, upstream=upstream)
    answer = await ask(app, dialect, "Hi", stream=stream)
    assert answer.status == 500
    assert answer.error is not None
    assert "`careless`" in answer.error.message
    assert "a conversation that no API can say" in caplog.text
    assert provider.requests == []


@EVERY_WAY
@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("error", [Failed(BUSY), BUSY], ids=["said", "raised"])
async def test_events_that_break_off_are_an_error_in_the_form_that_was_asked_for(
    dialect: Dialect, stream: bool, after: int, error: Exception | Failed
) -> None:
    answer = await ask(gateway(breaking(after, error)), dialect, "Hi", stream=stream)
    assert answer.error is not None
    assert answer.error.message == "Too much."
    if stream and after:
        assert (answer.status, answer.text) == (200, "Hello")
        assert not oracles.stream(dialect, answer.body).clean
    else:
        assert answer.status == 429
        oracles.error(dialect, answer.body)


async def test_events_of_a_stream_that_was_read_can_be_had_as_often_as_wanted() -> None:
    async def reads(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        await response.read()
        for _ in range(2):
            assert [event async for event in response.events() if isinstance(event, Finished)]
        return response

    answer = await ask(gateway(reads), "chat", "Hi", stream=True)
    assert answer.text.endswith("You said: Hi")


LOGPROBS = [{"token": word, "logprob": -0.5, "bytes": None, "top_logprobs": []} for word in ("a", " ", "b")]


@pytest.mark.parametrize("dialect", ["chat", "responses"])
async def test_logprobs_stay_where_events_become_a_body(dialect: Dialect) -> None:
    provider = FakeProvider()
    choice = {"message": {"content": "a b"}, "logprobs": {"content": LOGPROBS}, "finish_reason": "stop"}
    body = {"id": "1", "choices": [{"index": 0, **choice}]}
    provider.raw(200, {"content-type": "application/json"}, json.dumps(body).encode())
    answer = await ask(gateway(with_dashes, provider=provider), dialect, "Hi")
    assert answer.text == "a-b"
    assert answer.reply.logprobs is not None
    found = json.loads(bytes(answer.reply.logprobs))["content"]
    assert [entry["token"] for entry in found] == ["a", " ", "b"]


# -- Streams that were read --


async def by_events(response: Response) -> None:
    async for _ in response.events():
        pass


async def by_one_event(response: Response) -> None:
    await anext(aiter(response.events()))


async def by_pieces(response: Response) -> None:
    assert response.pieces is not None
    async for _ in response.pieces:
        pass


async def by_one_piece(response: Response) -> None:
    assert response.pieces is not None
    await anext(aiter(response.pieces))


async def by_a_rewritten_one(response: Response) -> None:
    await by_pieces(response.map_text(str.upper))


def reading(read: Callable[[Response], Awaitable[None]]) -> Callable[[Request, CallNext], Awaitable[Response]]:
    async def reader(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        await read(response)
        return response

    return reader


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("inner", ["a relay", "a generator"])
@pytest.mark.parametrize("read", [by_events, by_one_event, by_pieces, by_one_piece, by_a_rewritten_one])
async def test_a_stream_that_was_read_and_returned_is_an_error_that_names_the_filter(
    read: Callable[[Response], Awaitable[None]], inner: str, dialect: Dialect, caplog: pytest.LogCaptureFixture
) -> None:
    below = [] if inner == "a relay" else [with_dashes]
    answer = await ask(gateway(reading(read), *below), dialect, "Hi", stream=True)
    assert (answer.status, oracles.error(dialect, answer.body)["message"]) == (
        500,
        "The gateway's filter `reader` failed.",
    )
    assert "response.with_events(...)" in caplog.text


@EVERY_WAY
async def test_a_stream_that_was_read_whole_can_still_be_sent(dialect: Dialect, stream: bool) -> None:
    async def whole(response: Response) -> None:
        await response.read()
        await response.read()

    answer = await ask(gateway(reading(whole)), dialect, "Hi", stream=stream)
    assert answer.text.endswith("You said: Hi")


async def test_a_response_that_was_read_may_be_dropped() -> None:
    async def twice(request: Request, call_next: CallNext) -> Response:
        first = await call_next(request)
        await by_events(first)
        await first.aclose()
        return await call_next(request)

    assert (await ask(gateway(twice), "chat", "Hi", stream=True)).text.endswith("You said: Hi")


# -- Whose fault it is when a stream breaks --


def careless(text: str) -> str:
    raise ZeroDivisionError("inside")


async def breaks_text(request: Request, call_next: CallNext) -> Response:
    return (await call_next(request)).map_text(careless)


async def breaks_pieces(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)

    async def helper(pieces: Any) -> AsyncIterator[bytes]:
        async for piece in pieces:
            yield piece
            raise ZeroDivisionError("inside")

    async def outer() -> AsyncIterator[bytes]:
        async for piece in helper(response.pieces):
            yield piece

    return response.with_pieces(outer())


async def breaks_events(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)

    async def events() -> AsyncIterator[Event]:
        async for event in response.events():
            if isinstance(event, TextDelta):
                raise ZeroDivisionError("inside")
            yield event

    return response.with_events(events())


async def breaks_once_begun(request: Request, call_next: CallNext) -> Response:
    return await (await breaks_pieces(request, call_next)).begun()


async def innocent_text(request: Request, call_next: CallNext) -> Response:
    return (await call_next(request)).rewrite_text(str.upper, window=3)


async def innocent_pieces(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)

    async def through(pieces: Any) -> AsyncIterator[bytes]:
        async for piece in pieces:
            yield piece

    return response.with_pieces(through(response.pieces))


async def innocent(request: Request, call_next: CallNext) -> Response:
    return await call_next(request)


async def innocent_who_waits(request: Request, call_next: CallNext) -> Response:
    return await (await call_next(request)).begun()


async def innocent_reader(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)
    await response.read()
    return response


async def own_generator(request: Request, call_next: CallNext) -> Response:
    """As plano's own links make them."""
    response = await call_next(request)

    async def breaking_off(pieces: Any) -> AsyncIterator[bytes]:
        async for piece in pieces:
            yield piece
            raise ZeroDivisionError("inside")

    return response.with_pieces(breaking_off(response.pieces))


class Source:
    """A reply's body, as a transport gives it; a broken one has a bug after its first piece."""

    def __init__(self, broken: bool) -> None:
        self._broken = broken
        self._given = False

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> bytes:
        if not self._given:
            self._given = True
            answer = await ask(gateway(answering("Hello there")), "chat", "Hi", stream=True)
            return answer.body[: answer.body.index(b"\n\n") + 2] if self._broken else answer.body
        if self._broken:
            raise ZeroDivisionError("inside")
        raise StopAsyncIteration


def upstream(broken: bool) -> CallNext:
    """Streams by a relay, as plano's own last link does."""

    async def release() -> None:
        pass

    async def sends(request: Request) -> Response:
        return Response(request, pieces=Relay(request, Source(broken), Attempt(None, "chat")), release=release)

    return sends


def asking() -> Request:
    return Request(dialect="chat", raw=b'{"messages":[],"stream":true}', stream=True)


async def broken(response: Response) -> Exception:
    assert response.pieces is not None
    try:
        async for _ in response.pieces:
            pass
    except ZeroDivisionError as error:
        return error
    raise AssertionError("it should break")


async def told_by(run: CallNext) -> PlanoError:
    """The error of a stream that breaks, or of a filter that waits for what breaks."""
    try:
        response = await run(asking())
    except PlanoError as error:
        return error
    return response.blame(await broken(response))


INNOCENT = (innocent, innocent_who_waits, innocent_text, innocent_pieces)
GUILTY = (breaks_text, breaks_pieces, breaks_events, breaks_once_begun)


@pytest.mark.parametrize("above", INNOCENT)
@pytest.mark.parametrize("below", INNOCENT)
@pytest.mark.parametrize("guilty", GUILTY)
async def test_a_fault_in_the_middle_of_a_stream_is_put_down_to_the_filter_that_made_it(
    guilty: Any, above: Any, below: Any
) -> None:
    run = fold([Link("above", above), Link("guilty", guilty), Link("below", below)], upstream(broken=False))
    told = await told_by(run)
    assert isinstance(told, FilterError)
    assert told.filter_name == "guilty"
    assert isinstance(told.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("above", INNOCENT)
@pytest.mark.parametrize("own", [None, own_generator])
async def test_planos_own_fault_is_put_down_to_no_filter(above: Any, own: Any) -> None:
    links = [Link("above", above)]
    if own is not None:
        links += [Link("own", own, trusted=True), Link("below", innocent_pieces)]
    assert isinstance(await told_by(fold(links, upstream(broken=own is None))), GatewayFailed)


@pytest.mark.parametrize("below", INNOCENT)
@pytest.mark.parametrize("guilty", GUILTY)
async def test_a_filter_that_reads_anothers_broken_stream_is_not_to_blame(guilty: Any, below: Any) -> None:
    links = [Link("reader", innocent_reader), Link("guilty", guilty), Link("below", below)]
    with pytest.raises(FilterError, match="guilty"):
        await fold(links, upstream(broken=False))(asking())


async def test_a_filter_that_reads_a_stream_that_plano_breaks_is_not_to_blame() -> None:
    with pytest.raises(GatewayFailed):
        await fold([Link("reader", innocent_reader)], upstream(broken=True))(asking())


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_fault_in_events_that_make_a_body_is_the_filters(dialect: Dialect) -> None:
    answer = await ask(gateway(innocent, breaks_events, innocent), dialect, "Hi")
    assert (answer.status, answer.error and answer.error.message) == (
        500,
        "The gateway's filter `breaks_events` failed.",
    )


async def breaks_pieces_at_once(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)

    async def nothing() -> AsyncIterator[bytes]:
        for part in range(1 // len(request.state)):
            yield b"%d" % part

    return response.with_pieces(nothing())


@pytest.mark.parametrize("guilty", [breaks_text, breaks_pieces, breaks_events, breaks_pieces_at_once])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_fault_in_a_stream_is_logged_once_with_its_traceback(
    dialect: Dialect, guilty: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await ask(gateway(innocent, guilty, innocent), dialect, "Hi", stream=True)
    assert answer.error is not None
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == f"The gateway's filter `{guilty.__name__}` failed."
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert record.exc_info[2] is not None


@pytest.mark.parametrize("error", [InvalidRequest("no"), UpstreamUnavailable("gone")])
def test_planos_own_errors_are_told_as_they_are(error: PlanoError) -> None:
    assert Response(asking(), body=b"").blame(error) is error


async def test_knowing_who_made_a_stream_keeps_nothing_of_it() -> None:
    class Held:
        pass

    held: list[weakref.ref[Held]] = []

    async def holding(request: Request, call_next: CallNext) -> Response:
        response, thing = await call_next(request), Held()
        held.append(weakref.ref(thing))

        async def through(pieces: Any) -> AsyncIterator[bytes]:
            async for piece in pieces:
                assert thing is not None
                yield piece

        return response.with_pieces(through(response.pieces))

    response = await fold([Link("holding", holding)], upstream(broken=False))(asking())
    changed = response.with_pieces(iter_of(response))
    await changed.read()
    response.pieces = None
    gc.collect()
    assert held[0]() is None
    assert changed.makers is not None


async def iter_of(response: Response) -> AsyncIterator[bytes]:
    assert response.pieces is not None
    async for piece in response.pieces:
        yield piece


@EVERY_WAY
async def test_what_fails_on_close_is_logged_with_its_filter(
    dialect: Dialect, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def forgetful(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.on_close(lambda: 1 // 0)  # type: ignore[arg-type, return-value]
        return response

    await ask(gateway(innocent, forgetful, innocent), dialect, "Hi", stream=stream)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == "the filter `forgetful` failed at the end of a response, in `on_close`"


async def test_a_wish_of_planos_own_is_not_put_down_to_the_filter_above(caplog: pytest.LogCaptureFixture) -> None:
    async def own(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.on_close(lambda: 1 // 0, owner="own")  # type: ignore[arg-type, return-value]
        return response

    response = await fold([Link("above", innocent), Link("own", own, trusted=True)], upstream(broken=False))(asking())
    await response.aclose()
    (record,) = caplog.records
    assert record.getMessage() == "own failed at the end of a response, in `on_close`"


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("upstream", DIALECTS)
async def test_an_error_is_told_the_same_wherever_the_filters_stand(upstream: Dialect, client: Dialect) -> None:
    async def passes(request: Request, call_next: CallNext) -> Response:
        return await call_next(request)

    async def told(**options: Any) -> tuple[int, bytes]:
        provider = FakeProvider()
        provider.breaks_after(0)
        app = gateway(passes, provider=provider, upstream=upstream, **options)
        answer = await ask(app, client, "Hi", headers={"x-request-id": "r-1"})
        return answer.status, answer.body

    assert await told(order=ORDER_LOWEST) == await told()
