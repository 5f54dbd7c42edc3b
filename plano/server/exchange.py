"""One request and its response, as ASGI messages. The states and moves are drawn in `plano.server.states`.

The server decides how a body is framed (RFC 9112 section 6): by the length that the application states, or by the
body's own if it is given at once, else in chunks, and for HTTP/1.0 by the end of the connection. The application's own
headers about framing and connection are obeyed, and never copied.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from plano.server.heads import (
    BODILESS,
    CHUNK_SIZES,
    CONNECTION,
    CONTENT_LENGTH,
    FRAMING,
    LINE_STARTS,
    STATUS_LINES,
    check,
    line_start,
)
from plano.server.states import RequestState, ResponseState
from plano.types import Message, Receive, Scope, Send

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

UNKNOWN = -1
"""The length of a body for which none was stated."""


_CLOSING = b"connection: close\r\n\r\n"

# To look a member up on its class costs a few times as much as a global.
_ARRIVING, _ARRIVED, _TAKEN = RequestState.ARRIVING, RequestState.ARRIVED, RequestState.TAKEN
_AWAITED, _HELD, _BEGUN = ResponseState.AWAITED, ResponseState.HELD, ResponseState.BEGUN
_COMPLETE, _GONE = ResponseState.COMPLETE, ResponseState.GONE


class Line(Protocol):
    """The connection, as far as an exchange needs it.

    Attributes:
        loop: the event loop.
        tasks: the server's tasks that answer a request.
        clogged: whether the client takes less than it is sent.
        reading_paused: whether reading from the client is paused.
    """

    loop: asyncio.AbstractEventLoop
    tasks: set[asyncio.Task[None]]
    clogged: bool
    reading_paused: bool

    def default_headers(self) -> bytes:
        """The header lines of every response."""

    def write(self, data: bytes) -> None:
        """Sends `data`."""

    def expect_room(self) -> None:
        """The application waits until the client takes more."""

    def balance(self) -> None:
        """Pauses or resumes reading, by how much of the request waits."""

    def finished(self, exchange: Exchange) -> None:
        """The response is complete."""

    def failed(self, exchange: Exchange, error: BaseException) -> None:
        """The application raised."""

    def unanswered(self, exchange: Exchange, result: object) -> None:
        """The application returned before its response was complete, or it returned a value."""


class Exchange:
    """One request from the end of its head, and its response. The application's task runs `run`.

    Attributes:
        request: the state of the request.
        response: the state of the response.
        framed: whether the client can tell the response's end from the connection's.
        keep_alive: whether the connection may go on after this.
        parts: the pieces of body that have come and were not taken.
        scope: ASGI's scope.
        task: the application's task, while it runs.
        unread: bytes of body that wait for the application.
        waiters: the futures of tasks that wait for more of the request, or for room.
    """

    __slots__ = (
        "_bodiless",
        "_chunked",
        "_connection",
        "_expects",
        "_head",
        "_left",
        "_watched",
        "framed",
        "keep_alive",
        "parts",
        "request",
        "response",
        "scope",
        "task",
        "unread",
        "waiters",
    )

    def __init__(self, connection: Line, scope: Scope, keep_alive: bool, expects: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.request = _ARRIVING
        self.response = _AWAITED
        self.framed = True
        self.unread = 0
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._expects = expects
        self.parts: list[bytes] = []
        self._watched = False  # the task is cancelled when the client leaves
        self.waiters: list[asyncio.Future[None]] | None = None
        self._head = b""  # of the response, while it is held
        self._bodiless = False
        self._chunked = False
        self._left = UNKNOWN  # bytes of the response's body

    # -- For the connection --

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._connection.loop

    @property
    def is_plain(self) -> bool:
        """Whether its head asks for nothing unusual."""
        return self.keep_alive and not self._expects

    async def run(self, application: Application) -> None:
        """Runs the application, and makes sure that the client gets an answer."""
        connection = self._connection
        try:
            result = await application(self.scope, self.receive, self.send)  # type: ignore[func-returns-value]
            if self.response is not _COMPLETE or result is not None:
                connection.unanswered(self, result)
        except BaseException as error:
            connection.failed(self, error)
            if not isinstance(error, Exception):
                raise
        finally:
            connection.tasks.discard(self.task)
            self.task = None

    def complete(self) -> None:
        """The response is complete."""
        self.response = _COMPLETE
        if self.waiters is not None:
            self.wake()
        self._connection.finished(self)

    def leave(self) -> None:
        """The client has left, or is not listened to any more."""
        self.response = _GONE
        self.parts.clear()
        if self._watched and self.task is not None:
            self.task.cancel()
        self.wake()

    def wake(self) -> None:
        """Wakes all waiting tasks, so that they look again."""
        waiters, self.waiters = self.waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    async def _news(self) -> None:
        waiter = self._connection.loop.create_future()
        if self.waiters is None:
            self.waiters = []
        self.waiters.append(waiter)
        await waiter

    # -- For the application --

    async def receive(self) -> Message:
        """ASGI's `receive`: more of the body, or `http.disconnect` once the client has left or has its response."""
        while self.response is not _COMPLETE and self.response is not _GONE:
            if self.parts or self.request is _ARRIVED:
                more = self.request is _ARRIVING
                return {"type": "http.request", "body": self._taken(), "more_body": more}
            if self._expects and self.response is not _BEGUN:  # RFC 9110 section 10.1.1
                self._expects = False
                self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await self._news()
        return {"type": "http.disconnect"}

    def _taken(self) -> bytes:
        """The body that has come so far; the application takes it."""
        parts, self.parts = self.parts, []
        self.unread = 0
        if self.request is _ARRIVED:
            self.request = _TAKEN
        if self._connection.reading_paused:
            self._connection.balance()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @property
    def gone(self) -> bool:
        """See `plano.edge.own_server`."""
        return self.response is _GONE

    def watch(self) -> None:
        """See `plano.edge.own_server`."""
        self._watched = True

    def unwatch(self) -> None:
        """See `plano.edge.own_server`."""
        self._watched = False
        if self.response is _GONE and self.task is not None:
            self.task.uncancel()

    def whole(self) -> bytes | None:
        """See `plano.edge.own_server`."""
        if self.request is not _ARRIVED or self.response is _COMPLETE or self.response is _GONE:
            return None
        return self._taken()

    async def send(self, message: Message) -> None:
        """ASGI's `send`. The head waits for the first piece of the body, as ASGI asks, and goes out together with it.

        Raises:
            ConnectionResetError: the client has left.
            RuntimeError: the message makes no HTTP response.
        """
        connection = self._connection
        if connection.clogged or self.response is _GONE:
            await self._room()
        kind, state = message["type"], self.response
        if kind != "http.response.body":
            if kind != "http.response.start" or state is not _AWAITED:
                raise _out_of_turn(kind)
            self._head = self._start(message["status"], message.get("headers", ()))
            self.response = _HELD
            return
        body = message.get("body", b"")
        more = message.get("more_body", False)
        if state is _BEGUN:
            if more and body and self._chunked:  # the most frequent message
                size = len(body)
                start = CHUNK_SIZES[size] if size < 1024 else b"%x\r\n" % size
                connection.write(b"".join((start, body, b"\r\n")))
                return
            if data := self._piece(body, more):
                connection.write(data)
        elif state is _HELD:
            framing = self._framing(len(body), more)
            data = b"".join((self._head, framing, self._piece(body, more)))
            self._head = b""
            self.response = _BEGUN
            connection.write(data)
        else:
            raise _out_of_turn(kind)
        if not more:
            self.complete()

    def reply(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        """See `plano.edge.own_server`."""
        connection = self._connection
        if self.response is not _AWAITED or connection.clogged:
            return False
        status_line = STATUS_LINES.get(status)
        if status_line is None or status in BODILESS or self.scope["method"] == "HEAD":
            return False
        lines: list[bytes] = [status_line, connection.default_headers()]
        for name, value in headers:
            start = LINE_STARTS.get(name) or line_start(name)
            if start in FRAMING:
                return False
            lines += (start, value, b"\r\n")
        check(b"".join(lines[3::3]))
        ending = b"\r\n" if self.keep_alive and self.request is not _ARRIVING else _CLOSING
        lines += (b"content-length: %d\r\n" % len(body), ending, body)
        connection.write(b"".join(lines))
        self.complete()
        return True

    def push(self, body: bytes) -> bool:
        """See `plano.edge.own_server`."""
        connection = self._connection
        if not self._chunked or not body or self.response is not _BEGUN or connection.clogged:
            return False
        size = len(body)
        connection.write(b"".join((CHUNK_SIZES[size] if size < 1024 else b"%x\r\n" % size, body, b"\r\n")))
        return True

    async def _room(self) -> None:
        """Waits until the client takes more. Raises ConnectionResetError when it leaves."""
        while self._connection.clogged and self.response is not _GONE:
            self._connection.expect_room()
            await self._news()
        if self.response is _GONE:
            raise ConnectionResetError("the client has left")

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The head without the lines that depend on the body."""
        status_line = STATUS_LINES.get(status)
        if status_line is None:
            raise RuntimeError(f"{status!r} is not the status of a response")
        lines: list[bytes] = []
        for name, value in headers:
            start = LINE_STARTS.get(name) or line_start(name)
            if start in FRAMING:
                self._frame(start, value)
            else:
                lines += (start, value, b"\r\n")
        self._bodiless = status in BODILESS or self.scope["method"] == "HEAD"
        if status == 204:
            self._left = UNKNOWN  # RFC 9110 section 8.6: such a response states no length
        check(b"".join(lines[1::3]))
        return b"".join((status_line, self._connection.default_headers(), *lines))

    def _frame(self, start: bytes, value: bytes) -> None:
        """Obeys a header of the application about body or connection. The server writes its own in its place."""
        if start == CONTENT_LENGTH:
            length = int(value) if value.isdigit() else UNKNOWN
            if length == UNKNOWN or self._left not in (UNKNOWN, length):
                raise RuntimeError(f"a response has the content-length {value!r}")
            self._left = length
        elif start == CONNECTION:
            if b"close" in value.lower():
                self.keep_alive = False
        elif value.lower() != b"chunked":
            raise RuntimeError(f"a response has the transfer-encoding {value!r}")

    def _framing(self, size: int, more: bool) -> bytes:
        """The end of a head: the lines about the end of the body, and about the end of the connection."""
        left = self._left
        line = b""
        if left == UNKNOWN and not self._bodiless:
            if not more:
                self._left = left = size
            elif self.scope["http_version"] == "1.1":
                self._chunked = True
                line = b"transfer-encoding: chunked\r\n"
            else:
                self.framed = self.keep_alive = False
        ending = b"\r\n" if self.keep_alive and (more or self.request is not _ARRIVING) else _CLOSING
        return line + ending if left == UNKNOWN else b"content-length: %d\r\n%b" % (left, ending)

    def _piece(self, body: bytes, more: bool) -> bytes:
        """A piece of the body in its framing."""
        if self._chunked:
            size = len(body)
            if not size:
                return b"" if more else b"0\r\n\r\n"
            start = CHUNK_SIZES[size] if size < 1024 else b"%x\r\n" % size
            return b"".join((start, body, b"\r\n" if more else b"\r\n0\r\n\r\n"))
        if self._bodiless:
            return b""
        if self._left != UNKNOWN:
            left = self._left - len(body)
            if left < 0 or (left and not more):
                raise RuntimeError("the body of a response is not as long as its content-length says")
            self._left = left
        return body


def _out_of_turn(kind: str) -> RuntimeError:
    return RuntimeError(f"{kind} is not what comes next in a response")


vars(Exchange)["send"].of_planos_server = True  # see `plano.edge.own_server`
