"""The edge: reading a request's body within bounds, and noticing when a client leaves."""

from __future__ import annotations

import asyncio

import msgspec
from msgspec import Struct

from plano.dialects import reading
from plano.errors import BodyTimeout, InvalidRequest, TooLarge
from plano.types import Headers, Receive


class ClientLeft(Exception):
    """The client closed the connection; there is nobody to answer."""


class Peek(Struct, frozen=True, gc=False):
    """What is read of every body before anything else is."""

    model: str | None = None
    stream: bool | None = None


_peek = msgspec.json.Decoder(Peek)

_ROOM = 64
"""Stack frames. What is nested so deeply that it can be read here, can be read this much further down too: the
depth that Python's recursion limit leaves is shared between calls and JSON."""

_SHALLOW = 1000
"""Bytes. A shorter body is not nested deeply enough to matter."""


def peek(body: bytes) -> Peek:
    """Model and stream flag of a body of any dialect.

    Raises:
        InvalidRequest: it is not a JSON object in UTF-8, or one of the two is of the wrong type.
    """
    found = _with_room(body, _ROOM if len(body) > _SHALLOW else 0)
    if not body.isascii():  # what the decoder skips it does not check
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(
                f"The request body is not valid UTF-8: {error.reason} at byte {error.start}."
            ) from None
    return found


def _with_room(body: bytes, room: int) -> Peek:
    return _with_room(body, room - 1) if room else reading.request(_peek, body)


async def read_body(receive: Receive, headers: Headers, *, limit: int, deadline: float) -> bytes:
    """The whole body.

    Args:
        limit: bytes.
        deadline: seconds for all of it to arrive.

    Raises:
        TooLarge: it is longer than `limit`, or says that it will be.
        BodyTimeout: it did not arrive in time.
        ClientLeft: the client left before it was complete.
    """
    announced = headers.find(b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    task, late = asyncio.current_task(), False

    def expire() -> None:
        nonlocal late
        late = True
        if task is not None:
            task.cancel()

    # asyncio.timeout() does the same for three times the price, on every request.
    timer = asyncio.get_running_loop().call_later(deadline, expire)
    try:
        return await _read(receive, limit)
    except asyncio.CancelledError:
        if not late or task is None:
            raise
        task.uncancel()
        raise BodyTimeout(f"The request body did not arrive within {deadline:g} seconds.") from None
    finally:
        timer.cancel()


async def _read(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return b"".join([*parts, part]) if parts else part
        parts.append(part)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The request body is larger than the limit of {limit} bytes.")


class Departure:
    """Cancels the task that answers when its client leaves.

    Most replies are over before anybody could leave, so a timer comes first, and only then a task that
    waits for the server to say `http.disconnect`.
    """

    __slots__ = ("_receive", "_task", "_timer", "_waiter", "happened")

    def __init__(self, receive: Receive, *, patience: float = 0.1) -> None:
        self.happened = False
        self._receive = receive
        self._task = asyncio.current_task()
        self._waiter: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(patience, self._start)

    def stop(self) -> None:
        """Watch no longer."""
        self._timer.cancel()
        if self._waiter is not None:
            self._waiter.cancel()
        if self.happened and self._task is not None:
            self._task.uncancel()

    def _start(self) -> None:
        self._waiter = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                break
        self.happened = True
        if self._task is not None:
            self._task.cancel()
