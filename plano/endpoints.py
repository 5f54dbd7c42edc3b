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
from plano.errors import FilterError, MethodNotAllowed, PlanoError, Unauthenticated
from plano.intake import ClientLeft, Departure, peek, read_body
from plano.journal import Journal
from plano.pipeline import CallNext
from plano.provider import Operation
from plano.request import Request
from plano.response import Response, error_response
from plano.sender import send_response
from plano.types import Caller, Dialect, Headers, RawHeaders, Receive, Scope, Send
from plano.usage import settle

logger = logging.getLogger("plano")

CallerOf: TypeAlias = Callable[[Scope], Caller | Awaitable[Caller | None] | None]
"""A host's own authentication: the caller of an ASGI scope, or None to turn the request away with a 401."""

_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


class Ask:
    """An endpoint that asks a model: body in, pipeline, reply out.

    Args:
        run: the folded pipeline, with `guard` around it and `intake` in it.
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request = await self._read(scope, receive)
        except ClientLeft:
            return
        if self._log:
            access.watch(request, scope)
        departure = Departure(receive)
        response: Response | None = None
        try:
            response = await self._run(request)
            await _deliver(request, response, send)
        except asyncio.CancelledError:
            request.journal.outcome = "aborted"
            if not departure.happened:
                raise
        except OSError:  # how a server says that the client has gone while something is sent
            request.journal.outcome = "aborted"
        finally:
            departure.stop()
            await _close(request, response)

    async def _read(self, scope: Scope, receive: Receive) -> Request:
        """The request; what is wrong with it is left in its journal, so that it is seen by metrics too."""
        headers = Headers(scope["headers"])
        journal = Journal(self._dialect)
        strict = headers.find(b"x-plano-strict")
        request = Request(
            dialect=self._dialect,
            operation=self._operation,
            headers=headers,
            id=_request_id(headers),
            strict=self._strict if strict is None else strict.lower() == b"true",
            journal=journal,
        )
        try:
            if scope["method"] != "POST":
                raise MethodNotAllowed("Use POST here.", allow="POST")
            body = await read_body(receive, headers, limit=self._body_limit, deadline=self._body_deadline)
            journal.received = perf_counter()
            journal.bytes_in = len(body)
            asked = peek(body)
            request = request.replace(raw=body, raw_model=asked.model, model=asked.model, stream=bool(asked.stream))
            if self._caller_of is not None:
                request = request.replace(caller=await caller_from(self._caller_of, scope))
        except PlanoError as error:
            journal.error = error
        return request


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return f"{getrandbits(128):032x}"  # it tells requests apart; nothing rests on its being hard to guess


async def caller_from(caller_of: CallerOf, scope: Scope) -> Caller:
    """The caller that the host says it is; raises Unauthenticated if it says nobody."""
    caller = caller_of(scope)
    if inspect.isawaitable(caller):
        caller = await caller
    if caller is None:
        raise Unauthenticated("You are not signed in.")
    return caller


async def intake(request: Request, call_next: CallNext) -> Response:
    """The link where what was wrong with a request's body is raised: below metrics, above all else."""
    if request.journal.error is not None:
        raise request.journal.error
    return await call_next(request)


def guard(run: CallNext) -> CallNext:
    """`run` with every failure turned into the error response that the request's client expects."""

    async def guarded(request: Request) -> Response:
        journal = request.journal
        try:
            return await run(request)
        except PlanoError as error:
            journal.error = error
            if isinstance(error, FilterError):
                logger.error("%s", error, exc_info=error.__cause__)
            return error_response(request, error)
        except Exception as error:
            logger.exception("a request failed inside plano")
            journal.error = PlanoError("The gateway failed on this request.")
            journal.error.__cause__ = error
            return error_response(request, journal.error)

    return guarded


async def _deliver(request: Request, response: Response, send: Send) -> None:
    """Send the response, or the error that came up before its first byte."""
    _name(request, response)
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


async def _close(request: Request, response: Response | None) -> None:
    """Let go of everything the request held, also what a filter dropped on its way."""
    journal = request.journal
    if journal.ended is None:
        journal.ended = perf_counter()
    try:
        if response is not None:
            await response.aclose()
    finally:
        try:
            for release in journal.releases:
                await release()
        finally:
            if journal.closers:
                settle(request, response)
                # Taken out, for they hold the request: what is not in a ring is freed at once, without the collector.
                closers, journal.closers = journal.closers, []
                for closer in closers:
                    awaitable = closer()
                    if awaitable is not None:
                        await awaitable


def _name(request: Request, response: Response) -> None:
    """The request's id for the client: its own if it sent one, else the upstream's, else the one made here."""
    headers = response.headers
    upstreams = dict(headers).get(b"x-request-id")
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
