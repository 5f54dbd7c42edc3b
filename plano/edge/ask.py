"""The ASGI endpoints: one class for what goes through the pipeline, one for what plano answers by itself."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import TypeAlias

from plano.attempt import NOT_ASKED
from plano.edge.answers import request_id
from plano.edge.body import ClientLeft, Peek, Watch, late_body, peek, read_body, too_large
from plano.edge.own_server import FastPath, fast_path
from plano.edge.sender import send_response, sent_at_once
from plano.error_response import failed_response
from plano.errors import GatewayFailed, MethodNotAllowed, PlanoError, Unauthenticated, forget_frames
from plano.journal import Journal
from plano.losses import Loss
from plano.observability.finished import Finished
from plano.observability.usage import settle
from plano.pipeline import CallNext
from plano.request import Request
from plano.response import Response
from plano.types import ANONYMOUS, Caller, ClientDialect, Headers, Receive, Scope, Send

CallerOf: TypeAlias = Callable[[Scope], Caller | Awaitable[Caller | None] | None]
"""A host's own authentication: the caller of an ASGI scope, or None to turn the request away with a 401."""

_DROPPED = b"x-plano-dropped"
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_LONGEST_HEADER = 2000


class Ask:
    """An endpoint that asks a model: body in, pipeline, reply out.

    Args:
        run: the folded pipeline, with `intake` in it.
        body_limit: bytes.
        body_deadline: seconds for a body to arrive.
        strict: whether requests are strict that do not say.
        caller_of: the host's own authentication, if it has one.
        admit: raises for headers that no caller sends, where nothing but a caller's key can let a request in.
        finished: takes each request when it is over.
    """

    def __init__(
        self,
        dialect: ClientDialect,
        operation: str,
        run: CallNext,
        *,
        body_limit: int,
        body_deadline: float,
        strict: bool,
        caller_of: CallerOf | None,
        admit: Callable[[Headers], Caller] | None,
        finished: Finished,
    ) -> None:
        self._finished = finished
        self._dialect = dialect
        self._operation = operation
        self._run = run
        self._body_limit = body_limit
        self._body_deadline = body_deadline
        self._strict = strict
        self._caller_of = caller_of
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        journal = Journal(self._dialect)
        server = fast_path(send, receive)
        whole = None if server is None else server.whole()
        slow: Watch | None = None
        watch: Watch | FastPath
        if server is None or whole is None:
            watch = slow = Watch(receive, journal.started + self._body_deadline)
        else:  # there is nothing to wait for but the client's leaving, which the server knows first
            watch = server
            server.watch()
        request: Request | None = None
        response: Response | None = None
        try:
            request = await self._take_in(scope, receive, journal, whole, slow)
            response = await self._answered(request)
            await _send(request, response, send, server)
        except ClientLeft:
            return
        except asyncio.CancelledError:
            journal.outcome = "aborted"
            if not watch.gone:
                raise
        except OSError:  # how a server says that the client has gone while something is sent
            journal.outcome = "aborted"
        finally:
            watch.unwatch()
            if request is not None:
                await self._let_go(request, response, scope, watch.loop)

    async def _take_in(
        self, scope: Scope, receive: Receive, journal: Journal, whole: bytes | None, slow: Watch | None
    ) -> Request:
        """The request, with a refusal in it where something is wrong with its body: metrics are to see it too."""
        headers = Headers(scope["headers"])
        caller, asked, body = ANONYMOUS, _NOTHING_ASKED, b""
        refusal: PlanoError | None = None
        try:
            body = await self._body(scope, receive, headers, whole)
            if slow is not None:
                slow.arrived()
            journal.received = perf_counter()
            journal.bytes_in = len(body)
            if self._caller_of is not None:
                caller = await caller_from(self._caller_of, scope)
            asked, body = peek(body)
        except PlanoError as error:
            refusal = error
            forget_frames(error)
        except asyncio.CancelledError:
            if slow is None or not slow.late:
                raise
            slow.forgive()
            refusal = late_body(self._body_deadline)
        if slow is not None and refusal is not None:
            slow.arrived()
        strict = headers.find(b"x-plano-strict")
        return Request(
            dialect=self._dialect,
            operation=self._operation,
            raw=body,
            raw_model=asked.model,
            model=asked.model,
            stream=bool(asked.stream),
            headers=headers,
            caller=caller,
            id=request_id(headers),
            strict=self._strict if strict is None else strict.lower() == b"true",
            refusal=refusal,
            journal=journal,
        )

    async def _body(self, scope: Scope, receive: Receive, headers: Headers, whole: bytes | None) -> bytes:
        if scope["method"] != "POST":
            raise MethodNotAllowed("Use POST here.", allow="POST", status=_status_of_a_wrong_method(headers))
        if whole is None:
            if self._admit is not None:
                self._admit(headers)  # nobody else's body is taken in; the pipeline asks again
            return await read_body(receive, headers, limit=self._body_limit)
        if len(whole) > self._body_limit:
            raise too_large(self._body_limit)
        return whole

    async def _answered(self, request: Request) -> Response:
        try:
            response = await self._run(request)
        except Exception as error:
            response = failed_response(request, error)
        journal = request.journal
        if response.attempt is not None:
            journal.answer = response.attempt
        elif response.error is None and journal.answer.failure is not None:  # a filter answers in its place
            journal.answer = NOT_ASKED
        journal.note_error(response.error)
        _name(request, response)
        losses = (*journal.answer.losses, *response.lost) if response.lost else journal.answer.losses
        if losses:
            _report(response, losses)
        return response

    async def _let_go(
        self, request: Request, response: Response | None, scope: Scope, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Let go of everything the request held, also of what a filter dropped on its way, and count it."""
        journal = request.journal
        if journal.ended is None:
            journal.ended = perf_counter()
        try:
            if response is not None and response.holds:
                if response.watched:
                    settle(request, response)  # those who are told at the end may ask for its usage
                await response.aclose()
        finally:
            try:
                for release in journal.releases:
                    await release()
            finally:
                self._finished.add(request, response, scope, loop)


_NOTHING_ASKED = Peek()


async def _send(request: Request, response: Response, send: Send, server: FastPath | None) -> None:
    body = response.body
    if body is None:
        await _deliver(request, response, send)
    elif server is None or not sent_at_once(response, body, request.journal, server):
        await send_response(response, send)


async def caller_from(caller_of: CallerOf, scope: Scope) -> Caller:
    """The caller that the host says it is.

    Raises:
        Unauthenticated: it says nobody.
        GatewayFailed: it raised what is no PlanoError, or gave what is no Caller.
    """
    try:
        caller = caller_of(scope)
        if inspect.isawaitable(caller):
            caller = await caller
        assert caller is None or isinstance(caller, Caller), f"`caller` gave a {type(caller).__name__}, not a Caller"
    except PlanoError:
        raise
    except Exception as error:
        raise GatewayFailed() from error
    if caller is None:
        raise Unauthenticated("You are not signed in.")
    return caller


def intake(request: Request, call_next: CallNext) -> Awaitable[Response]:
    """The link where what is wrong with a request's body is raised: below metrics, above all else."""
    if request.refusal is not None:
        raise request.refusal
    return call_next(request)


async def _deliver(request: Request, response: Response, send: Send) -> None:
    """Send a stream, or the error that came up before its first byte."""
    try:
        await send_response(response, send)
    except PlanoError as error:
        await _deliver_error(request, error, send)
    except (asyncio.CancelledError, OSError):
        raise
    except Exception as error:
        await _deliver_error(request, response.blame(error), send)


async def _deliver_error(request: Request, error: PlanoError, send: Send) -> None:
    request.journal.note_error(error)
    answer = failed_response(request, error)
    _name(request, answer)
    await send_response(answer, send)


def _report(response: Response, losses: Sequence[Loss]) -> None:
    """Name the losses so far in a header; those of a stream come too late for it, and are only counted."""
    fields = ", ".join(loss.field for loss in losses)
    fields = _UNPRINTABLE.sub("?", fields)  # some hold names a client chose
    response.headers.append((_DROPPED, fields[:_LONGEST_HEADER].encode()))


def _name(request: Request, response: Response) -> None:
    """The request's id for the client: its own if it sent one, else the upstream's, else the one made here."""
    headers = response.headers
    for name, upstreams in headers:
        if name == b"x-request-id":
            if response.attempt is not None:
                response.attempt.note_id(upstreams)
            if request.headers.find(b"x-request-id") is not None:
                response.set_header(b"x-request-id", request.id.encode())
                response.set_header(b"x-plano-upstream-request-id", upstreams)
            return
    headers.append((b"x-request-id", request.id.encode()))


def _status_of_a_wrong_method(headers: Headers) -> int:
    """Codex tries seven WebSockets one after the other, unless this tells it that there are none."""
    return 426 if (headers.get("upgrade") or "").lower() == "websocket" else 405
