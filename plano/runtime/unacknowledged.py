"""How much of what was sent the peer has not confirmed.

It is the evidence that a request was never processed, and that a slow peer is still taking one.
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
