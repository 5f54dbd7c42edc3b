"""The tables in `plano.server.states`, walked: every move that they draw happens, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any

import pytest

from plano.edge.own_server import fast_path
from plano.server import Connection
from plano.server.states import Phase, RequestState, ResponseState
from plano.types import Receive, Scope, Send
from tests.server.wire import Client, Server, piece, read_body, serving, start, until

GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\n"
CANNOT_HAPPEN = "."


def moves(states: type[Enum]) -> list[tuple[str, str, str]]:
    """State, event and outcome of each cell that can happen, of the table in the docstring of `states`."""
    drawn = (states.__doc__ or "").split("=\n")
    (_, *events), *rows = [line.split() for part in drawn[1:3] for line in part.splitlines()[:-1] if line.strip()]
    assert [row[0] for row in rows] == [state.name for state in states], "a row for each state"
    assert all(len(row) == len(events) + 1 for row in rows), "a cell for each event"
    cells = [(state, event, end) for state, *ends in rows for event, end in zip(events, ends, strict=True)]
    return [cell for cell in cells if cell[2] != CANNOT_HAPPEN]


def only_connection(server: Server) -> Connection:
    (connection,) = server.uvicorn.server_state.connections
    assert isinstance(connection, Connection)
    return connection


# -- Connections --


class Waiting:
    """An application that answers when it is let."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.may_answer.wait()
        await send(start((b"content-length", b"0")))
        await send(piece(b"", more=False))


TO_PHASE = {"REST": b"", "HEAD": b"GET / HTTP", "BUSY": GET, "CLOSING": b"\0\r\n\r\n"}


def happens_to_a_connection(event: str, phase: str, connection: Connection, application: Waiting) -> None:
    match event:
        case "bytes":
            connection.data_received(b"/1.1\r\n" if phase == "HEAD" else b"GET /")
        case "head":
            connection.data_received(GET.removeprefix(TO_PHASE[phase]))
        case "complete":
            application.may_answer.set()
        case "over" if phase == "BUSY":
            connection.shutdown()
            application.may_answer.set()
        case "over":
            connection.data_received(b"\0\r\n\r\n")
        case "eof":
            connection.eof_received()
        case "overdue":
            connection.overdue()


@pytest.mark.parametrize(("phase", "event", "end"), moves(Phase))
async def test_a_connection_moves_as_its_table_says(phase: str, event: str, end: str) -> None:
    application = Waiting()
    async with serving(application) as server, server.client():
        await until(lambda: server.connections)
        connection = only_connection(server)
        if TO_PHASE[phase]:
            connection.data_received(TO_PHASE[phase])
        assert connection.phase is Phase[phase]
        happens_to_a_connection(event, phase, connection, application)
        if end == "lost":
            await until(lambda: not server.connections)
        else:
            expected = Phase[phase if end == "-" else end]
            await until(lambda: connection.phase is expected)
        application.may_answer.set()


# -- Requests --


async def answer_what_came(scope: Scope, receive: Receive, send: Send) -> None:
    body = await read_body(receive)
    await send(start((b"content-length", b"%d" % len(body))))
    await send(piece(body, more=False))


def pieces_of(framing: str) -> tuple[bytes, bytes, bytes]:
    """A request's head with some of its body, more of the body, and the rest."""
    if framing == "chunked":
        head = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
        return head + b"1\r\na\r\n", b"1\r\nb\r\n", b"2\r\ncd\r\n0\r\n\r\n"
    return POST + b"a", b"b", b"cd"


async def happens_to_a_request(
    event: str, connection: Connection, rest: list[bytes], receive: Receive, send: Send
) -> bool:
    """Whether anything came of it."""
    match event:
        case "piece":
            connection.data_received(rest.pop(0))
        case "last":
            connection.data_received(b"".join(rest))
        case "whole":
            exchange = fast_path(send, receive)
            assert exchange is not None
            return exchange.whole() is not None
        case "receive":
            asking = asyncio.ensure_future(receive())
            for _ in range(3):
                await asyncio.sleep(0)
            return asking.done() or not asking.cancel()
    return True


@pytest.mark.parametrize("framing", ["length", "length that was read before", "chunked"])
@pytest.mark.parametrize(("state", "event", "end"), moves(RequestState))
async def test_a_request_moves_as_its_table_says(state: str, event: str, end: str, framing: str) -> None:
    found: list[tuple[RequestState, RequestState, bool]] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if framing == "length that was read before" and not server.uvicorn.server_state.total_requests:
            await answer_what_came(scope, receive, send)
            return
        exchange: Any = fast_path(send, receive)
        connection = only_connection(server)
        rest = list(pieces_of(framing)[1:])
        if state != "ARRIVING":
            connection.data_received(b"".join(rest))
        if state == "TAKEN":
            await receive()
        before = exchange.request
        happened = await happens_to_a_request(event, connection, rest, receive, send)
        found.append((before, exchange.request, happened))
        await send(start())
        await send(piece(b"", more=False))

    async with serving(application) as server, server.client() as client:
        first = pieces_of(framing)
        if framing == "length that was read before":
            await client.send(b"".join(first))
            assert (await client.reply()).endswith(b"abcd")
        await client.send(first[0])
        await until(lambda: found)
    expected = RequestState[state if end == "-" else end]
    assert found == [(RequestState[state], expected, end != "-")]


# -- Responses --


async def gone(exchange: Any, client: Client) -> None:
    client.leave()
    await until(lambda: exchange.gone)


async def to_state(state: str, exchange: Any, send: Send, client: Client) -> None:
    if state in ("HELD", "BEGUN", "COMPLETE"):
        await send(start())
    if state in ("BEGUN", "COMPLETE"):
        await send(piece(b"some"))
    if state == "COMPLETE":
        await send(piece(b"", more=False))
    if state == "GONE":
        await gone(exchange, client)


def sends(message: Any) -> Callable[[Any, Send, Client], Awaitable[str]]:
    async def happen(exchange: Any, send: Send, client: Client) -> str:
        try:
            await send(message)
        except (RuntimeError, ConnectionResetError):
            return "error"
        return "done"

    return happen


def calls(verb: Callable[[Any], bool]) -> Callable[[Any, Send, Client], Awaitable[str]]:
    async def happen(exchange: Any, send: Send, client: Client) -> str:
        return "done" if verb(exchange) else "-"

    return happen


async def leaves(exchange: Any, send: Send, client: Client) -> str:
    await gone(exchange, client)
    return "done"


HAPPENS_TO_A_RESPONSE = {
    "start": sends(start()),
    "more": sends(piece(b"more")),
    "last": sends(piece(b"", more=False)),
    "reply": calls(lambda exchange: exchange.reply(200, [], b"all")),
    "push": calls(lambda exchange: exchange.push(b"more")),
    "leave": leaves,
}


@pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises"])
@pytest.mark.parametrize(("state", "event", "end"), moves(ResponseState))
async def test_a_response_moves_as_its_table_says(state: str, event: str, end: str, raises: bool) -> None:
    found: list[tuple[ResponseState, ResponseState, str]] = []
    exchanges: list[Any] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Any = fast_path(send)
        exchanges.append(exchange)
        await to_state(state, exchange, send, client)
        before = exchange.response
        if event != "end":
            said = await HAPPENS_TO_A_RESPONSE[event](exchange, send, client)
            found.append((before, exchange.response, said))
        elif raises:
            raise LookupError("a bug")

    async with serving(application) as server, server.client() as client:
        await client.send(GET)
        await until(lambda: exchanges and not server.tasks)
    expected = ResponseState[state if end in ("-", "error") else end]
    if event == "end":
        assert exchanges[0].response is expected
    else:
        assert found == [(ResponseState[state], expected, end if end in ("-", "error") else "done")]


@pytest.mark.parametrize("verb", ["more", "push"])
async def test_a_body_with_a_length_is_not_pushed(verb: str) -> None:
    said: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start((b"content-length", b"8")))
        await send(piece(b"some"))
        said.append(await HAPPENS_TO_A_RESPONSE[verb](fast_path(send), send, client))

    async with serving(application) as server, server.client() as client:
        await client.send(GET)
        await until(lambda: said)
    assert said == ["done" if verb == "more" else "-"]
