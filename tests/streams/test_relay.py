"""A stream comes out the same however it is passed on: iterated over, sent in messages, or from where it comes in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest

from plano import Plano
from plano.attempt import Attempt
from plano.dialects import CODECS
from plano.edge.sender import send_response
from plano.errors import UpstreamError, UpstreamProtocolError, UpstreamUnavailable
from plano.filters.translation import Translation
from plano.frames.sse import cut, without_comments
from plano.journal import Journal
from plano.provider import Target
from plano.providers import CATALOGUE
from plano.request import Request
from plano.response import Response
from plano.streams.relay import Relay
from plano.streams.stages import Ended, Flow, Stage
from plano.testing import FakeProvider, ask
from plano.types import Dialect, Message

HERE = Path(__file__).parents[1] / "dialects"
STREAMS: dict[Dialect, bytes] = {  # without comments, because a stream that is waited for loses those at its beginning
    "chat": without_comments((HERE / "stream-rich.chat.sse").read_bytes()),
    "messages": (HERE / "stream-rich.messages.sse").read_bytes(),
    "responses": (HERE / "rich_reply.responses.sse").read_bytes(),
}
DIALECTS = list(STREAMS)
BROKE = UpstreamUnavailable("it broke")


def asked(dialect: Dialect = "chat") -> Request:
    target = Target(
        provider=CATALOGUE["openai"], model="m", name="openai/m", entry="openai/m", dialects=(dialect,), endpoints={}
    )
    return Request(dialect=dialect, model="m", stream=True, target=target, journal=Journal(dialect))


class Source:
    """A reply's body: its chunks, and an error at their end."""

    def __init__(self, chunks: Sequence[bytes], error: Exception | None = None) -> None:
        self.chunks = list(chunks)
        self.error = error

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> bytes:
        if self.chunks:
            return self.chunks.pop(0)
        if self.error is not None:
            raise self.error
        raise StopAsyncIteration


class Pouring(Source):
    """One that hands its chunks over by itself once it is asked to. `pushed` counts them."""

    pushed = 0

    async def push_to(self, sink: Callable[[bytes], bool]) -> None:
        while self.chunks:
            self.pushed += 1
            if not sink(self.chunks.pop(0)):
                return


class Client:
    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.complete = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            assert not self.status
            self.status = message["status"]
        else:
            assert self.status
            assert not self.complete
            self.body += message["body"]
            self.complete = not message["more_body"]


class Taking(Client):
    """One that a piece can be passed on to. `refuses` says of which of them it will not have it so, by number."""

    def __init__(self, refuses: Callable[[int], bool] = lambda number: False) -> None:
        super().__init__()
        self.refuses = refuses
        self.offered = self.taken = 0

    def push(self, body: bytes) -> bool:
        assert self.status
        assert not self.complete
        self.offered += 1
        if self.refuses(self.offered):
            return False
        self.taken += 1
        self.body += body
        return True

    async def send(self, message: Message) -> None:
        await super().send(message)


vars(Taking)["send"].of_planos_server = True


Way: TypeAlias = Callable[[Request, Source, Sequence[Stage]], Awaitable[bytes]]


def relay_of(request: Request, source: Source) -> Relay:
    """A relay of another attempt at the request's target."""
    request.journal.begin(Attempt(request.target, request.dialect))
    return Relay(request, source, request.journal.answer)


def relayed(request: Request, source: Source, stages: Sequence[Stage]) -> Relay:
    relay = relay_of(request, source)
    for stage in stages:
        relay.add(stage)
    return relay


async def iterated(request: Request, source: Source, stages: Sequence[Stage]) -> bytes:
    return b"".join([piece async for piece in relayed(request, source, stages)])


async def sent(request: Request, source: Source, stages: Sequence[Stage]) -> bytes:
    client = Client()
    await send_response(Response(request, pieces=relayed(request, source, stages)), client.send)
    return _all_of(client, request)


async def pushed(request: Request, source: Source, stages: Sequence[Stage]) -> bytes:
    client = Taking()
    source = Pouring(source.chunks, source.error)
    await send_response(Response(request, pieces=relayed(request, source, stages)), client.send)
    return _all_of(client, request)


async def pushed_with_pauses(request: Request, source: Source, stages: Sequence[Stage]) -> bytes:
    client = Taking(lambda number: number % 3 == 1)
    source = Pouring(source.chunks, source.error)
    await send_response(Response(request, pieces=relayed(request, source, stages)), client.send)
    return _all_of(client, request)


async def pushed_after_a_wait(request: Request, source: Source, stages: Sequence[Stage]) -> bytes:
    """As a filter has it that waits for the first output, and returns the response whatever comes of that."""
    client, relay = Taking(), relayed(request, Pouring(source.chunks, source.error), stages)
    with suppress(UpstreamError):
        await relay.begun()
    await send_response(Response(request, pieces=relay), client.send)
    return _all_of(client, request)


def _all_of(client: Client, request: Request) -> bytes:
    assert client.complete
    assert client.status == 200
    assert request.journal.bytes_out == len(client.body) or request.journal.outcome == "failed"
    return client.body


SENDING: dict[str, Way] = {
    "sent": sent,
    "pushed": pushed,
    "pushed with pauses": pushed_with_pauses,
    "pushed after a wait": pushed_after_a_wait,
}
WAYS: dict[str, Way] = {"iterated": iterated} | SENDING


class Shouting:
    """In capitals, with a last word in either case."""

    def feed(self, piece: bytes) -> bytes:
        return piece.upper()

    async def finish(self) -> AsyncIterator[bytes]:
        yield b": THE END\n\n"

    def fail(self, error: UpstreamError) -> bytes | None:
        return b": BROKEN\n\n"


class Waiting:
    """Gives a piece in two, each of which has to be waited for. Knows nothing of failures."""

    def feed(self, piece: bytes) -> AsyncIterator[bytes]:
        return self._halves(piece.replace(b"E", b"3"))

    async def finish(self) -> AsyncIterator[bytes]:
        for piece in ():
            yield piece

    def fail(self, error: UpstreamError) -> bytes | None:
        return None

    async def _halves(self, piece: bytes) -> AsyncIterator[bytes]:
        for half in (piece[: len(piece) // 2], piece[len(piece) // 2 :]):
            if half:
                yield half


class Odd(Waiting):
    """Keeps every other frame, as bytes, which may be none."""

    def __init__(self) -> None:
        self.number = 0

    def feed(self, piece: bytes) -> bytes:  # type: ignore[override]
        kept = []
        for frame in cut(piece):
            self.number += 1
            if self.number % 2:
                kept.append(frame)
        return b"".join(kept)


class Stopping(Waiting):
    """Is over with the frame of this number."""

    def __init__(self, last: int) -> None:
        self.left = last

    def feed(self, piece: bytes) -> bytes:  # type: ignore[override]
        frames = cut(piece)
        if len(frames) < self.left:
            self.left -= len(frames)
            return piece
        raise Ended(b"".join(frames[: self.left]) + b": ENOUGH\n\n")


def odd(stream: bytes) -> bytes:
    return b"".join(cut(stream)[::2])


STAGED: dict[str, tuple[Callable[[], list[Stage]], Callable[[bytes], bytes]]] = {
    "no stage": (list, lambda stream: stream),
    "one": (lambda: [Shouting()], lambda stream: stream.upper() + b": THE END\n\n"),
    "one that waits": (lambda: [Waiting()], lambda stream: stream.replace(b"E", b"3")),
    "one that swallows": (lambda: [Odd()], odd),
    "two": (lambda: [Shouting(), Odd()], lambda stream: odd(stream.upper() + b": THE END\n\n")),
    "then one that waits": (
        lambda: [Shouting(), Waiting()],
        lambda stream: stream.upper().replace(b"E", b"3") + b": TH3 3ND\n\n",
    ),
    "first one that waits": (
        lambda: [Waiting(), Shouting()],
        lambda stream: stream.replace(b"E", b"3").upper() + b": THE END\n\n",
    ),
}


def short(dialect: Dialect) -> bytes:
    """A stream's first and last frames, in whose every byte it can be cut in no time."""
    frames = cut(STREAMS[dialect])
    if dialect == "responses":
        frames[-1] = b'event: response.completed\ndata: {"type":"response.completed","response":{"output":[]}}\n\n'
    return b"".join(frames[:3] + frames[-2:])


@pytest.mark.parametrize("stages", STAGED)
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("way", WAYS)
async def test_a_stream_may_be_cut_at_any_byte(way: str, dialect: Dialect, stages: str) -> None:
    make, said = STAGED[stages]
    stream = short(dialect)
    expected = said(stream)
    for at in range(1, len(stream)):
        request = asked(dialect)
        assert await WAYS[way](request, Source((stream[:at], stream[at:])), make()) == expected
        assert request.journal.failures == []


@pytest.mark.parametrize("stages", STAGED)
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [1, 7, 1000, 0])
async def test_a_stream_may_come_in_chunks_of_any_size(way: str, dialect: Dialect, stages: str, size: int) -> None:
    """Of 0: a frame each, as most come."""
    make, said = STAGED[stages]
    stream = STREAMS[dialect]
    chunks = [stream[at : at + size] for at in range(0, len(stream), size)] if size else cut(stream)
    request = asked(dialect)
    assert await WAYS[way](request, Source(chunks), make()) == said(stream)
    assert request.journal.failures == []
    assert request.journal.answer.finish == "tool_calls"
    assert request.journal.usage is not None


@pytest.mark.parametrize("ending", [b"\r\n", b"\r"])
@pytest.mark.parametrize("way", WAYS)
async def test_lines_may_end_as_the_standard_has_it(way: str, ending: bytes) -> None:
    stream = short("chat").replace(b"\n", ending)
    for at in range(1, len(stream)):
        assert await WAYS[way](asked(), Source((stream[:at], stream[at:])), []) == stream


@pytest.mark.parametrize("way", WAYS)
async def test_the_last_frame_need_not_be_closed(way: str) -> None:
    stream = STREAMS["chat"]
    make, said = STAGED["then one that waits"]
    assert await WAYS[way](asked(), Source([*cut(stream)[:-1], b"data: [DONE]"]), make()) == said(stream)


async def test_all_ways_note_the_same_of_a_stream() -> None:
    stream = STREAMS["messages"]
    noted = []
    for way in WAYS.values():
        request = asked("messages")
        await way(request, Source(cut(stream)), [])
        answer = request.journal.answer
        noted.append((answer.first, tuple(answer.last), answer.events, answer.bytes_streamed, answer.usage))
    assert noted[1:] == noted[:1] * (len(noted) - 1)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_is_pushed_is_not_sent_as_messages(dialect: Dialect) -> None:
    frames = cut(STREAMS[dialect])
    request, client, source = asked(dialect), Taking(), Pouring(frames)
    await send_response(Response(request, pieces=relay_of(request, source)), client.send)
    assert source.pushed == client.taken == len(frames) - 1


async def test_what_comes_after_a_wait_is_pushed_too() -> None:
    frames = cut(STREAMS["chat"])
    request, client, source = asked(), Taking(), Pouring(frames)
    relay = relay_of(request, source)
    await relay.begun()
    held = len(frames) - len(source.chunks)
    await send_response(Response(request, pieces=relay), client.send)
    assert source.pushed == client.taken == len(frames) - held - 1  # the next opens the way


@pytest.mark.parametrize("every", [1, 2, 5])
async def test_what_a_client_does_not_take_at_once_is_neither_lost_nor_passed_by(every: int) -> None:
    frames = [b"data: %d\n\n" % number for number in range(50)] + [b"data: [DONE]\n\n"]
    request, client = asked(), Taking(lambda number: number % every == 0)
    await send_response(Response(request, pieces=relay_of(request, Pouring(frames))), client.send)
    assert client.body == b"".join(frames)
    assert client.taken < client.offered
    assert request.journal.bytes_out == len(client.body)


# -- Streams that end early --


@pytest.mark.parametrize("last", [1, 2, 4])
@pytest.mark.parametrize("size", [0, 1, 300])
@pytest.mark.parametrize("way", WAYS)
async def test_a_stage_may_end_a_stream(way: str, size: int, last: int) -> None:
    """Its last words go through the stages behind it; those are not at their end."""
    stream = STREAMS["chat"]
    chunks = [stream[at : at + size] for at in range(0, len(stream), size)] if size else cut(stream)
    expected = b"".join(cut(stream)[:last]) + b": ENOUGH\n\n"
    request = asked()
    assert await WAYS[way](request, Source(chunks), [Stopping(last)]) == expected
    assert await WAYS[way](asked(), Source(chunks), [Stopping(last), Shouting()]) == expected.upper()
    assert request.journal.failures == []


FAILING: dict[str, tuple[Callable[[], list[Stage]], bytes | None]] = {
    "none": (list, None),
    "one that cannot": (lambda: [Waiting()], None),
    "one that can": (lambda: [Shouting()], b": BROKEN\n\n"),
    "the second can": (lambda: [Waiting(), Shouting()], b": BROKEN\n\n"),
    "the first can": (lambda: [Shouting(), Waiting()], b": BROK3N\n\n"),
}


@pytest.mark.parametrize("frames", [0, 1, 3])
@pytest.mark.parametrize("stages", FAILING)
@pytest.mark.parametrize("way", SENDING)
async def test_a_source_that_breaks(way: str, stages: str, frames: int) -> None:
    make, last = FAILING[stages]
    request = asked()
    source = Source(cut(STREAMS["chat"])[:frames], BROKE)
    if last is None and not frames:
        with pytest.raises(UpstreamUnavailable):
            await SENDING[way](request, source, make())
    else:
        body = await SENDING[way](request, source, make())
        before = b"".join(cut(body)[:-1])
        assert len(cut(before)) == frames
        assert cut(body)[-1] == last if last is not None else b"it broke" in cut(body)[-1]
    silent = not frames or (way == "pushed after a wait" and frames == 1)  # the first one names the role
    assert [how for _, how in request.journal.failures] == ["connect" if silent else "broken_stream"]


@pytest.mark.parametrize("frames", [0, 1, 3])
@pytest.mark.parametrize("stages", FAILING)
async def test_a_source_that_breaks_while_it_is_iterated_over(stages: str, frames: int) -> None:
    make, last = FAILING[stages]
    request = asked()
    relay = relayed(request, Source(cut(STREAMS["chat"])[:frames], BROKE), make())
    got = []

    async def iterate() -> None:
        async for piece in relay:
            got.append(piece)

    if last is None:
        with pytest.raises(UpstreamUnavailable):
            await iterate()
    else:
        await iterate()
    assert len(cut(b"".join(got))) == frames + (last is not None)
    assert [how for _, how in request.journal.failures] == ["broken_stream" if frames else "connect"]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("way", SENDING)
async def test_a_stream_without_its_dialects_end_is_a_failure_and_noted_once(way: str, dialect: Dialect) -> None:
    frames = cut(STREAMS[dialect])[:3]
    request = asked(dialect)
    body = await SENDING[way](request, Source(frames), [])
    assert body.startswith(b"".join(frames))
    assert b"error" in body[len(b"".join(frames)) :]
    silent = way == "pushed after a wait" and dialect != "chat"
    assert [how for _, how in request.journal.failures] == ["protocol" if silent else "broken_stream"]
    assert request.journal.outcome == "failed"
    assert isinstance(request.journal.error, UpstreamProtocolError)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_nothing_at_all_is_not_a_stream(dialect: Dialect) -> None:
    for way in WAYS.values():
        request = asked(dialect)
        with pytest.raises(UpstreamProtocolError):
            await way(request, Source(()), [])
        assert [how for _, how in request.journal.failures] == ["protocol"]


# -- Errors that are nobody's stream --


class Failing(Waiting):
    """Raises at the frame of this number."""

    def __init__(self, at: int, error: Exception) -> None:
        self.left = at
        self.error = error

    def feed(self, piece: bytes) -> bytes:  # type: ignore[override]
        self.left -= 1
        if self.left == 0:
            raise self.error
        return piece


@pytest.mark.parametrize("way", WAYS)
async def test_a_stage_that_has_a_bug_breaks_the_stream(way: str) -> None:
    """In the middle of it the client is told; before there is anything, whoever sends it is."""
    frames = cut(STREAMS["chat"])
    with pytest.raises(ZeroDivisionError):
        await WAYS[way](asked(), Source(frames), [Failing(1, ZeroDivisionError())])
    request = asked()
    if way == "iterated":
        with pytest.raises(ZeroDivisionError):
            await iterated(request, Source(frames), [Failing(3, ZeroDivisionError())])
        return
    body = await WAYS[way](request, Source(frames), [Failing(3, ZeroDivisionError())])
    assert body.startswith(b"".join(frames[:2]) + b'data: {"error"')
    assert request.journal.outcome == "failed"


@pytest.mark.parametrize("way", SENDING)
async def test_a_stage_that_finds_the_stream_broken_is_asked_for_its_end_as_others_are(way: str) -> None:
    frames = cut(STREAMS["chat"])
    request = asked()
    body = await SENDING[way](request, Source(frames), [Failing(3, BROKE), Shouting()])
    assert body == b"".join(frames[:2]).upper() + b": BROKEN\n\n"
    assert [how for _, how in request.journal.failures] == ["broken_stream"]


# -- Translated, and stages without a relay --


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("before", [0, 6])
async def test_an_error_in_the_middle_of_a_translated_stream_is_noted_once(way: str, before: int) -> None:
    frames = [*cut(STREAMS["chat"])[:before], b'data: {"error":{"message":"too busy","type":"server_error"}}\n\n']
    request, pieces = await _translated(frames)
    if before:
        assert b"too busy" in await WAYS[way](request, Source(frames), pieces)
    else:
        with pytest.raises(UpstreamError, match="too busy"):
            await WAYS[way](request, Source(frames), pieces)
    assert [how for _, how in request.journal.failures] == ["broken_stream" if before else "server"]


async def _translated(frames: Sequence[bytes]) -> tuple[Request, list[Stage]]:
    """The request as the upstream gets it, and the stage that translates its stream for a client of messages."""
    body = msgspec.json.encode({"model": "m", "stream": True, "max_tokens": 9, "messages": []})
    client = asked("messages").replace(raw=body, target=asked("chat").target)
    relays: list[tuple[Request, Relay]] = []

    async def upstream(request: Request) -> Response:
        relay = relay_of(request, Source(frames))
        relays.append((request, relay))
        return Response(request, pieces=relay, attempt=request.journal.answer)

    await Translation()(client, upstream)
    request, relay = relays[0]
    return request, relay._stages


@pytest.mark.parametrize("stages", STAGED)
async def test_pieces_that_are_no_relay_go_through_a_stage_as_well(stages: str) -> None:
    make, said = STAGED[stages]
    flow = Flow(Source(cut(STREAMS["chat"])), CODECS["chat"])
    for stage in make():
        flow.add(stage)
    assert b"".join([piece async for piece in flow]) == said(STREAMS["chat"])


# --- the frame that a stream ends with ----------------------------------------------------------------

SAID = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'
STOPS = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USED = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}\n\n'
ENDED = {
    "a finish reason": SAID + STOPS,
    "a finish reason and usage": SAID + STOPS + USED,
    "comments after it": SAID + STOPS + b": still here\n\n",
    "a call": SAID + STOPS.replace(b'"stop"', b'"tool_calls"'),
    "an unclosed last frame": SAID + STOPS[:-2],
    "text that says [DONE]": SAID.replace(b"Hi", b"data: [DONE]") + STOPS,
}


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", ENDED)
async def test_a_stream_that_ends_without_done_gets_it(case: str, way: str, size: int) -> None:
    stream, request = ENDED[case], asked()
    source = Source([stream[at : at + size] for at in range(0, len(stream), size)])
    closed = stream if stream.endswith(b"\n\n") else stream + b"\n\n"
    assert await WAYS[way](request, source, []) == closed + b"data: [DONE]\n\n"


WITHOUT = {
    "it has one": SAID + STOPS + b"data: [DONE]\n\n",
    "it has one, and comments": SAID + STOPS + b"data:[DONE]\n\n: bye\n\n",
    "it has one, and usage": SAID + STOPS + b"data: [DONE]\n\n" + USED,
    "an error": SAID + b'data: {"error":{"message":"Overloaded"}}\n\n',
    "an error after the finish": SAID + STOPS + b'data: {"error":{"message":"Overloaded"}}\n\n',
    "a finish that is an error": SAID + STOPS.replace(b'"stop"', b'"error"'),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", WITHOUT)
async def test_no_done_is_added_to_a_stream_that_needs_none(case: str, way: str) -> None:
    assert await WAYS[way](asked(), Source(cut(WITHOUT[case])), []) == WITHOUT[case]


@pytest.mark.parametrize("dialect", ["messages", "responses"])
async def test_other_dialects_have_no_such_frame(dialect: Dialect) -> None:
    assert await iterated(asked(dialect), Source(cut(STREAMS[dialect])), []) == STREAMS[dialect]


UNFINISHED = {"no reason": b"", "null": SAID, "an empty reason": STOPS.replace(b'"stop"', b'""')}


@pytest.mark.parametrize("case", UNFINISHED)
@pytest.mark.parametrize("store", [False, True])
async def test_a_stream_that_is_cut_gets_no_done(case: str, store: bool) -> None:
    provider = FakeProvider()
    provider.raw(200, {"content-type": "text/event-stream"}, cut(SAID + UNFINISHED[case]))
    entry = {"model": "openai/m", "access_key": "k", "default": True}
    app = Plano({"model_providers": [entry]}, transport=provider)
    received = await ask(app, "chat", "Hi", stream=True, store=store)
    assert b"[DONE]" not in received.body
    assert received.body.startswith(SAID)
    if case != "an empty reason":
        assert b'"error"' in received.body


async def test_a_stream_without_done_is_stored_once_and_whole() -> None:
    """The frame that is added goes through the stages, as one of the upstream's would."""
    provider = FakeProvider()
    stream = SAID.replace(b'{"choices"', b'{"id":"chatcmpl-1","choices"') + STOPS
    provider.raw(200, {"content-type": "text/event-stream"}, cut(stream))
    entry = {"model": "openai/m", "access_key": "k", "default": True}
    app = Plano({"model_providers": [entry], "state_storage": {"type": "memory"}}, transport=provider)
    received = await ask(app, "chat", "Hi", stream=True, store=True)
    assert received.body == stream + b"data: [DONE]\n\n"
    again = await ask(app, "chat", "And?", metadata={"response_id": "chatcmpl-1"})
    assert again.status == 200
    assert [message["content"] for message in provider.last.json["messages"]] == ["Hi", "Hi", "And?"]
