"""Checks whether a connection has received bytes that the event loop has not read yet.

At rest none should come. If some do, they end the connection, with or without TLS, or answer no request, and need not
be read.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

if sys.platform == "win32":

    def arrivals(transport: asyncio.Transport) -> Callable[[int], object]:
        """A function that always says no, because this system cannot tell."""
        return lambda _: None

else:
    import select

    def arrivals(transport: asyncio.Transport) -> Callable[[int], object]:
        """A function that, given 0, returns whether anything has come. Call it only while `transport` is open.

        A poll takes one or two microseconds. A `recv` that peeks takes four more, because its usual answer is an
        exception.
        """
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        return poll.poll
