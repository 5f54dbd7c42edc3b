"""Measures the memory of `plano up` over many large requests that end in every way, to find what they leave behind.

    python -m benchmarks.leftovers              # all of it
    python -m benchmarks.leftovers --quick      # a tenth of the failures

The upstream fails in every way, and clients leave at random. The first few requests of a kind are not measured, because
some of the memory that they need is never given back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from math import inf
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import machine, wire
from benchmarks.load import http_request
from benchmarks.machine import PYTHON
from benchmarks.report import Table
from benchmarks.servers import KEY, Server
from tests.servers import Postgres, Redis, free_port

MB = 1_000_000
CHUNK = b"x" * 65536
AUTH = {"authorization": f"Bearer {KEY}", "connection": "close"}
SETTLED = 4
"""Seconds after the last request. By then it is counted, and free memory has mostly gone back to the system; that
happens only from time to time, so the end gets some more."""

JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CLOSES = b"connection: close\r\n\r\n"


def _whole(body: bytes, head: bytes = JSON) -> bytes:
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


def _said(status: bytes, body: bytes = b'{"error": {"message": "no"}}', kind: bytes = b"application/json") -> bytes:
    return _whole(body, b"HTTP/1.1 %b\r\ncontent-type: %b\r\n" % (status, kind))


ANSWERS: dict[str, bytes] = {
    "400": _said(b"400 Bad Request"),
    "401": _said(b"401 Unauthorized"),
    "429": _said(b"429 Too Many Requests"),
    "500": _said(b"500 Internal Server Error"),
    "html": _said(b"500 Internal Server Error", b"<html>", b"text/html"),
    "redirect": b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
    "junk": _whole(b"{junk"),
    "other-object": _whole(b'{"hello": "world"}'),
    "error-in-200": _whole(b'{"error": {"message": "no"}}'),
    "not-gzip": _whole(b"no gzip", JSON + b"content-encoding: gzip\r\n"),
    "not-http": b"junk\r\n\r\n",
    "cut": JSON + b"content-length: 100\r\n" + CLOSES + b"{",
    "silent": b"",
    "stream-cut": SSE + CLOSES + wire.OPENING["chat"] + wire.delta("chat", b"hello ", b"x"),
    "stream-junk": SSE + CLOSES + b"data: {junk\n\n",
    "stream-error": SSE + CLOSES + wire.OPENING["chat"] + b'data: {"error": {"message": "no"}}\n\n',
    "stream-empty": SSE + CLOSES,
}
"""The upstream's answers by the model's name; it closes the connection after them."""


def asking(model: str, *, dialect: str = "chat", size: int = 8 * MB, headers: dict[str, str] | None = None) -> bytes:
    body = wire.request(dialect, model, stream="/stream-" in model, size=size)
    return http_request(wire.PATHS[dialect], body, AUTH | (headers or {}))


def of_body(body: bytes, headers: dict[str, str] | None = None) -> bytes:
    return http_request(wire.PATHS["chat"], body, AUTH | (headers or {}))


def failures() -> dict[str, bytes]:
    """Requests of 8 MB that fail, by the kind of failure."""
    text = b"a" * (8 * MB)
    upstreams = {name: asking(f"chat/{'stream' if 'stream' in name else 'whole'}-{name}") for name in ANSWERS}
    translated = asking("messages/whole-500")
    return upstreams | {
        "translated 500": translated,
        "no upstream": asking("nobody/m"),
        "unknown model": asking("unknown/m"),
        "no JSON": of_body(b'{"model": "' + text),
        "wrong types": of_body(b'{"model": 5, "messages": "%b"}' % text),
        "no UTF-8": of_body(b'{"model": "chat/whole-500", "messages": "\xff%b"}' % text),
        "unknown past": asking("chat/whole-500", headers={}).replace(
            b'"stream"', b'"metadata":{"response_id":"x"},"stream"'
        ),
        "filter that raises": asking("chat/whole-500", headers={"x-fail": "yes"}),
    }


class Upstream(asyncio.Protocol):
    """Reads a request and answers as its model's name says, see `ANSWERS`. `big` is a stream of 2 MB, `endless` is a
    reply without end, and `slow` is a stream that goes on for a minute."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._head = b""
        self._left = -1
        self._start = b""
        self._task: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._room.set()

    def connection_lost(self, error: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            self._left = int(fields[b"content-length"])
            self._path = head.split(b" ", 2)[1].decode()
        self._start = (self._start + data)[:2000] if len(self._start) < 2000 else self._start
        self._left -= len(data)
        if self._left == 0:
            self._task = asyncio.ensure_future(self._answer())

    async def _answer(self) -> None:
        model = self._start.partition(b'"model":"')[2].partition(b'"')[0].decode().rpartition("/")[2]
        dialect = next(name for name, path in wire.PATHS.items() if self._path.endswith(path.removeprefix("/v1")))
        name = model.partition("-")[2]
        if name in ANSWERS:
            self._transport.write(ANSWERS[name])
        else:
            await getattr(self, f"_{name}")(dialect)
        self._transport.close()

    async def _big(self, dialect: str) -> None:
        self._transport.write(SSE + CLOSES + wire.OPENING[dialect])
        for _ in range(250):
            self._transport.write(wire.delta(dialect, b"neutral " * 1000, b"x"))
            await self._room.wait()
        self._transport.write(wire.CLOSING[dialect])

    async def _slow(self, dialect: str) -> None:
        self._transport.write(SSE + CLOSES + wire.OPENING[dialect])
        for _ in range(600):
            self._transport.write(wire.delta(dialect, b"neutral ", b"x"))
            await asyncio.sleep(0.1)

    async def _endless(self, dialect: str) -> None:
        self._transport.write(JSON + CLOSES + b'{"choices": "')
        for _ in range(70 * MB // len(CHUNK)):
            self._transport.write(CHUNK)
            await self._room.wait()


async def talk(port: int, request: bytes, seconds: float | None = None) -> bytes:
    """Sends a request and returns the start of its reply. With `seconds`, the client leaves after that time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    start = b""

    async def exchange() -> None:
        nonlocal start
        writer.write(request)
        await writer.drain()
        while data := await reader.read(1 << 20):
            start = start or data[:200]

    with suppress(OSError, TimeoutError):
        await asyncio.wait_for(exchange(), 120.0 if seconds is None else seconds)
    writer.transport.abort()
    return start


async def many(port: int, amount: int, request: Callable[[int], bytes], *, leaving: bool = False) -> None:
    """Sends `amount` requests, four at a time."""
    numbers = iter(range(amount))
    chance = random.Random(7)

    async def one_after_another() -> None:
        for number in numbers:
            await talk(port, request(number), chance.expovariate(10) if leaving else None)

    await asyncio.gather(*(one_after_another() for _ in range(4)))


@asynccontextmanager
async def gateway(upstream: int, folder: Path, storage: dict[str, Any] | None = None) -> AsyncIterator[Server]:
    server = Server("plano", folder=folder)
    place = {"base_url": f"http://127.0.0.1:{upstream}/v1", "access_key": "sk-upstream"}
    entries = [
        {"model": f"{dialect}/*", "provider_interface": "openai", "apis": [dialect], **place} for dialect in wire.PATHS
    ]
    nobody = {"model": "nobody/m", "provider_interface": "openai", "base_url": "http://127.0.0.1:1/v1"}
    said: dict[str, Any] = {
        "version": "v0.4.0",
        "model_providers": [*entries, nobody | {"access_key": "k"}],
        "auth": {"keys": [{"name": "bench", "key": KEY}]},
        "filters": [{"id": "fails", "type": "python", "use": "benchmarks.noop:fails"}],
        "log_level": "error",
    }
    if storage is not None:
        said["state_storage"] = storage
    config = folder / f"plano-{server.port}.json"
    config.write_text(json.dumps(said))
    command = ["-c", "from plano.cli import main; main()", "up", str(config), "--port", str(server.port)]
    server.start([PYTHON, *command])
    try:
        yield server
    finally:
        server.stop()


async def measured(table: Table, label: str, server: Server, amount: int, warm: int, **how: Any) -> None:
    await many(server.port, warm, **how)
    before = min([await rss_in_a_second(server) for _ in range(SETTLED)])
    machine.forget_peak(server.pid)
    await many(server.port, amount, **how)
    peak, after = machine.memory(server.pid)["peak"], inf
    for second in range(3 * SETTLED):
        after = min(after, await rss_in_a_second(server))
        if second >= SETTLED - 1 and after <= before + 1:
            break
    table.add(label, amount, before, after, after - before, peak)
    print(f"{label}: {before:.0f} MB, {after:.0f} MB", flush=True)


async def rss_in_a_second(server: Server) -> float:
    await asyncio.sleep(1)
    return machine.memory(server.pid)["rss"]


async def streams(table: Table, upstream: int, folder: Path, factor: float) -> None:
    redis, postgres = Redis(), Postgres()
    stores: dict[str, dict[str, Any] | None] = {
        "none": None,
        "memory": {"type": "memory", "max_bytes": 16 * MB},
        "sqlite": {"type": "sqlite", "path": str(folder / "state.db")},
        "redis": {"type": "redis", "url": redis.url},
        "postgres": {"type": "postgres", "connection_string": postgres.url},
    }
    try:
        for store, storage in stores.items():
            for upstreams in wire.PATHS:
                async with gateway(upstream, folder, storage) as server:
                    for dialect in wire.PATHS:
                        request = asking(f"{upstreams}/stream-big", dialect=dialect, size=2 * MB)
                        label = f"streams of {dialect} over {upstreams}, 2 MB each way, store {store}"
                        await measured(table, label, server, 40, 8, request=lambda _, request=request: request)
    finally:
        redis.stop()
        postgres.stop()


async def failing(table: Table, upstream: int, folder: Path, factor: float) -> None:
    async with gateway(upstream, folder) as server:
        for label, request in failures().items():
            said = (await talk(server.port, request))[9:12].decode() or "nothing"
            label = f"8 MB that fail: {label} ({said})"
            await measured(table, label, server, int(500 * factor), 20, request=lambda _, r=request: r)


async def replies(table: Table, upstream: int, folder: Path, factor: float) -> None:
    async with gateway(upstream, folder) as server:
        for dialect in ("chat", "messages"):
            request = asking("chat/whole-endless", dialect=dialect, size=0)
            label = f"replies of 70 MB to {dialect}"
            await measured(table, label, server, int(100 * factor), 8, request=lambda _, request=request: request)


async def leaving(table: Table, upstream: int, folder: Path, factor: float) -> None:
    requests = [
        asking(f"{over}/stream-{how}", dialect=dialect, size=size)
        for over in wire.PATHS
        for dialect in wire.PATHS
        for how in ("slow", "big")
        for size in (0, 2 * MB)
    ]
    chosen = random.Random(3)
    how = {"request": lambda _: chosen.choice(requests), "leaving": True}
    async with gateway(upstream, folder, {"type": "memory", "max_bytes": 16 * MB}) as server:
        await measured(table, "clients that leave at random", server, 600, 100, **how)


PARTS = {"streams": streams, "failures": failing, "replies": replies, "leaving": leaving}


async def run(factor: float, only: list[str]) -> Table:
    """Measures the parts; `factor` scales how many requests fail."""
    table = Table(
        "Memory of `plano up` over requests that are over, MB (rss)",
        ("", "requests", "before", "after", "growth", "peak"),
    )
    upstream = free_port()
    loop = asyncio.get_running_loop()
    serving = await loop.create_server(Upstream, "127.0.0.1", upstream, backlog=1024)
    with tempfile.TemporaryDirectory(prefix="plano-leftovers-") as name:
        for part in only:
            await PARTS[part](table, upstream, Path(name), factor)
    serving.close()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leftovers")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the failures")
    given = parser.parse_args()
    only = [part for part in PARTS if part in (given.parts or PARTS)]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        table = runner.run(run(0.1 if given.quick else 1.0, only))
    worst = max(row[4] for row in table.rows)
    table.notes.append(f"The most that any line grew by is {worst:.1f} MB.")
    print(table)


if __name__ == "__main__":
    main()
