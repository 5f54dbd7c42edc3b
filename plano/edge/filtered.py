"""The user's filters around the endpoints that plano answers by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from plano.edge.answers import Application, dialect_of, request_id
from plano.error_response import failed_response
from plano.errors import PlanoError
from plano.pipeline import Link, fold
from plano.request import Request
from plano.response import Response
from plano.types import ANONYMOUS, Caller, Headers, Message, RawHeaders, Receive, Scope, Send

WhoAsks = Callable[[Scope, Headers], Awaitable[Caller]]

_CALL = "plano.edge.filtered"


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
            id=request_id(headers),
            state={_CALL: (scope, receive)},
        )
        try:
            response = await self._run(request)
        except Exception as error:
            response = failed_response(request, error)
        try:
            await _send(response, scope, send)
        finally:
            await response.aclose()

    async def _answer(self, request: Request) -> Response:
        scope, receive = request.state[_CALL]
        status, raw, parts = 500, [], []

        async def note(message: Message) -> None:
            nonlocal status, raw
            if message["type"] == "http.response.start":
                status, raw = message["status"], message["headers"]
            else:
                parts.append(message.get("body", b""))

        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        await self._endpoint({**scope, "method": method}, receive, note)
        headers: RawHeaders = [header for header in raw if header[0] != b"content-length"]
        return Response(request, status=status, headers=headers, body=b"".join(parts))


async def _send(response: Response, scope: Scope, send: Send) -> None:
    body = response.body
    if body is None:
        assert response.pieces is not None, "a response has either a body or pieces"
        body = b"".join([piece async for piece in response.pieces])
    headers = [*response.headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
