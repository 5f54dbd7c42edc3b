"""Measures the cost of metrics and logs: a request's CPU time with both on, minus the time with both off.

    python benchmarks/observing.py [--requests 4000] [--rounds 7]

It runs in one process without sockets: an upstream that answers at once replaces the network, and logs go to a file.
Rounds with and without alternate, and the result is the median of the differences between neighbours, so that other
work on the machine has little influence.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from statistics import median
from typing import Any

from plano import Plano
from plano.edge.exposition import Exposition
from plano.observability import logs
from plano.transport import Outgoing
from plano.types import Message, RawHeaders

REPLY = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
    }
).encode()


def _chunk(delta: dict[str, str], finish: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}] if "usage" not in more else []
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + json.dumps(head | {"choices": choices} | more).encode() + b"\n\n"


def stream_of(words: int) -> list[bytes]:
    """The frames of a stream of so many words."""
    opening = [_chunk({"role": "assistant", "content": ""}), *(_chunk({"content": " word"}) for _ in range(words))]
    usage = {"prompt_tokens": 12, "completion_tokens": words}
    return [*opening, _chunk({}, "stop"), _chunk({}, usage=usage), b"data: [DONE]\n\n"]


STREAM = stream_of(20)


class Instant:
    """An upstream that has its whole reply ready, or all frames of a stream."""

    def __init__(self, stream: Sequence[bytes] = ()) -> None:
        self.status = 200
        self._stream = stream
        kind = b"text/event-stream" if stream else b"application/json"
        self.headers: RawHeaders = [(b"content-type", kind)]

    async def send(self, request: Outgoing) -> Instant:
        return self

    def whole(self, limit: int) -> bytes | None:
        return REPLY

    async def read(self, limit: int) -> bytes:
        return REPLY

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._stream:
            yield piece

    async def aclose(self) -> None:
        pass


class Bench:
    """A gateway and the request that is sent to it again and again.

    Args:
        config: goes into the gateway's configuration.
        stream: the frames of a stream; empty for a whole reply.
        model: the name that is asked for.
    """

    def __init__(self, config: Mapping[str, Any], *, stream: Sequence[bytes] = (), model: str = "m") -> None:
        self.gateway = Plano(
            {
                "model_providers": [{"model": "openai/m", "access_key": "k" * 20}],
                "auth": {"keys": [{"name": "app", "key": "c" * 20}]},
                **config,
            },
            transport=Instant(stream),
        )
        body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        self._body = json.dumps(body).encode()

    async def run(self, requests: int) -> float:
        """Sends requests and returns the CPU microseconds of each."""
        started = time.process_time()
        for _ in range(requests):
            await self._ask()
        self.gateway._survivors.observing.finished_requests.flush()  # the work that is done in batches counts too
        for handler in logging.getLogger("plano.access").handlers:
            handler.flush()
        return (time.process_time() - started) / requests * 1e6

    async def _ask(self) -> None:
        asked = [{"type": "http.request", "body": self._body, "more_body": False}]

        async def receive() -> Message:
            return asked.pop() if asked else await asyncio.Event().wait()  # type: ignore[return-value]

        async def send(message: Message) -> None:
            pass

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "root_path": "",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json"), (b"authorization", b"Bearer " + b"c" * 20)],
        }
        await self.gateway(scope, receive, send)


async def compare(requests: int, rounds: int, stream: Sequence[bytes]) -> tuple[float, float]:
    """The CPU microseconds of a request with everything off, and how many more it takes with everything on."""
    benches = {on: Bench({"metrics": {"enabled": on}, "log": {"access": on}}, stream=stream) for on in (False, True)}
    spent: dict[bool, list[float]] = {on: [] for on in benches}
    for bench in benches.values():
        await bench.run(requests // 10)
    for _ in range(rounds):
        for on, bench in benches.items():
            spent[on].append(await bench.run(requests))
    differences = [on - off for off, on in zip(spent[False], spent[True], strict=True)]
    return median(spent[False]), median(differences)


async def scrape(entries: int) -> tuple[int, float]:
    """The lines of a scrape and its milliseconds, for a gateway with many models that were all used in every way."""
    config = {"model_providers": [{"model": f"openai/m{n}", "access_key": "k"} for n in range(entries)]}
    gateway = Plano(config, transport=Instant())
    instruments = gateway._survivors.observing.instruments
    for n in range(entries):
        place = ("openai", f"openai/m{n}")
        for error in ("", "aborted", "upstream", "rate_limit"):
            instruments.duration[("chat", *place, error)].observe(1)
        instruments.first_token[("chat", *place)].observe(1)
        instruments.per_token[("chat", *place)].observe(1)
        for token in ("input", "output", "cached_input"):
            instruments.tokens[("chat", *place, token, "false")].observe(1)
        for client in ("chat", "messages", "responses"):
            for stream in ("true", "false"):
                for result in (("2xx", "completed"), ("4xx", "completed"), ("5xx", "completed"), ("2xx", "aborted")):
                    instruments.requests[(client, "create", *place, "chat", stream, *result)].inc()
    exposition = Exposition(instruments)
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        text = await exposition.text()
        best = min(best, time.process_time() - started)
    return text.count(b"\n"), best * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    print("counting for several workers" if directory else "counting for one process")
    with tempfile.TemporaryFile("w") as sink:
        logs.setup("info", "json", stream=sink)
        logging.getLogger("asyncio").setLevel(logging.WARNING)
        for stream, name in (([], "one reply"), (STREAM, f"stream of {len(STREAM)} chunks")):
            off, cost = asyncio.run(compare(arguments.requests, arguments.rounds, stream))
            print(f"{name:20}  off {off:6.1f} µs   metrics and logs {cost:5.1f} µs")
        for entries in (5, 20):
            lines, milliseconds = asyncio.run(scrape(entries))
            print(f"scrape, {entries:2} models      {lines} lines, {milliseconds:.1f} ms")


if __name__ == "__main__":
    main()
