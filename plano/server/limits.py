"""The limits on the cost of one connection."""

from __future__ import annotations

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """Bounds of one connection. The head's are those of most servers (Apache: 100 fields, Node: 16 KB, h11: 16 KB).

    Attributes:
        fields: header fields of a request.
        head_bytes: request line and header fields; also chunk extensions and trailers between two pieces of body.
        head_seconds: from a head's first byte to its last.
        unread_bytes: reading pauses when more than this waits for the application. One more read may be on top: 256 KiB
            on either loop.
        write_seconds: the longest pause in which a client takes none of the bytes that wait for it.
        linger_seconds: from the last answer until a client that is still sending is cut off.
    """

    fields: int = 100
    head_bytes: int = 64 * 1024
    head_seconds: float = 30.0
    unread_bytes: int = 64 * 1024
    write_seconds: float = 60.0
    linger_seconds: float = 5.0


LIMITS = Limits()
