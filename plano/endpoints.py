"""The ASGI endpoints: one class for what goes through the pipeline, one for what plano answers by itself."""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
from collections.abc import Awaitable, Callable
from random import getrandbits
from time import perf_counter
from typing import Any, TypeAlias

import msgspec

from plano import access
from plano.dialects import CODECS
from plano.errors import FilterError, GatewayFailed, MethodNotAllowed, PlanoError, Unauthenticated
from plano.intake import ClientLeft, Rounds, Watch, late_body, peek, read_body
from plano.journal import Journal
from plano.pipeline import CallNext
from plano.provider import Operation
from plano.request import Request
from plano.response import Response, error_response
from plano.sender import send_response
from plano.types import ANONYMOUS, Caller, Dialect, Headers, RawHeaders, Receive, Scope, Send
from plano.usage import settle

logger = logging.getLogger("plano")

CallerOf: TypeAlias = Callable[[Scope], Caller | Awaitable[Caller | None] | None]
"""A host's own authentication: the caller of an ASGI scope, or None to turn the request away with a 401."""

_DROPPED = b"x-plano-dropped"
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_LONGEST_HEADER = 2000
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


class Ask:
    """An endpoint that asks a model: body in, pipeline, reply out.

    Args:
        run: the folded pipeline, with `intake` in it.
        body_limit: bytes.
        body_deadline: seconds for a body to arrive.
        strict: whether requests are strict that do not say.
        caller_of: the host's own authentication, if it has one.
        log: whether each request has a line in the access log.
    """

    def __init__(
        self,
        dialect: Dialect,
        operation: Operation,
        run: CallNext,
        *,
        body_limit: int,
        body_deadline: float,
        strict: bool,
        caller_of: CallerOf | None,
        log: bool = True,
    ) -> None:
        self._log = log
        self._dialect = dialect
        self._operation = operation
        self._run = run
        self._body_limit = body_limit
        self._body_deadline = body_deadline
        self._strict = strict
        self._caller_of = caller_of
        self._rounds: dict[asyncio.AbstractEventLoop, Rounds] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        journal = Journal(self._dialect)
        headers = Headers(scope["headers"])
        watch = Watch(receive, journal.started + self._body_deadline)
        rounds = self._rounds.get(watch.loop) or self._rounds_of(watch.loop)
        rounds.add(watch)
        request: Request | None = None
        response: Response | None = None
        try:
            # What is wrong with a request is left in its journal, so that metrics see it too.
            body, caller = b"", ANONYMOUS
            try:
                if scope["method"] != "POST":
                    raise MethodNotAllowed("Use POST here.", allow="POST")
                body = await read_body(receive, headers, limit=self._body_limit)
                watch.arrived()
                journal.received = perf_counter()
                journal.bytes_in = len(body)
                if self._caller_of is not None:
                    caller = await caller_from(self._caller_of, scope)
            except PlanoError as error:
                journal.error = error
            except asyncio.CancelledError:
                if not watch.late:
                    raise
                watch.forgive()
                journal.error = late_body(self._body_deadline)
            request = self._request(headers, body, caller, journal)
            if journal.error is not None:
                watch.arrived()
            try:
                response = await self._run(request)
            except Exception as error:
                response = _failed(request, error)
            _name(request, response)
            if journal.losses:
                _report(response)
            if response.body is not None:
                await send_response(response, send)
            else:
                await _deliver(request, response, send)
        except ClientLeft:
            return
        except asyncio.CancelledError:
            journal.outcome = "aborted"
            if not watch.left:
                raise
        except OSError:  # how a server says that the client has gone while something is sent
            journal.outcome = "aborted"
        finally:
            rounds.remove(watch)
            watch.stop()
            if request is not None:
                await self._close(scope, request, response)

    def _request(self, headers: Headers, body: bytes, caller: Caller, journal: Journal) -> Request:
        model, stream = None, False
        if journal.error is None:
            try:
                asked = peek(body)
                model, stream = asked.model, bool(asked.stream)
            except PlanoError as error:
                journal.error = error
        strict = headers.find(b"x-plano-strict")
        return Request(
            dialect=self._dialect,
            operation=self._operation,
            raw=body,
            raw_model=model,
            model=model,
            stream=stream,
            headers=headers,
            caller=caller,
            id=_request_id(headers),
            strict=self._strict if strict is None else strict.lower() == b"true",
            journal=journal,
        )

    def _rounds_of(self, loop: asyncio.AbstractEventLoop) -> Rounds:
        for old in [old for old in self._rounds if old.is_closed()]:
            del self._rounds[old]
        return self._rounds.setdefault(loop, Rounds(loop))

    async def _close(self, scope: Scope, request: Request, response: Response | None) -> None:
        """Let go of everything the request held, also what a filter dropped on its way."""
        journal = request.journal
        if journal.ended is None:
            journal.ended = perf_counter()
        try:
            if response is not None and response.holds:
                await response.aclose()
        finally:
            try:
                for release in journal.releases:
                    await release()
            finally:
                # Taken out, for they hold the request: what is not in a ring is freed at once, without the collector.
                closers, journal.closers = journal.closers, []
                try:
                    if closers or self._log:
                        settle(request, response)
                    if self._log:
                        access.write(request, scope)
                finally:
                    for closer in closers:
                        await _call(closer)


async def _call(closer: Callable[[], Awaitable[None] | None]) -> None:
    """One that fails does not keep the others from being called."""
    try:
        awaitable = closer()
        if awaitable is not None:
            await awaitable
    except Exception:
        logger.exception("what should have been done at a request's end failed")


def _request_id(headers: Headers) -> str:
    given = headers.find(b"x-request-id")
    if given is not None:
        said = given.decode("latin-1")
        if _REQUEST_ID.fullmatch(said):
            return said
    return f"{getrandbits(128):032x}"  # it tells requests apart; nothing rests on its being hard to guess


async def caller_from(caller_of: CallerOf, scope: Scope) -> Caller:
    """The caller that the host says it is; raises Unauthenticated if it says nobody."""
    caller = caller_of(scope)
    if inspect.isawaitable(caller):
        caller = await caller
    if caller is None:
        raise Unauthenticated("You are not signed in.")
    return caller


def intake(request: Request, call_next: CallNext) -> Awaitable[Response]:
    """The link where what was wrong with a request's body is raised: below metrics, above all else."""
    if request.journal.error is not None:
        raise request.journal.error
    return call_next(request)


def _failed(request: Request, error: Exception) -> Response:
    """A failure as the error response that the request's client expects."""
    if isinstance(error, PlanoError):
        if isinstance(error, FilterError | GatewayFailed):
            logger.error("%s", error, exc_info=error.__cause__)
    else:
        logger.error("a request failed inside plano", exc_info=error)
        cause, error = error, GatewayFailed()
        error.__cause__ = cause
    request.journal.error = error
    return error_response(request, error)


async def _deliver(request: Request, response: Response, send: Send) -> None:
    """Send a stream, or the error that came up before its first byte."""
    try:
        await send_response(response, send)
    except PlanoError as error:
        await _deliver_error(request, error, send)
    except (asyncio.CancelledError, OSError):
        raise
    except Exception:
        logger.exception("a filter failed at the start of a stream")
        await _deliver_error(request, FilterError("stream"), send)


async def _deliver_error(request: Request, error: PlanoError, send: Send) -> None:
    request.journal.error = error
    answer = error_response(request, error)
    _name(request, answer)
    await send_response(answer, send)


def _report(response: Response) -> None:
    """Name the losses so far in a header; those of a stream come too late for it, and are only counted."""
    fields = ", ".join(loss.field for loss in response.journal.losses)
    fields = _UNPRINTABLE.sub("?", fields)  # some hold names a client chose
    response.headers.append((_DROPPED, fields[:_LONGEST_HEADER].encode()))


def _name(request: Request, response: Response) -> None:
    """The request's id for the client: its own if it sent one, else the upstream's, else the one made here."""
    headers = response.headers
    upstreams = next((value for name, value in headers if name == b"x-request-id"), None)
    if upstreams is None:
        headers.append((b"x-request-id", request.id.encode()))
        return
    request.journal.upstream_id = upstreams.decode("latin-1")
    if "x-request-id" in request.headers:
        response.set_header(b"x-request-id", request.id.encode())
        response.set_header(b"x-plano-upstream-request-id", upstreams)


class Answer:
    """An endpoint that plano answers by itself.

    Args:
        answer: from scope and headers to what is sent as JSON; raises a PlanoError for an error.
        methods: those it takes.
    """

    def __init__(self, answer: Callable[[Scope, Headers], Any], *methods: str) -> None:
        self._answer = answer
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope["headers"])
        try:
            if scope["method"] not in self._methods:
                allow = ", ".join(self._methods)
                raise MethodNotAllowed(f"{scope['method']} is not possible here, only {allow}.", allow=allow)
            found = self._answer(scope, headers)
            if inspect.isawaitable(found):
                found = await found
            await send_json(send, 200, msgspec.json.encode(found), head=scope["method"] == "HEAD")
        except PlanoError as error:
            await send_error(scope, headers, error, send)


async def send_json(
    send: Send, status: int, body: bytes, *, headers: RawHeaders | None = None, head: bool = False
) -> None:
    """A JSON body; with `head`, only what its headers would be."""
    raw = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if head else body})


async def send_error(scope: Scope, headers: Headers, error: PlanoError, send: Send) -> None:
    """An error where no dialect is settled: in Anthropic's form for its paths and headers, else in OpenAI's."""
    messages = "/v1/messages" in scope["path"] or "anthropic-version" in headers
    body = CODECS["messages" if messages else "chat"].write_error(error)
    extra = [(b"allow", error.allow.encode())] if isinstance(error, MethodNotAllowed) else []
    if error.retry_after is not None:
        extra.append((b"retry-after", str(max(1, round(error.retry_after))).encode()))
    await send_json(send, error.status, body, headers=extra, head=scope["method"] == "HEAD")
