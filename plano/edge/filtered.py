"""The user's filters around the endpoints that plano answers by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter

from plano import request_ids
from plano.edge.answers import ID, Application, dialect_of
from plano.error_response import error_response, failed_response
from plano.errors import PlanoError
from plano.pipeline import Link, fold
from plano.request import Request
from plano.response import Response
from plano.types import ANONYMOUS, Caller, Headers, Message, RawHeaders, Receive, Scope, Send

WhoAsks = Callable[[Scope, Headers], Awaitable[Caller]]

_CALL = "plano.edge.filtered"

CALLER = "plano.caller"
"""The key of a scope under which its caller stands, once that is known."""


class Filtered:
    """An endpoint that asks no model, with the user's filters around it, so that one place can add headers to
    everything that goes out. To those filters such a request has the operation `other` and no body.

    Args:
        endpoint: the endpoint, which answers in one body.
        links: the user's filters.
        who: gives the caller of a scope; raises Unauthenticated.
        strangers: whether the filters see requests without a valid key too.
    """

    def __init__(self, endpoint: Application, links: Sequence[Link], who: WhoAsks, *, strangers: bool) -> None:
        self._endpoint = endpoint
        self._run = fold(links, self._answer)
        self._who = who
        self._strangers = strangers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._endpoint(scope, receive, send)
            return
        headers = Headers(scope["headers"])
        try:
            caller = await self._who(scope, headers)
            scope = {**scope, CALLER: caller}  # the endpoint need not ask again
        except PlanoError:
            if not self._strangers:
                await self._endpoint(scope, receive, send)  # which answers with the error
                return
            caller = ANONYMOUS
        request = Request(
            dialect=dialect_of(scope, headers),
            operation="other",
            headers=headers,
            caller=caller,
            id=request_ids.request_id(headers),
            state={_CALL: (scope, _Replayed(receive))},
        )
        await self._exchange(request, scope, send)

    async def _exchange(self, request: Request, scope: Scope, send: Send) -> None:
        try:
            response = await _whole(request, await self._run(request))
        except Exception as error:
            response = failed_response(request, error)
        if not any(name == b"x-request-id" for name, _ in response.headers):  # no endpoint wrote this one
            request_ids.set_ids(request, response)
        journal = request.journal
        try:
            if journal.outcome is None:
                await _send(response, scope, send)
                journal.outcome = "completed"
        except OSError:  # how a server says that the client has gone
            pass
        finally:
            journal.outcome = journal.outcome or "aborted"
            journal.ended = perf_counter()
            for release in journal.releases:
                await release()

    async def _answer(self, request: Request) -> Response:
        scope, body = request.state[_CALL]
        status, raw, parts = 0, [], []

        async def note(message: Message) -> None:
            nonlocal status, raw
            if message["type"] == "http.response.start":
                status, raw = message["status"], message["headers"]
            else:
                parts.append(message.get("body", b""))

        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        await self._endpoint({**scope, "method": method, ID: request.id}, body.receiver(), note)
        if not status:  # it saw the client leave
            request.journal.outcome = "aborted"
        headers: RawHeaders = [header for header in raw if header[0] != b"content-length"]
        return Response(request, status=status or 500, headers=headers, body=b"".join(parts))


class _Replayed:
    """A request's body as the server gives it, for a filter that asks more than once."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._messages: list[Message] = []

    def receiver(self) -> Receive:
        """ASGI's `receive`, from the first message on."""
        earlier = iter(tuple(self._messages))

        async def receive() -> Message:
            message = next(earlier, None)
            if message is None:
                message = await self._receive()
                self._messages.append(message)
            return message

        return receive


async def _whole(request: Request, response: Response) -> Response:
    """The response with its stream, if it is one, as a body."""
    if response.pieces is None:
        return response
    try:
        return response.with_body(b"".join([piece async for piece in response.pieces]))
    except Exception as error:
        return error_response(request, response.blame(error))


async def _send(response: Response, scope: Scope, send: Send) -> None:
    body, journal = response.body, response.journal
    assert body is not None, "it was made whole"
    journal.note_error(response.error)
    journal.status = response.status
    headers = [*response.headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
