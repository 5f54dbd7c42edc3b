"""Counts sent bytes that the peer has not acknowledged.

The count shows that a request was never processed, or that a slow peer is still taking one.
"""

from __future__ import annotations

import asyncio
import sys

if sys.platform == "linux":
    import fcntl
    import struct
    from termios import TIOCOUTQ  # the same number as SIOCOUTQ, see tcp(7)

    def unacknowledged(transport: asyncio.Transport) -> int | None:
        """Bytes that wait in the transport or that the peer's system has not acknowledged; None if not known."""
        queued = bytearray(4)
        try:
            fcntl.ioctl(transport.get_extra_info("socket").fileno(), TIOCOUTQ, queued)
        except OSError:
            return None
        return int(struct.unpack("i", queued)[0]) + transport.get_write_buffer_size()

else:

    def unacknowledged(transport: asyncio.Transport) -> int | None:
        """None, because this system does not tell."""
        return None


def untaken(transport: asyncio.Transport) -> int:
    """Bytes that the peer has still to take.

    The system takes many bytes at once and then none for long, so its count is included. If it does not tell, only the
    bytes that wait in the transport count.
    """
    left = unacknowledged(transport)
    return transport.get_write_buffer_size() if left is None else left


def still_taking(transport: asyncio.Transport, before: int) -> int | None:
    """Bytes that the peer has still to take; None if it has taken none since there were `before`.

    A slow peer is not a stuck one: if it takes anything, it gets more time.
    """
    left = untaken(transport)
    return left if left < before else None
