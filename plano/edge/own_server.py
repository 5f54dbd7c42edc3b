"""The fast path to plano's own server: verbs that need not be awaited, if no middleware stands in between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import MethodType
from typing import Protocol, cast

from plano.types import Receive, Send


class FastPath(Protocol):
    """An exchange of `plano.server`, with the verbs that it has beside `receive` and `send`.

    Attributes:
        gone: whether the client has left.
        loop: the event loop.
    """

    @property
    def gone(self) -> bool: ...

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    def watch(self) -> None:
        """Cancel the answering task if the client leaves."""

    def unwatch(self) -> None:
        """Stop watching. If the client left, undo the cancellation, because the task has already ended."""

    def whole(self) -> bytes | None:
        """The request's body, if all of it has arrived; else None."""

    def reply(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        """Do the same as `send` for a whole response, if it is of the usual kind. Returns whether it was done.

        Args:
            headers: the headers, without `content-length` and `transfer-encoding`.
        """

    def push(self, body: bytes) -> bool:
        """Do the same as `send` for a piece of a stream, if it needs no waiting. Returns whether it was done."""


def fast_path(send: Send, receive: Receive | None = None) -> FastPath | None:
    """The exchange whose verbs `send` and `receive` are; None if they are another server's or wrapped."""
    # A wrapper may look like the function that it wraps in everything but its type.
    if type(send) is not MethodType or not hasattr(send.__func__, "of_planos_server"):
        return None
    exchange = send.__self__
    if receive is not None and (type(receive) is not MethodType or receive.__self__ is not exchange):
        return None
    return cast(FastPath, exchange)
