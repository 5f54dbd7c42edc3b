"""The ASGI endpoint for calls to a model: reads the body, runs the pipeline, sends the reply."""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import TypeAlias

from plano import request_ids
from plano.attempt import NOT_ASKED
from plano.edge.body import ClientLeft, Peek, Watch, late_body, peek, read_body, too_large
from plano.edge.coded_body import decoded
from plano.edge.own_server import FastPath, fast_path
from plano.edge.sender import send_end, send_response, sent_at_once
from plano.error_response import error_response, failed_response
from plano.errors import (
    GatewayFailed,
    GatewayStopping,
    MethodNotAllowed,
    NotFound,
    PlanoError,
    Unauthenticated,
    UpstreamError,
    forget_frames,
)
from plano.journal import Journal
from plano.losses import Loss
from plano.observability.finished_requests import FinishedRequests
from plano.observability.usage import settle_usage
from plano.operations import OPERATIONS
from plano.pipeline import CallNext
from plano.request import Request
from plano.response import Response
from plano.types import ANONYMOUS, Caller, ClientDialect, Headers, Receive, Scope, Send

CallerOf: TypeAlias = Callable[[Scope], Caller | Awaitable[Caller | None] | None]
"""A host's own authentication: the caller of an ASGI scope, or None to turn the request away with a 401."""

_DROPPED = b"x-plano-dropped"
_MODEL = b"x-plano-model"
logger = logging.getLogger("plano")

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_LONGEST_HEADER = 2000


_NOTHING_ASKED = Peek()


class Ask:
    """An endpoint that asks a model: body in, pipeline, reply out.

    Args:
        run: the folded pipeline, with `intake` in it.
        body_limit: bytes.
        body_deadline: seconds for a body to arrive.
        strict: whether a request without `x-plano-strict` is strict.
        caller_of: the host's own authentication, if it has one.
        admit: rejects a request by its headers, before its body is read, if only a key can admit it; else None.
        finished_requests: takes each request when it is over.
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
        finished_requests: FinishedRequests,
    ) -> None:
        self._finished_requests = finished_requests
        self._dialect = dialect
        self._operation = operation
        self._streams = OPERATIONS[operation].replies
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
        else:  # the body is there, and the server is the first to know that the client left
            watch = server
            server.watch()
        request: Request | None = None
        response: Response | None = None
        try:
            if whole is None or self._caller_of is not None or scope["method"] != "POST":
                request = await self._take_in(scope, receive, journal, whole, slow)
            else:
                request = self._request(Headers(scope["headers"]), journal, whole)
            try:
                response = await self._run(request)
            except Exception as error:
                response = failed_response(request, error)
            _note(request, response)
            if response.body is None:
                await _deliver(response, send)
            elif server is None or not sent_at_once(response, response.body, journal, server):
                await send_response(response, send)
        except ClientLeft:
            return
        except asyncio.CancelledError:
            journal.outcome = "aborted"
            if not watch.gone:  # the server stops, or the application around this one cancelled it
                if request is not None:
                    await _break_off(request, response, send)
                raise
        except OSError:  # a server's way to say that the client left during a send
            journal.outcome = "aborted"
        finally:
            watch.unwatch()
            if request is not None:
                if journal.ended is None:
                    journal.ended = perf_counter()
                try:
                    if journal.releases or (response is not None and response.holds):
                        await _let_go(request, response)
                finally:
                    self._finished_requests.add(request, response, scope, watch.loop)

    async def _take_in(
        self, scope: Scope, receive: Receive, journal: Journal, whole: bytes | None, slow: Watch | None
    ) -> Request:
        """The request, once its body has come and the host has said whose it is."""
        headers = Headers(scope["headers"])
        caller = ANONYMOUS
        refusal: PlanoError | None = None
        try:
            if scope["method"] != "POST":
                if OPERATIONS[self._operation].among_ids:
                    raise NotFound(f"There is nothing at {scope['path'][:200]}.")
                raise MethodNotAllowed("Use POST here.", allow="POST", status=_status_of_a_wrong_method(headers))
            if whole is None:
                if self._admit is not None:
                    self._admit(headers)  # a stranger's body is not read; the auth filter checks again
                whole = await read_body(receive, headers, limit=self._body_limit)
            if slow is not None:
                slow.arrived()
            self._note_body(journal, whole)
            if self._caller_of is not None:
                caller = await caller_from(self._caller_of, scope)
        except PlanoError as error:
            refusal = error
        except asyncio.CancelledError:
            if slow is None or not slow.late:
                raise
            slow.forgive()
            refusal = late_body(self._body_deadline)
        if refusal is not None and slow is not None:
            slow.arrived()
        return self._request(headers, journal, whole or b"", caller, refusal)

    def _note_body(self, journal: Journal, body: bytes) -> None:
        """Note that the body is there. Raises TooLarge."""
        if len(body) > self._body_limit:
            raise too_large(self._body_limit)
        journal.received = perf_counter()
        journal.bytes_in = len(body)

    def _decoded(self, headers: Headers, journal: Journal, body: bytes) -> tuple[Headers, bytes]:
        """See `plano.edge.coded_body`. Nothing is inflated for a stranger, because that costs more than to send it."""
        if self._admit is not None:
            self._admit(headers)
        headers, body = decoded(headers, body, limit=self._body_limit)
        journal.bytes_in = len(body)
        return headers, body

    def _request(
        self,
        headers: Headers,
        journal: Journal,
        body: bytes,
        caller: Caller = ANONYMOUS,
        refusal: PlanoError | None = None,
    ) -> Request:
        """The request. A fault in its body is kept in `refusal`, so that metrics see the request too."""
        asked = _NOTHING_ASKED
        if refusal is None:
            try:
                if journal.received is None:
                    self._note_body(journal, body)
                if headers.find(b"content-encoding") is not None:
                    headers, body = self._decoded(headers, journal, body)
                asked, body = peek(body)
                journal.asked = asked.model
            except PlanoError as error:
                refusal = error
        if refusal is not None:
            forget_frames(refusal)
        strict = headers.find(b"x-plano-strict")
        return Request(
            dialect=self._dialect,
            operation=self._operation,
            raw=body,
            raw_model=asked.model,
            model=asked.model,
            stream=bool(asked.stream) and self._streams,
            headers=headers,
            caller=caller,
            id=request_ids.request_id(headers),
            strict=self._strict if strict is None else strict.lower() == b"true",
            fallbacks=asked.fallbacks,
            refusal=refusal,
            journal=journal,
        )


def _note(request: Request, response: Response) -> None:
    """Note which attempt answered, or what the client is told instead, and set the headers that name the model, the
    request and its losses."""
    journal = request.journal
    attempt = response.attempt
    if attempt is not None:
        journal.answer = attempt
        if attempt.target is not None:
            response.headers.append((_MODEL, attempt.target.name.encode("ascii", "replace")))
    elif journal.answer.failure is not None and not isinstance(response.error, UpstreamError):
        # The last attempt failed, and a filter answers in its place, or another was refused before it was sent.
        journal.answer = NOT_ASKED
    if response.error is not None or journal.error is not None:
        journal.note_error(response.error)
    request_ids.set_ids(request, response)
    if journal.told:
        response.headers += journal.told
    losses = (*journal.answer.losses, *response.lost) if response.lost else journal.answer.losses
    if losses:
        _report(response, losses)


async def _break_off(request: Request, response: Response | None, send: Send) -> None:
    """Tell the client that its request was cancelled: in place of a reply, or at the end of what it has of a stream."""
    error = GatewayStopping()
    with suppress(OSError, RuntimeError):  # the client has left, or has part of a reply that is no stream
        if response is None or not request.journal.bytes_out:
            told = error_response(request, error)
            _note(request, told)
            await send_response(told, send)
        elif response.body is None:
            await send_end(response, error, send)


async def _let_go(request: Request, response: Response | None) -> None:
    """Release everything that the request held, responses that a filter dropped included."""
    try:
        if response is not None and response.holds:
            if response.watched:
                settle_usage(request, response)  # its closers may read its usage
            await response.aclose()
    finally:
        journal = request.journal
        while journal.releases:  # to release one may add another, of a try that has just answered
            releases, journal.releases = journal.releases, ()
            for release in releases:
                try:
                    await release()
                except Exception:  # one that fails does not keep the others from being let go of
                    logger.exception("a connection to an upstream could not be let go of")


async def caller_from(caller_of: CallerOf, scope: Scope) -> Caller:
    """The caller that the host's own authentication names.

    Raises:
        Unauthenticated: it names nobody.
        GatewayFailed: it raised an exception that is not a PlanoError, or returned something that is not a Caller.
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
    """The link that raises the fault in a request's body: below metrics, above everything else."""
    if request.refusal is not None:
        raise request.refusal
    return call_next(request)


async def _deliver(response: Response, send: Send) -> None:
    """Send a stream, or an error response if it breaks before its first byte."""
    try:
        await send_response(response, send)
    except PlanoError as error:
        await _deliver_error(response, error, send)
    except (asyncio.CancelledError, OSError):
        raise
    except Exception as error:
        await _deliver_error(response, response.blame(error), send)


async def _deliver_error(response: Response, error: PlanoError, send: Send) -> None:
    """Send an error in place of a stream, with the headers that the stream was to have."""
    response.journal.note_error(error)
    headers = [header for header in response.headers if header[0] not in _OF_THE_STREAM]
    await send_response(error_response(response.request, error, headers=headers), send)


_OF_THE_STREAM = frozenset({b"content-type", b"retry-after"})


def _report(response: Response, losses: Sequence[Loss]) -> None:
    """Name the losses so far in a header. Those of a stream come too late for it, and are only counted."""
    fields = ", ".join(loss.field for loss in losses)
    fields = _UNPRINTABLE.sub("?", fields)  # some hold names that a client chose
    response.headers.append((_DROPPED, fields[:_LONGEST_HEADER].encode()))


def _status_of_a_wrong_method(headers: Headers) -> int:
    """The status for any method but POST. Codex tries seven WebSockets in turn, unless a 426 refuses the first."""
    return 426 if (headers.get("upgrade") or "").lower() == "websocket" else 405
