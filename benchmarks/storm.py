"""Measures an outage: the errors that clients see, and the calls that the upstreams that are out still get.

    python -m benchmarks.storm [--seconds 20]

`plano up` stands between an open loop, which sends its requests at a fixed rate and waits for nobody, and two upstreams
in this process. From the first second on, one of them or both answer everything with a 503. Each row says how many
calls the upstreams may get at most, and whether they got more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import uvloop

from benchmarks import machine, wire
from benchmarks.fake import Connection
from benchmarks.load import Client, Load, Round, http_request, quantile
from benchmarks.machine import PYTHON
from benchmarks.report import Table
from benchmarks.servers import COMMAND, KEY, Server

SHARE, BUCKET, REFILL = 0.2, 30, 3
"""A target's retry budget: a share of its requests, a bucket, and so many a second."""

RETRIES = 2
MOST = 2000
"""The most connections of clients. A gateway that falls behind by more would find some of them reset by its system,
whose queue of those to be accepted is no longer."""

MODEL = "plain"

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_BODY = b'{"error":{"message":"The server is down.","type":"server_error","param":null,"code":null}}'
_OUT = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(_BODY),
    _BODY,
)

_PAIR = {"targets": [{"model": "one/plain"}, {"model": "two/plain"}]}
ALIASES: dict[str, Any] = {
    "ordered": {"target": "one/plain", "fallbacks": [{"target": "two/plain"}]},
    "pool": _PAIR | {"load_balance": {"algorithm": "round_robin"}},
}


class Upstream:
    """A server that can be told to fail.

    Attributes:
        out: whether it answers everything with a 503.
        calls: the requests that it got.
    """

    def __init__(self) -> None:
        self.out = False
        self.calls = 0
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        make = lambda: _Failing(self)  # noqa: E731 - a protocol's factory
        self._server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()


class _Failing(Connection):
    def __init__(self, upstream: Upstream) -> None:
        super().__init__()
        self._upstream = upstream

    def on_message_complete(self) -> None:
        self._upstream.calls += 1
        if not self._upstream.out:
            super().on_message_complete()
            return
        self._body = []
        self._write(_OUT)


class Arrivals(Load):
    """An open loop: requests come at a rate, whether earlier ones are answered or not.

    Args:
        connections: the connections that are open from the beginning.

    Attributes:
        told: how often clients got each error, by its status.
    """

    def __init__(self, port: int, request: bytes, *, connections: int) -> None:
        super().__init__(port, request, connections=connections)
        self._idle: list[Client] = []
        self._opening: set[asyncio.Task[None]] = set()
        self.forget()

    async def __aenter__(self) -> Arrivals:
        await super().__aenter__()
        self._idle += self._clients
        return self

    def forget(self) -> None:
        """Begin to count anew."""
        self.round = Round()
        self.told: Counter[str] = Counter()
        self._all_answered = asyncio.Event()

    async def send(self, rate: float, seconds: float, *, patience: float = 30.0) -> None:
        """Sends requests at a rate, and waits for the replies to the last ones."""
        count, began = int(rate * seconds), perf_counter()
        self._left = count
        for number in range(count):
            ahead = began + number / rate - perf_counter()
            if ahead > 0.001:
                await asyncio.sleep(ahead)
            if self._idle:
                self._idle.pop().ask()
            elif len(self._clients) + len(self._opening) >= MOST:
                self.told["not sent, because the machine is too slow"] += 1
                self._count()
            else:
                task = asyncio.create_task(self._open())
                self._opening.add(task)
                task.add_done_callback(self._opening.discard)
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._all_answered.wait()
        self.round.elapsed = perf_counter() - began
        self.told["no reply"] += self._left

    async def _open(self) -> None:
        _, client = await asyncio.get_running_loop().create_connection(lambda: Client(self), "127.0.0.1", self._port)
        self._clients.append(client)
        client.ask()

    def next(self, client: Client, now: float) -> None:
        if self.round.failure:
            status = _STATUS.match(self.round.failure)
            self.told[status[1].decode() if status else "no whole reply"] += 1
            self.round.failure = b""
        self._idle.append(client)
        self._count()

    def lost(self, client: Client) -> None:
        self.told["closed"] += 1
        self._count()

    def _count(self) -> None:
        self._left -= 1
        if not self._left:
            self._all_answered.set()


class Storm(NamedTuple):
    """One row of the table.

    Attributes:
        model: the name that is asked for.
        rate: requests a second.
        out: the upstreams that are out, by number.
        most: the most calls, given the requests and the seconds.
        errors: whether clients may see any.
    """

    name: str
    model: str
    rate: float
    out: Sequence[int]
    errors: bool = False

    def most(self, requests: int, seconds: float) -> float:
        """The most calls that both upstreams together may get.

        A target that is out gets each request once, and as many repeats as its budget has. Another target's first try
        is charged to nobody. With one of two out, the issue of an outage allows a fifth more calls than requests.
        """
        if not self.out:
            return requests
        targets = 1 if self.model not in ALIASES else 2
        if len(self.out) < targets:
            return 1.2 * requests
        return targets * (requests * (1 + SHARE) + BUCKET + REFILL * seconds)


STORMS = (
    Storm("both are well", "ordered", 200, ()),
    Storm("the first of two is out, in order", "ordered", 200, (0,)),
    Storm("the first of two is out, in turn", "pool", 200, (0,)),
    Storm("both are out, in order", "ordered", 200, (0, 1), errors=True),
    Storm("both are out, in turn", "pool", 200, (0, 1), errors=True),
    Storm("the only one is out", "one/plain", 200, (0,), errors=True),
    Storm("the only one is out, 1 000 a second", "one/plain", 1000, (0,), errors=True),
)


def config(upstreams: Sequence[Upstream]) -> dict[str, Any]:
    entries = [
        {
            "model": f"{name}/{MODEL}",
            "provider_interface": "openai",
            "base_url": f"http://127.0.0.1:{upstream.port}",
            "apis": ["chat"],
            "access_key": "sk-upstream",
        }
        for name, upstream in zip(("one", "two"), upstreams, strict=True)
    ]
    return {
        "version": "v0.4.0",
        "log_level": "error",
        "listeners": [{"type": "model", "name": "storm", "max_retries": RETRIES}],
        "model_providers": entries,
        "model_aliases": ALIASES,
        "auth": {"keys": [{"name": "bench", "key": KEY}]},
    }


async def measured(storm: Storm, seconds: float, folder: Path) -> tuple[object, ...]:
    """Runs one storm against a gateway of its own, whose targets are all well at the beginning."""
    upstreams = [Upstream(), Upstream()]
    for upstream in upstreams:
        await upstream.start()
    server = Server("plano", folder=folder, headers={"authorization": f"Bearer {KEY}"})
    file = folder / f"storm-{server.port}.json"
    file.write_text(json.dumps(config(upstreams)))
    command = [PYTHON, "-c", COMMAND, "up", str(file), "--host", "127.0.0.1", "--port", str(server.port)]
    await asyncio.to_thread(server.start, [*command, "--log-level", "error"])
    request = http_request(wire.PATHS["chat"], wire.request("chat", storm.model), {"authorization": f"Bearer {KEY}"})
    try:
        async with Arrivals(server.port, request, connections=round(storm.rate)) as load:
            await load.send(storm.rate, 1.0)
            for number in storm.out:
                upstreams[number].out = True
            return await _row(load, storm, seconds, upstreams)
    finally:
        await asyncio.to_thread(server.stop)
        for upstream in upstreams:
            upstream.stop()


async def _row(load: Arrivals, storm: Storm, seconds: float, upstreams: Sequence[Upstream]) -> tuple[object, ...]:
    calls = [upstream.calls for upstream in upstreams]
    load.forget()
    await load.send(storm.rate, seconds)
    first, second = (upstream.calls - were for upstream, were in zip(upstreams, calls, strict=True))
    requests, elapsed = int(storm.rate * seconds), load.round.elapsed
    errors = sum(load.told.values())
    most = storm.most(requests, elapsed)
    kept = first + second <= most and (storm.errors or not errors)
    told = ", ".join(f"{count:,} × {what}" for what, count in load.told.items() if count) or "none"
    slowest = 1000 * quantile(load.round.latencies, 0.99)
    per_second = (first + second) / seconds
    return (storm.name, f"{storm.rate:,.0f}", told, f"{first:,}", f"{second:,}", f"{per_second:,.0f}",
            f"{most / seconds:,.0f}", slowest, "yes" if kept else "no")  # fmt: skip


HEADS = ("outage", "requests/s", "clients' errors", "calls of the first", "of the second", "calls/s", "at most",
         "p99 of replies, ms", "kept")  # fmt: skip


async def table(seconds: float) -> Table:
    found = Table(f"Outages of {seconds:.0f} s, with {RETRIES} retries", HEADS)
    with tempfile.TemporaryDirectory(prefix="plano-storm-") as folder:
        for storm in STORMS:
            found.add(*await measured(storm, seconds, Path(folder)))
            print(f"  ... {storm.name}", file=sys.stderr, flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each outage")
    seconds = parser.parse_args().seconds
    machine.raise_file_limit()
    found = uvloop.run(table(seconds))
    print(found)
    return 0 if all(row[-1] == "yes" for row in found.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
