"""Streams and bodies that grow in one respect each: frames cut anywhere, replies in every pair of dialects."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from msgspec import Raw

from plano.conversation import (
    Citation,
    CitationDelta,
    Conversation,
    Event,
    Finished,
    Part,
    PartStart,
    PartStop,
    SealDelta,
    Start,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
)
from plano.dialects import CLIENT_CODECS
from plano.edge.body import peek
from plano.edge.coded_body import decoded
from plano.errors import PlanoError
from plano.frames import sse
from plano.streams.rewrite import StreamRewriter
from plano.translation.translate import Translator
from plano.types import CLIENT_DIALECTS, ClientDialect, Headers

Work = Callable[[], object]
Make = Callable[[int], Work]

_ASKED = Conversation(model="m", include_usage=True, include_seals=True)
_LOGPROBS = Raw(b'{"content":[{"token":"a","logprob":-1,"bytes":[97],"top_logprobs":[]}],"refusal":null}')


def _tool(number: int) -> ToolCall:
    return ToolCall(id=f"call_{number}", name=f"tool_{number}", arguments="")


def _grown(part: Part, deltas: Iterable[Event]) -> list[Event]:
    return [PartStart(0, part), *deltas, PartStop(0)]


def _interleaved(n: int) -> list[Event]:
    """n calls, whose arguments grow in turns."""
    calls = range(n)
    grown = [TextDelta(call, piece) for piece in ('{"a":', '"b', 'c"', "}") for call in calls]
    return [*(PartStart(call, _tool(call)) for call in calls), *grown, *map(PartStop, calls)]


def _in_turns(n: int, part: Callable[[int], Part], text: str) -> list[Event]:
    return [event for at in range(n) for event in (PartStart(at, part(at)), TextDelta(at, text), PartStop(at))]


def _thought_or_text(number: int) -> Part:
    return Thinking(text="", origin="chat") if number % 2 else Text(text="")


def _cited(number: int) -> Event:
    return CitationDelta(0, Citation(url="https://example.com", title="t", start=number, end=number + 1))


REPLIES: dict[str, Callable[[int], list[Event]]] = {
    "text": lambda n: _grown(Text(text=""), [TextDelta(0, "some words ")] * n),
    "thinking": lambda n: _grown(Thinking(text="", origin="chat"), [TextDelta(0, "some words ")] * n),
    "a call": lambda n: _grown(_tool(0), [TextDelta(0, '{"a":"'), *[TextDelta(0, "words ")] * n, TextDelta(0, '"}')]),
    "log probabilities": lambda n: _grown(Text(text=""), [TextDelta(0, "word", _LOGPROBS)] * n),
    "citations": lambda n: _grown(Text(text=""), [TextDelta(0, "x" * n), *map(_cited, range(n))]),
    "a seal in pieces": lambda n: _grown(Thinking(text="", origin="messages"), [SealDelta(0, "abcd")] * n),
    "calls one by one": lambda n: _in_turns(n, _tool, "{}"),
    "calls in turns": _interleaved,
    "thinking and text in turns": lambda n: _in_turns(n, _thought_or_text, "words"),
}


def _called(id: str | None, name: str | None, arguments: str, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"id": id, "function": {"name": name, "arguments": arguments}, **more}]}


def _by_id(n: int) -> list[dict[str, Any]]:
    calls = range(n)
    first = [_called(f"c{call}", "tool", '{"a":') for call in calls]
    return first + [_called(f"c{call}", None, piece) for piece in ('"b', 'c"', "}") for call in calls]


def _opened(n: int) -> list[str]:
    """Arguments that do not end."""
    return ['{"a":"', *["words "] * n]


CHUNKS: dict[str, Callable[[int], list[dict[str, Any]]]] = {
    "calls without an index": _by_id,
    "a name in every piece": lambda n: [_called(None, "tool", piece, index=0) for piece in _opened(n)],
    "text between the pieces of a call": lambda n: [
        delta for piece in _opened(n) for delta in (_called(None, None, piece, index=0), {"content": "text"})
    ],
    "reasoning details": lambda n: [
        {"reasoning_details": [{"type": "reasoning.text", "text": "t", "index": i}]} for i in range(n)
    ],
}
"""Chat streams as some servers write them."""

PIECES: dict[str, Callable[[int], list[bytes]]] = {
    "many frames at once": lambda n: [b"data: {}\n\n" * n + b"data: "],
    "many frames at once, CRLF": lambda n: [b"data: {}\r\n\r\n" * n + b"data: "],
    "a frame in small pieces": lambda n: [b"data: ", *[b"words"] * n, b"\n\n"],
    "a frame of many lines": lambda n: [*[b"data: words\n"] * n, b"\n"],
    "frames that are cut": lambda n: [b"data: {}\n\ndata:", *[b" {}\n\ndata:"] * n],
    "no line's end": lambda n: [b"x"] * n,
    "CR alone": lambda n: [b"\r"] * n,
    "comments": lambda n: [b": ping\n\n"] * n,
}

BODIES: dict[str, Callable[[int], bytes]] = {
    "many fields": lambda n: json.dumps({f"field_{i}": i for i in range(n)}).encode(),
    "escaped names": lambda n: b"{" + b",".join(b'"\\u0066%d":1' % i for i in range(n)) + b"}",
    "names in capitals": lambda n: b"{" + b",".join(b'"Field%d" :1' % i for i in range(n)) + b"}",
    "names there twice": lambda n: b"{" + b",".join(b'"field%d":1' % (i // 2) for i in range(n)) + b"}",
    "blanks": lambda n: b"{" + b" " * n + b'"a"' + b" " * n + b":1" + b" " * n + b"}",
    "backslashes": lambda n: b'{"' + b"\\\\" * n + b'":1}',
    "brackets": lambda n: b'{"a":' + b"[" * n,
}


def works() -> Iterator[tuple[str, Make]]:
    for name in PIECES:
        yield f"frames: {name}", partial(_split, name)
    for name in BODIES:
        yield f"body: {name}", partial(_peeked, name)
    yield "body: gzip members", _members
    for client in CLIENT_DIALECTS:
        for name in CHUNKS:
            yield f"chunks: {name}, for {client}", partial(_of_chunks, name, client)
    for name in REPLIES:
        for upstream in CLIENT_DIALECTS:
            yield f"rewriting: {name}, {upstream}", partial(_rewritten, name, upstream)
            for client in CLIENT_DIALECTS:
                yield f"stream: {name}, {client} over {upstream}", partial(_of_events, name, upstream, client)


def _members(n: int) -> Work:
    headers, body = Headers([(b"content-encoding", b"gzip")]), gzip.compress(b" " * 50) * n
    return partial(decoded, headers, body, limit=1 << 30)


def _split(name: str, n: int) -> Work:
    pieces = PIECES[name](n)

    def work() -> None:
        splitter = sse.Splitter()
        for piece in pieces:
            splitter.feed(piece)
        splitter.finish()

    return work


def _peeked(name: str, n: int) -> Work:
    body = BODIES[name](n)

    def work() -> None:
        with suppress(PlanoError):
            peek(body)

    return work


def _frames(dialect: ClientDialect, events: list[Event]) -> list[bytes]:
    writer = CLIENT_CODECS[dialect].stream_writer(_ASKED)
    finish = (
        "tool_calls"
        if any(isinstance(event, PartStart) and isinstance(event.part, ToolCall) for event in events)
        else "stop"
    )
    told: list[Event] = [Start(id="i", model="m"), *events, Finished(finish=finish)]  # type: ignore[arg-type]
    return [frame for event in told for frame in writer.feed(event)] + writer.finish()


def _chunks(deltas: list[dict[str, Any]]) -> list[bytes]:
    ended: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": "stop"}
    choices = [*({"index": 0, "delta": delta} for delta in deltas), ended]
    return [sse.frame(json.dumps({"id": "i", "choices": [choice]}).encode()) for choice in choices] + [sse.DONE]


def _of_chunks(name: str, client: ClientDialect, n: int) -> Work:
    return _translated("chat", client, _chunks(CHUNKS[name](n)))


def _of_events(name: str, upstream: ClientDialect, client: ClientDialect, n: int) -> Work:
    return _translated(upstream, client, _frames(upstream, REPLIES[name](n)))


def _translated(upstream: ClientDialect, client: ClientDialect, pieces: Sequence[bytes]) -> Work:
    """The stream as it comes, and read as a whole reply."""
    whole = b"".join(pieces)

    def work() -> None:
        stream = Translator(upstream, client, _ASKED, fallback_id="0", now=0).stream()
        for piece in pieces:
            stream.feed(piece)
        stream.finish()
        Translator(upstream, client, _ASKED, fallback_id="0", now=0).reply_of(whole)

    return work


def _rewritten(name: str, dialect: ClientDialect, n: int) -> Work:
    pieces = _frames(dialect, REPLIES[name](n))

    def work() -> None:
        rewriter = StreamRewriter(CLIENT_CODECS[dialect], lambda text: text.replace("words", "WORDS"), 16)
        for piece in pieces:
            rewriter.feed(piece)
        rewriter.finish()

    return work
