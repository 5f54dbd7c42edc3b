"""Waiting for a stream's first real output: what is held until then goes out with it, through every stage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from plano.attempt import Attempt
from plano.dialects import CODECS
from plano.errors import UpstreamError, UpstreamProtocolError, UpstreamTimeout, UpstreamUnavailable
from plano.frames.sse import without_comments
from plano.journal import Journal
from plano.request import Request
from plano.response import Response
from plano.streams.relay import Relay
from plano.streams.stages import MAX_HELD_BYTES, MAX_HELD_FRAMES, Flow
from plano.types import Dialect

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"word"}}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
FAILED = b'data: {"error":{"message":"too busy","type":"server_error"}}\n\n'
COMMENT = b": ping\n\n"


class Source:
    """Gives chunks and counts what was taken; then ends, or breaks."""

    def __init__(self, *chunks: bytes, error: Exception | None = None) -> None:
        self._chunks = list(chunks)
        self._error = error
        self.taken = 0

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> bytes:
        if self.taken < len(self._chunks):
            self.taken += 1
            return self._chunks[self.taken - 1]
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        raise StopAsyncIteration


def relayed(source: Source, dialect: Dialect = "chat") -> tuple[Relay, Request]:
    request = Request(dialect=dialect, stream=True, journal=Journal())
    request.journal.begin(Attempt(None, dialect))
    return Relay(request, source, request.journal.answer), request


def of_a_generator(source: Source) -> tuple[Flow, Request]:
    async def pieces() -> AsyncIterator[bytes]:
        async for chunk in source:
            yield chunk

    return Flow(pieces(), CODECS["chat"]), Request(dialect="chat", stream=True, journal=Journal())


KINDS: dict[str, Callable[[Source], tuple[Flow, Request]]] = {"relay": relayed, "generator": of_a_generator}


class Upper:
    """Lower case `word` becomes upper case."""

    def feed(self, piece: bytes) -> bytes:
        return piece.replace(b"word", b"WORD")

    async def finish(self) -> AsyncIterator[bytes]:
        for piece in (b": the end\n\n",):
            yield piece

    def fail(self, error: UpstreamError) -> bytes | None:
        return None


async def out_of(flow: Flow) -> bytes:
    return b"".join([piece async for piece in flow])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [1, 7, 1000])
async def test_it_waits_for_the_first_real_output_and_no_longer(kind: str, cut: int) -> None:
    before = ROLE + COMMENT
    chunks = [before[at : at + cut] for at in range(0, len(before), cut)] if kind == "relay" else [ROLE, COMMENT]
    source = Source(*chunks, WORD, WORD, END)
    flow, _ = KINDS[kind](source)
    await flow.begun()
    assert source.taken == len(chunks) + 1
    assert await out_of(flow) == ROLE + WORD + WORD + END


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stage_sees_all_of_a_stream_whether_it_is_added_before_or_after(kind: str) -> None:
    for added in ("before", "after"):
        flow, _ = KINDS[kind](Source(ROLE, WORD, WORD, END))
        if added == "before":
            flow.add(Upper())
        await flow.begun()
        if added == "after":
            flow.add(Upper())
        assert await out_of(flow) == (ROLE + WORD + WORD + END).replace(b"word", b"WORD") + b": the end\n\n"


@pytest.mark.parametrize("kind", KINDS)
async def test_asking_again_waits_for_nothing(kind: str) -> None:
    source = Source(ROLE, WORD, WORD, END)
    flow, _ = KINDS[kind](source)
    await flow.begun()
    await flow.begun()
    assert source.taken == 2
    assert await out_of(flow) == ROLE + WORD + WORD + END


FAILURES: dict[str, tuple[Source, str, str]] = {
    "an error in a frame": (Source(ROLE, FAILED), "too busy", "server"),
    "an error in the first frame": (Source(FAILED), "too busy", "server"),
    "a broken connection": (Source(ROLE, error=UpstreamUnavailable("gone")), "gone", "connect"),
    "a broken connection at once": (Source(error=UpstreamUnavailable("gone")), "gone", "connect"),
    "silence": (Source(ROLE, error=UpstreamTimeout("slow")), "slow", "timeout"),
    "an end without a finish": (Source(ROLE), "ended", "protocol"),
    "an end that does not say why": (Source(ROLE, b"data: [DONE]\n\n"), "does not say why", "protocol"),
    "nothing at all": (Source(), "ended", "protocol"),
    "nothing but comments": (Source(COMMENT, COMMENT), "ended", "protocol"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failure_before_any_output_is_raised_and_noted(kind: str, failure: str) -> None:
    source, message, how = FAILURES[failure]
    flow, request = KINDS[kind](Source(*source._chunks, error=source._error))
    for _ in range(2):
        with pytest.raises(UpstreamError, match=message):
            await flow.begun()
    assert request.journal.answer.failure == (how if kind == "relay" else None)


async def test_a_stream_that_has_begun_breaks_where_it_breaks() -> None:
    flow, _ = relayed(Source(ROLE, WORD, error=UpstreamUnavailable("gone")))
    await flow.begun()
    pieces = aiter(flow)
    assert [await anext(pieces), await anext(pieces)] == [ROLE, WORD]
    with pytest.raises(UpstreamUnavailable):
        await anext(pieces)


async def test_an_end_that_says_nothing_is_an_end() -> None:
    flow, _ = relayed(Source(ROLE, END))
    await flow.begun()
    assert await out_of(flow) == ROLE + END


FILTERED: list[tuple[Dialect, bytes, bool]] = [
    ("chat", b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"content_filter"}]}\n\n', True),
    ("chat", b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"content_filter: SAFETY"}]}\n\n', True),
    ("chat", b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"sensitive"}]}\n\n', True),
    ("chat", b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"content_filter"}]}\n\n', False),
    ("chat", b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]}}]}\n\n', False),
    ("chat", END, False),
    ("messages", b'data: {"type":"message_delta","delta":{"stop_reason":"refusal"},"usage":{}}\n\n', True),
    ("messages", b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{}}\n\n', False),
    (
        "responses",
        b'data: {"type":"response.incomplete","response":{"status":"incomplete","output":[],'
        b'"incomplete_details":{"reason":"content_filter"}}}\n\n',
        True,
    ),
    (
        "responses",
        b'data: {"type":"response.completed","response":{"status":"completed","output":[]}}\n\n',
        False,
    ),
]


@pytest.mark.parametrize(("dialect", "end", "filtered"), FILTERED)
async def test_a_filter_that_ends_a_reply_before_any_output_is_told_and_not_raised(
    dialect: Dialect, end: bytes, filtered: bool
) -> None:
    flow, request = relayed(Source(end), dialect)
    await flow.begun()
    assert flow.filtered is filtered
    assert request.journal.answer.failure is None
    assert (await anext(aiter(flow))) == end


async def test_a_wait_that_was_cancelled_is_taken_up_again() -> None:
    go_on, waits = asyncio.Event(), asyncio.Event()

    class Slow(Source):
        async def __anext__(self) -> bytes:
            if self.taken == 1:
                waits.set()
                await go_on.wait()
            return await super().__anext__()

    flow, request = relayed(Slow(ROLE, WORD, END))
    waiting = asyncio.ensure_future(flow.begun())
    await waits.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert request.journal.answer.failure is None
    go_on.set()
    await flow.begun()
    assert await out_of(flow) == ROLE + WORD + END


async def test_comments_count_for_the_bound_and_are_not_held() -> None:
    source = Source(*[COMMENT] * 200, ROLE, WORD, END)
    flow, _ = relayed(source)
    for _ in range(2):
        await flow.begun()
        assert source.taken == MAX_HELD_FRAMES
    assert not flow._held
    assert await out_of(flow) == COMMENT * (200 - MAX_HELD_FRAMES) + ROLE + WORD + END


@pytest.mark.parametrize(
    ("chunk", "held"),
    [(ROLE, MAX_HELD_FRAMES), (b": " + b"x" * 10_000 + b"\n\n" + ROLE, -(-MAX_HELD_BYTES // (len(ROLE) + 10_004)))],
    ids=["frames", "bytes"],
)
async def test_what_is_held_has_a_bound(chunk: bytes, held: int) -> None:
    source = Source(*[chunk] * 200, WORD, END)
    flow, _ = relayed(source)
    await flow.begun()
    assert source.taken == held
    opening = without_comments(chunk)
    assert await out_of(flow) == opening * held + chunk * (200 - held) + WORD + END


async def test_times_and_tokens_are_noted_when_they_come() -> None:
    flow, request = relayed(Source(ROLE, WORD, WORD, END))
    await flow.begun()
    answer = request.journal.answer
    assert (answer.first, answer.spoken) == (ROLE, WORD)
    noted = answer.first_piece, answer.first_token
    await out_of(flow)
    assert (answer.first_piece, answer.first_token) == noted
    assert answer.events == 4
    assert answer.finish == "stop"


class Pushing(Source):
    """Calls for what comes after it was asked once, as plano's own connections do."""

    pushed = 0

    async def push_to(self, sink: Callable[[bytes], bool]) -> None:
        while self.taken < len(self._chunks):
            self.taken += 1
            self.pushed += 1
            if not sink(self._chunks[self.taken - 1]):
                return


async def test_a_stream_that_was_waited_for_is_still_pushed() -> None:
    source = Pushing(ROLE, WORD, WORD, WORD, END)
    flow, request = relayed(source)
    await flow.begun()
    flow.add(Upper())
    sent: list[tuple[str, bytes]] = []
    async for piece in flow.run(lambda piece: sent.append(("pushed", piece)) is None):
        sent.append(("given", piece))
    word = WORD.replace(b"word", b"WORD")
    given = [("given", ROLE), ("given", word), ("given", word)]
    assert sent == [*given, ("pushed", word), ("pushed", END), ("given", b": the end\n\n")]
    assert request.journal.bytes_out == len(word + END)


async def test_a_whole_reply_has_begun_and_an_upstreams_error_has_not() -> None:
    request = Request(dialect="chat", journal=Journal())
    whole = Response(request, body=b'{"choices":[]}', attempt=Attempt(None, "chat"))
    assert await whole.begun() is whole
    for status, attempt in ((429, Attempt(None, "chat")), (400, None)):
        failed: Any = Response(request, status=status, body=b'{"error":{"message":"no"}}', attempt=attempt)
        if attempt is None:  # a filter's own answer
            assert await failed.begun() is failed
        else:
            with pytest.raises(UpstreamError, match="no") as caught:
                await failed.begun()
            assert caught.value.status == 429
            assert attempt.failure == "rate_limit"


@pytest.mark.parametrize(
    ("choice", "failure"),
    [
        ({"message": {"content": "hi"}, "finish_reason": "error"}, "server"),
        ({"message": {"content": "hi"}, "finish_reason": "insufficient_system_resource"}, "overloaded"),
    ],
)
async def test_a_whole_reply_that_says_that_it_failed_has_not_begun(choice: Any, failure: str) -> None:
    attempt = Attempt(None, "chat")
    attempt.fail("broken_stream")  # as the upstream link notes it
    body = msgspec.json.encode({"choices": [choice]})
    response = Response(Request(dialect="chat", journal=Journal()), body=body, attempt=attempt)
    with pytest.raises(UpstreamError):
        await response.begun()
    assert attempt.failure == failure


@pytest.mark.parametrize(
    ("message", "finish", "filtered"),
    [
        ({"content": None}, "content_filter", True),
        ({"content": ""}, "content_filter", True),
        ({"content": "half a"}, "content_filter", False),
        ({"content": None}, "stop", False),
    ],
)
async def test_a_whole_reply_tells_that_a_filter_ended_it(message: Any, finish: str, filtered: bool) -> None:
    body = msgspec.json.encode({"choices": [{"message": message, "finish_reason": finish}]})
    response = Response(Request(dialect="chat", journal=Journal()), body=body, attempt=Attempt(None, "chat"))
    assert (await response.begun()).filtered is filtered


async def test_a_stream_cut_off_is_told_as_such() -> None:
    flow, _ = relayed(Source(ROLE))
    with pytest.raises(UpstreamProtocolError):
        await flow.begun()
