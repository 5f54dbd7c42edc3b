"""plano's own server, where nothing stands between it and the gateway: what it does that need not be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import MethodType
from typing import Protocol, cast

from plano.types import Receive, Send


class FastPath(Protocol):
    """An exchange of `plano.server`, which has these beside `receive` and `send`.

    Attributes:
        gone: the client has left.
        loop: the event loop.
    """

    @property
    def gone(self) -> bool: ...

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    def watch(self) -> None:
        """From now on the task that answers is cancelled when the client leaves."""

    def unwatch(self) -> None:
        """No longer; a task whose client left has ended by that, and was not cancelled."""

    def whole(self) -> bytes | None:
        """What `receive` would give, if that is all of the request's body; None if it is not."""

    def reply(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        """Does what `send` does for a whole response, if that is of the usual kind; False if it was not done.

        Args:
            headers: without any that say where the body ends.
        """

    def push(self, body: bytes) -> bool:
        """Does what `send` does for a piece of a stream, if that needs no waiting; False if it was not done."""


def fast_path(send: Send, receive: Receive | None = None) -> FastPath | None:
    """The exchange that `send` is of, and `receive` if it is given; None if it is another server's, or something
    stands between."""
    # What wraps a function may look like it in all but its type.
    if type(send) is not MethodType or not hasattr(send.__func__, "of_planos_server"):
        return None
    exchange = send.__self__
    if receive is not None and (type(receive) is not MethodType or receive.__self__ is not exchange):
        return None
    return cast(FastPath, exchange)
