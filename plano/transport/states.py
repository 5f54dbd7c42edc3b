"""The states of a connection to an upstream."""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """The event that a connection waits for, which decides the meaning of any other event.

    Each row is a state and each column an event. A word in capitals is the next state. Any other word is the error that
    the waiting task gets, and then the connection is gone. `closed` means that it is gone without an error.

    ======= ======= ======= ============ ========== ============
    state   bytes   last    eof          reset      overdue
    ======= ======= ======= ============ ========== ============
    REST    closed  .       closed       closed     closed
    WRITE   BODY    closed  Disconnected WriteError WriteTimeout
    HEAD    BODY    REST    Disconnected ReadError  ReadTimeout
    BODY    BODY    REST    Disconnected ReadError  ReadTimeout
    ======= ======= ======= ============ ========== ============

    A request leads from REST to HEAD, and to WRITE and back if the peer takes less than it is sent.

    Events:
        bytes: some of a reply has come. In REST there was no request, so it is no reply (RFC 9112 section 9.2). In
            WRITE the peer may have stopped taking the request, so an error ends the sending (section 9.5).
        last: the rest of the reply has come. In WRITE the connection cannot be used again, because the peer still
            expects the rest of the request.
        eof: the peer sends no more. A body without a length is complete by that (section 6.3, rule 8), another one is
            not (section 8). In HEAD on a connection that has served before, the error is Stale, and the request may be
            sent again (section 9.3.1).
        reset: the peer broke the connection off. The error is Stale in the same case as for eof.
        overdue: a deadline has passed. In WRITE a peer is late only if it has taken nothing meanwhile.
    """

    REST = "a request"
    WRITE = "the peer to take the request"
    HEAD = "the head of the reply"
    BODY = "more of the reply"
