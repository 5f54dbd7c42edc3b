"""The bytes of those that were sent which the peer has not confirmed.

They are the evidence that a request was never processed, and that a slow peer is still taking one.
"""

from __future__ import annotations

import asyncio
import sys

if sys.platform == "linux":
    import fcntl
    import struct
    from termios import TIOCOUTQ  # the same number as SIOCOUTQ, see tcp(7)

    def unacknowledged(transport: asyncio.Transport) -> int | None:
        """Bytes that wait in the transport, or that the peer's system has not acknowledged; None if not known."""
        queued = bytearray(4)
        try:
            fcntl.ioctl(transport.get_extra_info("socket").fileno(), TIOCOUTQ, queued)
        except OSError:
            return None
        return int(struct.unpack("i", queued)[0]) + transport.get_write_buffer_size()

else:

    def unacknowledged(transport: asyncio.Transport) -> int | None:
        """Not known on this system."""
        return None


def untaken(transport: asyncio.Transport) -> int:
    """Bytes that the peer has still to take. The system takes many at once and then none for long, so it is asked too.

    Where the system does not tell, those that wait in the transport.
    """
    left = unacknowledged(transport)
    return transport.get_write_buffer_size() if left is None else left


def still_taking(transport: asyncio.Transport, before: int) -> int | None:
    """Bytes that the peer has still to take; None if it has taken none since there were `before`.

    Slow is not stuck: a peer that takes anything is given more time.
    """
    left = untaken(transport)
    return left if left < before else None
