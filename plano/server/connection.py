"""One client's connection under uvicorn (RFC 9112): bytes in, requests to the application, responses out.

One request at a time is answered. A client may send the next one early (section 9.3.2); its bytes wait until the
response is complete, so that responses keep the order of their requests. Every wait for the client has a deadline, and
so has the end: a connection lingers until the client has had a chance to read the last response (section 9.6). The
states and moves are drawn in `plano.server.states`; `Reader` finds a request's end, `Exchange` writes the response.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from functools import partial
from math import inf
from time import perf_counter
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from plano.runtime.deadlines import deadlines_of
from plano.runtime.outbox import outbox_of
from plano.runtime.unacknowledged import still_taking, untaken
from plano.server.exchange import Exchange
from plano.server.heads import Refusal, encoded, last_reply
from plano.server.limits import LIMITS, Limits
from plano.server.reader import Reader
from plano.server.states import Phase, RequestState, ResponseState
from plano.types import RawHeaders, Scope

logger = logging.getLogger("plano.server")

MAX_SCOPES = 64
"""The most scopes that are kept. A process listens on a few addresses, and has one scope for each."""

MAX_HELD_BYTES = 64 * 1024
"""The most bytes that wait for the end of a turn of the event loop. More are written at once."""

_SCOPES: dict[tuple[object, ...], Scope] = {}

_RESET = struct.pack("ii", 1, 0)


# To look a member up on its class costs a few times as much as a global.
_REST, _HEAD, _BUSY, _CLOSING = Phase.REST, Phase.HEAD, Phase.BUSY, Phase.CLOSING
_ARRIVING = RequestState.ARRIVING
_BEGUN, _COMPLETE = ResponseState.BEGUN, ResponseState.COMPLETE


class Connection(asyncio.Protocol):
    """Serves one request after another, never two at once.

    uvicorn makes one for each connection, and uses its `transport`, `tasks` and `shutdown`. Its options for WebSockets
    and for its access log have no effect here.

    Attributes:
        clogged: whether the client takes less than it is sent.
        due: see `plano.runtime.deadlines`.
        loop: the event loop.
        phase: the state.
        reading_paused: whether reading from the client is paused.
        tasks: the server's tasks that answer a request.
        transport: the event loop's transport.
    """

    __slots__ = (
        "_app_state",
        "_application",
        "_backlog",
        "_config",
        "_deadlines",
        "_default_headers",
        "_draining",
        "_exchange",
        "_held",
        "_held_bytes",
        "_limit_concurrency",
        "_limits",
        "_outbox",
        "_reader",
        "_rest_seconds",
        "_server",
        "_write_left",
        "clogged",
        "due",
        "loop",
        "phase",
        "reading_paused",
        "tasks",
        "transport",
    )

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits = LIMITS,
    ) -> None:
        if not config.loaded:
            config.load()
        self.loop = _loop or asyncio.get_running_loop()
        self.tasks = server_state.tasks
        self.clogged = False
        self.reading_paused = False
        self._config = config
        self._application = config.loaded_app
        self._rest_seconds = config.timeout_keep_alive
        self._limit_concurrency = config.limit_concurrency
        self._server = server_state
        self._app_state = app_state
        self._limits = limits
        self._default_headers: tuple[RawHeaders, bytes] = ([], b"")
        self._draining = False
        self._backlog = b""  # bytes after the request that is being answered
        self._exchange: Exchange | None = None
        self.phase = _REST
        self.due = inf
        self._deadlines = deadlines_of(self.loop)
        self._outbox = outbox_of(self.loop)
        self._held: list[bytes] = []  # to be written at the end of this turn of the loop
        self._held_bytes = 0
        self._write_left = 0

    # -- For uvicorn --

    def shutdown(self) -> None:
        """Close, or, if a response is under way, close after it."""
        if self._exchange is not None:
            self._exchange.keep_alive = False
        else:
            self._close()

    def drain(self) -> None:
        """Close after the next response, or after the one that is under way."""
        self._draining = True
        if self._exchange is not None:
            self._exchange.keep_alive = False

    # -- From the event loop --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)  # type: ignore[arg-type]
        scope = self._scope(get_local_addr(transport), "https" if is_ssl(transport) else "http")
        self._reader = Reader(partial(Exchange, self), scope, get_remote_addr(transport), self._app_state, self._limits)
        self._watch(max(self._limits.head_seconds, self._rest_seconds))
        self._deadlines.add(self)

    def _scope(self, server: tuple[str, int | None] | None, scheme: str) -> Scope:
        """The part of a scope that all requests to one address share. It is made once for all connections."""
        key = (server, scheme, self._config.root_path, self._config.asgi_version)
        found = _SCOPES.get(key)
        if found is None:
            if len(_SCOPES) >= MAX_SCOPES:
                _SCOPES.clear()
            found = _SCOPES[key] = {
                "type": "http",
                "asgi": {"version": self._config.asgi_version, "spec_version": "2.4"},
                "http_version": "1.1",
                "server": server,
                "client": None,
                "scheme": scheme,
                "root_path": self._config.root_path,
                "method": "",
                "path": "",
                "raw_path": b"",
                "query_string": b"",
                "headers": [],
                "state": {},
            }
        return found

    def data_received(self, data: bytes) -> None:
        if self.phase is _CLOSING:
            return
        exchange = self._exchange
        if exchange is None or exchange.request is _ARRIVING:
            self._read(data)
        else:
            self._backlog += data
            self.balance()

    def eof_received(self) -> None:
        """The client has left. A client that only stopped sending looks the same, and is not served further."""
        self._lose()
        self._close()

    def connection_lost(self, error: Exception | None) -> None:
        self._server.connections.discard(self)
        self._lose()
        self.phase = _CLOSING
        self._deadlines.watched.discard(self)
        self._held.clear()
        # Break the reference cycle so that this is freed without the collector.
        self._reader.close()
        del self._reader

    def pause_writing(self) -> None:
        self.clogged = True

    def resume_writing(self) -> None:
        self.clogged = False
        if self._exchange is not None:
            self.due = inf
            self._exchange.wake()

    # -- For the exchange --

    def default_headers(self) -> bytes:
        """The header lines of every response. uvicorn makes new ones once a second."""
        headers, lines = self._default_headers
        if headers is not self._server.default_headers:
            headers = self._server.default_headers
            lines = encoded(headers)
            self._default_headers = headers, lines
        return lines

    def write(self, data: bytes) -> None:
        """Sends `data`: at the end of this turn of the event loop, or at once if it is much or the only request's."""
        held = self._held
        if not held:
            if len(self.tasks) < 2:
                self.transport.write(data)
                return
            self._outbox.add(self)
        held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > MAX_HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """See `plano.runtime.outbox`."""
        held = self._held
        if held:
            data = held[0] if len(held) == 1 else b"".join(held)
            held.clear()
            self._held_bytes = 0
            self.transport.write(data)

    def expect_room(self) -> None:
        """Sets a deadline, because the application waits until the client takes more."""
        self._write_left = untaken(self.transport)
        self._watch(self._limits.write_seconds)

    def balance(self) -> None:
        """Pauses reading while too many bytes wait for the application, and resumes it afterwards."""
        exchange = self._exchange
        waiting = len(self._backlog)
        if exchange is not None and exchange.request is _ARRIVING:
            waiting += exchange.unread
        if (waiting > self._limits.unread_bytes) is self.reading_paused:
            return
        if self.reading_paused:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()
        self.reading_paused = not self.reading_paused

    def finished(self, exchange: Exchange) -> None:
        """The response is complete."""
        self._exchange = None
        self._reader.release()
        self._server.total_requests += 1
        arrived = exchange.request is not _ARRIVING
        if exchange.keep_alive and arrived:
            self.phase = _REST
            self._watch(self._rest_seconds)
            if self._backlog:
                data, self._backlog = self._backlog, b""
                self._read(data)
            if self.reading_paused:
                self.balance()
        elif arrived and not self._backlog:
            self._close()
        else:
            self._linger()

    def failed(self, exchange: Exchange, error: BaseException) -> None:
        """The application raised."""
        if exchange.gone and isinstance(error, (OSError, asyncio.CancelledError)):
            return  # the application was told so that the client had left
        if exchange.response is _COMPLETE and isinstance(error, asyncio.CancelledError):
            return  # it was ended by the server, and the client knows
        logger.error("Exception in ASGI application\n", exc_info=error)
        self._give_up(exchange)

    def unanswered(self, exchange: Exchange, result: object) -> None:
        """The application returned before its response was complete, or it returned a value."""
        if result is not None:
            logger.error("ASGI callable should return None, but returned '%s'.", result)
        elif not exchange.gone:
            what = "completing" if exchange.response is _BEGUN else "starting"
            logger.error("ASGI callable returned without %s response.", what)
        self._give_up(exchange)

    def _give_up(self, exchange: Exchange) -> None:
        if exchange.gone or exchange.response is _COMPLETE:
            return
        if exchange.response is _BEGUN:
            self._break_off(exchange)
            return
        head = exchange.scope["method"] == "HEAD"
        self.write(last_reply(500, "Internal Server Error", self.default_headers(), head=head))
        exchange.keep_alive = False
        exchange.complete()

    def _break_off(self, exchange: Exchange) -> None:
        """Ends a response in the middle so that the client cannot take it for complete."""
        self._lose()
        if not exchange.framed:
            self.flush()
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()
        self._close()

    # -- Requests --

    def _read(self, data: bytes) -> None:
        reader = self._reader
        try:
            rest = reader.read(data)
        except Refusal as refusal:
            self._exchange = reader.exchange
            self._refuse(refusal)
            return
        exchange = self._exchange = reader.exchange
        if exchange is None:
            if self.phase is _REST:
                self.phase = _HEAD
                self._watch(self._limits.head_seconds)
            return
        if self.phase is not _BUSY:
            self._start(exchange)
        if rest:
            self._backlog = rest
        if rest or exchange.request is _ARRIVING:
            self.balance()

    # -- The application --

    def _start(self, exchange: Exchange) -> None:
        self.phase = _BUSY
        self.due = inf
        if self._draining:
            exchange.keep_alive = False
        application = self._application
        most = self._limit_concurrency
        if most is not None and (len(self._server.connections) >= most or len(self.tasks) >= most):
            logger.warning("Exceeded concurrency limit.")
            application = service_unavailable
        # asyncio would make up a name, which costs more than all the rest. `create_task` does the same by a detour.
        exchange.task = task = asyncio.Task(exchange.run(application), loop=self.loop, name="request")
        self.tasks.add(task)

    # -- The end --

    def _refuse(self, refusal: Refusal) -> None:
        """Answers bytes that are no request, or breaks off the response that their beginning has got."""
        logger.warning("Invalid HTTP request received: %s", refusal.reason)
        exchange = self._exchange
        if exchange is not None and exchange.response is _BEGUN:
            self._break_off(exchange)
            return
        self._lose()
        self.write(last_reply(refusal.status, refusal.reason, self.default_headers()))
        self._linger()

    def _lose(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.leave()

    def _linger(self) -> None:
        """Closes once the client has had a chance to read the response, although it may still be sending.

        RFC 9112 section 9.6: bytes that come in after a close are answered with a reset, and then the client's system
        may throw a response away that was not read yet.
        """
        self.phase = _CLOSING
        self._backlog = b""
        self._write_left = 0
        self.flush()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self.reading_paused:
            self.balance()
        self._watch(self._limits.linger_seconds)

    def _close(self) -> None:
        self.phase = _CLOSING
        self._backlog = b""
        self.flush()
        self._write_left = untaken(self.transport)
        self.transport.close()
        self._watch(self._limits.write_seconds)

    # -- Deadlines --

    def _watch(self, seconds: float) -> None:
        self.due = perf_counter() + seconds

    def overdue(self) -> None:
        """See `plano.runtime.deadlines`."""
        if self.phase is _REST:
            self._close()
        elif self.phase is _HEAD:
            self._refuse(Refusal(408, "The request's head took too long."))
        else:
            self._judge_writing()

    def _judge_writing(self) -> None:
        left = still_taking(self.transport, self._write_left)
        if left:
            self._write_left = left
            self._watch(self._limits.write_seconds)
        else:
            self._lose()
            self.transport.abort()
