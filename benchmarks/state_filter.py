"""Measures what the state filter with the memory store costs a request, around a reply that costs nothing.

    python -m benchmarks.state_filter [--rounds 7]

It prints Markdown: the CPU microseconds of a request with the filter, minus those without it. It is the best of several
rounds, because other work on the machine can only add time.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from plano import Plano
from plano.filters.state import State
from plano.request import Request
from plano.response import Pieces, Response
from plano.state import StateSettings, open_store
from plano.types import Dialect

CALLS = 5_000
CHUNKS = (10, 100, 1000)

Ask = Callable[[Request], Awaitable[Response]]

_CONFIG = {"model_providers": [{"model": "demo/echo"}]}
_CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def request(dialect: Dialect, **more: Any) -> Request:
    said = {"input": "x" * 200} if dialect == "responses" else {"messages": [{"role": "user", "content": "x" * 200}]}
    target = Plano(_CONFIG).models.resolve("demo/echo")
    return Request(dialect=dialect, raw=json.dumps({"model": "m", **said, **more}).encode(), target=target)


def bodies() -> dict[Dialect, bytes]:
    text = "Hello " * 10
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    response = {"id": "resp_1", "object": "response", "status": "completed", "output": [item]}
    return {
        "chat": json.dumps({**_CHUNK, "object": "chat.completion", "choices": [choice]}).encode(),
        "responses": json.dumps(response).encode(),
    }


def pieces(dialect: Dialect, count: int) -> list[bytes]:
    if dialect == "chat":
        delta = {"index": 0, "delta": {"content": " word"}, "finish_reason": None}
        stop = {"index": 0, "delta": {}, "finish_reason": "stop"}
        last = b"data: " + json.dumps({**_CHUNK, "choices": [stop]}).encode() + b"\n\ndata: [DONE]\n\n"
        return [b"data: " + json.dumps({**_CHUNK, "choices": [delta]}).encode() + b"\n\n"] * count + [last]
    event = {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "delta": " word"}
    last = b'event: response.completed\ndata: {"type":"response.completed","response":' + bodies()[dialect] + b"}\n\n"
    return [b"event: response.output_text.delta\ndata: " + json.dumps(event).encode() + b"\n\n"] * count + [last]


async def cost(ask: Ask, request: Request, calls: int) -> float:
    """The CPU microseconds of one call, with its reply read to the end."""
    gc.collect()
    started = time.process_time()
    for _ in range(calls):
        response = await ask(request)
        if response.pieces is not None:
            async for _ in response.pieces:
                pass
    return (time.process_time() - started) / calls * 1e6


async def added(request: Request, reply: Ask, calls: int, rounds: int) -> float:
    store = open_store(StateSettings())
    state = State(lambda: store)

    async def remembered(request: Request) -> Response:
        return await state(request, reply)

    bare = min([await cost(reply, request, calls) for _ in range(rounds)])
    whole = min([await cost(remembered, request, calls) for _ in range(rounds)])
    await store.aclose()
    return whole - bare


def replying(body: bytes | None, stream: list[bytes]) -> Ask:
    async def each() -> Pieces:
        for piece in stream:
            yield piece

    async def reply(request: Request) -> Response:
        return Response(request, body=body) if body is not None else Response(request, pieces=each())

    return reply


async def main(rounds: int) -> None:
    print("| request | state filter, µs | µs per chunk |\n| --- | ---: | ---: |")
    for dialect, body in bodies().items():
        asked = request(dialect)
        print(f"| {dialect}, not streamed | {await added(asked, replying(body, []), CALLS, rounds):.1f} | |")
        for count in CHUNKS:
            stream = pieces(dialect, count)
            found = await added(asked, replying(None, stream), max(20, CALLS * 10 // count // 10), rounds)
            print(f"| {dialect}, {count} chunks | {found:.1f} | {found / count:.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    asyncio.run(main(parser.parse_args().rounds))
