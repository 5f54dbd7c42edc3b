"""Changing a reply's text under way: in any dialect, streamed or not, cut anywhere, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plano import Plano
from plano.conversation import (
    Conversation,
    Event,
    Failed,
    Finished,
    Part,
    PartStart,
    PartStop,
    Refusal,
    Reply,
    Start,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    Usage,
)
from plano.dialects import CODECS
from plano.errors import UpstreamProtocolError, UpstreamUnavailable
from plano.frames import sse
from plano.journal import Journal
from plano.losses import Losses
from plano.request import Request
from plano.response import Pieces, Response
from plano.streams.rewrite import StreamRewriter
from plano.testing import FakeProvider
from plano.translation.assembly import events_of
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests import oracles
from tests.asgi import ask

GOLDEN = Path(__file__).parents[1] / "dialects"
STREAMS: dict[Dialect, bytes] = {
    "chat": (GOLDEN / "stream-rich.chat.sse").read_bytes(),
    "messages": (GOLDEN / "stream-rich.messages.sse").read_bytes(),
    "responses": (GOLDEN / "rich_reply.responses.sse").read_bytes(),
}
BODIES: dict[Dialect, bytes] = {
    "chat": (GOLDEN / "reply-rich.chat.json").read_bytes(),
    "messages": (GOLDEN / "reply-rich.messages.json").read_bytes(),
    "responses": (GOLDEN / "rich_reply.responses.json").read_bytes(),
}
KEY = re.compile(r"sk-\d+")
SECRET = "Grüße! My key is sk-1234567 and not sk-x, \U0001f511 again: sk-99."
HIDDEN = KEY.sub("***", SECRET)


def hide(text: str) -> str:
    return KEY.sub("***", text)


def doubled(text: str) -> str:
    """What was mapped twice, or not at all, shows."""
    return "".join(character * 2 for character in text)


def same(text: str) -> str:
    return text


def request(dialect: Dialect) -> Request:
    body = {"chat": b'{"messages":[]}', "messages": b'{"max_tokens":9,"messages":[]}', "responses": b'{"input":"x"}'}
    return Request(dialect=dialect, raw=body[dialect], stream=True, journal=Journal(dialect))


def steps(*deltas: tuple[int, str], parts: tuple[Part, ...] = (Text(text=""),)) -> list[Event]:
    """A stream of parts, which grow by `deltas` of (index, text)."""
    return [
        Start(id="r_1", model="m", created=1),
        *(PartStart(index, part) for index, part in enumerate(parts)),
        *(TextDelta(index, text) for index, text in deltas),
        *(PartStop(index) for index in range(len(parts))),
        Finished(finish="stop", usage=Usage(input_tokens=1, output_tokens=2)),
    ]


def written(dialect: Dialect, events: Iterable[Event]) -> bytes:
    writer = CODECS[dialect].stream_writer(Conversation(model="m"))
    return b"".join([*(frame for event in events for frame in writer.feed(event)), *writer.finish()])


def rewritten(dialect: Dialect, stream: bytes, fn: Callable[[str], str], window: int = 0) -> bytes:
    """Frame by frame, as an upstream sends them."""
    rewriter = StreamRewriter(CODECS[dialect], fn, window)
    pieces = [rewriter.feed(block + b"\n\n") for block in sse.blocks(stream)]
    return b"".join([*pieces, rewriter.finish()])


def texts(dialect: Dialect, stream: bytes) -> dict[Any, str]:
    """Each text, as its deltas say it; whatever repeats it whole must say the same."""
    found: dict[Any, str] = {}
    for frame in sse.frames(stream):
        if not frame.data.startswith(b"{"):
            continue
        for slot in CODECS[dialect].event_texts(json.loads(frame.data)):
            if slot.kind == "delta":
                found[slot.key] = found.get(slot.key, "") + slot.holder[slot.field]
            elif slot.kind == "whole":
                assert slot.holder[slot.field] == found.setdefault(slot.key, slot.holder[slot.field])
    return found


def without_texts(dialect: Dialect, stream: bytes) -> list[tuple[str | None, Any]]:
    """Every frame, its texts blanked."""
    found: list[tuple[str | None, Any]] = []
    for frame in sse.frames(stream):
        if not frame.data.startswith(b"{"):
            found.append((frame.event, frame.data))
            continue
        event = json.loads(frame.data)
        for slot in CODECS[dialect].event_texts(event):
            if slot.kind != "end":
                slot.holder[slot.field] = ""
        found.append((frame.event, event))
    return found


# --- what is looked for -----------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_cut_in_two_anywhere_is_found(dialect: Dialect) -> None:
    for cut in range(len(SECRET) + 1):
        stream = written(dialect, steps((0, SECRET[:cut]), (0, SECRET[cut:])))
        assert list(texts(dialect, rewritten(dialect, stream, hide, 16)).values()) == [HIDDEN]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_what_is_cut_in_many_is_found(dialect: Dialect, size: int) -> None:
    deltas = [(0, SECRET[at : at + size]) for at in range(0, len(SECRET), size)]
    stream = written(dialect, steps(*deltas))
    assert list(texts(dialect, rewritten(dialect, stream, hide, 16)).values()) == [HIDDEN]


@pytest.mark.parametrize("size", range(1, 24))
def test_words_end_where_the_whole_text_says(size: int) -> None:
    """The rest of a longer number is no number: a cut between the two would make it one."""
    text = "a 1234567890123456 b 12345678901234567 c x1234567890123456 1234567890123456x 0123456789012345."
    card = re.compile(r"\b\d{16}\b")
    stream = written("chat", steps(*((0, text[at : at + size]) for at in range(0, len(text), size))))
    found = texts("chat", rewritten("chat", stream, lambda part: card.sub("#", part), 20))
    assert list(found.values()) == [card.sub("#", text)]


@settings(derandomize=True, database=None, deadline=None, max_examples=300)
@given(st.lists(st.text("ab", max_size=7), max_size=12), st.integers(3, 6))
def test_any_text_cut_in_any_way_is_mapped_as_a_whole(pieces: list[str], window: int) -> None:
    def fn(text: str) -> str:
        return re.sub("aba|bb", "#", text)

    stream = written("messages", steps(*((0, piece) for piece in pieces)))
    found = texts("messages", rewritten("messages", stream, fn, window))
    assert "".join(found.values()) == fn("".join(pieces))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("window", [0, 1, 4, 64])
def test_every_character_is_mapped_once(dialect: Dialect, window: int) -> None:
    deltas = [(0, SECRET[at : at + 3]) for at in range(0, len(SECRET), 3)]
    found = texts(dialect, rewritten(dialect, written(dialect, steps(*deltas)), doubled, window))
    assert list(found.values()) == [doubled(SECRET)]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_without_a_window_each_piece_is_mapped_as_it_comes(dialect: Dialect) -> None:
    seen: list[str] = []

    def fn(text: str) -> str:
        seen.append(text)
        return text.upper()

    stream = written(dialect, steps((0, "one "), (0, "two "), (0, "three")))
    rewriter = StreamRewriter(CODECS[dialect], fn)
    for block in sse.blocks(stream):
        assert rewriter.feed(block + b"\n\n")
    assert not rewriter.finish()
    assert seen == ["one ", "two ", "three"]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("window", [0, 8])
def test_a_text_may_vanish(dialect: Dialect, window: int) -> None:
    calls: list[str] = []

    def fn(text: str) -> str:
        calls.append(text)
        return ""

    stream = written(dialect, steps((0, "gone "), (0, "for good")))
    assert not any(texts(dialect, rewritten(dialect, stream, fn, window)).values())
    assert "" not in calls[:1]
    assert window or calls == ["gone ", "for good"]


def test_a_window_holds_back_no_more_than_it_says() -> None:
    rewriter = StreamRewriter(CODECS["chat"], hide, 10)
    for block in sse.blocks(written("chat", steps(*((0, character) for character in "x" * 40)))[:-1])[:30]:
        sent = rewriter.feed(block + b"\n\n")
    assert texts("chat", sent) == {("choice", 0): "x"}


def test_what_is_longer_than_the_window_does_not_wait_for_ever() -> None:
    rewriter = StreamRewriter(CODECS["chat"], lambda text: text[::-1], 4)
    stream = written("chat", steps(*((0, "word ") for _ in range(1000))))
    sent = b"".join(rewriter.feed(block + b"\n\n") for block in sse.blocks(stream)[:900])
    assert sum(map(len, texts("chat", sent).values())) > 1000


# --- everything else --------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("window", [0, 3, 1000])
def test_a_rich_stream_changes_in_nothing_but_its_texts(dialect: Dialect, window: int) -> None:
    """Order, numbers, thinking, refusals, tool calls, usage: all that is no text stays."""
    before = STREAMS[dialect]
    after = rewritten(dialect, before, doubled, window)
    assert without_texts(dialect, after) == without_texts(dialect, before)
    assert texts(dialect, after) == {key: doubled(text) for key, text in texts(dialect, before).items()}
    assert any(texts(dialect, before).values())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_whose_texts_stay_comes_out_byte_for_byte(dialect: Dialect) -> None:
    assert rewritten(dialect, STREAMS[dialect], same) == STREAMS[dialect]
    spaced = STREAMS[dialect].replace(b'":', b'" : ').replace("ü".encode(), rb"\u00fc")
    assert rewritten(dialect, spaced, same) == spaced


@pytest.mark.parametrize("dialect", DIALECTS)
def test_frames_without_text_come_out_byte_for_byte(dialect: Dialect) -> None:
    before, after = sse.blocks(STREAMS[dialect]), sse.blocks(rewritten(dialect, STREAMS[dialect], doubled, 5))
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        if not any(texts(dialect, old + b"\n\n").values()):
            assert old == new


def test_choices_that_grow_in_turns_are_kept_apart() -> None:
    def chunk(index: int, text: str, finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": {"content": text} if text else {}, "finish_reason": finish}
        return sse.frame(json.dumps({"id": "c", "choices": [choice]}).encode())

    frames = [
        chunk(0, "a sk-1"),
        chunk(1, "sk-"),
        chunk(0, "2 b"),
        chunk(1, "7"),
        chunk(0, "", "stop"),
        chunk(1, "8", "stop"),
        sse.DONE,
    ]
    before = b"".join(frames)
    after = rewritten("chat", before, hide, 8)
    assert texts("chat", after) == {("choice", 0): "a *** b", ("choice", 1): "***"}
    assert without_texts("chat", after) == without_texts("chat", before)


def test_choices_in_one_chunk_are_kept_apart() -> None:
    def chunk(*deltas: str) -> bytes:
        choices = [{"index": n, "delta": {"content": text}, "finish_reason": None} for n, text in enumerate(deltas)]
        return sse.frame(json.dumps({"choices": choices}).encode())

    after = rewritten("chat", chunk("sk-", "x") + chunk("1", "sk-2"), hide, 8)
    assert texts("chat", after) == {("choice", 0): "***", ("choice", 1): "x***"}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_tool_calls_do_not_wait_for_a_text_before_them(dialect: Dialect) -> None:
    call = ToolCall(id="c", name="f", arguments="")
    events = [
        Start(id="r", model="m", created=1),
        PartStart(0, Text(text="")),
        TextDelta(0, "sk-1"),
        PartStop(0),
        PartStart(1, call),
        TextDelta(1, '{"a":'),
        TextDelta(1, '"sk-2"}'),
    ]
    rewriter = StreamRewriter(CODECS[dialect], hide, 100)
    writer = CODECS[dialect].stream_writer(Conversation(model="m"))
    sent = b"".join(rewriter.feed(frame) for event in events for frame in writer.feed(event))
    assert b"***" in sent
    assert rb"\"sk-2\"}" in sent


@pytest.mark.parametrize("dialect", DIALECTS)
def test_thinking_and_refusals_are_left_alone(dialect: Dialect) -> None:
    parts = (Thinking(text=""), Refusal(text="")) if dialect != "messages" else (Thinking(text=""),)
    stream = written(dialect, steps(*((index, "sk-1") for index in range(len(parts))), parts=parts))
    assert rewritten(dialect, stream, hide, 10) == stream


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("junk", [b"data: {", b"data: 7", b"data: [1]", b"event: x", b": hm", b'data: {"a":"\xff"}'])
def test_what_is_no_event_of_the_dialect_keeps_its_place(dialect: Dialect, junk: bytes) -> None:
    blocks = sse.blocks(written(dialect, steps((0, "sk-"), (0, "1"))))
    place = len(blocks) // 2
    blocks.insert(place, junk)
    after = sse.blocks(rewritten(dialect, b"".join(block + b"\n\n" for block in blocks), hide, 10))
    assert after.index(junk) == place
    assert len(after) == len(blocks)


@pytest.mark.parametrize("index", [[1], {"a": 1}, "x", None, 1.5])
def test_a_text_with_an_index_that_is_none_is_rewritten_too(index: Any) -> None:
    events: dict[Dialect, Any] = {
        "chat": {"choices": [{"index": index, "delta": {"content": "sk-1"}}]},
        "messages": {
            "type": "content_block_delta",
            "index": index,
            "delta": {"type": "text_delta", "text": "sk-1"},
        },
        "responses": {
            "type": "response.output_text.delta",
            "output_index": index,
            "content_index": index,
            "delta": "sk-1",
        },
    }
    for dialect, event in events.items():
        stream = rewritten(dialect, sse.frame(json.dumps(event).encode()), hide, 5)
        assert list(texts(dialect, stream).values()) == ["***"]


# --- the methods of a response ----------------------------------------------------------------------


async def each(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def collected(pieces: AsyncIterator[bytes] | None) -> bytes:
    assert pieces is not None
    return b"".join([piece async for piece in pieces])


def streaming(dialect: Dialect, stream: bytes) -> Response:
    return Response(request(dialect), pieces=each([block + b"\n\n" for block in sse.blocks(stream)]))


REPLY = Reply(
    id="r_1",
    model="m",
    created=1,
    parts=(
        Thinking(text="sk-0"),
        Text(text=SECRET),
        ToolCall(id="c", name="f", arguments='{"a":"sk-1"}'),
    ),
    finish="tool_calls",
    usage=Usage(input_tokens=3, output_tokens=4),
)


def whole(dialect: Dialect) -> Response:
    return Response(request(dialect), body=CODECS[dialect].write_reply(REPLY, Conversation(model="m"), Losses()))


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_reply_that_is_not_streamed_is_rewritten_in_place(dialect: Dialect) -> None:
    before = whole(dialect)
    after = before.rewrite_text(hide, window=16)
    assert after.body is not None
    assert before.body is not None
    assert json.loads(after.body) == json.loads(before.body.replace(b"sk-1234567", b"***").replace(b"sk-99", b"***"))
    assert before.map_text(same).body == before.body


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_rich_reply_whose_texts_stay_comes_out_byte_for_byte(dialect: Dialect) -> None:
    response = Response(request(dialect), body=BODIES[dialect])
    assert response.map_text(same).body == BODIES[dialect]
    changed = response.map_text(doubled).body
    assert changed is not None
    assert changed != BODIES[dialect]
    slots = CODECS[dialect].reply_texts(json.loads(changed))
    assert [slot.holder[slot.field] for slot in slots] == [
        doubled(slot.holder[slot.field]) for slot in CODECS[dialect].reply_texts(json.loads(BODIES[dialect]))
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("body", [b'{"a":"\xff"}', b"[" * 5000 + b"]" * 5000, b"7"])
def test_a_body_that_cannot_be_read_is_not_let_through(dialect: Dialect, body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        Response(request(dialect), body=body).map_text(hide)


def test_an_error_is_left_as_it_is() -> None:
    error = Response(request("chat"), status=400, body=b'{"error":{"message":"sk-1"}}')
    assert error.map_text(hide) is error
    assert error.rewrite_text(hide, window=5) is error


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stream_is_rewritten_like_a_whole(dialect: Dialect) -> None:
    response = streaming(dialect, written(dialect, events_of(REPLY)))
    reply = await response.rewrite_text(hide, window=16).read()
    assert [part.text for part in reply.parts if isinstance(part, Text)] == [HIDDEN]
    assert [part.text for part in reply.parts if isinstance(part, Thinking)] == ["sk-0"]
    assert [part.arguments for part in reply.parts if isinstance(part, ToolCall)] == ['{"a":"sk-1"}']


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_reading_a_stream_leaves_it_to_be_sent(dialect: Dialect) -> None:
    response = streaming(dialect, STREAMS[dialect])
    reply = await response.read()
    assert await response.read() == reply or response.pieces is not None
    assert await collected(response.pieces) == STREAMS[dialect]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_events_are_the_same_streamed_and_not(dialect: Dialect) -> None:
    async def said(response: Response) -> list[str]:
        events = [event async for event in response.events()]
        found: dict[int, str] = {}
        for event in events:
            if isinstance(event, TextDelta):
                found[event.index] = found.get(event.index, "") + event.text
        assert isinstance(events[0], Start)
        assert isinstance(events[-1], Finished)
        assert events[-1].finish == "tool_calls"
        return list(found.values())

    streamed = await said(streaming(dialect, written(dialect, events_of(REPLY))))
    assert streamed == await said(whole(dialect)) == ["sk-0", SECRET, '{"a":"sk-1"}']


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_events_that_pass_through_a_filter_make_a_stream(dialect: Dialect) -> None:
    async def shouted(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        async for event in events:
            if isinstance(event, TextDelta):
                event = msgspec.structs.replace(event, text=event.text.replace("key", "KEY"))
            yield event

    for response in streaming(dialect, written(dialect, events_of(REPLY))), whole(dialect):
        changed = response.with_events(shouted(response.events()))
        stream = await collected(changed.pieces)
        assert oracles.stream(dialect, stream).clean
        reply = await streaming(dialect, stream).read()
        assert [part.text for part in reply.parts if isinstance(part, Text)] == [SECRET.replace("key", "KEY")]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_events_that_break_off_make_a_stream_that_says_so(dialect: Dialect) -> None:
    async def broken() -> AsyncIterator[Event]:
        for event in events_of(REPLY)[:4]:
            yield event
        raise UpstreamUnavailable("The upstream went away.")

    response = whole(dialect)
    found = oracles.stream(dialect, await collected(response.with_events(broken()).pieces))
    assert not found.clean
    assert isinstance(response.journal.error, UpstreamUnavailable)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_reading_a_stream_that_was_cut_short_raises(dialect: Dialect) -> None:
    stream = written(dialect, steps((0, "Hello"))[:3])
    with pytest.raises(UpstreamProtocolError):
        await streaming(dialect, stream).read()
    events = [event async for event in streaming(dialect, stream).events()]
    assert isinstance(events[-1], Failed)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_was_held_back_goes_out_before_a_break(dialect: Dialect) -> None:
    async def broken() -> Pieces:
        yield written(dialect, steps((0, "my sk-12"))[:3])
        raise UpstreamUnavailable("The upstream went away.")

    sent = b""
    with pytest.raises(UpstreamUnavailable):  # noqa: PT012 - what came before the error is looked at
        async for piece in Response(request(dialect), pieces=broken()).rewrite_text(hide, window=50).pieces or each([]):
            sent += piece
    assert list(texts(dialect, sent).values()) == ["my ***"]


async def test_a_stream_that_breaks_before_it_began_stays_an_error() -> None:
    async def broken() -> Pieces:
        raise UpstreamUnavailable("The upstream went away.")
        yield b""

    pieces = Response(request("chat"), pieces=broken()).rewrite_text(hide, window=50).pieces
    assert pieces is not None
    with pytest.raises(UpstreamUnavailable):
        await anext(aiter(pieces))


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_filter_in_the_gateway_sees_every_pair_alike(client: Dialect, upstream: Dialect, stream: bool) -> None:
    async def redact(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response.rewrite_text(hide, window=16)

    provider = FakeProvider()
    provider.reply(SECRET)
    entry = {"model": "x/m", "provider_interface": "openai", "base_url": "http://x/v1", "apis": [upstream]}
    app = Plano({"model_providers": [entry]}, filters=[redact], transport=provider)
    path = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}[client]
    asked = (
        {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 99}
        if client != "responses"
        else {"input": "Hi"}
    )
    answer = await ask(app, "POST", path, {"model": "m", "stream": stream, **asked})
    assert answer.status == 200
    if stream:
        assert oracles.stream(client, answer.body).clean
        assert list(texts(client, answer.body).values()) == [HIDDEN]
    else:
        slots = CODECS[client].reply_texts(answer.json())
        assert [slot.holder[slot.field] for slot in slots] == [HIDDEN]
