"""Endpoints that plano answers by itself, without a model."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from plano.dialects import CLIENT_CODECS
from plano.errors import FilterError, GatewayFailed, MethodNotAllowed, PlanoError, StateUnreadable
from plano.types import Headers, RawHeaders, Receive, Scope, Send

logger = logging.getLogger("plano")


def log_fault(error: PlanoError) -> None:
    """Log what is neither the client's fault nor the upstream's, with the traceback of its cause."""
    if isinstance(error, StateUnreadable):
        logger.error("%s (%s)", error, error.__cause__)
    if isinstance(error, FilterError | GatewayFailed):
        logger.error("%s", error, exc_info=error.__cause__)


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
    log_fault(error)
    messages = "/v1/messages" in scope["path"] or "anthropic-version" in headers
    body = CLIENT_CODECS["messages" if messages else "chat"].write_error(error)
    extra = [(b"allow", error.allow.encode())] if isinstance(error, MethodNotAllowed) else []
    if error.retry_after is not None:
        extra.append((b"retry-after", str(max(1, round(error.retry_after))).encode()))
    await send_json(send, error.status, body, headers=extra, head=scope["method"] == "HEAD")
