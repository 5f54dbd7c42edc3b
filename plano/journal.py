"""What happened to one request: filled in along the way, read by metrics, logs and traces when it is over."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Literal, TypeAlias

from plano.conversation import Finish, Loss, Usage
from plano.errors import PlanoError, UpstreamFailure
from plano.provider import Target
from plano.types import ANONYMOUS, Dialect

Outcome: TypeAlias = Literal["completed", "failed", "aborted"]
"""`completed`: the reply went out whole, error replies included. `failed`: a stream broke after it had
begun. `aborted`: the client left first."""


class Journal:
    """One per request, shared by the request, its response and every copy of either.

    All times are `time.perf_counter()` seconds; None means that it did not happen.

    Attributes:
        dialect: the client's.
        caller: who is asking, once the auth filter has said so.
        target: where the request goes, once the alias filter has said so.
        closers: what to call when all is over and everything here is final.
        started: the request's head was read.
        received: its body was there.
        sent: the last attempt was handed to the transport.
        answered: its reply's status and headers were there.
        first_piece: the first piece of its body was there.
        first_token: the first piece with something in it that the model said.
        last_piece: the last one was.
        ended: the last byte went to the client, or the client left.
        waited: seconds in all that upstreams were waited for until there was a response.
        waited_in_stream: seconds in all between asking for a piece of a stream and having it.
        sending: seconds in all that handing bytes to the client's connection took, waiting for it included.
        upstream_dialect: what the upstream was spoken to in.
        upstream_id: what the upstream calls the request, in its `x-request-id`.
        attempts: how often an upstream was asked.
        failures: what went wrong with upstreams: whose, and how (see `plano.errors.UPSTREAM_FAILURES`).
        usage: tokens, once they are known; those in `estimated` (`input`, `output`) nobody said.
        losses: what could not be translated.
        bytes_in, bytes_out: of the bodies, on the client's side.
        releases: what lets go of each upstream connection the request had.
        store_failed: the reply should have been stored, and could not be.
        first, last: the first piece of the upstream's stream and its last few; frames are whole.
        events, bytes_streamed: how many frames the upstream's stream had from its first token on, and bytes.
    """

    __slots__ = (
        "answered",
        "attempts",
        "bytes_in",
        "bytes_out",
        "bytes_streamed",
        "caller",
        "closers",
        "dialect",
        "ended",
        "error",
        "estimated",
        "events",
        "failures",
        "finish",
        "first",
        "first_piece",
        "first_token",
        "last",
        "last_piece",
        "losses",
        "outcome",
        "received",
        "releases",
        "sending",
        "sent",
        "started",
        "status",
        "store_failed",
        "target",
        "upstream_dialect",
        "upstream_id",
        "usage",
        "waited",
        "waited_in_stream",
    )

    def __init__(self, dialect: Dialect = "chat") -> None:
        self.dialect: Dialect = dialect
        self.caller = ANONYMOUS
        self.target: Target | None = None
        self.closers: list[Callable[[], Awaitable[None] | None]] = []
        self.started = perf_counter()
        self.received: float | None = None
        self.sent: float | None = None
        self.answered: float | None = None
        self.first_piece: float | None = None
        self.first_token: float | None = None
        self.last_piece: float | None = None
        self.ended: float | None = None
        self.waited = 0.0
        self.waited_in_stream = 0.0
        self.sending = 0.0
        self.upstream_dialect: Dialect | None = None
        self.upstream_id: str | None = None
        self.attempts = 0
        self.failures: list[tuple[Target, UpstreamFailure]] = []
        self.status = 0
        self.outcome: Outcome | None = None
        self.error: PlanoError | None = None
        self.finish: Finish | None = None
        self.usage: Usage | None = None
        self.estimated: frozenset[str] = frozenset()
        self.losses: tuple[Loss, ...] = ()
        self.store_failed = False
        self.bytes_in = 0
        self.bytes_out = 0
        self.releases: list[Callable[[], Awaitable[None]]] = []
        self.first: bytes | None = None
        self.last: deque[bytes] = deque(maxlen=4)
        self.events = 0
        self.bytes_streamed = 0
