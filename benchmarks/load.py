"""The load: a closed loop over a fixed number of kept-alive connections, in one process.

Each connection sends its next request when it has the reply to the one before. A reply counts only if its status is 200
and it is complete; everything else is a failure and is reported.
"""

from __future__ import annotations

import asyncio
import re
from array import array
from collections.abc import Sequence
from time import perf_counter
from typing import cast

_LENGTH = re.compile(rb"content-length: ?(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"transfer-encoding: ?chunked", re.IGNORECASE)
_STAMP = re.compile(rb'"(\d+\.\d{6}) "')
_END = b"\r\n0\r\n\r\n"


class Round:
    """The results of one round of requests. Times are in seconds.

    Attributes:
        latencies: from the request's first byte to the reply's last, one per reply.
        firsts: from the request's first byte to the first frame with a time in it.
        delays: from the moment that the upstream wrote a frame to its arrival here.
        gaps: between two frames with a time in them.
        failures: the number of wrong replies, and the first of them.
    """

    def __init__(self) -> None:
        self.latencies = array("d")
        self.firsts = array("d")
        self.delays = array("d")
        self.gaps = array("d")
        self.failures = 0
        self.failure = b""
        self.elapsed = 0.0

    @property
    def done(self) -> int:
        return len(self.latencies)

    @property
    def rate(self) -> float:
        return self.done / self.elapsed if self.elapsed else 0.0


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


class Client(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._head = b""  # of the reply, as far as it is not complete
        self._left = -1  # bytes of the reply to come; -1 before the head is there, -2 when it is chunked
        self._tail = b""
        self._began = 0.0
        self._last_frame = 0.0
        self._failure = b""
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self.busy:
            self._over(failure=b"the connection was closed")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def ask(self) -> None:
        if self._transport is None:
            self._load.lost(self)
            return
        self.busy = True
        self._head = b""
        self._left = -1
        self._failure = b""
        self._last_frame = 0.0
        self._began = perf_counter()
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        if self._left == -1:
            data = self._start(data)
            if self._left == -1:
                return
        if self._load.stamps:
            self._read_stamps(data)
        if self._left >= 0:
            self._left -= len(data)
            if self._left == 0:
                self._over()
            return
        if len(data) < 4096:  # the end may be cut in two
            data = self._tail + data
        if data.endswith(_END):
            whole = self._load.ends_with in data[-4096:]
            self._over(failure=b"" if whole else b"a stream cut short: " + data[-200:])
        else:
            self._tail = data[-4096:]

    def _start(self, data: bytes) -> bytes:
        """Reads the head and returns the bytes that came after it."""
        data = self._head + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._head = data
            return b""
        self._tail = b""
        length = _LENGTH.search(data, 0, end)
        if not data.startswith(b"HTTP/1.1 200") and not data.startswith(b"HTTP/1.0 200"):
            self._failure = data[:600]
        if length is not None:
            self._left = int(length[1])
        elif _CHUNKED.search(data, 0, end):
            self._left = -2
        else:
            self._over(failure=b"neither a length nor chunks")
        return data[end + 4 :]

    def _read_stamps(self, data: bytes) -> None:
        now, round_ = perf_counter(), self._load.round
        for stamp in _STAMP.findall(data):
            round_.delays.append(now - float(stamp))
            if self._last_frame:
                round_.gaps.append(now - self._last_frame)
            else:
                round_.firsts.append(now - self._began)
            self._last_frame = now

    def _over(self, failure: bytes = b"") -> None:
        now = perf_counter()
        self.busy = False
        failure = failure or self._failure
        if failure:
            self._load.round.failures += 1
            self._load.round.failure = self._load.round.failure or failure
        else:
            self._load.round.latencies.append(now - self._began)
        self._load.next(self, now)


class Load:
    """Sends one request again and again over connections to one server.

    Args:
        request: the bytes that are sent.
        ends_with: the bytes near the end of a stream that ended well.
        stamps: the times in streamed frames are read.
    """

    def __init__(
        self, port: int, request: bytes, *, connections: int, ends_with: bytes = b"", stamps: bool = False
    ) -> None:
        self.request = request
        self.ends_with = ends_with
        self.stamps = stamps
        self.round = Round()
        self._port = port
        self._connections = connections
        self._clients: list[Client] = []
        self._active = 0
        self._until = 0.0
        self._left = 0
        self._over: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Load:
        loop = asyncio.get_running_loop()
        for start in range(0, self._connections, 100):
            amount = min(100, self._connections - start)
            opening = [loop.create_connection(lambda: Client(self), "127.0.0.1", self._port) for _ in range(amount)]
            self._clients += [client for _, client in await asyncio.gather(*opening)]
        return self

    async def __aexit__(self, *failure: object) -> None:
        for client in self._clients:
            client.busy = False
            client.close()
        await asyncio.sleep(0)

    async def run(
        self, *, seconds: float = float("inf"), requests: int = 1 << 60, spread: float = 0.0, patience: float = 120.0
    ) -> Round:
        """Runs one round: sends new requests for `seconds`, or `requests` of them, and waits for all replies.

        The connections begin over `spread` seconds, so that streams are not in step.
        """
        loop = asyncio.get_running_loop()
        self.round = Round()
        self._over = loop.create_future()
        began = perf_counter()
        self._until = began + seconds
        self._active = len(self._clients)
        self._left = requests
        for number, client in enumerate(self._clients):
            loop.call_later(spread * number / len(self._clients), self.next, client, began)
        try:
            async with asyncio.timeout(patience + min(seconds, 3600)):
                await self._over
        except TimeoutError:
            self.round.failures += self._active
            self.round.failure = self.round.failure or b"no reply in time"
            self._over = None
        self.round.elapsed = perf_counter() - began
        return self.round

    def next(self, client: Client, now: float) -> None:
        if now < self._until and self._left > 0 and self._over is not None:
            self._left -= 1
            client.ask()
        else:
            self.lost(client)

    def lost(self, client: Client) -> None:
        """Notes that a connection sends no more requests in this round."""
        self._active -= 1
        if self._active <= 0 and self._over is not None and not self._over.done():
            self._over.set_result(None)


def http_request(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    fields = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(body))} | headers
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body
