"""Endpoints that plano answers by itself, without a model."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from random import randbytes
from typing import Any, TypeAlias

import msgspec

from plano.dialects import CLIENT_CODECS
from plano.error_response import headers_of
from plano.errors import MethodNotAllowed, PlanoError
from plano.faults import log_fault
from plano.types import ClientDialect, Headers, RawHeaders, Receive, Scope, Send

Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


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
            await send_json(send, 200, msgspec.json.encode(found), head=scope["method"] == "HEAD")
        except PlanoError as error:
            await send_error(scope, headers, error, send)


async def send_json(
    send: Send, status: int, body: bytes, *, headers: RawHeaders | None = None, head: bool = False
) -> None:
    """Send a JSON body, or, with `head`, only its headers."""
    raw = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if head else body})


def dialect_of(scope: Scope, headers: Headers) -> ClientDialect:
    """The dialect of a request that asks no model: Anthropic's for its paths and headers, else OpenAI's."""
    return "messages" if "/v1/messages" in scope["path"] or "anthropic-version" in headers else "chat"


def request_id(headers: Headers) -> str:
    """The id that a client gave its request, or a new one if it gave none, or one that must not be logged."""
    given = headers.find(b"x-request-id")
    if given is not None:
        said = given.decode("latin-1")
        if _REQUEST_ID.fullmatch(said):
            return said
    return randbytes(16).hex()  # it only tells requests apart, so it may be guessable


async def send_error(scope: Scope, headers: Headers, error: PlanoError, send: Send) -> None:
    """Send an error for a call to no model: in Anthropic's form for its paths and headers, else in OpenAI's."""
    log_fault(error)
    body = CLIENT_CODECS[dialect_of(scope, headers)].write_error(error)
    await send_json(send, error.status, body, headers=headers_of(error), head=scope["method"] == "HEAD")
