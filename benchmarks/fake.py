"""A fast upstream that speaks all three APIs, with as little Python as an HTTP server can have.

    python -m benchmarks.fake --port 9000

The model's id selects the reply: `plain` is a reply of 0.3 KB; `w-2000` is the same after 2000 ms; `s-100-5` is a
stream of 100 deltas, one every 5 ms; in `s-100-0` each delta follows as soon as the one before is written. In streams
with a pause, the text of a delta is the time at which it was written (`time.perf_counter`, which all processes share).
"""

from __future__ import annotations

import argparse
import asyncio
import re
from itertools import count
from time import perf_counter
from typing import cast

import httptools
import uvloop

from benchmarks.wire import CLOSING, ID, OPENING, REPLIES, delta

_ASKED = re.compile(rb'"model"\s*:\s*"(?:[^"/]*/)*([a-z-]*?)(plain|([sw])-(\d+)(?:-(\d+))?)"')
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_DIALECTS = {b"/chat/completions": "chat", b"/messages": "messages", b"/responses": "responses"}

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_0123456789abcdef\r\ncontent-length: "
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nx-request-id: req_0123456789abcdef\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_WHOLE = {dialect: b"%b%d\r\n\r\n%b" % (_HEAD, len(body), body) for dialect, body in REPLIES.items()}


_replies = count()


def _new_id() -> bytes:
    return b"bench%010d" % next(_replies)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Connection(asyncio.Protocol):
    """A connection that serves one request at a time, without pipelining."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._url = b""
        self._id = ID
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")

    # -- the parser's callbacks --

    def on_message_begin(self) -> None:
        self._url = b""
        self._body = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        dialect = next((name for path, name in _DIALECTS.items() if path in self._url), None)
        asked = _ASKED.search(body)
        if dialect is None or asked is None:
            self._write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            return
        amount, pause = int(asked[4] or 0), int(asked[5] or 0) / 1000
        if asked[3] == b"w":
            self._timer = self._loop.call_later(amount / 1000, self._write, self._whole(dialect))
        elif asked[3] == b"s" and _STREAM.search(body):
            self._open(dialect, amount, pause)
        else:
            self._write(self._whole(dialect))

    # -- replies --

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _whole(self, dialect: str) -> bytes:
        return _WHOLE[dialect].replace(ID, _new_id())

    def _open(self, dialect: str, amount: int, pause: float) -> None:
        self._id = _new_id()
        self._write(_STREAM_HEAD + chunk(OPENING[dialect].replace(ID, self._id)))
        self._step(dialect, amount, pause, self._loop.time())

    def _step(self, dialect: str, left: int, pause: float, due: float) -> None:
        """Writes one delta. Each has a write of its own, so that it travels by itself."""
        if left == 0:
            self._write(chunk(CLOSING[dialect].replace(ID, self._id)) + b"0\r\n\r\n")
            return
        text = b"%.6f " % perf_counter() if pause else b"neutral words "
        self._write(chunk(delta(dialect, text, self._id)))
        due += pause
        if pause:
            self._timer = self._loop.call_at(due, self._step, dialect, left - 1, pause, due)
        else:
            self._timer = self._loop.call_soon(self._step, dialect, left - 1, pause, due)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
