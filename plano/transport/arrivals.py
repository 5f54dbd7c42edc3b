"""A look at whether bytes have come over a connection that the event loop has not read yet.

At rest none should come. Those that do are the end of the connection, bare or in TLS's words, or an answer to no
request, and need not be read.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

if sys.platform == "win32":

    def arrivals(transport: asyncio.Transport) -> Callable[[int], object]:
        """Not known on this system."""
        return lambda _: None

else:
    import select

    def arrivals(transport: asyncio.Transport) -> Callable[[int], object]:
        """A function that says, given 0, whether anything has come. It may be called only while `transport` is open.

        A poll takes one or two microseconds. A `recv` that peeks takes four more, because its usual answer is an
        exception.
        """
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        return poll.poll
