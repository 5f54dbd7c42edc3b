"""Whether something has come over a connection that the event loop has not read yet.

At rest nothing should come. What does is the end of the connection, bare or in TLS's words, or an answer to what was
never asked, and need not be looked at.
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
        """What tells, given 0, whether there is anything; to be asked only while `transport` is open.

        A poll takes one or two microseconds; a `recv` that peeks takes four more, because its usual answer is an
        exception.
        """
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        return poll.poll
