"""Measures the CPU µs of single operations of the codecs and the SSE machinery, without a socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import NamedTuple

from benchmarks import wire
from benchmarks.report import Table
from benchmarks.servers import PAIRS
from plano.dialects import CLIENT_CODECS
from plano.edge.body import peek
from plano.frames import sse
from plano.losses import Losses
from plano.translation.translate import Translator, translate_request
from plano.types import Dialect

DELTAS = 100


class Work(NamedTuple):
    """Work that is repeated; each time it makes `size` operations."""

    name: str
    run: Callable[[], object]
    size: int = 1


def agent_request() -> bytes:
    """A request of an agent: a system prompt, tools, and a conversation of twenty messages; 12 KB."""
    tools = [
        {
            "name": f"tool_{number}",
            "description": wire.TEXT * 3,
            "input_schema": {
                "type": "object",
                "properties": {"path": {"type": "string"}, "limit": {"type": "integer", "minimum": 1}},
                "required": ["path"],
            },
        }
        for number in range(8)
    ]
    talk: list[object] = [{"role": "user", "content": wire.TEXT * 4}]
    for number in range(10):
        call = {"type": "tool_use", "id": f"toolu_{number}", "name": "tool_1", "input": {"path": f"src/{number}.py"}}
        talk.append({"role": "assistant", "content": [{"type": "text", "text": wire.TEXT}, call]})
        result = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": wire.TEXT * 10}
        talk.append({"role": "user", "content": [result]})
    return wire.compact(
        {
            "model": "bench",
            "max_tokens": 1024,
            "system": wire.TEXT * 20,
            "tools": tools,
            "messages": talk,
            "stream": True,
        }
    )


def requests() -> dict[Dialect, bytes]:
    """One request in every dialect."""
    conversation = CLIENT_CODECS["messages"].read_request(agent_request())
    return {dialect: codec.write_request(conversation, Losses()) for dialect, codec in CLIENT_CODECS.items()}


def stream(dialect: str) -> list[bytes]:
    """A stream as it comes from a model, in pieces of one frame."""
    deltas = [wire.delta(dialect, b"neutral words ") for _ in range(DELTAS)]
    return [*sse.cut(wire.OPENING[dialect]), *deltas, *sse.cut(wire.CLOSING[dialect])]


def works() -> Iterator[Work]:
    bodies = requests()
    for dialect, codec in CLIENT_CODECS.items():
        body, reply = bodies[dialect], wire.REPLIES[dialect]
        yield Work(f"peek at a request, {dialect}, {len(body):,} bytes", lambda body=body: peek(body))
        yield Work(f"peek at a reply's usage, {dialect}", lambda codec=codec, reply=reply: codec.peek_usage(reply))
    for client, upstream in PAIRS:
        yield from _pair(client, upstream, bodies[client])
    for dialect in wire.PATHS:
        yield from _sse(dialect)


def _pair(client: Dialect, upstream: Dialect, body: bytes) -> Iterator[Work]:
    asked = CLIENT_CODECS[client].read_request(body)
    way = client if client == upstream else f"{client} over {upstream}"
    yield Work(f"request, {way}", lambda: translate_request(CLIENT_CODECS[client].read_request(body), upstream))

    def translator() -> Translator:
        return Translator(upstream, client, asked, fallback_id="0", now=0)

    yield Work(f"reply, {way}", lambda: translator().reply(wire.REPLIES[upstream]))
    pieces = stream(upstream)

    def translate() -> int:
        translated = translator().stream()
        size = sum(len(translated.feed(piece)) for piece in pieces)
        return size + len(translated.finish())

    assert wire.LAST[client] in _all(translator().stream(), pieces), f"a stream of {way} ended badly"
    yield Work(f"delta, {way}", translate, DELTAS)


def _all(stream: object, pieces: list[bytes]) -> bytes:
    feed, finish = stream.feed, stream.finish  # type: ignore[attr-defined]
    return b"".join([*(feed(piece) for piece in pieces), finish()])


def _sse(dialect: str) -> Iterator[Work]:
    pieces = stream(dialect)
    whole = b"".join(pieces)
    cut = [whole[start : start + 97] for start in range(0, len(whole), 97)]

    def align(chunks: list[bytes]) -> int:
        aligner = sse.Aligner()
        return sum(len(aligner.feed(chunk)) for chunk in chunks)

    yield Work(f"frames aligned, {dialect}, one a read", lambda: align(pieces), len(pieces))
    yield Work(f"frames aligned, {dialect}, cut every 97 bytes", lambda: align(cut), len(cut))
    yield Work(f"frames parsed, {dialect}", lambda: [sse.frames(piece) for piece in pieces], len(pieces))


def microseconds(work: Work, *, repeats: int = 5, seconds: float = 0.05) -> list[float]:
    """The CPU µs of one operation, measured `repeats` times."""
    work.run()
    began = time.thread_time()
    work.run()
    rounds = max(1, int(seconds / max(time.thread_time() - began, 1e-7)))
    found = []
    for _ in range(repeats):
        began = time.thread_time()
        for _ in range(rounds):
            work.run()
        found.append((time.thread_time() - began) / rounds / work.size * 1e6)
    return found


def tables() -> list[Table]:
    table = Table("Codecs and SSE, without sockets", ("operation", "CPU µs", "lowest", "highest"))
    for work in works():
        found = microseconds(work)
        table.add(work.name, median(found), min(found), max(found))
    return [table]
