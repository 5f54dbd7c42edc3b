"""An exchange leaves nothing to the cycle collector: whatever its end, what it held is freed with its last reference.

A ring of references keeps a request's body until the collector comes by, and `plano up` has it come by rarely.
"""

from __future__ import annotations

import ast
import asyncio
import gc
import io
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MethodType, TracebackType
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.routing import Mount
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

import plano
from plano import Plano, Request, Response
from plano.errors import InvalidRequest, PlanoError, UpstreamError
from plano.journal import Journal
from plano.observability.otlp import provider_for
from plano.server import Connection
from plano.server.exchange import Exchange
from plano.testing import FakeProvider, Reply, Verbatim, serve
from plano.testing.script import Failure, Script
from plano.transport.adapter import HTTPXSender
from plano.transport.exchange import Incoming
from plano.transport.sender import Outgoing
from plano.types import CLIENT_DIALECTS as DIALECTS
from plano.types import Dialect
from tests.server.wire import Client, Server, serving, until
from tests.test_promises import JSON, MINIMAL, PATHS, SSE

ROOT = str(Path(plano.__file__).resolve().parent.parent)
INSIDE, OUTSIDE = f"{ROOT}/plano/", f"{ROOT}/plano/testing/"
"""The stand-in for a provider may leave what it likes."""

OF_AN_EXCHANGE = (Request, Response, Journal, Incoming, Exchange, PlanoError)


@pytest.fixture(autouse=True)
def collector_off() -> Iterator[None]:
    gc.collect()
    gc.disable()
    gc.freeze()  # what was there before need not be looked at again and again
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.unfreeze()
    gc.enable()


@contextmanager
def logging_aside() -> Iterator[None]:
    """pytest keeps the records that it captures, and with them tracebacks and all that their frames hold."""
    loggers = [logging.getLogger(name) for name in ("plano", "plano.server")]
    before = [(each.handlers[:], each.propagate) for each in loggers]
    for each in loggers:
        each.handlers[:] = [logging.StreamHandler(io.StringIO())]
        each.propagate = False
    try:
        yield
    finally:
        for each, (handlers, propagate) in zip(loggers, before, strict=True):
            each.handlers[:] = handlers
            each.propagate = propagate


def leftovers() -> Counter[str]:
    """What of plano's only the collector could have found, and what of an exchange is still held, by what it is."""
    held = Counter(type(found).__name__ for found in gc.get_objects() if isinstance(found, OF_AN_EXCHANGE))
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    rings = Counter(name for found in gc.garbage if (name := name_of(found)) is not None)
    gc.garbage.clear()
    gc.collect()  # for good now
    return held + rings


def name_of(found: Any) -> str | None:
    """What an object of plano's is called; None for any other."""
    if isinstance(found, TracebackType):
        found = found.tb_frame
    elif isinstance(found, MethodType):
        found = found.__func__
    for code, frame in (("__code__", ""), ("f_code", ""), ("cr_code", "cr_frame"), ("ag_code", "ag_frame")):
        made = getattr(found, code, None)
        if made is not None:
            over = frame and getattr(found, frame) is None  # which holds nothing any more
            inside = made.co_filename.startswith(INSIDE) and not made.co_filename.startswith(OUTSIDE)
            return f"{type(found).__name__} {made.co_qualname}" if inside and not over else None
    kind = type(found)
    inside = kind.__module__.partition(".")[0] == "plano" and not kind.__module__.startswith("plano.testing")
    return kind.__qualname__ if inside else None


KEY = {"authorization": "Bearer sk-of-a-caller"}


@dataclass(frozen=True)
class Ending:
    """One way in which an exchange comes to its end.

    Attributes:
        answer: the upstream's.
        fields: of the request's body, besides the usual ones.
        body: in place of it.
        raw: in place of all of the request.
        leaves: when the client does; None for one that stays.
        status: what the client must see; None where it sees nothing.
    """

    answer: Script = field(default_factory=lambda: Reply("one two three four five"))
    fields: dict[str, Any] = field(default_factory=dict)
    body: bytes | None = None
    raw: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"
    path: str | None = None
    leaves: Callable[[Client, FakeProvider], Awaitable[object]] | None = None
    status: int | None = 200


class Provider(FakeProvider):
    """Says `answer` to everything."""

    def __init__(self) -> None:
        super().__init__()
        self.answer: Script = Reply()
        self.script(lambda recorded: self.answer(recorded) if callable(self.answer) else self.answer)


STREAM = {"stream": True}
LATE = Reply("late", delay=30)
SLOW = Reply("one two three four five six seven eight nine ten", pause=0.1)
CHUNKED = b"POST /v1/messages HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
GZIP = {"content-encoding": "gzip"}


async def _asked(client: Client, provider: Provider) -> None:
    await until(lambda: provider.requests)


async def _first_piece(client: Client, provider: Provider) -> None:
    await client.until(b"one")


async def _at_once(client: Client, provider: Provider) -> None:
    """In the middle of its request."""


ENDINGS: dict[str, Ending] = {
    "whole": Ending(),
    "stream": Ending(fields=STREAM),
    "stream for a whole reply": Ending(Verbatim(200, SSE, b"data: [DONE]\n\n"), status=502),
    "whole reply for a stream": Ending(Verbatim(200, JSON, b'{"a": 1}'), STREAM, status=502),
    # what an upstream says is wrong
    "400": Ending(Failure(400), status=400),
    "400 for a stream": Ending(Failure(400), STREAM, status=400),
    "401": Ending(Failure(401), status=502),
    "429": Ending(Failure(429), STREAM, status=429),
    "500": Ending(Failure(500), status=500),
    "redirect": Ending(Verbatim(302, {"location": "/"}), status=502),
    # what an upstream sends that is none of its API
    "HTML": Ending(Verbatim(200, {"content-type": "text/html"}, b"<html>"), status=502),
    "HTML with a 500": Ending(Verbatim(500, {"content-type": "text/html"}, b"<html>"), status=500),
    "junk": Ending(Verbatim(200, JSON, b"{junk"), status=502),
    "another object": Ending(Verbatim(200, JSON, b'{"hello": "world"}'), status=502),
    "error in a 200": Ending(Verbatim(200, JSON, b'{"error": {"message": "no"}}'), status=502),
    "broken gzip": Ending(Verbatim(200, JSON | GZIP, b"no gzip"), status=502),
    "broken gzip in a stream": Ending(Verbatim(200, SSE | GZIP, b"no gzip"), STREAM, status=502),
    "cut": Ending(Reply("one two three", breaks_after=1), status=502),
    "cut by a length": Ending(Verbatim(200, JSON | {"content-length": "9"}, b"{", lost=True), status=502),
    "lost before its head": Ending(Verbatim(200, JSON, lost=True), status=502),
    "stream cut at once": Ending(Reply("one two", breaks_after=0), STREAM, status=502),
    "stream cut": Ending(Reply("one two three four five six seven eight", breaks_after=9), STREAM),
    "stream that is incomplete": Ending(
        Reply("one two three four five six seven eight", breaks_after=9, how="incomplete"), STREAM
    ),
    "stream with an error": Ending(
        Reply("one two three four five six seven eight", breaks_after=9, how="error"), STREAM, status=None
    ),
    "stream with an error at once": Ending(Reply("one", breaks_after=0, how="error"), STREAM, status=None),
    "stream of junk": Ending(Verbatim(200, SSE, b"data: {junk\n\n"), STREAM, status=None),
    "stream of nothing": Ending(Verbatim(200, SSE, b""), STREAM, status=502),
    "no upstream": Ending(fields={"model": "nobody/m"}, status=502),
    # what is wrong with the request
    "no HTTP": Ending(raw=b"junk\r\n\r\n" * 100, status=400),
    "no HTTP in its body": Ending(raw=CHUNKED + b"junk\r\n" * 100, status=None),
    "a head without end": Ending(raw=b"GET / HTTP/1.1\r\na: " + b"a" * 100_000, status=None),
    "another request in it": Ending(raw=CHUNKED + b"0\r\n\r\nGET / HTTP/1.1\r\nconnection: close\r\n\r\n", status=None),
    "no JSON": Ending(body=b"{junk", status=400),
    "no object": Ending(body=b"[]", status=400),
    "no UTF-8": Ending(body=b'{"model": "\xff"}', status=400),
    "nested": Ending(body=b'{"model": "m", "a": ' + b"[" * 50_000, status=400),
    "too long": Ending(body=b" " * 200_000, status=413),
    "wrong types": Ending(fields={"messages": 5, "input": 5, "tools": 7}, status=None),
    "unknown model": Ending(fields={"model": "unknown"}, status=404),
    "unknown model for a stream": Ending(fields=STREAM | {"model": "unknown"}, status=404),
    "no key": Ending(headers={"authorization": "Bearer nobody's"}, status=401),
    "GET": Ending(method="GET", body=b"", status=405),
    "nowhere": Ending(path="/v1/nowhere", status=404),
    "models": Ending(path="/v1/models", method="GET", body=b"", status=200),
    "a stored reply": Ending(path="/v1/responses/resp_x", method="GET", body=b"", status=404),
    "a conversation": Ending(path="/v1/conversations", body=b"{junk", status=None),
    "count": Ending(path="/v1/messages/count_tokens", body=b'{"model": "upstream/m", "messages": 5}', status=None),
    "embeddings": Ending(path="/v1/embeddings", body=b'{"model": "upstream/m", "input": "one"}', status=None),
    "unknown past": Ending(fields={"metadata": {"response_id": "x"}, "previous_response_id": "resp_x"}, status=None),
    "strict": Ending(
        fields={"logit_bias": {"1": 1}, "top_k": 3, "seed": 1}, headers={"x-plano-strict": "true"}, status=None
    ),
    # what filters do
    "filter raises": Ending(headers={"x-do": "raises"}, status=500),
    "filter raises afterwards": Ending(headers={"x-do": "raises_after"}, status=500),
    "filter raises after a stream began": Ending(fields=STREAM, headers={"x-do": "raises_after"}, status=500),
    "filter refuses": Ending(headers={"x-do": "refuses"}, status=400),
    "filter gives nothing": Ending(headers={"x-do": "gives_nothing"}, status=500),
    "filter breaks a stream": Ending(fields=STREAM, headers={"x-do": "breaks_text"}, status=None),
    "filter breaks a body": Ending(headers={"x-do": "breaks_text"}, status=500),
    "filter rewrites": Ending(headers={"x-do": "rewrites"}),
    "filter rewrites a stream": Ending(fields=STREAM, headers={"x-do": "rewrites"}),
    "filter reads a stream": Ending(fields=STREAM, headers={"x-do": "reads"}),
    "filter follows a stream": Ending(fields=STREAM, headers={"x-do": "follows"}),
    "filter asks twice": Ending(headers={"x-do": "asks_twice"}),
    "filter asks twice for a stream": Ending(fields=STREAM, headers={"x-do": "asks_twice"}),
    "filter falls back": Ending(fields={"model": "nobody/m"}, headers={"x-do": "falls_back"}, status=200),
    "filter wants to know": Ending(fields=STREAM, headers={"x-do": "wants_to_know"}),
    "filter fails at the end": Ending(headers={"x-do": "fails_at_the_end"}),
    "filter edits": Ending(headers={"x-do": "edits"}),
    "filter answers": Ending(headers={"x-do": "answers"}),
    "filter answers with a stream": Ending(fields=STREAM, headers={"x-do": "answers"}),
    "filter waits": Ending(headers={"x-do": "waits"}),
    "filter waits for a stream": Ending(fields=STREAM, headers={"x-do": "waits"}),
    "filter waits for events": Ending(headers={"x-do": "waits_for_events"}),
    "filter waits for a stream of events": Ending(fields=STREAM, headers={"x-do": "waits_for_events"}),
    "filter asks two at once": Ending(headers={"x-do": "asks_two_at_once"}),
    "filter asks two at once for a stream": Ending(fields=STREAM, headers={"x-do": "asks_two_at_once"}),
    "filter around what asks no model": Ending(
        path="/v1/models", method="GET", body=b"", headers={"x-do": "asks_twice"}
    ),
    "filter around a body": Ending(path="/v1/conversations", body=b"{}", headers={"x-do": "asks_twice"}),
    "filter breaks what asks no model": Ending(
        path="/v1/models", method="GET", body=b"", headers={"x-do": "raises_after"}, status=500
    ),
    # when the client leaves
    "left in its request": Ending(leaves=_at_once, status=None),
    "left before the reply": Ending(LATE, leaves=_asked, status=None),
    "left before the stream": Ending(LATE, STREAM, leaves=_asked, status=None),
    "left in the stream": Ending(SLOW, STREAM, leaves=_first_piece, status=None),
    "left while a filter waits": Ending(LATE, STREAM, headers={"x-do": "waits"}, leaves=_asked, status=None),
    "left while a filter waits for an opened stream": Ending(
        Reply("one two", pause=30), STREAM, headers={"x-do": "waits_for_events"}, leaves=_asked, status=None
    ),
    "left after a filter waited": Ending(SLOW, STREAM, headers={"x-do": "waits"}, leaves=_first_piece, status=None),
    "left while a filter asks two at once": Ending(
        LATE, STREAM, headers={"x-do": "asks_two_at_once"}, leaves=_asked, status=None
    ),
    "left in a rewritten stream": Ending(
        SLOW, STREAM, headers={"x-do": "rewrites_now"}, leaves=_first_piece, status=None
    ),
}


# Every failure of an upstream, where a filter catches it and goes on, or waits for it and returns it all the same.
ENDINGS |= {
    f"{name}, {how}": replace(ending, headers={"x-do": do}, status=status)
    for how, do, status in (("caught", "catches", 200), ("waited for", "waits", None), ("replaced", "replaces", None))
    for name, ending in ENDINGS.items()
    if not isinstance(ending.answer, Reply) or ending.answer.breaks_after is not None
}


class Does:
    """A filter that does what a request's header says."""

    async def __call__(self, request: Request, call_next: Any) -> Response:
        do = request.headers.get("x-do")
        return await (call_next(request) if do is None else getattr(self, do)(request, call_next))

    async def raises(self, request: Request, call_next: Any) -> Response:
        raise ValueError("a bug")

    async def raises_after(self, request: Request, call_next: Any) -> Response:
        response = await call_next(request)
        raise ValueError(f"a bug after {response.status}")

    async def refuses(self, request: Request, call_next: Any) -> Response:
        raise InvalidRequest("Not like this.")

    async def gives_nothing(self, request: Request, call_next: Any) -> Any:
        return None

    async def breaks_text(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response.map_text(lambda text: str(1 // 0))

    async def rewrites(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response.rewrite_text(str.upper, window=8)

    async def rewrites_now(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response.map_text(str.strip)

    async def reads(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        await response.read()
        return response

    async def follows(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response.with_events(response.events())

    async def asks_twice(self, request: Request, call_next: Any) -> Response:
        await call_next(request)  # and drops it
        response: Response = await call_next(request)
        return response

    async def falls_back(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        if not response.ok:
            response = await call_next(request.replace(model="upstream/m"))
        return response

    async def catches(self, request: Request, call_next: Any) -> Response:
        """Asks until it has a reply that is whole, or answers by itself."""
        for _ in range(2):
            try:
                response: Response = await call_next(request)
                if response.ok:
                    await response.read()
                    return response
                await response.aclose()
            except PlanoError:
                pass
        return Response(request, headers=[(b"content-type", b"application/json")], body=b"{}")

    async def answers(self, request: Request, call_next: Any) -> Response:
        return Response.of(request, "Hello there")

    async def waits(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        with suppress(UpstreamError):
            await response.begun()
        return response

    async def replaces(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        try:
            await response.begun()
        except UpstreamError:
            return Response.of(request, "sorry")  # and does not close the other
        return response if response.ok else Response.of(request, "sorry")

    async def waits_for_events(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return await response.with_events(response.events()).begun()

    async def asks_two_at_once(self, request: Request, call_next: Any) -> Response:
        asking = [asyncio.ensure_future(call_next(request)) for _ in range(2)]
        try:
            done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            response: Response = next(iter(done)).result()
            return response
        finally:
            for each in asking:
                each.cancel()

    async def wants_to_know(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.on_close(lambda: response.usage)
        return response

    async def fails_at_the_end(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.on_close(lambda: 1 // 0)
        return response

    async def edits(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request.replace(conversation=request.conversation))
        return response


def config(url: str, upstream: Dialect, **more: Any) -> dict[str, Any]:
    entry = {"provider_interface": "openai", "apis": [upstream], "access_key": "sk-of-the-upstream"}
    return {
        "model_providers": [
            entry | {"model": "upstream/m", "base_url": f"{url}/v1", "default": True},
            entry | {"model": "nobody/m", "base_url": "http://127.0.0.1:1/v1"},
        ],
        "auth": {"keys": [{"name": "caller", "key": "sk-of-a-caller"}]},
        "limits": {"max_body_bytes": 100_000},
        "ui": True,
        **more,
    }


def on_the_wire(ending: Ending, client: Dialect, prefix: str) -> bytes:
    if ending.raw is not None:
        return ending.raw
    body = ending.body
    if body is None:
        body = json.dumps({"model": "upstream/m", **MINIMAL[client], **ending.fields}).encode()
    path = prefix + (ending.path or PATHS[client])
    headers = {"host": "h", "content-type": "application/json", "content-length": str(len(body))} | KEY | ending.headers
    if ending.leaves is _at_once:
        body = body[: len(body) // 2]
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{ending.method} {path} HTTP/1.1\r\n{head}connection: close\r\n\r\n".encode() + body


async def through(server: Server, provider: Provider, ending: Ending, client: Dialect, prefix: str = "") -> bytes:
    """The whole of an exchange, from its first byte until nobody works on it any more. Gives what the client saw."""
    provider.requests.clear()
    provider.answer = ending.answer
    said = b""
    async with server.client() as connection:
        await connection.send(on_the_wire(ending, client, prefix))
        if ending.leaves is not None:
            await ending.leaves(connection, provider)
        else:
            with suppress(ConnectionResetError):  # how uvicorn answers a body that nobody read
                said = await connection.rest()
                assert ending.status in (None, int(said[9:12])), said
    await until(lambda: not server.tasks and not server.connections)
    return said


SERVED: dict[str, tuple[Any, str]] = {"alone": (Connection, ""), "mounted": (HttpToolsProtocol, "/llm")}
METRICS = Ending(path="/metrics", method="GET", body=b"")
"""Counts first what waits to be counted."""


@asynccontextmanager
async def running(gateway: Plano, served: str = "alone") -> AsyncIterator[Server]:
    gc.collect()  # reading a configuration leaves rings, once
    protocol, prefix = SERVED[served]
    application: Any = Starlette(routes=[Mount(prefix, app=gateway)]) if prefix else gateway
    with logging_aside():
        async with serving(application, protocol) as server:
            yield server
        await gateway.aclose()


async def left_by(
    gateway: Plano, provider: Provider, client: Dialect, endings: dict[str, Ending], served: str = "alone"
) -> dict[str, Counter[str]]:
    """What each ending leaves behind, of those that leave anything."""
    prefix = SERVED[served][1]
    found: dict[str, Counter[str]] = {}
    before = leftovers()  # of other tests in this process
    async with running(gateway, served) as server:
        for name, ending in endings.items():
            await through(server, provider, ending, client, prefix)
            await through(server, provider, METRICS, client, prefix)
            if what := leftovers() - before:
                found[name] = what
    return found


@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_no_ending_of_an_exchange_leaves_anything_behind(client: Dialect, upstream: Dialect) -> None:
    provider = Provider()
    with serve(provider) as url:
        gateway = Plano(config(url, upstream), filters=[Does()])
        assert await left_by(gateway, provider, client, ENDINGS) == {}


@pytest.mark.parametrize(("client", "upstream"), [("chat", "chat"), ("messages", "responses"), ("responses", "chat")])
async def test_nor_does_any_in_a_host_on_another_server(client: Dialect, upstream: Dialect) -> None:
    provider = Provider()
    with serve(provider) as url:
        gateway = Plano(config(url, upstream), filters=[Does()])
        endings = {name: ending for name, ending in ENDINGS.items() if ending.raw is None}  # they get no further
        assert await left_by(gateway, provider, client, endings, "mounted") == {}


async def test_nor_does_any_that_is_traced_with_its_bodies_logged() -> None:
    provider = Provider()
    with serve(provider) as url:
        said = config(url, "chat", log={"bodies": True})
        traces = provider_for(100, exporter=InMemorySpanExporter())
        gateway = Plano(said, filters=[Does()], tracer_provider=traces)
        assert await left_by(gateway, provider, "messages", ENDINGS) == {}


async def test_nor_does_any_over_a_transport_of_httpx() -> None:
    provider = Provider()
    endings = {name: ending for name, ending in ENDINGS.items() if ending.raw is None and ending.body is None}
    with serve(provider) as url:
        async with httpx.AsyncHTTPTransport() as transport:
            gateway = Plano(config(url, "chat"), filters=[Does()], transport=transport)
            assert await left_by(gateway, provider, "chat", endings) == {}


async def test_nor_does_a_call_over_httpx_that_is_cancelled_at_any_step() -> None:
    async def ask() -> None:
        exchange = await sender.send(Outgoing(url=f"{url}/v1/chat/completions", headers=[], body=body))
        await exchange.read(10_000)

    body = json.dumps({"model": "m", **MINIMAL["chat"], "stream": True}).encode()
    found: dict[int, Counter[str]] = {}
    with serve(FakeProvider()) as url:
        async with httpx.AsyncHTTPTransport() as transport:
            sender = HTTPXSender(transport)
            await ask()  # what is made once
            before = leftovers()
            for steps in [*range(60)] * 3:
                calls = [asyncio.ensure_future(ask()) for _ in range(2)]
                for _ in range(steps):
                    await asyncio.sleep(0)
                for call in calls:
                    call.cancel()
                await asyncio.wait(calls)
                del call, calls
                if what := leftovers() - before:
                    found[steps] = what
    assert found == {}


async def test_nor_does_any_that_takes_too_long() -> None:
    provider = Provider()
    listener = {"name": "model_gateway", "type": "model", "timeout": 0.2}
    endings = {
        "late reply": Ending(LATE, status=504),
        "late stream": Ending(LATE, STREAM, status=504),
        "stream that stops": Ending(Reply("one two three", pause=30), STREAM, status=None),
        "late reply, caught": Ending(LATE, headers={"x-do": "catches"}),
    }
    with serve(provider) as url:
        for client in DIALECTS:
            gateway = Plano(config(url, "chat", listeners=[listener]), filters=[Does()])
            assert await left_by(gateway, provider, client, endings) == {}


def test_no_function_raises_an_error_that_its_own_frame_goes_on_holding() -> None:
    """`raise error` of a local name makes a ring: the error holds the frame, by its traceback, and the frame the error.
    `except ... as error` lets go of its name by itself; what else is raised is made there, a copy, or let go of."""
    found = [
        f"{path.relative_to(ROOT)}: raise {ast.unparse(node.exc)}"
        for folder in ("plano", "filters", "providers")
        for path in sorted(Path(ROOT, folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name) and node.exc.id[0].islower()
    ]
    assert found == [
        "plano/observability/logs.py: raise failed",  # at the start, once
        "plano/streams/stages.py: raise held",  # and lets go of it
        "plano/upstream/tries.py: raise raised",  # and lets go of it
    ]
