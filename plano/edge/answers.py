"""Endpoints that plano answers by itself, without a model."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec

from plano.dialects import CLIENT_CODECS
from plano.error_response import headers_of
from plano.errors import MethodNotAllowed, PlanoError
from plano.faults import log_fault
from plano.request_ids import id_headers, request_id
from plano.types import ClientDialect, Headers, RawHeaders, Receive, Scope, Send

Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

ID = "plano.request_id"
"""The key of a scope under which its request's id stands, once it has one."""


class Answer:
    """An endpoint that plano answers by itself.

    Args:
        answer: makes, from scope and headers, the value to send as JSON; raises a PlanoError for an error.
        methods: the HTTP methods that it takes.
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
            await send_json(scope, send, 200, msgspec.json.encode(found))
        except PlanoError as error:
            await send_error(scope, headers, error, send)


async def send_json(
    scope: Scope, send: Send, status: int, body: bytes, *, headers: RawHeaders | None = None, id: str | None = None
) -> None:
    """Send a JSON body, or, for HEAD, only its headers. `id` is the request's, if that is known already."""
    asked = Headers(scope["headers"])
    ids = id_headers(dialect_of(scope, asked), _id_of(scope, asked) if id is None else id)
    length = (b"content-length", b"%d" % len(body))
    raw = [(b"content-type", b"application/json"), length, *ids, *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _id_of(scope: Scope, headers: Headers) -> str:
    """The request's id; a new one where neither the client nor the links around this endpoint gave it one."""
    given: str | None = scope.get(ID)
    return request_id(headers) if given is None else given


def dialect_of(scope: Scope, headers: Headers) -> ClientDialect:
    """The dialect of a request that asks no model: Anthropic's for its paths and headers, else OpenAI's."""
    return "messages" if "/v1/messages" in scope["path"] or "anthropic-version" in headers else "chat"


async def send_error(scope: Scope, headers: Headers, error: PlanoError, send: Send) -> None:
    """Send an error for a call to no model: in Anthropic's form for its paths and headers, else in OpenAI's."""
    log_fault(error)
    id = _id_of(scope, headers)
    body = CLIENT_CODECS[dialect_of(scope, headers)].write_error(error, request_id=id)
    await send_json(scope, send, error.status, body, headers=headers_of(error), id=id)
