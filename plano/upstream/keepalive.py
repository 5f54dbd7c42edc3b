"""Comments that keep a stream's connection open while no target has answered yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import suppress
from typing import Any

from plano.dialects import CODECS
from plano.request import Request
from plano.response import EVENT_STREAM, Response
from plano.runtime.clock import Clock, done_within

COMMENT = b": keep-alive\n\n"
"""A line that every reader of server-sent events skips (WHATWG HTML, section "Server-sent events")."""


async def kept_alive(request: Request, answer: Coroutine[Any, Any, Response], seconds: float, clock: Clock) -> Response:
    """The answer, if it comes within `seconds`. Otherwise a stream that sends a comment every `seconds`, and then the
    answer's pieces.

    After the first comment the status is 200, so a failure ends the stream with an error event.
    """
    task = asyncio.ensure_future(answer)
    try:
        done = await done_within(clock, seconds, {task})
    except BaseException:
        await _broken_off(task)
        raise
    if done:
        return task.result()
    headers = [(b"content-type", EVENT_STREAM)]
    return Response(request, headers=headers, pieces=_pieces(task, seconds, clock), release=lambda: _broken_off(task))


async def _pieces(task: asyncio.Future[Response], seconds: float, clock: Clock) -> AsyncGenerator[bytes, None]:
    yield COMMENT
    while not await done_within(clock, seconds, {task}):
        yield COMMENT
    response = task.result()
    response.request.journal.answer = response.attempt or response.request.journal.answer
    if response.body is not None:
        raise response.error or CODECS[response.dialect].read_error(response.status, response.body)
    assert response.pieces is not None, "a response has either a body or pieces"
    async for piece in response.pieces:
        yield piece


async def _broken_off(task: asyncio.Future[Response]) -> None:
    """Ends the tries of a request that is over."""
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await (await task).aclose()
