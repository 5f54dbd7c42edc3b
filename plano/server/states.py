"""The states of a connection, of the request that is on it and of the response to that request.

The three move independently, as RFC 9112 lets them: a response may be complete before its request is (section 9.3),
and bytes after a complete request wait until that is answered (section 9.3.2). Each class below draws its moves,
a row for each state and a column for each event. A word in capitals is the next state. `-` means that nothing happens,
`lost` that the connection is cut off, and `error` that the application is told of its mistake and nothing else changes.
A cell with `.` cannot happen.
"""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """The event that a connection waits for.

    ======= ======= ======= ======== ======= ======= =======
    state   bytes   head    complete over    eof     overdue
    ======= ======= ======= ======== ======= ======= =======
    REST    HEAD    BUSY    .        CLOSING CLOSING CLOSING
    HEAD    HEAD    BUSY    .        CLOSING CLOSING CLOSING
    BUSY    -       .       REST     CLOSING CLOSING lost
    CLOSING -       .       .        .       -       lost
    ======= ======= ======= ======== ======= ======= =======

    Events:
        bytes: some of a head has come, or in BUSY anything.
        head: a head is complete.
        complete: request and response are, and both sides want to go on (RFC 9112 section 9.3).
        over: the response is complete and the connection may not go on, or the request is refused.
        eof: the client sends no more. It may only have closed its side, but is not served further.
        overdue: a deadline has passed. In REST the connection is closed; in HEAD the client is told so (RFC 9110
            section 15.5.9); in BUSY and CLOSING it is cut off, unless the client has taken some of the waiting bytes.
    """

    REST = "a request"
    HEAD = "the rest of a head"
    BUSY = "the application"
    CLOSING = "the end"


class RequestState(Enum):
    """The part of a request that has come, and whether the application has it.

    ======== ======== ======= ======== ======
    state    piece    last    receive  whole
    ======== ======== ======= ======== ======
    ARRIVING ARRIVING ARRIVED ARRIVING -
    ARRIVED  .        .       TAKEN    TAKEN
    TAKEN    .        .       -        -
    ======== ======== ======= ======== ======

    Events:
        piece: some of the body has come, and more is to come.
        last: the end of the body has come (RFC 9112 section 6.3).
        receive: the application asks for more, and gets the bytes that have come.
        whole: the application asks for all of the body, and is given it if it has come.
    """

    ARRIVING = "some of it is to come"
    ARRIVED = "all of it is here"
    TAKEN = "the application has all of it"


class ResponseState(Enum):
    """The part of a response that the application has given.

    ======== ======== ======== ======== ======== ======== ======== ========
    state    start    more     last     reply    push     leave    end
    ======== ======== ======== ======== ======== ======== ======== ========
    AWAITED  HELD     error    error    COMPLETE -        GONE     COMPLETE
    HELD     error    BEGUN    COMPLETE -        -        GONE     COMPLETE
    BEGUN    error    BEGUN    COMPLETE -        BEGUN    GONE     GONE
    COMPLETE error    error    error    -        -        .        -
    GONE     error    error    error    -        -        .        -
    ======== ======== ======== ======== ======== ======== ======== ========

    Events:
        start: `http.response.start`. The head waits for some of the body, as ASGI asks, so that an application that
            fails in between can still be answered for.
        more, last: `http.response.body`, with and without `more_body`.
        reply, push: the verbs of `plano.edge.own_server`. Where `push` has nothing to do, or the body does not go in
            chunks, it says so.
        leave: the client has left, or its request turned out to be none.
        end: the application returned or raised. A head that is not out becomes a 500. A body that is not complete is
            broken off, so that the client cannot take it for complete (RFC 9112 section 8).
    """

    AWAITED = "nothing"
    HELD = "the head, which is held"
    BEGUN = "the head, which is out, and perhaps some of the body"
    COMPLETE = "all of it"
    GONE = "too late: nobody takes any more"
